"""What all routes share: who asks, in which project, and which parameters they may send."""

from typing import Annotated, Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter

from headwater.api.site import Project, Site
from headwater.engine.query.points import unknown_parameter
from headwater.security.keys import Access

AnyRequest = Request[Any, Any, Any]

Start = Annotated[str | None, QueryParameter(name="timeRange[start]", description="RFC 3339; included")]
End = Annotated[str | None, QueryParameter(name="timeRange[end]", description="RFC 3339; excluded")]
Limit = Annotated[int, QueryParameter(description="Items a page, 1 to 1000")]
Cursor = Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")]


def site_of(request: AnyRequest) -> Site:
    site: Site = request.app.state.site
    return site


def access_of(request: AnyRequest) -> Access:
    access: Access = request.state.access
    return access


async def project_of(request: AnyRequest) -> Project:
    return await site_of(request).project(access_of(request).project)


def known_parameters_only(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: an unknown query parameter is an error that names the nearest known one."""
    if handler.opt.get("free_parameters") or connection.scope.get("method") == "OPTIONS":
        return
    known = {
        getattr(field.kwarg_definition, "name", None) or name
        for name, field in handler.parsed_fn_signature.parameters.items()
    } - {"request", *connection.path_params}
    for sent in connection.query_params:
        if sent not in known:
            raise unknown_parameter(sent, sorted(known))
