"""What is wrong with the files of a lake; nothing is changed or mended."""

from collections.abc import Callable, Sequence
from pathlib import Path

from headwater.storage.lake import commits
from headwater.storage.lake.parquet import NAME, DataFile, checksum

Advance = Callable[[float, float | None], None]
"""(bytes read, all bytes)."""


def of_files(files: Sequence[DataFile], table: Path, advance: Advance | None) -> list[str]:
    """With `advance` each is read, else only its size is looked at."""
    found: list[str] = []
    done, total = 0, sum(file.bytes for file in files)
    for file in files:
        fault = _fault_of(file, table, whole=advance is not None)
        if fault is not None:
            found.append(f"{table / file.path}: {fault}")
        done += file.bytes
        if advance is not None:
            advance(done, total)
    return found


def of_commits(log: Path) -> list[str]:
    if not log.is_dir():
        return []
    names = sorted(each for each in log.iterdir() if each.suffix == ".json" and each.stem.isdigit())
    faults = ((each, commits.fault_of(each)) for each in names)
    return [f"{each}: {fault}" for each, fault in faults if fault is not None]


def _fault_of(file: DataFile, table: Path, *, whole: bool) -> str | None:
    path = table / file.path
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"{size} bytes, expected {file.bytes}"
        if not whole:
            return None
        crc, _ = checksum(path)
    except OSError as error:
        return str(error.strerror)
    match = NAME.fullmatch(file.path)
    assert match is not None
    return None if crc == int(match[4], 16) else f"its crc32c is {crc:08x}, expected {match[4]}"
