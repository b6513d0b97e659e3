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

from headwater.process.rows import rows_of
from headwater.storage.lake.base import Lake
from headwater.storage.lake.schema import SCHEMA
from headwater.storage.log.base import Damage, Frame, LogReader, Position

CONSUMER = "lake"
IDLE_SECONDS = 0.25
"""How long it waits for the log before it looks whether it is to stop."""
READ_EVENTS_MAX = 10_000
BYTES_PER_SEAL_MAX = 64 << 20
"""Events may be of 1 MiB each: rows waiting for their seal never take much more memory than this."""


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
        on_seal: Callable[[Seal], None] = lambda seal: None,
    ) -> None:
        self.reader = reader
        self.lake = lake
        self.events_per_seal = events_per_seal
        self.seconds_per_seal = seconds_per_seal
        self.bytes_per_seal = bytes_per_seal
        self.on_seal = on_seal
        self.sealed_seq = start_of(lake.position(), reader)
        """Up to where the log is in the lake, durably."""
        self.gathered_seq = self.sealed_seq
        self._waiting: list[Any] = []
        self._events = 0
        self._bytes = 0
        self._damages: list[Damage] = []
        self._since = 0.0
        self._state = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._over = False

    def run(self, stop: threading.Event) -> None:
        """Until `stop`: then what is gathered is sealed. Closes reader and lake however it ends."""
        try:
            self._take_on()
            self.reader.report(CONSUMER, self.sealed_seq)
            while not stop.is_set():
                self._gather(min(IDLE_SECONDS, self._seconds_left()))
                if self._is_due():
                    self._seal()
                if self._answered < self._asked:
                    self._answer()
            self._seal()
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
            self.lake.append(_joined([]), start)

    def _gather(self, wait_seconds: float) -> None:
        found = self.reader.read(self.gathered_seq, min(READ_EVENTS_MAX, self.events_per_seal), wait_seconds)
        if not found:
            return
        if self.gathered_seq == self.sealed_seq:
            self._since = monotonic()
        frames = [each for each in found if isinstance(each, Frame)]
        self._damages += [each for each in found if isinstance(each, Damage)]
        if frames:
            rows = rows_of(frames)
            self._waiting.append(rows)
            self._events += rows.num_rows
            self._bytes += rows.nbytes
        self.gathered_seq = found[-1].last_seq

    def _seconds_left(self) -> float:
        if self.gathered_seq == self.sealed_seq:
            return self.seconds_per_seal
        return max(0.0, self._since + self.seconds_per_seal - monotonic())

    def _is_due(self) -> bool:
        return self._events >= self.events_per_seal or self._bytes >= self.bytes_per_seal or self._seconds_left() == 0.0

    def _answer(self) -> None:
        asked = self._asked
        durable_seq = self.reader.durable_seq()
        while self.gathered_seq < durable_seq:
            self._gather(0.0)
            if self._is_due():
                self._seal()
        self._seal()
        with self._state:
            self._answered = asked
            self._state.notify_all()

    def _seal(self) -> None:
        if self.gathered_seq == self.sealed_seq:
            return
        began = monotonic()
        position = Position(self.reader.log_id, self.gathered_seq)
        self.lake.append(_joined(self._waiting), position)
        seal = Seal(position, self._events, self._bytes, monotonic() - began, tuple(self._damages))
        self._waiting, self._events, self._bytes, self._damages = [], 0, 0, []
        self.reader.report(CONSUMER, position.seq)
        self.sealed_seq = position.seq
        self.on_seal(seal)


def start_of(position: Position | None, reader: LogReader) -> int:
    """The seq after which to read. `process.positions` has checked that lake and log belong together, and a gap between
    them was taken by a person."""
    return max(position.seq if position else 0, reader.first_seq() - 1)


def _joined(tables: Sequence[Any]) -> Table:
    return Table.from_batches([batch for table in tables for batch in table.to_batches()], schema=SCHEMA)
