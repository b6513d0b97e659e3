"""The files of a log folder: segments with their heads, how they follow each other, and what each holds.

    identity            log_id
    durable             mark: last durable seq, its segment and where it ends there
    writer.lock         held by the one writer
    consumers/<name>    mark: what that consumer has reported
    damaged/            corrupt ranges, set aside
    <first_seq>.segment 4 KiB head, then frames

A segment's head is written and synced before the file gets its name, and says where the segment before it ends: bytes
beyond that end were never durable and are never read, and seqs between the two were skipped, not lost. The head stands
there twice, so that one bad sector does not lose that word.
"""

import os
import re
import struct
import time
from pathlib import Path
from types import TracebackType

import google_crc32c
import msgspec

from headwater.domain.errors import Damaged
from headwater.domain.events import MINUTE_US
from headwater.storage.log.disk import Disk
from headwater.storage.log.frames import Header, walk
from headwater.storage.log.marks import Mark

HEAD_BYTES = 4096
"""Frames begin here."""
_COPIES_AT = (0, 2048)
_HEAD = struct.Struct("<4sB3x16sQQQQQI")
_MAGIC = b"\xf5HWs"
_FORMAT = 1
_NAME = re.compile(r"(\d{20})\.segment")
_IDENTITY = struct.Struct("<4s16sI")
_IDENTITY_MAGIC = b"\xf5HWi"


class Head(msgspec.Struct, frozen=True):
    log_id: bytes
    first_seq: int
    prev_first: int
    """First seq of the segment before; 0 when this is the first ever."""
    prev_end: int
    """Bytes of it that were durable."""
    prev_last: int
    """Last durable seq before this segment."""
    created_us: int


class Span(msgspec.Struct, frozen=True):
    """What one segment is to hold: the seqs `first_seq … last_seq`, none when it is empty; up to byte `end`."""

    segment: int
    """Its name: the first seq that its writer could give."""
    first_seq: int
    last_seq: int
    end: int
    floor: int
    """A position from here on needs nothing older than this segment."""
    minute: int
    missing: bool = False


