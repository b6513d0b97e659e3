"""Two thirds of 10M rows removed while 20k events/s are loaded; then the space given back.

In-process, on a copy of a file that the real store built. A stall is how much longer than the median a load took from
when it was due to its end; the same is measured before the removal begins. What is removed and what is left is counted.
"""

import statistics
import threading
import time
from collections.abc import Callable

from bench.probes import at
from bench.product import folder
from bench.report import Row, not_measured
from bench.run import Run
from bench.stock import DAY_US, END_US, block_of, copied, events, settle, stock
from headwater.domain.retention import Horizon
from headwater.storage.warehouse.base import Block
from headwater.storage.warehouse.duckdb.store import DuckWarehouse

ROWS, QUICK_ROWS = 10_000_000, 1_000_000
BUILD_SECONDS_MAX = 200
KEPT_DAYS = 10
BATCH, EVERY_SECONDS = 1_000, 0.05
ALONE_SECONDS = 9.0
"""Long enough for a seal and its checkpoint, which stall loads as well."""
BLOCKS = 1_600
SEAL_ROWS = 122_880


def rows(run: Run) -> list[Row]:
    n = QUICK_ROWS if run.quick else ROWS
    try:
        built = stock(n, BUILD_SECONDS_MAX)
    except TimeoutError as late:
        return [not_measured("retention", f"commit stall while removing from {n} rows", "ms", str(late), 100)]
    with folder() as place:
        path = copied(built, place / "copy")
        warehouse = DuckWarehouse(path, seal_rows=SEAL_ROWS)
        try:
            live = Live(warehouse, n)
            alone = live.beside(lambda: time.sleep(ALONE_SECONDS))
            began = time.monotonic()
            removing = live.beside(lambda: remove(warehouse))
            seconds = time.monotonic() - began
            removed = warehouse.ledger(0, 0, None).totals.removed
            settle(warehouse)
            before = path.stat().st_size
            reclaiming = live.beside(lambda: list(warehouse.reclaim()))
            if warehouse.ledger(0, 0, None).totals.stored != live.seq - removed:
                raise RuntimeError("the ledger does not hold")
        finally:
            warehouse.close()
        after = path.stat().st_size
    return [
        Row("retention", "rows removed beside 20k events/s", removed / seconds, "rows/s", None, None),
        *stalls("removing", removing, alone),
        *stalls("giving space back", reclaiming, alone),
        Row(
            "retention",
            "size after giving space back",
            after / before,
            "of the size before",
            None,
            None,
            more_is_better=False,
            absolute={"MB before": before >> 20, "MB after": after >> 20},
        ),
    ]


def remove(warehouse: DuckWarehouse) -> None:
    """As the job does it, with rests."""
    us = END_US - KEPT_DAYS * DAY_US
    warehouse.raise_horizon(Horizon(us, us))
    while True:
        began = time.monotonic()
        if warehouse.remove_some() is None:
            return
        time.sleep(time.monotonic() - began)


def stalls(what: str, delays: list[float], alone: list[float]) -> list[Row]:
    usual = statistics.median(alone)
    found = sorted(max(0.0, each - usual) for each in delays)
    without = sorted(max(0.0, each - usual) for each in alone)
    facts = {"loads": len(found), "alone p99": at(without, 0.99), "alone max": without[-1]}
    return [
        Row(
            "retention",
            f"commit stall while {what}, {name}",
            ms,
            "ms",
            floor,
            None,
            more_is_better=False,
            absolute=facts,
        )
        for name, ms, floor in (("p99", at(found, 0.99), 100), ("max", found[-1], 600))
    ]


class Live:
    """Loads of 1,000 events, each due 50 ms after the one before."""

    def __init__(self, warehouse: DuckWarehouse, seq: int) -> None:
        self.warehouse = warehouse
        self.seq = seq
        self._events = events(seq, BATCH * BLOCKS, END_US, END_US + BLOCKS)
        self._taken = 0

    def _next(self) -> Block:
        """Made before: their making would take the time of the loads."""
        place = self._taken * BATCH
        self._taken += 1
        made = block_of(self.seq, BATCH, END_US, self._events.slice(place, BATCH))
        self.seq += BATCH
        return made

    def beside(self, work: Callable[[], object]) -> list[float]:
        """ms of each load from when it was due to its end, while `work` runs in another thread."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        found = []
        due = time.monotonic()
        while thread.is_alive():
            following = self._next()
            time.sleep(max(0.0, due - time.monotonic()))
            self.warehouse.load(following)
            self.warehouse.maintain()
            found.append(1000 * (time.monotonic() - due))
            due = max(due + EVERY_SECONDS, time.monotonic())
        if failed:
            raise failed[0]
        return found
