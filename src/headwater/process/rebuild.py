"""A new warehouse from the lake and the rest of the log; and the filling of one that lags behind the log's first frame.

Both run the ordinary stream over a reader that gives the lake's rows as frames and then goes on in the log. So they
take the same steps, and an event that can't be stored ends where it ended the first time.
"""

import threading
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

import msgspec
from arro3.core import Table

from headwater.domain.errors import Unavailable
from headwater.domain.retention import Horizon
from headwater.process import retention
from headwater.process.positions import Held, check
from headwater.process.rows import frames_of
from headwater.process.stream import Stream
from headwater.storage.lake.base import Lake
from headwater.storage.log.base import READ_BYTES_MAX, Counts, Damage, Frame, LogReader, SegmentCounts
from headwater.storage.warehouse.base import Block, LedgerRow, Loaded, Warehouse

ROWS_PER_READ = 20_000
MINUTES_MAX = 1 << 40
OUTCOMES = ("stored", "duplicate", "quarantined", "suppressed", "removed", "lost")
SEQ_MAX = 1 << 62
NOT_HERE = "in neither lake nor log"

Advance = Callable[[float, float | None], None]
"""(seq reached, last seq)."""
OpenReader = Callable[[], LogReader]


class Report(msgspec.Struct, frozen=True):
    seq: int
    """Up to where the new warehouse goes."""
    from_lake: int
    """Seqs that came from the lake; the rest from the log."""
    missing: int
    """Seqs that neither lake nor log has: frames that were lost, or numbers that were never given out."""
    lost: int
    """Events of those that the old ledger counted as lost: counted so again."""
    seconds: float
    counts: Mapping[str, int]
    """Of the new warehouse, by outcome."""
    compared_seq: int | None
    """Up to where it was compared with the old one; None where there was none to compare with."""
    differences: Sequence[str]

    @property
    def equal(self) -> bool:
        return not self.differences

    def facts(self) -> dict[str, object]:
        return {
            "seq": self.seq,
            "fromLake": self.from_lake,
            "fromLog": self.seq - self.from_lake,
            "missing": self.missing,
            **self.counts,
            "seconds": round(self.seconds, 1),
            "comparedSeq": self.compared_seq,
            "equal": self.equal if self.compared_seq is not None else None,
            "differences": list(self.differences),
        }

    def sentence(self) -> str:
        made = f"made {self.counts['stored']:,} rows from {self.seq:,} events in {self.seconds:.1f} s"
        if self.compared_seq is None:
            return f"{made}; there was no old warehouse to compare with"
        if self.equal:
            return f"{made}; the same rows, duplicates and quarantine as before, up to seq {self.compared_seq}"
        return f"{made}; it differs from the old one up to seq {self.compared_seq}: {'; '.join(self.differences)}"


