"""Short lives of a log on a disk that fails, and what must hold after each."""

import contextlib
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.simdisk import PowerCut, SimDisk, without_syncs

from headwater.domain.errors import Damaged, HeadwaterError
from headwater.storage.log.base import Counts, Damage, Entry, Frame, Kind, SegmentCounts
from headwater.storage.log.files import open_reader, open_writer

CONSUMERS = ("process", "lake")
WAIT_SECONDS = 30.0
NOTHING_KEPT = frozenset(["DISK_FULL", "READ_ONLY", "LOG_FAILED", "LOG_FULL", "LOG_QUEUE_FULL"])
"""Refusals that promise that nothing of the request is in the log."""


class Book:
    """What a client knows: what it sent and what it was told."""

    def __init__(self) -> None:
        self.sent: dict[bytes, Entry] = {}
        self.acknowledged: dict[bytes, int] = {}
        """First seq by payload."""
        self.refused: dict[bytes, str] = {}
        self.trimmed: dict[tuple[bytes, int], SegmentCounts] = {}
        self.reports: dict[str, set[int]] = {name: {0} for name in CONSUMERS}

    def copy(self) -> "Book":
        made = Book()
        made.sent, made.acknowledged, made.refused = dict(self.sent), dict(self.acknowledged), dict(self.refused)
        made.trimmed = dict(self.trimmed)
        made.reports = {name: set(seqs) for name, seqs in self.reports.items()}
        return made


class LogLife:
    """A seeded workload on a log in `<root>/log`. Appends are answered one by one, so that operations repeat."""

    def __init__(self, root: Path, seed: int, disk: SimDisk) -> None:
        self.url = f"file://{root}/log"
        self.chance = random.Random(seed)
        self.disk = disk
        self.book = Book()
        self.changed = threading.Condition()
        self.settings: dict[str, Any] = {
            "segment_bytes": self.chance.choice((4500, 5200, 7000, 20_000)),
            "age_hours_max": self.chance.choice((0, 72)),
            "consumers": CONSUMERS,
        }
        self.writer: Any = None
        self.readings: list[Any] = []

    def run(self, steps: int) -> None:
        """Ends early, without a word, where the power is cut."""
        try:
            self._open()
            for _ in range(steps):
                action: Callable[[], object] = self.chance.choice(ACTIONS).__get__(self)
                try:
                    action()
                except HeadwaterError as error:
                    self._unless_stopped(error)
            self.writer.close()
            self.writer = None
        except PowerCut:
            self.disk.power_off()
        finally:
            self.end()

    def end(self) -> None:
        if self.writer is not None:
            with contextlib.suppress(PowerCut):
                self.writer.close()
            self.writer = None
        for reader in self.readings:
            reader.close()
        self.readings.clear()

    def _open(self) -> None:
        """As a person would: again, where the disk did not let it start."""
        for _ in range(20):
            try:
                self.writer = open_writer(self.url, self._on_durable, **self.settings)
            except HeadwaterError as error:
                assert error.code in NOTHING_KEPT, f"opening failed with {error.code}: {error}"
            else:
                return
        raise AssertionError("the disk works again and the log does not open")

    def _unless_stopped(self, error: HeadwaterError) -> None:
        """A log that stopped for good says how to go on: by a restart."""
        if error.code in ("LOG_STOPPED", "LOG_REPLACED", "LOG_CLOSED"):
            assert error.code == "LOG_STOPPED", error
            self.disk.met["log stopped, restarted"] += 1
            self._reopen()
        else:
            assert error.code in NOTHING_KEPT | {"LOG_UNREADABLE", "OUTCOME_UNKNOWN"}, f"{error.code}: {error}"

    def _append(self) -> None:
        self._wait(self._hand_over())

    def _append_many(self) -> None:
        for _ in range(self.chance.randint(2, 6)):
            self._append()

    def _append_group(self) -> None:
        """The rest comes while the first is synced: it becomes one frame, or one of each kind."""
        more = [self._entry() for _ in range(self.chance.randint(1, 5))]
        self.disk.at_sync = lambda: [self.writer.append(entry, entry.payload) for entry in more]
        try:
            self._wait(self._hand_over())
        finally:
            late, self.disk.at_sync = self.disk.at_sync, None
        for entry in more:
            if late is not None:
                self.writer.append(entry, entry.payload)
            self._wait([entry.payload])

    def _entry(self) -> Entry:
        n = self.chance.randint(1, 6)
        size = self.chance.choice((8, 8, 40, 300, 900, 3000))
        payload = len(self.book.sent).to_bytes(4, "big") + self.chance.randbytes(size)
        kind = Kind.REPLAY if self.chance.random() < 0.1 else Kind.EVENTS
        web = self.chance.randint(0, n)
        counts = {} if kind is Kind.REPLAY else {k: v for k, v in (("web", web), ("ios", n - web)) if v}
        entry = Entry(payload, n, 100 + self.chance.randint(-3, 5), counts, kind)
        self.book.sent[payload] = entry
        return entry

    def _hand_over(self) -> list[bytes]:
        entry = self._entry()
        try:
            self.writer.append(entry, entry.payload)
        except HeadwaterError as error:
            self.book.refused[entry.payload] = error.code
            raise
        return [entry.payload]

    def _wait(self, payloads: Sequence[bytes]) -> None:
        book = self.book
        with self.changed:
            answered = lambda: all(p in book.acknowledged or p in book.refused for p in payloads)  # noqa: E731
            assert self.changed.wait_for(lambda: self.disk.dead or answered(), WAIT_SECONDS), "no answer"
        if self.disk.dead:
            raise PowerCut

    def _on_durable(self, outcomes: Sequence[tuple[bytes, Any]]) -> None:
        with self.changed:
            if not self.disk.dead:
                for payload, outcome in outcomes:
                    if isinstance(outcome, int):
                        self.book.acknowledged[payload] = outcome
                    else:
                        self.book.refused[payload] = outcome.code
            self.changed.notify_all()

    def _report(self) -> None:
        reader = self.writer.reader()
        try:
            for name in CONSUMERS:
                seq = reader.durable_seq() if self.chance.random() < 0.8 else reader.reported(name)
                self.book.reports[name].add(seq)
                reader.report(name, seq)
        finally:
            reader.close()

    def _trim(self) -> None:
        def keep(counts: SegmentCounts) -> None:
            self.book.trimmed[counts.log_id, counts.segment] = counts

        with contextlib.suppress(OSError):
            self.writer.trim(keep)

    def _report_and_trim(self) -> None:
        self._report()
        self._trim()

    def _read(self) -> None:
        """A reader of another process, which must be given nothing that is not durable."""
        reader = open_reader(self.url)
        self.readings.append(reader)
        for item in read_all(reader):
            assert isinstance(item, Frame), f"damage in a log that was only written: {item}"

    def _reopen(self) -> None:
        self.writer.close()
        self.writer = None
        self._open()


