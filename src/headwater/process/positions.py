"""Do log, lake and warehouse belong together, and where does each go on? Pure: asked at start, before anything runs.

    the store stands …                        it …
    in the log, or right before its first     goes on from there
    before the log's first: warehouse         is filled from the lake, which must reach the log
    before the log's first: lake              is refused: `--lake-gap` goes on without those events
    beyond the log's last                     is refused: the log was rolled back; `--new-log`
    in another log, not below this one        is refused: the log was replaced; `--new-log`
    in another log, below this one            is refused unless it ends right before: `--new-log` takes the gap

A new log begins above the highest seq that any store has, so that no seq is given twice.
"""

import msgspec

from headwater.domain.errors import Damaged
from headwater.storage.log.base import Position


class Held(msgspec.Struct, frozen=True):
    """What the log holds. `first_seq` of an empty log is the next seq to be given."""

    log_id: bytes
    first_seq: int
    durable_seq: int


class Start(msgspec.Struct, frozen=True):
    warehouse_after: int
    """Where the warehouse goes on; after the fill, where there is one."""
    lake_after: int
    fill: bool = False
    """The warehouse first takes from the lake what it lacks (`rebuild.fill`)."""
    missing_in_warehouse: int = 0
    """Seqs given up by `--new-log`."""
    missing_in_lake: int = 0
    """Seqs given up by `--new-log` or `--lake-gap`."""


def first_of_new_log(*positions: Position | None) -> int:
    """The first seq that a new log may give."""
    return max([position.seq for position in positions if position is not None], default=0) + 1


def check(
    log: Held, warehouse: Position | None, lake: Position | None, *, new_log: bool = False, lake_gap: bool = False
) -> Start:
    """Where both go on. `new_log` and `lake_gap` are a person's word, given once. Raises Damaged naming the cure."""
    before_log = log.first_seq - 1
    lake_after = _after(log, "lake", lake, new_log)
    missing_in_lake = max(0, before_log - lake_after)
    if missing_in_lake and not (lake_gap or new_log):
        raise Damaged(
            f"the lake ends at seq {lake_after}, the log begins at {log.first_seq}: {missing_in_lake} seqs between "
            "them are in neither; put the lake's folder back from a copy, or start once with --lake-gap to go on "
            "without them: a rebuild will then lack them",
            code="LAKE_BEHIND",
            value=lake_after,
            limit=log.first_seq,
        )
    warehouse_after = _after(log, "warehouse", warehouse, new_log)
    fill = warehouse_after < before_log and lake_after > warehouse_after
    filled = max(warehouse_after, lake_after) if fill else warehouse_after
    missing_in_warehouse = max(0, before_log - filled)
    if missing_in_warehouse and not new_log:
        raise Damaged(
            f"the warehouse ends at seq {warehouse_after}, the log begins at {log.first_seq} and the lake ends at "
            f"{lake_after}: {missing_in_warehouse} seqs are in none of them; put warehouse, lake and log back from "
            "one copy, or start once with --new-log to go on without them",
            code="WAREHOUSE_BEHIND",
            value=warehouse_after,
            limit=log.first_seq,
        )
    return Start(
        warehouse_after=max(filled, before_log),
        lake_after=max(lake_after, before_log),
        fill=fill,
        missing_in_warehouse=missing_in_warehouse,
        missing_in_lake=missing_in_lake,
    )


def _after(log: Held, store: str, position: Position | None, new_log: bool) -> int:
    """The store's own seq, once it is known to lie in this log or, with a person's word, below it."""
    if position is None:
        return 0
    other = position.log_id != log.log_id
    if other and (position.seq >= log.first_seq or (position.seq < log.first_seq - 1 and not new_log)):
        raise Damaged(
            f"the {store} stands at seq {position.seq} of another log, this one begins at {log.first_seq}; put the "
            "old log's folder back, or start once with --new-log to set this one aside and begin a new one above "
            f"seq {position.seq}",
            code="OTHER_LOG",
            value=position.seq,
            limit=log.first_seq,
        )
    if not other and position.seq > log.durable_seq:
        raise Damaged(
            f"the {store} stands at seq {position.seq}, the log ends at {log.durable_seq}: its end is missing; put "
            "the log's folder back, or start once with --new-log to set it aside and begin a new one above seq "
            f"{position.seq}",
            code="AHEAD_OF_LOG",
            value=position.seq,
            limit=log.durable_seq,
        )
    return position.seq
