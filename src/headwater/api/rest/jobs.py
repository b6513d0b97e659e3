"""Jobs: what is queued, what runs and how far it is, what was done; and to cancel one."""

import asyncio
from typing import Annotated, Any, get_args

import msgspec
from litestar import Response, delete, get
from litestar.params import FromPath, FromQuery, QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, Cursor, Limit, access_of, site_of
from headwater.api.rest.objects import instant
from headwater.domain.cursors import checked_limit, cursor_of, position_of
from headwater.domain.errors import BadInput
from headwater.domain.reading import did_you_mean
from headwater.domain.values import shown
from headwater.observe.journal import get_journal
from headwater.storage.catalog.jobs import JobError, JobRow, Progress, State

STATES: tuple[str, ...] = get_args(State)

audit = get_journal("audit")


class JobOut(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    kind: str
    state: State
    lane: str
    attempts: int
    """Times that a worker took it; 0 while it waits for the first."""
    progress: Progress
    created_at: str | None
    due_at: str | None
    """Of a queued one: when it is tried (again)."""
    started_at: str | None
    """Of its first attempt."""
    finished_at: str | None
    cancel_asked: bool
    error: JobError | None
    """Of the last failure, also while it is tried again."""
    result: dict[str, Any] | None


class JobPage(msgspec.Struct, frozen=True, rename="camel"):
    items: list[JobOut]
    next_cursor: str | None


@get("/api/v1/jobs", opt=needs("query"), summary="List jobs", tags=["jobs"])
async def list_jobs(
    request: AnyRequest,
    in_state: Annotated[str | None, QueryParameter(name="state", description=f"One of {', '.join(STATES)}")] = None,
    kind: FromQuery[str | None] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[JobPage]:
    """Newest first. Finished ones are kept for `jobs.history_days`."""
    before = position_of(cursor, Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)])
    most, jobs, project = checked_limit(limit), site_of(request).catalog.jobs, access_of(request).project
    wanted = checked_state(in_state)
    found = await asyncio.to_thread(lambda: jobs.list(project, state=wanted, kind=kind, before=before, limit=most + 1))
    more = cursor_of(found[most - 1].n) if len(found) > most else None
    return Response(JobPage([job_out(row) for row in found[:most]], more))


@get("/api/v1/jobs/{job_id:str}", opt=needs("query"), summary="One job", tags=["jobs"])
async def read_job(request: AnyRequest, job_id: FromPath[str]) -> Response[JobOut]:
    jobs, project = site_of(request).catalog.jobs, access_of(request).project
    return Response(job_out(await asyncio.to_thread(jobs.get, project, job_id)))


@delete("/api/v1/jobs/{job_id:str}", opt=needs("manage"), summary="Cancel a job", tags=["jobs"], status_code=202)
async def cancel_job(request: AnyRequest, job_id: FromPath[str]) -> Response[JobOut]:
    """A queued one is cancelled at once. A running one is told so within a second, and ends where it next looks: what
    it did until then stays done. 409 for one that is finished."""
    site, access = site_of(request), access_of(request)
    row = await site.write(lambda: site.catalog.jobs.cancel(access.project, job_id))
    audit.info("job_cancelled", project=access.project, job=job_id, job_kind=row.kind, by=access.key_id)
    return Response(job_out(row), status_code=202)


def checked_state(state: str | None) -> Any:
    if state is not None and state not in STATES:
        raise BadInput(
            f"state: unknown state {shown(state)}; {did_you_mean(state, STATES)}",
            code="BAD_PARAMETER",
            path="state",
            value=state,
        )
    return state


def job_out(row: JobRow) -> JobOut:
    return JobOut(
        id=row.id,
        kind=row.kind,
        state=row.state,
        lane=row.lane,
        attempts=row.attempt,
        progress=row.progress,
        created_at=instant(row.created_us),
        due_at=instant(row.due_us) if row.state == "queued" else None,
        started_at=instant(row.started_us),
        finished_at=instant(row.finished_us),
        cancel_asked=row.cancel_asked,
        error=row.error,
        result=None if row.result is None else dict(row.result),
    )
