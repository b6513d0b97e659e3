"""The warehouse of one project in one DuckDB file."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from headwater.domain.errors import BadInput, Conflict, Unavailable
from headwater.domain.plans import Plan, Table
from headwater.storage.log.base import Position
from headwater.storage.urls import path_of
from headwater.storage.warehouse.base import Block, Cancel, LedgerPage, Loaded, Receipt
from headwater.storage.warehouse.duckdb import load, migrate, reads, seal
from headwater.storage.warehouse.duckdb.failures import damaged, no_access, translate, translated
from headwater.storage.warehouse.duckdb.files import Files
from headwater.storage.warehouse.duckdb.load import Written
from headwater.storage.warehouse.duckdb.mark import Mark
from headwater.storage.warehouse.duckdb.sql import compile_plan, rows_in_range
from headwater.storage.warehouse.duckdb.stopping import Stopping

FOLD_LOADS = 20_000
"""Loads after which the ledger's deltas are folded even where nothing is sealed."""
RETRY_SECONDS = 30.0
"""Before a piece of upkeep that failed is tried again."""
TEMP_BYTES_MAX = 8 << 30


def open(url: str, **settings: Any) -> "DuckWarehouse":
    """`url`: `duckdb:///path/of/warehouse.duckdb`; the folder is made. Settings: see DuckWarehouse."""
    return DuckWarehouse(Path(path_of(url)), **settings)


