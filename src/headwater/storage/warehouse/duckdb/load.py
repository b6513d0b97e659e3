"""Blocks into the tables, each in one transaction.

A repeat is an event with an id of its own whose (source, id, created_at) is stored already or came earlier in the
block. The rows go into `hot` first, where their ids are no text any more (a cast costs 0.2 µs), and those that turn
out to be repeats leave it again. They are found in two steps: ids that are there already, which reads one column, and
whole keys for those ids alone. Both search by created_at, which every repeat carries unchanged: zone
maps leave only the row groups that hold those times, and a late event or a wrong clock costs one more pass over that
column alone. Blocks of 5,000 beside 10M rows: 5 ms; 13 ms with one event 30 days late. A block whose times lie far
apart reads that column of all rows in between: 140 ms for 30 days of 10M.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from time import perf_counter
from typing import Any, NamedTuple

import duckdb
from arro3.core import Table as ArrowTable

from headwater.storage.crash import crash_point
from headwater.storage.warehouse.base import BATCH_COLUMNS, EVENT_COLUMNS, QUARANTINE_COLUMNS, Block, LedgerRow
from headwater.storage.warehouse.duckdb import late, refused, replays
from headwater.storage.warehouse.duckdb.feed import Feed

SUSPECT_BYTES = 1000
"""Attributes from here on, and those with escapes, are cast to VARIANT already while loading, so that no seal meets
one that can't be: 2.6 µs each. The rest is short, flat and plain; of such none failed."""

# Of a key that stands twice, JSON's functions take the first value and VARIANT the last: a sealed row would answer
# differently from a hot one. So such rows, told by their lists of keys (0.3 µs each), are made unambiguous: last wins.
LOOK = f"""
select coalesce(bool_or(own), false), coalesce(bool_or(timeless), false),
    coalesce(bool_or(len(json_keys(one)) <> list_unique(json_keys(one))), false), max(suspect), min(first),
    min(low), max(high)
from (
    select bool_or(has_id) as own, bool_or(has_id and created_us is null) as timeless, any_value(attributes) as one,
        min(occurred_us) as first, min(created_us) as low, max(created_us) as high,
        max(case when strlen(attributes) >= {SUSPECT_BYTES} or contains(attributes, '\\u')
            then variant_typeof(attributes::json::variant) end) as suspect
    from block_events group by hash(json_keys(attributes))
)
"""  # noqa: S608 - constants only
PLAIN = "attributes::json"
UNDOUBLED = """
case when len(json_keys(attributes)) <> list_unique(json_keys(attributes)) then attributes::json::variant::json
else attributes::json end
"""
INSERT_HOT = """
insert into hot by name
select seq, id::uuid as id, has_id, source, nullif(source_label, source) as source_label, type, name, version, actor,
    session_id, make_timestamp(created_us) as created_at, make_timestamp(occurred_us) as occurred_at, clamped,
    make_timestamp(received_us) as received_at, source_ip, user_agent, client_batch_id, replays_seq,
    {attributes} as attributes
from block_events
"""
INSERT_BATCHES = """
insert into batches by name
select first_seq, last_seq, batch_id::uuid as batch_id, key_id, make_timestamp(sent_us) as sent_at,
    make_timestamp(received_us) as received_at, source_ip, user_agent
from block_batches
"""
# Planned once: planning was half of what a small load cost.
PREPARED = {"look": LOOK, "insert_hot": INSERT_HOT.format(attributes=PLAIN), "insert_batches": INSERT_BATCHES}

