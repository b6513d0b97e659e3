"""Events of a quarantine replayed, patched, beside 20k live events a second: how many a second, and how fresh the live
ones stay meanwhile. The same without live load tells what the replay itself can do.

Broken events came in requests of 100, as the live ones do. The rate counts from the job's being asked for to its end,
which is when the last event is stored.
"""

import json
import random
import time
from typing import Any

from tests.served import Served

from bench.bodies import Template
from bench.clients import Paced
from bench.probes import Probes, at
from bench.product import address, folder, product
from bench.report import Row
from bench.run import Run

BATCH = 100
EVENTS = 500_000
RATE = 20_000
FRESH_MS = 250
WARM_SECONDS = 3.0
BAD_NAME = b'"name": "broken_'
PATCH = [{"op": "cast", "field": "attributes.price", "type": "number"}]


def rows(run: Run) -> list[Row]:
    events = EVENTS // 10 if run.quick else EVENTS
    return [alone(events), *beside(events)]


def alone(events: int) -> Row:
    with folder() as place, product(place / "data") as served:
        break_events(served, events)
        rate, result = replayed(served)
    return Row("replay", "events/s replayed, no other load", rate, "events/s", absolute=figures_of(result))


def beside(events: int) -> list[Row]:
    with folder() as place, product(place / "data") as served:
        break_events(served, events)
        seconds = WARM_SECONDS + events / 50_000 + 5
        paced = Paced(address(served), served.keys["sk"], RATE, BATCH, seconds)
        with Probes(served) as probes:
            time.sleep(WARM_SECONDS)
            rate, result = replayed(served)
            during = len(probes.acknowledged)
            live = paced.figures()
        delays = sorted(
            1000 * (seen - told)
            for told, seen in list(zip(probes.acknowledged, probes.visible, strict=True))[:during]
            if told >= probes.acknowledged[0] + WARM_SECONDS
        )
    kept = live["events/s"] >= 0.97 * RATE and not live["refused"]
    note = "" if kept else f"THE LIVE RATE WAS NOT KEPT: {live}"
    what = f"beside {RATE // 1000}k live events/s"
    return [
        Row("replay", f"events/s replayed {what}", rate, "events/s", 50_000, absolute=figures_of(result), note=note),
        Row(
            "replay",
            f"acknowledged to visible p99 {what}, while replaying",
            at(delays, 0.99),
            "ms",
            FRESH_MS,
            more_is_better=False,
            absolute={"p50": at(delays, 0.5), "max": delays[-1], "probes": len(delays), "ack p99": live["ack p99 ms"]},
            note=note,
        ),
    ]


def break_events(served: Served, events: int) -> None:
    """So many whose price is a text, under names of their own."""
    rng, template = random.Random(1), Template(BATCH, 1)
    names = {event["name"] for event in json.loads(template.fresh(rng)[0])}
    for name in names:
        schema = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}
        status, _, answer = served.ask(
            "PUT", f"/api/v1/schemas/broken_{name}@1", {"name": f"broken_{name}", "jsonSchema": schema}
        )
        assert status in (200, 201), answer
    served.wait_for(lambda: sent(served, template, rng) == BATCH)
    for _ in range(events // BATCH):
        assert sent(served, template, rng) == BATCH
    served.settled(120)


def sent(served: Served, template: Template, rng: random.Random) -> int:
    """How many of a request's events went to quarantine."""
    body = (
        template.fresh(rng)[0]
        .replace(b'"name": "', BAD_NAME)
        .replace(b'"attributes": {', b'"attributes": {"price": "12.50", ')
    )
    status, _, answer = served.send(body)
    assert status == 201, answer
    return int(answer["quarantined"])


def replayed(served: Served) -> tuple[float, dict[str, Any]]:
    """Events a second, and the job's result."""
    begin = time.perf_counter()
    status, _, answer = served.ask("POST", "/api/v1/quarantine/replay", {"filter": {}, "patch": PATCH, "dryRun": False})
    assert status == 202, answer
    job = served.wait_for(lambda: ended(served, answer["jobId"]), 600)
    if job["state"] != "succeeded":
        raise RuntimeError(f"the replay ended: {job}")
    return job["result"]["stored"] / (time.perf_counter() - begin), job["result"]


def ended(served: Served, job_id: str) -> dict[str, Any] | None:
    job: dict[str, Any] = served.ask("GET", f"/api/v1/jobs/{job_id}")[2]
    return job if job["finishedAt"] else None


def figures_of(result: dict[str, Any]) -> dict[str, float]:
    return {name: result[name] for name in ("selected", "stored", "duplicate", "quarantined")}
