"""Acknowledged durable, the collector's role alone: batches of 100 and 1000 against D and N, batches of 1 against V, N.

A load of wrk over one thread on the same cores; nobody takes the backlog away. Each number is the best of its rounds;
in a round ours, D, N (and V) follow each other, so that what slows the machine down slows all of them.
"""

from contextlib import ExitStack

from tests.served import Served

from bench import wrk
from bench.decode import D
from bench.peer import app
from bench.product import NO_CONSUMER, address, folder, product
from bench.report import Row, not_measured
from bench.run import Run

SECONDS = 4
ROUNDS = 2
MANY = ((100, (8, 32)), (1000, (8, 32)))
ONE_CONNECTIONS = 64
FLOORS = {"D": (0.25, 0.30), "N": (10, 12)}
ONE_FLOORS = {"V": (0.8, 0.9), "N": (4, 6)}


def rows(run: Run) -> list[Row]:
    if why := wrk.missing():
        return [not_measured("ingest_collect", "acknowledged durable", "D", why)]
    found: list[Row] = []
    for batch, connections in MANY:
        found += many(run, batch, connections)
    return found + one(run)


def collector(stack: ExitStack) -> Served:
    data = stack.enter_context(folder()) / "data"
    return stack.enter_context(product(data, "--role", "collect", **NO_CONSUMER))


def ours(served: Served, batch: int, connections: int, seconds: float) -> wrk.Load:
    done = wrk.load(address(served), batch, connections, seconds, key=served.keys["sk"])
    if done.refused or done.broken:
        raise RuntimeError(f"{done.refused} requests were refused and {done.broken} broken at batches of {batch}")
    return done


def many(run: Run, batch: int, connections: tuple[int, ...]) -> list[Row]:
    decode = D(batch)
    best: dict[int, wrk.Load] = {}
    seconds = run.seconds(SECONDS)
    for _ in range(run.rounds(ROUNDS)):
        for number in connections:
            with ExitStack() as stack:
                served = collector(stack)
                decode.measure(2)
                load = ours(served, batch, number, seconds)
                if number not in best or load.events_per_second > best[number].events_per_second:
                    best[number] = load
        decode.measure(2)
        run.peer_rate(batch, connections[0], seconds)
    found = []
    for number, load in best.items():
        absolute = {"events/s": load.events_per_second, "D": decode.best, "p99 ms": load.p99_ms}
        what = f"collect alone, batches of {batch}, {number} connections"
        rate = load.events_per_second
        found.append(Row("ingest_collect", what, rate / decode.best, "D", *FLOORS["D"], absolute=absolute))
    best_rate = max(load.events_per_second for load in best.values())
    return [*found, against_peer(run, f"collect alone, batches of {batch}", best_rate, batch, FLOORS["N"])]


def one(run: Run) -> list[Row]:
    mine: wrk.Load | None = None
    bare = 0.0
    seconds = run.seconds(SECONDS)
    for _ in range(run.rounds(ROUNDS + 1)):
        with ExitStack() as stack:
            load = ours(collector(stack), 1, ONE_CONNECTIONS, seconds)
            if mine is None or load.events_per_second > mine.events_per_second:
                mine = load
        with app("bench.validate_only:app") as where:
            bare = max(bare, wrk.load(where, 1, ONE_CONNECTIONS, seconds).events_per_second)
        run.peer_rate(1, ONE_CONNECTIONS, seconds)
    assert mine is not None
    what = f"collect alone, batches of 1, {ONE_CONNECTIONS} connections"
    rate = mine.events_per_second
    absolute = {"events/s": rate, "V": bare, "p99 ms": mine.p99_ms}
    return [
        Row("ingest_collect", what, rate / bare, "V", *ONE_FLOORS["V"], absolute=absolute),
        against_peer(run, what, rate, 1, ONE_FLOORS["N"]),
    ]


def against_peer(run: Run, what: str, rate: float, batch: int, floor_aim: tuple[float, float]) -> Row:
    peer = run.peer_best(batch)
    if peer is None:
        return not_measured("ingest_collect", what, "N", run.no_peer or "", floor_aim[0])
    return Row("ingest_collect", what, rate / peer, "N", *floor_aim, absolute={"events/s": rate, "N": peer})
