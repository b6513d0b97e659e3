"""What a format makes of a line: an event as JSON text, or a bad line; and the id and place that each carries."""

import hashlib
import uuid
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

NAMESPACE = uuid.UUID("5cf4a5f0-5d0b-5f0e-9c35-7f1d3b0c8a51")
"""Of all ids that imports derive. Never changes: it would make every imported file new."""
TEXT_CHARACTERS_MAX = 8192
"""As much of a bad line is kept; the rest is in the file."""

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Origin(NamedTuple):
    """Where records come from. `file` is a base name; `source` is the source of events that name none."""

    file: str
    source: str
    name: str
    """Name of the events of this format where they bring none."""


class BadLine(NamedTuple):
    """A line that no event can be read from; `code` as in `domain.problems`, or MALFORMED_LINE."""

    text: str
    code: str
    detail: str


class Record(NamedTuple):
    line: int
    """From 1. In a JSON array: the element. In CSV: the line on which the row begins."""
    event: bytes | BadLine
    end: int
    """Offset behind it in the (decompressed) file: where reading goes on after it."""
    last: int
    """Its last line: reading goes on with the one after."""


class _Why(msgspec.Struct):
    code: str
    detail: str


class _Imported(msgspec.Struct):
    why: _Why | UnsetType = msgspec.field(default=UNSET, name="import")


_decode = msgspec.json.Decoder(_Imported).decode


def derived_id(source: str, line: int, text: bytes) -> str:
    """UUIDv5 of source, line number and line: `uuid.uuid5(NAMESPACE, f"{source}\\n{line}\\n{text}")`, only faster."""
    name = b"%b%b\n%d\n%b" % (NAMESPACE.bytes, source.encode("utf-8", "surrogateescape"), line, text)
    digest = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"


def place_of(origin: Origin, line: int) -> str:
    """`<file>:<line>`, as an event's `batchId`."""
    return f"{origin.file}:{line}"


def bad_line(text: bytes, code: str, detail: str) -> BadLine:
    """With bytes that are not UTF-8 shown as `\\xff`, and cut to TEXT_CHARACTERS_MAX."""
    shown = text[: 4 * TEXT_CHARACTERS_MAX].decode("utf-8", "backslashreplace")
    if len(shown) > TEXT_CHARACTERS_MAX or len(text) > 4 * TEXT_CHARACTERS_MAX:
        detail = f"{detail}; the first {TEXT_CHARACTERS_MAX} characters are kept"
    return BadLine(shown[:TEXT_CHARACTERS_MAX], code, detail)


def quarantined_event(origin: Origin, line: int, bad: BadLine) -> bytes:
    """A bad line as an event that a collector must quarantine and that says where it stood and what was wrong.

    Its one fault is honest: `data.attributes` holds the line's text, where an object of attributes must be. So it
    counts under the file's own source, keeps the text, and can be mended by a replay that sets `attributes`. The
    field `import` is unknown to events and is kept as sent.
    """
    text = bad.text.encode("utf-8", "surrogatepass")
    return msgspec.json.encode(
        {
            "id": derived_id(origin.source, line, text),
            "name": origin.name,
            "source": origin.source,
            "data": {"attributes": bad.text, "metadata": {"batchId": place_of(origin, line)}},
            "import": {"file": origin.file, "line": line, "code": bad.code, "detail": bad.detail},
        }
    )


def reason_of(event: bytes) -> tuple[str, str] | None:
    """Code and detail of the bad line that an event was made of; None for a good one."""
    why = _decode(event).why
    return None if why is UNSET else (why.code, why.detail)
