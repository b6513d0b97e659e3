"""From acknowledgement to visible in a query, p99, while batches of 100 come at 20k and at 60k events a second.

A probe counts as visible when an answer that counts it has arrived, so the time of asking (one question after the
other, 10 ms apart) is part of it. The first 3 s don't count.
"""

from bench.clients import Paced
from bench.probes import Probes, at
from bench.product import address, folder, product
from bench.report import Row
from bench.run import Run

BATCH = 100
SECONDS = 15
WARM_SECONDS = 3.0
RATES = ((20_000, 250, 90), (60_000, 500, 240))
KEPT_MIN = 0.97
"""Of the rate that was meant to come: below it the row says so."""


def rows(run: Run) -> list[Row]:
    return [measured(run, *rate) for rate in RATES]


def measured(run: Run, rate: int, floor_ms: float, aim_ms: float) -> Row:
    seconds = run.seconds(SECONDS)
    with folder() as place, product(place / "data") as served:
        paced = Paced(address(served), served.keys["sk"], rate, BATCH, seconds)
        with Probes(served) as probes:
            figures = paced.figures()
        delays = probes.delays_ms(min(WARM_SECONDS, seconds / 3))
    answers = sorted(probes.answers)
    kept = figures["events/s"] >= KEPT_MIN * rate and not figures["refused"]
    return Row(
        "freshness",
        f"acknowledged to visible p99, {rate // 1000}k events/s",
        at(delays, 0.99),
        "ms",
        floor_ms,
        aim_ms,
        more_is_better=False,
        absolute={
            "p50": at(delays, 0.5),
            "max": delays[-1],
            "probes": len(delays),
            "ack p99": figures["ack p99 ms"],
            "question p50": 1000 * at(answers, 0.5),
            "events/s": figures["events/s"],
        },
        note="" if kept else f"THE RATE WAS NOT KEPT: {figures}",
    )