ACTIONS = (
    LogLife._append,
    LogLife._append,
    LogLife._append_many,
    LogLife._append_group,
    LogLife._append_group,
    LogLife._report,
    LogLife._report_and_trim,
    LogLife._read,
    LogLife._reopen,
)


def read_all(reader: Any, chance: random.Random | None = None) -> list[Frame | Damage]:
    """From the log's first seq on."""
    items: list[Frame | Damage] = []
    after_seq = reader.first_seq() - 1
    while found := reader.read(after_seq, chance.randint(1, 30) if chance else 1000, 0.0):
        assert found[0].first_seq > after_seq
        items += found
        after_seq = items[-1].last_seq
    return items


@without_syncs()
def check_log(root: Path, book: Book, *, damage: bool = False) -> list[Damage]:
    """Open the log that a life left in `root` and compare it with the book. Raises AssertionError.

    With `damage` what is missing may be told as damage instead. Returns the damages.
    """
    answers: list[Any] = []
    writer = open_writer(f"file://{root}/log", answers.extend, consumers=CONSUMERS)
    try:
        reader = writer.reader()
        items = read_all(reader, random.Random(0))
        places = _places_of(items, book)
        damages = [item for item in items if isinstance(item, Damage)]
        assert damage or not damages, f"damage without a cause: {damages}"
        before = _named_as_before(reader, book) if damage else 0
        _check_acknowledged(places, book, damages, before)
        held = reader.headers()
        given = _sum([item.counts for item in items])
        assert _sum([part.counts for part in held]) == given, "headers and frames tell different counts"
        if not damage:
            _check_conserved(held, places, book)
        for name in CONSUMERS:
            assert reader.reported(name) in book.reports[name], f"{name} is reported where it never was"
        last = max([0, *(item.last_seq for item in items), *_last_seqs(book)])
        assert writer.durable_seq() >= max([0, *_last_seqs(book)]), "the durable seq went back"
        reader.close()
        writer.append(Entry(b"afterwards", 2, 200, {"web": 2}), None)
    finally:
        writer.close()
    ((_, seq),) = answers
    assert isinstance(seq, int) and seq > last, f"seq {seq} was given again, or not: {last} was the last"
    with contextlib.closing(open_reader(f"file://{root}/log")) as reader:
        again = read_all(reader)
        assert again[-1].payloads == [b"afterwards"]
        assert [_facts(item) for item in again[:-1]] == [_facts(item) for item in items], "it reads differently now"
    return damages


