"""The lake as of a version: what had come by then; and its care, dry or as jobs."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromQuery, QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.answers import LakeVersion
from headwater.api.rest.asking import AnyRequest, access_of, project_of, site_of
from headwater.api.rest.lake import version_out
from headwater.api.rest.objects import body_of
from headwater.api.rest.retention import put
from headwater.domain.errors import BadInput
from headwater.domain.events import DAY_US
from headwater.domain.filters import instant_us
from headwater.domain.reading import read
from headwater.domain.values import shown
from headwater.observe.journal import get_journal
from headwater.process.lakecare import LakeCare
from headwater.storage.lake.base import COUNTED_BY, Count, View

COMPACT, EXPIRE, VACUUM = "lake-compact", "lake-expire", "lake-vacuum"

audit = get_journal("audit")


class CountOut(msgspec.Struct, frozen=True, rename="camel"):
    """Events that had been received when the version was made, repeats and refused ones among them."""

    version: LakeVersion
    rows: int
    """Of the version: its events and its replays from quarantine."""
    bytes: int
    files: int
    by: Sequence[str]
    items: Sequence[Sequence[str | int | None]]
    """One value for each of `by`, then the number of events; most events first."""
    events: int
    """In all groups on these days."""
    others: int
    """In groups beyond `limit`."""


class CareAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    dry_run: bool = True


class VacuumAsked(CareAsked, frozen=True, forbid_unknown_fields=True, rename="camel"):
    older_than_days: Annotated[float, msgspec.Meta(ge=0, le=36_500)] | None = None
    """null = `lake.history_days`."""


class DayPart(msgspec.Struct, frozen=True, rename="camel"):
    day: str
    files: int
    rows: int
    bytes: int


class CompactOut(msgspec.Struct, frozen=True, rename="camel"):
    files: int
    """That would be merged."""
    rows: int
    bytes: int
    parts: Sequence[DayPart]
    """Each would become one file."""


class ExpireOut(msgspec.Struct, frozen=True, rename="camel"):
    files: int
    rows: int
    bytes: int
    parts: Sequence[DayPart]
    """Days of receipt, in UTC."""
    lake_retention: str
    before: str | None
    """What was received before it is to go; null = nothing."""


class VacuumOut(msgspec.Struct, frozen=True, rename="camel"):
    files: int
    bytes: int
    before: str
    names: Sequence[str]
    """The first hundred."""


@get(
    "/api/v1/lake/count",
    opt=needs("query", answer=CountOut),
    summary="Events as of a version of the lake",
    tags=["operations"],
)
async def count(
    request: AnyRequest,
    version: FromQuery[int | None] = None,
    as_of: Annotated[str | None, QueryParameter(name="asOf", description="RFC 3339: the version of that time")] = None,
    by: Annotated[str, QueryParameter(description=f"Some of {','.join(COUNTED_BY)}")] = "day",
    first_day: Annotated[str | None, QueryParameter(name="firstDay", description="UTC day of receipt")] = None,
    last_day: Annotated[str | None, QueryParameter(name="lastDay", description="UTC day of receipt")] = None,
    limit: Annotated[int, QueryParameter(description="Groups, 1 to 1000", ge=1, le=1000)] = 100,
) -> Response[Any]:
    """Without `version` and `asOf`: as of now. Reads the lake, not the warehouse, so nothing was deduplicated."""
    if version is not None and as_of is not None:
        raise BadInput("version and asOf: give one of them", code="BAD_PARAMETER", path="version")
    time_us = None if as_of is None else instant_us(as_of, "asOf")
    words = [word for word in by.split(",") if word]
    days = [checked_day(day, path) for path, day in (("firstDay", first_day), ("lastDay", last_day))]
    site, project = site_of(request), await project_of(request)

    def counted() -> tuple[View, Count]:
        view = project.lake().at(version, time_us)
        return view, view.count(words, days[0], days[1], limit, site.query_seconds_max)

    view, found = await site.lane.run(counted)
    return Response(
        {
            "version": version_out(view.facts),
            "rows": view.rows,
            "bytes": view.bytes,
            "files": view.files,
            "by": list(found.by),
            "items": [list(row) for row in found.rows],
            "events": found.events,
            "others": found.others,
        }
    )


@post(
    "/api/v1/lake/compact",
    opt=needs("manage", body=CareAsked, example={"dryRun": True}, answer=CompactOut, job=True),
    summary="Merge small files of the lake",
    tags=["operations"],
    status_code=200,
)
async def compact(request: AnyRequest) -> Response[Any]:
    """A dry run tells which. With `dryRun: false` a job does it (202): its id is `jobId`. The same job runs by itself
    wherever there are enough small files."""
    asked = read(CareAsked, body_of(await request.body()))
    return await tried(request, lambda care: care.compact_dry()) if asked.dry_run else await put(request, COMPACT)


@post(
    "/api/v1/lake/expire",
    opt=needs("admin", body=CareAsked, example={"dryRun": True}, answer=ExpireOut, job=True),
    summary="Remove days from the lake that the project no longer keeps",
    tags=["operations"],
    status_code=200,
)
async def expire(request: AnyRequest) -> Response[Any]:
    """Days whose `lakeRetention` is over and with which the warehouse is done. A dry run tells which; with
    `dryRun: false` a job does it (202). The same job runs every night."""
    asked = read(CareAsked, body_of(await request.body()))
    return await tried(request, lambda care: care.expire_dry()) if asked.dry_run else await put(request, EXPIRE)


@post(
    "/api/v1/lake/vacuum",
    opt=needs("admin", body=VacuumAsked, example={"dryRun": True}, answer=VacuumOut, job=True),
    summary="Delete files of the lake that nothing needs any more",
    tags=["operations"],
    status_code=200,
)
async def vacuum(request: AnyRequest) -> Response[Any]:
    """Files that no version of the last `lake.history_days` needs; older versions can't be asked any more. A dry run
    tells which; with `dryRun: false` a job does it (202). The same job runs every night."""
    asked = read(VacuumAsked, body_of(await request.body()))
    older_us = None if asked.older_than_days is None else round(asked.older_than_days * DAY_US)
    if asked.dry_run:
        return await tried(request, lambda care: care.vacuum_dry(older_us))
    site, project, access = site_of(request), await project_of(request), access_of(request)
    args = {} if older_us is None else {"older_us": older_us}
    job = await site.write(lambda: site.jobs.put(project.name, VACUUM, args, dedup_key=f"{VACUUM} {older_us}"))
    audit.info("lake-vacuum_asked", project=project.name, job=job.id, by=access.key_id, older_us=older_us)
    return Response({"jobId": job.id}, status_code=202)


def checked_day(day: str | None, path: str) -> str | None:
    try:
        return None if day is None else str(dt.date.fromisoformat(day))
    except ValueError:
        raise BadInput(
            f"{path}: expected a day such as 2026-11-24, got {shown(day)}", code="BAD_PARAMETER", path=path, value=day
        ) from None


async def tried(request: AnyRequest, work: Callable[[LakeCare], Mapping[str, Any]]) -> Response[Any]:
    site, project = site_of(request), await project_of(request)
    return Response(await site.lane.run(work, project.lakecare))
