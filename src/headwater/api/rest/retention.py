"""What a project no longer keeps: what would be removed today, and to remove it; the warehouse's space."""

from typing import Any

import msgspec
from litestar import Response, get, post

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, access_of, project_of, site_of
from headwater.api.rest.lake import camel
from headwater.api.rest.objects import body_of
from headwater.domain.reading import read
from headwater.observe.journal import get_journal

JOB = "retention"
RECLAIM = "reclaim"

audit = get_journal("audit")


class RunAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    dry_run: bool = True


class RemovableOut(msgspec.Struct, frozen=True, rename="camel"):
    events: int
    days: int
    """From that of the oldest event to the horizon."""
    first: str | None
    quarantined: int
    rows: int
    """With those about requests and repeats."""
    bytes: int
    """An estimate, from the mean size of an event."""


class RemovedOut(msgspec.Struct, frozen=True, rename="camel"):
    events: int
    """Ever, quarantined ones among them: the ledger's `removed`."""
    before: str | None
    quarantine_before: str | None
    at: str | None


class RetentionOut(msgspec.Struct, frozen=True, rename="camel"):
    time_zone: str
    retention: str
    quarantine_retention: str
    lake_retention: str
    before: str | None
    """Events that occurred before it are to go; null = none."""
    quarantine_before: str | None
    removable: RemovableOut
    removed: RemovedOut


class JobMade(msgspec.Struct, frozen=True, rename="camel"):
    job_id: str


class WarehouseOut(msgspec.Struct, frozen=True, rename="camel"):
    total_bytes: int
    used_bytes: int
    free_bytes: int
    """New events take it first; the disk gets it back by a job `reclaim`."""
    facts: dict[str, Any]
    """The backend's own."""


@get("/api/v1/retention", opt=needs("ops"), summary="What would be removed today", tags=["operations"])
async def retention(request: AnyRequest) -> Response[RetentionOut]:
    """By the settings of the project. Nothing is removed by this."""
    return Response(await tried(request))


@post(
    "/api/v1/retention/run",
    opt=needs("admin", body=RunAsked, example={"dryRun": True}, answer=RetentionOut, job=True),
    summary="Remove what is older than the project keeps",
    tags=["operations"],
    status_code=200,
)
async def run_retention(request: AnyRequest) -> Response[Any]:
    """A dry run tells what would be removed. With `dryRun: false` a job does it (202): its id is `jobId`. The same job
    runs every night in the project's time zone."""
    asked = read(RunAsked, body_of(await request.body()))
    if asked.dry_run:
        return Response(await tried(request))
    return await put(request, JOB)


@get("/api/v1/warehouse", opt=needs("ops"), summary="The warehouse: sizes and free space", tags=["operations"])
async def warehouse(request: AnyRequest) -> Response[WarehouseOut]:
    project = await project_of(request)
    space = await site_of(request).lane.run(project.warehouse.space)
    return Response(
        WarehouseOut(space.total_bytes, space.used_bytes, space.free_bytes, camel(project.warehouse.facts()))
    )


@post(
    "/api/v1/warehouse/reclaim",
    opt=needs("admin", answer=JobMade),
    summary="Give free space back to the disk",
    tags=["operations"],
    status_code=202,
)
async def reclaim(request: AnyRequest) -> Response[Any]:
    """A job does it, beside the events that come in; rows are written again, none changes."""
    return await put(request, RECLAIM)


async def tried(request: AnyRequest) -> RetentionOut:
    site, project = site_of(request), await project_of(request)
    return msgspec.convert(await site.lane.run(project.retention.dry_run), RetentionOut)


async def put(request: AnyRequest, kind: str) -> Response[Any]:
    """While one of the kind is not finished, that one is answered."""
    site, project, access = site_of(request), await project_of(request), access_of(request)
    job = await site.write(lambda: site.jobs.put(project.name, kind, {}, dedup_key=kind))
    audit.info(f"{kind}_asked", project=project.name, job=job.id, by=access.key_id)
    return Response({"jobId": job.id}, status_code=202)
