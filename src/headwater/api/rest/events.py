"""Stored events, one by one."""

import time
from typing import Annotated

from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.answers import EventPage
from headwater.api.rest.asking import AnyRequest, Cursor, End, Limit, Start, project_of, site_of
from headwater.domain.errors import NotFound
from headwater.domain.plans import Plan, Table
from headwater.engine.query import pages


async def run(request: AnyRequest, plan: Plan) -> Table:
    site, project = site_of(request), await project_of(request)
    return await site.lane.run(project.warehouse.run, plan, site.query_seconds_max)


@get(
    "/api/v1/events",
    opt={**needs("events:read", answer=EventPage), "free_parameters": True},
    summary="Stored events",
    tags=["events"],
)
async def events(
    request: AnyRequest,
    start: Start = None,
    end: End = None,
    event_name: Annotated[str | None, QueryParameter(name="name")] = None,
    actor: FromQuery[str | None] = None,
    conditions: Annotated[
        str | None, QueryParameter(name="filter", description="A condition as in a question, JSON")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[pages.Page]:
    """Newest first by `occurredAt`."""
    plan = pages.parse_events_parameters(list(request.query_params.multi_items()), now_us())
    return Response(pages.events_page(plan, await run(request, plan)))


@get("/api/v1/events/{event_id:str}", opt=needs("events:read"), summary="One stored event", tags=["events"])
async def event(
    request: AnyRequest,
    event_id: FromPath[str],
    source: Annotated[str | None, QueryParameter(description="Where several sources sent the same id")] = None,
) -> Response[pages.EventOut]:
    """The newest where it came under several timestamps."""
    found = pages.events_of(await run(request, pages.parse_event_id(event_id)))
    chosen = [each for each in found if source in (None, each.source)]
    if not chosen:
        raise NotFound(
            f"no event {event_id!r} is stored", value=event_id, hint="its receipt tells where it is: …/receipt"
        )
    return Response(chosen[0])


def now_us() -> int:
    return time.time_ns() // 1000
