"""The care of an open project's warehouse: what its settings no longer keep, and the space of what is gone."""

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headwater.domain.projects import ProjectSettings, retention_days
from headwater.jobs.base import Job, Kind
from headwater.jobs.queue import Queue
from headwater.process.retention import Retention
from headwater.security.projects import list_projects, settings_of
from headwater.storage.catalog.base import Catalog
from headwater.storage.warehouse.base import Warehouse

if TYPE_CHECKING:
    from headwater.boot.project import OpenProject

RETENTION = "retention"
RECLAIM = "reclaim"
LANE = "care"
SECONDS_MAX = 12 * 3600.0
HOUR = 3
"""Of the zone of the project, when most people sleep; the minute goes by its name, so that not all begin at once."""


def retention_of(project: "OpenProject") -> Retention:
    return Retention(project.warehouse, lambda: settings_of(project.catalog, project.name))


def retention_kind(run: Any) -> Kind:
    return Kind(run, lane=LANE, timeout_seconds=SECONDS_MAX)


def reclaim_kind(run: Any) -> Kind:
    return Kind(run, lane=LANE, timeout_seconds=SECONDS_MAX)


def reclaim(warehouse: Warehouse, job: Job) -> Mapping[str, Any]:
    """Nothing to go on with after a kill: what is still worth it is seen from the file."""
    before = found = warehouse.space()
    for found in warehouse.reclaim():
        freed = before.total_bytes - found.total_bytes
        job.tell(done=freed / 1e6, total=before.free_bytes / 1e6, unit="MB")
        job.check()
    return {"bytesBefore": before.total_bytes, "bytes": found.total_bytes, "bytesFree": found.free_bytes}


class Nightly:
    """Keeps one schedule for each project that does not keep everything forever. In a thread: it waits for the disk."""

    def __init__(self, catalog: Catalog, queue: Queue) -> None:
        self._catalog = catalog
        self._queue = queue
        self._known: dict[str, tuple[str, bool]] = {}

    def look(self) -> None:
        for settings in list_projects(self._catalog):
            wanted = (settings.time_zone, removes(settings))
            if self._known.get(settings.name) == wanted:
                continue
            if removes(settings):
                cron = f"{zlib.crc32(settings.name.encode()) % 60} {HOUR} * * *"
                self._queue.schedule(settings.name, RETENTION, RETENTION, cron, settings.time_zone)
            else:
                self._queue.unschedule(settings.name, RETENTION)
            self._known[settings.name] = wanted


def removes(settings: ProjectSettings) -> bool:
    kept = (settings.retention, settings.quarantine_retention or settings.retention)
    return any(retention_days(each) is not None for each in kept)
