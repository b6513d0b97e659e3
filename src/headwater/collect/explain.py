"""Why a text is not an event: a stable code, and the path and value of what is wrong."""

import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from headwater.domain import wire
from headwater.domain.events import EventType
from headwater.domain.values import shown

_raw = msgspec.json.Decoder(Raw)
_any = msgspec.json.Decoder()
_SAID = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_LENGTH = re.compile(r"Expected `str` of length (?P<side><=|>=) (?P<bound>\d+)")
_KIND = re.compile(r"Expected `(?P<kind>\w+)`")
_STEP = re.compile(r"\.([A-Za-z_]+)")
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)")
_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_BY_FIELD = {
    ".id": ("INVALID_ID", "a UUID such as 0192f7a0-4d5e-7abc-8def-0123456789ab"),
    ".timestamp": ("INVALID_TIMESTAMP", "an RFC 3339 time with a zone, such as 2026-11-24T10:00:00Z"),
    ".type": ("INVALID_TYPE", f"one of {', '.join(EventType)}"),
}


def why_not(text: bytes, index: int, decode: Callable[[bytes], object]) -> tuple[str, str]:
    """Code and detail for the event `index` of its batch, which `decode` refuses. Paths begin with `$[index]`."""
    at = f"$[{index}]"
    try:
        text.decode()
    except UnicodeDecodeError as error:
        if _is_json(text.decode(errors="replace").encode()):
            return "NOT_UTF8", f"{at}: byte 0x{text[error.start]:02x} at {error.start} is not UTF-8"
        return "MALFORMED_JSON", f"{at}: not JSON, and byte 0x{text[error.start]:02x} at {error.start} is not UTF-8"
    try:
        decode(text)
    except msgspec.ValidationError as error:
        return _mismatch(str(error), text, at)
    except RecursionError:
        return "TOO_DEEP", f"{at}: nested too deep"
    except msgspec.DecodeError as error:
        if has_half_a_pair(text):
            return "INVALID_UNICODE", f"{at}: half of a surrogate pair (\\ud800 to \\udfff) in a text"
        message = str(error).removeprefix("JSON is malformed: ")
        return "MALFORMED_JSON", f"{at}: not JSON: {message[:1].lower()}{message[1:]}"
    raise AssertionError(f"{at} is an event")


def has_half_a_pair(text: bytes) -> bool:
    """True where a lone surrogate is all that is wrong with it."""
    mended = _ESCAPE.sub(lambda found: rb"\u0041" if len(found[0]) == 6 else found[0], text)
    return mended != text and _is_json(mended)


def _is_json(text: bytes) -> bool:
    try:
        _raw.decode(text)
    except wire.UNREADABLE:
        return False
    return True


def _mismatch(message: str, text: bytes, at: str) -> tuple[str, str]:
    said = _SAID.fullmatch(message)
    assert said is not None
    path = said["path"] or ""
    value = _value_at(text, path)
    length = _LENGTH.match(said["what"])
    if path in _BY_FIELD:
        code, wanted = _BY_FIELD[path]
        return code, f"{at}{path}: expected {wanted}, got {shown(value)}"
    if length and length["side"] == "<=":
        return "STRING_TOO_LONG", f"{at}{path}: expected at most {length['bound']} characters, got {_size(value)}"
    if length:
        return "EMPTY_STRING", f"{at}{path}: expected at least {length['bound']} character, got {shown(value)}"
    kind = _KIND.match(said["what"])
    wanted = _WORDS.get(kind["kind"], kind["kind"]) if kind else "string"
    return "TYPE_MISMATCH", f"{at}{path}: expected {wanted}, got {shown(value)}"


def _size(value: Any) -> str:
    return str(len(value)) if isinstance(value, str) else shown(value)


def _value_at(text: bytes, path: str) -> Any:
    """The value at a path that msgspec named. Of a repeated key msgspec judges each, and this finds the last."""
    try:
        value = _any.decode(text)
    except wire.UNREADABLE:
        # A number beyond every float stands in the event, most likely the value that was asked for.
        return math.inf
    for step in _STEP.findall(path):
        value = value.get(step) if isinstance(value, dict) else None
    return value
