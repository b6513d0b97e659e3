"""The frame: the bytes of one durable group of entries, and how to find frames in bytes that may be damaged. No IO.

    magic 4s | format B | kind B | 0 H | log_id 16s | first_seq Q | n I | counts, body, raw lengths 3I | crc body I
    | crc header I | counts | body

Little-endian; both checksums are crc32c; that of the header covers all before it and the counts. `counts` is msgpack
[[minute, label, n], …]; `body` is an lz4 block of msgpack [[events per entry, …], [payload, …]], `raw` bytes long.

A frame is known by its magic, its log's id and its header's checksum together. The id is secret, so no client can put
bytes into a body that pass for a frame after damage.
"""

import struct
from collections.abc import Callable, Iterator, Sequence

import google_crc32c
import lz4.block
import msgspec

from headwater.domain.events import UNKNOWN_SOURCE
from headwater.storage.log.base import Entry

MAGIC = b"\xf5HWf"
FORMAT = 1
FRAME_EVENTS_MAX = 20_000
FRAME_BYTES_MAX = 4 << 20
"""Payload bytes that fill a frame; one entry alone may be larger."""
COUNTS_BYTES_MAX = 64 << 20
SEQ_MAX = 2**63 - 1

_FIXED = struct.Struct("<4sBBH16sQIIIIII")
_NEEDLE = MAGIC + bytes([FORMAT])
_SEARCH_BYTES = 256 << 10

ReadAt = Callable[[int, int], bytes]
"""(offset, length) → those bytes, fewer at the end."""

_counts_decoder = msgspec.msgpack.Decoder(list[tuple[int, str, int]])
_body_decoder = msgspec.msgpack.Decoder(tuple[list[int], list[bytes]])
_encode = msgspec.msgpack.Encoder().encode


