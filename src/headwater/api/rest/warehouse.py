"""The warehouse as a whole."""

import msgspec
from litestar import Response, post

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, access_of, project_of, site_of
from headwater.api.rest.jobs import JobOut, job_out
from headwater.api.rest.objects import body_of
from headwater.domain.reading import read
from headwater.observe.journal import get_journal

audit = get_journal("audit")


class RebuildAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    force: bool = False
    """Take the new one also where it differs from the present one."""
    drop_old: bool = False
    """Remove the old one at the end; else it is kept for a week."""


@post(
    "/api/v1/warehouse/rebuild",
    opt=needs("ops", body=RebuildAsked, example={"force": False}, job=True),
    summary="Make the warehouse again",
    tags=["operations"],
    status_code=202,
)
async def rebuild(request: AnyRequest) -> Response[JobOut]:
    """From lake and log, while events come in; compared with the present one and, when equal, put in its place. One at
    a time: while one is not finished, that one is answered."""
    asked = read(RebuildAsked, body_of(await request.body() or b"{}"))
    site, project, access = site_of(request), await project_of(request), access_of(request)
    args = {"force": asked.force, "dropOld": asked.drop_old}
    job = await site.write(lambda: site.jobs.put(project.name, "warehouse-rebuild", args, dedup_key="one"))
    audit.info("rebuild_asked", project=project.name, job=job.id, by=access.key_id, force=asked.force)
    return Response(job_out(job), status_code=202)
