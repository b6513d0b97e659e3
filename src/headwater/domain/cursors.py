"""Pages of a list: how many items, and where the next page begins. A cursor is opaque to callers, and no secret."""

import base64
import binascii
from typing import Any

import msgspec

from headwater.domain.errors import BadInput
from headwater.domain.values import shown

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000


def checked_limit(text: str | int) -> int:
    """Items of one page. Raises BadInput (INVALID_LIMIT)."""
    said = str(text)
    if said.isascii() and said.isdigit() and 1 <= int(said[:10]) <= LIMIT_MAX:
        return int(said)
    raise BadInput(
        f"limit: expected 1 to {LIMIT_MAX}, got {shown(text)}",
        code="INVALID_LIMIT",
        path="limit",
        value=text,
        limit=LIMIT_MAX,
    )


def cursor_of(position: Any) -> str:
    """`position`: what msgpack can hold; the same kind is to be asked of `position_of`."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).rstrip(b"=").decode()


def position_of(cursor: str | None, kind: Any) -> Any:
    """What `cursor_of` was given, or None. Raises BadInput (INVALID_CURSOR) for one that no answer of ours gave."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise BadInput(
            "cursor: not one of ours; take nextCursor as it came, or leave it out to begin",
            code="INVALID_CURSOR",
            path="cursor",
            value=cursor[:60],
        ) from None
