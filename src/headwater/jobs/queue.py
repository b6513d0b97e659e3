"""The way in: a kind's name and arguments become a queued job, or a schedule of jobs."""

from collections.abc import Mapping
from threading import Event
from typing import Any

from headwater.domain.errors import BadInput
from headwater.domain.reading import did_you_mean
from headwater.domain.values import shown
from headwater.jobs.base import Kind
from headwater.jobs.cron import next_after
from headwater.storage.catalog.base import Catalog
from headwater.storage.catalog.jobs import JobRow
from headwater.storage.catalog.schedules import Schedule


class Queue:
    """Thread-safe; the methods wait for the disk, so call them in a thread. Raises Unavailable."""

    def __init__(self, catalog: Catalog, kinds: Mapping[str, Kind], *, queued_max: int) -> None:
        self.kinds = kinds
        self.wake = Event()
        """Set when there may be work, so that a runner in this process need not wait for its next look."""
        self._jobs = catalog.jobs
        self._schedules = catalog.schedules
        self._queued_max = queued_max

    def put(self, project: str, kind: str, args: Mapping[str, Any], *, dedup_key: str | None = None) -> JobRow:
        """Durable at return. While a job of this project and kind with the same `dedup_key` is not finished, that one
        is given and no other is made.

        Raises BadInput (UNKNOWN_JOB_KIND), TooLarge, Overloaded (TOO_MANY_JOBS).
        """
        found = self._kind(kind)
        row, _ = self._jobs.enqueue(
            project,
            kind,
            found.lane,
            args,
            attempts_max=found.attempts_max,
            queued_max=self._queued_max,
            dedup_key=dedup_key,
        )
        self.wake.set()
        return row

    def schedule(
        self, project: str, name: str, kind: str, cron: str, time_zone: str, args: Mapping[str, Any] | None = None
    ) -> None:
        """Queue such a job whenever the cron line is due in the zone; what was missed while nothing ran is done once.

        Again with the same line and zone it changes nothing of when it is due. Raises BadInput (INVALID_CRON,
        UNKNOWN_TIME_ZONE, UNKNOWN_JOB_KIND), TooLarge.
        """
        found = self._kind(kind)
        next_us = next_after(cron, time_zone, self._jobs.now_us())
        self._schedules.put(
            Schedule(project, name, kind, found.lane, args or {}, found.attempts_max, cron, time_zone, next_us)
        )

    def unschedule(self, project: str, name: str) -> bool:
        """False when there was none. A job that it made already stays."""
        return self._schedules.remove(project, name)

    def fire_due(self) -> None:
        """Queue what schedules ask for by now. One that can't be computed any more is passed over; then raises its
        error, after all others."""
        failed: BadInput | None = None
        now_us, due = self._schedules.due()
        for schedule in due:
            try:
                next_us = next_after(schedule.cron, schedule.time_zone, now_us)
            except BadInput as error:
                failed = error
                continue
            if self._schedules.fire(schedule, next_us) is not None:
                self.wake.set()
        if failed is not None:
            raise failed

    def _kind(self, kind: str) -> Kind:
        if kind not in self.kinds:
            raise BadInput(
                f"unknown kind of job {shown(kind)}; {did_you_mean(kind, self.kinds)}",
                code="UNKNOWN_JOB_KIND",
                path="$.kind",
                value=kind,
            )
        return self.kinds[kind]