class Header(msgspec.Struct, frozen=True, gc=False):
    """A frame's header that passed its checksum."""

    offset: int
    kind: int
    first_seq: int
    n: int
    counts_packed: bytes
    body_bytes: int
    raw_bytes: int
    body_crc: int

    def counts(self) -> dict[tuple[int, str], int]:
        return {(minute, label): n for minute, label, n in _counts_decoder.decode(self.counts_packed)}

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.n - 1

    @property
    def body_offset(self) -> int:
        return self.offset + _FIXED.size + len(self.counts_packed)

    @property
    def end(self) -> int:
        return self.body_offset + self.body_bytes


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Seqs that should be between `offset` and `end` and have no readable header."""

    first_seq: int
    n: int
    minute: int
    offset: int
    end: int

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.n - 1


def encode_frame(log_id: bytes, first_seq: int, entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    """(header with counts, body) of entries of one kind. Lets go of the GIL while compressing."""
    counts: dict[tuple[int, str], int] = {}
    n = 0
    for entry in entries:
        n += entry.n
        minute = entry.minute
        for label, events in entry.counts.items():
            key = (minute, label)
            counts[key] = counts.get(key, 0) + events
    packed = _encode([(minute, label, events) for (minute, label), events in counts.items()])
    assert len(packed) <= COUNTS_BYTES_MAX
    raw = _encode(([entry.n for entry in entries], [entry.payload for entry in entries]))
    body = lz4.block.compress(raw, store_size=False)
    kind = entries[0].kind
    fixed = _FIXED.pack(
        MAGIC, FORMAT, kind, 0, log_id, first_seq, n, len(packed), len(body), len(raw), google_crc32c.value(body), 0
    )
    crc = google_crc32c.extend(google_crc32c.value(fixed[:-4]), packed)
    return fixed[:-4] + struct.pack("<I", crc) + packed, body


def header_at(read: ReadAt, offset: int, log_id: bytes) -> Header | None:
    """The header of the frame that begins at `offset`; None when there is none that can be trusted."""
    fixed = read(offset, _FIXED.size)
    if len(fixed) < _FIXED.size:
        return None
    magic, form, kind, _, owner, first_seq, n, counts_bytes, body_bytes, raw_bytes, body_crc, crc = _FIXED.unpack(fixed)
    if magic != MAGIC or form != FORMAT or owner != log_id or counts_bytes > COUNTS_BYTES_MAX:
        return None
    packed = read(offset + _FIXED.size, counts_bytes)
    if len(packed) < counts_bytes or google_crc32c.extend(google_crc32c.value(fixed[:-4]), packed) != crc:
        return None
    return Header(offset, kind, first_seq, n, packed, body_bytes, raw_bytes, body_crc)


def decode_body(header: Header, body: bytes) -> tuple[list[int], list[bytes]]:
    """(events per entry, payloads). Raises ValueError, saying what is wrong, unless the body is what was written."""
    if len(body) < header.body_bytes:
        raise ValueError(f"body ends {header.body_bytes - len(body)} bytes early")
    if google_crc32c.value(body) != header.body_crc:
        raise ValueError("checksum of the body is wrong")
    try:
        return _body_decoder.decode(lz4.block.decompress(body, uncompressed_size=header.raw_bytes))
    except (lz4.block.LZ4BlockError, msgspec.DecodeError) as error:
        raise ValueError(f"body does not decode: {error}") from error


def body_is_whole(header: Header, read: ReadAt) -> bool:
    body = read(header.body_offset, header.body_bytes)
    return len(body) == header.body_bytes and bool(google_crc32c.value(body) == header.body_crc)


def next_header(read: ReadAt, offset: int, end: int, log_id: bytes, seq_min: int, seq_max: int) -> Header | None:
    """The first trustworthy header at or after `offset` that begins before `end` and whose seqs are in the range."""
    header = header_at(read, offset, log_id) if offset < end else None
    if header is not None and header.first_seq >= seq_min and header.last_seq <= seq_max:
        return header
    offset += 1
    while offset < end:
        block = read(offset, min(_SEARCH_BYTES, end - offset + len(_NEEDLE)))
        place = block.find(_NEEDLE)
        while place >= 0 and offset + place < end:
            header = header_at(read, offset + place, log_id)
            if header is not None and header.first_seq >= seq_min and header.last_seq <= seq_max:
                return header
            place = block.find(_NEEDLE, place + 1)
        if len(block) <= len(_NEEDLE):
            return None
        offset += len(block) - len(_NEEDLE) + 1
    return None


def walk(
    read: ReadAt, log_id: bytes, offset: int, end: int, seq: int, last_seq: int, minute: int
) -> Iterator[tuple[Header | Gap, int]]:
    """Headers and gaps of the bytes `offset … end`, which hold the seqs `seq … last_seq`, ascending, without overlap.

    What can't be read becomes gaps, so that the seqs given are exactly `seq … last_seq`. A gap stands in the minute of
    the frame before it, `minute` where there is none; that minute, as it is after each item, comes with it. Bodies are
    not looked at.
    """
    while seq <= last_seq:
        header = next_header(read, offset, end, log_id, seq, last_seq)
        if header is None:
            yield Gap(seq, last_seq - seq + 1, minute, offset, max(offset, end)), minute
            return
        if header.first_seq > seq:
            yield Gap(seq, header.first_seq - seq, minute, offset, header.offset), minute
        minute = max((minute for minute, _ in header.counts()), default=minute)
        yield header, minute
        offset, seq = header.end, header.last_seq + 1


def counts_in(item: Header | Gap) -> dict[tuple[int, str], int]:
    """What the ledger has received with this: the header's word, or all under UNKNOWN_SOURCE."""
    return {(item.minute, UNKNOWN_SOURCE): item.n} if isinstance(item, Gap) else item.counts()


def clipped(item: Header | Gap, after_seq: int) -> Header | Gap:
    """A gap without what lies at or below `after_seq`; a frame as it is."""
    if isinstance(item, Header) or item.first_seq > after_seq:
        return item
    return Gap(after_seq + 1, item.last_seq - after_seq, item.minute, item.offset, item.end)
