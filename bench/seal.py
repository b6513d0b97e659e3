"""Commit stalls while sealing, after the first seal: 20k events/s for as long as two more seals take.

A stall is how much later than usual a load was committed after the one before it; whatever makes it late counts: the
commit itself, the checkpoint after a seal, waiting for either. Read from the `positions` of the warehouse once the
product has stopped: every load notes there when it began to commit. (The `asOf` of answers would count an answer that
came late as a load that did.) Questions are asked all the while, and tell when events were visible. The first seal,
whose checkpoint is the dearest, comes from a load as fast as it goes and is not counted.
"""

import time
from itertools import pairwise
from pathlib import Path

import duckdb
from tests.served import Served

from bench import wrk
from bench.clients import Paced
from bench.probes import Probes, at
from bench.product import address, folder, metrics, product, total
from bench.report import Row, not_measured
from bench.run import Run

RATE, BATCH = 20_000, 100
SECONDS, QUICK_SECONDS = 44.0, 20.0
FIRST_SEAL_SECONDS_MAX = 40
BUCKET = "headwater_process_commits_within_seconds_total"


def rows(run: Run) -> list[Row]:
    if why := wrk.missing():
        return [not_measured("seal", "commit stall while sealing", "ms", why, 100)]
    with folder() as place, product(place / "data") as served:
        first_seal(served)
        before, began_us = metrics(served), time.time_ns() // 1000
        paced = Paced(address(served), served.keys["sk"], RATE, BATCH, QUICK_SECONDS if run.quick else SECONDS)
        with Probes(served) as probes:
            figures = paced.figures()
        after, ended_us = metrics(served), time.time_ns() // 1000
        served.stop()
        stalls, delays = stalls_ms(place / "data", began_us, ended_us), probes.delays_ms()
    sealed = total(after, "headwater_warehouse_sealed_rows") - total(before, "headwater_warehouse_sealed_rows")
    if not sealed:
        return [not_measured("seal", "commit stall while sealing", "ms", "no seal came in the time", 100)]
    absolute = {
        "loads": len(stalls),
        "rows sealed": sealed,
        "events/s": figures["events/s"],
        "ack p99": figures["ack p99 ms"],
        "visible p99": at(delays, 0.99),
        "visible max": delays[-1],
    }
    note = "commits by the server's own count: " + histogram(before, after)
    names = {"commit stall while sealing, p99": (at(stalls, 0.99), 100, 41), "the same, max": (stalls[-1], 600, 250)}
    return [
        Row("seal", what, ms, "ms", floor, aim, more_is_better=False, absolute=absolute, note=note)
        for what, (ms, floor, aim) in names.items()
    ]


def first_seal(served: Served) -> None:
    deadline = time.monotonic() + FIRST_SEAL_SECONDS_MAX
    while not total(metrics(served), "headwater_warehouse_sealed_rows"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no seal in {FIRST_SEAL_SECONDS_MAX} s")
        wrk.load(address(served), BATCH, 8, 2, key=served.keys["sk"])
    served.settled(60)
    # The checkpoint of that seal is made by the loading thread when it has nothing else to do.
    time.sleep(2)


def stalls_ms(data: Path, began_us: int, ended_us: int) -> list[float]:
    """How much later than usual each load of that time was committed after the one before it, ascending."""
    (database,) = data.rglob("warehouse.duckdb")
    with duckdb.connect(str(database), read_only=True) as con:
        times = con.execute(
            "select epoch_us(committed_at) from positions where epoch_us(committed_at) between ? and ? order by 1",
            [began_us, ended_us],
        ).fetchall()
    gaps = sorted((later - sooner) / 1000 for (sooner,), (later,) in pairwise(times))
    usual = at(gaps, 0.5)
    return [max(0.0, gap - usual) for gap in gaps]


def histogram(before: dict[tuple[str, str], float], after: dict[tuple[str, str], float]) -> str:
    """`<=10ms 812, <=25ms 40`: commits by bucket."""
    grown = {
        float(labels.split('le="')[1].split('"')[0]): value - before.get((name, labels), 0.0)
        for (name, labels), value in after.items()
        if name == BUCKET
    }
    edges = sorted(grown)
    inside = {edge: grown[edge] - (grown[edges[i - 1]] if i else 0.0) for i, edge in enumerate(edges)}
    return ", ".join(f"<={edge * 1000:g}ms {n:.0f}" for edge, n in inside.items() if n)
