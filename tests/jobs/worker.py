"""One worker process of the contention test: `worker.py CATALOG_URL EFFECTS_FILE LEASE_SECONDS`; SIGTERM stops it.

Each job adds its numbered steps to a file of effects, as its kind promises: a step done twice changes nothing.
"""

import random
import signal
import sqlite3
import sys
import threading

from headwater.jobs.base import Job, Kind
from headwater.jobs.queue import Queue
from headwater.jobs.runner import PART, Runner
from headwater.observe.gauges import Registry
from headwater.observe.health import Health
from headwater.storage.catalog import open_catalog

STEP_SECONDS_MAX = 0.03


def add_steps(job: Job) -> dict[str, int]:
    done = job.checkpoint["done"] if job.checkpoint else 0
    con = sqlite3.connect(sys.argv[2], timeout=30, isolation_level=None)
    con.execute("insert into lives values (?, ?, ?)", (job.id, job.attempt, done))
    try:
        for step in range(done, job.args["steps"]):
            con.execute("insert or ignore into effects values (?, ?)", (job.id, step))
            threading.Event().wait(random.uniform(0, STEP_SECONDS_MAX))
            job.save({"done": step + 1}, done=step + 1, total=job.args["steps"])
    finally:
        con.close()
    return {"steps": job.args["steps"]}


def main() -> None:
    catalog = open_catalog(sys.argv[1])
    health = Health(Registry())
    health.register(PART)
    queue = Queue(catalog, {"steps": Kind(add_steps, lane="work", attempts_max=100)}, queued_max=10_000)
    runner = Runner(
        catalog,
        queue,
        health,
        lanes={"work": 2},
        lease_seconds=float(sys.argv[3]),
        history_seconds=3600,
        history_max=10_000,
    )
    told, halt = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    loops = [threading.Thread(target=loop, args=(halt,)) for loop in (runner.dispatch, runner.beat)]
    for loop in loops:
        loop.start()
    print("up", flush=True)
    told.wait()
    runner.stop(5)
    halt.set()
    for loop in loops:
        loop.join()
    catalog.close()


if __name__ == "__main__":
    main()
