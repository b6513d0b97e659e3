"""Step: the times of an event, from the client's clock to ours."""

from operator import gt

from headwater.domain.events import EPOCH, MICROSECOND
from headwater.process.work import Column, Work

YEAR_1_US = -62_135_596_800_000_000
"""The first instant that every reader of a stored time can hold."""


def clock(work: Work) -> Work:
    """created_us, occurred_us, clamped, received_us: `domain.events.occurred_us` for whole columns."""
    received = work.per_event(held.batch.received_us for held in work.held)
    created = _created(work)
    corrected = _corrected(work, created, received)
    occurred, clamped = corrected, [False] * len(corrected)
    if corrected and max(corrected) > min(held.batch.received_us for held in work.held):
        clamped = list(map(gt, corrected, received))
        occurred = list(map(min, corrected, received))
    return work.with_columns(created_us=created, occurred_us=occurred, clamped=clamped, received_us=received)


def _created(work: Work) -> Column:
    epoch, microsecond = EPOCH, MICROSECOND
    return [None if (at := row.timestamp) is None else (at - epoch) // microsecond for row in work.rows]


def _corrected(work: Work, created: Column, received: Column) -> Column:
    """By how much the client's clock was wrong at sending; without a timestamp, when it was received."""
    if all(held.batch.sent_us is None for held in work.held):
        if None not in created:
            return created
        return [us if at is None else at for at, us in zip(created, received, strict=True)]
    errors = work.per_event(
        0 if held.batch.sent_us is None else held.batch.received_us - held.batch.sent_us for held in work.held
    )
    corrected = [us if at is None else at + error for at, error, us in zip(created, errors, received, strict=True)]
    if corrected and min(corrected) < YEAR_1_US:
        raise ValueError("corrected by the client's clock at sending, its time lies before the year 1")
    return corrected