def _facts(item: Frame | Damage) -> tuple[Any, ...]:
    return (type(item), item.first_seq, item.n, dict(item.counts))


def _places_of(items: Sequence[Frame | Damage], book: Book) -> dict[bytes, int]:
    """First seq of each entry in the log; each is one that was sent, whole, once, where it was not said to be out."""
    places: dict[bytes, int] = {}
    for frame in items:
        if isinstance(frame, Damage):
            continue
        seq = frame.first_seq
        expected: dict[tuple[int, str], int] = {}
        for payload, n in zip(frame.payloads, frame.entry_sizes, strict=True):
            entry = book.sent.get(payload)
            assert entry is not None, f"seq {seq} was never sent: {payload[:20]!r}"
            assert (entry.n, entry.kind) == (n, frame.kind)
            assert payload not in places, f"doubled: at {places[payload]} and {seq}"
            code = book.refused.get(payload, "")
            assert code not in NOTHING_KEPT, f"seq {seq} was refused as {code}, and is stored"
            places[payload] = seq
            seq += n
            for label, k in entry.counts.items():
                expected[entry.minute, label] = expected.get((entry.minute, label), 0) + k
        assert expected == dict(frame.counts), f"counts of frame {frame.first_seq} are not those of its entries"
    return places


def _named_as_before(reader: Any, book: Book) -> int:
    """The last seq before the log as it is now: whoever has not got that far is told so by name."""
    before: int = reader.first_seq() - 1
    for seq in [0, *sorted(seq - 1 for seq in book.acknowledged.values())]:
        if seq < before:
            try:
                reader.read(seq, 10, 0.0)
            except Damaged as error:
                assert error.code == "POSITION_BEHIND_LOG" and error.hint, error
            else:
                raise AssertionError(f"position {seq} lies before {before} and nothing is said")
    return before


def _check_acknowledged(places: Mapping[bytes, int], book: Book, damages: Sequence[Damage], before: int) -> None:
    gone = [(counts.segment, counts.last_seq) for counts in book.trimmed.values()]
    lost = [(damage.first_seq, damage.last_seq) for damage in damages]
    for payload, seq in book.acknowledged.items():
        if payload in places:
            assert places[payload] == seq, f"acknowledged as {seq}, found at {places[payload]}"
            continue
        n = book.sent[payload].n
        told = any(first <= seq and seq + n - 1 <= last for first, last in [*gone, *lost, (1, before)])
        assert told, f"seq {seq} was acknowledged and is silently missing"


def _check_conserved(held: Sequence[SegmentCounts], places: Mapping[bytes, int], book: Book) -> None:
    """Trimmed counts and headers together are what is acknowledged and what is there besides, once."""
    parts = {(part.log_id, part.segment): part for part in held} | book.trimmed
    received = {**places, **book.acknowledged}
    # An unacknowledged entry may be in a segment that is trimmed already: it was received too.
    expected = _sum([{(book.sent[p].minute, label): k for label, k in book.sent[p].counts.items()} for p in received])
    total = _sum([part.counts for part in parts.values()])
    missing = {key: n - total.get(key, 0) for key, n in expected.items() if total.get(key, 0) < n}
    assert not missing, f"received and not counted: {missing}"
    over = {key: n - expected.get(key, 0) for key, n in total.items() if n > expected.get(key, 0)}
    unknown = [p for p, code in book.refused.items() if code == "OUTCOME_UNKNOWN"]
    unknown += [p for p in book.sent if p not in book.refused and p not in book.acknowledged]
    may_be = _sum([{(book.sent[p].minute, label): k for label, k in book.sent[p].counts.items()} for p in unknown])
    assert all(n <= may_be.get(key, 0) for key, n in over.items()), f"counted and never received: {over}"


def _last_seqs(book: Book) -> list[int]:
    return [seq + book.sent[payload].n - 1 for payload, seq in book.acknowledged.items()]


def _sum(parts: Sequence[Counts]) -> dict[tuple[int, str], int]:
    total: dict[tuple[int, str], int] = {}
    for counts in parts:
        for key, n in counts.items():
            total[key] = total.get(key, 0) + n
    return {key: n for key, n in total.items() if n}
