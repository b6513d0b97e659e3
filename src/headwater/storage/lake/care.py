"""What is to be done in the table: which files belong in one, which days are over. Pure."""

import datetime as dt
import time
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

from headwater.storage.lake.base import Part
from headwater.storage.lake.parquet import DataFile, day_of

ROWS_TARGET = 1_000_000
BYTES_TARGET = 96 << 20
LIVE_FILES_MIN = 16
"""Of a day that is not over fewer are not merged, or the same rows would be written again and again."""


def merges(
    files: Sequence[DataFile], left_alone: Collection[str] = (), today: dt.date | None = None
) -> list[list[DataFile]]:
    """Neighbours of one day that have a file's target size together, or are the rest of a day; nothing goes over a
    path of `left_alone`.

    `files` ascend by seq. Files of a day never overlap each other: they were written one after the other.
    """
    now = str(today or dt.datetime.fromtimestamp(time.time(), dt.UTC).date())
    found: list[list[DataFile]] = []
    for day, of_day in groupby(sorted(files, key=day_of), day_of):
        for run, full in _runs(list(of_day), left_alone, live=day >= now):
            if len(run) >= (2 if full or day < now else LIVE_FILES_MIN):
                found.append(run)
    return found


def _runs(
    files: Sequence[DataFile], left_alone: Collection[str], *, live: bool
) -> Iterator[tuple[list[DataFile], bool]]:
    """(neighbours, whether the next one would have been too much)."""
    run: list[DataFile] = []
    rows = size = 0
    for file in files:
        too_much = rows + file.rows > ROWS_TARGET or size + file.bytes > BYTES_TARGET
        rests = file.path in left_alone or (live and (file.rows > ROWS_TARGET // 2 or file.bytes > BYTES_TARGET // 2))
        if run and (too_much or rests):
            yield run, too_much
            run, rows, size = [], 0, 0
        if not rests:
            run.append(file)
            rows, size = rows + file.rows, size + file.bytes
    if run:
        yield run, False


def over(files: Sequence[DataFile], before_us: int, seq_max: int) -> list[list[DataFile]]:
    """All files of each UTC day that ended at or before that instant and has no seq beyond `seq_max`, oldest first."""
    found: list[list[DataFile]] = []
    for day, of_day in groupby(sorted(files, key=day_of), day_of):
        whole = list(of_day)
        if _end_us(day) > before_us:
            break
        if max(file.last_seq for file in whole) <= seq_max:
            found.append(whole)
    return found


def part_of(files: Sequence[DataFile], *, bytes_after: int = 0, left_alone: str = "") -> Part:
    return Part(
        day=day_of(files[0]),
        files=len(files),
        rows=sum(file.rows for file in files),
        bytes=sum(file.bytes for file in files),
        bytes_after=bytes_after,
        left_alone=left_alone,
    )


def _end_us(day: str) -> int:
    midnight = dt.datetime.combine(dt.date.fromisoformat(day), dt.time(), dt.UTC)
    return (int(midnight.timestamp()) + 86_400) * 1_000_000
