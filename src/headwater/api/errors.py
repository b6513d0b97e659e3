"""Errors of the house and of the framework, as problem documents (RFC 9457). The only place that maps to HTTP."""

from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from headwater.domain.errors import BadInput, HeadwaterError, NotFound
from headwater.domain.problems import problem_of
from headwater.observe.journal import get_journal

journal = get_journal("error")

STATUS_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "BODY_TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE"}


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    known = as_known(error)
    if known is None:
        journal.error("unexpected_error", path=request.scope["path"], exc_info=error)
        known = HeadwaterError("something went wrong on our side; the journal has it under this request id")
    status, headers, body = problem_of(known, str(request.scope.get("headwater.request_id", "")))
    return Response(body, status_code=status, headers=headers, media_type=headers.pop("content-type"))


def as_known(error: Exception) -> HeadwaterError | None:
    if isinstance(error, HeadwaterError):
        return error
    if isinstance(error, HTTPException):
        code = STATUS_CODES.get(error.status_code, "BAD_REQUEST" if error.status_code < 500 else "INTERNAL")
        kind = NotFound if error.status_code == 404 else BadInput
        return kind(lowered(error.detail), code=code, value=getattr(error, "extra", None) or None)
    return None


def lowered(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")
