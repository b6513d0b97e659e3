"""Short lives of a lake on a disk that fails, and what must hold after each."""

import atexit
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from tests.faults.simdisk import PowerCut, SimDisk, without_syncs
from tests.storage.lake.lakerows import DAY, at, joined, rows_of

from headwater.domain.errors import Damaged, HeadwaterError, Unavailable
from headwater.storage.lake import fs, open_lake, parquet

PASSING = frozenset(["DISK_FULL", "READ_ONLY", "LAKE_FAILED"])
COMMITS_PER_CHECKPOINT = 3
TRIES = 30


class LakeLife:
    """A seeded workload on a lake in `<root>/lake`."""

    def __init__(self, root: Path, seed: int, disk: SimDisk) -> None:
        self.url = f"file://{root}/lake"
        self.chance = random.Random(seed)
        self.disk = disk
        self.lake: Any = None
        self.tried: dict[int, range] = {0: range(0)}
        """The seqs of the rows that were to be appended, by the position that was to come with them."""
        self.acknowledged = 0
        self.codes: list[str] = []

    def run(self, steps: int) -> None:
        """Ends early where the power is cut."""
        try:
            with many_short_lives():
                self._open()
                for _ in range(steps):
                    if self.chance.random() < 0.2:
                        self._reopen()
                    else:
                        self._append()
        except PowerCut:
            self.disk.power_off()
        finally:
            self._close()

    def _open(self) -> None:
        for _ in range(TRIES):
            try:
                self.lake = open_lake(self.url)
            except Unavailable as error:
                self._told(error)
            else:
                break
        assert self.lake is not None, f"the disk works again and the lake does not open: {self.codes[-1]}"
        position = self.lake.position()
        seq = position.seq if position else 0
        assert seq in self.tried and seq >= self.acknowledged, f"opened at {seq}, acknowledged {self.acknowledged}"
        self.acknowledged = seq

    def _append(self) -> None:
        """As the archive does it: again while the disk is what is wrong, else with the lake opened anew."""
        first, n = self.acknowledged + 1, 5 * self.chance.randint(0, 4)
        days = self.chance.choice((1, 1, 2))
        parts = [rows_of(first + part * n, n, day=DAY + self.chance.randint(0, 1) + part) for part in range(days)]
        last = max(first, first + n * days - 1)
        self.tried[last] = range(first, first + n * days)
        for _ in range(TRIES):
            try:
                self.lake.append(joined(*parts), at(last))
            except Unavailable as error:
                self._told(error)
                if error.code not in PASSING:
                    self._reopen()
                    if self.acknowledged == last:
                        return
            else:
                self.acknowledged = last
                return
        raise AssertionError(f"the disk works again and nothing is taken: {self.codes[-1]}")

    def _told(self, error: HeadwaterError) -> None:
        assert error.code in PASSING | {"OUTCOME_UNKNOWN", "LAKE_CLOSED"}, f"{error.code}: {error}"
        self.codes.append(error.code)

    def _reopen(self) -> None:
        self._close()
        self._open()

    def _close(self) -> None:
        if self.lake is not None:
            self.lake.close()
            self.lake = None


@contextmanager
def many_short_lives() -> Iterator[None]:
    """Checkpoints after few commits, and one engine for all lives: to open one takes longer than all the rest."""
    usual, fs.COMMITS_PER_CHECKPOINT = fs.COMMITS_PER_CHECKPOINT, COMMITS_PER_CHECKPOINT
    opening, parquet.engine = parquet.engine, _shared_engine
    try:
        yield
    finally:
        fs.COMMITS_PER_CHECKPOINT, parquet.engine = usual, opening


@contextmanager
def _shared_engine() -> Iterator[duckdb.DuckDBPyConnection]:
    if not _engines:
        _engines.append(duckdb.connect(":memory:", config={"threads": 1, "autoinstall_known_extensions": False}))
        atexit.register(_engines[0].close)
    yield _engines[0]


_engines: list[duckdb.DuckDBPyConnection] = []


@without_syncs()
def check_lake(root: Path, tried: dict[int, range], acknowledged: int) -> None:
    """Open the lake that a life left in `root`: what was acknowledged is there, in order, once."""
    with many_short_lives():
        if (root / "lake" / "events").exists():
            _check_reader(root, tried)
        lake = open_lake(f"file://{root}/lake")
        try:
            seq = _check_rows(lake, tried, acknowledged)
            lake.append(rows_of(seq + 1, 5), at(seq + 5))
            tried = {**tried, seq + 5: range(seq + 1, seq + 6)}
            _check_rows(lake, tried, seq + 5)
            versions = lake.history(1000)
            assert [each.seq for each in versions] == sorted((each.seq for each in versions), reverse=True)
        finally:
            lake.close()


def _check_reader(root: Path, tried: dict[int, range]) -> None:
    """Before a writer has made the folder whole, a reader gives what was written or says what is torn."""
    try:
        reader = open_lake(f"file://{root}/lake", read_only=True)
    except Damaged as error:
        assert error.hint and "heckpoint" in str(error), error
        return
    _check_rows(reader, tried, 0)
    reader.close()


def _check_rows(lake: Any, tried: dict[int, range], acknowledged: int) -> int:
    position = lake.position()
    seq: int = position.seq if position else 0
    assert seq in tried and seq >= acknowledged, f"stands at {seq}, acknowledged {acknowledged}, tried {[*tried]}"
    seqs: list[int] = []
    for table in lake.read(0, 1000):
        seqs += table["seq"].to_pylist()
        events = table["event"].to_pylist()
        assert events == [f'{{"name":"e{each}"}}' for each in table["seq"].to_pylist()], "a row is not what was written"
    expected = [each for end, added in sorted(tried.items()) if end <= seq for each in added]
    assert seqs == expected, f"rows up to {seq} are not those that were appended: {seqs} instead of {expected}"
    return seq


def rot_is_named(root: Path, tried: dict[int, range], acknowledged: int) -> str:
    """Open and read a lake one file of which is damaged: the rows are right, or the damage is named. What it was."""
    try:
        lake = open_lake(f"file://{root}/lake")
    except Damaged as error:
        assert error.path and error.hint, f"{error.code} names no path or no cure: {error}"
        return f"refused to open: {error.code}"
    try:
        try:
            seq = _check_rows(lake, tried, 0)
        except Damaged as error:
            assert error.path, error
            return "damaged file named in reading"
        # A lake that stands lower says so by its position: what is missing comes from the log once more, or the start
        # is refused (LAKE_BEHIND) where the log has it no longer.
        if seq == acknowledged:
            return "nothing lost"
        return "last commit set aside" if lake.stats()["set_aside"] else "position before the deleted commit"
    finally:
        lake.close()
