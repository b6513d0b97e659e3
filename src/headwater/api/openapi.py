"""The OpenAPI 3.1 document, made from the routes; kept in the repository as a golden file."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.openapi import OpenAPIConfig

from headwater.api.auth import public
from headwater.api.rest.answers import JobAsked, SentOut
from headwater.collect.head import KEY_CHARACTERS_MAX
from headwater.domain.metrics import MetricDefinition
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
    kinds, schemas = kinds_of(ROUTES)
    components["schemas"] |= schemas | {"Problem": A_PROBLEM}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key"}}
    components["responses"] = {"Problem": PROBLEM}
    components["parameters"] = HEADERS
    for route in described.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods:
                operation = schema["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    describe(operation, handler, method, kinds)
    schema["paths"]["/api/v1/events"]["post"] = SEND_EVENTS
    whole = schema["paths"]["/openapi.json"]["get"]["responses"]["200"]["content"]["application/json"]
    whole["schema"] = {"type": "object"}
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1) + b"\n"


def kinds_of(routes: Sequence[Any]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """The schema of each type that a route's `opt` names, and the components they lead to."""
    named: list[Any] = [SentOut, JobAsked]
    for handler in routes:
        named += [kind for kind in (handler.opt.get("body"), *answers_of(handler)) if kind is not None]
    kinds = list(dict.fromkeys(named))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return dict(zip(kinds, schemas, strict=True)), components


def answers_of(handler: Any) -> tuple[Any, ...]:
    """The types of its answer, one of which it is; none where the handler itself says it."""
    answer = handler.opt.get("answer")
    return answer if isinstance(answer, tuple) else () if answer is None else (answer,)


def describe(operation: dict[str, Any], handler: Any, method: str, kinds: Mapping[Any, dict[str, Any]]) -> None:
    """What the framework can't know of a route: scope, body, answer, the headers it heeds, its problems."""
    first, *rest = handler.handler_name.split("_")
    operation["operationId"] = first + "".join(word.capitalize() for word in rest)
    operation["responses"].pop("400", None)
    operation["responses"].get("204", {}).pop("content", None)
    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    opt = handler.opt
    headers = []
    if "needs" in opt:
        operation["security"] = [{"key": [opt["needs"]]}]
        headers.append("Project")
    if opt.get("creates"):
        headers.append("IdempotencyKey")
        operation["responses"].setdefault("201", {"description": "Made"})
    changes = opt.get("needs") in ("manage", "admin") and method in ("PUT", "DELETE")
    if changes and handler.handler_name not in NO_VERSION:
        headers.append("IfMatch")
    if headers:
        named = [{"$ref": f"#/components/parameters/{name}"} for name in headers]
        operation["parameters"] = operation.get("parameters", []) + named
    if opt.get("body") is not None:
        content = {"schema": kinds[opt["body"]], "example": opt["example"]}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    answers = [kinds[answer] for answer in answers_of(handler)]
    if answers:
        status = next(status for status in operation["responses"] if status.startswith("2"))
        answered = operation["responses"][status]["content"]["application/json"]
        answered["schema"] = answers[0] if len(answers) == 1 else {"anyOf": answers}
        if opt.get("job"):
            content = {"application/json": {"schema": kinds[JobAsked]}}
            operation["responses"]["202"] = {"description": "A job does it", "content": content}
        if opt.get("body") in MADE_BY_PUT and method == "PUT":
            operation["responses"]["201"] = {**operation["responses"]["200"], "description": "Made"}


NO_VERSION = ("revoke_key", "cancel_job")
"""Changes of what has no ETag."""
MADE_BY_PUT = (MetricDefinition, Schema)
"""What PUT makes where it is not there yet."""
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
                    "schema": {"$ref": "#/components/schemas/SentOut"},
                    "example": {
                        "accepted": 1,
                        "duplicate": 0,
                        "quarantined": 0,
                        "batchId": "0192f0c4-0000-7000-8000-000000000000",
                        "results": [],
                    },
                }
            },
        },
        "202": {
            "description": "Buffered: not durable yet",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SentOut"}}},
        },
        "default": {"$ref": "#/components/responses/Problem"},
    },
}
