"""`headwater lake rebuild`: a new warehouse from lake and log, compared with the old one, put in its place."""

import time
from contextlib import ExitStack
from pathlib import Path

from headwater import config
from headwater.boot.eventlog import CONSUMERS
from headwater.boot.locks import hold_roles, roles_of
from headwater.boot.places import Places, warehouse_at
from headwater.boot.serve import prepare_folder
from headwater.domain.errors import Damaged, NotFound
from headwater.domain.retention import Horizon, horizon_of
from headwater.observe.journal import get_journal
from headwater.process.rebuild import Advance, Report, rebuild
from headwater.security.projects import settings_of
from headwater.storage.catalog import open_catalog
from headwater.storage.lake import open_lake
from headwater.storage.log import open_log_writer
from headwater.storage.urls import path_of
from headwater.storage.warehouse import beside, discard_warehouse, drop_kept, open_warehouse, replace_warehouse
from headwater.storage.warehouse.base import Warehouse

journal = get_journal("pipeline")


def rebuild_project(
    data: Path, project: str, *, keep_old: bool, drop_old: bool, lake_gap: bool, progress: Advance
) -> Report:
    """Build beside the old one, compare, and put it in its place unless `keep_old`; the old file stays beside it.

    Raises Unavailable (ROLE_RUNNING) while a service holds the folder, NotFound for an unknown project.
    """
    settings = config.load(flags={"server.data": str(data)})
    folder = prepare_folder(settings)
    places = Places(settings, folder, project)
    if not Path(path_of(places.log)).parent.is_dir():
        raise NotFound(f"no project {project!r} in {data}", code="PROJECT_NOT_FOUND", value=project)
    with hold_roles(folder, roles_of("all")), ExitStack() as opened:
        fresh = beside(places.warehouse, "rebuild")
        discard_warehouse(fresh)
        # The writer is opened for its recovery of the log's end; nothing is appended.
        writer = open_log_writer(places.log, lambda outcomes: None, consumers=CONSUMERS, make=False)
        opened.callback(writer.close)
        lake = open_lake(places.lake, read_only=True)
        opened.callback(lake.close)
        old = open_old(places.warehouse, settings)
        if old is not None:
            opened.callback(old.close)
        new = warehouse_at(fresh, settings.warehouse)
        opened.callback(new.close)
        horizon = horizon_today(settings, folder, project)
        report = rebuild(lake, writer.reader, new, old=old, lake_gap=lake_gap, horizon=horizon, progress=progress)
        opened.close()
        if keep_old:
            discard_warehouse(fresh)
        else:
            replace_warehouse(places.warehouse, fresh)
        if drop_old:
            drop_kept(places.warehouse)
    journal.info("warehouse_rebuilt", project=project, equal=report.equal, kept_old=keep_old)
    return report


def horizon_today(settings: config.Settings, folder: Path, project: str) -> Horizon:
    """By the project's retention; only while no service has the catalog open in this process."""
    catalog = open_catalog(settings.catalog.url or f"sqlite://{folder.absolute()}/catalog.sqlite")
    try:
        return horizon_of(settings_of(catalog, project), time.time_ns() // 1000)
    finally:
        catalog.close()


def open_old(url: str, settings: config.Settings) -> Warehouse | None:
    """The present warehouse to compare with; None where it is gone or damaged."""
    if not Path(path_of(url)).exists():
        return None
    try:
        return open_warehouse(url, memory_bytes_max=settings.warehouse.memory_bytes_max, threads=1)
    except Damaged as error:
        journal.warning("old_warehouse_unreadable", reason=error.detail)
        return None
