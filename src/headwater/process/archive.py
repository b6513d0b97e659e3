"""Log → lake: a thread that gathers what the log holds and seals it, with the position, in one commit of the lake.

It has its own position and costs nobody anything when it lags, only disk. The log is told of a seal after it is
durable; a crash anywhere repeats what was not committed and nothing else.
"""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import msgspec
from arro3.core import Table

from headwater.domain.errors import Unavailable
from headwater.process.rows import rows_of
from headwater.storage.lake.base import Lake
from headwater.storage.lake.schema import SCHEMA
from headwater.storage.log.base import Damage, Frame, LogReader, Position

CONSUMER = "lake"
GATHER_SECONDS = 0.25
"""Between two looks at the log once all of it is gathered: rows cost least made by the thousand (`rows_of`)."""
READ_EVENTS_MAX = 10_000
READ_BYTES_MAX = 16 << 20
BYTES_PER_SEAL_MAX = 64 << 20
"""Events may be of 1 MiB each: rows waiting for their seal never take much more memory than this."""
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 30.0
PASSING = frozenset(["DISK_FULL", "READ_ONLY", "LAKE_FAILED"])
"""Codes of what a person can mend under an open lake; after any other it must be opened anew."""

OnStall = Callable[[str | None], None]
"""Told why the lake waits for the machine, at each try, and None when it goes on."""


class Seal(msgspec.Struct, frozen=True):
    """What one append brought into the lake."""

    position: Position
    events: int
    bytes: int
    """Of the rows as they waited, before Parquet."""
    seconds: float
    damages: Sequence[Damage]
    """What the log could not read in this range: it is not in the lake."""


