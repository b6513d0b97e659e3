"""The care of an open project's lake: when it is due, and by which jobs."""

import os
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from headwater.domain.errors import HeadwaterError
from headwater.domain.projects import ProjectSettings, retention_days
from headwater.jobs.base import Job, Kind
from headwater.jobs.queue import Queue
from headwater.observe.journal import get_journal
from headwater.process.lakecare import LakeCare
from headwater.security.projects import list_projects, settings_of
from headwater.storage.catalog.base import Catalog

if TYPE_CHECKING:
    from headwater.boot.project import OpenProject

COMPACT, EXPIRE, VACUUM = "lake-compact", "lake-expire", "lake-vacuum"
LANE = "care"
ATTEMPTS_MAX = 10
"""With the runner's back-off that is a disk that stays full for an hour."""
SECONDS_MAX = 12 * 3600.0
NICE = 10
"""Beside merges on two full cores loads took 159 ms at p99, with this 61; merges took 1.3 times as long. With 19 one
that holds the interpreter's lock may keep it for long."""
HOURS = {EXPIRE: 4, VACUUM: 5}
"""Of the zone of the project: after the warehouse's retention. The minute goes by its name, so that not all begin at
once."""
LOOK_SECONDS = 600.0
"""Between two looks whether files can be merged: 2,000,000 events at 3,500 a second, two merges."""

journal = get_journal("pipeline")


def lakecare_of(project: "OpenProject") -> LakeCare:
    return LakeCare(
        lambda: project.lake,
        project.warehouse,
        lambda: settings_of(project.catalog, project.name),
        history_days=project.settings.lake.history_days,
        busy=project.stream_lags,
        on_damage=lambda reason: journal.error("lake_file_damaged", project=project.name, reason=reason),
    )


def lake_kinds(care_of: Callable[[str], LakeCare]) -> dict[str, Kind]:
    def kind(work: Callable[[LakeCare, Job], Mapping[str, Any]]) -> Kind:
        def run(job: Job) -> Mapping[str, Any]:
            give_way()
            return work(care_of(job.project), job)

        return Kind(run, lane=LANE, attempts_max=ATTEMPTS_MAX, timeout_seconds=SECONDS_MAX)

    return {COMPACT: kind(LakeCare.compact), EXPIRE: kind(LakeCare.expire), VACUUM: kind(LakeCare.vacuum)}


def give_way() -> None:
    """From now on this thread, which a job has for itself, has the processor when no other wants it."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class LakeRounds:
    """Queues a compaction where there is something to merge, and keeps the schedules of the rest. In a thread."""

    def __init__(self, catalog: Catalog, queue: Queue, look_seconds: float = LOOK_SECONDS) -> None:
        self._catalog = catalog
        self._queue = queue
        self._look_seconds = look_seconds
        self._looked_at = -look_seconds
        self._known: dict[str, tuple[str, bool]] = {}

    def is_due(self) -> bool:
        return time.monotonic() - self._looked_at >= self._look_seconds

    def look(self, projects: Mapping[str, "OpenProject"]) -> None:
        """Only open projects get new files."""
        self._looked_at = time.monotonic()
        self._schedule()
        for name, project in list(projects.items()):
            try:
                if project.lake.compactable():
                    self._queue.put(name, COMPACT, {}, dedup_key=COMPACT)
            except HeadwaterError as error:
                journal.warning("lake_not_looked_at", project=name, code=error.code, reason=error.detail)

    def _schedule(self) -> None:
        for settings in list_projects(self._catalog):
            wanted = (settings.time_zone, expires(settings))
            if self._known.get(settings.name) == wanted:
                continue
            self._keep(settings, VACUUM, due=True)
            self._keep(settings, EXPIRE, due=expires(settings))
            self._known[settings.name] = wanted

    def _keep(self, settings: ProjectSettings, kind: str, *, due: bool) -> None:
        if not due:
            self._queue.unschedule(settings.name, kind)
            return
        cron = f"{zlib.crc32(settings.name.encode()) % 60} {HOURS[kind]} * * *"
        self._queue.schedule(settings.name, kind, kind, cron, settings.time_zone)


def expires(settings: ProjectSettings) -> bool:
    return retention_days(settings.lake_retention) is not None
