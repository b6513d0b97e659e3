"""The lake on a local disk: a Delta table in `<folder>/events`, one commit for each append.

    <folder>/lock          held by the writer; names its process
    <folder>/staging       files before they are complete; emptied at opening
    <folder>/set-aside     commits that could not be read, kept for a person
    <folder>/events        the Delta table, partitioned by received_on

The position is Delta's own record of an application's transactions, so it moves in the commit that brings the rows.
"""

import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from arro3.core import Table
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from headwater.domain.errors import Conflict, Damaged, Unavailable
from headwater.storage.crash import crash_point
from headwater.storage.durable import sync
from headwater.storage.lake import commits, parquet
from headwater.storage.lake.base import Version
from headwater.storage.lake.parquet import PARTITION, DataFile
from headwater.storage.lake.schema import SCHEMA
from headwater.storage.log.base import Position
from headwater.storage.urls import path_of

COMMITS_PER_CHECKPOINT = 100
PUBLISH_ATTEMPTS = 5
"""Other writers of the table (a person's Spark, say) may take a version first."""
FOREIGN_COMMITS_MAX = 20
"""Commits of others in a row over which the history still finds the seq of one of ours."""
PROTOCOL_MAX = (1, 2)
"""(reader, writer) version of the Delta protocol that these commits keep."""


def open(url: str, *, read_only: bool = False) -> "FileLake":
    return FileLake(Path(path_of(url)), read_only=read_only)


