"""What an HTTP answer of the service means to who asked: the body, or the error that it tells of."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headwater.domain.errors import (
    BadInput,
    Conflict,
    HeadwaterError,
    NotFound,
    Overloaded,
    Refused,
    TooLarge,
    Unavailable,
)

RETRY_SECONDS = 0.5
"""Where the collector names no time to wait."""
RETRY_SECONDS_MAX = 60.0


KINDS: dict[int, type[HeadwaterError]] = {
    **dict.fromkeys((401, 403), Refused),
    404: NotFound,
    **dict.fromkeys((409, 412), Conflict),
    413: TooLarge,
    429: Overloaded,
}


def answer_of(status: int, content: bytes, retry_after: str | None = None) -> Mapping[str, Any]:
    """The body of a 201 or 202. Raises Overloaded (429) or Unavailable (5xx): nothing is lost by sending it again after
    `retry_after_seconds`; TooLarge (413), Refused (401, 403), BadInput (other 4xx): again would not help."""
    if status in (201, 202):
        answer: Mapping[str, Any] = msgspec.json.decode(content)
        return answer
    raise error_of(status, content, retry_after)


def error_of(status: int, content: bytes, retry_after: str | None = None) -> HeadwaterError:
    """A problem document as the error that it was made from, as far as its status tells."""
    kind = KINDS.get(status, BadInput if status < 500 else Unavailable)
    wait_seconds = _wait(retry_after) if status == 429 or status >= 500 else None
    try:
        problem = msgspec.json.decode(content, type=dict[str, Any])
        detail, code, hint = str(problem["detail"]), str(problem["code"]), problem.get("hint")
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        shown = content[:200].decode("utf-8", "replace")
        return kind(
            f"the server answered {status}: {shown}", code="NO_PROBLEM_DOCUMENT", retry_after_seconds=wait_seconds
        )
    return kind(detail, code=code, hint=hint, path=problem.get("path"), retry_after_seconds=wait_seconds)


def _wait(retry_after: str | None) -> float:
    try:
        return min(RETRY_SECONDS_MAX, max(0.05, float(retry_after or RETRY_SECONDS)))
    except ValueError:
        return RETRY_SECONDS
