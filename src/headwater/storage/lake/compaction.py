"""Many small files of one day into one: the file that takes their place.

What is written is compared with what it replaces before anything is committed: number of rows, their order, and a sum
of a hash of each row. That costs half as much again (0.6 + 0.6 µs a row beside 2 for the writing), and is spent
because the old files will be deleted.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import msgspec

from headwater.domain.errors import Damaged
from headwater.storage.crash import crash_point
from headwater.storage.lake import parquet
from headwater.storage.lake.base import COLUMNS
from headwater.storage.lake.parquet import DataFile, Written, day_of

GROUP_BYTES_MAX = 64 << 20
"""Of a row group as rows: so much memory it takes to write and to read. What is wider is left in several files."""
ROW_GROUP_ROWS_MIN = 2048
"""The engine makes none smaller."""
MEMORY = "256MB"

FACTS = """
select filename, count(*), sum(hash({columns})::hugeint), min(received_us), max(received_us), min(seq), max(seq),
    sum(strlen(event) + coalesce(octet_length(event_bytes), 0) + {row_bytes})::bigint
from {source} group by filename order by min(seq)
"""
ROW_BYTES = 250
"""Of all columns but the event, as they lie in memory."""
UNORDERED = """
select count(*) from (select seq, lag(seq) over () as before from {source}) where seq <= before
"""


class Facts(msgspec.Struct, frozen=True):
    """Of a file's rows as they are read."""

    rows: int
    hashes: int
    received_us_min: int
    received_us_max: int
    first_seq: int
    last_seq: int
    bytes: int
    """In memory."""


@contextmanager
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with parquet.engine() as connection:
        connection.execute(f"set memory_limit = '{MEMORY}'")
        connection.execute("set temp_directory = ''")
        yield connection


def sound(files: Sequence[DataFile], table: Path) -> tuple[list[list[DataFile]], list[tuple[DataFile, str]]]:
    """(neighbours that are what was written, files that are not and why)."""
    runs: list[list[DataFile]] = [[]]
    damaged: list[tuple[DataFile, str]] = []
    for file in files:
        try:
            parquet.check(file, table)
        except Damaged as error:
            damaged.append((file, error.detail))
            runs.append([])
        else:
            runs[-1].append(file)
    return [run for run in runs if len(run) > 1], damaged


def facts_of(files: Sequence[DataFile], table: Path, connection: duckdb.DuckDBPyConnection) -> list[Facts]:
    """Of each, in their order. Raises Damaged."""
    columns = ", ".join(column for column in COLUMNS if column != parquet.PARTITION)
    query = FACTS.format(
        columns=columns, row_bytes=ROW_BYTES, source=parquet.source_of(files, table, "filename = true")
    )
    with parquet.damaged(files):
        return [Facts(*row[1:]) for row in connection.execute(query).fetchall()]


def fitting(files: Sequence[DataFile], facts: Sequence[Facts]) -> list[tuple[list[DataFile], list[Facts]]]:
    """The same files, cut where together they would make a row group that is too large."""
    parts: list[tuple[list[DataFile], list[Facts]]] = []
    total = rows = widest = 0
    for file, fact in zip(files, facts, strict=True):
        total, rows, widest = total + fact.bytes, rows + fact.rows, max(widest, _width(fact))
        if parts and min(total, widest * min(rows, ROW_GROUP_ROWS_MIN)) <= GROUP_BYTES_MAX:
            parts[-1][0].append(file)
            parts[-1][1].append(fact)
        else:
            parts.append(([file], [fact]))
            total, rows, widest = fact.bytes, fact.rows, _width(fact)
    return parts


def merge(
    files: Sequence[DataFile], facts: Sequence[Facts], table: Path, staging: Path, connection: duckdb.DuckDBPyConnection
) -> Written:
    """One file with the rows of these, durable and in place; no commit lists it yet. Raises Damaged, OSError."""
    rows_per_group = parquet.ROW_GROUP_ROWS
    while rows_per_group > ROW_GROUP_ROWS_MIN and rows_per_group * max(map(_width, facts)) > GROUP_BYTES_MAX:
        rows_per_group //= 2
    first_seq, last_seq = files[0].first_seq, files[-1].last_seq
    staged = staging / f"merge-{first_seq:020d}.parquet"
    try:
        _copy(files, table, staged, rows_per_group, connection)
        crash_point("lake.compact.before_place")
        _compare(staged, files, facts, connection)
        day = dt.date.fromisoformat(day_of(files[0]))
        file = parquet.put_in_place(staged, table, day, first_seq, last_seq, sum(fact.rows for fact in facts))
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    return Written(file, day, min(fact.received_us_min for fact in facts), max(fact.received_us_max for fact in facts))


def _copy(
    files: Sequence[DataFile], table: Path, staged: Path, rows_per_group: int, connection: duckdb.DuckDBPyConnection
) -> None:
    with parquet.damaged(files):
        try:
            parquet.copy_to(staged, parquet.source_of(files, table), rows_per_group, connection)
        except duckdb.IOException as error:
            # The disk, not the files: they were read just before.
            raise OSError(str(error)) from error


def _compare(
    staged: Path, files: Sequence[DataFile], facts: Sequence[Facts], connection: duckdb.DuckDBPyConnection
) -> None:
    """Raises Damaged where the new file does not hold the rows of the old ones in their order."""
    copy = DataFile(staged.name, files[0].first_seq, files[-1].last_seq, 0, 0)
    (new,) = facts_of([copy], staged.parent, connection)
    expected = (sum(fact.rows for fact in facts), sum(fact.hashes for fact in facts))
    with parquet.damaged([copy]):
        source = parquet.source_of([copy], staged.parent)
        ((unordered,),) = connection.execute(UNORDERED.format(source=source)).fetchall()
    if (new.rows, new.hashes) != expected or unordered or expected[0] != sum(file.rows for file in files):
        raise Damaged(
            f"lake: merged from {len(files)} files, {staged.name} does not hold their rows: {new.rows} rows of "
            f"{expected[0]}, {unordered} out of order; nothing was changed",
            code="LAKE_DAMAGED",
            path=files[0].path,
        )


def _width(fact: Facts) -> int:
    return -(-fact.bytes // max(fact.rows, 1))
