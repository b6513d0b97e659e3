"""One block into the tables, in one transaction.

A repeat is an event with an id of its own whose (source, id, created_at) is stored already or came earlier in the
block. What is stored is searched by created_at, which every repeat carries unchanged: zone maps leave only the row
groups that hold those times, and a late event or a wrong clock costs one more pass over that column alone.
Blocks of 5,000 beside 10M rows: 5 ms; 13 ms with one event 30 days late. A block whose times lie far apart reads that
column of all rows in between: 140 ms for 30 days of 10M.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

import duckdb
from arro3.core import Table as ArrowTable

from headwater.storage.crash import crash_point
from headwater.storage.warehouse.base import Block

SUSPECT_BYTES = 1000
"""Attributes from here on, and those with escapes, are cast to VARIANT already while loading, so that no seal meets
one that can't be: 2.6 µs each. The rest is short, flat and plain; of such none failed."""

# Rows go from Arrow into `hot` in one statement: a temporary table of all columns in between cost 1 µs an event. Only
# what tells repeats is kept apart.
KEYS = f"""
create or replace temp table keys as
select seq, id::uuid as id, has_id, source, make_timestamp(created_us) as created_at,
    case when strlen(attributes) >= {SUSPECT_BYTES} or contains(attributes, '\\u')
    then variant_typeof(attributes::json::variant) end as suspect
from block_events
"""  # noqa: S608 - constants only
REFUSED = """
create or replace temp table refused as
select seq, id::uuid as id, source, source_label, name, code, step, detail, suppressed,
    make_timestamp(received_us) as received_at, replays_seq, event
from block_quarantine
"""
SHAPE = """
select count(*), count(*) filter (has_id), count(distinct hash(source, id, created_at)) filter (has_id),
    count(*) filter (has_id and created_at is null)
from keys
"""
# Of a key that stands twice, JSON's functions take the first value and VARIANT the last: a sealed row would answer
# differently from a hot one. So such rows, told by their lists of keys (0.3 µs each), are made unambiguous: last wins.
DOUBLED = """
select count(*) from (select any_value(attributes) as one from block_events group by hash(json_keys(attributes)))
where len(json_keys(one)) <> list_unique(json_keys(one))
"""
PLAIN = "attributes::json"
UNDOUBLED = """
case when len(json_keys(attributes)) <> list_unique(json_keys(attributes)) then attributes::json::variant::json
else attributes::json end
"""
IN_BLOCK = """
select seq from keys where has_id qualify row_number() over (partition by source, id, created_at order by seq) > 1
"""
# Constants prune row groups before they are read; what a join finds out comes too late for that. So the times of a
# block go in as a range around its middle and up to STRAYS_MAX others by value: with one event 30 days late beside 10M
# rows 13 ms, 140 by a join. With more strays the join is as good.
STRAYS_MAX = 20
NEAR_US = 600_000_000
STORED = """
with own as (select seq, id, source, created_at from keys where has_id)
select seq from own semi join (
    select source, id, created_at from hot where has_id and ({times})
    union all
    select source, id, created_at from events where has_id and ({times})
) using (source, id, created_at)
"""
BY_JOIN = "created_at in (select created_at from own)"
UNTIMED = "select seq from keys semi join untimed using (source, id) where has_id and created_at is null"
REPEATS = "create or replace temp table repeats as select unnest($seqs::bigint[]) as seq"

INSERT_HOT = """
insert into hot by name
select seq, id::uuid as id, has_id, source, nullif(source_label, source) as source_label, type, name, version, actor,
    session_id, make_timestamp(created_us) as created_at, make_timestamp(occurred_us) as occurred_at, clamped,
    make_timestamp(received_us) as received_at, source_ip, user_agent, client_batch_id, replays_seq,
    {attributes} as attributes
from block_events {fresh}
"""
INSERT_UNTIMED = "insert into untimed by name select source, id from keys {fresh} where has_id and created_at is null"
INSERT_DUPLICATES = """
insert into duplicates by name
select seq, id::uuid as id, source, make_timestamp(created_us) as created_at, make_timestamp(received_us) as received_at
from block_events semi join repeats using (seq)
"""
INSERT_QUARANTINE = "insert into quarantine by name select * exclude (suppressed) from refused where not suppressed"
INSERT_BATCHES = """
insert into batches by name
select first_seq, last_seq, batch_id::uuid as batch_id, key_id, make_timestamp(sent_us) as sent_at,
    make_timestamp(received_us) as received_at, source_ip, user_agent
from block_batches
"""
# From the tables themselves: what is counted is what was inserted, not what was meant to be.
OUTCOMES = {
    "stored": "select received_at, coalesce(source_label, source) as label from hot where seq between $first and $last",
    "duplicate": """
        select d.received_at, s.source_label as label
        from duplicates d join block_events s using (seq) where d.seq between $first and $last""",
    "quarantined": "select received_at, source_label as label from quarantine where seq between $first and $last",
    "suppressed": """
        select received_at, source_label as label from refused
        where suppressed and seq between $first and $last""",
}
INSERT_LEDGER = """
insert into ledger
select epoch_us(received_at) // 60000000 as minute, label, {columns}, 0, 0 from ({rows}) group by minute, label
"""


class Written(NamedTuple):
    stored: int
    duplicate: int
    quarantined: int
    suppressed: int
    seconds: Mapping[str, float]


class Shape(NamedTuple):
    """Of the events: how many, with an id of their own, different keys of these, those without a timestamp."""

    rows: int
    own: int
    different: int
    timeless: int
    attributes: str
    """How their attributes become JSON."""


