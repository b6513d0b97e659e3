"""Step: the times of an event, from the client's clock to ours."""

from operator import gt

from headwater.domain.events import EPOCH, MICROSECOND
from headwater.process.work import Work

YEAR_1_US = -62_135_596_800_000_000
"""The first instant that every reader of a stored time can hold."""


def clock(work: Work) -> Work:
    """created_us, occurred_us, clamped, received_us: `domain.events.occurred_us` for whole columns."""
    epoch, microsecond = EPOCH, MICROSECOND
    received = work.per_event(held.batch.received_us for held in work.held)
    times = [row.timestamp for row in work.rows]
    created = [None if at is None else (at - epoch) // microsecond for at in times]
    if any(held.batch.sent_us is not None for held in work.held):
        errors = work.per_event(
            0 if held.batch.sent_us is None else held.batch.received_us - held.batch.sent_us for held in work.held
        )
        corrected = [us if at is None else at + error for at, error, us in zip(created, errors, received, strict=True)]
    elif None in created:
        corrected = [us if at is None else at for at, us in zip(created, received, strict=True)]
    else:
        corrected = created
    if corrected and min(corrected) < YEAR_1_US:
        raise ValueError("corrected by the client's clock at sending, its time lies before the year 1")
    clamped = list(map(gt, corrected, received))
    occurred = list(map(min, corrected, received)) if True in clamped else corrected
    return work.with_columns(created_us=created, occurred_us=occurred, clamped=clamped, received_us=received)
