"""A stream cut into lines, in blocks, however long a line is."""

from collections.abc import Iterator
from typing import NamedTuple

from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import TEXT_CHARACTERS_MAX
from headwater.domain.errors import BadInput

LINE_BYTES_MAX = 1 << 20
"""As the default of `collect.event_bytes_max`: a longer line could not become an event anyhow."""
KEPT_BYTES = 4 * TEXT_CHARACTERS_MAX + 1
BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    number: int
    text: bytes
    """Without its end; only its first KEPT_BYTES where it is longer than LINE_BYTES_MAX."""
    end: int
    """Offset behind its line end."""
    is_whole: bool


def lines_of(source: Input, before: int = 0) -> Iterator[Line]:
    """From the stream's position on; `before` lines lie before it. Line ends are LF or CR LF; blank lines are given.

    A byte order mark of UTF-8 is dropped. Raises BadInput for UTF-16.
    """
    number, end = before, source.position
    is_first = end == 0
    rest = b""
    dropped = 0  # bytes of an overlong line that are already gone; `rest` then is its beginning
    while block := source.read():
        if is_first:
            is_first = False
            refuse_utf16(block, source)
            if block.startswith(BOM):
                block, end = block[len(BOM) :], end + len(BOM)
        if dropped:
            tail, newline, block = block.partition(b"\n")
            dropped += len(tail)
            if not newline:
                continue
            number, end = number + 1, end + len(rest) + dropped + 1
            yield Line(number, rest, end, is_whole=False)
            rest, dropped = b"", 0
        pieces = (rest + block).split(b"\n")
        rest = pieces.pop()
        for piece in pieces:
            number += 1
            end += len(piece) + 1
            if len(piece) > LINE_BYTES_MAX:
                yield Line(number, piece[:KEPT_BYTES], end, is_whole=False)
            else:
                yield Line(number, piece.removesuffix(b"\r"), end, is_whole=True)
        if len(rest) > LINE_BYTES_MAX:
            dropped = len(rest) - KEPT_BYTES
            rest = rest[:KEPT_BYTES]
    if rest:
        yield Line(number + 1, rest.removesuffix(b"\r"), end + len(rest) + dropped, is_whole=not dropped)


def too_long() -> tuple[str, str]:
    """Code and detail of a line that is not whole."""
    return "EVENT_TOO_LARGE", f"the line is longer than {LINE_BYTES_MAX} bytes"


def refuse_utf16(block: bytes, source: Input) -> None:
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(
            f"{source.path} is UTF-16; convert it to UTF-8 first, for example with iconv",
            code="UNREADABLE_FILE",
            value=str(source.path),
        )
