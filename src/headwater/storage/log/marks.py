"""A mark: three numbers in a small file that one process writes in place and any may read, without a lock.

Two slots are written in turn, each with a version and a checksum; a reader takes the newest slot that is whole. A slot
torn by a crash, or seen half-written, leaves the one before it. Nothing is synced: a mark survives kill -9 (the kernel
holds the page) but may be older than the truth after power loss, never newer than what was written.

Read and written by system calls, not mapped: 3 us a group instead of 1.5, but a file that is cut short or can't be
filled on a full disk is an error then, where a mapping would end the process with SIGBUS.
"""

import os
import struct
from pathlib import Path

import google_crc32c
import msgspec

from headwater.storage.log.disk import Disk

_FIELDS = struct.Struct("<QQQQ")
_CRC = struct.Struct("<I")
_SLOT_BYTES = 64
_LOOKS = 8
"""A writer may pass through both slots under one look; it syncs a frame between two writes, so not under two."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    seq: int
    segment: int = 0
    """First seq of the segment that holds `seq`, or is empty and comes next."""
    end: int = 0
    """Where the last durable frame of that segment ends."""


class MarkFile:
    """`log_id` goes into the checksum: a mark of another log reads as none. All methods raise OSError."""

    def __init__(self, path: Path, log_id: bytes, disk: Disk, *, writable: bool) -> None:
        """Opens in place, never replaces the file: others have it open. Made when `writable`."""
        self._crc_start = google_crc32c.value(log_id)
        self._descriptor = disk.open(path, os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY)
        self.inode = os.fstat(self._descriptor).st_ino
        newest = self._newest()
        self._version = newest[0] if newest else 0

    def write(self, mark: Mark) -> None:
        self._version += 1
        fields = _FIELDS.pack(self._version, mark.seq, mark.segment, mark.end)
        slot = fields + _CRC.pack(google_crc32c.extend(self._crc_start, fields))
        at = self._version % 2 * _SLOT_BYTES
        while slot:  # the system may write less than it was asked to
            done = os.pwrite(self._descriptor, slot, at)
            slot, at = slot[done:], at + done

    def read(self) -> Mark | None:
        """None when nothing was ever written for this log, or both slots are damaged."""
        for _ in range(_LOOKS):
            if (newest := self._newest()) is not None:
                return Mark(*newest[1:])
        return None

    def close(self) -> None:
        os.close(self._descriptor)

    def _newest(self) -> tuple[int, int, int, int] | None:
        content = os.pread(self._descriptor, 2 * _SLOT_BYTES, 0)
        best = None
        for at in (0, _SLOT_BYTES):
            fields, crc = content[at : at + _FIELDS.size], content[at + _FIELDS.size : at + _FIELDS.size + _CRC.size]
            if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != google_crc32c.extend(self._crc_start, fields):
                continue
            slot = _FIELDS.unpack(fields)
            if best is None or slot[0] > best[0]:
                best = slot
        return best
