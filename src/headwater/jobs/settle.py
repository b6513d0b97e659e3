"""How an attempt ended → what the catalog keeps of it."""

import random
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from headwater.domain.errors import BadInput, Damaged, HeadwaterError, Refused, TooLarge
from headwater.jobs import gauges
from headwater.jobs.attempt import Attempt, patient
from headwater.jobs.base import JobCancelled, JobStopping, JobTimedOut, LeaseLost
from headwater.observe.journal import get_journal
from headwater.storage.catalog.jobs import JobError, Jobs, Outcome

BACKOFF_SECONDS_MAX = 300.0
OUTCOME_SECONDS_MAX = 60.0

journal = get_journal("pipeline")

T = TypeVar("T")


def settle(
    attempt: Attempt,
    result: Mapping[str, Any] | None,
    error: Exception | None,
    jobs: Jobs,
    backoff_seconds_min: float,
) -> None:
    """An error that came after the function was told to end is put down to that. Raises Unavailable."""
    gauges.RUN_SECONDS.of(attempt.kind).observe(time.monotonic() - attempt.began)
    if error is None:
        _succeed(attempt, result, jobs)
        return
    match attempt.ended:
        case LeaseLost():
            _told(attempt, "lost")
        case JobStopping():
            given_back = _write(attempt, lambda: jobs.release(attempt.id, attempt.attempt))
            _told(attempt, "released" if given_back else "lost")
        case JobCancelled():
            _finish(attempt, "cancelled", jobs)
        case JobTimedOut() as why:
            _retry(attempt, JobError("JOB_TIMEOUT", str(why)), jobs, backoff_seconds_min)
        case _:
            _fail(attempt, error, jobs, backoff_seconds_min)


def _succeed(attempt: Attempt, result: Mapping[str, Any] | None, jobs: Jobs) -> None:
    try:
        _finish(attempt, "succeeded", jobs, result=result or {})
    except (TooLarge, TypeError, ValueError) as error:
        # What it did is done: trying again would end the same way.
        detail = error.detail if isinstance(error, TooLarge) else f"its result can't be kept: {error}"
        _finish(attempt, "failed", jobs, error=JobError(getattr(error, "code", "BAD_JOB_RESULT"), detail))


def _fail(attempt: Attempt, error: Exception, jobs: Jobs, backoff_seconds_min: float) -> None:
    if isinstance(error, HeadwaterError):
        kept = JobError(error.code, error.detail)
    else:
        kept = JobError("INTERNAL", "an error of ours; the journal has it under the id of this job")
        trace = "".join(traceback.format_exception(error))
        journal.error("job_raised", job=attempt.id, job_kind=attempt.kind, project=attempt.project, traceback=trace)
    if isinstance(error, BadInput | Refused | Damaged):
        _finish(attempt, "failed", jobs, error=kept)
    else:
        _retry(attempt, kept, jobs, backoff_seconds_min)


def _retry(attempt: Attempt, error: JobError, jobs: Jobs, backoff_seconds_min: float) -> None:
    delay = delay_seconds(attempt.row.failures, backoff_seconds_min)
    row = _write(attempt, lambda: jobs.retry(attempt.id, attempt.attempt, error, delay))
    if row is None:
        _told(attempt, "lost")
    elif row.state == "queued":
        _told(attempt, "retried", error, again_in_seconds=round(delay, 1))
    else:
        _told(attempt, row.state, error)


def delay_seconds(failures: int, seconds_min: float) -> float:
    """Doubles with each failure, up to 5 minutes; by chance down to half of it, so that not all come back at once."""
    most: float = min(BACKOFF_SECONDS_MAX, seconds_min * 2.0 ** min(failures, 20))
    return most * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _finish(
    attempt: Attempt,
    outcome: Outcome,
    jobs: Jobs,
    *,
    result: Mapping[str, Any] | None = None,
    error: JobError | None = None,
) -> None:
    progress = attempt.pulse().progress
    kept = _write(
        attempt, lambda: jobs.finish(attempt.id, attempt.attempt, outcome, progress, result=result, error=error)
    )
    _told(attempt, outcome if kept else "lost", error)


def _write(attempt: Attempt, write: Callable[[], T]) -> T:
    return patient(write, f"outcome of job {attempt.id}", OUTCOME_SECONDS_MAX)


def _told(attempt: Attempt, outcome: str, error: JobError | None = None, **facts: Any) -> None:
    if attempt.hung:
        return  # it was told as such when it was left alone
    gauges.ENDED.of(attempt.kind, outcome).add()
    tell = {"failed": journal.error, "retried": journal.warning, "lost": journal.warning}.get(outcome, journal.info)
    if error is not None:
        facts |= {"code": error.code, "reason": error.detail}
    seconds = round(time.monotonic() - attempt.began, 3)
    who = {"job": attempt.id, "job_kind": attempt.kind, "project": attempt.project, "attempt": attempt.attempt}
    tell(f"job_{outcome}", **who, seconds=seconds, **facts)
