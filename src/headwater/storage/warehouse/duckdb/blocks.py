"""Loading: blocks in order, each once, durable at return. How one is written is in `load`."""

import time
from collections.abc import Sequence

import duckdb

from headwater.domain.errors import BadInput, Conflict
from headwater.storage.warehouse.base import Block, LedgerRow, Loaded
from headwater.storage.warehouse.duckdb import load as loads
from headwater.storage.warehouse.duckdb.failures import translate, translated
from headwater.storage.warehouse.duckdb.state import State


def load(state: State, block: Block) -> Loaded:
    """A block that lies wholly behind the position does nothing and returns zeros: so one whose outcome was not
    known, for an IO error during the commit, can be sent again."""
    with state.writing:
        database = state.refreshed()
        at = database.position
        if at is not None and at.log_id == block.position.log_id and block.position.seq <= at.seq:
            return Loaded(0, 0, 0, 0, 0, database.committed_us, {})
        if at is not None and block.after_seq != at.seq:
            raise Conflict(
                f"the block follows seq {block.after_seq}, the warehouse stands at {at.seq}",
                code="POSITION_CONFLICT",
                value=block.after_seq,
                limit=at.seq,
            )
        # Never back, so that seq and time of commit rise together.
        committed_us = max(time.time_ns() // 1000, database.committed_us)
        try:
            database.live()
            written = database.loader.write(block, committed_us, before_us=database.horizon.before_us)
        except duckdb.Error as error:
            failure = translate(error, database.files.database)
            database.stale = not isinstance(failure, BadInput)
            raise failure from error
        database.position, database.committed_us = block.position, committed_us
        database.mark.write(block.position)
        database.count(written)
    counts = (written.stored, written.duplicate, written.quarantined, written.suppressed)
    return Loaded(*counts, sum(block.lost.values()), committed_us, written.seconds, written.removed)


def check(state: State, block: Block) -> None:
    with state.writing, translated(state.database.files.database):
        state.database.live()
        state.database.loader.check(block)


def carry(state: State, rows: Sequence[LedgerRow]) -> None:
    with state.writing, translated(state.database.files.database):
        database = state.refreshed()
        if database.position is not None:
            raise Conflict(f"warehouse: counts are carried into a new one; this stands at {database.position.seq}")
        loads.carry(database.live(), rows)
