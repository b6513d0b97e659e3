"""Which files no kept version of the table needs."""

from collections.abc import Iterator
from pathlib import Path

from headwater.storage.lake import table as tables
from headwater.storage.lake import views
from headwater.storage.lake.base import Unused
from headwater.storage.lake.parquet import NAME, PARTITION
from headwater.storage.lake.table import Snapshot


def unused(table: Path, present: Snapshot, before_us: int) -> list[Unused]:
    """Files that are not in the table since before that instant, ascending by path: taken out by a commit, or never
    listed by one. What lies beyond the position is left alone: it may be listed by the next commit."""
    listed = {file.path for file in present.files} | tables.removed_since(table / "_delta_log", before_us)
    found: list[Unused] = []
    for folder in sorted(table.glob(f"{PARTITION}=*")):
        for file in sorted(folder.iterdir()):
            path = f"{folder.name}/{file.name}"
            match = NAME.fullmatch(path)
            if match is None or path in listed or int(match[2]) > present.seq or views.is_pinned(file):
                continue
            about = file.stat()
            if about.st_mtime_ns // 1000 < before_us:
                found.append(Unused(path, about.st_size))
    return found


def empty_days(table: Path) -> Iterator[Path]:
    """Folders of days of which nothing is left."""
    for folder in table.glob(f"{PARTITION}=*"):
        if not any(folder.iterdir()):
            yield folder
