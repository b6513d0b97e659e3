"""The embedded catalog: one SQLite file in WAL mode, fsynced at every commit, shared by all roles on the machine."""

import os
import sqlite3
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from headwater.domain.errors import BadInput, Conflict, Damaged, HeadwaterError, TooLarge, Unavailable
from headwater.observe.journal import get_journal
from headwater.storage.catalog.base import Stored
from headwater.storage.catalog.migrations import migrate
from headwater.storage.catalog.sqlite_jobs import SqliteJobs
from headwater.storage.catalog.sqlite_schedules import SqliteSchedules
from headwater.storage.durable import sync
from headwater.storage.log.base import Counts, SegmentCounts
from headwater.storage.urls import path_of

BODY_BYTES_MAX = 1_048_576
NAME_CHARACTERS_MAX = 512
ANSWER_KEPT_US = 24 * 3600 * 1_000_000
EXPIRED_PER_CALL_MAX = 100
"""Old answers removed at each new one, so that their number falls without a sweep of its own."""

_SELECT = (
    "select v.kind, v.project, v.name, v.version, v.body, v.crc, v.created_us, v.updated_us "
    "from objects o join versions v using (kind, project, name, version) where kind = ? and project = ? and name "
)

_ANSWER = "select answer from answers where project = ? and scope = ? and key = ? and kept_until_us > ?"


def open(url: str, busy_seconds_max: float = 5.0) -> "SqliteCatalog":
    """`busy_seconds_max` bounds every wait for another writer; then Unavailable with code CATALOG_BUSY."""
    return SqliteCatalog(Path(path_of(url)), busy_seconds_max)


