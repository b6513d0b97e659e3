"""Errors of the house and of the framework, as problem documents (RFC 9457). The only place that maps to HTTP."""

from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException

from headwater.domain.errors import BadInput, HeadwaterError, NotFound, TooLarge
from headwater.domain.problems import problem_of
from headwater.domain.values import shown
from headwater.observe.journal import get_journal

BODY_BYTES_MAX = 1 << 20
"""Of every route but the collector's."""
BODY_CUT = "client disconnected prematurely"
"""Litestar's words when a client goes away, or is cut off, in the middle of its body: no error of ours."""

journal = get_journal("error")

AnyRequest = Request[Any, Any, Any]


def answer_problem(request: AnyRequest, error: Exception) -> Response[bytes]:
    known = as_known(request, error)
    status, headers, body = problem_of(known, str(request.scope.get("headwater.request_id", "")))
    if status == 500:
        journal.error("unexpected_error", path=request.scope["path"], exc_info=error)
    elif status == 503:
        journal.warning("unavailable", path=request.scope["path"], code=known.code, reason=known.detail)
    if isinstance(error, HTTPException) and error.headers:
        # The collector takes POST before it comes to the routes, and HEAD comes to them as GET.
        more = ", HEAD" if "GET" in error.headers.get("allow", error.headers.get("Allow", "")) else ""
        more += ", POST" if request.scope["path"] == "/api/v1/events" else ""
        headers |= {name: value + more for name, value in error.headers.items() if name.lower() == "allow"}
    return Response(body, status_code=status, headers=headers, media_type=headers.pop("content-type"))


def as_known(request: AnyRequest, error: Exception) -> HeadwaterError:
    if isinstance(error, HeadwaterError):
        return error
    if isinstance(error, InternalServerException) and error.detail == BODY_CUT:
        return BadInput("the connection ended before the body was whole", code="BODY_CUT")
    if not isinstance(error, HTTPException) or error.status_code >= 500:
        return HeadwaterError("unexpected")
    method, path = request.scope["method"], shown(request.scope["path"])
    match error.status_code:
        case 404:
            return NotFound(f"there is nothing at {path}; GET /openapi.json lists every address")
        case 405:
            return BadInput(f"{method} is not what {path} takes", code="METHOD_NOT_ALLOWED", value=method)
        case 413:
            return TooLarge(
                f"the body is larger than {BODY_BYTES_MAX} bytes", code="BODY_TOO_LARGE", limit=BODY_BYTES_MAX
            )
    return wrong_parameter(error)


def wrong_parameter(error: HTTPException) -> BadInput:
    """The first one that is not of its type."""
    found = error.extra[0] if isinstance(error.extra, list) and error.extra else None
    if not isinstance(found, dict) or "key" not in found:
        return BadInput(lowered(error.detail))
    said = lowered(str(found.get("message", "wrong"))).replace("`", "")
    return BadInput(f"{found['key']}: {said}", code="BAD_PARAMETER", path=str(found["key"]))


def lowered(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")
