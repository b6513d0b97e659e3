"""Web pages that send events: which may, and what their browsers are told (CORS)."""

from headwater.domain.errors import Refused
from headwater.security.keys import Access

Headers = list[tuple[bytes, bytes]]

ALLOWED_HEADERS = (
    b"authorization, content-type, content-encoding, idempotency-key, headwater-sent-at, x-headwater-project, "
    b"x-request-id"
)
EXPOSED_HEADERS = b"ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after, x-request-id"


def origin_headers(access: Access, origin: bytes) -> Headers:
    """An ingest key may be bound to web pages; their browsers are told that they may read the answer.

    Raises Refused (ORIGIN_NOT_ALLOWED).
    """
    if access.kind != "in":
        return []
    name = origin.decode("latin-1")
    if access.origins and "*" not in access.origins and name not in access.origins:
        raise Refused(
            f"origin {name[:100]!r} may not use this key; it is for {', '.join(access.origins[:5])}",
            code="ORIGIN_NOT_ALLOWED",
            value=name[:100],
        )
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED_HEADERS),
        (b"vary", b"origin"),
    ]


def preflight_headers(origin: bytes | None) -> Headers:
    """Any origin: a preflight carries no key, so only the POST itself can be refused."""
    headers = [(b"allow", b"POST, OPTIONS")]
    if origin is not None:
        headers += [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", b"POST, OPTIONS"),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", b"86400"),
            (b"vary", b"origin"),
        ]
    return headers
