"""What a starting writer does with the log it finds: decide where its durable part ends, and make that true.

The published mark is at or behind what was acknowledged: behind only after power loss (it is not synced). So

* bytes before the mark were durable: unreadable ones are damage, kept and reported by readers;
* bytes after it are kept where they are whole frames, or where a whole frame follows them;
* after the last whole frame, what is cut short is the torn last frame: never acknowledged, cut off;
* a last frame whole by its length with a wrong checksum is taken for torn as well. It can't be told from an
  acknowledged frame that rotted while the mark was lost, so its bytes stay and its seqs are never given again.
"""

import os
from pathlib import Path

import msgspec

from headwater.storage.log.disk import Disk
from headwater.storage.log.frames import SEQ_MAX, Header, body_is_whole, next_header
from headwater.storage.log.marks import Mark
from headwater.storage.log.segments import HEAD_BYTES, Segment, list_segments, path_of, read_head

_COPY_BYTES = 1 << 20


class Tail(msgspec.Struct, frozen=True):
    """Where writing goes on."""

    durable: Mark
    next_seq: int
    reuse: bool
    """Append to `durable.segment` at `durable.end`; else a new segment is needed."""
    torn_bytes: int = 0
    """After the durable end: cut off, or left there unread."""


def recover(folder: Path, log_id: bytes, mark: Mark | None, first_seq_min: int, disk: Disk) -> Tail:
    """Find the end of the log and make it durable. `first_seq_min` is for a log without segments. Raises OSError."""
    segments = list_segments(folder)
    if mark is not None and (not segments or mark.segment > segments[-1]):
        return Tail(mark, max(mark.seq + 1, mark.segment, first_seq_min), reuse=False)
    if not segments:
        return Tail(Mark(first_seq_min - 1), first_seq_min, reuse=False)
    last = segments[-1]
    if mark is None or mark.segment != last:
        head = read_head(folder, last, disk)
        mark = Mark(last - 1 if head is None else head.prev_last, last, HEAD_BYTES)
    _sync_again(folder, last, mark.end, disk)
    with Segment(folder, last, disk, 1 << 20) as segment:
        tail = _find_end(segment, log_id, mark)
    if tail.reuse and tail.torn_bytes:
        _cut(folder, last, tail.durable.end, disk)
    return tail


def _find_end(segment: Segment, log_id: bytes, mark: Mark) -> Tail:
    read, size = segment.read, segment.size()
    offset, seq = HEAD_BYTES, mark.seq if mark.end == HEAD_BYTES else mark.segment - 1
    torn: Header | None = None
    while (header := next_header(read, offset, size, log_id, seq + 1, SEQ_MAX)) is not None:
        if header.end > mark.end and not body_is_whole(header, read):
            following = next_header(read, header.body_offset, size, log_id, header.last_seq + 1, SEQ_MAX)
            if following is None:
                torn = header
                break
        offset, seq = header.end, header.last_seq
    if offset < mark.end:
        return Tail(mark, mark.seq + 1, reuse=False)
    durable = Mark(seq, mark.segment, offset)
    if torn is not None and torn.end <= size:
        return Tail(durable, torn.last_seq + 1, reuse=False, torn_bytes=size - offset)
    # An empty segment may begin above seq + 1: what lies between was skipped after a failed fsync.
    return Tail(durable, max(seq + 1, mark.segment), reuse=True, torn_bytes=max(0, size - offset))


def _sync_again(folder: Path, first: int, offset: int, disk: Disk) -> None:
    """Write everything from `offset` on once more, in place, and sync it.

    After a failed fsync the kernel may hold pages as clean that never reached the disk: a sync alone would say yes to
    them. At most one group lies there, unless the mark was lost; then it is the whole segment, about 0.2 s.
    """
    descriptor = disk.open(path_of(folder, first), os.O_RDWR)
    try:
        while block := disk.read(descriptor, _COPY_BYTES, offset):
            disk.write(descriptor, [block], offset)
            offset += len(block)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def _cut(folder: Path, first: int, length: int, disk: Disk) -> None:
    descriptor = disk.open(path_of(folder, first), os.O_RDWR)
    try:
        disk.truncate(descriptor, length)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
