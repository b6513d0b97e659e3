"""Questions: POST /query, GET /metrics, and cancelling what runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from litestar import Response, delete, get, post
from litestar.params import FromPath, QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, access_of, project_of, site_of
from headwater.api.rest.definitions import definitions_of
from headwater.domain.batches import new_uuid7
from headwater.domain.queries import Answer, Facts
from headwater.engine.query.parse import decode_query
from headwater.engine.query.points import metric_points, parse_metrics_parameters
from headwater.engine.query.run import answer

QUERY_ID = "headwater-query-id"
"""A caller may name its question by this header, to cancel it; the answer carries the id either way."""


class Stop:
    """Interrupts a running question from another thread; also one that has not begun yet."""

    def __init__(self) -> None:
        self._interrupt: Callable[[], None] | None = None
        self.asked = False

    def bind(self, interrupt: Callable[[], None] | None) -> None:
        self._interrupt = interrupt
        if self.asked and interrupt is not None:
            interrupt()

    def stop(self) -> None:
        self.asked = True
        if self._interrupt is not None:
            self._interrupt()


@asynccontextmanager
async def stoppable(request: AnyRequest) -> AsyncIterator[tuple[str, Stop]]:
    """Stop the question when somebody cancels it or its connection drops."""
    site, project = site_of(request), access_of(request).project
    query_id = request.headers.get(QUERY_ID) or str(new_uuid7())
    stop = Stop()
    site.running.add(project, query_id, stop.stop)
    watcher = asyncio.create_task(stop_when_dropped(request, stop))
    try:
        yield query_id, stop
    finally:
        watcher.cancel()
        site.running.done(project, query_id)


async def stop_when_dropped(request: AnyRequest, stop: Stop) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            stop.stop()
            return


@post("/api/v1/query", opt=needs("query"), status_code=200, summary="Ask a question", tags=["questions"])
async def query(request: AnyRequest) -> Response[Answer]:
    """Metrics over a time range, by dimensions, filtered; every answer says how fresh and how complete it is."""
    site, project = site_of(request), await project_of(request)
    question = decode_query(await request.body())
    definitions = definitions_of(site.catalog, project.name)
    async with stoppable(request) as (query_id, stop):
        found = await site.lane.run(
            lambda: answer(
                question,
                definitions,
                project.warehouse,
                now_us=time.time_ns() // 1000,
                watermark_us=project.watermark_us(),
                timeout_seconds=site.query_seconds_max,
                points_max=site.points_max,
                cancel=stop,
            )
        )
    return Response(found, headers={QUERY_ID: query_id})


@get(
    "/api/v1/metrics", opt={**needs("query"), "free_parameters": True}, summary="Metrics as values", tags=["questions"]
)
async def metrics(
    request: AnyRequest,
    names: Annotated[list[str] | None, QueryParameter(description="Metrics: repeated, or separated by commas")] = None,
    start: Annotated[str | None, QueryParameter(name="timeRange[start]")] = None,
    end: Annotated[str | None, QueryParameter(name="timeRange[end]")] = None,
    last: Annotated[
        str | None, QueryParameter(name="timeRange[last]", description="Back from now: 24h, 7d, 1mo")
    ] = None,
    interval: Annotated[str | None, QueryParameter(name="timeRange[interval]", description="Size of a bucket")] = None,
    dimensions: Annotated[list[str] | None, QueryParameter(description="For example attributes.country")] = None,
    zone: Annotated[str | None, QueryParameter(name="timeZone", description="IANA name; default UTC")] = None,
) -> Response[Any]:
    """One Metric per name, bucket and dimension values; `timestamp` is the bucket's start. No interval: one value."""
    site, project = site_of(request), await project_of(request)
    question = parse_metrics_parameters(list(request.query_params.multi_items()))
    definitions = definitions_of(site.catalog, project.name)
    async with stoppable(request) as (query_id, stop):
        points, facts = await site.lane.run(
            lambda: metric_points(
                question,
                definitions,
                project.warehouse,
                now_us=time.time_ns() // 1000,
                watermark_us=project.watermark_us(),
                timeout_seconds=site.query_seconds_max,
                points_max=site.points_max,
                cancel=stop,
            )
        )
    return Response(points, headers={**fact_headers(facts), QUERY_ID: query_id})


def fact_headers(facts: Facts) -> dict[str, str]:
    headers = {
        "Headwater-Watermark": facts.watermark or "",
        "Headwater-As-Of": facts.as_of or "",
        "Headwater-Tier": facts.tier,
        "Headwater-Rows-Read": str(facts.rows_read),
        "Headwater-Elapsed-Ms": str(facts.elapsed_ms),
        "Headwater-Cache": facts.cache,
        "Headwater-Unfinished": ",".join(facts.unfinished),
    }
    return {name: value for name, value in headers.items() if value}


@delete("/api/v1/queries/{query_id:str}", opt=needs("query"), summary="Cancel a running question", tags=["questions"])
async def cancel(request: AnyRequest, query_id: FromPath[str]) -> None:
    site_of(request).running.cancel(access_of(request).project, query_id)
