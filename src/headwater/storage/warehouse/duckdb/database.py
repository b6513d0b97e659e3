"""One database file that is open: its connection, its counters, and what is due for it.

All but `live`, `cursor` and `facts` is for whoever holds the lock of those who write (`state.writing`).
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from headwater.domain.errors import Unavailable
from headwater.domain.retention import Horizon
from headwater.storage.warehouse.duckdb import load, opening, reads, removals, seal, switch
from headwater.storage.warehouse.duckdb.failures import damaged, translated
from headwater.storage.warehouse.duckdb.files import Files, size_of
from headwater.storage.warehouse.duckdb.load import Written
from headwater.storage.warehouse.duckdb.migrate import Step


class Database:
    def __init__(self, home: Path, steps: list[Step], *, read_only: bool, **settings: int) -> None:
        """`home`: the warehouse that it belongs to. Settings: see `opening.config_of`."""
        self.files = Files(switch.current(home) if read_only else home)
        self.read_only = read_only
        self.config = opening.config_of(self.files, **settings)
        self.con: duckdb.DuckDBPyConnection | None = None
        """None once it is closed."""
        self.upkeep = seal.Upkeep()
        self.engine_copy: Path | None = None
        """Made at this opening, since the version of DuckDB has changed."""
        self.mark = opening.marked(home, self.files, read_only=read_only)
        try:
            self.connect(home, steps)
        except BaseException:
            self.mark.close()
            raise

    # Opening and closing

    def connect(self, home: Path, steps: list[Step]) -> None:
        with translated(self.files.database, opening=True):
            con = self._connection(steps)
            try:
                self.read_stand(con)
                if not self.read_only:
                    self._make_ready(con, home)
            except BaseException:
                con.close()
                raise
        self.con = con

    def _connection(self, steps: list[Step]) -> duckdb.DuckDBPyConnection:
        if self.read_only:
            return opening.looked_at(self.files, self.config, steps)
        con, made = opening.migrated(self.files, self.config, steps)
        self.engine_copy = made or self.engine_copy
        return con

    def _make_ready(self, con: duckdb.DuckDBPyConnection, home: Path) -> None:
        if self.files.guard():
            # What was replayed is not written after: a log cut short by damage would hide all that follows.
            con.execute("checkpoint").fetchall()
        for statement in opening.LOCKED_DOWN:
            con.execute(statement)
        switch.forget_old(home)
        self.files.empty_temp()
        self.loader = load.Loader(con)

    def reopen(self, home: Path, steps: list[Step]) -> None:
        self.upkeep.stop()
        con, self.con = self.live(), None
        try:
            con.close()
        except duckdb.Error:
            # Closing makes a checkpoint, which fails for what the load failed for; nothing is lost, the next opening
            # replays the write-ahead log.
            pass
        self.con = con
        self.connect(home, steps)

    def close(self) -> None:
        """A seal under way is undone."""
        self.upkeep.stop()
        con, self.con = self.live(), None
        try:
            if not self.read_only:
                with translated(self.files.database):
                    con.execute("checkpoint").fetchall()
        finally:
            con.close()
            self.mark.close()

    def let_go(self) -> "Database":
        """The same for whoever must not use it any more: closed, and its connection lives on."""
        left = copy.copy(self)
        left.con = None
        return left

    # Use

    def live(self) -> duckdb.DuckDBPyConnection:
        """Raises Unavailable (WAREHOUSE_CLOSED)."""
        if self.con is None:
            raise Unavailable(f"warehouse: {self.files.database} is closed", code="WAREHOUSE_CLOSED")
        return self.con

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A reader of its own for the calling thread."""
        with translated(self.files.database):
            cursor = self.live().cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    def set_memory(self, limit: str) -> None:
        self.config["memory_limit"] = limit
        with self.cursor() as cursor:
            cursor.execute(f"set memory_limit = '{limit}'")

    # Counters

    def read_stand(self, con: duckdb.DuckDBPyConnection) -> None:
        """All counters anew from the tables. Raises Damaged where they stand before the mark."""
        stand = reads.stand(con)
        mark = self.mark.read()
        if mark is not None and (stand.position is None or stand.position.seq < mark.seq):
            at = "nothing" if stand.position is None else f"events up to {stand.position.seq}"
            raise damaged(self.files.database, f"it holds {at}, and held events up to {mark.seq} before")
        self.position, self.committed_us = stand
        self.unsealed: int
        self.oldest_us: int | None
        ((self.settled,),) = con.execute("select coalesce(max(seq), 0) from seals").fetchall()
        ((self.rows_hot,),) = con.execute("select count(*) from hot").fetchall()
        ((self.rows_sealed,),) = con.execute("select count(*) from events").fetchall()
        ((self.quarantined,),) = con.execute(
            "select count(*) from quarantine anti join replayed using (seq)"
        ).fetchall()
        ((self.last_seal_us,),) = con.execute("select epoch_us(max(sealed_at)) from seals").fetchall()
        ((self.engine_version,),) = con.execute("select version()").fetchall()
        self.count_unsealed(con)
        self.removals = removals.recorded(con)
        self.removed_since_checkpoint = 0
        self.loads_unfolded = 0
        self.retry_at = 0.0
        """Before then no upkeep is tried."""
        self.stale = False
        """After an error of the disk: whether the last commit was made is not known."""
        self.checkpoint_due = False
        self.wal_bytes = self.files.guard()

    def count_unsealed(self, con: duckdb.DuckDBPyConnection) -> None:
        """And since when the oldest is here: by its load, or what a rebuild loads would seem old at once."""
        ((self.unsealed, first),) = con.execute(
            "select count(*), min(seq) from hot where seq > ?", [self.settled]
        ).fetchall()
        ((self.oldest_us,),) = con.execute(
            "select epoch_us(min(committed_at)) from positions where seq >= ?", [first]
        ).fetchall()

    def count(self, written: Written) -> None:
        if written.stored and not self.unsealed:
            self.oldest_us = self.committed_us
        self.rows_hot += written.stored
        self.unsealed += written.stored
        self.quarantined += written.quarantined - written.closed
        self.loads_unfolded += 1
        self.wal_bytes = self.files.guard()

    @property
    def horizon(self) -> Horizon:
        return removals.bound(self.removals)

    def facts(self) -> Mapping[str, Any]:
        """Costs no query."""
        return {
            "rows_hot": self.rows_hot,
            "rows_sealed": self.rows_sealed,
            "rows_unsealed": self.unsealed,
            "quarantined": self.quarantined,
            "bytes": size_of(self.files.database),
            "wal_bytes": size_of(self.files.wal),
            "engine_version": self.engine_version,
            "last_seal_us": self.last_seal_us,
            "sealing": self.upkeep.started or self.checkpoint_due,
            "seal_failures": self.upkeep.failures,
        }
