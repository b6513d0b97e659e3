"""Raising the horizon, and removing what lies before it. How a slice is removed is in `removals`."""

import time

from headwater.domain.retention import Horizon
from headwater.storage.warehouse.base import Removable, Removed
from headwater.storage.warehouse.duckdb import reads, removals, turns
from headwater.storage.warehouse.duckdb.database import Database
from headwater.storage.warehouse.duckdb.failures import translated
from headwater.storage.warehouse.duckdb.files import size_of
from headwater.storage.warehouse.duckdb.removals import Slice
from headwater.storage.warehouse.duckdb.state import State

REMOVED_PER_CHECKPOINT = 1_000_000
"""Rows, after which a checkpoint makes the space of removed ones free for new ones."""


def removable(state: State, horizon: Horizon) -> Removable:
    database = state.database
    rows = database.rows_hot + database.rows_sealed
    bytes_per_event = size_of(database.files.database) / rows if rows else 0.0
    with state.cursor() as cursor, reads.snapshot(cursor):
        return removals.removable(cursor, state.database.horizon.joined(horizon), bytes_per_event)


def raise_horizon(state: State, horizon: Horizon) -> Horizon:
    with state.writing, translated(state.database.files.database):
        database = state.refreshed()
        held = database.horizon
        if not held.reaches(horizon):
            con, joined = database.live(), held.joined(horizon)
            seq = database.position.seq if database.position else 0
            removals.record(con, joined, seq, time.time_ns() // 1000)
            database.removals = removals.recorded(con)
        return database.horizon


def remove_some(state: State) -> Removed | None:
    with turns.turn(state) as cursor:
        taken = removals.remove_slice(cursor, state.database.horizon)
        with state.writing:
            if taken is not None:
                turns.commit(state, cursor)
            _count(state.database, taken)
    return removals.removed_of(taken) if taken is not None else None


def _count(database: Database, taken: Slice | None) -> None:
    if taken is not None:
        database.removed_since_checkpoint += taken.rows
        match taken.part.table:
            case "events":
                database.rows_sealed -= taken.rows
            case "hot":
                database.rows_hot -= taken.rows
                database.count_unsealed(database.live())
            case "quarantine":
                database.quarantined -= taken.counted
    least = 1 if taken is None else REMOVED_PER_CHECKPOINT
    if database.removed_since_checkpoint >= least:
        database.removed_since_checkpoint = 0
        database.checkpoint_due = True
