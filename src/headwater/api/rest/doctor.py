"""Is all well? The checks of `headwater doctor`."""

from typing import Literal

import msgspec
from litestar import Response, get, post

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, access_of, project_of, site_of
from headwater.api.rest.jobs import JobOut, job_out
from headwater.domain.findings import Finding, facts_of
from headwater.observe.journal import get_journal

audit = get_journal("audit")


class DoctorOut(msgspec.Struct, frozen=True):
    healthy: bool
    """False when something is broken; warnings alone leave it true."""
    result: Literal["ok", "warn", "broken"]
    """The worst of all checks."""
    deep: bool
    checks: list[Finding]


@get("/api/v1/doctor", opt=needs("ops"), summary="Is all well?", tags=["operations"])
async def doctor(request: AnyRequest) -> Response[DoctorOut]:
    """The fast checks: counts, positions, sizes, disk, clock, versions, permissions; each with what mends it."""
    site, project = site_of(request), await project_of(request)
    found = await site.lane.run(site.examine, project.name)
    return Response(DoctorOut(**facts_of(found, deep=False) | {"checks": found}))


@post("/api/v1/doctor", opt=needs("ops", job=True), summary="Read everything", tags=["operations"], status_code=202)
async def doctor_deep(request: AnyRequest) -> Response[JobOut]:
    """All checks, the contents of log, lake and warehouse among them: a job, whose result is as the answer of GET. One
    at a time: while one is not finished, that one is answered."""
    site, project, access = site_of(request), await project_of(request), access_of(request)
    job = await site.write(lambda: site.jobs.put(project.name, "doctor", {}, dedup_key="one"))
    audit.info("doctor_asked", project=project.name, job=job.id, by=access.key_id)
    return Response(job_out(job), status_code=202)