class Archive:
    """One project's way into the lake. `run` once; then make a new one."""

    def __init__(
        self,
        reader: LogReader,
        lake: Lake,
        *,
        events_per_seal: int = 50_000,
        seconds_per_seal: float = 300.0,
        bytes_per_seal: int = BYTES_PER_SEAL_MAX,
        busy: Callable[[], bool] = lambda: False,
        events_behind_max: int = 1_000_000,
        bytes_behind_max: int = 512 << 20,
        rest_seconds_max: float = 5.0,
        on_seal: Callable[[Seal], None] = lambda seal: None,
        on_stall: OnStall = lambda reason: None,
    ) -> None:
        """While `busy` says that others need the processor more, it rests: at most `rest_seconds_max` between two
        gatherings, and not at all once it is `events_behind_max` events or, by the size of the last ones it gathered,
        `bytes_behind_max` bytes behind the log."""
        self.reader = reader
        self.lake = lake
        self.events_per_seal = events_per_seal
        self.seconds_per_seal = seconds_per_seal
        self.bytes_per_seal = bytes_per_seal
        self.busy = busy
        self.events_behind_max = events_behind_max
        self.bytes_behind_max = bytes_behind_max
        self.rest_seconds_max = rest_seconds_max
        self.on_seal = on_seal
        self.on_stall = on_stall
        self.sealed_seq = start_of(lake.position(), reader)
        """Up to where the log is in the lake, durably."""
        self.gathered_seq = self.sealed_seq
        self._waiting: list[Any] = []
        self._events = 0
        self._bytes = 0
        self._damages: list[Damage] = []
        self._since = 0.0
        self._gathered_at = 0.0
        self._bytes_per_event = 0.0
        self._stop = threading.Event()
        self._state = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._over = False

    def run(self, stop: threading.Event) -> None:
        """Until `stop`: then the last few events are sealed. Closes reader and lake however it ends."""
        self._stop = stop
        try:
            self._take_on()
            self.reader.report(CONSUMER, self.sealed_seq)
            while not stop.is_set():
                more = not self._rests() and self._gather()
                if self._is_due():
                    self._seal()
                if self._answered < self._asked:
                    self._answer()
                elif not more:
                    stop.wait(min(GATHER_SECONDS, self._seconds_left()))
            # What came since the last look, but no backlog: to stop must not take long.
            self._bring_in(min(self.reader.durable_seq(), self.gathered_seq + READ_EVENTS_MAX))
        finally:
            self.lake.close()
            self.reader.close()
            with self._state:
                self._over = True
                self._state.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Have the running thread seal all that is durable in the log by now; False when that was not done in time."""
        with self._state:
            self._asked += 1
            asked = self._asked
            self._state.wait_for(lambda: self._over or self._answered >= asked, timeout_seconds)
            return self._answered >= asked

    def lag(self, durable_seq: int) -> int:
        """Events of the log that are not in the lake yet."""
        return max(0, durable_seq - self.sealed_seq)

    def _take_on(self) -> None:
        """Have the lake stand in this log from now on, also where it ended in another or before a gap."""
        position, start = self.lake.position(), Position(self.reader.log_id, self.sealed_seq)
        if position != start and (position is not None or self.sealed_seq > 0):
            self._append(_joined([]), start)

    def _rests(self) -> bool:
        if not self.busy() or monotonic() - self._gathered_at >= self.rest_seconds_max:
            return False
        behind = self.reader.durable_seq() - self.gathered_seq
        return behind <= self.events_behind_max and behind * self._bytes_per_event <= self.bytes_behind_max

    def _gather(self) -> bool:
        """Take the next of the log; False when that was all of it."""
        durable_seq = self.reader.durable_seq()
        events_max = min(READ_EVENTS_MAX, self.events_per_seal)
        found = self.reader.read(self.gathered_seq, events_max, 0.0, min(READ_BYTES_MAX, self.bytes_per_seal))
        self._gathered_at = monotonic()
        if not found:
            return False
        if self.gathered_seq == self.sealed_seq:
            self._since = self._gathered_at
        frames = [each for each in found if isinstance(each, Frame)]
        self._damages += [each for each in found if isinstance(each, Damage)]
        if frames:
            rows = rows_of(frames)
            self._waiting.append(rows)
            self._events += rows.num_rows
            self._bytes += rows.nbytes
            self._bytes_per_event = sum(len(each) for frame in frames for each in frame.payloads) / rows.num_rows
        self.gathered_seq = found[-1].last_seq
        return self.gathered_seq < durable_seq

    def _seconds_left(self) -> float:
        if self.gathered_seq == self.sealed_seq:
            return self.seconds_per_seal
        return max(0.0, self._since + self.seconds_per_seal - monotonic())

    def _is_due(self) -> bool:
        return self._events >= self.events_per_seal or self._bytes >= self.bytes_per_seal or self._seconds_left() == 0.0

    def _answer(self) -> None:
        asked = self._asked
        if self._bring_in(self.reader.durable_seq()):
            with self._state:
                self._answered = asked
                self._state.notify_all()

    def _bring_in(self, seq: int) -> bool:
        """Seal all up to there; False when `stop` came while the lake could not be written."""
        while self.gathered_seq < seq:
            self._gather()
            if self._is_due() and not self._seal():
                return False
        return self._seal()

    def _seal(self) -> bool:
        """False when `stop` came while the lake could not be written: it is still in the log."""
        if self.gathered_seq == self.sealed_seq:
            return True
        began = monotonic()
        position = Position(self.reader.log_id, self.gathered_seq)
        if not self._append(_joined(self._waiting), position):
            return False
        seal = Seal(position, self._events, self._bytes, monotonic() - began, tuple(self._damages))
        self._waiting, self._events, self._bytes, self._damages = [], 0, 0, []
        self.reader.report(CONSUMER, position.seq)
        self.sealed_seq = position.seq
        self.on_seal(seal)
        return True

    def _append(self, rows: Table, position: Position) -> bool:
        return keep_trying(lambda: self.lake.append(rows, position), self._stop, self.on_stall)


def keep_trying(action: Callable[[], None], stop: threading.Event, on_stall: OnStall) -> bool:
    """Do it, again and again while the lake's disk takes nothing; False when asked to stop before it was done.

    Raises Unavailable where trying again can't help.
    """
    wait_seconds = RETRY_SECONDS_MIN
    stalled = False
    while True:
        try:
            action()
        except Unavailable as error:
            if error.code not in PASSING:
                raise
            stalled = True
            on_stall(f"{error.code}: {error}")
            if stop.wait(wait_seconds):
                return False
            wait_seconds = min(wait_seconds * 2, RETRY_SECONDS_MAX)
        else:
            if stalled:
                on_stall(None)
            return True


def start_of(position: Position | None, reader: LogReader) -> int:
    """The seq after which to read. `process.positions` has checked that lake and log belong together, and a gap between
    them was taken by a person."""
    return max(position.seq if position else 0, reader.first_seq() - 1)


def _joined(tables: Sequence[Any]) -> Table:
    return Table.from_batches([batch for table in tables for batch in table.to_batches()], schema=SCHEMA)
