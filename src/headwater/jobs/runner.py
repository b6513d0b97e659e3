"""The durable runner: takes jobs from the catalog, a thread for each, and keeps their leases.

Two loops, each to be kept alive by a supervisor: `dispatch` takes what is due, takes over what dead workers left, and
fires schedules; `beat` writes all heartbeats in one transaction, sees who was cancelled, and ends what runs too long.
Apart from each other, since taking a job may wait for the catalog while a lease must not.
"""

import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Mapping
from threading import Event, Thread

from headwater.domain.errors import BadInput, HeadwaterError, Unavailable
from headwater.jobs import gauges
from headwater.jobs.attempt import Attempt
from headwater.jobs.base import JobCancelled, JobStopping, LeaseLost
from headwater.jobs.leases import Watch
from headwater.jobs.queue import Queue
from headwater.jobs.settle import settle
from headwater.observe.health import Health
from headwater.observe.journal import get_journal
from headwater.storage.catalog.base import Catalog
from headwater.storage.catalog.jobs import JobError, JobRow

POLL_SECONDS = 0.25
"""A look costs ~50 µs."""
BEATS_PER_LEASE = 4
SCHEDULES_EVERY_SECONDS = 1.0
FORGET_EVERY_SECONDS = 60.0
HEALTH_EVERY_SECONDS = 5.0
FAILED_SECONDS = 3600.0
"""A job that failed for good is a reason of /health/ready for so long."""
WAITING_SECONDS_MAX = 3600.0
HUNG_SECONDS = 10.0
HUNG_MAX = 4
"""Threads that don't end can't be ended; with so many of them no more jobs are begun here."""

PART = "jobs"

journal = get_journal("pipeline")