class LakeThenLog:
    """A LogReader that reads the lake up to its position and the log from there on. Reports nothing to the log."""

    def __init__(self, lake: Lake, reader: LogReader, after_seq: int, lost: Counts, through_seq: int = SEQ_MAX) -> None:
        """Begins after `after_seq`, and ends with `through_seq`, the end of a frame of the log; `lost` is given out
        once, before the very first seq."""
        self.log_id = reader.log_id
        self.missing = 0
        position = lake.position()
        self.joint = max(position.seq if position else 0, reader.first_seq() - 1)
        """Up to here from the lake."""
        self._begins_after = after_seq
        self._through_seq = through_seq
        self._lake = lake
        self._reader = reader
        self._lost = lost
        self._ahead: deque[Frame | Damage] = deque()
        self._next_after: int | None = None
        self._frames: Iterator[Frame | Damage] = iter(())

    def first_seq(self) -> int:
        return self._begins_after + 1

    def durable_seq(self) -> int:
        return min(self._reader.durable_seq(), self._through_seq)

    def read(
        self, after_seq: int, events_max: int, wait_seconds: float, bytes_max: int = READ_BYTES_MAX
    ) -> Sequence[Frame | Damage]:
        if after_seq >= self._through_seq:
            return []
        if after_seq >= self.joint:
            found = self._reader.read(after_seq, events_max, wait_seconds, bytes_max)
            return [each for each in found if each.last_seq <= self._through_seq]
        self._seek(after_seq)
        taken: list[Frame | Damage] = []
        events = size = place = 0
        while True:
            if place == len(self._ahead):
                following = next(self._frames, None)
                if following is None:
                    return taken
                self._ahead.append(following)
            each = self._ahead[place]
            size += sum(map(len, each.payloads)) if isinstance(each, Frame) else 0
            if events and (events + each.n > events_max or size > bytes_max):
                return taken
            taken.append(each)
            events += each.n
            place += 1

    def headers(self, after_seq: int = 0) -> Sequence[SegmentCounts]:
        return self._reader.headers(after_seq)

    def report(self, consumer: str, seq: int) -> None:
        """Not passed on: the log would free what the present warehouse has not yet."""

    def reported(self, consumer: str) -> int:
        return self._reader.reported(consumer)

    def close(self) -> None:
        self._reader.close()

    def _seek(self, after_seq: int) -> None:
        """Have `_ahead` begin right after `after_seq`: what was read may be asked for again."""
        while self._ahead and self._ahead[0].last_seq <= after_seq and self._next_after != after_seq:
            self._next_after = self._ahead.popleft().last_seq
        if self._next_after != after_seq:
            self._ahead.clear()
            self._frames = self._read_lake(after_seq)
            self._next_after = after_seq

    def _read_lake(self, after_seq: int) -> Iterator[Frame | Damage]:
        if after_seq == 0 and self._lost:
            yield Damage(first_seq=1, n=0, counts=self._lost, reason=NOT_HERE)
        end = after_seq
        last_seq = min(self.joint, self._through_seq)
        for rows in self._lake.read(after_seq, ROWS_PER_READ):
            for frame in frames_of(up_to(rows, last_seq)):
                yield from self._gap(end, frame.first_seq)
                yield frame
                end = frame.last_seq
            if end >= last_seq:
                return
        yield from self._gap(end, last_seq + 1)

    def _gap(self, end: int, first_seq: int) -> Iterator[Damage]:
        if first_seq > end + 1:
            self.missing += first_seq - end - 1
            yield Damage(first_seq=end + 1, n=first_seq - end - 1, counts={}, reason=NOT_HERE)


def up_to(rows: Any, last_seq: int) -> Any:
    """Lake rows with seq <= `last_seq`; they are ascending."""
    table = Table.from_arrow(rows)
    seqs = table.column("seq")
    if not table.num_rows or seqs[-1].as_py() <= last_seq:
        return table
    return table.slice(0, bisect_right(seqs.to_pylist(), last_seq))


def rebuild(
    lake: Lake,
    open_reader: OpenReader,
    new: Warehouse,
    *,
    old: Warehouse | None = None,
    lake_gap: bool = False,
    horizon: Horizon | None = None,
    progress: Advance = lambda done, total: None,
) -> Report:
    """Load everything that lake and log hold into `new`, which is empty, and compare it with `old`.

    What retention removed from `old` is removed after the same event again. `horizon` is that of today: removals of
    more than that, when less was kept, are not made again, and after the comparison the new one is brought up to it.

    Whoever calls puts the new one in place. With `lake_gap`, seqs that neither has are left out and reported; without,
    they raise Damaged. Raises Unavailable when the disk gives out: then `new` is of no use.
    """
    began = monotonic()
    reader = open_reader()
    try:
        held = Held(reader.log_id, reader.first_seq(), reader.durable_seq())
        check(held, None, lake.position(), lake_gap=lake_gap, new_log=lake_gap)
        lost = lost_before(lake, reader, old)
    finally:
        reader.close()
    missing = -lake.expired().rows
    new.carry(carried(lake, old))
    for removal in old.removals() if old is not None else ():
        if horizon is None or horizon.reaches(removal.horizon):
            seq = min(removal.seq, held.durable_seq)
            missing += run(lake, open_reader, new, seq, lost, progress, through_seq=seq)[1]
            retention.apply(new, removal.horizon)
    joint, more = run(lake, open_reader, new, held.durable_seq, lost, progress)
    while new.maintain():
        pass
    seq = seq_of(new)
    totals = new.ledger(0, 0, None).totals
    compared_seq = min(seq, seq_of(old)) if old is not None else None
    found = [] if old is None or compared_seq is None else differences(old, new, compared_seq)
    if horizon is not None:
        retention.apply(new, horizon)
    return Report(
        seq=seq,
        from_lake=min(joint, seq),
        missing=missing + more,
        lost=sum(lost.values()),
        seconds=monotonic() - began,
        counts={outcome: getattr(totals, outcome) for outcome in OUTCOMES},
        compared_seq=compared_seq,
        differences=found,
    )


