"""An API key: what it is for and what it may do. The secret itself is made and checked in `security`."""

import datetime as dt
import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from headwater.domain.errors import BadInput
from headwater.domain.events import OTHER_SOURCE, UNKNOWN_SOURCE

SCOPES: dict[str, str] = {
    "events:write": "send events",
    "events:read": "read single events, receipts, the ledger and the quarantine",
    "query": "ask for metrics and answers to questions",
    "export": "take out events and answers in bulk",
    "manage": "change metrics, schemas, dashboards, reports, alerts and pipelines",
    "admin": "change projects, keys, members and policies, and erase data",
    "ops": "read the gauges of the server itself",
}
INGEST_SCOPES = frozenset({"events:write"})
ALL_SCOPES = frozenset(SCOPES)

KINDS = ("in", "sk")
SOURCES_PER_KEY_MAX = 100
ORIGINS_PER_KEY_MAX = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


class Key(msgspec.Struct, frozen=True, rename="camel"):
    """`in` keys only send events and may stand in public pages; `sk` keys are secret and have scopes."""

    id: str
    project: str
    kind: Literal["in", "sk"]
    name: str
    """Also the source of events that name none."""
    scopes: tuple[str, ...]
    """Sorted."""
    created_at: dt.datetime
    sources: tuple[str, ...] = ()
    """Sources it may send events for; empty = any (never empty for `in`)."""
    origins: tuple[str, ...] = ()
    """Web origins that may use it from a browser (`in` only); empty = any."""
    events_per_second: float | None = None
    """None = the setting `collect.events_per_second`."""
    events_burst: int | None = None
    revoked_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    secret: str | None = None
    """The key itself, kept readable for `in` only."""


def checked_key(key: Key) -> Key:
    """`key`, its lists in order and its origins in lower case. Raises BadInput naming the field."""
    if key.kind not in KINDS:
        raise _bad("kind", key.kind, "'in' (ingest only) or 'sk' (secret, with scopes)")
    if not _NAME.fullmatch(key.name):
        raise _bad(
            "name", key.name, "1 to 64 letters, digits, spaces, '.', '_' and '-', beginning with a letter or digit"
        )
    scopes = _checked_scopes(key)
    if len(key.sources) > SOURCES_PER_KEY_MAX:
        raise _bad("sources", len(key.sources), f"at most {SOURCES_PER_KEY_MAX}")
    for source in key.sources:
        if not 1 <= len(source) <= 256 or source in (UNKNOWN_SOURCE, OTHER_SOURCE):
            raise _bad("sources", source, f"1 to 256 characters, not {UNKNOWN_SOURCE!r} or {OTHER_SOURCE!r}")
    if key.origins and key.kind != "in":
        raise _bad("origins", key.origins[0], "none for a secret key: it must never be in a web page")
    if len(key.origins) > ORIGINS_PER_KEY_MAX:
        raise _bad("origins", len(key.origins), f"at most {ORIGINS_PER_KEY_MAX}")
    if key.events_per_second is not None and not 0 < key.events_per_second <= 1e9:
        raise _bad("eventsPerSecond", key.events_per_second, "more than 0 and at most 1e9")
    if key.events_burst is not None and not 1 <= key.events_burst <= 1_000_000_000:
        raise _bad("eventsBurst", key.events_burst, "1 to 1e9")
    if key.expires_at is not None and (key.expires_at.tzinfo is None or key.expires_at <= key.created_at):
        raise _bad("expiresAt", key.expires_at.isoformat(), "a time to come, with its zone")
    sources = key.sources or ((key.name,) if key.kind == "in" else ())
    origins = tuple(dict.fromkeys(_checked_origin(origin) for origin in key.origins))
    return msgspec.structs.replace(key, scopes=scopes, sources=tuple(dict.fromkeys(sources)), origins=origins)


def _checked_scopes(key: Key) -> tuple[str, ...]:
    for scope in key.scopes:
        if scope not in SCOPES:
            raise _bad("scopes", scope, f"some of {', '.join(SCOPES)}")
    if key.kind == "in":
        if not set(key.scopes) <= INGEST_SCOPES:
            raise _bad("scopes", ", ".join(key.scopes), "only events:write for a key of kind in: it may be public")
        return tuple(INGEST_SCOPES)
    if not key.scopes:
        raise _bad("scopes", "", f"at least one of {', '.join(SCOPES)}")
    return tuple(sorted(set(key.scopes)))


def _checked_origin(origin: str) -> str:
    try:
        parts = urlsplit(origin.lower())
        whole = parts.scheme in ("http", "https") and parts.hostname and f"{parts.scheme}://{parts.netloc}"
        if whole == origin.lower() and "@" not in whole and (parts.port is None or parts.port > 0):
            return whole
    except ValueError:  # a port or IPv6 address that is none
        pass
    raise _bad(
        "origins", origin, "an origin as browsers send it, like 'https://shop.example' or 'http://localhost:3000'"
    )


def _bad(field: str, value: object, expected: str) -> BadInput:
    shown = value[:80] if isinstance(value, str) else value
    return BadInput(
        f"$.{field}: expected {expected}, got {shown!r}", code="INVALID_FIELD", path=f"$.{field}", value=shown
    )
