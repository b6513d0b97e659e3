"""Questions: POST /query, GET /metrics, and cancelling what runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

from litestar import Response, delete, get, post
from litestar.params import FromPath, QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, End, Start, access_of, project_of, site_of
from headwater.api.rest.definitions import definitions_of
from headwater.collect.head import sane_request_id
from headwater.domain.batches import new_uuid7
from headwater.domain.errors import BadInput
from headwater.domain.metrics import Metric
from headwater.domain.queries import Answer, Facts, Query
from headwater.domain.values import shown
from headwater.engine.query.parse import decode_query
from headwater.engine.query.points import metric_points, parse_metrics_parameters
from headwater.engine.query.run import answer

QUERY_ID = "headwater-query-id"
"""A caller may name its question by this header, to cancel it; the answer carries the id either way."""


A_QUESTION = {
    "metrics": ["events"],
    "timeRange": {"last": "7d", "interval": "1d"},
    "timeZone": "Europe/Berlin",
    "dimensions": ["attributes.country"],
    "filters": [{"field": "name", "operator": "in", "value": ["purchase"]}],
    "order": [{"by": "events", "descending": True}],
    "limit": 10,
}

T = TypeVar("T")


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
        interrupt = self._interrupt
        if interrupt is not None:
            interrupt()


@asynccontextmanager
async def stoppable(request: AnyRequest) -> AsyncIterator[tuple[str, Stop]]:
    """Stop the question when somebody cancels it or its connection drops."""
    site, project = site_of(request), access_of(request).project
    query_id = query_id_of(request)
    stop = Stop()
    site.running.add(project, query_id, stop.stop)
    watcher = asyncio.create_task(stop_when_dropped(request, stop))
    try:
        yield query_id, stop
    finally:
        watcher.cancel()
        site.running.done(project, query_id)


def query_id_of(request: AnyRequest) -> str:
    given = request.headers.get(QUERY_ID)
    if given is None:
        return str(new_uuid7())
    if sane_request_id(given.encode("latin-1", "replace")) is None:
        raise BadInput(
            f"{QUERY_ID}: expected 1 to 64 of A-Z a-z 0-9 . _ -, got {shown(given)}", code="BAD_HEADER", path=QUERY_ID
        )
    return given


async def stop_when_dropped(request: AnyRequest, stop: Stop) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            stop.stop()
            return


async def asked(request: AnyRequest, question: Query, work: Callable[..., T]) -> tuple[T, str]:
    """What `work` (`answer` or `metric_points`) finds, and the id under which it can be stopped meanwhile."""
    site, project = site_of(request), await project_of(request)
    async with stoppable(request) as (query_id, stop):
        found = await site.lane.run(
            lambda: work(
                question,
                definitions_of(site.catalog, project.name),
                project.warehouse,
                now_us=time.time_ns() // 1000,
                watermark_us=project.watermark_us(),
                timeout_seconds=site.query_seconds_max,
                points_max=site.points_max,
                cancel=stop,
            )
        )
    return found, query_id


@post(
    "/api/v1/query",
    opt=needs("query", body=Query, example=A_QUESTION),
    status_code=200,
    summary="Ask a question",
    tags=["questions"],
)
async def query(request: AnyRequest) -> Response[Answer]:
    """Metrics over a time range, by dimensions, filtered; every answer says how fresh and how complete it is."""
    found, query_id = await asked(request, decode_query(await request.body()), answer)
    return Response(found, headers={QUERY_ID: query_id})


@get(
    "/api/v1/metrics", opt={**needs("query"), "free_parameters": True}, summary="Metrics as values", tags=["questions"]
)
async def metrics(
    request: AnyRequest,
    names: Annotated[list[str] | None, QueryParameter(description="Metrics: repeated, or separated by commas")] = None,
    start: Start = None,
    end: End = None,
    last: Annotated[
        str | None, QueryParameter(name="timeRange[last]", description="Back from now: 24h, 7d, 1mo")
    ] = None,
    interval: Annotated[str | None, QueryParameter(name="timeRange[interval]", description="Size of a bucket")] = None,
    dimensions: Annotated[list[str] | None, QueryParameter(description="For example attributes.country")] = None,
    zone: Annotated[str | None, QueryParameter(name="timeZone", description="IANA name; default UTC")] = None,
) -> Response[list[Metric]]:
    """One Metric per name, bucket and dimension values; `timestamp` is the bucket's start. No interval: one value."""
    question = parse_metrics_parameters(list(request.query_params.multi_items()))
    (points, facts), query_id = await asked(request, question, metric_points)
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
