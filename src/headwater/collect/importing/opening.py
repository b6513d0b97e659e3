"""A file as a stream of bytes, plain or compressed, that knows how far it has been read."""

import gzip
import io
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from headwater.domain.errors import BadInput

BLOCK_BYTES = 1 << 20
PACKED_BYTES = 1024
"""Given to zstd at once. The densest frame is four bytes for 128 KiB: this much never expands beyond 32 MiB."""
COMPRESSED = (".gz", ".zst")


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Input:
    """Reads forward only. `position` counts bytes after decompression, `consumed` bytes of the file itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadInput(f"can't read {path}: {reason.lower()}", code="UNREADABLE_FILE", value=str(path)) from error
        self.size = path.stat().st_size
        self.position = 0
        self._stream = _expanded(path, self._file)

    @property
    def consumed(self) -> int:
        return self._file.tell()

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Up to `size` bytes; empty at the end. Raises BadInput where the compressed file is damaged or cut off."""
        try:
            block = self._stream.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise self._damaged(error) from error
        self.position += len(block)
        return block

    def skip_to(self, position: int) -> None:
        """Forward to a position that an earlier read reached. A compressed file is decompressed up to there."""
        if self._stream is self._file:
            self.position = self._file.seek(position)
        while self.position < position and self.read(min(BLOCK_BYTES, position - self.position)):
            pass

    def rewind(self) -> None:
        self._file.seek(0)
        self._stream = _expanded(self.path, self._file)
        self.position = 0

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Input":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _damaged(self, error: Exception) -> BadInput:
        return BadInput(
            f"{self.path} can't be decompressed past byte {self.position} of its content: {error}",
            code="DAMAGED_FILE",
            value=str(self.path),
        )


def plain_name(path: Path) -> str:
    """Base name without `.gz` or `.zst`: `access.log.gz` and `access.log` are one source, and give the same ids."""
    name = path.name
    for suffix in COMPRESSED:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            name = name[: -len(suffix)]
    return name.encode("utf-8", "backslashreplace").decode()


class _Zstd:
    """Expands zstd frames and tells a cut-off one, which zstandard's own reader takes for the end."""

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard

        self.error: type[Exception] = zstandard.ZstdError
        self._file = file
        self._begin = zstandard.ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._packed = b""
        self._expanded = b""

    def read(self, size: int) -> bytes:
        while not self._expanded and self._fill():
            pass
        block, self._expanded = self._expanded[:size], self._expanded[size:]
        return block

    def _fill(self) -> bool:
        """Expand the next PACKED_BYTES; False at the end."""
        packed = self._packed or self._file.read(PACKED_BYTES)
        self._packed = b""
        if not packed:
            if self._frame is not None:
                raise EOFError("it ends inside a frame")
            return False
        if self._frame is None:
            self._frame = self._begin()
        try:
            self._expanded = self._frame.decompress(packed)
        except self.error as error:
            raise OSError(str(error)) from error
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, None
        return True


def _expanded(path: Path, file: io.BufferedReader) -> _Stream:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=file)
    return _Zstd(file) if suffix == ".zst" else file
