"""The exact duplicate check of a batch of 5,000 at 10M rows: normal, and with one event 30 days late.

In-process, on a copy of a file that the real store built by bulk loads. What counts is the median of the phase
`duplicates` of whole loads: 50 repeats in the batch, 200 of recent events, 200k rows still hot. In the second kind one
event is new and 30 days old. Each load must count exactly the repeats that were put in.
"""

import random
import statistics

from bench.product import folder
from bench.report import Row, not_measured
from bench.run import Run
from bench.stock import DAY_US, END_US, block_of, copied, events, stock
from headwater.process.arrow import table_of
from headwater.storage.warehouse.base import EVENT_COLUMNS
from headwater.storage.warehouse.duckdb.store import DuckWarehouse

ROWS, QUICK_ROWS = 10_000_000, 1_000_000
BUILD_SECONDS_MAX = 200
HOT_ROWS = 200_000
BATCH, IN_BATCH, RECENT = 5_000, 50, 200
LOADS = 15
FLOORS = {"normal": (25, 15), "one event 30 days late": (70, 48)}


def rows(run: Run) -> list[Row]:
    n = QUICK_ROWS if run.quick else ROWS
    try:
        built = stock(n, BUILD_SECONDS_MAX)
    except TimeoutError as late:
        return [not_measured("duplicates", f"5k batch at {n} rows", "ms", str(late), 25)]
    found = []
    with folder() as place:
        warehouse = DuckWarehouse(copied(built, place / "copy"), seal_rows=1 << 40)
        try:
            source = Source(warehouse, n)
            for kind, (floor, aim) in FLOORS.items():
                ms = [1000 * source.load(late=kind != "normal") for _ in range(LOADS)][2:]
                what = f"duplicate check of 5k at {n // 1_000_000}M rows, {kind}"
                absolute = {"worst": max(ms), "loads": len(ms)}
                found.append(
                    Row(
                        "duplicates",
                        what,
                        statistics.median(ms),
                        "ms",
                        floor,
                        aim,
                        more_is_better=False,
                        absolute=absolute,
                    )
                )
        finally:
            warehouse.close()
    return found


class Source:
    """Batches after the stock's end, with repeats in them."""

    def __init__(self, warehouse: DuckWarehouse, rows: int) -> None:
        self.warehouse = warehouse
        self.seq = rows
        self.us = END_US
        self.rng = random.Random(7)
        self.recent: list[tuple] = []
        while self.seq < rows + HOT_ROWS:
            self._send(self._columns(20_000), 0)

    def load(self, late: bool) -> float:
        """Seconds of the duplicate check."""
        columns = self._columns(BATCH)
        places = self.rng.sample(range(BATCH), IN_BATCH + RECENT + 1)
        fresh = sorted(set(range(BATCH)).difference(places))
        for place in places[:IN_BATCH]:
            self._set(columns, place, self._key(columns, self.rng.choice(fresh)))
        for place, key in zip(places[IN_BATCH:-1], self.rng.sample(self.recent, RECENT), strict=True):
            self._set(columns, place, key)
        if late:
            columns["created_us"][places[-1]] = columns["occurred_us"][places[-1]] = END_US - 30 * DAY_US + self.seq
        return self._send(columns, IN_BATCH + RECENT)

    def _columns(self, n: int) -> dict[str, list]:
        # 20k events a second.
        end_us = self.us + n * 50
        table = events(self.seq, n, self.us, end_us, "new")
        self.us = end_us
        return {name: table[name].to_pylist() for name in EVENT_COLUMNS}

    def _send(self, columns: dict[str, list], repeats: int) -> float:
        n = len(columns["seq"])
        block = block_of(self.seq, n, columns["received_us"][0], table_of(columns, EVENT_COLUMNS))
        loaded = self.warehouse.load(block)
        if loaded.duplicate != repeats:
            raise RuntimeError(f"{loaded.duplicate} duplicates were found, {repeats} are in the batch")
        self.seq += n
        self.recent = [self._key(columns, place) for place in range(0, n, max(1, n // 1000))] + self.recent[:4000]
        return loaded.seconds["duplicates"]

    def _key(self, columns: dict[str, list], place: int) -> tuple:
        return columns["id"][place], columns["created_us"][place]

    def _set(self, columns: dict[str, list], place: int, key: tuple) -> None:
        columns["id"][place], columns["created_us"][place] = key
