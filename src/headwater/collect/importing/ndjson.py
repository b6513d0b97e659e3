"""NDJSON: one event a line, as the wire has it. The values that an event brings stay as they are written."""

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from headwater.collect.importing.lines import lines_of, too_long
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin, Record, bad_line, derived_id, place_of
from headwater.domain.wire import BLANK, UNREADABLE

_members = msgspec.json.Decoder(dict[str, Raw])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def read_ndjson(source: Input, origin: Origin, offset: int = 0, line: int = 0) -> Iterator[Record]:
    """Records from `offset`, before which `line` lines lie. Blank lines don't count as records."""
    source.skip_to(offset)
    for number, text, end, is_whole in lines_of(source, line):
        if not is_whole:
            yield Record(number, bad_line(text, *too_long()), end, number)
        elif stripped := text.strip(BLANK):
            yield Record(number, event_of(stripped, number, origin), end, number)


def event_of(text: bytes, number: int, origin: Origin) -> bytes | BadLine:
    """The event with `id`, `source` and `data.metadata.batchId` filled in where it has none; never raises.

    Other faults of the event are the collector's to find.
    """
    try:
        text.decode()
        members = _members.decode(text)
    except UnicodeDecodeError as error:
        return bad_line(text, "NOT_UTF8", f"byte {error.start} is not UTF-8")
    except RecursionError:
        return bad_line(text, "TOO_DEEP", "nested too deep to be read")
    except msgspec.ValidationError as error:
        return bad_line(text, "TYPE_MISMATCH", f"not an event: {_lowered(error)}")
    except msgspec.DecodeError as error:
        return bad_line(text, "MALFORMED_JSON", _lowered(error))
    missing: dict[str, object] = {}
    source = origin.source
    if "source" in members:
        source = _own(members["source"], source)
    else:
        missing["source"] = source
    if "id" not in members:
        # By the source that the event will have: then a renamed file is still the same events.
        missing["id"] = derived_id(source, number, text)
    place = {"batchId": place_of(origin, number)}
    if "data" not in members:
        missing["data"] = {"metadata": place}
    else:
        data = _with_place(members["data"], place)
        if data is None:
            missing["import"] = {"file": origin.file, "line": number}
        elif data is not members["data"]:
            return _encode({**missing, **members, "data": data})
    if not missing:
        return text
    front = _encode(missing)
    # Members are put in front of the text, which itself is not written anew.
    return front[:-1] + b"," + text[1:] if members else front


def _with_place(data: Raw, place: dict[str, str]) -> Raw | dict[str, object] | None:
    """`data` with its place in `metadata`; itself where it has its own; None where there is no room for it."""
    try:
        inner = _members.decode(data)
        if "metadata" not in inner:
            return {"metadata": place, **inner}
        metadata = _members.decode(inner["metadata"])
    except UNREADABLE:
        return None
    return data if "batchId" in metadata else {**inner, "metadata": {**place, **metadata}}


def _own(source: Raw, default: str) -> str:
    try:
        return _text.decode(source)
    except UNREADABLE:
        return default


def _lowered(error: Exception) -> str:
    message = str(error)
    return message[:1].lower() + message[1:]
