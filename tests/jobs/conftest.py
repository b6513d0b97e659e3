"""A runner over a real catalog, in threads of the test's process."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from headwater.jobs.base import Job, Kind
from headwater.jobs.queue import Queue
from headwater.jobs.runner import PART, Runner
from headwater.observe.gauges import Registry
from headwater.observe.health import Health
from headwater.storage.catalog import open_catalog
from headwater.storage.catalog.jobs import JobRow

LEASE_SECONDS = 1.0


class Works:
    """One worker: queue, runner and its two loops."""

    def __init__(self, url: str, kinds: Mapping[str, Kind], lanes: Mapping[str, int]) -> None:
        self.catalog = open_catalog(url)
        self.jobs = self.catalog.jobs
        self.health = Health(Registry())
        self.health.register(PART)
        self.queue = Queue(self.catalog, kinds, queued_max=100)
        self.runner = Runner(
            self.catalog,
            self.queue,
            self.health,
            lanes=lanes,
            lease_seconds=LEASE_SECONDS,
            history_seconds=3600,
            history_max=1000,
            backoff_seconds_min=0.02,
        )
        self.halt = threading.Event()
        self.threads = [
            threading.Thread(target=loop, args=(self.halt,), daemon=True)
            for loop in (self.runner.dispatch, self.runner.beat)
        ]
        for thread in self.threads:
            thread.start()

    def put(self, kind: str, *, key: str | None = None, **args: Any) -> JobRow:
        return self.queue.put("p", kind, args, dedup_key=key)

    def get(self, row: JobRow) -> JobRow:
        return self.jobs.get("p", row.id)

    def ended(self, row: JobRow, seconds: float = 10) -> JobRow:
        return wait_for(lambda: found if (found := self.get(row)).finished_us is not None else None, seconds)

    def running(self, row: JobRow) -> JobRow:
        return wait_for(lambda: found if (found := self.get(row)).state == "running" else None)

    def close(self) -> None:
        self.runner.stop(5)
        self.halt.set()
        for thread in self.threads:
            thread.join(10)
        self.catalog.close()


def wait_for(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """What `condition` gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {seconds} s"
        threading.Event().wait(0.005)
    return found


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/catalog.sqlite"


@pytest.fixture
def works(url: str) -> Iterator[Callable[..., Works]]:
    """`works(kind=function or Kind, …)` starts a worker; several share one catalog."""
    started: list[Works] = []

    def start(lanes: Mapping[str, int] | None = None, **kinds: Kind | Callable[[Job], Any]) -> Works:
        made = {name: kind if isinstance(kind, Kind) else Kind(kind, lane="work") for name, kind in kinds.items()}
        started.append(Works(url, made, lanes or {}))
        return started[-1]

    yield start
    for each in started:
        each.close()
