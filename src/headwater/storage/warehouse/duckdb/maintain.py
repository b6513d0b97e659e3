"""Upkeep by the writer thread, between two loads: what is due, and when. How rows are sealed is in `seal`."""

import time

import duckdb

from headwater.storage.warehouse.duckdb import seal
from headwater.storage.warehouse.duckdb.database import Database
from headwater.storage.warehouse.duckdb.failures import translate, translated
from headwater.storage.warehouse.duckdb.state import Limits, State

FOLD_LOADS = 20_000
"""Loads after which the ledger's deltas are folded even where nothing is sealed."""
RETRY_SECONDS = 30.0
"""Before a piece of upkeep that failed is tried again."""
HURRY = 1.25
"""Times `seal_rows` that wait to be sealed from which on a seal does no longer step back for the loads."""


def maintain(state: State) -> bool:
    """Starts a seal beside the loads, commits one, or makes a checkpoint that is due: each in a round of its own,
    so that a load can come in between."""
    with state.writing:
        state.maintained_at = time.monotonic()
        return one_piece(state)


def one_piece(state: State) -> bool:
    with state.writing:
        database, limits = state.database, state.limits
        upkeep = database.upkeep
        if upkeep.running or not state.resting.is_set() or database.stale or time.monotonic() < database.retry_at:
            return False
        if upkeep.started:
            _end_upkeep(database)
            return True
        if database.checkpoint_due:
            _checkpoint(database)
            return True
        rows = _rows_due(database, limits)
        if rows or database.loads_unfolded >= FOLD_LOADS:
            database.loads_unfolded = 0
            hurried = database.unsealed > HURRY * limits.seal_rows
            upkeep.start(database.live().cursor(), database.settled, rows, time.time_ns() // 1000, hurried=hurried)
            return True
        if database.wal_bytes > limits.wal_bytes_max:
            _checkpoint(database)
            return True
        return False


def _rows_due(database: Database, limits: Limits) -> int:
    """Rows to seal; after a failure for memory fewer at once."""
    full = database.wal_bytes > limits.wal_bytes_max and database.unsealed >= seal.ROW_GROUP
    if database.unsealed >= limits.seal_rows or full:
        # A checkpoint writes what is hot, which the next seal would write again: 0.8 s of CPU for 200k rows. So
        # where a long log asks for one, the seal comes first.
        most = max(limits.seal_rows, seal.ROW_GROUP) if not database.upkeep.failures else seal.ROW_GROUP
        return min(database.unsealed, most)
    if database.unsealed >= max(limits.seal_rows_min, 1) and database.oldest_us is not None:
        age_us = time.time_ns() // 1000 - database.oldest_us
        return database.unsealed if age_us >= limits.seal_age_seconds * 1_000_000 else 0
    return 0


def _end_upkeep(database: Database) -> None:
    begin = database.settled
    try:
        sealed = database.upkeep.take()
    except duckdb.Error as error:
        failures = database.upkeep.failures
        if seal.tell(error, begin, failures):
            with translated(database.files.database):
                database.read_stand(database.live())
            database.retry_at = time.monotonic() + (RETRY_SECONDS if failures < seal.FAILURES_MAX else 0)
            return
        database.stale = True
        raise translate(error, database.files.database) from error
    if sealed is not None:
        database.settled = sealed.end
        database.rows_hot -= sealed.moved
        database.rows_sealed += sealed.moved
        database.last_seal_us = time.time_ns() // 1000
        with translated(database.files.database):
            database.count_unsealed(database.live())
    database.checkpoint_due = True


def _checkpoint(database: Database) -> None:
    try:
        database.live().execute("checkpoint").fetchall()
    except duckdb.TransactionException:
        # Another write is under way: none of ours can be, but then the next round does it.
        database.retry_at = time.monotonic() + 1.0
        return
    except duckdb.Error as error:
        database.stale = True
        raise translate(error, database.files.database) from error
    database.checkpoint_due = False
    database.wal_bytes = database.files.guard()
