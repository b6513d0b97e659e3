"""Single-purpose reads, each in one snapshot with the position."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import duckdb

from headwater.domain.errors import BadInput
from headwater.storage.log.base import Position
from headwater.storage.warehouse.base import Before, LedgerPage, LedgerRow, Receipt
from headwater.storage.warehouse.duckdb.load import rollback

SUMS = """
cast(sum(stored) as bigint), cast(sum(duplicate) as bigint), cast(sum(quarantined) as bigint),
cast(sum(suppressed) as bigint), cast(sum(removed) as bigint), cast(sum(lost) as bigint)
"""
LAST_POSITION = "select log_id, seq, epoch_us(committed_at) from positions order by seq desc limit 1"
# The first position at or above a seq is the load that stored it.
RECEIPT_FACTS = """
select epoch_us((select min(committed_at) from positions where seq >= $seq)),
    (select batch_id::varchar from batches where first_seq <= $seq and last_seq >= $seq limit 1)
"""
STORED = " union all ".join(
    f"select source, seq, epoch_us(received_at), null from {table} where id = $id::uuid"  # noqa: S608 - constants only
    for table in ("hot", "events")
)
DUPLICATES = "select source, seq, epoch_us(received_at), null from duplicates where id = $id::uuid"
QUARANTINED = """
select source, seq, epoch_us(received_at), code from quarantine anti join replayed using (seq) where id = $id::uuid
"""
BEFORE = "select seq, code, replays_seq from quarantine where seq = (select seq from replayed where by_seq = $seq)"
REPLAYS_MAX = 100
"""Stays in quarantine that a receipt tells of."""

# VARIANT and the text it came from must look alike: both by way of VARIANT and its own JSON.
CONTENT = {
    "events": """
        select seq, id, has_id, source, source_label, type, name, version, actor, session_id, created_at, occurred_at,
            clamped, received_at, source_ip, user_agent, client_batch_id, replays_seq, attributes::json::varchar
        from events_all""",
    "duplicates": "select * from duplicates",
    "quarantine": "select * from quarantine",
    "replayed": "select by_seq as seq, seq as replays_seq, outcome from replayed",
}


class Stand(NamedTuple):
    """How far a snapshot goes."""

    position: Position | None
    committed_us: int


@contextmanager
def snapshot(cursor: duckdb.DuckDBPyConnection) -> Iterator[Stand]:
    """All reads inside see the database as it was at the first."""
    cursor.execute("begin transaction read only")
    try:
        yield stand(cursor)
    finally:
        rollback(cursor)


def stand(con: duckdb.DuckDBPyConnection) -> Stand:
    rows = con.execute(LAST_POSITION).fetchall()
    if not rows:
        return Stand(None, 0)
    log_id, seq, committed_us = rows[0]
    return Stand(Position(log_id, seq), committed_us)


def ledger(cursor: duckdb.DuckDBPyConnection, minute_from: int, minute_to: int, source: str | None) -> LedgerPage:
    with snapshot(cursor) as at:
        rows = cursor.execute(
            f"select minute, source, {SUMS} from ledger "  # noqa: S608 - constants only
            "where minute >= $from and minute < $to and ($source is null or source = $source) "
            "group by minute, source order by minute, source",
            {"from": minute_from, "to": minute_to, "source": source},
        ).fetchall()
        totals = cursor.execute(f"select {SUMS} from ledger").fetchall()[0]  # noqa: S608 - constants only
    return LedgerPage(at.position, [LedgerRow(*row) for row in rows], LedgerRow(0, "", *(each or 0 for each in totals)))


def receipts(cursor: duckdb.DuckDBPyConnection, event_id: str, source: str | None) -> Sequence[Receipt]:
    """No index helps here: the column of ids is read, 16 bytes a row. Raises BadInput where `event_id` is no UUID."""
    try:
        uuid.UUID(event_id)
    except ValueError as error:
        raise BadInput(f"event id: expected a UUID, got {event_id[:100]!r}", value=event_id[:100]) from error
    found: dict[str, dict[str, list[tuple[Any, ...]]]] = {}
    with snapshot(cursor):
        for state, statement in (("stored", STORED), ("duplicate", DUPLICATES), ("quarantined", QUARANTINED)):
            for row in cursor.execute(statement, {"id": event_id}).fetchall():
                if source is None or row[0] == source:
                    found.setdefault(row[0], {}).setdefault(state, []).append(row)
        return [_receipt(cursor, event_id, each, found[each]) for each in sorted(found)]


def _receipt(
    cursor: duckdb.DuckDBPyConnection, event_id: str, source: str, found: Mapping[str, list[tuple[Any, ...]]]
) -> Receipt:
    """What is stored outweighs what was refused, and that what came again; of several the first."""
    state = next(each for each in ("stored", "quarantined", "duplicate") if each in found)
    _, seq, received_us, code = min(found[state], key=lambda row: row[1])
    stored_us, batch_id = cursor.execute(RECEIPT_FACTS, {"seq": seq}).fetchall()[0]
    return Receipt(
        id=event_id,
        source=source,
        state=state,
        seq=seq,
        received_us=received_us,
        stored_us=stored_us if state == "stored" else None,
        batch_id=batch_id,
        duplicates=len(found.get("duplicate", ())),
        reason=code,
        before=_before(cursor, seq),
    )


def _before(cursor: duckdb.DuckDBPyConnection, seq: int) -> list[Before]:
    """What a replay has ended to make the outcome `seq`, back to the first."""
    found: list[Before] = []
    while len(found) < REPLAYS_MAX and (rows := cursor.execute(BEFORE, {"seq": seq}).fetchall()):
        ((seq, code, replays_seq),) = rows
        found.append(Before(seq, code))
        if replays_seq is None:
            break
    return found[::-1]


def digest(cursor: duckdb.DuckDBPyConnection, seq_max: int) -> dict[str, tuple[int, int]]:
    with snapshot(cursor):
        return {
            name: cursor.execute(
                f"select count(*), cast(coalesce(bit_xor(hash(c)), 0) as ubigint) "  # noqa: S608 - constants only
                f"from ({content}) c where c.seq <= ?",
                [seq_max],
            ).fetchall()[0]
            for name, content in CONTENT.items()
        }