def fill(
    lake: Lake, open_reader: OpenReader, warehouse: Warehouse, progress: Advance = lambda done, total: None
) -> None:
    """Load from the lake what lies between the warehouse's position and the lake's: `positions.check` asked for it."""
    position = lake.position()
    run(lake, open_reader, warehouse, position.seq if position else 0, {}, progress)


def differences(old: Warehouse, new: Warehouse, seq_max: int) -> list[str]:
    """What is not the same in both up to that seq: rows by content, and ledger totals where both stand there."""
    found = []
    before, after = old.digest(seq_max), new.digest(seq_max)
    for table in sorted({*before, *after}):
        (rows_old, sum_old), (rows_new, sum_new) = before.get(table, (0, 0)), after.get(table, (0, 0))
        if rows_old != rows_new:
            found.append(f"{table}: {rows_new} rows, before {rows_old}")
        elif sum_old != sum_new:
            found.append(f"{table}: {rows_new} rows, not all with the same content")
    if seq_of(old) == seq_of(new) == seq_max:
        found += ledger_differences(old, new)
    return found


def ledger_differences(old: Warehouse, new: Warehouse) -> list[str]:
    """Of two that stand at the same seq. Reads no rows."""
    was, now = old.ledger(0, 0, None).totals, new.ledger(0, 0, None).totals
    return [
        f"ledger: {getattr(now, outcome)} {outcome}, before {getattr(was, outcome)}"
        for outcome in OUTCOMES
        if getattr(was, outcome) != getattr(now, outcome)
    ]


def run(
    lake: Lake,
    open_reader: OpenReader,
    warehouse: Warehouse,
    seq: int,
    lost: Counts,
    progress: Advance,
    *,
    through_seq: int = SEQ_MAX,
) -> tuple[int, int]:
    """Stream into the warehouse until it stands at `seq`; (where the log took over, seqs that were nowhere)."""
    after_seq = seq_of(warehouse)
    readers: list[LakeThenLog] = []
    stop = threading.Event()

    def opened() -> LogReader:
        readers.append(LakeThenLog(lake, open_reader(), after_seq, lost, through_seq))
        return readers[-1]

    def on_loaded(block: Block, loaded: Loaded) -> None:
        progress(block.position.seq, max(seq, block.position.seq))
        if block.position.seq >= seq:
            stop.set()

    def on_stall(reason: str | None) -> None:
        raise Unavailable(f"the new warehouse can't be written: {reason}")

    if after_seq < seq:
        Stream(opened, warehouse, linger_seconds=0.0, on_loaded=on_loaded, on_stall=on_stall).run(stop)
    return max((each.joint for each in readers), default=0), max((each.missing for each in readers), default=0)


def carried(lake: Lake, old: Warehouse | None) -> list[LedgerRow]:
    """What became of the events that the lake no longer keeps: as the old ledger has it, else they were removed."""
    expired = lake.expired().counts
    if not expired:
        return []
    rows = old.ledger(0, MINUTES_MAX, None).rows if old is not None else ()
    before = {(row.minute, row.source): msgspec.structs.replace(row, lost=0) for row in rows}
    found = []
    for (minute, source), n in expired.items():
        row = before.get((minute, source))
        known = row is not None and sum(getattr(row, outcome) for outcome in OUTCOMES) == n
        found.append(row if known and row is not None else LedgerRow(minute, source, removed=n))
    return found


def lost_before(lake: Lake, reader: LogReader, old: Warehouse | None) -> Counts:
    """What the old ledger counts as lost and the log can't tell again, since it lies before the lake's position."""
    if old is None or old.ledger(0, 0, None).totals.lost == 0:
        return {}
    rows = old.ledger(0, MINUTES_MAX, None).rows
    lost = Counter({(row.minute, row.source): row.lost for row in rows if row.lost})
    position = lake.position()
    after_seq = max(position.seq if position else 0, reader.first_seq() - 1)
    durable_seq = reader.durable_seq()
    while after_seq < durable_seq:
        found = reader.read(after_seq, ROWS_PER_READ, 0.0)
        for each in found:
            if isinstance(each, Damage):
                lost.subtract(dict(each.counts))
        after_seq = found[-1].last_seq
    return dict(+lost)


def seq_of(warehouse: Warehouse) -> int:
    position = warehouse.position()
    return position.seq if position else 0