class DuckWarehouse:
    def __init__(
        self,
        path: Path,
        *,
        memory_bytes_max: int = 512 << 20,
        threads: int = 2,
        seal_rows: int = 375_000,
        seal_rows_min: int = 30_000,
        seal_age_seconds: float = 3600.0,
        wal_bytes_max: int = 64 << 20,
        temp_bytes_max: int = TEMP_BYTES_MAX,
        migrations: Path = migrate.FOLDER,
    ) -> None:
        """Seals once `seal_rows` are hot, or `seal_rows_min` of which the oldest is `seal_age_seconds` old.

        The write-ahead log is replayed at about 100 MB/s at the next start: `wal_bytes_max` bounds that.
        """
        self.files = Files(path)
        self.seal_rows = seal_rows
        self.seal_rows_min = seal_rows_min
        self.seal_age_seconds = seal_age_seconds
        self.wal_bytes_max = wal_bytes_max
        self._config: dict[str, Any] = {
            "memory_limit": f"{memory_bytes_max >> 10}KiB",
            "threads": threads,
            "temp_directory": str(self.files.temp),
            "max_temp_directory_size": f"{temp_bytes_max >> 10}KiB",
            "checkpoint_threshold": "1TB",  # only ours run: one of DuckDB's own stalls a commit for up to 2 s
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "preserve_insertion_order": "true",  # a seal is in time order, which is what zone maps prune by
        }
        self._migrations = migrate.steps_in(migrations)
        self._writing = threading.RLock()
        self._con: duckdb.DuckDBPyConnection | None = None
        self._upkeep = seal.Upkeep()
        try:
            self.files.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mark = Mark(self.files.mark)
        except OSError as error:
            raise no_access(self.files.database, error) from error
        try:
            self._connect()
        except BaseException:
            self._mark.close()
            raise

    # Opening and closing

    def _connect(self) -> None:
        with translated(self.files.database, opening=True):
            con = self._migrated()
            try:
                self._read_stand(con)
                if self.files.guard():
                    # What was replayed is not written after: a log cut short by damage would hide all that follows.
                    con.execute("checkpoint").fetchall()
                for statement in ("set enable_external_access = false", "set lock_configuration = true"):
                    con.execute(statement)
                self.files.empty_temp()
            except BaseException:
                con.close()
                raise
        self._con = con

    def _migrated(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(str(self.files.database), config=self._config)
        try:
            steps, used = migrate.pending(con, self.files.database, self._migrations)
            if steps and used:
                con.close()
                migrate.copy_of(self.files.database, steps[0].number)
                con = duckdb.connect(str(self.files.database), config=self._config)
            if steps:
                migrate.apply(con, steps)
            con.execute(
                "insert into engines select version(), make_timestamp(?) "
                "where version() is distinct from (select arg_max(version, opened_at) from engines)",
                [_now_us()],
            )
        except BaseException:
            con.close()
            raise
        return con

    def _read_stand(self, con: duckdb.DuckDBPyConnection) -> None:
        stand = reads.stand(con)
        mark = self._mark.read()
        if mark is not None and (stand.position is None or stand.position.seq < mark.seq):
            at = "nothing" if stand.position is None else f"events up to {stand.position.seq}"
            raise damaged(self.files.database, f"it holds {at}, and held events up to {mark.seq} before")
        self._position, self._committed_us = stand
        self._unsealed: int
        self._oldest_us: int | None
        ((self._settled,),) = con.execute("select coalesce(max(seq), 0) from seals").fetchall()
        ((self._rows_hot,),) = con.execute("select count(*) from hot").fetchall()
        ((self._rows_sealed,),) = con.execute("select count(*) from events").fetchall()
        ((self._quarantined,),) = con.execute("select count(*) from quarantine").fetchall()
        ((self._last_seal_us,),) = con.execute("select epoch_us(max(sealed_at)) from seals").fetchall()
        ((self.engine_version,),) = con.execute("select version()").fetchall()
        self._count_unsealed(con)
        self._loads_unfolded = 0
        self._retry_at = 0.0
        self._stale = False
        self._wal_bytes = self.files.guard()

    def _count_unsealed(self, con: duckdb.DuckDBPyConnection) -> None:
        """And since when the oldest is here: by its load, or what a rebuild loads would seem old at once."""
        ((self._unsealed, first),) = con.execute(
            "select count(*), min(seq) from hot where seq > ?", [self._settled]
        ).fetchall()
        ((self._oldest_us,),) = con.execute(
            "select epoch_us(min(committed_at)) from positions where seq >= ?", [first]
        ).fetchall()

    def close(self) -> None:
        """A seal under way is undone. Idempotent."""
        with self._writing:
            if self._con is None:
                return
            self._upkeep.stop()
            con, self._con = self._con, None
            try:
                with translated(self.files.database):
                    con.execute("checkpoint").fetchall()
            finally:
                con.close()
                self._mark.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._con is None:
            raise Unavailable(f"warehouse: {self.files.database} is closed", code="WAREHOUSE_CLOSED")
        return self._con

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A reader of its own for the calling thread."""
        with translated(self.files.database):
            cursor = self._open().cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    # Writing

    def position(self) -> Position | None:
        if self._stale:
            with self._writing:
                self._refresh()
        return self._position

    def load(self, block: Block) -> Loaded:
        """A block that lies wholly behind the position does nothing and returns zeros: so one whose outcome was not
        known, for an IO error during the commit, can be sent again."""
        with self._writing:
            self._refresh()
            at = self._position
            if at is not None and at.log_id == block.position.log_id and block.position.seq <= at.seq:
                return Loaded(0, 0, 0, 0, 0, self._committed_us, {})
            if at is not None and block.after_seq != at.seq:
                raise Conflict(
                    f"the block follows seq {block.after_seq}, the warehouse stands at {at.seq}",
                    code="POSITION_CONFLICT",
                    value=block.after_seq,
                    limit=at.seq,
                )
            # Never back, so that seq and time of commit rise together.
            committed_us = max(_now_us(), self._committed_us)
            try:
                written = load.write(self._open(), block, committed_us)
            except duckdb.Error as error:
                failure = translate(error, self.files.database)
                self._stale = not isinstance(failure, BadInput)
                raise failure from error
            self._position, self._committed_us = block.position, committed_us
            self._mark.write(block.position)
            self._count(written)
        counts = (written.stored, written.duplicate, written.quarantined, written.suppressed)
        return Loaded(*counts, sum(block.lost.values()), committed_us, written.seconds)

    def check(self, block: Block) -> None:
        with self._writing, translated(self.files.database):
            load.check(self._open(), block)

    def _count(self, written: Written) -> None:
        if written.stored and not self._unsealed:
            self._oldest_us = self._committed_us
        self._rows_hot += written.stored
        self._unsealed += written.stored
        self._quarantined += written.quarantined
        self._loads_unfolded += 1
        self._wal_bytes = self.files.guard()

    def _refresh(self) -> None:
        """After an error of the disk: whether the last commit was made is read from the database, opened anew."""
        if not self._stale:
            return
        self._upkeep.stop()
        con, self._con = self._open(), None
        try:
            con.close()
        except duckdb.Error:
            # Closing makes a checkpoint, which fails for what the load failed for; nothing is lost, the next opening
            # replays the write-ahead log.
            pass
        self._con = con
        self._connect()

    # Upkeep

    def maintain(self) -> bool:
        """Starts a seal beside the loads, or ends one with a checkpoint, or makes a checkpoint that is due."""
        with self._writing:
            if self._upkeep.running or self._stale or time.monotonic() < self._retry_at:
                return False
            if self._upkeep.started:
                self._end_upkeep()
                return True
            rows = self._due()
            if rows or self._loads_unfolded >= FOLD_LOADS:
                self._loads_unfolded = 0
                self._upkeep.start(self._open().cursor(), self._settled, rows, _now_us())
                return True
            if self._wal_bytes > self.wal_bytes_max:
                self._checkpoint()
                return True
            return False

    def _due(self) -> int:
        """Rows to seal; after a failure for memory fewer at once."""
        if self._unsealed >= self.seal_rows:
            return self._unsealed if not self._upkeep.failures else min(self._unsealed, seal.ROW_GROUP)
        if self._unsealed >= max(self.seal_rows_min, 1) and self._oldest_us is not None:
            age_us = _now_us() - self._oldest_us
            return self._unsealed if age_us >= self.seal_age_seconds * 1_000_000 else 0
        return 0

    def _end_upkeep(self) -> None:
        begin = self._settled
        try:
            sealed = self._upkeep.take()
        except duckdb.Error as error:
            if seal.tell(error, begin, self._upkeep.failures):
                with translated(self.files.database):
                    self._read_stand(self._open())
                self._retry_at = time.monotonic() + (RETRY_SECONDS if self._upkeep.failures < seal.FAILURES_MAX else 0)
                return
            self._stale = True
            raise translate(error, self.files.database) from error
        if sealed is not None:
            self._settled = sealed.end
            self._rows_hot -= sealed.moved
            self._rows_sealed += sealed.moved
            self._last_seal_us = _now_us()
            with translated(self.files.database):
                self._count_unsealed(self._open())
        self._checkpoint()

    def _checkpoint(self) -> None:
        try:
            self._open().execute("checkpoint").fetchall()
        except duckdb.TransactionException:
            # Another write is under way: none of ours can be, but then the next round does it.
            self._retry_at = time.monotonic() + 1.0
            return
        except duckdb.Error as error:
            self._stale = True
            raise translate(error, self.files.database) from error
        self._wal_bytes = self.files.guard()

    # Reading

    def run(self, plan: Plan, timeout_seconds: float, cancel: Cancel | None = None) -> Table:
        started = time.perf_counter()
        statement, counted = compile_plan(plan), rows_in_range(plan)
        with self._cursor() as cursor, Stopping(cursor, timeout_seconds) as stopping:
            if cancel is not None:
                cancel.bind(stopping.cancel)
            try:
                with reads.snapshot(cursor) as at:
                    cursor.execute(statement.sql, statement.params)
                    # A VARIANT 5,000 levels deep as a Python object overflowed the C stack and killed the process.
                    assert not any(str(column[1]) == "VARIANT" for column in cursor.description or ()), statement.sql
                    rows = cursor.fetchall()
                    ((rows_read,),) = cursor.execute(counted.sql, counted.params).fetchall()
            finally:
                if cancel is not None:
                    cancel.bind(None)
        seq = at.position.seq if at.position is not None else 0
        return Table(statement.columns, rows, rows_read, seq, at.committed_us, time.perf_counter() - started)

    def ledger(self, minute_from: int, minute_to: int, source: str | None) -> LedgerPage:
        with self._cursor() as cursor:
            return reads.ledger(cursor, minute_from, minute_to, source)

    def receipts(self, event_id: str, source: str | None) -> Sequence[Receipt]:
        with self._cursor() as cursor:
            return reads.receipts(cursor, event_id, source)

    def digest(self, seq_max: int) -> Mapping[str, tuple[int, int]]:
        with self._cursor() as cursor:
            return reads.digest(cursor, seq_max)

    def facts(self) -> Mapping[str, Any]:
        """Costs no query."""
        return {
            "rows_hot": self._rows_hot,
            "rows_sealed": self._rows_sealed,
            "rows_unsealed": self._unsealed,
            "quarantined": self._quarantined,
            "bytes": _size_of(self.files.database),
            "wal_bytes": _size_of(self.files.wal),
            "engine_version": self.engine_version,
            "last_seal_us": self._last_seal_us,
            "sealing": self._upkeep.started,
            "seal_failures": self._upkeep.failures,
        }


def _now_us() -> int:
    return time.time_ns() // 1000


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
