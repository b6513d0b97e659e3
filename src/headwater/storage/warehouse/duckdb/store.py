"""The warehouse of one project in one DuckDB file."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from headwater.domain.errors import BadInput, Conflict, Unavailable
from headwater.domain.plans import Plan, Table
from headwater.domain.retention import Horizon, Removal
from headwater.storage.log.base import Position
from headwater.storage.urls import path_of
from headwater.storage.warehouse.base import (
    Advance,
    Block,
    Cancel,
    LedgerPage,
    LedgerRow,
    Loaded,
    Receipt,
    Removable,
    Removed,
    Space,
    Tally,
    Warehouse,
)
from headwater.storage.warehouse.duckdb import engine, examine, load, migrate, reads, reclaim, removals, seal, switch
from headwater.storage.warehouse.duckdb.failures import damaged, no_access, translate, translated
from headwater.storage.warehouse.duckdb.files import Files
from headwater.storage.warehouse.duckdb.load import Written
from headwater.storage.warehouse.duckdb.mark import Mark
from headwater.storage.warehouse.duckdb.removals import Slice
from headwater.storage.warehouse.duckdb.sql import compile_plan, rows_in_range
from headwater.storage.warehouse.duckdb.stopping import Stopping

FOLD_LOADS = 20_000
"""Loads after which the ledger's deltas are folded even where nothing is sealed."""
RETRY_SECONDS = 30.0
"""Before a piece of upkeep that failed is tried again."""
HURRY = 1.25
"""Times `seal_rows` that wait to be sealed from which on a seal does no longer step back for the loads."""
TEMP_BYTES_MAX = 8 << 30
STATEMENTS = (
    # We make it ourselves in `close`. The last reader of a file that was switched away from would write to what has its
    # name by then.
    "pragma disable_checkpoint_on_shutdown",
    "set enable_external_access = false",
    "set lock_configuration = true",
)
REMOVED_PER_CHECKPOINT = 1_000_000
"""Rows, after which a checkpoint makes the space of removed ones free for new ones."""
TURN_SECONDS = 0.01
UNMAINTAINED_SECONDS = 2.0
CLOSE_SECONDS = 5.0


SHARED = (
    "home",
    "seal_rows",
    "seal_rows_min",
    "seal_age_seconds",
    "wal_bytes_max",
    "_writing",
    "_migrations",
    "_maintained_at",
)
"""What a warehouse keeps of its own when it goes on with another file."""


def open(url: str, **settings: Any) -> "DuckWarehouse":
    """`url`: `duckdb:///path/of/warehouse.duckdb`; the folder is made. Settings: see DuckWarehouse."""
    return DuckWarehouse(Path(path_of(url)), **settings)


def beside(url: str, name: str) -> str:
    switch.settle(Path(path_of(url)))
    switch.sweep(Path(path_of(url)), but=name)
    return f"duckdb://{switch.next_of(Path(path_of(url)), name)}"


def replace(url: str, new_url: str) -> None:
    home = Path(path_of(url))
    switch.point(home, Path(path_of(new_url)))
    switch.settle(home)


def drop_kept(url: str) -> int:
    return sum(switch.remove(each) for each in switch.kept(Path(path_of(url))))


def discard(url: str) -> int:
    return switch.remove(Path(path_of(url)))