class Runner:
    """Thread-safe. `lanes`: how many jobs of a lane run at once here; lanes that are not named run one."""

    def __init__(
        self,
        catalog: Catalog,
        queue: Queue,
        health: Health,
        *,
        lanes: Mapping[str, int],
        lease_seconds: float,
        history_seconds: float,
        history_max: int,
        backoff_seconds_min: float = 1.0,
    ) -> None:
        self.queue = queue
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self.hung = 0
        self._health = health
        self._jobs = catalog.jobs
        self._kinds_of: dict[str, list[str]] = {}
        for name, kind in queue.kinds.items():
            self._kinds_of.setdefault(kind.lane, []).append(name)
        self._lanes = {lane: lanes.get(lane, 1) for lane in self._kinds_of}
        self._beat_seconds = lease_seconds / BEATS_PER_LEASE
        self._history_seconds = history_seconds
        self._history_max = history_max
        self._backoff_seconds_min = backoff_seconds_min
        self._watch = Watch(lease_seconds)
        self._running: dict[tuple[str, int], Attempt] = {}
        self._threads: dict[tuple[str, int], Thread] = {}
        self._stopping = False
        self._next_at: dict[str, float] = {}

    def dispatch(self, stop: Event) -> None:
        """Until `stop`. While the catalog is locked or its disk full, it looks again and health says so."""
        while not stop.is_set() and not self._stopping:
            self.queue.wake.clear()
            try:
                self._look()
            except Unavailable as error:
                self._health.degraded(PART, error.code, error.detail)
                self._next_at["health"] = time.monotonic() + HEALTH_EVERY_SECONDS
            self.queue.wake.wait(POLL_SECONDS)
        stop.wait()

    def beat(self, stop: Event) -> None:
        """Until `stop`, which comes after the jobs have ended: a job that is being stopped still needs its lease."""
        late = False
        while not stop.wait(self._beat_seconds):
            attempts = list(self._running.values())
            for attempt in attempts:
                attempt.look_at_clock()
            try:
                for attempt in attempts:
                    if attempt.overtime_seconds() > HUNG_SECONDS:
                        self._abandon(attempt)
                self._renew([attempt for attempt in attempts if not attempt.hung])
                late = False
            except Unavailable as error:
                if not late:
                    journal.warning("heartbeats_late", jobs=len(attempts), code=error.code, reason=error.detail)
                late = True

    def busy(self) -> Mapping[str, tuple[int, int]]:
        """By lane: how many jobs run here, and how many may."""
        running = Counter(attempt.lane for attempt in list(self._running.values()))
        return {lane: (running[lane], most) for lane, most in self._lanes.items()}

    def projects(self) -> frozenset[str]:
        """That jobs work on in this process just now."""
        return frozenset(attempt.project for attempt in list(self._running.values()))

    def ask_stop(self) -> None:
        """Begin nothing more, and tell what runs; returns at once."""
        self._stopping = True
        self.queue.wake.set()
        for attempt in list(self._running.values()):
            attempt.end(JobStopping())

    def stop(self, seconds: float) -> list[str]:
        """Wait for the jobs to be given back; the ids of those that did not end, whose leases now run out."""
        self.ask_stop()
        until = time.monotonic() + seconds
        while self._threads and time.monotonic() < until:
            for thread in list(self._threads.values()):
                thread.join(max(0.0, until - time.monotonic()))
        late = [job_id for job_id, _ in list(self._running)]
        if late:
            journal.warning("jobs_still_running", jobs=late)
        return late

    def _look(self) -> None:
        free = {lane: most - running for lane, (running, most) in self.busy().items() if running < most}
        if self.hung < HUNG_MAX:
            self._claim(free)
            self._take_over(free)
        if self._is_time("schedules", SCHEDULES_EVERY_SECONDS):
            self._fire_schedules()
        if self._is_time("forget", FORGET_EVERY_SECONDS):
            gone = self._jobs.forget(self._history_seconds, self._history_max)
            if gone:
                journal.info("jobs_forgotten", jobs=gone)
        if self._is_time("health", HEALTH_EVERY_SECONDS):
            self._tell_health()

    def _is_time(self, what: str, every_seconds: float) -> bool:
        now = time.monotonic()
        if now < self._next_at.get(what, 0.0):
            return False
        self._next_at[what] = now + every_seconds
        return True

    def _claim(self, free: dict[str, int]) -> None:
        due = {self.queue.kinds[kind].lane for kind in self._jobs.waiting([k for n in free for k in self._kinds_of[n]])}
        for lane in due:
            while free[lane] and not self._stopping:
                row = self._jobs.claim(self._kinds_of[lane], self.worker)
                if row is None:
                    break
                free[lane] -= 1
                self._begin(row)

    def _take_over(self, free: dict[str, int]) -> None:
        leases = self._jobs.leases(list(self.queue.kinds))
        others = [lease for lease in leases if (lease.id, lease.attempt) not in self._running]
        for lease in self._watch.look(others, time.monotonic()):
            lane = self.queue.kinds[lease.kind].lane
            if not free.get(lane) or self._stopping:
                continue
            try:
                row = self._jobs.take_over(lease, self.worker)
            except Unavailable:
                self._watch.doubt(lease)
                raise
            if row is None:
                continue
            gauges.TAKEN_OVER.of(row.kind).add()
            journal.warning("job_taken_over", job=row.id, job_kind=row.kind, attempt=row.attempt, state=row.state)
            if row.state == "running":
                free[lane] -= 1
                self._begin(row)

    def _fire_schedules(self) -> None:
        try:
            self.queue.fire_due()
        except BadInput as error:
            journal.error("schedule_broken", reason=error.detail, code=error.code)

    def _begin(self, row: JobRow) -> None:
        attempt = Attempt(row, self.queue.kinds[row.kind], self._jobs)
        self._running[row.id, row.attempt] = attempt
        thread = Thread(target=self._work, args=(attempt,), name=f"job {row.kind}", daemon=True)
        self._threads[row.id, row.attempt] = thread
        journal.info("job_started", job=row.id, job_kind=row.kind, project=row.project, attempt=row.attempt)
        thread.start()
        if self._stopping:
            attempt.end(JobStopping())

    def _work(self, attempt: Attempt) -> None:
        result, error = None, None
        try:
            result = attempt.run(attempt)
        except Exception as raised:
            error = raised
        try:
            settle(attempt, result, error, self._jobs, self._backoff_seconds_min)
        except HeadwaterError as unwritten:
            # Its lease runs out, and somebody does the rest of it again from the last checkpoint.
            journal.error("job_outcome_unwritten", job=attempt.id, job_kind=attempt.kind, reason=unwritten.detail)
        finally:
            if attempt.hung:
                self.hung -= 1
            self._drop(attempt)
            self.queue.wake.set()

    def _renew(self, attempts: list[Attempt]) -> None:
        if not attempts:
            return
        verdicts = self._jobs.renew([attempt.pulse() for attempt in attempts])
        for attempt, verdict in zip(attempts, verdicts, strict=True):
            if verdict == "cancel":
                attempt.end(JobCancelled())
            elif verdict == "lost":
                attempt.end(LeaseLost())

    def _abandon(self, attempt: Attempt) -> None:
        """Failed for good and never tried again: nobody knows what its thread still does."""
        detail = f"it did not end within {HUNG_SECONDS:g} s after its timeout of {attempt.timeout_seconds:g} s"
        progress, error = attempt.pulse().progress, JobError("JOB_HUNG", detail)
        self._jobs.finish(attempt.id, attempt.attempt, "failed", progress, error=error)
        attempt.hung = True
        self.hung += 1
        self._drop(attempt)
        gauges.ENDED.of(attempt.kind, "hung").add()
        journal.error("job_hung", job=attempt.id, job_kind=attempt.kind, project=attempt.project, reason=detail)

    def _drop(self, attempt: Attempt) -> None:
        self._running.pop((attempt.id, attempt.attempt), None)
        self._threads.pop((attempt.id, attempt.attempt), None)

    def _tell_health(self) -> None:
        """Reasons of /health/ready; the first that holds."""
        failed, last = self._jobs.failed_since(FAILED_SECONDS)
        waiting = [count for count in self._jobs.counts() if count.state == "queued"]
        oldest = max(waiting, key=lambda count: count.oldest_seconds, default=None)
        if self.hung >= HUNG_MAX:
            detail = (
                f"{self.hung} jobs did not end when their time was over, so none are begun; start this process anew"
            )
            self._health.degraded(PART, "JOBS_HUNG", detail)
        elif failed and last is not None and last.error is not None:
            detail = (
                f"{failed} failed for good within the last hour, the last: {last.kind} of {last.project} "
                f"({last.error.code}); headwater jobs show {last.id}"
            )
            self._health.degraded(PART, "JOBS_FAILING", detail)
        elif oldest is not None and oldest.oldest_seconds > WAITING_SECONDS_MAX:
            detail = f"a job of kind {oldest.kind} (lane {oldest.lane}) has waited {oldest.oldest_seconds:.0f} s"
            self._health.degraded(PART, "JOBS_WAITING", detail)
        else:
            self._health.ok(PART)
