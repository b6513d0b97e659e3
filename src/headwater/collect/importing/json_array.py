"""A JSON file that is one array of events, or `{"events": [...]}`, of any size. Its lines are its elements, from 1."""

import re
from collections.abc import Iterator

from headwater.collect.importing import ndjson
from headwater.collect.importing.lines import BOM, KEPT_BYTES, LINE_BYTES_MAX, refuse_utf16, too_long
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin, Record, bad_line
from headwater.domain.errors import BadInput
from headwater.domain.wire import BLANK

ELEMENT_BYTES_MAX = 16 << 20
"""An element that has not ended after as much is taken for damage: the rest of the file is one bad line."""
HEAD_BYTES_MAX = 4096

_BEGIN = re.compile(rb'[ \t\r\n]*+(?:\{[ \t\r\n]*+"events"[ \t\r\n]*+:[ \t\r\n]*+)?\[')
# Up to the next bracket outside of texts. Possessive: a hostile element costs no more than its length.
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
_SCALAR = re.compile(rb'(?:[^",\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+(?=[,\[\]{}])', re.DOTALL)
_BETWEEN = re.compile(rb"[ \t\r\n,]*+")
_END_OF_FILE = -1


def read_json(source: Input, origin: Origin, offset: int = 0, line: int = 0) -> Iterator[Record]:
    """Records from `offset`, before which `line` elements lie. Raises BadInput when the file is no such array."""
    buffer = b""
    if offset == 0:
        buffer = source.read()
        offset = _begin(buffer, source)
        buffer = buffer[offset:]
    else:
        source.skip_to(offset)
    number, at = line, 0  # `buffer[at]` is at `offset` in the file
    while True:
        gap = _BETWEEN.match(buffer, at)
        begin = gap.end() if gap else at
        if begin == len(buffer):
            offset += begin - at
            buffer, at = source.read(), 0
            if not buffer:
                yield Record(
                    number + 1, bad_line(b"", "MALFORMED_JSON", "the file ends inside its array"), offset, number + 1
                )
                return
            continue
        if buffer[begin] in b"]":
            yield from _after(buffer[begin + 1 :], source, number + 1, offset + begin + 1 - at)
            return
        end = end_of_element(buffer, begin)
        if end == _END_OF_FILE:
            more = (
                source.read(max(len(buffer) - begin, LINE_BYTES_MAX))
                if len(buffer) - begin < ELEMENT_BYTES_MAX
                else b""
            )
            offset += begin - at
            if more:
                buffer, at = buffer[begin:] + more, 0
                continue
            rest = bad_line(buffer[begin:], "MALFORMED_JSON", "the file ends inside this element, or it has no end")
            yield Record(number + 1, rest, offset + len(buffer) - begin, number + 1)
            return
        number += 1
        offset += end - at
        yield Record(number, _event_of(buffer[begin:end], number, origin), offset, number)
        at = end


def end_of_element(text: bytes, begin: int) -> int:
    """Offset behind the element that begins at `begin`, or -1 if it does not end within `text`."""
    if text[begin] not in b"[{":
        # A stray closing bracket is an element of its own, so that reading always goes on.
        match = _SCALAR.match(text, begin)
        return _END_OF_FILE if match is None else max(match.end(), begin + 1)
    depth, at = 0, begin
    while True:
        match = _BRACKET.match(text, at)
        if match is None:
            return _END_OF_FILE
        at = match.end()
        depth += 1 if text[at - 1] in b"[{" else -1
        if depth == 0:
            return at


def _event_of(text: bytes, number: int, origin: Origin) -> bytes | BadLine:
    if len(text) > LINE_BYTES_MAX:
        return bad_line(text[:KEPT_BYTES], *too_long())
    return ndjson.event_of(text, number, origin)


def _after(rest: bytes, source: Input, number: int, offset: int) -> Iterator[Record]:
    """What follows the array: nothing, or the rest of `{"events": […], …}`, or something that would be lost unseen."""
    while not rest.strip(BLANK) and (more := source.read()):
        offset, rest = offset + len(rest), more
    if rest.strip(BLANK)[:1] not in (b"", b",", b"}"):
        bad = bad_line(rest[:KEPT_BYTES], "MALFORMED_JSON", "text after the end of the array")
        yield Record(number, bad, offset + len(rest), number)


def _begin(buffer: bytes, source: Input) -> int:
    refuse_utf16(buffer, source)
    skip = len(BOM) if buffer.startswith(BOM) else 0
    match = _BEGIN.match(buffer[: skip + HEAD_BYTES_MAX], skip)
    if match is None:
        raise BadInput(
            f'{source.path} is neither a JSON array nor {{"events": [...]}}; one event a line is the format ndjson',
            code="UNREADABLE_FILE",
            value=str(source.path),
        )
    return match.end()