class FileLake:
    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._folder = folder
        self._table = folder / "events"
        self._log = self._table / "_delta_log"
        self._staging = folder / "staging"
        self._read_only = read_only
        self._mutex = threading.Lock()
        self._lock: int | None = None
        self._version = -1
        self._position: Position | None = None
        self._files: tuple[DataFile, ...] = ()
        self._checkpoint_failures = 0
        if read_only:
            self._load()
            return
        with _unavailable("open", folder):
            self._lock = _locked(folder)
            try:
                self._recover()
                self._load()
            except BaseException:
                self.close()
                raise

    def position(self) -> Position | None:
        if self._read_only:
            self._load()
        return self._position

    def append(self, rows: Any, position: Position) -> None:
        table = Table.from_arrow(rows)
        with self._mutex:
            if self._lock is None:
                raise Unavailable(f"lake: {self._folder} is not open for writing", code="LAKE_CLOSED")
            self._check_follows(position)
            with _unavailable("append to", self._folder):
                self._append(table, position)
                self._checkpoint_if_due()

    def read(self, after_seq: int, rows_max: int) -> Iterator[Any]:
        if self._read_only:
            self._load()
        groups = _groups([file for file in self._files if file.last_seq > after_seq], rows_max)
        with parquet.engine() as connection:
            for group in groups:
                yield from _slices(parquet.read(group, self._table, after_seq, connection), rows_max)

    def history(self, limit: int) -> list[Version]:
        table = self._open_table()
        if table is None:
            return []
        found: list[Version] = []
        seq = 0
        for entry in reversed(table.history(limit + FOREIGN_COMMITS_MAX)):
            own = entry.get(commits.OWN, {})
            seq = own.get("seq", seq)
            found.append(
                Version(
                    version=entry["version"],
                    committed_us=entry["timestamp"] * 1000,
                    operation=entry["operation"],
                    rows=int(entry.get("operationMetrics", {}).get("num_added_rows", 0)),
                    bytes=own.get("bytes", 0),
                    files=own.get("files", 0),
                    seq=seq,
                )
            )
        return found[::-1][:limit]

    def stats(self) -> dict[str, int]:
        if self._read_only:
            self._load()
        aside = self._folder / "set-aside"
        return {
            "files": len(self._files),
            "bytes": sum(file.bytes for file in self._files),
            "rows": sum(file.rows for file in self._files),
            "version": self._version,
            "seq": self._position.seq if self._position else 0,
            "set_aside": len(list(aside.glob("*.json"))),
            "checkpoint_failures": self._checkpoint_failures,
        }

    def close(self) -> None:
        with self._mutex:
            self._let_go()

    def _check_follows(self, position: Position) -> None:
        now = self._position
        if now is None or position.seq > now.seq or (position.log_id != now.log_id and position.seq == now.seq):
            return
        raise Conflict(
            f"lake: seq {position.seq} is not above the present position {now.seq}",
            code="NOT_ABOVE",
            value=position.seq,
        )

    def _append(self, rows: Table, position: Position) -> None:
        written: list[parquet.Written] = []
        try:
            if rows.num_rows:
                written = parquet.write(rows, self._table, self._staging)
            self._publish(written, position)
        except BaseException:
            if self._lock is not None:
                parquet.drop(written, self._table)
            raise
        self._position = position
        self._files += tuple(each.file for each in written)

    def _publish(self, written: list[parquet.Written], position: Position) -> None:
        new_log = None
        if self._position is None or position.log_id != self._position.log_id:
            table = self._open_table()
            assert table is not None
            new_log = commits.metadata_with_log(table, position.log_id)
        lines = commits.commit_lines(written, position, new_log)
        for _ in range(PUBLISH_ATTEMPTS):
            version = self._version + 1
            crash_point("lake.append.before_commit")
            try:
                commits.publish(lines, version, self._log, self._staging)
            except FileExistsError:
                self._load()
                continue
            except OSError as error:
                if commits.path_of(version, self._log).exists():
                    self._let_go()
                    raise Unavailable(
                        f"lake: commit {version} may or may not be durable: {error.strerror}", code="OUTCOME_UNKNOWN"
                    ) from error
                raise
            crash_point("lake.append.after_commit")
            self._version = version
            return
        raise Unavailable(f"lake: another writer took {PUBLISH_ATTEMPTS} versions in a row", code="LAKE_CONTENDED")

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _recover(self) -> None:
        """Make what a crash left whole, and durable what is read from here on."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(mode=0o700)
        if not self._table.exists():
            self._table.mkdir(mode=0o700)
            sync(self._folder)
        elif not self._log.exists() and any(self._table.glob(f"{PARTITION}=*")):
            raise Damaged(
                f"lake: {self._log} is missing, though {self._table} holds files",
                code="LAKE_DAMAGED",
                path=str(self._log),
                hint="restore the folder from a copy, or move it away to fill a new lake from the log",
            )
        set_aside = self._set_aside_torn()
        if not self._log.exists() or commits.versions(self._log) == (-1, -1):
            DeltaTable.create(self._table, schema=SCHEMA, partition_by=[PARTITION])
        self._sync_tail()
        if not set_aside:
            self._drop_orphans()

    def _set_aside_torn(self) -> bool:
        """Move a last commit that can't be read out of the way: it was never reported, so its rows come again."""
        if not self._log.exists():
            return False
        last, checkpoint = commits.versions(self._log)
        if last <= checkpoint:
            return False
        torn = commits.path_of(last, self._log)
        if commits.fault_of(torn) is None:
            return False
        aside = self._folder / "set-aside"
        aside.mkdir(mode=0o700, exist_ok=True)
        torn.rename(aside / f"{last:020d}-{time.time_ns()}.json")
        sync(aside)
        sync(self._log)
        return True

    def _sync_tail(self) -> None:
        """fsync the last commit and its files: the process that wrote them may have died before it could."""
        last, _ = commits.versions(self._log)
        if last >= 0:
            for each in (commits.path_of(last, self._log), self._log, self._table):
                sync(each)
        self._log.chmod(0o700)
        for name in (f"{last:020d}.json", "_last_checkpoint"):
            if (self._log / name).exists():
                (self._log / name).chmod(0o600)

    def _drop_orphans(self) -> None:
        """Delete data files beyond the position: they came before a commit that was never made."""
        self._load()
        listed = {file.path for file in self._files}
        last, _ = commits.versions(self._log)
        changed_ns = commits.path_of(last, self._log).stat().st_mtime_ns if last >= 0 else 0
        for folder in self._table.glob(f"{PARTITION}=*"):
            if folder.stat().st_mtime_ns < changed_ns - 1_000_000_000:
                continue
            for file in folder.iterdir():
                path = f"{folder.name}/{file.name}"
                match = parquet.NAME.fullmatch(path)
                if match and path not in listed and int(match[2]) > (self._position.seq if self._position else 0):
                    file.unlink()

    def _load(self) -> None:
        """Take version, position and files from the table as it is on the disk now."""
        table = self._open_table()
        if table is None:
            return
        protocol = table.protocol()
        if (protocol.min_reader_version, protocol.min_writer_version) > PROTOCOL_MAX:
            raise Unavailable(
                f"lake: {self._table} was raised to Delta protocol {protocol.min_reader_version}, "
                f"{protocol.min_writer_version} by another tool; this version writes {PROTOCOL_MAX}",
                code="LAKE_PROTOCOL",
            )
        log_id = table.metadata().configuration.get(commits.LOG_ID)
        seq = table.transaction_version(log_id) if log_id else None
        adds = table.get_add_actions(flatten=True)
        columns = (adds[name].to_pylist() for name in ("path", "num_records", "size_bytes"))
        files = [parquet.file_of(*row) for row in zip(*columns, strict=True)]
        self._files = tuple(sorted(files, key=lambda file: file.first_seq))
        self._position = Position(bytes.fromhex(log_id), seq) if log_id and seq is not None else None
        self._version = table.version()

    def _open_table(self) -> DeltaTable | None:
        """None where there is no table yet. A reader passes over a torn last commit, as the writer will."""
        if not self._log.is_dir():
            return None
        last, checkpoint = commits.versions(self._log)
        faults = {v: commits.fault_of(commits.path_of(v, self._log)) for v in range(checkpoint + 1, last + 1)}
        faulty = [version for version, fault in faults.items() if fault]
        if faulty and (faulty != [last] or last <= checkpoint):
            path = commits.path_of(faulty[0], self._log)
            raise Damaged(
                f"lake: commit {path.name} can't be read: {faults[faulty[0]]}",
                code="LAKE_DAMAGED",
                path=str(path),
                hint="restore that file from a copy",
            )
        try:
            return DeltaTable(self._table, version=last - 1 if faulty else None)
        except TableNotFoundError:
            return None
        except (DeltaError, ValueError, OSError) as error:
            words = str(error).partition("\n")[0][:300]
            point = f"{checkpoint:020d}.checkpoint.parquet" if checkpoint >= 0 else "no checkpoint"
            raise Damaged(
                f"lake: can't read the table's log {self._log} (last commit {last}, {point}): {words}",
                code="LAKE_DAMAGED",
                path=str(self._log),
                hint="restore the folder from a copy; while all commits since an older checkpoint are there, it is "
                "enough to delete the last checkpoint and _last_checkpoint",
            ) from error

    def _checkpoint_if_due(self) -> None:
        """Fold the commits into one file, so that opening stays fast. The table is whole without it."""
        if self._version % COMMITS_PER_CHECKPOINT:
            return
        try:
            table = DeltaTable(self._table)
            table.create_checkpoint()
            for name in self._log.glob(f"{self._version:020d}.checkpoint*"):
                name.chmod(0o600)
                sync(name)
            (self._log / "_last_checkpoint").chmod(0o600)
            sync(self._log / "_last_checkpoint")
            sync(self._log)
            table.cleanup_metadata()
        except (DeltaError, OSError):
            self._checkpoint_failures += 1