class Segment:
    """An open segment file, read through a window: small frames cost one system call for many."""

    def __init__(self, folder: Path, first: int, disk: Disk, window_bytes: int) -> None:
        self._disk = disk
        self._window_bytes = window_bytes
        self._descriptor = disk.open(path_of(folder, first), os.O_RDONLY)
        self._start = 0
        self._window = b""

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Fewer bytes only at the end of the file."""
        at = offset - self._start
        if at < 0 or at + length > len(self._window):
            self._window = self._disk.read(self._descriptor, max(length, self._window_bytes), offset)
            self._start, at = offset, 0
        return self._window[at : at + length]

    def forget(self) -> None:
        """Read from the file again: it has grown, or is to be looked at afresh."""
        self._window = b""

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> "Segment":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def path_of(folder: Path, first: int) -> Path:
    return folder / f"{first:020d}.segment"


def list_segments(folder: Path) -> list[int]:
    """First seqs of the segments in the folder, ascending."""
    return sorted(int(found[1]) for path in folder.iterdir() if (found := _NAME.fullmatch(path.name)))


def create_segment(folder: Path, head: Head, disk: Disk) -> int:
    """A new empty segment, durable with its name; returns its descriptor. Raises OSError, leaving no segment."""
    fresh, path = folder / "segment.new", path_of(folder, head.first_seq)
    descriptor = disk.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        disk.write(descriptor, [encode_head(head)], 0)
        disk.sync(descriptor)
        disk.rename(fresh, path)
        disk.sync_folder(folder)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def encode_head(head: Head) -> bytes:
    fields = _HEAD.pack(
        _MAGIC,
        _FORMAT,
        head.log_id,
        head.first_seq,
        head.prev_first,
        head.prev_end,
        head.prev_last,
        head.created_us,
        0,
    )
    copy = fields[:-4] + struct.pack("<I", google_crc32c.value(fields[:-4]))
    block = bytearray(HEAD_BYTES)
    for at in _COPIES_AT:
        block[at : at + len(copy)] = copy
    return bytes(block)


def decode_head(block: bytes) -> Head | None:
    """None when both copies are damaged. Raises Damaged (code LOG_FORMAT) for a format of a later release."""
    for at in _COPIES_AT:
        copy = block[at : at + _HEAD.size]
        if len(copy) < _HEAD.size:
            continue
        magic, form, *fields, crc = _HEAD.unpack(copy)
        if magic == _MAGIC and google_crc32c.value(copy[:-4]) == crc:
            if form != _FORMAT:
                raise Damaged(
                    f"log: segments have format {form}, this release reads {_FORMAT}; use the newer headwater",
                    code="LOG_FORMAT",
                    value=form,
                    limit=_FORMAT,
                )
            return Head(*fields)
    return None


def read_head(folder: Path, first: int, disk: Disk) -> Head | None:
    with Segment(folder, first, disk, HEAD_BYTES) as segment:
        return decode_head(segment.read(0, HEAD_BYTES))


def head_of_next(log_id: bytes, first: int, before: Mark) -> Head:
    """Head of a segment that begins at `first` after the durable end `before`."""
    return Head(log_id, first, before.segment, before.end, before.seq, time.time_ns() // 1000)


def spans_of(folder: Path, log_id: bytes, durable: Mark, disk: Disk) -> list[Span]:
    """What each segment up to the durable mark holds, oldest first, segments missing between them included.

    The last span is that of the mark's segment and ends at the mark. Raises FileNotFoundError when a segment is
    trimmed meanwhile: list again.
    """
    spans: list[Span] = []
    for first in list_segments(folder):
        if first > durable.segment:
            break
        head = read_head(folder, first, disk)
        if head is None or head.log_id != log_id or head.first_seq != first:
            # Its word is lost: take it that the segment before ends with its file, and that nothing was skipped.
            before = Mark(first - 1, spans[-1].segment if spans else 0, end=0)
            minute = spans[-1].minute if spans else 0
        else:
            before = Mark(head.prev_last, head.prev_first, head.prev_end)
            minute = head.created_us // MINUTE_US
        if spans:
            spans[-1:] = _ended(spans[-1], before, folder, log_id, disk)
        spans.append(Span(first, first, first - 1, HEAD_BYTES, before.seq, minute))
    if spans:
        spans[-1:] = _ended(spans[-1], durable, folder, log_id, disk)
    return spans


def _ended(span: Span, end: Mark, folder: Path, log_id: bytes, disk: Disk) -> list[Span]:
    """The span with its end filled in; `end` names the segment before the next. If that is another, it is missing."""
    if end.segment == span.segment:
        size = end.end or path_of(folder, span.segment).stat().st_size
        return [msgspec.structs.replace(span, last_seq=end.seq, end=size)]
    last_seq, stop = span.first_seq - 1, HEAD_BYTES
    with Segment(folder, span.segment, disk, HEAD_BYTES) as segment:
        read, size = segment.read, segment.size()
        for item, _ in walk(read, log_id, HEAD_BYTES, size, span.first_seq, end.seq, span.minute):
            if isinstance(item, Header) or item.last_seq < end.seq:
                last_seq, stop = item.last_seq, item.end
    held = msgspec.structs.replace(span, last_seq=last_seq, end=stop)
    return [held, Span(end.segment, last_seq + 1, end.seq, 0, last_seq, span.minute, missing=True)]


def encode_identity(log_id: bytes) -> bytes:
    return _IDENTITY.pack(_IDENTITY_MAGIC, log_id, google_crc32c.value(log_id))


def read_identity(folder: Path) -> bytes | None:
    """The log's id from its file; None where that is not there or damaged."""
    try:
        content = (folder / "identity").read_bytes()
    except FileNotFoundError:
        return None
    if len(content) != _IDENTITY.size:
        return None
    magic, log_id, crc = _IDENTITY.unpack(content)
    return bytes(log_id) if magic == _IDENTITY_MAGIC and google_crc32c.value(log_id) == crc else None
