"""Giving the space of removed rows back to the disk, in place and beside the loads.

DuckDB takes the lowest free blocks for what it writes and cuts a file off behind its last used one; it never moves a
block. So the rows of tables that reach into the last blocks are written again, from their ends on, a row group at a
time, into the free blocks before them: 2.5 µs of CPU an event. What was still full when a row was moved is free by the
next pass: of 263 blocks of which 94 were used a first one leaves 200 at times.

What DuckDB notes about a table stays where it is until the table changes, and 4 KiB of it at its end keep a file long.
So after each pass tables that hardly ever change get a column more and lose it again, in one transaction.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import duckdb

from headwater.storage.warehouse.base import Space
from headwater.storage.warehouse.duckdb import seal, turns
from headwater.storage.warehouse.duckdb.load import rollback
from headwater.storage.warehouse.duckdb.seal import ROW_GROUP
from headwater.storage.warehouse.duckdb.state import State

FREE_BLOCKS_MIN = 64
FREE_RATIO_MIN = 0.1
"""With less that is free nothing is moved: a seal needs it before long."""

SPACE = "select block_size, total_blocks, used_blocks, free_blocks from pragma_database_size()"
PASSES_MAX = 4
SHRINKS = 0.95
"""Two passes that leave more of the file than this are the last ones: one may meet blocks of `hot` at the end."""
LAST_BLOCK = "select max(block_id) from pragma_storage_info('{}')"
END = "select max(rowid) + 1 from {}"
LAST = """
select min(place), count(*) from (
    select rowid as place from {table} where rowid >= $low and rowid < $end order by rowid desc limit $rows
)
"""
# The limit changes nothing but that one thread does it, and rows keep their order.
COPY = """
insert into {table} select * from {table} where rowid >= $first and rowid < $end limit {rows}
"""
DELETE = "delete from {table} where rowid >= $first and rowid < $end"

STILL = ("duplicates", "engines", "migrations", "quarantine", "removals", "replayed", "seals", "untimed")
MOVED = (*STILL, "positions", "ledger", "batches", "events")
"""The small ones first: they find room for sure."""
TOUCH = ("alter table {} add column touched boolean", "alter table {} drop column touched")


class Moved(NamedTuple):
    """Rows with a rowid from `first` on were written again, in a transaction that is still open."""

    first: int
    rows: int


def reclaim(state: State) -> Iterator[Space]:
    con, found, idle = state.database.con, _space(state), 0
    for _ in range(PASSES_MAX):
        if not is_worth(found) or con is not state.database.con:
            return
        for table in MOVED:
            yield from _move_all(state, table, con)
        with turns.turn(state) as cursor, state.writing:
            touch(cursor)
            state.database.checkpoint_due = True
        with turns.turn(state):  # which makes the checkpoint, once a seal that is due has ended
            before, found = found, _space(state)
        yield found
        idle = idle + 1 if found.total_bytes > SHRINKS * before.total_bytes else 0
        if idle > 1:
            return


def _move_all(state: State, table: str, con: duckdb.DuckDBPyConnection | None) -> Iterator[Space]:
    database = state.database
    with state.cursor() as cursor:
        end = end_of(cursor, table)
        rows = rows_that_fit(space(cursor), database.rows_hot + database.rows_sealed)
    while end and rows > 0:
        with turns.turn(state) as cursor:
            if con is not state.database.con:  # opened anew meanwhile: places are others now
                return
            moved = seal.aside(partial(move, cursor, table, end))
            if moved is None:
                return
            with state.writing:
                turns.commit(state, cursor)
                state.database.checkpoint_due = True
            end, rows = moved.first, rows - moved.rows
        yield _space(state)


def _space(state: State) -> Space:
    with state.cursor() as cursor:
        return space(cursor)


def space(con: duckdb.DuckDBPyConnection) -> Space:
    ((block_bytes, total, used, free),) = con.execute(SPACE).fetchall()
    return Space(total * block_bytes, used * block_bytes, free * block_bytes)


def is_worth(found: Space) -> bool:
    return found.free_bytes > max(FREE_BLOCKS_MIN << 18, FREE_RATIO_MIN * found.total_bytes)


def rows_that_fit(found: Space, rows: int) -> int:
    """About so many events have room in what is free; moving more of them than that frees nothing at the end."""
    return round(found.free_bytes * rows / max(1, found.used_bytes))


def end_of(con: duckdb.DuckDBPyConnection, table: str) -> int:
    """Behind its last row; 0 where it has none, or none of its blocks lies among the last ones."""
    ((_, _, used, _),) = con.execute(SPACE).fetchall()
    ((last_block,),) = con.execute(LAST_BLOCK.format(table)).fetchall()
    if last_block is None or last_block < used:
        return 0
    ((end,),) = con.execute(END.format(table)).fetchall()
    return end or 0


def move(con: duckdb.DuckDBPyConnection, table: str, end: int) -> Moved | None:
    """Write the last row group's worth of rows before `end` again; None where there are none."""
    width = 2 * ROW_GROUP
    while True:
        low = end - width
        values = {"low": low, "end": end, "rows": ROW_GROUP}
        ((first, rows),) = con.execute(LAST.format(table=table), values).fetchall()
        if rows == ROW_GROUP or low < 0:
            break
        width *= 4
    if not rows:
        return None
    con.execute("begin")
    try:
        ((copied,),) = con.execute(COPY.format(table=table, rows=ROW_GROUP), {"first": first, "end": end}).fetchall()
        ((gone,),) = con.execute(DELETE.format(table=table), {"first": first, "end": end}).fetchall()
        assert copied == gone == rows, (copied, gone, rows)
    except BaseException:
        rollback(con)
        raise
    return Moved(first, rows)


def touch(con: duckdb.DuckDBPyConnection) -> None:
    """Have the next checkpoint write anew what it notes of the still tables. Some ms; no load may run meanwhile."""
    con.execute("begin")
    try:
        for table in STILL:
            for statement in TOUCH:
                con.execute(statement.format(table)).fetchall()
        con.execute("commit")
    except BaseException:
        rollback(con)
        raise
