"""Metric definitions and event schemas: catalog objects that change what is counted and what is let in."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, Cursor, Limit, access_of, site_of
from headwater.api.rest.objects import body_of, create, instant, one_of, page_of, remove, stamped, write
from headwater.domain.errors import BadInput
from headwater.domain.metrics import BUILT_IN, MetricDefinition, Versioned, check_definition, read_definition
from headwater.domain.projects import retention_days
from headwater.domain.schemas import Schema, parse_schema
from headwater.security.projects import settings_of
from headwater.storage.catalog.base import Catalog, Stored, every

METRIC, SCHEMA = "metric", "schema"
A_METRIC = {"name": "revenue", "events": ["purchase"], "aggregation": "sum", "field": "attributes.price", "unit": "EUR"}
A_SCHEMA = {
    "name": "purchase",
    "version": "1",
    "mode": "enforce",
    "jsonSchema": {"type": "object", "required": ["price"], "properties": {"price": {"type": "number"}}},
}


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


def checked_schema(raw: bytes) -> tuple[str, dict[str, Any]]:
    schema = parse_schema(body_of(raw))
    return f"{schema.name}@{schema.version}", msgspec.to_builtins(schema)


@get("/api/v1/metric-definitions", opt=needs("query"), summary="List metrics", tags=["metrics"])
async def list_metrics(request: AnyRequest, limit: Limit = 100, cursor: Cursor = None) -> Response[Any]:
    """The built-in ones stand at the head of the first page."""
    catalog, project = site_of(request).catalog, access_of(request).project
    page = await asyncio.to_thread(page_of, catalog, METRIC, project, limit, cursor, shown_metric)
    if cursor is None:
        page.content["items"] = [*map(shown_built_in, BUILT_IN.values()), *page.content["items"]]
    return page


@post(
    "/api/v1/metric-definitions",
    opt=needs("manage", body=MetricDefinition, example=A_METRIC, creates=True),
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
    opt=needs("query"),
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
    opt=needs("manage", body=MetricDefinition, example=A_METRIC),
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


@get("/api/v1/schemas", opt=needs("events:read"), summary="List schemas", tags=["schemas"])
async def list_schemas(request: AnyRequest, limit: Limit = 100, cursor: Cursor = None) -> Response[Any]:
    catalog, project = site_of(request).catalog, access_of(request).project
    return await asyncio.to_thread(page_of, catalog, SCHEMA, project, limit, cursor)


@post(
    "/api/v1/schemas",
    opt=needs("manage", body=Schema, example=A_SCHEMA, creates=True),
    summary="Declare a schema",
    tags=["schemas"],
)
async def create_schema(request: AnyRequest) -> Response[Any]:
    """In force within a second, in every role."""
    site, project, raw = site_of(request), access_of(request).project, await request.body()

    def work() -> Response[Any]:
        name, body = checked_schema(raw)
        return create(site.catalog, request, SCHEMA, project, name, body, stamped)

    return await site.write(work)


@get(
    "/api/v1/schemas/{schema:path}",
    opt=needs("events:read"),
    sync_to_thread=False,
    summary="One schema",
    tags=["schemas"],
)
def read_schema(request: AnyRequest, schema: FromPath[str]) -> Response[Any]:
    """Addressed as `name@version`."""
    return one_of(site_of(request).catalog, SCHEMA, access_of(request).project, schema[1:])


@put(
    "/api/v1/schemas/{schema:path}",
    opt=needs("manage", body=Schema, example=A_SCHEMA),
    summary="Declare or change a schema",
    tags=["schemas"],
)
async def write_schema(request: AnyRequest, schema: FromPath[str]) -> Response[Any]:
    site, project, raw = site_of(request), access_of(request).project, await request.body()

    def work() -> Response[Any]:
        name, body = checked_schema(raw)
        same_name(name, schema[1:])
        return write(site.catalog, request, SCHEMA, project, name, body, stamped)

    return await site.write(work)


@delete("/api/v1/schemas/{schema:path}", opt=needs("manage"), summary="Remove a schema", tags=["schemas"])
async def remove_schema(request: AnyRequest, schema: FromPath[str]) -> Response[None]:
    site, project = site_of(request), access_of(request).project
    return await site.write(lambda: remove(site.catalog, request, SCHEMA, project, schema[1:]))


def same_name(in_body: str, in_path: str) -> None:
    if in_body != in_path:
        raise BadInput(
            f"the body is about {in_body!r}, the address about {in_path!r}",
            code="NAME_MISMATCH",
            path="name",
            value=in_body,
            hint="a rename is a new object: create it, then delete the old one",
        )
