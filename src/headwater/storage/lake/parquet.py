"""One Parquet file of a lake: its name tells its seqs and the checksum of its bytes.

Of 60 single flipped bits in such a file DuckDB's reader saw 18 and gave wrong rows without a word for 41: pages carry
no checksum. So the name does, and every read checks it first (1 ms for 50k events).
"""

import datetime as dt
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
FORMAT = "format parquet, compression zstd, compression_level 1, parquet_version v2, row_group_size {rows}"
ROW_GROUP_ROWS = 16_384

WARM_SECONDS = 3.0


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


class WarmEngine:
    """An engine that stays open while it is used often, since opening costs 17 ms: 0.35 µs an event of a full seal."""

    def __init__(self, warm_seconds: float = WARM_SECONDS) -> None:
        self.warm_seconds = warm_seconds
        self._mutex = threading.Lock()
        self._open = ExitStack()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._cooling: threading.Timer | None = None

    @contextmanager
    def use(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """One at a time. After an error it is closed, whatever state that left it in."""
        with self._mutex:
            self._stop_cooling()
            if self._connection is None:
                self._connection = self._open.enter_context(engine())
            try:
                yield self._connection
            except BaseException:
                self._close()
                raise
            self._cooling = threading.Timer(self.warm_seconds, self.close)
            self._cooling.daemon = True
            self._cooling.start()

    def close(self) -> None:
        with self._mutex:
            self._stop_cooling()
            self._close()

    def is_open(self) -> bool:
        return self._connection is not None

    def _stop_cooling(self) -> None:
        if self._cooling is not None:
            self._cooling.cancel()
            self._cooling = None

    def _close(self) -> None:
        self._connection = None
        self._open.close()


def file_of(path: str, rows: int, size: int) -> DataFile:
    """From a commit's add action. Raises Damaged for a name that this module did not give."""
    match = NAME.fullmatch(path)
    if match is None:
        raise Damaged(f"lake: {path!r} is listed but is no file of this lake", code="LAKE_DAMAGED", path=path)
    return DataFile(path, int(match[2]), int(match[3]), rows, size)


def day_of(file: DataFile) -> str:
    """The UTC day of receipt, as 2026-01-31."""
    match = NAME.fullmatch(file.path)
    assert match is not None
    return match[1]


def write(rows: Table, table: Path, staging: Path, connection: duckdb.DuckDBPyConnection) -> list[Written]:
    """One file for each UTC day in `rows`, fsynced, in place, their folders fsynced too; no commit lists them yet."""
    written: list[Written] = []
    try:
        connection.register("rows", rows)
        days = connection.execute(
            "select received_on, min(seq), max(seq), count(*), min(received_us), max(received_us) "
            "from rows group by 1 order by 1"
        ).fetchall()
        for facts in days:
            written.append(_write_day(*facts, table=table, staging=staging, connection=connection))
        connection.unregister("rows")
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
    copy_to(staged, f"rows where received_on = date '{day}'", ROW_GROUP_ROWS, connection)
    file = put_in_place(staged, table, day, first_seq, last_seq, n)
    return Written(file, day, received_us_min, received_us_max)


def copy_to(staged: Path, source: str, rows_per_group: int, connection: duckdb.DuckDBPyConnection) -> None:
    """Write what stands behind `from`, in its order."""
    columns = ", ".join(column for column in COLUMNS if column != PARTITION)
    select = f"select {columns} from {source}"  # noqa: S608
    try:
        connection.execute(f"copy ({select}) to {quoted(staged)} ({FORMAT.format(rows=rows_per_group)})")
    except BaseException:
        # On a full disk the half that was written would be missing for what makes room.
        staged.unlink(missing_ok=True)
        raise


def put_in_place(staged: Path, table: Path, day: dt.date, first_seq: int, last_seq: int, rows: int) -> DataFile:
    """Fsync a staged file and give it its name in the table, and fsync that."""
    staged.chmod(0o600)
    crc, size = checksum(staged)
    sync(staged)
    path = f"{PARTITION}={day}/{first_seq:020d}-{last_seq:020d}-{crc:08x}.zstd.parquet"
    folder = (table / path).parent
    folder.mkdir(mode=0o700, exist_ok=True)
    sync(table)  # also where it was there: who made it may have died before this, or failed in it
    staged.rename(table / path)
    sync(folder)
    return DataFile(path, first_seq, last_seq, rows, size)


def read(
    files: Sequence[DataFile],
    table: Path,
    after_seq: int,
    connection: duckdb.DuckDBPyConnection,
    last_seq: int | None = None,
) -> Table:
    """Rows of `files` beyond `after_seq`, up to `last_seq`, ascending by seq. Raises Damaged naming what can't be read.

    Whoever calls has checked them (`check`).
    """
    columns = ", ".join(f"{column}::date as {column}" if column == PARTITION else column for column in COLUMNS)
    end = "" if last_seq is None else f"and seq <= {last_seq}"
    order = "order by seq" if len(files) > 1 else ""
    query = f"select {columns} from {source_of(files, table)} where seq > {after_seq} {end} {order}"  # noqa: S608
    with damaged(files):
        return Table.from_arrow(connection.sql(query))


def source_of(files: Sequence[DataFile], table: Path, *more: str) -> str:
    """For `from`: the rows of these files, one after the other."""
    paths = ", ".join(quoted(table / file.path) for file in files)
    return f"read_parquet([{paths}], {', '.join(('hive_partitioning = true', *more))})"


@contextmanager
def damaged(files: Sequence[DataFile]) -> Iterator[None]:
    """An engine's error while it reads these, as Damaged."""
    try:
        yield
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        names = ", ".join(file.path for file in files)
        raise Damaged(f"lake: can't read {names}: {error}", code="LAKE_DAMAGED", path=names) from error


def check(file: DataFile, table: Path) -> None:
    """Raises Damaged where its bytes are not those that were written."""
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


def quoted(path: Any) -> str:
    return "'" + str(path).replace("'", "''") + "'"