def _locked(folder: Path) -> int:
    """The writer's lock on the folder, which is made here. Raises Unavailable naming the process that has it."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        sync(each.parent)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 64, 0).decode(errors="replace")
        os.close(descriptor)
        raise Unavailable(
            f"lake: {folder} is written by another process: pid {holder or 'unknown'}",
            code="LAKE_LOCKED",
            hint="stop that process, or open the lake read-only",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _groups(files: list[DataFile], rows_max: int) -> list[list[DataFile]]:
    """Files in order of seq, to be read together: small ones up to `rows_max` (a query costs 10 ms however small), and
    those whose ranges overlap (an append over midnight, a clock set back)."""
    groups: list[list[DataFile]] = []
    last_seq = rows = 0
    for file in files:
        if groups and (file.first_seq <= last_seq or rows + file.rows <= rows_max):
            groups[-1].append(file)
            rows += file.rows
        else:
            groups.append([file])
            rows = file.rows
        last_seq = max(last_seq, file.last_seq)
    return groups


def _slices(rows: Table, rows_max: int) -> Iterator[Table]:
    """Pieces of at most `rows_max` rows that begin where a batch begins; a larger batch is one piece."""
    start = end = 0
    for row, index in enumerate([*rows["batch_index"].to_pylist(), 0]):
        if index:
            continue
        if row - start > rows_max and end > start:
            yield rows.slice(start, end - start)
            start = end
        end = row
    if end > start:
        yield rows.slice(start, end - start)


@contextmanager
def _unavailable(doing: str, folder: Path) -> Iterator[None]:
    """Errors of the disk as Unavailable, with the system's words."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        number = getattr(error, "errno", None)
        words = str(error)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in words:
            code, hint = "DISK_FULL", "free space; what is not in the lake yet stays in the log"
        elif number in (errno.EROFS, errno.EACCES, errno.EPERM) or "ermission denied" in words or "ead-only" in words:
            code, hint = "READ_ONLY", "make the folder writable for the user that runs headwater"
        else:
            code, hint = "LAKE_FAILED", "look at the disk"
        raise Unavailable(f"lake: can't {doing} {folder}: {words}", code=code, path=str(folder), hint=hint) from error
