"""The lake on a local disk: a Delta table in `<folder>/events`, one commit for each append.

    <folder>/lock          held by the writer; names its process
    <folder>/staging       files before they are complete; emptied at opening
    <folder>/set-aside     commits that could not be read, kept for a person
    <folder>/expired       counts of what the life span took away
    <folder>/events        the Delta table, partitioned by received_on

The position is Delta's own record of an application's transactions, so it moves in the commit that brings the rows.

Appends and care share one process and one table: care writes its files beside the appends and takes the mutex for its
commit alone, where it looks whether what it replaces is still there.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from arro3.core import Table
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from headwater.domain.errors import Conflict, Damaged, Unavailable
from headwater.storage.crash import crash_point
from headwater.storage.durable import sync
from headwater.storage.lake import care, commits, compaction, examine, expired, parquet, recovery, vacuum, views
from headwater.storage.lake import table as tables
from headwater.storage.lake.base import Expired, Part, Unused, Version
from headwater.storage.lake.failures import unavailable
from headwater.storage.lake.parquet import PARTITION, DataFile
from headwater.storage.lake.schema import SCHEMA
from headwater.storage.lake.table import Snapshot
from headwater.storage.log.base import Position
from headwater.storage.urls import path_of

COMMITS_PER_CHECKPOINT = 100
PUBLISH_ATTEMPTS = 5
"""Other writers of the table (a person's Spark, say) may take a version first."""
CONFIGURATION = {"delta.deletedFileRetentionDuration": "interval 1 hours"}
"""How long checkpoints repeat which files were removed; of a week's at 20k events/s that were 22 MB in each. We know
them from the commits themselves."""
FILES_PER_STEP = 100
"""That a vacuum deletes between two looks whether to go on."""


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
        self._caring = threading.Lock()
        self._lock: int | None = None
        self._now = Snapshot()
        self._committed_ms = 0
        self._checkpoint_failures = 0
        self._compacted_us = 0
        self._left_alone: set[str] = set()
        """Files that can't be merged: damaged, or too wide for that. Looked at again by the next process."""
        self._engine = parquet.WarmEngine()
        if read_only:
            self._load()
            return
        with unavailable("open", folder):
            self._lock = recovery.locked(folder)
            try:
                self._recover()
                self._load()
            except BaseException:
                self.close()
                raise

    def position(self) -> Position | None:
        return self._present().position

    def append(self, rows: Any, position: Position) -> None:
        table = Table.from_arrow(rows)
        with self._mutex:
            self._check_open()
            self._check_follows(position)
            with unavailable("append to", self._folder):
                self._append(table, position)
                self._checkpoint_if_due()

    def read(self, after_seq: int, rows_max: int) -> Iterator[Any]:
        files = [file for file in self._present().files if file.last_seq > after_seq]
        return views.read(files, self._table, after_seq, rows_max)

    def at(self, version: int | None = None, time_us: int | None = None) -> views.FileView:
        if time_us is not None:
            version = tables.version_at(self._table, time_us)
        if version is None:
            found: Snapshot | None = self._present()
        else:
            tables.check_readable(self._table, version)
            found = tables.load(self._table, version)
        snapshot = found or Snapshot()
        facts = tables.version_of(self._table, snapshot.version, snapshot.seq)
        return views.FileView(self._table, snapshot, facts)

    def history(self, limit: int) -> list[Version]:
        return tables.history(self._table, limit)

    def compactable(self) -> Sequence[Part]:
        return [care.part_of(files) for files in self._merges(self._present())]

    def compact(self) -> Iterator[Part]:
        with self._cared_for():
            for files in self._merges(self._now):
                with unavailable("compact", self._folder):
                    yield from self._merge(files)

    def expirable(self, before_us: int, seq_max: int) -> Sequence[Part]:
        return [care.part_of(files) for files in care.over(self._present().files, before_us, seq_max)]

    def expire(self, before_us: int, seq_max: int) -> Iterator[Part]:
        with self._cared_for():
            for files in care.over(self._now.files, before_us, min(seq_max, self._now.seq)):
                with unavailable("remove days from", self._folder):
                    expired.keep(files, self._table, self._folder / "expired")
                    crash_point("lake.expire.before_commit")
                    done = self._change(files, [], self._removal_of(files))
                    crash_point("lake.expire.after_commit")
                if done:
                    yield care.part_of(files)

    def expired(self) -> Expired:
        with unavailable("read", self._folder):
            return expired.counted(self._present().files, self._folder / "expired")

    def vacuumable(self, before_us: int) -> Sequence[Unused]:
        if not self._table.is_dir():
            return []
        with unavailable("read", self._folder):
            return vacuum.unused(self._table, self._present(), before_us)

    def vacuum(self, before_us: int) -> Iterator[Sequence[Unused]]:
        with self._cared_for():
            with unavailable("vacuum", self._folder):
                found = vacuum.unused(self._table, self._now, before_us)
            for start in range(0, len(found), FILES_PER_STEP):
                some = found[start : start + FILES_PER_STEP]
                with unavailable("vacuum", self._folder):
                    gone = [each for each in some if self._delete(each)]
                yield gone
            with unavailable("vacuum", self._folder):
                for folder in vacuum.empty_days(self._table):
                    self._drop_day(folder)
                tables.trim(self._log, before_us)

    def faults(self, advance: Callable[[float, float | None], None] | None = None) -> list[str]:
        files = self._present().files
        with views.pinned(files, self._table):
            return examine.of_commits(self._log) + examine.of_files(files, self._table, advance)

    def stats(self) -> dict[str, int]:
        now = self._present()
        aside = self._folder / "set-aside"
        return {
            "files": len(now.files),
            "small_files": sum(len(files) for files in self._merges(now)),
            "bytes": sum(file.bytes for file in now.files),
            "rows": sum(file.rows for file in now.files),
            "version": now.version,
            "seq": now.seq,
            "set_aside": len(list(aside.glob("*.json"))),
            "checkpoint_failures": self._checkpoint_failures,
            "compacted_us": self._compacted_us,
        }

    def close(self) -> None:
        with self._mutex:
            self._let_go()

    def _present(self) -> Snapshot:
        if self._read_only:
            self._load()
        return self._now

    def _merges(self, snapshot: Snapshot) -> list[list[DataFile]]:
        return care.merges(snapshot.files, self._left_alone)

    def _removal_of(self, files: Sequence[DataFile]) -> Callable[[int], bytes]:
        return lambda now_ms: commits.removal_lines(files, self._now.position, now_ms)

    def _check_follows(self, position: Position) -> None:
        now = self._now.position
        if now is None or position.seq > now.seq or (position.log_id != now.log_id and position.seq == now.seq):
            return
        raise Conflict(
            f"lake: seq {position.seq} is not above the present position {now.seq}",
            code="NOT_ABOVE",
            value=position.seq,
        )

    def _check_open(self) -> None:
        if self._lock is None:
            raise Unavailable(f"lake: {self._folder} is not open for writing", code="LAKE_CLOSED")

    def _append(self, rows: Table, position: Position) -> None:
        written: list[parquet.Written] = []
        try:
            if rows.num_rows:
                with self._engine.use() as connection:
                    written = parquet.write(rows, self._table, self._staging, connection)
            new_log = self._new_log(position)
            crash_point("lake.append.before_commit")
            self._publish(lambda now_ms: commits.append_lines(written, position, new_log, now_ms))
        except BaseException:
            if self._lock is not None:
                parquet.drop(written, self._table)
            raise
        crash_point("lake.append.after_commit")
        files = self._now.files + tuple(each.file for each in written)
        self._now = Snapshot(self._now.version, position, files)

    def _new_log(self, position: Position) -> dict[str, Any] | None:
        now = self._now.position
        if now is not None and position.log_id == now.log_id:
            return None
        table = tables.open_table(self._table)
        assert table is not None
        return commits.metadata_with_log(table, position.log_id)

    def _publish(self, lines_of: Callable[[int], bytes], still: Callable[[], bool] = lambda: True) -> bool:
        """Make the next version of these lines, given the time; False, and none, where `still` has become false by
        another writer's version. Under the mutex."""
        for _ in range(PUBLISH_ATTEMPTS):
            if not still():
                return False
            version = self._now.version + 1
            self._committed_ms = max(self._committed_ms, time.time_ns() // 1_000_000)
            try:
                commits.publish(lines_of(self._committed_ms), version, self._log, self._staging)
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
            self._now = Snapshot(version, self._now.position, self._now.files)
            return True
        raise Unavailable(f"lake: another writer took {PUBLISH_ATTEMPTS} versions in a row", code="LAKE_CONTENDED")

    def _merge(self, files: Sequence[DataFile]) -> Iterator[Part]:
        """Put one file in the place of these, or several where one would be too large, or one is damaged."""
        runs, damaged = compaction.sound(files, self._table)
        for file, reason in damaged:
            self._left_alone.add(file.path)
            yield care.part_of([file], left_alone=reason)
        with compaction.engine() as connection:
            for run in runs:
                for part, facts in compaction.fitting(run, compaction.facts_of(run, self._table, connection)):
                    yield from self._merge_part(part, facts, connection)

    def _merge_part(
        self, part: Sequence[DataFile], facts: Sequence[compaction.Facts], connection: duckdb.DuckDBPyConnection
    ) -> Iterator[Part]:
        if len(part) < 2:
            self._left_alone.add(part[0].path)
            return
        try:
            merged = compaction.merge(part, facts, self._table, self._staging, connection)
        except Damaged as error:
            self._left_alone.update(file.path for file in part)
            yield care.part_of(part, left_alone=error.detail)
            return
        if self._replace(part, merged):
            self._compacted_us = time.time_ns() // 1000
            yield care.part_of(part, bytes_after=merged.file.bytes)

    def _replace(self, files: Sequence[DataFile], merged: parquet.Written) -> bool:
        crash_point("lake.compact.before_commit")
        done = False
        try:
            done = self._change(
                files, [merged.file], lambda now_ms: commits.merge_lines(merged, files, self._now.position, now_ms)
            )
        finally:
            if not done and self._lock is not None:
                parquet.drop([merged], self._table)
        crash_point("lake.compact.after_commit")
        return done

    def _change(self, removed: Sequence[DataFile], added: Sequence[DataFile], lines_of: Callable[[int], bytes]) -> bool:
        """Commit care; False where some of `removed` are not in the table any more."""
        gone = {file.path for file in removed}
        with self._mutex:
            self._check_open()
            if not self._publish(lines_of, lambda: gone <= {file.path for file in self._now.files}):
                return False
            left = [file for file in self._now.files if file.path not in gone]
            self._now = Snapshot(self._now.version, self._now.position, tables.ordered([*left, *added]))
            self._checkpoint_if_due()
            return True

    def _delete(self, file: Unused) -> bool:
        """False where it is read just now."""
        path = self._table / file.path
        if views.is_pinned(path):
            return False
        path.unlink(missing_ok=True)
        crash_point("lake.vacuum.after_delete")
        return True

    def _drop_day(self, folder: Path) -> None:
        """An empty folder; an append may be about to write there."""
        with self._mutex:
            self._check_open()
            if not any(folder.iterdir()):
                folder.rmdir()
                sync(self._table)

    @contextmanager
    def _cared_for(self) -> Iterator[None]:
        """One care at a time. Raises Unavailable (LAKE_BUSY)."""
        self._check_open()
        if not self._caring.acquire(blocking=False):
            raise Unavailable(f"lake: {self._folder} is being compacted, expired or vacuumed", code="LAKE_BUSY")
        try:
            yield
        finally:
            self._caring.release()

    def _let_go(self) -> None:
        self._engine.close()
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
        set_aside = recovery.set_aside_torn(self._folder, self._log)
        recovery.drop_unsure_checkpoint(self._log)
        if not self._log.exists() or commits.versions(self._log) == (-1, -1):
            DeltaTable.create(self._table, schema=SCHEMA, partition_by=[PARTITION], configuration=CONFIGURATION)
        recovery.sync_tail(self._table, self._log)
        if not set_aside:
            self._drop_orphans()

    def _drop_orphans(self) -> None:
        """Delete data files beyond the position: they came before a commit that was never made."""
        self._load()
        listed = {file.path for file in self._now.files}
        last, _ = commits.versions(self._log)
        changed_ns = commits.path_of(last, self._log).stat().st_mtime_ns if last >= 0 else 0
        for folder in self._table.glob(f"{PARTITION}=*"):
            if folder.stat().st_mtime_ns < changed_ns - 1_000_000_000:
                continue
            for file in folder.iterdir():
                path = f"{folder.name}/{file.name}"
                match = parquet.NAME.fullmatch(path)
                if match and path not in listed and int(match[2]) > self._now.seq:
                    file.unlink()

    def _load(self) -> None:
        """Take version, position and files from the table as it is on the disk now."""
        self._now = tables.load(self._table) or self._now
        if not self._read_only and self._now.version >= 0 and not self._committed_ms:
            path = commits.path_of(self._now.version, self._log)
            self._committed_ms = commits.info_of(path).get("timestamp", 0) if path.exists() else 0

    def _checkpoint_if_due(self) -> None:
        """Fold the commits into one file, so that opening stays fast. The table is whole without it."""
        if self._now.version % COMMITS_PER_CHECKPOINT:
            return
        try:
            table = DeltaTable(self._table)
            table.create_checkpoint()
            for name in self._log.glob(f"{self._now.version:020d}.checkpoint*"):
                name.chmod(0o600)
                sync(name)
            (self._log / "_last_checkpoint").chmod(0o600)
            sync(self._log / "_last_checkpoint")
            sync(self._log)
        except (DeltaError, OSError):
            self._checkpoint_failures += 1
