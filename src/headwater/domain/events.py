"""The event as it is on the wire, and the pure facts that follow from it: its id, its times.

Times inside the house are integers: microseconds since 1970-01-01 UTC (`_us`).
"""

import datetime as dt
import enum
import uuid
from typing import Annotated

import msgspec
from msgspec import UNSET, Raw, UnsetType

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
MINUTE_US = 60_000_000
DAY_US = 86_400_000_000

UNKNOWN_SOURCE = "(unknown)"
"""Ledger label of what can't be read far enough to name its source."""
OTHER_SOURCE = "(other)"
"""Ledger label of sources beyond the limit of a project; `event.source` itself is never changed."""

FUTURE_US_MAX = DAY_US
"""A corrected time up to this far ahead of `received` is set to `received`; further ahead is quarantined."""


class EventType(enum.StrEnum):
    USER_ACTION = "USER_ACTION"
    SYSTEM_METRIC = "SYSTEM_METRIC"
    BUSINESS_EVENT = "BUSINESS_EVENT"
    CUSTOM_EVENT = "CUSTOM_EVENT"


Short = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Instant = Annotated[dt.datetime, msgspec.Meta(tz=True)]


class EventMetadata(msgspec.Struct, gc=False, frozen=True, rename="camel"):
    """Context that a client may send; `source_ip` and `user_agent` default to those of the connection."""

    source_ip: Annotated[str, msgspec.Meta(max_length=64)] | UnsetType = UNSET
    user_agent: Annotated[str, msgspec.Meta(max_length=1024)] | UnsetType = UNSET
    session_id: Short | UnsetType = UNSET
    batch_id: Short | UnsetType = UNSET


class EventData(msgspec.Struct, gc=False, frozen=True):
    """`attributes` stays raw JSON text of an object: it is checked, stored and cast, never built as Python objects."""

    attributes: Raw = Raw(b"{}")
    metadata: EventMetadata | UnsetType = UNSET


class Event(msgspec.Struct, gc=False, frozen=True):
    """One event as sent (WIRE section 3). A field that is present must be right; null is not.

    Unknown top-level fields are ignored here; the collector tells them apart as warnings.
    """

    id: uuid.UUID | UnsetType = UNSET
    type: EventType | UnsetType = UNSET
    name: Short | UnsetType = UNSET
    source: Short | UnsetType = UNSET
    actor: Short | UnsetType = UNSET
    timestamp: Instant | UnsetType = UNSET
    version: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    data: EventData | UnsetType = UNSET


def us_of(instant: dt.datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (instant - EPOCH) // MICROSECOND


def datetime_of(us: int) -> dt.datetime:
    return EPOCH + us * MICROSECOND


def text_of(us: int) -> str:
    """An instant as it goes out: RFC 3339 in UTC with `Z` and six digits, so that texts sort as times do."""
    return datetime_of(us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def minute_of(us: int) -> int:
    """Whole minutes since the epoch: the ledger's time bucket."""
    return us // MINUTE_US


def occurred_us(received_us: int, sent_us: int | None, created_us: int | None) -> tuple[int, bool]:
    """When the event happened by our clock, and whether it had to be clamped to `received_us`.

    With the client's clock at sending, its error cancels out: received - (sent - created). Without, the client's
    time stands. Without any time of its own the event happened when it was received. What lies more than
    FUTURE_US_MAX ahead never comes here: the collector quarantines it.
    """
    if created_us is None:
        return received_us, False
    corrected = created_us if sent_us is None else received_us - (sent_us - created_us)
    if corrected > received_us:
        return received_us, True
    return corrected, False


def derived_id(base: bytes, index: int) -> uuid.UUID:
    """The id of an event that came without one: UUIDv5 of its batch's `id_base` (16 bytes) and its index there.

    The base is fixed when the batch is accepted, so log, lake and warehouse agree on the id without storing it.
    """
    return uuid.uuid5(uuid.UUID(bytes=base), str(index))
