"""What a job's function is given, and how a kind of job is told to the runner.

    def compact(job: Job) -> Mapping[str, Any]:
        done = job.checkpoint["done"] if job.checkpoint else 0
        for day in days[done:]:
            rewrite(day)                       # harmless when done twice
            done += 1
            job.save({"done": done}, done=done, total=len(days), unit="days")
        return {"days": done}

    KINDS = {"compact": Kind(compact, lane="care", attempts_max=3, timeout_seconds=3600)}

A job may be cut off at any instant, by kill -9 too, and goes on from its last saved checkpoint in another thread,
process or machine. So between two checkpoints a step may be begun twice, and its effect is made once by the function:
a step that is harmless when repeated (replace a file, insert where not there), or one whose effect and position commit
together in the store that it changes (as loads do), with `job.attempt` written beside it where a store can refuse lower
numbers. Checkpoint after the step, never before it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Interrupted(Exception):
    """The function is to end now: let it pass. Once raised, every later `save` and `check` raises it again."""


class JobCancelled(Interrupted):
    """Somebody asked for it. What was saved stays; the job will not be run again."""


class LeaseLost(Interrupted):
    """Another worker has the job by now; nothing that this one saves counts any more."""


class JobStopping(Interrupted):
    """The process stops. The job is given back and goes on from its checkpoint, at once, wherever a worker is."""


class JobTimedOut(Interrupted):
    """This attempt took longer than its kind allows. It counts as failed."""


class Job(Protocol):
    """One attempt at a job. Thread-safe."""

    @property
    def id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def project(self) -> str: ...

    @property
    def args(self) -> Mapping[str, Any]: ...

    @property
    def attempt(self) -> int:
        """Counts from 1 and rises each time that a worker takes the job: the fencing token. Of two workers that
        believe to have it, the one with the higher number is right."""

    @property
    def checkpoint(self) -> Mapping[str, Any] | None:
        """What was last saved, by this attempt or an earlier one."""

    def save(
        self,
        checkpoint: Mapping[str, Any],
        *,
        done: float | None = None,
        total: float | None = None,
        unit: str | None = None,
        note: str | None = None,
    ) -> None:
        """Keep the checkpoint (durable at return; JSON, at most 64 KiB) and tell the progress; what is left out stays.

        Costs an fsync: a few times a second, not per row. Raises Interrupted, after the checkpoint was kept, except
        for LeaseLost, which kept nothing. Waits while the catalog is locked, and raises Unavailable after 30 s of it.
        """

    def tell(
        self,
        *,
        done: float | None = None,
        total: float | None = None,
        unit: str | None = None,
        note: str | None = None,
    ) -> None:
        """Progress alone: goes out with the next heartbeat, costs nothing. Never raises."""

    def cancelled(self) -> bool:
        """Should the function end soon, for whichever reason? The next `save` or `check` raises it. Costs nothing."""

    def check(self) -> None:
        """Raise Interrupted if the function should end. Costs nothing: call it between steps that save nothing."""


Run = Callable[[Job], Mapping[str, Any] | None]
"""Returns the result (JSON, at most 64 KiB). A BadInput, Refused or Damaged that it raises fails the job for good,
since the same again won't help; any other exception is tried again after a while."""


@dataclass(frozen=True)
class Kind:
    run: Run
    lane: str
    """Jobs of one lane share its threads, so that a long one of another lane never keeps them waiting."""
    attempts_max: int = 5
    """Failures after which it is not tried again. Being given back at a stop is no failure; a worker's death is one
    where nothing was saved since it began."""
    timeout_seconds: float = 3600
    """Of one attempt. One that does not end within 10 s after it is left alone, failed for good."""
