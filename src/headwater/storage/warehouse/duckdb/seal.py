"""Upkeep beside the loads: sealing `hot` rows into `events`, and folding what every load adds a row to.

It runs in a thread of its own with its own cursor and steps back for everything else; the writer thread only commits
what it did, and makes the checkpoint after it. Rows that are moved, and rows that are loaded meanwhile, are different
rows: nothing conflicts.
"""

import os
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import duckdb

from headwater.observe.journal import get_journal
from headwater.storage.crash import crash_point
from headwater.storage.warehouse.duckdb import shapes
from headwater.storage.warehouse.duckdb.failures import DATA
from headwater.storage.warehouse.duckdb.load import rollback

T = TypeVar("T")

ROW_GROUP = 122_880
FAILURES_MAX = 3
"""Tries of one range before its rows are left in `hot` for good."""
NICE = 10
"""Of a seal that has time: it gets a tenth of a core where others want both, and what is left where they don't."""

LAST_ROW = "select seq from hot where seq > ? order by seq limit 1 offset ?"
# A seal is cut by time into row groups, so that what is late spoils the zone maps of the first alone. Inside a row
# group the order is that of arrival: sorting whole rows cost 1.2 of 6.4 µs and made them 2 B longer.
CUTS = f"""
select occurred_at, seq from (
    select occurred_at, seq, row_number() over (order by occurred_at, seq) as place
    from hot {{movable}} where seq > $begin and seq <= $end
) where place % {ROW_GROUP} = 1 and place > 1 order by place
"""  # noqa: S608 - constants only
# The limit changes nothing but that one thread does it, which is the one that steps back.
MOVE = f"""
insert into events by name
select * replace (attributes::variant as attributes) from hot {{movable}}
where seq > $begin and seq <= $end {{between}} limit {ROW_GROUP}
"""  # noqa: S608 - constants only
FROM = "and occurred_at >= $from_at and (occurred_at > $from_at or seq >= $from_seq)"
BEFORE = "and occurred_at <= $before_at and (occurred_at < $before_at or seq < $before_seq)"
DELETE = "delete from hot where seq > $begin and seq <= $end"
OF_MOVABLE = "and seq in (select seq from movable)"
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
POSITIONS_WHOLE_US = 2 * 86_400 * 1_000_000
"""For so long the position of every load is kept; of older ones the last in each second."""
# The last of a second stands for all its loads: a time finds the same seq as before unless it lies inside a second, and
# a seq a time of commit that is at most a second late.
THIN = """
delete from positions
where committed_at < make_timestamp(?) and seq not in (
    select max(seq) from positions group by date_trunc('second', committed_at)
)
"""


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

    def start(
        self, cursor: duckdb.DuckDBPyConnection, begin: int, rows: int, sealed_us: int, *, hurried: bool = False
    ) -> None:
        """Seal the first `rows` hot rows after seq `begin`, whole row groups of them; with 0 only fold. `hurried`: take
        as much of the machine as loads do."""
        self._cursor, self._sealed, self._error = cursor, None, None
        work = (begin, rows, sealed_us, hurried)
        self._thread = threading.Thread(target=self._work, args=work, name="seal", daemon=True)
        self._thread.start()

    def take(self) -> Sealed | None:
        """Wait for the end and commit it; what was sealed, None for a fold alone. Raises what went wrong."""
        assert self._thread is not None and self._cursor is not None
        self._thread.join()
        try:
            if self._error is not None:
                raise self._error
            if self._sealed is not None:
                commit(self._cursor)
        except BaseException:
            self.failures += 1
            raise
        finally:
            self._cursor.close()
            self._thread = self._cursor = None
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

    def _work(self, begin: int, rows: int, sealed_us: int, hurried: bool) -> None:
        assert self._cursor is not None
        try:
            fold(self._cursor, sealed_us)
            if rows:
                if not hurried:
                    _step_back()
                self._sealed = seal(self._cursor, begin, rows, sealed_us, keep_all=self.failures >= FAILURES_MAX)
        except BaseException as error:  # whatever it is, `take` raises it in the writer thread
            self._error = error


def aside(work: Callable[[], T]) -> T:
    """Do it in a thread that steps back, and wait for it; raises what it raises."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        _step_back()
        try:
            done.append(work())
        except BaseException as error:  # whatever it is, the caller gets it
            failed.append(error)

    thread = threading.Thread(target=run, name="aside", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _step_back() -> None:
    """For the calling thread, where the system knows that: there is no way back."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def seal(con: duckdb.DuckDBPyConnection, begin: int, rows: int, sealed_us: int, *, keep_all: bool) -> Sealed:
    """One transaction, left open for `commit`, which takes locks that every load waits for: so no thread that steps
    back may make it. Rows whose attributes can't be columns stay where they are; see `shapes`."""
    started = monotonic()
    rows = rows // ROW_GROUP * ROW_GROUP or rows  # a part of a row group would go through the write-ahead log
    con.execute("begin")
    try:
        (end,) = con.execute(LAST_ROW, [begin, rows - 1]).fetchall()[0]
        moved = 0 if keep_all else _move(con, {"begin": begin, "end": end}, rows)
        con.execute("insert into seals values (?, make_timestamp(?), ?, ?)", [end, sealed_us, moved, rows - moved])
    except BaseException:
        rollback(con)
        raise
    return Sealed(end, moved, rows - moved, monotonic() - started)


def commit(con: duckdb.DuckDBPyConnection) -> None:
    crash_point("warehouse.seal.before_commit")
    try:
        con.execute("commit")
    except BaseException:
        rollback(con)
        raise
    crash_point("warehouse.seal.after_commit")


def fold(con: duckdb.DuckDBPyConnection, now_us: int) -> None:
    """The ledger's deltas into one row for each minute and source: the sums stay. And older positions thinned out."""
    con.execute("begin")
    try:
        for statement in (FOLDED, *FOLD):
            con.execute(statement).fetchall()
        con.execute(THIN, [now_us - POSITIONS_WHOLE_US]).fetchall()
        con.execute("commit")
    except BaseException:
        rollback(con)
        raise


def _move(con: duckdb.DuckDBPyConnection, span: dict[str, Any], rows: int) -> int:
    hashes, movable = shapes.chosen(con.execute(shapes.FREQUENT, span).fetchall())
    delete, join = DELETE, ""
    if movable < rows:
        con.execute(shapes.MOVABLE, span | {"hashes": hashes}).fetchall()
        delete, join = f"{DELETE} {OF_MOVABLE}", "semi join movable using (seq)"
    cuts = con.execute(CUTS.format(movable=join), span).fetchall() if movable > ROW_GROUP else []
    moved = 0
    for low, high in zip([None, *cuts], [*cuts, None], strict=True):
        between, values = "", dict(span)
        if low is not None:
            between, values = FROM, values | {"from_at": low[0], "from_seq": low[1]}
        if high is not None:
            between, values = f"{between} {BEFORE}", values | {"before_at": high[0], "before_seq": high[1]}
        moved += int(con.execute(MOVE.format(movable=join, between=between), values).fetchall()[0][0])
    deleted = int(con.execute(delete, span).fetchall()[0][0])
    assert moved == deleted == movable, (moved, deleted, movable)
    if movable < rows:
        con.execute("drop table movable")
    return moved


def tell(error: BaseException, begin: int, failures: int) -> bool:
    """Note a seal that failed; True when it was for the data or for memory, so that it may be tried in another way."""
    of_data = isinstance(error, (*DATA, duckdb.OutOfMemoryException))
    get_journal("pipeline").warning("seal_failed", after_seq=begin, failures=failures, error=str(error)[:300])
    return of_data
