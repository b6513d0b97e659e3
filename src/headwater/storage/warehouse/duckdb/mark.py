"""The mark: how far the warehouse was loaded, kept beside its file. It finds what DuckDB does not tell.

DuckDB 2.0.0 checks the content of its write-ahead log, but a flipped bit in a length, or in the log's first bytes,
reads as the log's end: every later commit is gone without an error (17 of 60 flips in the first 60 bytes). Rows and
position go back together, so nothing is counted twice, but what the event log no longer holds would be missing. So a
database that stands before its mark is damaged.

The mark is written after the commit and not fsynced: after a crash it may lie behind, never ahead.
"""

import os
import struct
import zlib
from pathlib import Path

from headwater.observe.journal import get_journal
from headwater.storage.log.base import Position

_BODY = struct.Struct("<4s16sQ")
_SUM = struct.Struct("<I")
MAGIC = b"HWP1"
SIZE = _BODY.size + _SUM.size


class Mark:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def read(self) -> Position | None:
        """None where there is none, or where power was lost before it reached the disk whole."""
        data = os.pread(self._file, SIZE, 0)
        if len(data) < SIZE or zlib.crc32(data[: _BODY.size]) != _SUM.unpack_from(data, _BODY.size)[0]:
            return None
        magic, log_id, seq = _BODY.unpack_from(data)
        return Position(log_id, seq) if magic == MAGIC else None

    def write(self, position: Position) -> None:
        """10 µs. Where the disk refuses it, the mark stays behind: what it guards is stored all the same."""
        body = _BODY.pack(MAGIC, position.log_id, position.seq)
        try:
            os.pwrite(self._file, body + _SUM.pack(zlib.crc32(body)), 0)
        except OSError as error:
            get_journal("pipeline").warning("warehouse_mark_not_written", file=str(self.path), error=str(error))

    def close(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
