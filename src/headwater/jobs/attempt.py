"""One attempt at a job: what its function is given, and what the runner tells it."""

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar

from headwater.domain.errors import Unavailable
from headwater.jobs.base import Interrupted, JobCancelled, JobTimedOut, Kind, LeaseLost
from headwater.observe.journal import get_journal
from headwater.storage.catalog.jobs import JobRow, Jobs, Progress, Pulse

SAVE_SECONDS_MAX = 30.0

journal = get_journal("pipeline")

T = TypeVar("T")


class Attempt:
    """The contract is `base.Job`. Made once a worker has the job; `end` may be called by any thread."""

    def __init__(self, row: JobRow, kind: Kind, store: Jobs) -> None:
        self.row = row
        self.id = row.id
        self.kind = row.kind
        self.project = row.project
        self.args = row.args
        self.attempt = row.attempt
        self.checkpoint = row.checkpoint
        self.run = kind.run
        self.lane = kind.lane
        self.began = time.monotonic()
        self.timeout_seconds = kind.timeout_seconds
        self.ended: Interrupted | None = None
        self.hung = False
        """Left alone: its function did not end long after it was told to."""
        self._store = store
        self._progress = row.progress
        self._lock = Lock()

    def save(
        self,
        checkpoint: Mapping[str, Any],
        *,
        done: float | None = None,
        total: float | None = None,
        unit: str | None = None,
        note: str | None = None,
    ) -> None:
        self.tell(done=done, total=total, unit=unit, note=note)
        if isinstance(self.ended, LeaseLost):
            raise self.ended
        verdict = patient(lambda: self._store.save(self.pulse(), checkpoint), f"checkpoint of job {self.id}")
        if verdict == "lost":
            self.end(LeaseLost())
        else:
            self.checkpoint = dict(checkpoint)
        if verdict == "cancel":
            self.end(JobCancelled())
        self.check()

    def tell(
        self,
        *,
        done: float | None = None,
        total: float | None = None,
        unit: str | None = None,
        note: str | None = None,
    ) -> None:
        with self._lock:
            old = self._progress
            self._progress = Progress(
                old.done if done is None else done,
                old.total if total is None else total,
                old.unit if unit is None else unit,
                old.note if note is None else note,
            )

    def cancelled(self) -> bool:
        return self.ended is not None

    def check(self) -> None:
        if self.ended is not None:
            raise self.ended

    def end(self, why: Interrupted) -> None:
        """The first reason stands, but a lost lease is stronger than any: nothing may be written any more."""
        with self._lock:
            if self.ended is None or isinstance(why, LeaseLost):
                self.ended = why

    def pulse(self) -> Pulse:
        return Pulse(self.id, self.attempt, self._progress)

    def overtime_seconds(self) -> float:
        """How long it has run beyond its timeout; negative before that."""
        return time.monotonic() - self.began - self.timeout_seconds

    def look_at_clock(self) -> None:
        if self.overtime_seconds() > 0:
            self.end(JobTimedOut(f"longer than {self.timeout_seconds:g} s"))


def patient(write: Callable[[], T], what: str, seconds_max: float = SAVE_SECONDS_MAX) -> T:
    """Try a write again while another process holds the catalog. Raises Unavailable after `seconds_max`."""
    until = time.monotonic() + seconds_max
    while True:
        try:
            return write()
        except Unavailable as error:
            # The catalog has waited for seconds itself before it raises this, so there is no pause here.
            if error.code != "CATALOG_BUSY" or time.monotonic() > until:
                raise
            journal.warning("job_waits_for_catalog", what=what, reason=error.detail)
