"""The OpenAPI 3.1 document, made from the routes; kept in the repository as a golden file."""

from functools import cache

import msgspec
from litestar import Litestar, Response, get
from litestar.openapi import OpenAPIConfig

from headwater.api.auth import public


@get(
    "/openapi.json",
    opt=public(),
    sync_to_thread=True,
    summary="This document",
    tags=["health"],
    media_type="application/json",
)
def openapi_json() -> Response[bytes]:
    return Response(document(), media_type="application/json")


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
    schema["paths"]["/api/v1/events"]["post"] = SEND_EVENTS
    schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key"}}
    for route in described.routes:
        for handler in getattr(route, "route_handlers", ()):
            scope = handler.opt.get("needs")
            for method in handler.http_methods:
                operation = schema["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None and scope is not None:
                    operation["security"] = [{"key": [scope]}]
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1) + b"\n"


DESCRIPTION = "Self-hosted, real-time analytics. Errors are problem documents (RFC 9457) with a stable `code`."
PROBLEM = {"description": "A problem document; nothing was stored", "content": {"application/problem+json": {}}}
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
        **dict.fromkeys(("400", "401", "403", "408", "413", "415", "429", "503"), PROBLEM),
    },
}
