"""Which kinds of jobs this process can run, and the runner that runs them."""

import time
from collections.abc import Mapping

from headwater import config
from headwater.jobs.base import Kind
from headwater.jobs.queue import Queue
from headwater.jobs.runner import PART, Runner
from headwater.observe.gauges import reading
from headwater.observe.health import Health
from headwater.observe.journal import get_journal
from headwater.process.supervise import Supervisor
from headwater.storage.catalog.base import Catalog

LEASES = "job-leases"
STOP_SECONDS = 6
"""From the moment that a job is told; what is not given back by then is taken over when its lease runs out."""
ALONE = ("care", "replay")
"""Lanes in which jobs run one after the other whatever the settings say: they work on the same stores."""

journal = get_journal("pipeline")


class JobRoom:
    """The queue for all who ask for jobs and, once started, the threads that run them."""

    def __init__(self, settings: config.Jobs, catalog: Catalog, health: Health, kinds: Mapping[str, Kind]) -> None:
        self.queue = Queue(catalog, kinds, queued_max=settings.queued_max)
        lanes = {kind.lane for kind in kinds.values()}
        self.runner = Runner(
            catalog,
            self.queue,
            health,
            lanes={lane: 1 if lane in ALONE else settings.lane_jobs_max for lane in lanes},
            lease_seconds=settings.lease_seconds,
            history_seconds=settings.history_days * 86_400,
            history_max=settings.history_jobs_max,
        )
        self.catalog = catalog
        self.health = health
        self.supervisor = Supervisor(self.on_state)
        self.started = False
        self.stop_by: float | None = None

    def start(self) -> None:
        self.started = True
        for part, target in ((PART, self.runner.dispatch), (LEASES, self.runner.beat)):
            self.health.register(part, needed=False)
            self.supervisor.start(part, target)
        register_jobs(self.catalog, self.runner)

    def ask_stop(self) -> None:
        """Jobs are told at once, while the servers still end what they are at."""
        if self.started and self.stop_by is None:
            self.stop_by = time.monotonic() + STOP_SECONDS
            self.runner.ask_stop()

    def stop(self) -> None:
        """Wait until what ran is given back at its last checkpoint, for whoever comes next."""
        self.ask_stop()
        if self.stop_by is None:
            return
        self.runner.stop(self.stop_by - time.monotonic())
        late = self.supervisor.stop(1)
        if late:
            journal.error("threads_still_running", threads=late)

    def on_state(self, part: str, state: str, reason: str) -> None:
        if state == "running":
            self.health.ok(part)
        elif state == "failed":
            self.health.restarted(part, reason)
            trace = self.supervisor.last_traceback.get(part)
            journal.error("part_failed", part=part, reason=reason, traceback=trace)


def register_jobs(catalog: Catalog, runner: Runner) -> None:
    reading(
        "headwater_jobs_by_state_entries",
        "Jobs in the queue and the history, by kind and state.",
        lambda: {(count.kind, count.state): float(count.n) for count in catalog.jobs.counts()},
        ("kind", "state"),
    )
    reading(
        "headwater_jobs_oldest_queued_seconds",
        "How long the longest waiting job has been due, by lane; lanes without one are left out.",
        lambda: oldest_by_lane(catalog),
        ("lane",),
    )
    reading(
        "headwater_jobs_running_threads",
        "Jobs that run in this process, by lane.",
        lambda: {(lane,): float(running) for lane, (running, _) in runner.busy().items()},
        ("lane",),
    )
    reading(
        "headwater_jobs_hung_threads",
        "Jobs that did not end when their time was over, and still hold a thread.",
        lambda: float(runner.hung),
    )


def oldest_by_lane(catalog: Catalog) -> Mapping[tuple[str, ...], float]:
    oldest: dict[tuple[str, ...], float] = {}
    for count in catalog.jobs.counts():
        if count.state == "queued":
            oldest[(count.lane,)] = max(oldest.get((count.lane,), 0.0), count.oldest_seconds)
    return oldest
