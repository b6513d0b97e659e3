"""Metric definitions: catalog objects that change what is counted."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath

from headwater.api.auth import needs
from headwater.api.rest.answers import MetricOut, MetricPage
from headwater.api.rest.asking import AnyRequest, Cursor, Limit, access_of, site_of
from headwater.api.rest.objects import body_of, create, instant, one_of, page_of, remove, same_name, write
from headwater.domain.metrics import BUILT_IN, MetricDefinition, Versioned, check_definition, read_definition
from headwater.domain.projects import retention_days
from headwater.security.projects import settings_of
from headwater.storage.catalog.base import Catalog, Stored, every

METRIC = "metric"
A_METRIC = {"name": "revenue", "events": ["purchase"], "aggregation": "sum", "field": "attributes.price", "unit": "EUR"}


def definitions_of(catalog: Catalog, project: str) -> dict[str, Versioned]:
    """The project's own metrics by name."""
    return {
        stored.name: Versioned(msgspec.convert(stored.body, MetricDefinition), stored.version)
        for stored in every(catalog, METRIC, project)
    }


def shown_metric(stored: Stored) -> Mapping[str, Any]:
    return {
        **stored.body,
        "definitionVersion": stored.version,
        "builtIn": False,
        "createdAt": instant(stored.created_us),
        "updatedAt": instant(stored.updated_us),
    }


def shown_built_in(known: Versioned) -> Mapping[str, Any]:
    return {**msgspec.to_builtins(known.definition), "definitionVersion": known.version, "builtIn": True}


def checked_metric(catalog: Catalog, project: str, raw: bytes) -> tuple[str, dict[str, Any]]:
    definition = read_definition(body_of(raw))
    check_definition(definition, days_max=retention_days(settings_of(catalog, project).retention))
    body: dict[str, Any] = msgspec.to_builtins(definition)
    return definition.name, body


@get("/api/v1/metric-definitions", opt=needs("query", answer=MetricPage), summary="List metrics", tags=["metrics"])
async def list_metrics(request: AnyRequest, limit: Limit = 100, cursor: Cursor = None) -> Response[Any]:
    """The built-in ones stand at the head of the first page."""
    catalog, project = site_of(request).catalog, access_of(request).project
    page = await asyncio.to_thread(page_of, catalog, METRIC, project, limit, cursor, shown_metric)
    if cursor is None:
        page.content["items"] = [*map(shown_built_in, BUILT_IN.values()), *page.content["items"]]
    return page


@post(
    "/api/v1/metric-definitions",
    opt=needs("manage", body=MetricDefinition, example=A_METRIC, creates=True, answer=MetricOut),
    summary="Define a metric",
    tags=["metrics"],
)
async def create_metric(request: AnyRequest) -> Response[Any]:
    site, project, raw = site_of(request), access_of(request).project, await request.body()

    def work() -> Response[Any]:
        name, body = checked_metric(site.catalog, project, raw)
        return create(site.catalog, request, METRIC, project, name, body, shown_metric)

    return await site.write(work)


@get(
    "/api/v1/metric-definitions/{metric:str}",
    opt=needs("query", answer=MetricOut),
    sync_to_thread=False,
    summary="One metric",
    tags=["metrics"],
)
def read_metric(request: AnyRequest, metric: FromPath[str]) -> Response[Any]:
    if metric in BUILT_IN:
        return Response(shown_built_in(BUILT_IN[metric]))
    return one_of(site_of(request).catalog, METRIC, access_of(request).project, metric, shown_metric)


@put(
    "/api/v1/metric-definitions/{metric:str}",
    opt=needs("manage", body=MetricDefinition, example=A_METRIC, answer=MetricOut),
    summary="Define or redefine a metric",
    tags=["metrics"],
)
async def write_metric(request: AnyRequest, metric: FromPath[str]) -> Response[Any]:
    """A redefinition is a new version; answers name the version they used."""
    site, project, raw = site_of(request), access_of(request).project, await request.body()

    def work() -> Response[Any]:
        name, body = checked_metric(site.catalog, project, raw)
        same_name(name, metric)
        return write(site.catalog, request, METRIC, project, name, body, shown_metric)

    return await site.write(work)


@delete("/api/v1/metric-definitions/{metric:str}", opt=needs("manage"), summary="Remove a metric", tags=["metrics"])
async def remove_metric(request: AnyRequest, metric: FromPath[str]) -> Response[None]:
    site, project = site_of(request), access_of(request).project
    return await site.write(lambda: remove(site.catalog, request, METRIC, project, metric))
