"""Removing what is older than the horizon, slice by slice, each with its ledger counts in one transaction.

First the horizon is written down: from the next load on nothing of before it is stored (`late`). So
nothing comes to what is to be removed, and what is left of it can be told at any time: a removal that was cut off goes
on where it was. Rows are only deleted (122,880 in 10 to 40 ms, whose ids alone go through the write-ahead log); a
checkpoint frees the row groups that have none left.

Repeats of removed events are known by their day: they are `removed` too. The keys of events without a timestamp stay,
for nothing else tells their repeats, which go on being duplicates. A repeat whose time moved on to a day that is kept
(clamped before, or corrected by another `sentAt`) is stored: its key went with its original.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb

from headwater.domain.retention import NEVER, Horizon, Removal
from headwater.storage.crash import crash_point
from headwater.storage.warehouse.base import Removable, Removed
from headwater.storage.warehouse.duckdb.binding import timestamp_of
from headwater.storage.warehouse.duckdb.load import rollback

SLICE_ROWS = 122_880

RECORD = "insert into removals values (?, ?, ?, make_timestamp(?))"
RECORDED = """
select seq, epoch_us(before_at), epoch_us(quarantine_before_at), epoch_us(removed_at)
from removals order by seq, removed_at
"""


class Part(NamedTuple):
    """Rows of one table that go with a horizon, by the column that tells their time."""

    table: str
    column: str
    outcome: str | None = None
    """The ledger's column that they count in."""
    label: str = ""
    counted: str = ""
    """Which of them count there."""


PARTS = (
    Part("events", "occurred_at", "stored", "coalesce(source_label, source)"),
    Part("hot", "occurred_at", "stored", "coalesce(source_label, source)"),
    Part("quarantine", "received_at", "quarantined", "source_label", "and seq not in (select seq from replayed)"),
    # What was received before the horizon occurred before it too: of these requests and repeats nothing is left.
    Part("duplicates", "received_at"),
    Part("batches", "received_at"),
)
BOUNDS = """
select min(place), max(place), count(*)
from (select rowid as place from {table} where {column} < $before limit {rows})
"""
SLICE = "rowid between $first and $last and {column} < $before"
COUNTS = {
    "stored": "-count(*), 0, 0, 0, count(*), 0",
    "quarantined": "0, 0, -count(*), 0, count(*), 0",
}
TO_LEDGER = """
insert into ledger
select epoch_us(received_at) // 60000000, {label}, {counts} from {table} where {slice} {counted} group by 1, 2
"""
COUNTED = "select count(*) from {table} where {slice} {counted}"
REPLAYED = "delete from replayed where seq in (select seq from quarantine where {slice})"
DELETE = "delete from {table} where {slice}"


class Slice(NamedTuple):
    """What one transaction took away, before it is committed."""

    part: Part
    rows: int
    counted: int


def recorded(con: duckdb.DuckDBPyConnection) -> list[Removal]:
    """Oldest first; the last one holds."""
    return [
        Removal(Horizon(*(NEVER if us is None else us for us in (before, quarantine))), seq, removed_us)
        for seq, before, quarantine, removed_us in con.execute(RECORDED).fetchall()
    ]


def record(con: duckdb.DuckDBPyConnection, horizon: Horizon, seq: int, now_us: int) -> None:
    instants = [None if us == NEVER else timestamp_of(us) for us in (horizon.before_us, horizon.quarantine_before_us)]
    con.execute(RECORD, [seq, *instants, now_us]).fetchall()


def remove_slice(con: duckdb.DuckDBPyConnection, horizon: Horizon, rows_max: int = SLICE_ROWS) -> Slice | None:
    """Leaves its transaction open for `commit`; None, and none open, where nothing is left to remove."""
    for part in PARTS:
        before_us = before_of(part, horizon)
        if before_us == NEVER:
            continue
        values: dict[str, Any] = {"before": timestamp_of(before_us)}
        bounds = BOUNDS.format(table=part.table, column=part.column, rows=rows_max)
        ((first, last, rows),) = con.execute(bounds, values).fetchall()
        if rows:
            values |= {"first": first, "last": last}
            return _take(con, part, values, rows)
    return None


def commit(con: duckdb.DuckDBPyConnection) -> None:
    crash_point("warehouse.removal.before_commit")
    try:
        con.execute("commit")
    except BaseException:
        rollback(con)
        raise
    crash_point("warehouse.removal.after_commit")


def removable(con: duckdb.DuckDBPyConnection, horizon: Horizon, bytes_per_event: float) -> Removable:
    """What `remove_slice` would take away in the end."""
    found: dict[str, int] = {}
    counted: dict[str, int] = {"stored": 0, "quarantined": 0}
    first_us: int | None = None
    for part in PARTS:
        before_us = before_of(part, horizon)
        if before_us == NEVER:
            found[part.table] = 0
            continue
        slice_ = f"{part.column} < $before"
        sql = f"select count(*), epoch_us(min({part.column})) from {part.table} where {slice_}"  # noqa: S608 - ours
        values = {"before": timestamp_of(before_us)}
        ((found[part.table], oldest_us),) = con.execute(sql, values).fetchall()
        if part.outcome == "stored" and oldest_us is not None:
            first_us = oldest_us if first_us is None else min(first_us, oldest_us)
        if part.outcome is not None:
            sql = COUNTED.format(table=part.table, slice=slice_, counted=part.counted)
            counted[part.outcome] += con.execute(sql, values).fetchall()[0][0]
    events = counted["stored"]
    return Removable(
        events=events,
        quarantined=counted["quarantined"],
        rows=sum(found.values()),
        first_us=first_us,
        bytes=round(events * bytes_per_event),
    )


def removed_of(slice_: Slice) -> Removed:
    return Removed(
        events=slice_.counted if slice_.part.outcome == "stored" else 0,
        quarantined=slice_.counted if slice_.part.outcome == "quarantined" else 0,
        rows=slice_.rows,
    )


def before_of(part: Part, horizon: Horizon) -> int:
    if part.table == "quarantine":
        return horizon.quarantine_before_us
    if part.table == "batches":  # refused events name their requests, too
        return min(horizon.before_us, horizon.quarantine_before_us)
    return horizon.before_us


def _take(con: duckdb.DuckDBPyConnection, part: Part, values: Mapping[str, Any], rows: int) -> Slice:
    filled = part._asdict() | {"slice": SLICE.format(column=part.column)}
    con.execute("begin")
    try:
        counted = 0
        if part.outcome is not None:
            con.execute(TO_LEDGER.format(counts=COUNTS[part.outcome], **filled), values).fetchall()
            ((counted,),) = con.execute(COUNTED.format(**filled), values).fetchall() if part.counted else ((rows,),)
        if part.table == "quarantine":
            con.execute(REPLAYED.format(**filled), values).fetchall()
        ((gone,),) = con.execute(DELETE.format(**filled), values).fetchall()
        assert gone == rows, (part.table, gone, rows)
    except BaseException:
        rollback(con)
        raise
    return Slice(part, rows, counted)


def bound(removals: Sequence[Removal]) -> Horizon:
    """What holds after all of them."""
    return removals[-1].horizon if removals else Horizon()
