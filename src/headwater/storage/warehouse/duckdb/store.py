"""The warehouse of one project in one DuckDB file: the contract of `base.Warehouse`, each method in the file that has
its name or its matter."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headwater.domain.errors import Conflict
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
from headwater.storage.warehouse.duckdb import (
    blocks,
    cutover,
    examine,
    maintain,
    migrate,
    reads,
    reclaim,
    retention,
    switch,
)
from headwater.storage.warehouse.duckdb.answer import answer
from headwater.storage.warehouse.duckdb.files import size_of
from headwater.storage.warehouse.duckdb.state import Limits, State

TEMP_BYTES_MAX = 8 << 30


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
        memory_bytes_max: int = 384 << 20,
        threads: int = 2,
        seal_rows: int = 375_000,
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
        self.state = State(
            path,
            Limits(seal_rows, seal_rows_min, seal_age_seconds, wal_bytes_max),
            migrations,
            read_only=read_only,
            memory_bytes_max=memory_bytes_max,
            threads=threads,
            temp_bytes_max=temp_bytes_max,
        )

    def close(self) -> None:
        """A seal under way is undone, a step of a removal is ended. Idempotent."""
        self.state.close()

    def resize(self, memory_bytes_max: int) -> None:
        self.state.database.set_memory(f"{memory_bytes_max >> 10}KiB")

    # Writing

    def position(self) -> Position | None:
        return self.state.position()

    def load(self, block: Block) -> Loaded:
        return blocks.load(self.state, block)

    def check(self, block: Block) -> None:
        blocks.check(self.state, block)

    def carry(self, rows: Sequence[LedgerRow]) -> None:
        blocks.carry(self.state, rows)

    def maintain(self) -> bool:
        return maintain.maintain(self.state)

    # Removing

    def removals(self) -> Sequence[Removal]:
        return list(self.state.database.removals)

    def removable(self, horizon: Horizon) -> Removable:
        return retention.removable(self.state, horizon)

    def raise_horizon(self, horizon: Horizon) -> Horizon:
        return retention.raise_horizon(self.state, horizon)

    def remove_some(self) -> Removed | None:
        return retention.remove_some(self.state)

    def space(self) -> Space:
        with self.state.cursor() as cursor:
            return reclaim.space(cursor)

    def reclaim(self) -> Iterator[Space]:
        return reclaim.reclaim(self.state)

    # Another database in its place

    def beside(self, name: str, memory_bytes_max: int) -> "DuckWarehouse":
        home = self.state.home
        database = switch.next_of(home, name)
        if database == self.state.database.files.database:
            raise Conflict(f"warehouse: {database} is in use already", code="ALREADY_EXISTS", value=name)
        switch.sweep(home, but=name)
        return DuckWarehouse(database, memory_bytes_max=memory_bytes_max, threads=1)

    def switch(self, new: Warehouse, finish: Callable[[Position | None], None]) -> Callable[[], None]:
        assert isinstance(new, DuckWarehouse) and new is not self
        return cutover.cut_over(self.state, new.state, finish)

    def drop_begun(self) -> None:
        switch.sweep(self.state.home)

    def kept_bytes(self, *, drop: bool = False) -> int:
        held = switch.kept(self.state.home)
        return sum(switch.remove(each) if drop else size_of(each) for each in held)

    # Reading

    def run(self, plan: Plan, timeout_seconds: float, cancel: Cancel | None = None) -> Table:
        return answer(self.state, plan, timeout_seconds, cancel)

    def ledger(self, minute_from: int, minute_to: int, source: str | None) -> LedgerPage:
        with self.state.cursor() as cursor:
            return reads.ledger(cursor, minute_from, minute_to, source)

    def receipts(self, event_id: str, source: str | None) -> Sequence[Receipt]:
        with self.state.cursor() as cursor:
            return reads.receipts(cursor, event_id, source)

    def digest(self, seq_max: int) -> Mapping[str, tuple[int, int]]:
        with self.state.cursor() as cursor:
            return reads.digest(cursor, seq_max)

    def tally(self) -> Tally:
        with self.state.cursor() as cursor:
            return examine.tally(cursor)

    def unreadable(self, advance: Advance) -> Sequence[str]:
        with self.state.cursor() as cursor:
            return examine.unreadable(cursor, advance)

    def seqs(self, after_seq: int, last_seq: int) -> Sequence[int]:
        with self.state.cursor() as cursor:
            return examine.seqs(cursor, after_seq, last_seq)

    def facts(self) -> Mapping[str, Any]:
        return self.state.database.facts()
