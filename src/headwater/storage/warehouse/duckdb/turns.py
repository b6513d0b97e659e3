"""Writing beside the loads, a piece at a turn, in any one thread: what removing and reclaiming are made of."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from headwater.domain.errors import Unavailable
from headwater.storage.warehouse.duckdb import maintain, removals
from headwater.storage.warehouse.duckdb.load import rollback
from headwater.storage.warehouse.duckdb.state import State

TURN_SECONDS = 0.01
UNMAINTAINED_SECONDS = 2.0


@contextmanager
def turn(state: State) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor for a piece of work beside the loads, once no seal or checkpoint is due. The writer thread goes on
    with those, a load between each two; only where there is none it is done here."""
    while True:
        with state.writing:
            database = state.refreshed()
            con = database.live()
            if time.monotonic() - state.maintained_at > UNMAINTAINED_SECONDS:
                maintain.one_piece(state)
            due = database.checkpoint_due and time.monotonic() >= database.retry_at
            if not database.upkeep.started and not due and state.resting.is_set():
                state.resting.clear()
                break
        time.sleep(TURN_SECONDS)
    try:
        with state.cursor() as cursor:
            yield cursor
    finally:
        with state.writing:
            state.resting.set()
            now = state.database.con
            if now is not None and con is not now:
                state.database.read_stand(now)


def commit(state: State, cursor: duckdb.DuckDBPyConnection) -> None:
    """With `writing` held: what a turn did."""
    try:
        state.database.live()
        removals.commit(cursor)
    except duckdb.Error:
        state.database.stale = True
        raise
    except Unavailable:
        rollback(cursor)
        raise