class DuckWarehouse:
    def __init__(
        self,
        path: Path,
        *,
        memory_bytes_max: int = 512 << 20,
        threads: int = 2,
        seal_rows: int = 250_000,
        seal_rows_min: int = 30_000,
        seal_age_seconds: float = 3600.0,
        wal_bytes_max: int = 128 << 20,
        temp_bytes_max: int = TEMP_BYTES_MAX,
        migrations: Path = migrate.FOLDER,
        read_only: bool = False,
    ) -> None:
        """`read_only` changes nothing, of the file or beside it; nothing can be loaded then.

        Seals once `seal_rows` are hot, or `seal_rows_min` of which the oldest is `seal_age_seconds` old.

        The write-ahead log is replayed at about 100 MB/s at the next start: `wal_bytes_max` bounds that.
        """
        self.home = path
        self.read_only = read_only
        self.files = Files(switch.current(path) if read_only else path)
        self.seal_rows = seal_rows
        self.seal_rows_min = seal_rows_min
        self.seal_age_seconds = seal_age_seconds
        self.wal_bytes_max = wal_bytes_max
        self._config: dict[str, Any] = {
            "memory_limit": f"{memory_bytes_max >> 10}KiB",
            "allowed_configs": ["memory_limit"],  # the one that may change once the rest is locked
            "threads": threads,
            "temp_directory": str(self.files.temp),
            "max_temp_directory_size": f"{temp_bytes_max >> 10}KiB",
            "write_buffer_row_group_count": 1,  # with 5 a seal's last row groups wait for its commit, and in memory
            # With the 100 of the default, a checkpoint rewrites row groups that are half empty, and the loads wait for
            # it: 4 s for 25 of them. Empty ones are freed all the same.
            "max_vacuum_tasks": "0",
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
        self._resting = threading.Event()
        """Not set while rows are removed or moved beside the loads: as long, nothing is sealed."""
        self._resting.set()
        self._maintained_at = 0.0
        self.engine_copy: Path | None = None
        """Made at this opening, since the version of DuckDB has changed."""
        try:
            if read_only and not self.files.database.exists():
                raise damaged(self.files.database, "it is gone")
            self.files.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not read_only:
                switch.settle(path)
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
            con = self._looked_at() if self.read_only else self._migrated()
            try:
                self._read_stand(con)
                if self.read_only:
                    self._con = con
                    return
                if self.files.guard():
                    # What was replayed is not written after: a log cut short by damage would hide all that follows.
                    con.execute("checkpoint").fetchall()
                for statement in STATEMENTS:
                    con.execute(statement)
                switch.forget_old(self.home)
                self.files.empty_temp()
                self._loader = load.Loader(con)
            except BaseException:
                con.close()
                raise
        self._con = con

    def _looked_at(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(str(self.files.database), read_only=True, config=self._config)
        try:
            if migrate.pending(con, self.files.database, self._migrations)[0]:
                raise Unavailable(
                    f"warehouse: {self.files.database} has an older format, which the next start brings up to date",
                    code="WAREHOUSE_UNAVAILABLE",
                    path=str(self.files.database),
                    hint="headwater serve",
                )
        except BaseException:
            con.close()
            raise
        return con

    def _migrated(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(str(self.files.database), config=self._config)
        try:
            steps, used = migrate.pending(con, self.files.database, self._migrations)
            before = engine.changed(con, self.files.database) if used else None
            if before is not None:
                engine.let_go(con)
                self.engine_copy = engine.keep_copy(self.files, before, f"v{duckdb.__version__}")
                con = duckdb.connect(str(self.files.database), config=self._config)
            if steps and used:
                con.close()
                migrate.copy_of(self.files.database, steps[0].number)
                con = duckdb.connect(str(self.files.database), config=self._config)
            if steps:
                migrate.apply(con, steps)
            if before is not None:
                engine.distrust(con, before)
            engine.record(con, _now_us())
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
        ((self._quarantined,),) = con.execute(
            "select count(*) from quarantine anti join replayed using (seq)"
        ).fetchall()
        ((self._last_seal_us,),) = con.execute("select epoch_us(max(sealed_at)) from seals").fetchall()
        ((self.engine_version,),) = con.execute("select version()").fetchall()
        self._count_unsealed(con)
        self._removals = removals.recorded(con)
        self._removed_since_checkpoint = 0
        self._loads_unfolded = 0
        self._retry_at = 0.0
        self._stale = False
        self._checkpoint_due = False
        self._wal_bytes = self.files.guard()

    def _count_unsealed(self, con: duckdb.DuckDBPyConnection) -> None:
        """And since when the oldest is here: by its load, or what a rebuild loads would seem old at once."""
        ((self._unsealed, first),) = con.execute(
            "select count(*), min(seq) from hot where seq > ?", [self._settled]
        ).fetchall()
        ((self._oldest_us,),) = con.execute(
            "select epoch_us(min(committed_at)) from positions where seq >= ?", [first]
        ).fetchall()

    def resize(self, memory_bytes_max: int) -> None:
        self._set_memory(f"{memory_bytes_max >> 10}KiB")

    def close(self) -> None:
        """A seal under way is undone, a step of a removal is ended. Idempotent."""
        self._resting.wait(CLOSE_SECONDS)
        with self._writing:
            if self._con is None:
                return
            self._upkeep.stop()
            con, self._con = self._con, None
            try:
                if not self.read_only:
                    with translated(self.files.database):
                        con.execute("checkpoint").fetchall()
            finally:
                con.close()
                self._mark.close()
            if not self.read_only:
                switch.settle(self.home)

    # Another file in its place

    def beside(self, name: str, memory_bytes_max: int) -> "DuckWarehouse":
        database = switch.next_of(self.home, name)
        if database == self.files.database:
            raise Conflict(f"warehouse: {database} is in use already", code="ALREADY_EXISTS", value=name)
        switch.sweep(self.home, but=name)
        return DuckWarehouse(database, memory_bytes_max=memory_bytes_max, threads=1)

    def switch(self, new: Warehouse, finish: Callable[[Position | None], None]) -> Callable[[], None]:
        """While the last readers are at it the old file keeps its name; `retire` gives it that of a copy."""
        assert isinstance(new, DuckWarehouse) and new is not self
        self._resting.wait()
        with self._writing:
            self._refresh()
            held, files, mark, upkeep = [self._open()], self.files, self._mark, self._upkeep
            finish(self._position)
            with new._writing:
                if new._stale or new._position != self._position:
                    raise Conflict(
                        f"the new warehouse stands at {new._position}, this one at {self._position}",
                        code="POSITION_CONFLICT",
                    )
                new._open()
                pointer = switch.point(self.home, new.files.database)
                upkeep.stop()
                memory_limit = self._config["memory_limit"]
                vars(self).update({name: value for name, value in vars(new).items() if name not in SHARED})
                new._con = None
            self._set_memory(memory_limit)

        def retire() -> None:
            # Let go of, not closed, which would close the readers under way: the last of them closes the database.
            # Nobody writes to it any more.
            with translated(files.database):
                held.pop().execute("checkpoint").fetchall()
            mark.close()
            switch.move(files.database, pointer.kept)

        return retire

    def drop_begun(self) -> None:
        switch.sweep(self.home)

    def kept_bytes(self, *, drop: bool = False) -> int:
        held = switch.kept(self.home)
        return sum(switch.remove(each) if drop else _size_of(each) for each in held)

    def _set_memory(self, limit: str) -> None:
        self._config["memory_limit"] = limit
        with self._cursor() as cursor:
            cursor.execute(f"set memory_limit = '{limit}'")

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
                self._open()
                before_us = self._horizon().before_us
                written = self._loader.write(block, committed_us, before_us=before_us)
            except duckdb.Error as error:
                failure = translate(error, self.files.database)
                self._stale = not isinstance(failure, BadInput)
                raise failure from error
            self._position, self._committed_us = block.position, committed_us
            self._mark.write(block.position)
            self._count(written)
        counts = (written.stored, written.duplicate, written.quarantined, written.suppressed)
        return Loaded(*counts, sum(block.lost.values()), committed_us, written.seconds, written.removed)

    def check(self, block: Block) -> None:
        with self._writing, translated(self.files.database):
            self._open()
            self._loader.check(block)

    def _count(self, written: Written) -> None:
        if written.stored and not self._unsealed:
            self._oldest_us = self._committed_us
        self._rows_hot += written.stored
        self._unsealed += written.stored
        self._quarantined += written.quarantined - written.closed
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
        """Starts a seal beside the loads, commits one, or makes a checkpoint that is due: each in a round of its own,
        so that a load can come in between."""
        with self._writing:
            self._maintained_at = time.monotonic()
            return self._maintain()

    def _maintain(self) -> bool:
        with self._writing:
            if self._upkeep.running or not self._resting.is_set() or self._stale or time.monotonic() < self._retry_at:
                return False
            if self._upkeep.started:
                self._end_upkeep()
                return True
            if self._checkpoint_due:
                self._checkpoint()
                return True
            rows = self._due()
            if rows or self._loads_unfolded >= FOLD_LOADS:
                self._loads_unfolded = 0
                hurried = self._unsealed > HURRY * self.seal_rows
                self._upkeep.start(self._open().cursor(), self._settled, rows, _now_us(), hurried=hurried)
                return True
            if self._wal_bytes > self.wal_bytes_max:
                self._checkpoint()
                return True
            return False

    def _due(self) -> int:
        """Rows to seal; after a failure for memory fewer at once."""
        full = self._wal_bytes > self.wal_bytes_max and self._unsealed >= seal.ROW_GROUP
        if self._unsealed >= self.seal_rows or full:
            # A checkpoint writes what is hot, which the next seal would write again: 0.8 s of CPU for 200k rows. So
            # where a long log asks for one, the seal comes first.
            most = max(self.seal_rows, seal.ROW_GROUP) if not self._upkeep.failures else seal.ROW_GROUP
            return min(self._unsealed, most)
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
        self._checkpoint_due = True

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
        self._checkpoint_due = False
        self._wal_bytes = self.files.guard()

    # Removing

    def _horizon(self) -> Horizon:
        return self._removals[-1].horizon if self._removals else Horizon()

    def removals(self) -> Sequence[Removal]:
        return list(self._removals)

    def removable(self, horizon: Horizon) -> Removable:
        rows = self._rows_hot + self._rows_sealed
        bytes_per_event = _size_of(self.files.database) / rows if rows else 0.0
        with self._cursor() as cursor, reads.snapshot(cursor):
            return removals.removable(cursor, self._horizon().joined(horizon), bytes_per_event)

    def raise_horizon(self, horizon: Horizon) -> Horizon:
        with self._writing, translated(self.files.database):
            self._refresh()
            held = self._horizon()
            if not held.reaches(horizon):
                con, joined = self._open(), held.joined(horizon)
                seq = self._position.seq if self._position else 0
                removals.record(con, joined, seq, _now_us())
                self._removals = removals.recorded(con)
            return self._horizon()

    def carry(self, rows: Sequence[LedgerRow]) -> None:
        with self._writing, translated(self.files.database):
            self._refresh()
            if self._position is not None:
                raise Conflict(f"warehouse: counts are carried into a new one; this stands at {self._position.seq}")
            load.carry(self._open(), rows)

    def remove_some(self) -> Removed | None:
        with self._turn() as cursor:
            taken = removals.remove_slice(cursor, self._horizon())
            with self._writing:
                if taken is not None:
                    self._commit_beside(cursor)
                self._count_removed(taken)
        return removals.removed_of(taken) if taken is not None else None

    def space(self) -> Space:
        with self._cursor() as cursor:
            return reclaim.space(cursor)

    def reclaim(self) -> Iterator[Space]:
        con, space, idle = self._con, self.space(), 0
        for _ in range(reclaim.PASSES_MAX):
            if not reclaim.is_worth(space) or con is not self._con:
                return
            for table in reclaim.MOVED:
                yield from self._move_all(table, con)
            with self._turn() as cursor, self._writing:
                reclaim.touch(cursor)
                self._checkpoint_due = True
            with self._turn():  # which makes the checkpoint, once a seal that is due has ended
                before, space = space, self.space()
            yield space
            idle = idle + 1 if space.total_bytes > reclaim.SHRINKS * before.total_bytes else 0
            if idle > 1:
                return

    def _move_all(self, table: str, con: duckdb.DuckDBPyConnection | None) -> Iterator[Space]:
        with self._cursor() as cursor:
            end = reclaim.end_of(cursor, table)
            rows = reclaim.rows_that_fit(reclaim.space(cursor), self._rows_hot + self._rows_sealed)
        while end and rows > 0:
            with self._turn() as cursor:
                if con is not self._con:  # opened anew meanwhile: places are others now
                    return
                moved = seal.aside(partial(reclaim.move, cursor, table, end))
                if moved is None:
                    return
                with self._writing:
                    self._commit_beside(cursor)
                    self._checkpoint_due = True
                end, rows = moved.first, rows - moved.rows
            yield self.space()

    @contextmanager
    def _turn(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for a piece of work beside the loads, once no seal or checkpoint is due. The writer thread goes on
        with those, a load between each two; only where there is none it is done here."""
        while True:
            with self._writing:
                self._refresh()
                con = self._open()
                if time.monotonic() - self._maintained_at > UNMAINTAINED_SECONDS:
                    self._maintain()
                due = self._checkpoint_due and time.monotonic() >= self._retry_at
                if not self._upkeep.started and not due and self._resting.is_set():
                    self._resting.clear()
                    break
            time.sleep(TURN_SECONDS)
        try:
            with self._cursor() as cursor:
                yield cursor
        finally:
            with self._writing:
                self._resting.set()
                if self._con is not None and con is not self._con:
                    self._read_stand(self._con)

    def _commit_beside(self, cursor: duckdb.DuckDBPyConnection) -> None:
        try:
            self._open()
            removals.commit(cursor)
        except duckdb.Error:
            self._stale = True
            raise
        except Unavailable:
            load.rollback(cursor)
            raise

    def _count_removed(self, taken: Slice | None) -> None:
        if taken is not None:
            self._removed_since_checkpoint += taken.rows
            match taken.part.table:
                case "events":
                    self._rows_sealed -= taken.rows
                case "hot":
                    self._rows_hot -= taken.rows
                    self._count_unsealed(self._open())
                case "quarantine":
                    self._quarantined -= taken.counted
        least = 1 if taken is None else REMOVED_PER_CHECKPOINT
        if self._removed_since_checkpoint >= least:
            self._removed_since_checkpoint = 0
            self._checkpoint_due = True

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

    def tally(self) -> Tally:
        with self._cursor() as cursor:
            return examine.tally(cursor)

    def unreadable(self, advance: Advance) -> Sequence[str]:
        with self._cursor() as cursor:
            return examine.unreadable(cursor, advance)

    def seqs(self, after_seq: int, last_seq: int) -> Sequence[int]:
        with self._cursor() as cursor:
            return examine.seqs(cursor, after_seq, last_seq)

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
            "sealing": self._upkeep.started or self._checkpoint_due,
            "seal_failures": self._upkeep.failures,
        }


def _now_us() -> int:
    return time.time_ns() // 1000


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
