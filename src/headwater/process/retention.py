"""Retention: what a project no longer keeps leaves its warehouse, day by day of its zone, beside the loads.

The warehouse writes the horizon down first and then removes in short transactions, each with its ledger counts. What is
left to do is read from the warehouse itself: so a job that was cut off anywhere goes on, and twice does no more than
once.
"""

from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Any

import msgspec

from headwater.domain.events import datetime_of, text_of
from headwater.domain.projects import ProjectSettings
from headwater.domain.retention import NEVER, Horizon, horizon_of
from headwater.domain.timerange import zone_of
from headwater.jobs.base import Job
from headwater.process.watermark import now_us
from headwater.storage.warehouse.base import Removable, Warehouse

SAVE_EVERY_SECONDS = 1.0
REST_RATIO = 1.0
"""Of the time that a step took, before the next: loads find the machine free at least half of the time."""
REST_SECONDS_MAX = 0.25
FIRST_US = -62_104_060_800_000_000
"""The beginning of the year 2: in the first days of the year 1 not every zone has a date."""


class Progress(msgspec.Struct):
    """The checkpoint: all attempts of a job have the horizon of the first."""

    horizon: Horizon
    events: int = 0
    quarantined: int = 0
    """Removed, of those steps that were told: after a kill what the last ones did is not among them."""


class Retention:
    """One project's. All methods block: call them in a thread."""

    def __init__(
        self,
        warehouse: Warehouse,
        settings: Callable[[], ProjectSettings],
        now_us: Callable[[], int] = now_us,
    ) -> None:
        """`settings` gives those of now."""
        self._warehouse = warehouse
        self._settings = settings
        self._now_us = now_us

    def dry_run(self) -> dict[str, Any]:
        """What would be removed by the settings of now, and what was before."""
        settings = self._settings()
        horizon = horizon_of(settings, self._now_us())
        removals = self._warehouse.removals()
        held = removals[-1].horizon if removals else Horizon()
        joined = held.joined(horizon)
        removable = self._warehouse.removable(joined)
        return {
            "timeZone": settings.time_zone,
            "retention": settings.retention,
            "quarantineRetention": settings.quarantine_retention or settings.retention,
            "lakeRetention": settings.lake_retention,
            "before": instant(joined.before_us),
            "quarantineBefore": instant(joined.quarantine_before_us),
            "removable": counts_of(removable, joined, settings.time_zone),
            "removed": {
                "events": self._warehouse.ledger(0, 0, None).totals.removed,
                "before": instant(held.before_us),
                "quarantineBefore": instant(held.quarantine_before_us),
                "at": text_of(removals[-1].removed_us) if removals else None,
            },
        }

    def run(self, job: Job) -> Mapping[str, Any]:
        """The job. Its result: events and quarantined events that were removed, and before when."""
        if job.checkpoint:
            progress = msgspec.convert(job.checkpoint, Progress)
        else:
            progress = Progress(horizon_of(self._settings(), self._now_us()))
        horizon = self._warehouse.raise_horizon(progress.horizon)
        left = self._warehouse.removable(horizon)
        total = progress.events + progress.quarantined + left.events + left.quarantined
        self._save(job, progress, total)
        saved_at = monotonic()
        while True:
            began = monotonic()
            removed = self._warehouse.remove_some()
            if removed is None:
                break
            progress.events += removed.events
            progress.quarantined += removed.quarantined
            if monotonic() - saved_at > SAVE_EVERY_SECONDS:
                saved_at = monotonic()
                self._save(job, progress, total)
            job.check()
            sleep(min(REST_SECONDS_MAX, REST_RATIO * (monotonic() - began)))
        self._save(job, progress, total)
        return {
            "events": progress.events,
            "quarantined": progress.quarantined,
            "before": instant(horizon.before_us),
            "quarantineBefore": instant(horizon.quarantine_before_us),
        }

    def _save(self, job: Job, progress: Progress, total: int) -> None:
        done = progress.events + progress.quarantined
        job.save(msgspec.to_builtins(progress), done=done, total=max(total, done), unit="events")


def apply(warehouse: Warehouse, horizon: Horizon) -> None:
    """All of it at once, for a warehouse that nobody else uses."""
    warehouse.raise_horizon(horizon)
    while warehouse.remove_some() is not None:
        pass


def counts_of(removable: Removable, horizon: Horizon, zone: str) -> dict[str, Any]:
    first_us = removable.first_us
    return {
        "events": removable.events,
        "days": 0 if first_us is None else days_between(first_us, horizon.before_us, zone),
        "first": None if first_us is None else text_of(first_us),
        "quarantined": removable.quarantined,
        "rows": removable.rows,
        "bytes": removable.bytes,
    }


def days_between(first_us: int, before_us: int, zone: str) -> int:
    """Days of the zone from that of `first_us` to the one that begins at `before_us`, this one not among them."""
    tz = zone_of(zone)
    first = datetime_of(max(first_us, FIRST_US)).astimezone(tz).date()
    return (datetime_of(before_us).astimezone(tz).date() - first).days


def instant(us: int) -> str | None:
    return None if us == NEVER else text_of(us)
