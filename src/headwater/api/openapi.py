"""The OpenAPI 3.1 document, made from the routes; kept in the repository as a golden file."""

import asyncio
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.openapi import OpenAPIConfig

from headwater.api.auth import public
from headwater.api.rest.admin import KeyAsked
from headwater.collect.head import KEY_CHARACTERS_MAX
from headwater.domain.metrics import MetricDefinition
from headwater.domain.projects import ProjectSettings
from headwater.domain.queries import Query
from headwater.domain.schemas import Schema


@get(
    "/openapi.json",
    opt=public(),
    summary="This document",
    tags=["health"],
    media_type="application/json",
)
async def openapi_json() -> Response[bytes]:
    return Response(await asyncio.to_thread(document), media_type="application/json")


@cache
def document() -> bytes:
    """JSON, keys sorted: the same routes give the same bytes."""
    from headwater.api.routes import ROUTES

    described = Litestar(
        list(ROUTES),
        openapi_config=OpenAPIConfig(
            title="Headwater", version="1", description=DESCRIPTION, use_handler_docstrings=True
        ),
        logging_config=None,
    )
    schema = described.openapi_schema.to_schema()
    components: dict[str, Any] = schema["components"]
    components["schemas"] |= BODIES[1] | {"Problem": A_PROBLEM}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key"}}
    components["responses"] = {"Problem": PROBLEM}
    components["parameters"] = HEADERS
    for route in described.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods:
                operation = schema["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    describe(operation, handler, method)
    schema["paths"]["/api/v1/events"]["post"] = SEND_EVENTS
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1) + b"\n"


def describe(operation: dict[str, Any], handler: Any, method: str) -> None:
    """What the framework can't know of a route: its scope, its body, the headers it heeds, its problems."""
    first, *rest = handler.handler_name.split("_")
    operation["operationId"] = first + "".join(word.capitalize() for word in rest)
    operation["responses"].pop("400", None)
    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    opt = handler.opt
    headers = []
    if "needs" in opt:
        operation["security"] = [{"key": [opt["needs"]]}]
        headers.append("Project")
    if opt.get("creates"):
        headers.append("IdempotencyKey")
        operation["responses"].setdefault("201", {"description": "Made"})
    if opt.get("needs") in ("manage", "admin") and method in ("PUT", "DELETE") and handler.handler_name != "revoke_key":
        headers.append("IfMatch")
    if headers:
        named = [{"$ref": f"#/components/parameters/{name}"} for name in headers]
        operation["parameters"] = operation.get("parameters", []) + named
    if opt.get("body") is not None:
        name = opt["body"].__name__
        kind = {"$ref": f"#/components/schemas/{name}"} if name in BODIES[1] else {"type": "object"}
        content = {"schema": kind, "example": opt["example"]}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}


BODIES = msgspec.json.schema_components(
    [Query, MetricDefinition, Schema, ProjectSettings, KeyAsked], ref_template="#/components/schemas/{name}"
)
A_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; docs/reference/codes.md lists all of them.",
    "required": ["type", "title", "status", "code", "detail", "requestId"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "code", "detail", "path", "hint", "requestId")},
        "status": {"type": "integer"},
        "value": {"description": "The value that is wrong"},
        "limit": {"description": "The limit that is reached"},
    },
}
PROBLEM = {
    "description": "A problem document",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
HEADERS = {
    "Project": {
        "name": "X-Headwater-Project",
        "in": "header",
        "description": "The project; default that of the key",
        "schema": {"type": "string"},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag that was read; 412 where the object has changed since",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A repeat with the same key makes nothing again and gets the first answer, without its secret",
        "schema": {"type": "string", "maxLength": KEY_CHARACTERS_MAX},
    },
}
DESCRIPTION = "Self-hosted, real-time analytics. Errors are problem documents (RFC 9457) with a stable `code`."
SEND_EVENTS = {
    "summary": "Send events",
    "description": (
        'The body is an array of events, `{"events": [...]}`, one event, or one event a line (NDJSON), plain, gzip or '
        "zstd. 201 means durable. One bad event never sinks a batch: it is kept in quarantine and listed in `results`."
    ),
    "operationId": "sendEvents",
    "tags": ["events"],
    "security": [{"key": ["events:write"]}],
    "parameters": [
        {"$ref": "#/components/parameters/Project"},
        {"name": "ack", "in": "query", "schema": {"enum": ["durable", "buffered"], "default": "durable"}},
        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}},
        {"name": "Headwater-Sent-At", "in": "header", "schema": {"type": "string", "format": "date-time"}},
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "array", "items": {"type": "object"}},
                "example": [{"name": "signup", "actor": "ada", "data": {"attributes": {"plan": "pro"}}}],
            }
        },
    },
    "responses": {
        "201": {
            "description": "Durable",
            "content": {
                "application/json": {
                    "example": {
                        "accepted": 1,
                        "duplicate": 0,
                        "quarantined": 0,
                        "batchId": "0192f0c4-0000-7000-8000-000000000000",
                        "results": [],
                    }
                }
            },
        },
        "202": {"description": "Buffered: not durable yet"},
        "default": {"$ref": "#/components/responses/Problem"},
    },
}
