"""Content-Encoding: gzip and zstd, with a bound on what comes out."""

import zlib
from collections.abc import Iterator

from headwater.domain.errors import BadInput, TooLarge

STEP_BYTES = 1 << 20
PIECE_BYTES = 4096
MEMBERS_MAX = 4096
"""Gzip members or zstd frames of one body; 400,000 empty ones would cost 3 s."""
WINDOW_BYTES_MAX = 8 << 20
"""Memory that a zstd frame may ask for: what RFC 9659 allows on the web."""
GZIP = 31
"""`wbits` of zlib for a gzip header and trailer."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def coding_of(header: bytes) -> str | None:
    """`gzip`, `zstd` or None for none. Raises BadInput (UNSUPPORTED_ENCODING)."""
    coding = header.decode("latin-1").strip().lower()
    match coding:
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return "gzip"
        case "zstd":
            return coding
        case _:
            raise BadInput(
                f"Content-Encoding: expected gzip, zstd or identity, got {coding[:60]!r}",
                code="UNSUPPORTED_ENCODING",
                path="Content-Encoding",
                value=coding[:60],
            )


def expand(body: bytes, coding: str, bytes_max: int) -> bytes:
    """The body decompressed: all gzip members, all zstd frames. Lets other threads run meanwhile.

    Raises BadInput (BAD_ENCODING) where the body is not of that coding to its last byte, TooLarge
    (EXPANDED_TOO_LARGE) as soon as more than `bytes_max` came out.
    """
    parts: list[bytes] = []
    size = 0
    for part in _gzip(body) if coding == "gzip" else _zstd(body):
        size += len(part)
        if size > bytes_max:
            raise TooLarge(
                f"the body is more than {bytes_max} bytes once decompressed; send smaller batches",
                code="EXPANDED_TOO_LARGE",
                limit=bytes_max,
            )
        parts.append(part)
    return b"".join(parts)


def _gzip(body: bytes) -> Iterator[bytes]:
    at = members = 0
    while at < len(body) or at == 0:
        members = _one_more("gzip", members)
        member = zlib.decompressobj(wbits=GZIP)
        while not member.eof:
            # In short pieces: zlib copies what it leaves over, which for 8 MB of empty members took 88 s.
            piece = body[at : at + PIECE_BYTES]
            if not piece:
                raise _not_that("gzip", "it ends too early")
            at += len(piece)
            yield from _inflate(member, piece)
        at -= len(member.unused_data)


def _inflate(member: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    while True:
        try:
            part = member.decompress(piece, STEP_BYTES)
        except zlib.error as error:
            raise _not_that("gzip", str(error)) from error
        yield part
        piece = member.unconsumed_tail
        if member.eof or (not piece and len(part) < STEP_BYTES):
            return


def _zstd(body: bytes) -> Iterator[bytes]:
    import zstandard

    if not body:
        raise _not_that("zstd", "it is empty")
    try:
        _check_frames(body)
        reader = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX).stream_reader(
            body, read_across_frames=True
        )
        while part := reader.read(STEP_BYTES):
            yield part
    except zstandard.ZstdError as error:
        raise _not_that("zstd", str(error)) from error


def _check_frames(body: bytes) -> None:
    """The frames are whole and nothing follows: zstandard's own reader takes a cut frame for its end."""
    import zstandard

    at = frames = 0
    while at < len(body):
        frames = _one_more("zstd", frames)
        if body[at : at + 4] != ZSTD_MAGIC:
            raise _not_that("zstd", f"no frame begins at byte {at}")
        head = body[at : at + 18]
        checksum = zstandard.get_frame_parameters(head).has_checksum
        at += zstandard.frame_header_size(head)
        last = 0
        while not last:
            block = int.from_bytes(body[at : at + 3], "little")
            last, kind, size = block & 1, block >> 1 & 3, block >> 3
            at += 3 + (1 if kind == 1 else size)
            if at > len(body):
                raise _not_that("zstd", "it ends too early")
        at += 4 if checksum else 0
    if at != len(body):
        raise _not_that("zstd", "it ends too early")


def _one_more(coding: str, members: int) -> int:
    if members >= MEMBERS_MAX:
        raise _not_that(coding, f"it has more than {MEMBERS_MAX} members")
    return members + 1


def _not_that(coding: str, why: str) -> BadInput:
    return BadInput(
        f"the body is not {coding}, as Content-Encoding says: {why}", code="BAD_ENCODING", path="Content-Encoding"
    )
