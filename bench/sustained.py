"""Sustained until queryable: events stored in the warehouse per second while clients push as fast as they are let.

Batches of 100 over 32 connections. Counted by the stream's own counter of stored rows, over the time from the first
3 s on: a rate of acknowledgements would count the backlog, too. Memory is the PSS of all our processes; flat means that
the second half of the run needs at most a tenth more than the first.
"""

import threading
import time
from contextlib import ExitStack

from tests.served import Served

from bench import wrk
from bench.decode import D
from bench.product import Memory, address, folder, product, stored
from bench.report import Row, not_measured
from bench.run import Run

BATCH, CONNECTIONS = 100, 32
SECONDS, SHORT_SECONDS = 20, 12
WARM_SECONDS = 3.0
MEMORY_MB_MAX = 600.0
GROWTH_MAX = 1.1


def rows(run: Run) -> list[Row]:
    if why := wrk.missing():
        return [not_measured("sustained", "until queryable", "D", why)]
    decode = D(BATCH)
    run.peer_rate(BATCH, 8, run.seconds(4))
    found, rate = measured(run, decode, "all in one process", SECONDS, (0.08, 0.11))
    peer = run.peer_best(BATCH)
    what = "until queryable, all in one process"
    if peer is None:
        found.append(not_measured("sustained", what, "N", run.no_peer or "", 6))
    else:
        found.append(Row("sustained", what, rate / peer, "N", 6, absolute={"events/s": rate, "N": peer}))
    worker, _ = measured(run, decode, "with a decode worker", SHORT_SECONDS, (0.11, 0.13), "--decode-workers", "1")
    apart, _ = measured(run, decode, "collect role apart", SHORT_SECONDS, (0.11, 0.15), apart=True)
    return [*found, *worker[:1], *apart[:1]]


def measured(
    run: Run, decode: D, name: str, seconds: float, floor_aim: tuple[float, float], *flags: str, apart: bool = False
) -> tuple[list[Row], float]:
    seconds = run.seconds(seconds)
    decode.measure()
    with ExitStack() as stack:
        data = stack.enter_context(folder()) / "data"
        if apart:
            collect = stack.enter_context(product(data, "--role", "collect"))
            core = stack.enter_context(product(data, "--role", "process,api", *flags))
        else:
            collect = core = stack.enter_context(product(data, *flags))
        memory = Memory(*{served.process.pid for served in (collect, core) if served.process})
        rate, load = push(collect, core, seconds)
        samples = memory.end()
        settled = core.settled(60)
        if not settled["balanced"] or settled["lost"]:
            raise RuntimeError(f"the ledger does not balance: {settled}")
    decode.measure()
    half = len(samples) // 2
    first, second = max(samples[:half]), max(samples[half:])
    peak = max(first, second)
    growth = second / first
    absolute = {"events/s": rate, "D": decode.best, "ack p99 ms": load.p99_ms, "peak MB": peak}
    note = "" if not load.refused else f"{load.refused} of {load.requests} requests refused"
    memory_row = Row(
        "sustained",
        f"peak memory, {name}",
        peak,
        "MB",
        MEMORY_MB_MAX,
        more_is_better=False,
        absolute={"first half": first, "second half": second},
        note="flat" if growth <= GROWTH_MAX else f"NOT FLAT: grew by {growth - 1:.0%}",
    )
    what = f"until queryable, {name}"
    return [Row("sustained", what, rate / decode.best, "D", *floor_aim, absolute=absolute, note=note), memory_row], rate


def push(collect: Served, core: Served, seconds: float) -> tuple[float, wrk.Load]:
    """Events stored per second after the warm-up, and what the clients saw."""
    loads: list[wrk.Load] = []

    def send() -> None:
        loads.append(wrk.load(address(collect), BATCH, CONNECTIONS, seconds + 1, key=collect.keys["sk"]))

    sender = threading.Thread(target=send)
    sender.start()
    warm = min(WARM_SECONDS, seconds / 3)
    time.sleep(warm)
    before, begin = stored(core), time.perf_counter()
    time.sleep(seconds - warm)
    after, end = stored(core), time.perf_counter()
    sender.join()
    return (after - before) / (end - begin), loads[0]
