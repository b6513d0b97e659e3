"""Upkeep beside the loads: sealing `hot` rows into `events`, and folding the ledger's deltas.

It runs in a thread of its own with its own cursor, so loads wait only for its commit and for the checkpoint after it,
which the writer thread runs. Rows that are moved, and rows that are loaded meanwhile, are different rows: nothing
conflicts.
"""

import threading
from time import monotonic
from typing import NamedTuple

import duckdb

from headwater.observe.journal import get_journal
from headwater.storage.crash import crash_point
from headwater.storage.warehouse.duckdb import shapes
from headwater.storage.warehouse.duckdb.failures import DATA
from headwater.storage.warehouse.duckdb.load import rollback

ROW_GROUP = 122_880
FAILURES_MAX = 3
"""Tries of one range before its rows are left in `hot` for good."""

LAST_ROW = "select seq from hot where seq > ? order by seq limit 1 offset ?"
MOVABLE = "create or replace temp table movable as select seq from shapes where list_contains($hashes, shape_hash)"
MOVE = """
insert into events by name
select * replace (attributes::variant as attributes) from hot semi join movable using (seq)
where seq > $begin and seq <= $end
order by occurred_at, seq
"""
DELETE = "delete from hot where seq > $begin and seq <= $end and seq in (select seq from movable)"
# Every load adds a row for each of its minutes and sources.
FOLDED = """
create or replace temp table folded as
select minute, source, sum(stored) as stored, sum(duplicate) as duplicate, sum(quarantined) as quarantined,
    sum(suppressed) as suppressed, sum(removed) as removed, sum(lost) as lost
from ledger group by minute, source having count(*) > 1
"""
FOLD = (
    "delete from ledger using folded where ledger.minute = folded.minute and ledger.source = folded.source",
    "insert into ledger by name select * from folded",
)


class Sealed(NamedTuple):
    """What became of the hot rows up to `end`."""

    end: int
    moved: int
    kept: int
    seconds: float


class Upkeep:
    """At most one piece of work at a time, in a thread. All methods are for the writer thread."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._sealed: Sealed | None = None
        self._error: BaseException | None = None
        self.failures = 0

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def started(self) -> bool:
        """Begun and not yet taken."""
        return self._thread is not None

    def start(self, cursor: duckdb.DuckDBPyConnection, begin: int, rows: int, sealed_us: int) -> None:
        """Seal the first `rows` hot rows after seq `begin`, whole row groups of them; with 0 only fold the ledger."""
        self._cursor, self._sealed, self._error = cursor, None, None
        self._thread = threading.Thread(target=self._work, args=(begin, rows, sealed_us), name="seal", daemon=True)
        self._thread.start()

    def take(self) -> Sealed | None:
        """Wait for the end; what was sealed, None for a fold alone. Raises what went wrong."""
        assert self._thread is not None and self._cursor is not None
        self._thread.join()
        self._cursor.close()
        self._thread = self._cursor = None
        if self._error is not None:
            self.failures += 1
            raise self._error
        self.failures = 0
        return self._sealed

    def stop(self) -> None:
        """Undo what is under way: at the next start it is due again."""
        while self._thread is not None:
            assert self._cursor is not None
            self._cursor.interrupt()
            self._thread.join(0.05)
            if not self._thread.is_alive():
                self._cursor.close()
                self._thread = self._cursor = None

    def _work(self, begin: int, rows: int, sealed_us: int) -> None:
        assert self._cursor is not None
        try:
            if rows:
                self._sealed = seal(self._cursor, begin, rows, sealed_us, keep_all=self.failures >= FAILURES_MAX)
            fold(self._cursor)
        except BaseException as error:  # whatever it is, `take` raises it in the writer thread
            self._error = error


def seal(con: duckdb.DuckDBPyConnection, begin: int, rows: int, sealed_us: int, *, keep_all: bool) -> Sealed:
    """One transaction. Rows whose attributes can't be columns stay where they are; see `shapes`."""
    started = monotonic()
    rows = rows // ROW_GROUP * ROW_GROUP or rows  # a part of a row group would go through the write-ahead log
    con.execute("begin")
    try:
        (end,) = con.execute(LAST_ROW, [begin, rows - 1]).fetchall()[0]
        span = {"begin": begin, "end": end}
        moved = 0 if keep_all else _move(con, span)
        con.execute("insert into seals values (?, make_timestamp(?), ?, ?)", [end, sealed_us, moved, rows - moved])
        crash_point("warehouse.seal.before_commit")
        con.execute("commit")
    except BaseException:
        rollback(con)
        raise
    crash_point("warehouse.seal.after_commit")
    return Sealed(end, moved, rows - moved, monotonic() - started)


def fold(con: duckdb.DuckDBPyConnection) -> None:
    """The ledger's deltas into one row for each minute and source: the sums stay."""
    con.execute("begin")
    try:
        for statement in (FOLDED, *FOLD):
            con.execute(statement).fetchall()
        con.execute("commit")
    except BaseException:
        rollback(con)
        raise


def _move(con: duckdb.DuckDBPyConnection, span: dict[str, int]) -> int:
    con.execute(shapes.SHAPES, span)
    hashes = shapes.chosen(con.execute(shapes.FREQUENT).fetchall())
    con.execute(MOVABLE, {"hashes": hashes})
    con.execute("drop table shapes")
    moved = int(con.execute(MOVE, span).fetchall()[0][0])
    deleted = int(con.execute(DELETE, span).fetchall()[0][0])
    assert moved == deleted, (moved, deleted)
    con.execute("drop table movable")
    return moved


def tell(error: BaseException, begin: int, failures: int) -> bool:
    """Note a seal that failed; True when it was for the data or for memory, so that it may be tried in another way."""
    of_data = isinstance(error, (*DATA, duckdb.OutOfMemoryException))
    get_journal("pipeline").warning("seal_failed", after_seq=begin, failures=failures, error=str(error)[:300])
    return of_data
