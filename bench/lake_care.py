"""Small files of the lake merged: how fast, and what the merging does to live events beside it.

Alone: in-process, a lake that the archive's own code filled, two full merges. Beside: the whole product takes 20k
events/s and seals small files, first some seconds without care, then as long with one compaction after the other.
Delays of the probes, and how much longer than usual the warehouse took between two commits, are told for both.
"""

import random
import time
from itertools import pairwise
from typing import Any

from tests.served import Served

from bench.bodies import Template
from bench.clients import Paced
from bench.probes import Probes, at
from bench.product import address, folder, product
from bench.report import Row
from bench.run import Run
from headwater.domain.batches import Batch, Form, encode_batch
from headwater.process.rows import rows_of
from headwater.storage.lake import open_lake
from headwater.storage.log.base import Frame, Kind, Position

BATCH = 100
FILE_EVENTS = 50_000
FILES = 40
RATE = 20_000
SEAL_EVENTS = 2_500
"""Eight files a second: twenty times as many as usual, so that there is always something to merge."""
BEFORE_EVENTS = 1_000_000
"""Sent before, so that full merges are among those that run beside the live events."""
SECONDS = 20.0
WARM_SECONDS = 3.0
FRESH_MS, STALL_P99_MS, STALL_MAX_MS = 250, 100, 600
RECEIVED_US = 1_700_000_000_000_000
"""A day that is over by any clock."""


def rows(run: Run) -> list[Row]:
    return [*alone(FILES // 4 if run.quick else FILES), *beside(SECONDS / 4 if run.quick else SECONDS)]


def alone(files: int) -> list[Row]:
    with folder() as place:
        lake = open_lake(f"file://{place}/lake")
        try:
            fill(lake, files)
            wall, cpu = time.perf_counter(), time.process_time()
            parts = list(lake.compact())
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            events, size = sum(part.rows for part in parts), sum(part.bytes for part in parts)
            after = sum(part.bytes_after for part in parts)
            if events != files * FILE_EVENTS or any(part.left_alone for part in parts):
                raise RuntimeError(f"not everything was merged: {parts}")
        finally:
            lake.close()
    facts = {
        "MB/s": size / 1e6 / wall,
        "µs CPU an event": 1e6 * cpu / events,
        "MB": size / 1e6,
        "MB after": after / 1e6,
    }
    return [Row("lake_care", "events/s merged, no other load", events / wall, "events/s", absolute=facts)]


def fill(lake: Any, files: int) -> None:
    rng, template = random.Random(1), Template(BATCH, 1)
    seq = 0
    for _ in range(files):
        payloads = [encode_batch(batch(template.fresh(rng)[0], rng)) for _ in range(FILE_EVENTS // BATCH)]
        frame = Frame(
            first_seq=seq + 1,
            n=FILE_EVENTS,
            kind=Kind.EVENTS,
            counts={(RECEIVED_US // 60_000_000, "web"): FILE_EVENTS},
            payloads=payloads,
            entry_sizes=[BATCH] * len(payloads),
        )
        seq += FILE_EVENTS
        lake.append(rows_of([frame]), Position(b"L" * 16, seq))


def batch(body: bytes, rng: random.Random) -> Batch:
    return Batch(
        batch_id=rng.randbytes(16),
        received_us=RECEIVED_US,
        n=BATCH,
        form=Form.ARRAY,
        body=body,
        key_id="key",
        source="web",
        id_base=rng.randbytes(16),
    )


def beside(seconds: float) -> list[Row]:
    environment = {"HEADWATER_LAKE__SEAL_EVENTS": str(SEAL_EVENTS)}
    with folder() as place, product(place / "data", **environment) as served:
        rng, template = random.Random(1), Template(1000, 1)
        for _ in range(BEFORE_EVENTS // 1000):
            assert served.send(template.fresh(rng)[0])[0] == 201
        served.settled(120)
        served.wait_for(lambda: served.ask("GET", "/api/v1/lake")[2]["rows"] == BEFORE_EVENTS, 120)
        paced = Paced(address(served), served.keys["sk"], RATE, BATCH, WARM_SECONDS + 2 * seconds + 5)
        with Probes(served) as probes:
            time.sleep(WARM_SECONDS + seconds)
            began, commits = time.perf_counter(), len(probes.commits)
            merged = compact_for(served, seconds)
            ended, commits_end = time.perf_counter(), len(probes.commits)
            live = paced.figures()
        first = probes.acknowledged[0] + WARM_SECONDS
        told = list(zip(probes.acknowledged, probes.visible, strict=False))
        quiet = sorted(1000 * (seen - at_) for at_, seen in told if first <= at_ < began)
        busy = sorted(1000 * (seen - at_) for at_, seen in told if began <= at_ < ended)
        stalls_quiet = stalls(probes.commits[:commits])
        stalls_busy = stalls(probes.commits[commits:commits_end])
    kept = live["events/s"] >= 0.97 * RATE and not live["refused"]
    note = "" if kept else f"THE LIVE RATE WAS NOT KEPT: {live}"
    what = f"while merging {merged / (ended - began) / 1000:,.0f}k events/s beside {RATE // 1000}k live events/s"

    def row(name: str, found: list[float], without: list[float], quantile: float, floor: float) -> Row:
        facts = {
            "p50": at(found, 0.5),
            "max": found[-1],
            "n": len(found),
            "without p50": at(without, 0.5),
            "without p99": at(without, 0.99),
            "without max": without[-1],
        }
        return Row("lake_care", name, at(found, quantile), "ms", floor, more_is_better=False, absolute=facts, note=note)

    return [
        row(f"acknowledged to visible p99, {what}", busy, quiet, 0.99, FRESH_MS),
        row(f"commit stall p99, {what}", stalls_busy, stalls_quiet, 0.99, STALL_P99_MS),
        row(f"commit stall max, {what}", stalls_busy, stalls_quiet, 1.0, STALL_MAX_MS),
    ]


def stalls(commits: list[float]) -> list[float]:
    """How much longer than the median it took between two commits, in ms, ascending."""
    gaps = sorted(1000 * (later - sooner) for sooner, later in pairwise(commits))
    return [max(0.0, gap - at(gaps, 0.5)) for gap in gaps]


def compact_for(served: Served, seconds: float) -> int:
    """One compaction after the other for so long; rows that were merged."""
    until, rows = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        status, _, asked = served.ask("POST", "/api/v1/lake/compact", {"dryRun": False})
        assert status == 202, asked

        def ended(job_id: str = asked["jobId"]) -> Any:
            job = served.ask("GET", f"/api/v1/jobs/{job_id}")[2]
            return job if job["finishedAt"] else None

        job = served.wait_for(ended, 300)
        assert job["state"] == "succeeded", job
        rows += job["result"]["rows"]
    return rows
