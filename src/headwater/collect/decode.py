"""A body → its events, all at once where every one of them is as it should be."""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from headwater.domain import wire
from headwater.domain.batches import Form
from headwater.domain.errors import BadInput
from headwater.domain.events import Event, EventData, EventMetadata, Instant, us_of
from headwater.domain.values import path_of, shown

YEAR_1_US = us_of(dt.datetime.min.replace(tzinfo=dt.UTC))
YEAR_10000_US = us_of(dt.datetime.max.replace(tzinfo=dt.UTC)) + 1
"""Times outside can be written with an offset (`0001-01-01T00:00:00+14:00`), but not in UTC."""
BRACKETS_PER_EVENT = 20


class StrictMetadata(EventMetadata, gc=False, frozen=True, forbid_unknown_fields=True):
    """Refuses fields that an event does not have, so that the sender can be told of them."""


class StrictData(EventData, gc=False, frozen=True, forbid_unknown_fields=True):
    metadata: StrictMetadata | UnsetType = UNSET


class StrictEvent(Event, gc=False, frozen=True, forbid_unknown_fields=True):
    data: StrictData | UnsetType = UNSET
    processing_status: Raw | UnsetType = msgspec.field(default=UNSET, name="processingStatus")
    """Belongs to the server: taken, so that an event that was read here can be sent back, and not looked at."""


class _Envelope(msgspec.Struct, gc=False):
    events: list[StrictEvent]
    sent_at: Raw | UnsetType = msgspec.field(default=UNSET, name="sentAt")


class _RawEnvelope(msgspec.Struct, gc=False):
    events: list[Raw]


class Whole(NamedTuple):
    form: Form
    events: Sequence[Event]
    sent_at: bytes | None
    """JSON text of the envelope's `sentAt`."""


_array = msgspec.json.Decoder(list[StrictEvent])
_envelope = msgspec.json.Decoder(_Envelope)
strict = msgspec.json.Decoder(StrictEvent)
_instant = msgspec.json.Decoder(Instant)
_raws = msgspec.json.Decoder(list[Raw])
_raw_envelope = msgspec.json.Decoder(_RawEnvelope)
_object = msgspec.json.Decoder(dict[str, Raw])

_FIELDS = frozenset(field.encode_name for field in msgspec.structs.fields(StrictEvent))
_DATA_FIELDS = frozenset(field.encode_name for field in msgspec.structs.fields(EventData))
_METADATA_FIELDS = frozenset(field.encode_name for field in msgspec.structs.fields(EventMetadata))


def whole(body: bytes, events_max: int) -> Whole | None:
    """All events of a body in one go; None where one is broken or holds a field that events don't have.

    Also None for a body that may hold very many events (`{},{},…`): it is to be counted before objects are made of it.
    """
    text = wire.without_bom(body).strip(wire.BLANK)
    if len(text) > BRACKETS_PER_EVENT * events_max and text.count(b"{") > BRACKETS_PER_EVENT * events_max:
        return None
    try:
        if not text.isascii():
            # Raw attributes aren't looked into by the decoder: 20 ns an event for the whole body.
            text.decode()
        if text.startswith(b"["):
            return Whole(Form.ARRAY, _array.decode(text), None)
        if not text.startswith(b"{"):
            return None
        line_end = text.find(b"\n")
        if line_end > 0 and text[:line_end].rstrip(wire.BLANK).endswith(b"}"):
            return Whole(Form.NDJSON, [*map(strict.decode, wire.lines_of(text))], None)
        if b'"events"' in text:
            envelope = _envelope.decode(text)
            return Whole(Form.ENVELOPE, envelope.events, None if envelope.sent_at is UNSET else bytes(envelope.sent_at))
        return Whole(Form.SINGLE, [strict.decode(text)], None)
    except wire.UNREADABLE:
        return None


def longest_event(body: bytes, form: Form) -> int:
    """Bytes of the longest event of a body that `whole` has decoded. 0.2 µs an event."""
    text = wire.without_bom(body).strip(wire.BLANK)
    match form:
        case Form.ARRAY:
            return max(map(len, _raws.decode(text)), default=0)
        case Form.ENVELOPE:
            return max(map(len, _raw_envelope.decode(text).events), default=0)
        case Form.SINGLE:
            return len(text)
        case Form.NDJSON:
            return max(map(len, wire.lines_of(text)))


def sent_us_of(text: str | bytes, where: str) -> int:
    """The client's clock at sending, from a header (text) or an envelope (JSON text). Raises BadInput."""
    try:
        instant = _instant.decode(text) if isinstance(text, bytes) else msgspec.convert(text, Instant)
        sent_us: int = us_of(instant)
    except wire.UNREADABLE as error:
        found = text if isinstance(text, str) else text.decode(errors="replace").strip('"')
        raise BadInput(
            f"{where}: expected an RFC 3339 time with a zone, such as 2026-11-24T10:00:00Z, got {shown(found)}",
            code="INVALID_SENT_AT",
            path=where,
        ) from error
    if not YEAR_1_US <= sent_us < YEAR_10000_US:
        raise BadInput(f"{where}: {text!r} is not in the years 1 to 9999", code="INVALID_SENT_AT", path=where)
    return sent_us


def unknown_fields(text: bytes) -> list[str]:
    """Paths of the fields that events don't have, in an event that is right otherwise."""
    top = _object.decode(text)
    found = [path_of([name]) for name in top if name not in _FIELDS]
    if "data" in top:
        data = _object.decode(top["data"])
        found += [path_of(["data", name]) for name in data if name not in _DATA_FIELDS]
        if "metadata" in data:
            metadata = _object.decode(data["metadata"])
            found += [path_of(["data", "metadata", name]) for name in metadata if name not in _METADATA_FIELDS]
    return found
