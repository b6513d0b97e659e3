"""Reads for whoever asks whether all is well: counts in one snapshot, every column, and which seqs are here."""

from collections.abc import Sequence

import duckdb

from headwater.storage.warehouse.base import Advance, LedgerRow, Tally
from headwater.storage.warehouse.duckdb.reads import SUMS, snapshot

COUNTS = """
select (select count(*) from hot) + (select count(*) from events), (select count(*) from duplicates),
    (select count(*) from quarantine anti join replayed using (seq)),
    (select count(*) from hot semi join events using (seq))
"""
ENGINES = "select version, epoch_us(opened_at) from engines order by opened_at"
COLUMNS = """
select table_name, column_name, estimated_size from duckdb_columns() join duckdb_tables() using (table_name)
where not duckdb_tables.internal order by estimated_size desc, table_name, column_index
"""
# Every kind of row names its seq, and no seq stands twice: so a doubled one shows here too.
SEQS = " union all ".join(
    f"select seq from {table} where seq > $after and seq <= $last"  # noqa: S608 - constants only
    for table in ("hot", "events", "duplicates", "quarantine")
)


def tally(cursor: duckdb.DuckDBPyConnection) -> Tally:
    with snapshot(cursor) as at:
        ((stored, duplicate, quarantined, doubled),) = cursor.execute(COUNTS).fetchall()
        (sums,) = cursor.execute(f"select {SUMS} from ledger").fetchall()  # noqa: S608 - constants only
        engines = cursor.execute(ENGINES).fetchall()
    ledger = LedgerRow(0, "", *(each or 0 for each in sums))
    return Tally(at.position, at.committed_us, stored, duplicate, quarantined, doubled, ledger, tuple(engines))


def unreadable(cursor: duckdb.DuckDBPyConnection, advance: Advance) -> list[str]:
    """Column by column, so that what is damaged is told as closely as can be."""
    columns = cursor.execute(COLUMNS).fetchall()
    total = sum(rows for *_, rows in columns)
    found: list[str] = []
    done = 0
    for table, column, rows in columns:
        try:
            cursor.execute(f'select bit_xor(hash("{column}")) from "{table}"').fetchall()  # noqa: S608 - from the catalog
        except duckdb.Error as error:
            found.append(f"{table}.{column}: {str(error).splitlines()[0][:200]}")
        done += rows
        advance(done, total)
    return found


def seqs(cursor: duckdb.DuckDBPyConnection, after_seq: int, last_seq: int) -> Sequence[int]:
    return [seq for (seq,) in cursor.execute(SEQS, {"after": after_seq, "last": last_seq}).fetchall()]