# The rows of the block are those behind its `after_seq`.
OWN = "select {columns} from hot where seq > $after and has_id"
KNOWN_IDS = f"""
{OWN.format(columns="id")} group by id having count(*) > 1
union all select id from hot where seq <= $after and ({{times}}) and id in ({OWN.format(columns="id")})
union all select id from events where ({{times}}) and id in ({OWN.format(columns="id")})
"""  # noqa: S608 - constants only
UNTIMED_IDS = f"""
union all select id from untimed where id in ({OWN.format(columns="id")} and created_at is null)
"""  # noqa: S608 - constants only
# Constants prune row groups before they are read; what a join finds out comes too late for that. So the times of a
# block go in as a range around its middle and up to STRAYS_MAX others by value: with one event 30 days late beside 10M
# rows 13 ms, 140 by a join. With more strays the join is as good.
STRAYS_MAX = 20
NEAR_US = 600_000_000
NEAR = "created_at between make_timestamp($low) and make_timestamp($high)"
BY_JOIN = f"created_at in ({OWN.format(columns='created_at')})"
AMONG_MAX = 2_000
"""Ids that are handed back to the search for whole keys; of more it is not worth telling which."""
AMONG = " and id in (select unnest($ids::uuid[]))"
REPEATS = f"""
with own as ({OWN.format(columns="seq, id, source, created_at")}{{among}})
select seq from own qualify row_number() over (partition by source, id, created_at order by seq) > 1
union
select seq from own semi join (
    select source, id, created_at from hot where seq <= $after and has_id and ({{times}}){{among}}
    union all
    select source, id, created_at from events where has_id and ({{times}}){{among}}
) using (source, id, created_at)
union
select seq from own semi join untimed using (source, id) where created_at is null
order by seq
"""  # noqa: S608 - constants only
DELETE_REPEATS = "delete from hot where seq > $after and seq in (select unnest($seqs::bigint[]))"
INSERT_DUPLICATES = """
insert into duplicates by name
select seq, id::uuid as id, source, make_timestamp(created_us) as created_at, make_timestamp(received_us) as received_at
from block_events where seq in (select unnest($seqs::bigint[]))
"""
INSERT_UNTIMED = f"insert into untimed by name {OWN.format(columns='source, id')} and created_at is null"
REFUSED = """
create or replace temp table refused as
select seq, id::uuid as id, source, source_label, name, code, step, detail, suppressed,
    make_timestamp(received_us) as received_at, replays_seq, event
from block_quarantine
"""
INSERT_QUARANTINE = "insert into quarantine by name select * exclude (suppressed) from refused where not suppressed"
# From the tables themselves: what is counted is what was inserted, not what was meant to be.
OUTCOMES = {
    "stored": "select received_at, coalesce(source_label, source) as label from hot where seq > $after",
    "duplicate": """
        select d.received_at, s.source_label as label
        from duplicates d join block_events s using (seq) where d.seq > $after""",
    "quarantined": "select received_at, source_label as label from quarantine where seq > $after",
    "suppressed": """
        select received_at, source_label as label from refused
        where suppressed and seq > $after""",
}
INSERT_LEDGER = """
insert into ledger
select epoch_us(received_at) // 60000000 as minute, label, {columns}, 0, 0 from ({rows}) group by minute, label
"""


NO_TIME = 1 << 62


class Written(NamedTuple):
    stored: int
    duplicate: int
    quarantined: int
    suppressed: int
    seconds: Mapping[str, float]
    closed: int = 0
    """Quarantined before, and replayed by this block."""
    removed: int = 0
    """Occurred before what retention has removed."""


class Shape(NamedTuple):
    """Of the events: whether any has an id of its own, one of these no timestamp, and any a key that stands twice; when
    the first of them occurred; and the lowest and the highest timestamp sent, None where none was."""

    own: bool
    timeless: bool
    doubled: bool
    first_us: int
    low_us: int | None
    high_us: int | None


