"""Metric definitions and event schemas: catalog objects that change what is counted and what is let in."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, Cursor, Limit, access_of, site_of
from headwater.api.rest.objects import body_of, create, instant, one_of, page_of, remove, replace, stamped
from headwater.domain.errors import BadInput
from headwater.domain.metrics import BUILT_IN, MetricDefinition, Versioned, check_definition, read_definition
from headwater.domain.projects import retention_days
from headwater.domain.schemas import parse_schema
from headwater.security.projects import settings_of
from headwater.storage.catalog.base import Catalog, Stored, every

METRIC, SCHEMA = "metric", "schema"


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


def checked_metric(catalog: Catalog, project: str, raw: bytes) -> tuple[str, dict[str, Any]]:
    definition = read_definition(body_of(raw))
    check_definition(definition, days_max=retention_days(settings_of(catalog, project).retention))
    body: dict[str, Any] = msgspec.to_builtins(definition)
    return definition.name, body


@get("/api/v1/metric-definitions", opt=needs("query"), sync_to_thread=False, summary="List metrics", tags=["metrics"])
def list_metrics(request: AnyRequest, limit: Limit = 100, cursor: Cursor = None) -> Response[Any]:
    """The built-in ones stand at the head of the first page."""
    page = page_of(site_of(request).catalog, METRIC, access_of(request).project, limit, cursor, shown_metric)
    if cursor is None:
        built_in = [
            {**msgspec.to_builtins(known.definition), "definitionVersion": known.version, "builtIn": True}
            for known in BUILT_IN.values()
        ]
        page.content["items"] = built_in + page.content["items"]
    return page


@post("/api/v1/metric-definitions", opt=needs("manage"), summary="Define a metric", tags=["metrics"])
async def create_metric(request: AnyRequest) -> Response[Any]:
    catalog, project = site_of(request).catalog, access_of(request).project
    name, body = checked_metric(catalog, project, await request.body())
    return create(catalog, request, METRIC, project, name, body, shown_metric)


@get(
    "/api/v1/metric-definitions/{metric:str}",
    opt=needs("query"),
    sync_to_thread=False,
    summary="One metric",
    tags=["metrics"],
)
def read_metric(request: AnyRequest, metric: FromPath[str]) -> Response[Any]:
    return one_of(site_of(request).catalog, METRIC, access_of(request).project, metric, shown_metric)


@put(
    "/api/v1/metric-definitions/{metric:str}",
    opt=needs("manage"),
    summary="Define or redefine a metric",
    tags=["metrics"],
)
async def write_metric(request: AnyRequest, metric: FromPath[str]) -> Response[Any]:
    """A redefinition is a new version; answers name the version they used."""
    catalog, project = site_of(request).catalog, access_of(request).project
    name, body = checked_metric(catalog, project, await request.body())
    same_name(name, metric)
    if catalog.get(METRIC, project, name) is None and "if-match" not in request.headers:
        return create(catalog, request, METRIC, project, name, body, shown_metric)
    return replace(catalog, request, METRIC, project, name, body, shown_metric)


@delete("/api/v1/metric-definitions/{metric:str}", opt=needs("manage"), summary="Remove a metric", tags=["metrics"])
async def remove_metric(request: AnyRequest, metric: FromPath[str]) -> Response[None]:
    return remove(site_of(request).catalog, request, METRIC, access_of(request).project, metric)


@get("/api/v1/schemas", opt=needs("events:read"), sync_to_thread=False, summary="List schemas", tags=["schemas"])
def list_schemas(request: AnyRequest, limit: Limit = 100, cursor: Cursor = None) -> Response[Any]:
    return page_of(site_of(request).catalog, SCHEMA, access_of(request).project, limit, cursor)


@post("/api/v1/schemas", opt=needs("manage"), summary="Declare a schema", tags=["schemas"])
async def create_schema(request: AnyRequest) -> Response[Any]:
    """In force within a second, in every role."""
    schema = parse_schema(body_of(await request.body()))
    name, body = f"{schema.name}@{schema.version}", msgspec.to_builtins(schema)
    return create(site_of(request).catalog, request, SCHEMA, access_of(request).project, name, body)


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


@put("/api/v1/schemas/{schema:path}", opt=needs("manage"), summary="Declare or change a schema", tags=["schemas"])
async def write_schema(request: AnyRequest, schema: FromPath[str]) -> Response[Any]:
    catalog, project = site_of(request).catalog, access_of(request).project
    parsed = parse_schema(body_of(await request.body()))
    name, body = f"{parsed.name}@{parsed.version}", msgspec.to_builtins(parsed)
    same_name(name, schema[1:])
    if catalog.get(SCHEMA, project, name) is None and "if-match" not in request.headers:
        return create(catalog, request, SCHEMA, project, name, body)
    return replace(catalog, request, SCHEMA, project, name, body, stamped)


@delete("/api/v1/schemas/{schema:path}", opt=needs("manage"), summary="Remove a schema", tags=["schemas"])
async def remove_schema(request: AnyRequest, schema: FromPath[str]) -> Response[None]:
    return remove(site_of(request).catalog, request, SCHEMA, access_of(request).project, schema[1:])


def same_name(in_body: str, in_path: str) -> None:
    if in_body != in_path:
        raise BadInput(
            f"the body is about {in_body!r}, the address about {in_path!r}",
            code="NAME_MISMATCH",
            path="name",
            value=in_body,
            hint="a rename is a new object: create it, then delete the old one",
        )
