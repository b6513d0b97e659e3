"""Who may call a route: each names exactly one scope in its `opt`, or `public`. Checked before any handler runs."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from headwater.api.site import Site
from headwater.domain.errors import Unauthenticated
from headwater.security.keys import Access, require

LOCAL = "headwater.local"
"""Set in the ASGI scope by the server of the data folder's own socket, and by nothing else."""


def public(*, answer: Any = None) -> dict[str, Any]:
    return {"public": True, "answer": answer}


def needs(
    scope: str,
    *,
    body: Any = None,
    example: Any = None,
    creates: bool = False,
    answer: Any = None,
    job: bool = False,
) -> dict[str, Any]:
    """A route that asks for `scope`. The rest is for the OpenAPI document.

    The type of its body, and an example of one; whether it makes a catalog object, and so heeds Idempotency-Key; the
    type of its answer, or a tuple of them, where the handler does not say it; whether it may begin a job (202).
    """
    return {"needs": scope, "body": body, "example": example, "creates": creates, "answer": answer, "job": job}


def authorise(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard on every route. Raises Unauthenticated or Refused."""
    if handler.opt.get("public") or connection.scope.get("method") == "OPTIONS":
        return  # OPTIONS only tells the methods; no other origin is ever let in by it
    site: Site = connection.app.state.site
    scope = handler.opt["needs"]
    if scope == "ops" and connection.scope["path"] == "/metrics" and site.metrics_allowed(client_of(connection)):
        return
    access = access_of(site, connection)
    require(access, scope)
    connection.state.access = access


def access_of(site: Site, connection: ASGIConnection[Any, Any, Any, Any]) -> Access:
    project = connection.headers.get("x-headwater-project")
    if connection.scope.get(LOCAL):
        return site.authenticator.local(project)
    if "key" in connection.query_params:
        raise Unauthenticated(
            "keys in an address are taken for POST /api/v1/events only; use the header Authorization: Bearer",
            code="KEY_IN_ADDRESS",
        )
    return site.authenticator.access(connection.headers.get("authorization"), None, client_of(connection), project)


def client_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    return connection.client.host if connection.client else None
