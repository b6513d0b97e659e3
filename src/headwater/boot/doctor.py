"""`headwater doctor`: a project as the checks see it, of a service that runs or of a folder that nobody serves."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headwater import config
from headwater.boot.locks import hold_roles, roles_of
from headwater.boot.places import Places
from headwater.domain.errors import Damaged, HeadwaterError, NotFound
from headwater.domain.findings import Finding, facts_of
from headwater.jobs.base import Job, Kind
from headwater.observe.health import Health
from headwater.process.doctor.base import Patient
from headwater.process.doctor.checks import examine
from headwater.storage.catalog import open_catalog
from headwater.storage.catalog.base import Catalog
from headwater.storage.lake import open_lake
from headwater.storage.log import open_log_reader
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Advance

if TYPE_CHECKING:
    from headwater.boot.project import OpenProject

JOB = "doctor"

T = TypeVar("T")


def patient_of(project: "OpenProject", data: Path, catalog: Catalog, health: Health) -> Patient:
    """Of a project that is open in this process."""
    return Patient(
        data=data.absolute(),
        project=project.name,
        folder=folder_of(data, project.name),
        catalog=catalog,
        open_reader=project.open_reader,
        lake=project.lake,
        warehouse=project.warehouse,
        free_bytes_min=project.settings.log.free_bytes_min,
        wal_bytes_max=project.settings.warehouse.wal_bytes_max,
        headwater_version=version("headwater"),
        health=health,
    )


def examine_folder(data: Path, project: str, *, deep: bool, advance: Advance) -> list[Finding]:
    """Changes nothing in it. Raises NotFound, and Unavailable (ROLE_RUNNING) where a service holds the folder."""
    if not data.is_dir():
        raise NotFound(f"there is no data in {data}", code="NO_DATA", hint="name its folder with --data")
    settings = config.load(flags={"server.data": str(data)})
    if not folder_of(data, project).is_dir():
        raise NotFound(f"no project {project!r} in {data}", code="PROJECT_NOT_FOUND", value=project)
    places = Places(settings, data, project)
    with ExitStack() as opened:
        if (data / "locks").is_dir():  # else no service was here yet, nor can one be now that finds all in order
            opened.enter_context(hold_roles(data, roles_of("all")))
        patient = Patient(
            data=data.absolute(),
            project=project,
            folder=folder_of(data, project),
            catalog=opened_or_error(partial(open_known_catalog, settings, data), opened),
            open_reader=partial(open_log_reader, places.log),
            lake=opened_or_error(partial(open_lake, places.lake, read_only=True), opened),
            warehouse=opened_or_error(partial(open_read_only, places.warehouse, settings), opened),
            free_bytes_min=settings.log.free_bytes_min,
            wal_bytes_max=settings.warehouse.wal_bytes_max,
            headwater_version=version("headwater"),
        )
        return examine(patient, deep=deep, advance=advance)


def doctor_kind(patient: Callable[[str], Patient]) -> Kind:
    """Everything is read: a job, since it takes minutes."""

    def run(job: Job) -> Mapping[str, Any]:
        def advance(done: float, total: float | None) -> None:
            job.tell(done=done, total=total, unit="parts")
            job.check()

        return facts_of(examine(patient(job.project), deep=True, advance=advance), deep=True)

    return Kind(run, lane=JOB, attempts_max=2, timeout_seconds=24 * 3600.0)


def folder_of(data: Path, project: str) -> Path:
    return (data / "projects" / project).absolute()


def opened_or_error(opening: Callable[[], T], opened: ExitStack) -> T | HeadwaterError:
    try:
        store = opening()
    except HeadwaterError as error:
        return error
    opened.callback(store.close)  # type: ignore[attr-defined]
    return store


def open_read_only(url: str, settings: config.Settings) -> Any:
    room = settings.warehouse
    return open_warehouse(url, memory_bytes_max=room.memory_bytes_max, threads=room.threads, read_only=True)


def open_known_catalog(settings: config.Settings, data: Path) -> Catalog:
    if not settings.catalog.url and not (data / "catalog.sqlite").exists():
        raise Damaged(
            f"the catalog is gone: there was one in {data}",
            code="CATALOG_MISSING",
            hint="restore catalog.sqlite from a copy; keys, schemas and definitions are nowhere else",
        )
    return open_catalog(settings.catalog.url or f"sqlite://{data.absolute()}/catalog.sqlite")
