"""One Parquet file of a lake: its name tells its seqs and the checksum of its bytes.

Of 60 single flipped bits in such a file DuckDB's reader saw 18 and gave wrong rows without a word for 41: pages carry
no checksum. So the name does, and every read checks it first (1 ms for 50k events).
"""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import google_crc32c
import msgspec
from arro3.core import Table

from headwater.domain.errors import Damaged
from headwater.storage.durable import sync
from headwater.storage.lake.base import COLUMNS

PARTITION = "received_on"
NAME = re.compile(r"received_on=(\d{4}-\d\d-\d\d)/(\d{20})-(\d{20})-([0-9a-f]{8})\.zstd\.parquet")

# 50k events of 429 B on 2 cores: level 1 gives 66 B/event, 3 (the default) 71 and takes 1.5x as long, 6 gives 67 and
# takes 3x. Row groups of 16k hold 45 MB while writing and take 78 ms; of 64k 100-200 MB and 100 ms, 0.7 % smaller.
FORMAT = "format parquet, compression zstd, compression_level 1, parquet_version v2, row_group_size 16384"


class DataFile(msgspec.Struct, frozen=True):
    """A file that a commit lists. `path` is relative to the table."""

    path: str
    first_seq: int
    last_seq: int
    rows: int
    bytes: int


class Written(msgspec.Struct, frozen=True):
    file: DataFile
    day: dt.date
    received_us_min: int
    received_us_max: int


@contextmanager
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine that only converts: no database, one thread. Closed after use: kept open it keeps 40 MB and more."""
    connection = duckdb.connect(":memory:", config={"threads": 1, "autoinstall_known_extensions": False})
    try:
        yield connection
    finally:
        connection.close()


def file_of(path: str, rows: int, size: int) -> DataFile:
    """From a commit's add action. Raises Damaged for a name that this module did not give."""
    match = NAME.fullmatch(path)
    if match is None:
        raise Damaged(f"lake: {path!r} is listed but is no file of this lake", code="LAKE_DAMAGED", path=path)
    return DataFile(path, int(match[2]), int(match[3]), rows, size)


def write(rows: Table, table: Path, staging: Path) -> list[Written]:
    """One file for each UTC day in `rows`, fsynced, in place, their folders fsynced too; no commit lists them yet."""
    written: list[Written] = []
    try:
        with engine() as connection:
            connection.register("rows", rows)
            days = connection.execute(
                "select received_on, min(seq), max(seq), count(*), min(received_us), max(received_us) "
                "from rows group by 1 order by 1"
            ).fetchall()
            for facts in days:
                written.append(_write_day(*facts, table=table, staging=staging, connection=connection))
    except BaseException:
        drop(written, table)
        raise
    return written


def drop(written: Sequence[Written], table: Path) -> None:
    """Delete files that no commit will list."""
    for each in written:
        (table / each.file.path).unlink(missing_ok=True)


def _write_day(
    day: dt.date,
    first_seq: int,
    last_seq: int,
    n: int,
    received_us_min: int,
    received_us_max: int,
    *,
    table: Path,
    staging: Path,
    connection: duckdb.DuckDBPyConnection,
) -> Written:
    staged = staging / f"{first_seq:020d}.parquet"
    columns = ", ".join(column for column in COLUMNS if column != PARTITION)
    select = f"select {columns} from rows where received_on = date '{day}'"  # noqa: S608
    connection.execute(f"copy ({select}) to {_quoted(staged)} ({FORMAT})")
    staged.chmod(0o600)
    crc, size = checksum(staged)
    sync(staged)
    path = f"{PARTITION}={day}/{first_seq:020d}-{last_seq:020d}-{crc:08x}.zstd.parquet"
    folder = (table / path).parent
    if not folder.exists():
        folder.mkdir(mode=0o700)
        sync(table)
    staged.rename(table / path)
    sync(folder)
    return Written(DataFile(path, first_seq, last_seq, n, size), day, received_us_min, received_us_max)


def read(files: Sequence[DataFile], table: Path, after_seq: int, connection: duckdb.DuckDBPyConnection) -> Table:
    """Rows of `files` beyond `after_seq`, ascending by seq. Raises Damaged naming the file that can't be read."""
    for file in files:
        _check(file, table)
    columns = ", ".join(f"{column}::date as {column}" if column == PARTITION else column for column in COLUMNS)
    paths = ", ".join(_quoted(table / file.path) for file in files)
    order = "order by seq" if len(files) > 1 else ""
    query = f"select {columns} from read_parquet([{paths}], hive_partitioning = true) where seq > {after_seq} {order}"  # noqa: S608
    try:
        return Table.from_arrow(connection.sql(query))
    except duckdb.Error as error:
        names = ", ".join(file.path for file in files)
        raise Damaged(f"lake: can't read {names}: {error}", code="LAKE_DAMAGED", path=names) from error


def _check(file: DataFile, table: Path) -> None:
    match = NAME.fullmatch(file.path)
    assert match is not None
    try:
        crc, size = checksum(table / file.path)
    except OSError as error:
        raise Damaged(
            f"lake: can't read {file.path}: {error.strerror}",
            code="LAKE_DAMAGED",
            path=file.path,
            hint="restore that file from a copy",
        ) from error
    if crc != int(match[4], 16) or size != file.bytes:
        raise Damaged(
            f"lake: {file.path} is not what was written: {size} bytes with crc32c {crc:08x}, expected {file.bytes} "
            f"with {match[4]}",
            code="LAKE_DAMAGED",
            path=file.path,
            hint="restore that file from a copy",
        )


def checksum(path: Path) -> tuple[int, int]:
    """(crc32c, bytes) of a file, read in pieces."""
    crc = size = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            crc = google_crc32c.extend(crc, piece)
            size += len(piece)
    return crc, size


def _quoted(path: Any) -> str:
    return "'" + str(path).replace("'", "''") + "'"