class Loader:
    """Writes blocks by one connection, for as long as that is open. The views of a block are registered only once, so
    that statements about them can stay prepared."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self._events, self._refused, self._batches = map(Feed, (EVENT_COLUMNS, QUARANTINE_COLUMNS, BATCH_COLUMNS))
        for name, feed in (
            ("block_events", self._events),
            ("block_quarantine", self._refused),
            ("block_batches", self._batches),
        ):
            con.register(name, feed)
        for name, statement in PREPARED.items():
            con.execute(f"prepare {name} as {statement}")

    def write(self, block: Block, committed_us: int, *, before_us: int) -> Written:
        """The whole transaction; rolled back when anything raises. Events that occurred before `before_us` are removed
        at once."""
        con = self._con
        clock = [perf_counter()]
        if block.replays:
            block = replays.still_open(con, block)
        with self._fed(block), _transaction(con):
            shape = self._look()
            again = refused.set_apart(con, block) if self._refused.rows.num_rows and not block.replays else 0
            clock.append(perf_counter())
            counts = self._insert(shape, again)
            removed = late.set_apart(con, block.after_seq, before_us) if shape.first_us < before_us else 0
            counts["stored"] -= removed
            clock.append(perf_counter())
            repeats = self._repeats(block.after_seq, shape) if shape.own else []
            clock.append(perf_counter())
            self._set_right(block.after_seq, shape, repeats, counts)
            _insert_ledger(con, block, counts)
            counts["duplicate"] += again
            closed = replays.close(con, block) if block.replays else 0
            at = [block.position.log_id, block.position.seq, committed_us]
            con.execute("insert into positions values (?, ?, make_timestamp(?))", at)
            clock.append(perf_counter())
            crash_point("warehouse.load.before_commit")
            con.execute("commit")
            crash_point("warehouse.load.after_commit")
            clock.append(perf_counter())
        outcomes = (counts["stored"], counts["duplicate"], counts["quarantined"], counts["suppressed"])
        return Written(*outcomes, _seconds(clock), closed, removed)

    def check(self, block: Block) -> None:
        """Everything that `write` casts, and nothing kept."""
        with self._fed(block), _transaction(self._con):
            self._insert(self._look(), 0)
            self._con.execute("rollback")

    @contextmanager
    def _fed(self, block: Block) -> Iterator[None]:
        """The block's rows as views."""
        try:
            self._events.take(block.events)
            self._refused.take(block.quarantine)
            self._batches.take(block.batches)
            yield
        finally:
            for feed in (self._events, self._refused, self._batches):
                feed.empty()

    def _look(self) -> Shape:
        """What the rows need. Raises what a cast of suspect attributes raises."""
        if self._refused.rows.num_rows:
            self._con.execute(REFUSED).fetchall()
        if not self._events.rows.num_rows:
            return Shape(own=False, timeless=False, doubled=False, first_us=NO_TIME, low_us=None, high_us=None)
        own, timeless, doubled, _, first_us, low_us, high_us = self._con.execute("execute look").fetchall()[0]
        return Shape(own, timeless, doubled, first_us, low_us, high_us)

    def _insert(self, shape: Shape, again: int) -> dict[str, int]:
        """All rows into their tables, repeats too; how many by outcome, as if there were none. `again`: refused ones
        that were set apart."""
        con, rows, left = self._con, self._events.rows.num_rows, self._refused.rows.num_rows - again
        counts = dict.fromkeys(OUTCOMES, 0)
        if rows:
            insert = INSERT_HOT.format(attributes=UNDOUBLED) if shape.doubled else "execute insert_hot"
            counts["stored"] = _changed(con, insert)
            assert counts["stored"] == rows, (counts, rows)
        if left:
            counts["quarantined"] = _changed(con, INSERT_QUARANTINE)
            counts["suppressed"] = left - counts["quarantined"]
        if self._batches.rows.num_rows:
            _changed(con, "execute insert_batches")
        return counts

    def _repeats(self, after_seq: int, shape: Shape) -> list[int]:
        """Seqs that are not to be stored, ascending."""
        con = self._con
        times, bound = _times(shape, self._events.rows)
        known = KNOWN_IDS.format(times=times)
        values: dict[str, Any] = {"after": after_seq, **bound}
        if shape.timeless:
            known += UNTIMED_IDS
        ids = {found for (found,) in con.execute(known, values).fetchall()}
        if not ids:
            return []
        among = AMONG if len(ids) <= AMONG_MAX else ""
        if among:
            values["ids"] = list(ids)
        return [seq for (seq,) in con.execute(REPEATS.format(times=times, among=among), values).fetchall()]

    def _set_right(self, after_seq: int, shape: Shape, repeats: list[int], counts: dict[str, int]) -> None:
        """Repeats out of `hot`, and remembered as such."""
        con = self._con
        if repeats:
            gone = _changed(con, DELETE_REPEATS, {"after": after_seq, "seqs": repeats})
            counts["duplicate"] = _changed(con, INSERT_DUPLICATES, {"seqs": repeats})
            counts["stored"] -= gone
            assert gone == counts["duplicate"] == len(repeats), (gone, counts, len(repeats))
        if shape.timeless:
            _changed(con, INSERT_UNTIMED, {"after": after_seq})


