"""What a collector's HTTP answer means to somebody who sends it many events."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headwater.domain.errors import BadInput, HeadwaterError, Overloaded, Refused, TooLarge, Unavailable

RETRY_SECONDS = 0.5
"""Where the collector names no time to wait."""
RETRY_SECONDS_MAX = 60.0


def answer_of(status: int, content: bytes, retry_after: str | None = None) -> Mapping[str, Any]:
    """The body of a 201 or 202. Raises Overloaded (429) or Unavailable (5xx): nothing is lost by sending it again after
    `retry_after_seconds`; TooLarge (413), Refused (401, 403), BadInput (other 4xx): again would not help."""
    if status in (201, 202):
        answer: Mapping[str, Any] = msgspec.json.decode(content)
        return answer
    kind: type[HeadwaterError] = {429: Overloaded, 413: TooLarge, 401: Refused, 403: Refused}.get(
        status, BadInput if status < 500 else Unavailable
    )
    wait_seconds = _wait(retry_after) if status == 429 or status >= 500 else None
    try:
        problem = msgspec.json.decode(content, type=dict[str, Any])
        detail, code, hint = str(problem["detail"]), str(problem["code"]), problem.get("hint")
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        shown = content[:200].decode("utf-8", "replace")
        raise kind(f"the collector answered {status}: {shown}", retry_after_seconds=wait_seconds) from None
    raise kind(detail, code=code, hint=hint, retry_after_seconds=wait_seconds)


def _wait(retry_after: str | None) -> float:
    try:
        return min(RETRY_SECONDS_MAX, max(0.05, float(retry_after or RETRY_SECONDS)))
    except ValueError:
        return RETRY_SECONDS