def write(con: duckdb.DuckDBPyConnection, block: Block, committed_us: int) -> Written:
    """The whole transaction; rolled back when anything raises."""
    clock = [perf_counter()]
    with _registered(con, block) as (events, refused), _transaction(con):
        shape = _look(con, refused)
        clock.append(perf_counter())
        repeats = _repeats(con, shape, events) if shape.own else []
        clock.append(perf_counter())
        counts = _insert(con, shape, repeats, refused)
        _insert_ledger(con, block, counts)
        at = [block.position.log_id, block.position.seq, committed_us]
        con.execute("insert into positions values (?, ?, make_timestamp(?))", at)
        clock.append(perf_counter())
        crash_point("warehouse.load.before_commit")
        con.execute("commit")
        crash_point("warehouse.load.after_commit")
        clock.append(perf_counter())
    phases = ("look", "duplicates", "insert", "commit")
    seconds = {phase: end - begin for phase, begin, end in zip(phases, clock, clock[1:], strict=False)}
    return Written(counts["stored"], counts["duplicate"], counts["quarantined"], counts["suppressed"], seconds)


def check(con: duckdb.DuckDBPyConnection, block: Block) -> None:
    """Everything that `write` casts, and nothing kept."""
    with _registered(con, block) as (_, refused), _transaction(con):
        shape = _look(con, refused)
        _inserted(con, INSERT_HOT.format(fresh="", attributes=shape.attributes))
        con.execute(INSERT_BATCHES).fetchall()
        con.execute("rollback")


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


@contextmanager
def _registered(con: duckdb.DuckDBPyConnection, block: Block) -> Iterator[tuple[ArrowTable, int]]:
    """The block's rows as views; yields the events and how many are refused. Outside the transaction: an aborted one
    can't let go."""
    # Tables: a stream could be read once only.
    events, refused = ArrowTable.from_arrow(block.events), ArrowTable.from_arrow(block.quarantine)
    parts = {"block_events": events, "block_batches": block.batches}
    if refused.num_rows:
        parts["block_quarantine"] = refused
    for name, rows in parts.items():
        con.register(name, rows)
    try:
        yield events, refused.num_rows
    finally:
        for name in parts:
            con.unregister(name)


def _look(con: duckdb.DuckDBPyConnection, refused: int) -> Shape:
    """What the rows need. Raises what a cast of a key or of suspect attributes raises."""
    con.execute(KEYS).fetchall()
    if refused:
        con.execute(REFUSED).fetchall()
    ((doubled,),) = con.execute(DOUBLED).fetchall()
    rows, own, different, timeless = con.execute(SHAPE).fetchall()[0]
    return Shape(rows, own, different, timeless, UNDOUBLED if doubled else PLAIN)


def _repeats(con: duckdb.DuckDBPyConnection, shape: Shape, events: ArrowTable) -> list[int]:
    """Seqs that are not to be stored."""
    times, bound = _times(events)
    found = con.execute(STORED.format(times=times), bound).fetchall()
    if shape.different < shape.own:
        found += con.execute(IN_BLOCK).fetchall()
    if shape.timeless:
        found += con.execute(UNTIMED).fetchall()
    return sorted({seq for (seq,) in found})


def _times(block_events: ArrowTable) -> tuple[str, dict[str, Any]]:
    """The condition for rows that a repeat in the block may be of, and its values."""
    sent = sorted({us for us in block_events.column("created_us").to_pylist() if us is not None})
    if not sent:
        return "false", {}
    middle = sent[len(sent) // 2]
    first = bisect_left(sent, middle - NEAR_US)
    last = bisect_right(sent, middle + NEAR_US)
    strays = sent[:first] + sent[last:]
    if len(strays) > STRAYS_MAX:
        return BY_JOIN, {}
    bound = {"low": sent[first], "high": sent[last - 1]} | {f"stray{place}": us for place, us in enumerate(strays)}
    by_value = "".join(f" or created_at = make_timestamp($stray{place})" for place in range(len(strays)))
    return f"created_at between make_timestamp($low) and make_timestamp($high){by_value}", bound


def _insert(con: duckdb.DuckDBPyConnection, shape: Shape, repeats: list[int], refused: int) -> dict[str, int]:
    """Rows into their tables; how many by outcome."""
    counts = dict.fromkeys(OUTCOMES, 0)
    fresh = ""
    if repeats:
        con.execute(REPEATS, {"seqs": repeats})
        fresh = "anti join repeats using (seq)"
        counts["duplicate"] = _inserted(con, INSERT_DUPLICATES)
    if shape.rows:
        counts["stored"] = _inserted(con, INSERT_HOT.format(fresh=fresh, attributes=shape.attributes))
    assert counts["stored"] + counts["duplicate"] == shape.rows, (counts, shape)
    if shape.timeless:
        _inserted(con, INSERT_UNTIMED.format(fresh=fresh))
    if refused:
        counts["quarantined"] = _inserted(con, INSERT_QUARANTINE)
        counts["suppressed"] = refused - counts["quarantined"]
    _inserted(con, INSERT_BATCHES)
    return counts


def _inserted(con: duckdb.DuckDBPyConnection, statement: str) -> int:
    return int(con.execute(statement).fetchall()[0][0])


def _insert_ledger(con: duckdb.DuckDBPyConnection, block: Block, counts: Mapping[str, int]) -> None:
    span = {"first": block.after_seq + 1, "last": block.position.seq}
    for outcome, rows in OUTCOMES.items():
        if counts[outcome]:
            columns = ", ".join("count(*)" if each == outcome else "0" for each in OUTCOMES)
            con.execute(INSERT_LEDGER.format(columns=columns, rows=rows), span)
    for (minute, source), n in block.lost.items():
        con.execute("insert into ledger values (?, ?, 0, 0, 0, 0, 0, ?)", [minute, source, n])