def rollback(con: duckdb.DuckDBPyConnection) -> None:
    """Also after an error that ended the transaction by itself."""
    try:
        con.execute("rollback")
    except duckdb.Error as error:
        # What went wrong first is what the caller is told; here nothing is left to undo.
        if "no transaction is active" not in str(error) and "has been invalidated" not in str(error):
            raise


@contextmanager
def _transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Whoever is inside ends it; what raises undoes it."""
    con.execute("begin")
    try:
        yield
    except BaseException:
        rollback(con)
        raise


def _times(shape: Shape, block_events: ArrowTable) -> tuple[str, dict[str, Any]]:
    """The condition for rows that a repeat in the block may be of, and its values."""
    if shape.low_us is None or shape.high_us is None:
        return "false", {}
    if shape.high_us - shape.low_us <= NEAR_US:
        return NEAR, {"low": shape.low_us, "high": shape.high_us}
    sent = sorted({us for us in block_events.column("created_us").to_pylist() if us is not None})
    middle = sent[len(sent) // 2]
    first = bisect_left(sent, middle - NEAR_US)
    last = bisect_right(sent, middle + NEAR_US)
    strays = sent[:first] + sent[last:]
    if len(strays) > STRAYS_MAX:
        return BY_JOIN, {}
    bound = {"low": sent[first], "high": sent[last - 1]} | {f"stray{place}": us for place, us in enumerate(strays)}
    by_value = "".join(f" or created_at = make_timestamp($stray{place})" for place in range(len(strays)))
    return NEAR + by_value, bound


def _changed(con: duckdb.DuckDBPyConnection, statement: str, values: dict[str, Any] | None = None) -> int:
    """Rows that the statement inserted or deleted, by its own count."""
    return int(con.execute(statement, values).fetchall()[0][0])


def carry(con: duckdb.DuckDBPyConnection, rows: Sequence[LedgerRow]) -> None:
    columns = {name: [getattr(row, name) for row in rows] for name in LedgerRow.__struct_fields__}
    con.execute("begin")
    try:
        con.execute("delete from ledger").fetchall()
        names = ", ".join(f"unnest(${name}) as {name}" for name in columns)
        if rows:
            con.execute(f"insert into ledger by name select {names}", columns).fetchall()
        con.execute("commit")
    except BaseException:
        rollback(con)
        raise


def _insert_ledger(con: duckdb.DuckDBPyConnection, block: Block, counts: Mapping[str, int]) -> None:
    for outcome, rows in OUTCOMES.items():
        if counts[outcome]:
            columns = ", ".join("count(*)" if each == outcome else "0" for each in OUTCOMES)
            con.execute(INSERT_LEDGER.format(columns=columns, rows=rows), {"after": block.after_seq})
    for (minute, source), n in block.lost.items():
        con.execute("insert into ledger values (?, ?, 0, 0, 0, 0, 0, ?)", [minute, source, n])


def _seconds(clock: list[float]) -> dict[str, float]:
    look, insert, duplicates, rest, commit = (end - begin for begin, end in pairwise(clock))
    return {"look": look, "duplicates": duplicates, "insert": insert + rest, "commit": commit}
