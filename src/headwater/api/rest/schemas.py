"""Event schemas: catalog objects that decide what is let in, and how they came to be what they are."""

import asyncio
import operator
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.answers import SchemaOut, SchemaPage
from headwater.api.rest.asking import AnyRequest, Cursor, Limit, access_of, site_of
from headwater.api.rest.objects import body_of, create, missing, one_of, page_of, remove, same_name, stamped, write
from headwater.collect.schemas.compare import Change, changes_between
from headwater.domain.cursors import checked_limit, cursor_of, position_of
from headwater.domain.events import text_of
from headwater.domain.schemas import Schema, parse_schema, schema_of
from headwater.storage.catalog.base import Catalog, Stored

SCHEMA = "schema"
A_SCHEMA = {
    "name": "purchase",
    "version": "1",
    "mode": "enforce",
    "jsonSchema": {"type": "object", "required": ["price"], "properties": {"price": {"type": "number"}}},
}


class SchemaChange(msgspec.Struct, frozen=True, rename="camel"):
    """One version of a schema's document, and what it changed."""

    name: str
    version: str
    """Of the events that it is for."""
    object_version: int
    changed_at: str
    in_force: bool
    """False where it was changed again, or removed, since."""
    compatible: bool
    changes: Sequence[Change]
    """Against the document before it; empty for the first."""
    schema: Schema


class SchemaHistory(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[SchemaChange]
    next_cursor: str | None


def declared(catalog: Catalog, project: str, name: str) -> Iterator[Stored]:
    """The schemas of an event, of every version."""
    after = f"{name}@"
    while page := catalog.list(SCHEMA, project, after=after):
        for stored in page:
            if not stored.name.startswith(f"{name}@"):
                return
            if stored.body["name"] == name:  # not those of an event called `name@…`
                yield stored
        after = page[-1].name


def checked_schema(raw: bytes) -> tuple[str, dict[str, Any]]:
    schema = parse_schema(body_of(raw))
    return f"{schema.name}@{schema.version}", msgspec.to_builtins(schema)


@get("/api/v1/schemas", opt=needs("events:read", answer=SchemaPage), summary="List schemas", tags=["schemas"])
async def list_schemas(request: AnyRequest, limit: Limit = 100, cursor: Cursor = None) -> Response[Any]:
    catalog, project = site_of(request).catalog, access_of(request).project
    return await asyncio.to_thread(page_of, catalog, SCHEMA, project, limit, cursor)


@post(
    "/api/v1/schemas",
    opt=needs("manage", body=Schema, example=A_SCHEMA, creates=True, answer=SchemaOut),
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


@get("/api/v1/schemas/history", opt=needs("events:read"), summary="How a schema has changed", tags=["schemas"])
async def schema_history(
    request: AnyRequest,
    event_name: Annotated[str, QueryParameter(name="name", description="The events' name")],
    version: Annotated[
        str | None, QueryParameter(description="Of the events; then also of a schema that was removed")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[SchemaHistory]:
    """Newest first, each with what it changed. The journal `audit` tells who."""
    catalog, project = site_of(request).catalog, access_of(request).project
    before = position_of(cursor, tuple[int, str, int])
    checked_limit(limit)

    def work() -> SchemaHistory:
        if version is None:
            names = [stored.name for stored in declared(catalog, project, event_name)]
        else:
            names = [f"{event_name}@{version}"]
        found = [(place, change) for each in names for place, change in changes_of(catalog, project, each)]
        if not found:
            raise missing(SCHEMA, project, event_name if version is None else names[0])
        found = sorted(
            (each for each in found if before is None or each[0] < before), key=operator.itemgetter(0), reverse=True
        )
        more = cursor_of(found[limit - 1][0]) if len(found) > limit else None
        return SchemaHistory([change for _, change in found[:limit]], more)

    return Response(await asyncio.to_thread(work))


def changes_of(catalog: Catalog, project: str, name: str) -> Iterator[tuple[tuple[int, str, int], SchemaChange]]:
    """Of one schema, newest first, each with its place among others."""
    present = catalog.get(SCHEMA, project, name)
    versions: list[Stored | None] = [*catalog.versions(SCHEMA, project, name), None]
    for stored, earlier in pairwise(versions):
        assert stored is not None
        schema = schema_of(stored.body)
        changes = [] if earlier is None else changes_between(schema_of(earlier.body), schema)
        change = SchemaChange(
            name=schema.name,
            version=schema.version,
            object_version=stored.version,
            changed_at=text_of(stored.updated_us),
            in_force=present is not None and present.version == stored.version,
            compatible=not any(each.breaking for each in changes),
            changes=changes,
            schema=schema,
        )
        yield (stored.updated_us, name, stored.version), change


@get(
    "/api/v1/schemas/{schema:path}",
    opt=needs("events:read", answer=SchemaOut),
    sync_to_thread=False,
    summary="One schema",
    tags=["schemas"],
)
def read_schema(request: AnyRequest, schema: FromPath[str]) -> Response[Any]:
    """Addressed as `name@version`."""
    return one_of(site_of(request).catalog, SCHEMA, access_of(request).project, schema[1:])


@put(
    "/api/v1/schemas/{schema:path}",
    opt=needs("manage", body=Schema, example=A_SCHEMA, answer=SchemaOut),
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