class SqliteCatalog:
    """The contract is `base.Catalog`. One connection writes, behind a lock; readers take theirs from a pool.

    With one shared connection for all, 4 readers beside a writer got 90-120k reads/s at p99 70-310 us; with one each
    200-270k at 8-16 us. The pool keeps that and can still be closed from outside.
    """

    def __init__(self, path: Path, busy_seconds_max: float) -> None:
        self._path = path
        self._busy_seconds_max = busy_seconds_max
        self._lock = threading.Lock()
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        self.jobs = SqliteJobs(self._read, self._write, self._decoded)
        self.schedules = SqliteSchedules(self._read, self._write, self.jobs)
        with self._said("open"):
            _make_private(path)
            self._writer = self._connect()
            try:
                self._set_up()
            except BaseException:
                self._writer.close()
                raise

    def revision(self) -> int:
        ((revision,),) = self._read("select revision from head")
        return int(revision)

    def get(self, kind: str, project: str, name: str) -> Stored | None:
        rows = self._read(_SELECT + "= ?", kind, project, name)
        return self._stored(rows[0]) if rows else None

    def list(self, kind: str, project: str, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        rows = self._read(_SELECT + "> ? order by name limit ?", kind, project, after, limit)
        return [self._stored(row) for row in rows]

    def put(
        self, kind: str, project: str, name: str, body: Mapping[str, Any], *, if_version: int | None = None
    ) -> Stored:
        text = _json(kind, name, body)
        with self._write(kind, project, name) as con:
            present = _present(con, kind, project, name)
            _check_version(kind, name, present, if_version)
            (last,) = con.execute(
                "select coalesce(max(version), 0) from versions where kind = ? and project = ? and name = ?",
                (kind, project, name),
            ).fetchone()
            now = time.time_ns() // 1000
            created = now
            if present is not None:
                (created,) = con.execute(
                    "select created_us from versions where kind = ? and project = ? and name = ? and version = ?",
                    (kind, project, name, present),
                ).fetchone()
            row = (kind, project, name, last + 1, text, zlib.crc32(text.encode()), created, now)
            con.execute("insert into versions values (?, ?, ?, ?, ?, ?, ?, ?)", row)
            con.execute("insert or replace into objects values (?, ?, ?, ?)", row[:4])
            con.execute("update head set revision = revision + 1")
        return self._stored(row)

    def delete(self, kind: str, project: str, name: str, *, if_version: int | None = None) -> bool:
        with self._write(kind, project, name) as con:
            present = _present(con, kind, project, name)
            if present is None and if_version is None:
                return False
            _check_version(kind, name, present, if_version)
            con.execute("delete from objects where kind = ? and project = ? and name = ?", (kind, project, name))
            con.execute("update head set revision = revision + 1")
        return True

    def versions(self, kind: str, project: str, name: str) -> Sequence[Stored]:
        rows = self._read(
            "select kind, project, name, version, body, crc, created_us, updated_us from versions "
            "where kind = ? and project = ? and name = ? order by version desc",
            kind,
            project,
            name,
        )
        return [self._stored(row) for row in rows]

    def recall(self, project: str, scope: str, key: str) -> str | None:
        rows = self._read(_ANSWER, project, scope, key, time.time_ns() // 1000)
        return str(rows[0][0]) if rows else None

    def remember(self, project: str, scope: str, key: str, answer: str) -> str | None:
        now = time.time_ns() // 1000
        with self._write(project, scope, key, checkpoint=False) as con:
            kept = con.execute(_ANSWER, (project, scope, key, now)).fetchone()
            if kept is not None:
                return str(kept[0])
            row = (project, scope, key, answer, now + ANSWER_KEPT_US)
            con.execute("insert or replace into answers values (?, ?, ?, ?, ?)", row)
            con.execute(
                "delete from answers where (project, scope, key) in "
                "(select project, scope, key from answers where kept_until_us <= ? limit ?)",
                (now, EXPIRED_PER_CALL_MAX),
            )
        return None

    def add_trimmed(self, project: str, counts: SegmentCounts) -> None:
        text = msgspec.json.encode([[minute, source, n] for (minute, source), n in counts.counts.items()]).decode()
        row = (project, counts.log_id, counts.segment, counts.last_seq, text, zlib.crc32(text.encode()))
        with self._write(project, checkpoint=False) as con:
            con.execute("insert or ignore into trimmed values (?, ?, ?, ?, ?, ?)", row)

    def trimmed(self, project: str) -> Sequence[SegmentCounts]:
        rows = self._read(
            "select log_id, segment, last_seq, counts, crc from trimmed where project = ? order by last_seq, segment",
            project,
        )
        return [
            SegmentCounts(log_id, segment, last_seq, self._counts(text, crc, f"trimmed segment {segment} of {project}"))
            for log_id, segment, last_seq, text, crc in rows
        ]

    def add_refused(self, project: str, counts: Counts) -> None:
        with self._write(project, checkpoint=False) as con:
            con.executemany(
                "insert into refused values (?, ?, ?, ?) on conflict do update set n = n + excluded.n",
                [(project, minute, source, n) for (minute, source), n in counts.items()],
            )

    def refused(self, project: str, minute_from: int, minute_to: int) -> Counts:
        rows = self._read(
            "select minute, source, n from refused where project = ? and minute >= ? and minute < ?",
            project,
            minute_from,
            minute_to,
        )
        return {(minute, source): n for minute, source, n in rows}

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        con = sqlite3.connect(self._path, timeout=self._busy_seconds_max, isolation_level=None, check_same_thread=False)
        con.execute("pragma synchronous = full")
        con.execute("pragma trusted_schema = off")
        return con

    def _set_up(self) -> None:
        deadline = time.monotonic() + self._busy_seconds_max
        while True:
            try:
                self._writer.execute("pragma journal_mode = wal").fetchall()
                break
            except sqlite3.OperationalError as error:
                # Turning a new file to WAL fails at once, past the busy timeout, when two roles start together.
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        migrate(self._writer, self._path)
        ((found,),) = self._writer.execute("pragma quick_check(1)").fetchall()
        if found != "ok":
            raise self._damaged(found)
        self._checkpoint()

    def _read(self, sql: str, *values: Any) -> Sequence[Any]:
        with self._said("read"):
            try:
                con = self._idle.pop()
            except IndexError:
                self._check_open()
                con = self._connect()
            try:
                return con.execute(sql, values).fetchall()
            finally:
                self._idle.append(con)
                if self._closed:
                    self._drain()

    @contextmanager
    def _write(
        self, *names: str, checkpoint: bool = True, busy_seconds_max: float | None = None
    ) -> Iterator[sqlite3.Connection]:
        """One transaction, durable after the block. Waits at most `busy_seconds_max` (default: the catalog's own) for
        writers of this process, and as long again for those of others."""
        for name in names:
            _check_name(name)
        wait = self._busy_seconds_max if busy_seconds_max is None else busy_seconds_max
        if not self._lock.acquire(timeout=wait):
            raise self._busy()
        try:
            self._check_open()
            with self._said("write"):
                self._begin(wait)
                try:
                    yield self._writer
                except BaseException:
                    self._roll_back()
                    raise
                self._commit()
            if checkpoint:
                self._checkpoint()
        finally:
            self._lock.release()

    def _begin(self, busy_seconds_max: float) -> None:
        if busy_seconds_max == self._busy_seconds_max:
            self._writer.execute("begin immediate")
            return
        self._writer.execute(f"pragma busy_timeout = {busy_seconds_max * 1000:.0f}")
        try:
            self._writer.execute("begin immediate")
        finally:
            self._writer.execute(f"pragma busy_timeout = {self._busy_seconds_max * 1000:.0f}")

    def _commit(self) -> None:
        try:
            self._writer.execute("commit")
        except sqlite3.Error as error:
            self._roll_back()
            if _primary(error) == sqlite3.SQLITE_IOERR:
                raise Unavailable(
                    f"catalog: {self._path}: {error} while committing: the change may or may not be there; look, "
                    "and make it again where it is not",
                    code="OUTCOME_UNKNOWN",
                    path=str(self._path),
                ) from error
            raise

    def _roll_back(self) -> None:
        if self._writer.in_transaction:  # SQLite itself rolls back after some errors
            self._writer.execute("rollback")

    def _checkpoint(self) -> None:
        """Move what is in the WAL into the file, where damage is found: a flipped bit in the WAL drops all later
        commits without an error, so that a revoked key would work again. Costs 12 ms; objects change rarely."""
        try:
            self._writer.execute("pragma wal_checkpoint(passive)").fetchall()
        except sqlite3.OperationalError as error:
            # The commit is durable in the WAL already, and the next change tries again.
            get_journal("application").warning("catalog_checkpoint_failed", file=str(self._path), reason=str(error))

    @contextmanager
    def _said(self, doing: str) -> Iterator[None]:
        """SQLite's errors in our words."""
        try:
            yield
        except HeadwaterError:
            raise
        except sqlite3.ProgrammingError:
            self._check_open()
            raise
        except sqlite3.Error as error:
            raise self._error(doing, error) from error
        except OSError as error:
            raise Unavailable(
                f"catalog: cannot {doing} {self._path}: {error.strerror}; check the folder, its owner and its rights",
                code="CATALOG_UNAVAILABLE",
                path=str(self._path),
            ) from error

    def _error(self, doing: str, error: sqlite3.Error) -> HeadwaterError:
        primary = _primary(error)
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(str(error))
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self._busy()
        code, cure = {
            sqlite3.SQLITE_FULL: ("DISK_FULL", "free some space"),
            sqlite3.SQLITE_READONLY: ("READ_ONLY", "make the file and its folder writable"),
        }.get(primary, ("CATALOG_UNAVAILABLE", "check the disk, the folder, its owner and its rights"))
        return Unavailable(f"catalog: cannot {doing} {self._path}: {error}; {cure}", code=code, path=str(self._path))

    def _damaged(self, found: str) -> Damaged:
        return Damaged(
            f"catalog: {self._path} is damaged ({found}); stop headwater, move the file away and put back your backup "
            f"of it, or a copy named {self._path.name}.before-NNNN from beside it",
            code="CATALOG_DAMAGED",
            path=str(self._path),
        )

    def _busy(self) -> Unavailable:
        return Unavailable(
            f"catalog: {self._path} was held by another writer for more than {self._busy_seconds_max:g} s; try again",
            code="CATALOG_BUSY",
            limit=self._busy_seconds_max,
            retry_after_seconds=1,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("catalog: it is closed", code="CATALOG_CLOSED")

    def _drain(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def _stored(self, row: Sequence[Any]) -> Stored:
        kind, project, name, version, body, crc, created_us, updated_us = row
        what = f"version {version} of {kind} {name!r}"
        return Stored(kind, project, name, version, self._decoded(body, crc, what), created_us, updated_us)

    def _counts(self, text: str, crc: int, what: str) -> Counts:
        return {(minute, source): n for minute, source, n in self._decoded(text, crc, what)}

    def _decoded(self, text: str, crc: int, what: str) -> Any:
        if zlib.crc32(text.encode()) != crc:
            raise self._damaged(f"{what} has a wrong checksum")
        return msgspec.json.decode(text)


def _primary(error: sqlite3.Error) -> int:
    """SQLite's result code without its extended bits."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _make_private(path: Path) -> None:
    """The file 0600 (SQLite gives its -wal and -shm the same), missing folders 0700; existing folders are left."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    # An existing file is never opened here: closing any descriptor of it would drop the locks that this process's
    # other connections hold, and the next process to leave would remove the WAL under their hands.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    sync(path.parent)


def _present(con: sqlite3.Connection, kind: str, project: str, name: str) -> int | None:
    row = con.execute(
        "select version from objects where kind = ? and project = ? and name = ?", (kind, project, name)
    ).fetchone()
    return None if row is None else int(row[0])


def _check_version(kind: str, name: str, present: int | None, if_version: int | None) -> None:
    if if_version is None or if_version == (present or 0):
        return
    if if_version == 0:
        raise Conflict(f"{kind} {name!r} exists already, at version {present}", code="ALREADY_EXISTS", value=name)
    now = "it is gone" if present is None else f"it is at version {present}"
    raise Conflict(
        f"{kind} {name!r} is no longer at version {if_version}: {now}; read it again and repeat the change",
        code="VERSION_MISMATCH",
        value=if_version,
        limit=present,
    )


def _check_name(name: str) -> None:
    if len(name) > NAME_CHARACTERS_MAX or "\0" in name or not name.isprintable():
        raise BadInput(
            f"name {name[:60]!r}: expected at most {NAME_CHARACTERS_MAX} printable characters, got {len(name)}",
            code="INVALID_NAME",
            limit=NAME_CHARACTERS_MAX,
        )


def _json(kind: str, name: str, body: Mapping[str, Any]) -> str:
    text = msgspec.json.encode(dict(body))
    if len(text) > BODY_BYTES_MAX:
        raise TooLarge(
            f"{kind} {name!r}: {len(text)} bytes, at most {BODY_BYTES_MAX} are kept",
            code="OBJECT_TOO_LARGE",
            value=len(text),
            limit=BODY_BYTES_MAX,
        )
    return text.decode()
