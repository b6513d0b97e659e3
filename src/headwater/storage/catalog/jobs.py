"""The catalog's part for jobs: a queue, leases, checkpoints, and the history of what was done.

A lease holds by heartbeats, without any clock: each one raises the job's `beat`, and whoever watches a `Lease` stand
still for the lease's time, by its own monotonic clock, may take the job over. `take_over` compares attempt and beat
and raises the attempt in one statement, so of several watchers one wins, and a holder that was merely late finds its
attempt outdated at its next write. Times that are told (`*_us`) and due times come from the database's own clock.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Outcome = Literal["succeeded", "failed", "cancelled"]
Verdict = Literal["held", "cancel", "lost"]
"""Of a heartbeat or a saved checkpoint. `cancel`: it counts, and somebody asked to cancel the job. `lost`: another
attempt has the job, or it is finished; nothing was written."""


class Progress(msgspec.Struct, frozen=True):
    done: float = 0
    total: float | None = None
    unit: str = ""
    note: str = ""


class JobError(msgspec.Struct, frozen=True):
    code: str
    detail: str


class JobRow(msgspec.Struct, frozen=True):
    n: int
    """Order of arrival."""
    id: str
    project: str
    kind: str
    lane: str
    state: State
    dedup_key: str | None
    args: Mapping[str, Any]
    checkpoint: Mapping[str, Any] | None
    progress: Progress
    result: Mapping[str, Any] | None
    error: JobError | None
    """Of the last failure; stays while the job is tried again."""
    attempt: int
    beat: int
    worker: str | None
    failures: int
    attempts_max: int
    cancel_asked: bool
    created_us: int
    due_us: int
    started_us: int | None
    finished_us: int | None


class Lease(msgspec.Struct, frozen=True):
    kind: str
    id: str
    attempt: int
    beat: int


class Pulse(msgspec.Struct, frozen=True):
    id: str
    attempt: int
    progress: Progress


class Count(msgspec.Struct, frozen=True):
    kind: str
    lane: str
    state: State
    n: int
    oldest_seconds: float
    """Since the oldest of them was queued, or was last due again."""


class Jobs(Protocol):
    """Thread-safe, and shared by processes. Every write is durable at return. Raises Unavailable: CATALOG_BUSY while
    another process holds the catalog; then nothing was written, and the same may be tried again."""

    def now_us(self) -> int:
        """By the database's clock."""

    def enqueue(
        self,
        project: str,
        kind: str,
        lane: str,
        args: Mapping[str, Any],
        *,
        attempts_max: int,
        queued_max: int,
        dedup_key: str | None = None,
    ) -> tuple[JobRow, bool]:
        """(the job, is it new). With a key of an unfinished job of this project and kind, that one is given.

        Raises Overloaded (TOO_MANY_JOBS) where `queued_max` jobs of the project wait, TooLarge.
        """

    def waiting(self, kinds: Sequence[str]) -> Sequence[str]:
        """Which of the kinds have a job that is due. Cheap: asked several times a second."""

    def claim(self, kinds: Sequence[str], worker: str) -> JobRow | None:
        """The job of these kinds that came first and is due, now running as this worker's next attempt."""

    def leases(self, kinds: Sequence[str]) -> Sequence[Lease]:
        """Of all running jobs of these kinds, whoever runs them. Cheap."""

    def take_over(self, lease: Lease, worker: str) -> JobRow | None:
        """The job as it is after its worker is gone; None where the lease moved on since it was seen.

        State `running`: it is this worker's now. `cancelled`: that was asked for. `failed` (JOB_WORKER_DIED): as often
        as `attempts_max` allows, its worker died before it had saved anything new. Gives up with CATALOG_BUSY after
        0.2 s: while writers wait, those who hold leases can't write their heartbeats either.
        """

    def renew(self, pulses: Sequence[Pulse]) -> Sequence[Verdict]:
        """Heartbeats and progress, all in one write; the verdicts in the same order."""

    def save(self, pulse: Pulse, checkpoint: Mapping[str, Any]) -> Verdict:
        """Heartbeat, progress and checkpoint in one write. Raises TooLarge."""

    def finish(
        self,
        job_id: str,
        attempt: int,
        outcome: Outcome,
        progress: Progress,
        *,
        result: Mapping[str, Any] | None = None,
        error: JobError | None = None,
    ) -> bool:
        """False where the attempt is outdated: nothing was written. Raises TooLarge."""

    def retry(self, job_id: str, attempt: int, error: JobError, delay_seconds: float) -> JobRow | None:
        """Count a failure: queued again, due after the delay, or failed for good at `attempts_max`; cancelled where
        that was asked for. None where the attempt is outdated."""

    def release(self, job_id: str, attempt: int) -> bool:
        """Give it back, due at once, no failure. False where the attempt is outdated."""

    def cancel(self, project: str, job_id: str) -> JobRow:
        """A queued job is cancelled at once, a running one is told so at its next heartbeat; asking twice does no harm.

        Raises NotFound (JOB_NOT_FOUND), Conflict (JOB_FINISHED).
        """

    def get(self, project: str, job_id: str) -> JobRow:
        """Raises NotFound (JOB_NOT_FOUND)."""

    def list(
        self,
        project: str,
        *,
        state: State | None = None,
        kind: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> Sequence[JobRow]:
        """Newest first, those with `n` below `before`."""

    def counts(self) -> Sequence[Count]:
        """Of the queue and the history, all projects together."""

    def failed_since(self, seconds: float) -> tuple[int, JobRow | None]:
        """How many failed for good in the last `seconds`, and the last of them."""

    def forget(self, age_seconds_max: float, kept_max: int) -> int:
        """Remove finished jobs that are older, and the oldest beyond so many a project; how many went, at most 1000."""
