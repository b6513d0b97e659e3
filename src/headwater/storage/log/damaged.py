"""Corrupt ranges, copied into `damaged/` once: what was there stays to be looked at after its segment is trimmed."""

import os
from pathlib import Path

from headwater.storage.log.disk import Disk
from headwater.storage.log.segments import path_of

FOLDER_BYTES_MAX = 256 << 20
"""Copies beyond this are not made; the damage itself is told all the same."""
_COPY_BYTES = 1 << 20


def set_aside(folder: Path, segment: int, offset: int, end: int, disk: Disk) -> str:
    """Copy those bytes of the segment unless that was done before. Returns where they are, or why they are not."""
    copies = folder / "damaged"
    target = copies / f"{segment:020d}-{offset}-{end}"
    if target.exists():
        return f"set aside in {target}"
    try:
        disk.make_folder(copies)
        if sum(entry.stat().st_size for entry in copies.iterdir()) + end - offset > FOLDER_BYTES_MAX:
            return f"not set aside: {copies} holds more than {FOLDER_BYTES_MAX} bytes"
        _copy(path_of(folder, segment), offset, end, target, disk)
    except OSError as error:
        return f"not set aside: {error}"
    return f"set aside in {target}"


def count_set_aside(folder: Path) -> int:
    copies = folder / "damaged"
    return sum(1 for _ in copies.iterdir()) if copies.is_dir() else 0


def _copy(source: Path, offset: int, end: int, target: Path, disk: Disk) -> None:
    fresh = target.with_suffix(".new")
    reading = disk.open(source, os.O_RDONLY)
    try:
        writing = disk.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            start = offset
            while block := disk.read(reading, min(_COPY_BYTES, end - offset), offset):
                disk.write(writing, [block], offset - start)
                offset += len(block)
            disk.sync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    disk.rename(fresh, target)
