"""What the log asks of the operating system: one thin object, so that a test can make it fail, tear or be slow."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from headwater.domain.errors import Unavailable


class Disk:
    """Every call lets go of the GIL and raises OSError when it could not do all of its work."""

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, parts: Sequence[bytes], offset: int) -> None:
        """All parts, one after the other, at `offset`. After an error any piece of them may be in the file."""
        left = sum(len(part) for part in parts)
        done = os.pwritev(descriptor, parts, offset)
        if done == left:
            return
        rest = memoryview(b"".join(parts))[done:]
        while rest:
            offset += done
            done = os.pwrite(descriptor, rest, offset)
            rest = rest[done:]

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        """Shorter than `length` only at the end of the file."""
        return os.pread(descriptor, length, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """Content and length of the file are on the disk."""
        os.fdatasync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Names made, changed or removed in the folder are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def make_folder(self, folder: Path) -> None:
        """The folder and all above it that were missing, durable, for their owner alone."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            new.mkdir(mode=0o700, exist_ok=True)
            self.sync_folder(new.parent)

    def replace(self, path: Path, content: bytes) -> None:
        """The file has exactly this content, durably: all of it or what it was before."""
        fresh = path.with_suffix(".new")
        descriptor = self.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            self.write(descriptor, [content], 0)
            self.sync(descriptor)
        finally:
            os.close(descriptor)
        self.rename(fresh, path)
        self.sync_folder(path.parent)


def refusal(error: OSError, where: Path) -> Unavailable:
    """What to tell a caller whose entry was not kept, from the system's word for it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"disk is full: {where} can't take more events; nothing of this request was kept",
            code="DISK_FULL",
            path=str(where),
            hint="free space or move the data folder, then send again",
            retry_after_seconds=5,
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return Unavailable(
            f"log folder {where} can't be written: {error.strerror}",
            code="READ_ONLY",
            path=str(where),
            hint="make the folder writable for the user that runs headwater",
        )
    return Unavailable(
        f"log folder {where} failed: {error.strerror or error}; nothing of this request was kept",
        code="LOG_FAILED",
        path=str(where),
        hint="look at the disk, then send again",
        retry_after_seconds=5,
    )
