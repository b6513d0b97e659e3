"""What was refused and why; and to send it again, mended."""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.answers import QuarantinedGroups, QuarantinedPage, ReplayTried
from headwater.api.rest.asking import AnyRequest, Cursor, End, Limit, Start, access_of, project_of, site_of
from headwater.api.rest.events import now_us, run
from headwater.api.rest.objects import body_of
from headwater.collect.replay import Args
from headwater.domain.errors import NotFound
from headwater.domain.patches import Patch
from headwater.domain.plans import QuarantineGroups
from headwater.domain.replays import ReplayRequest, parse_replay
from headwater.engine.query import pages
from headwater.observe.journal import get_journal

DRY_RUN_SECONDS_MAX = 20.0
"""A million events. What takes longer says so in its answer."""
EXAMPLE = {
    "filter": {"code": "TYPE_MISMATCH", "name": "purchase", "timeRange": {"last": "7d"}},
    "patch": [{"op": "cast", "field": "attributes.price", "type": "number"}],
    "dryRun": True,
}

audit = get_journal("audit")


@get(
    "/api/v1/quarantine",
    opt={**needs("events:read", answer=(QuarantinedPage, QuarantinedGroups)), "free_parameters": True},
    summary="Quarantine",
    tags=["quarantine"],
)
async def quarantine(
    request: AnyRequest,
    group_by: Annotated[str | None, QueryParameter(name="groupBy", description="Some of code,source,name")] = None,
    code: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    event_name: Annotated[str | None, QueryParameter(name="name")] = None,
    step: FromQuery[str | None] = None,
    in_state: Annotated[str | None, QueryParameter(name="state", description="open (default), replayed or all")] = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[pages.Page]:
    """What was refused and why: newest first, or grouped by cause. The time range is of receipt."""
    plan = pages.parse_quarantine_parameters(list(request.query_params.multi_items()), now_us())
    table = await run(request, plan)
    if isinstance(plan, QuarantineGroups):
        return Response(pages.quarantine_groups(plan, table))
    return Response(pages.quarantine_page(plan, table))


@get("/api/v1/quarantine/{item:str}", opt=needs("events:read"), summary="One quarantined event", tags=["quarantine"])
async def quarantined(request: AnyRequest, item: FromPath[str]) -> Response[pages.QuarantinedOut]:
    """By its number in the log, or by its id; also one that was replayed since."""
    found = pages.quarantined_of(await run(request, pages.parse_quarantine_id(item)))
    if not found:
        raise NotFound(f"{item!r} is not in quarantine", value=item)
    return Response(found[0])


@post(
    "/api/v1/quarantine/replay",
    opt=needs("manage", body=ReplayRequest, example=EXAMPLE, answer=ReplayTried, job=True),
    summary="Send quarantined events again",
    tags=["quarantine"],
    status_code=200,
)
async def replay(request: AnyRequest) -> Response[Any]:
    """A dry run tells how many would be stored, and why the rest would not. With `dryRun: false` a job does it (202):
    its id is `jobId`, its result tells what became of them.

    `wouldStore` are those that the collector would accept now; repeats of stored events are among them.
    """
    asked = parse_replay(body_of(await request.body()), now_us())
    site, project, access = site_of(request), await project_of(request), access_of(request)
    if asked.dry_run:
        patch = Patch(asked.patch)
        seconds = min(DRY_RUN_SECONDS_MAX, site.query_seconds_max)
        return Response(await site.lane.run(project.replays.dry_run, asked.chosen, patch, seconds))
    project.replays.log()
    args = msgspec.to_builtins(Args(asked.chosen, asked.patch, await asyncio.to_thread(project.replays.through_seq)))
    again = request.headers.get("idempotency-key")
    job = await site.write(lambda: site.jobs.put(project.name, "replay", args, dedup_key=again))
    audit.info("replay_asked", project=project.name, job=job.id, by=access.key_id)
    return Response({"jobId": job.id}, status_code=202)
