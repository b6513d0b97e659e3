"""`headwater lake rebuild`: a new warehouse from lake and log, compared with the old one, put in its place."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path

from headwater import config
from headwater.boot.locks import hold_roles, roles_of
from headwater.boot.project import CONSUMERS, Places, warehouse_at
from headwater.boot.serve import prepare_folder
from headwater.domain.errors import Damaged, NotFound, Unavailable
from headwater.observe.journal import get_journal
from headwater.process.rebuild import Advance, Report, rebuild
from headwater.storage.lake import open_lake
from headwater.storage.log import open_log_writer
from headwater.storage.urls import path_of
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Warehouse

journal = get_journal("pipeline")


def rebuild_project(data: Path, project: str, *, keep_old: bool, lake_gap: bool, progress: Advance) -> Report:
    """Build beside the old one, compare, and swap unless `keep_old`; the old files stay under another name.

    Raises Unavailable (ROLE_RUNNING) while a service holds the folder, NotFound for an unknown project.
    """
    settings = config.load(flags={"server.data": str(data)})
    folder = prepare_folder(settings)
    places = Places(settings, folder, project)
    present = Path(path_of(places.warehouse)).parent
    if not present.parent.is_dir():
        raise NotFound(f"no project {project!r} in {data}", code="PROJECT_NOT_FOUND", value=project)
    fresh = present.with_name("warehouse.rebuild")
    with hold_roles(folder, roles_of("all")), ExitStack() as opened:
        shutil.rmtree(fresh, ignore_errors=True)
        # The writer is opened for its recovery of the log's end; nothing is appended.
        writer = open_log_writer(places.log, lambda outcomes: None, consumers=CONSUMERS, make=False)
        opened.callback(writer.close)
        lake = open_lake(places.lake, read_only=True)
        opened.callback(lake.close)
        old = open_old(places.warehouse, settings)
        if old is not None:
            opened.callback(old.close)
        new = warehouse_at(f"duckdb://{fresh}/warehouse.duckdb", settings.warehouse)
        opened.callback(new.close)
        report = rebuild(lake, writer.reader, new, old=old, lake_gap=lake_gap, progress=progress)
        opened.close()
        if keep_old:
            shutil.rmtree(fresh)
        else:
            swap(present, fresh)
    journal.info("warehouse_rebuilt", project=project, equal=report.equal, kept_old=keep_old)
    return report


def open_old(url: str, settings: config.Settings) -> Warehouse | None:
    """The present warehouse to compare with; None where it is gone or damaged."""
    if not Path(path_of(url)).exists():
        return None
    try:
        return open_warehouse(url, memory_bytes_max=settings.warehouse.memory_bytes_max, threads=1)
    except Damaged as error:
        journal.warning("old_warehouse_unreadable", reason=error.detail)
        return None


def swap(present: Path, fresh: Path) -> None:
    """Put the new folder in place. A crash between the two renames leaves both, under names that say which is which."""
    try:
        if present.exists():
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            present.rename(present.with_name(f"warehouse.before-rebuild-{stamp}"))
        fresh.rename(present)
    except OSError as error:
        raise Unavailable(
            f"can't put {fresh} in the place of {present}: {error.strerror}",
            code="SWAP_FAILED",
            hint=f"rename {fresh.name} to {present.name} by hand",
        ) from error
