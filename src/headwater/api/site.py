"""What the routes may ask for: the composed house, handed in by `boot`. Data and doors only; the work is done below."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headwater.collect.replay import Replays
from headwater.domain.errors import Conflict, NotFound, Overloaded
from headwater.domain.findings import Finding
from headwater.jobs.queue import Queue
from headwater.observe.health import Health
from headwater.process.lakecare import LakeCare
from headwater.process.retention import Retention
from headwater.security.keys import Authenticator
from headwater.storage.catalog.base import Catalog
from headwater.storage.lake.base import Lake
from headwater.storage.log.base import LogReader
from headwater.storage.warehouse.base import Warehouse

T = TypeVar("T")


@dataclass
class Project:
    """One open project: its stores, as far as this process's roles have them."""

    name: str
    reader: LogReader
    warehouse: Warehouse
    lake: Callable[[], Lake]
    pipeline: Callable[[], Mapping[str, Any]]
    """Steps with their rates, times and rejects; lag; restarts."""
    watermark_us: Callable[[], int | None]
    replays: Replays
    retention: Retention
    lakecare: LakeCare
    used_at: float = field(default_factory=time.monotonic)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def reading(self, work: Callable[[LogReader], T]) -> T:
        """Run `work` with the log's reader, which remembers what it has counted; one at a time. In a thread."""
        with self._reading:
            return work(self.reader)


class Lane:
    """How many questions run at once. More than that wait, in order; more than `waiting_max` are refused."""

    def __init__(self, running_max: int, waiting_max: int = 1000) -> None:
        self._gate = asyncio.Semaphore(running_max)
        self.waiting_max = waiting_max
        self.waiting = 0
        self.refused = 0

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run blocking `work` in a thread. Raises Overloaded (code TOO_MANY_QUERIES)."""
        if self.waiting >= self.waiting_max:
            self.refused += 1
            raise Overloaded(
                f"{self.waiting} questions are waiting, the limit is {self.waiting_max}",
                code="TOO_MANY_QUERIES",
                limit=self.waiting_max,
                retry_after_seconds=1,
            )
        self.waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self.waiting -= 1


class Running:
    """Questions that are running, by id, so that somebody may cancel them."""

    def __init__(self) -> None:
        self._stops: dict[tuple[str, str], Callable[[], None]] = {}

    def add(self, project: str, query_id: str, stop: Callable[[], None]) -> None:
        if (project, query_id) in self._stops:
            raise Conflict(f"a question with id {query_id!r} is running already", code="ALREADY_EXISTS", value=query_id)
        self._stops[project, query_id] = stop

    def done(self, project: str, query_id: str) -> None:
        self._stops.pop((project, query_id), None)

    def cancel(self, project: str, query_id: str) -> None:
        stop = self._stops.get((project, query_id))
        if stop is None:
            raise NotFound(f"no question {query_id!r} is running", value=query_id)
        stop()


@dataclass
class Site:
    catalog: Catalog
    authenticator: Authenticator
    open_project: Callable[[str], Awaitable[Project]]
    """Opens at first use. Raises NotFound."""
    health: Health
    exposition: Callable[[], bytes]
    """Prometheus text."""
    metrics_allowed: Callable[[str | None], bool]
    """May this client address read /metrics without credentials?"""
    query_seconds_max: float
    points_max: int
    unknown_events_default: str
    """For new projects."""
    lane: Lane
    jobs: Queue
    """Long work is put here; what became of it stands in the catalog."""
    examine: Callable[[str], Sequence[Finding]]
    """The fast checks of an open project; blocks."""
    running: Running = field(default_factory=Running)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def project(self, name: str) -> Project:
        project = await self.open_project(name)
        project.used_at = time.monotonic()
        return project

    async def write(self, work: Callable[[], T]) -> T:
        """Run a change of the catalog in a thread, since it waits for the disk; one at a time, so that a repeat with
        the same Idempotency-Key finds what the first one made."""
        async with self._writing:
            return await asyncio.to_thread(work)
