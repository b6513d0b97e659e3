"""What the parts of one warehouse share: the database that counts now, and the lock of those who write to it."""

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import duckdb

from headwater.storage.log.base import Position
from headwater.storage.warehouse.duckdb import migrate, switch
from headwater.storage.warehouse.duckdb.database import Database

CLOSE_SECONDS = 5.0


class Limits(NamedTuple):
    """When upkeep is due; see DuckWarehouse."""

    seal_rows: int
    seal_rows_min: int
    seal_age_seconds: float
    wal_bytes_max: int


class State:
    def __init__(self, home: Path, limits: Limits, migrations: Path, *, read_only: bool, **settings: int) -> None:
        """Settings: see `opening.config_of`."""
        self.home = home
        self.limits = limits
        self.steps = migrate.steps_in(migrations)
        self.writing = threading.RLock()
        self.resting = threading.Event()
        """Not set while rows are removed or moved beside the loads: as long, nothing is sealed."""
        self.resting.set()
        self.maintained_at = 0.0
        """When the writer thread last asked for upkeep; monotonic seconds."""
        self.database = Database(home, self.steps, read_only=read_only, **settings)
        """Another one after a switch, which is made with `writing` held: whoever does not hold it asks each time."""

    def cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A reader of its own for the calling thread."""
        return self.database.cursor()

    def position(self) -> Position | None:
        database = self.database
        if database.stale:
            with self.writing:
                database = self.refreshed()
        return database.position

    def refreshed(self) -> Database:
        """With `writing` held. After an error of the disk: whether the last commit was made is read from the database,
        opened anew."""
        if self.database.stale:
            self.database.reopen(self.home, self.steps)
        return self.database

    def close(self) -> None:
        """A seal under way is undone, a step of a removal is ended. Idempotent."""
        self.resting.wait(CLOSE_SECONDS)
        with self.writing:
            database = self.database
            if database.con is None:
                return
            database.close()
            if not database.read_only:
                switch.settle(self.home)
