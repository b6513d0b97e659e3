"""Another database takes the place of the open one. What becomes of the files is in `switch`."""

from collections.abc import Callable

from headwater.domain.errors import Conflict
from headwater.storage.log.base import Position
from headwater.storage.warehouse.duckdb import switch
from headwater.storage.warehouse.duckdb.failures import translated
from headwater.storage.warehouse.duckdb.state import State


def cut_over(state: State, new: State, finish: Callable[[Position | None], None]) -> Callable[[], None]:
    """While the last readers are at it the old file keeps its name; `retire` gives it that of a copy."""
    state.resting.wait()
    with state.writing:
        old = state.refreshed()
        # Not `old` itself, which `retire` would keep alive, and its connection with it.
        held, files, mark = [old.live()], old.files, old.mark
        finish(old.position)
        with new.writing:
            taken = new.database
            if taken.stale or taken.position != old.position:
                raise Conflict(
                    f"the new warehouse stands at {taken.position}, this one at {old.position}",
                    code="POSITION_CONFLICT",
                )
            taken.live()
            pointer = switch.point(state.home, taken.files.database)
            old.upkeep.stop()
            state.database, new.database = taken, taken.let_go()
        taken.set_memory(old.config["memory_limit"])

    def retire() -> None:
        # Let go of, not closed, which would close the readers under way: the last of them closes the database.
        # Nobody writes to it any more.
        with translated(files.database):
            held.pop().execute("checkpoint").fetchall()
        mark.close()
        switch.move(files.database, pointer.kept)

    return retire
