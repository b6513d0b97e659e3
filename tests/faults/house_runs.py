"""Short lives of a whole house on a disk that fails: log, stream, warehouse, archive, lake, ledger, replay.

Everything runs in turn in one thread, so a seed always gives the same life. The engine's own files are taken as they
lie at the moment of a cut; where that is right after a commit which nobody was told of, its write-ahead log may be
torn inside that commit, as it is when the power goes in the middle of it.
"""

import itertools
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from tests.faults.lake_runs import many_short_lives
from tests.faults.simdisk import PowerCut, SimDisk, without_syncs
from tests.replaying import NOON_US, PRICES, SENDERS, TO_NUMBER, MadeJob, purchase

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, judge
from headwater.collect.replay import Args, Replays
from headwater.collect.validate import Moment
from headwater.domain.batches import Batch, encode_batch, new_uuid7
from headwater.domain.errors import HeadwaterError
from headwater.domain.events import minute_of
from headwater.domain.patches import Operation
from headwater.domain.plans import Chosen, EventsPage
from headwater.domain.schemas import rules_from
from headwater.process import archive as archiving
from headwater.process import stream as streaming
from headwater.process.archive import Archive
from headwater.process.ledger import LedgerView, ledger_view
from headwater.process.positions import Held, check, first_of_new_log
from headwater.process.rebuild import fill, rebuild
from headwater.process.stream import Stream
from headwater.storage import crash
from headwater.storage.catalog import open_catalog
from headwater.storage.lake import open_lake
from headwater.storage.log import open_log_reader, open_log_writer
from headwater.storage.log.base import Entry, SegmentCounts
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.duckdb import load, removals, seal, switch  # noqa: F401 their crash points

OPAQUE = ("warehouse", "catalog")
CONSUMERS = ("process", "lake")
WAIT_SECONDS = 30.0
QUERY_SECONDS = 20.0
MINUTE_US = 60_000_000
TORN_AT = ("warehouse.load.after_commit", "warehouse.seal.after_commit")
"""Commits that nobody has been told of yet."""
PASSING = frozenset(["DISK_FULL", "READ_ONLY", "LAKE_FAILED", "LOG_FAILED", "OUTCOME_UNKNOWN"])


class Book:
    """What the clients sent and were told. An event of theirs is good where the collector let it pass."""

    def __init__(self) -> None:
        self.sent: list[list[Any]] = []
        self.good: dict[int, list[str]] = {}
        """Ids of the good events of a batch that have one."""
        self.size: dict[int, int] = {}
        self.acknowledged: set[int] = set()

    def copy(self) -> "Book":
        made = Book()
        made.sent, made.good, made.size = list(self.sent), dict(self.good), dict(self.size)
        made.acknowledged = set(self.acknowledged)
        return made


class House:
    """The parts, opened in a folder. Raises what they raise."""

    def __init__(self, root: Path, book: Book, is_dead: Callable[[], bool] = lambda: False) -> None:
        self.root, self.book, self.is_dead = root, book, is_dead
        self.url = f"file://{root}/log"
        self.rules = rules_from([PRICES], "allow", 1)
        self.changed = threading.Condition()
        self.answered: dict[int, Any] = {}
        self.open: list[Any] = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self.catalog = self._kept(open_catalog(f"sqlite://{self.root}/catalog.sqlite"))
        self.warehouse = self._kept(
            open_warehouse(
                f"duckdb://{self.root}/warehouse/warehouse.duckdb", seal_rows=60, seal_rows_min=30, threads=1
            )
        )
        self.lake = self._kept(open_lake(f"file://{self.root}/lake"))
        positions = self.warehouse.position(), self.lake.position()
        self.writer = self._kept(
            open_log_writer(
                self.url,
                self._on_durable,
                segment_bytes=6000,
                age_hours_max=0,
                consumers=CONSUMERS,
                first_seq_min=first_of_new_log(*positions),
                make=not any(positions),
            )
        )
        reader = self.writer.reader()
        held = Held(reader.log_id, reader.first_seq(), reader.durable_seq())
        reader.close()
        if check(held, *positions).fill:
            fill(self.lake, self.writer.reader, self.warehouse)

    def _kept(self, part: Any) -> Any:
        self.open.append(part)
        return part

    def close(self) -> None:
        while self.open:
            part = self.open.pop()
            try:
                part.close()
            except HeadwaterError:
                # A disk that is full does not let the warehouse fold its log in; the next opening does.
                continue

    def send(self, number: int, received_us: int, sent_us: int | None) -> None:
        """One request, answered at return. Raises what refuses it."""
        events = self.book.sent[number]
        body = b"[" + b",".join(e if isinstance(e, bytes) else msgspec.json.encode(e) for e in events) + b"]"
        judged = judge(body, Case(SENDERS["key"], Moment(received_us, sent_us), Bounds(), self.rules))
        batch_id = new_uuid7(received_us)
        batch = Batch(
            batch_id=batch_id.bytes,
            received_us=received_us,
            n=judged.n,
            form=judged.form,
            body=body,
            key_id="key",
            source="site",
            id_base=batch_id.bytes,
            sent_us=judged.sent_us,
            verdicts=judged.verdicts,
            suppressed=tuple(v.index for v in judged.verdicts if v.index % 5 == 4),
        )
        bad = {verdict.index for verdict in judged.verdicts}
        self.book.good[number] = [e["id"] for i, e in enumerate(events) if i not in bad and "id" in e]
        self.book.size[number] = judged.n
        self.answered.pop(number, None)
        self.writer.append(Entry(encode_batch(batch), batch.n, minute_of(received_us), dict(judged.sources)), number)
        with self.changed:
            assert self.changed.wait_for(lambda: self.is_dead() or number in self.answered, WAIT_SECONDS)
        if self.is_dead():
            raise PowerCut
        if isinstance(self.answered[number], Exception):
            raise self.answered[number]

    def _on_durable(self, outcomes: Sequence[tuple[int | None, Any]]) -> None:
        with self.changed:
            for number, outcome in outcomes:
                if callable(number):
                    number(outcome)
                elif number is not None and not self.is_dead():
                    self.answered[number] = outcome
                    if isinstance(outcome, int):
                        self.book.acknowledged.add(number)
            self.changed.notify_all()

    def load(self) -> int:
        """Everything durable goes into the warehouse, and what is due is sealed."""
        stop = threading.Event()
        position = self.warehouse.position()
        durable = self.writer.durable_seq()
        if (position.seq if position else 0) < durable:

            def on_loaded(block: Any, loaded: Any) -> None:
                if block.position.seq >= durable:
                    stop.set()

            Stream(
                self.writer.reader, self.warehouse, linger_seconds=0.0, events_per_load_max=40, on_loaded=on_loaded
            ).run(stop)
        self.maintain()
        return 0

    def maintain(self) -> None:
        for _ in range(20):
            while self.warehouse.state.database.upkeep.running:
                threading.Event().wait(0.001)
            if not self.warehouse.maintain():
                return

    def archive(self) -> None:
        """Everything durable goes into the lake, which is opened anew after."""
        self.open.remove(self.lake)
        stop = threading.Event()
        stop.set()
        try:
            Archive(self.writer.reader(), self.lake, events_per_seal=30).run(stop)
        finally:
            self.lake.close()
            self.lake = self._kept(open_lake(f"file://{self.root}/lake"))

    def trim(self) -> None:
        def keep(counts: SegmentCounts) -> None:
            self.catalog.add_trimmed("default", counts)

        try:
            self.writer.trim(keep)
        except OSError:
            return  # the supervisor's business: it is tried again

    def replay(self) -> None:
        """Prices that came as text become numbers, as a job that may be cut off anywhere."""
        replays = Replays(
            self.warehouse,
            self.writer,
            rules=lambda: self.rules,
            sender_of=SENDERS.get,
            bounds=Bounds(),
            lag=self.load,
            page_events=3,
        )
        operations = msgspec.convert(TO_NUMBER, tuple[Operation, ...])
        args = Args(Chosen(), operations, replays.through_seq())
        job = MadeJob(msgspec.to_builtins(args))
        job.on_check = self._go_on
        replays.run(job)

    def _go_on(self) -> None:
        """What runs beside a job, whenever it looks whether it is to go on."""
        if self.is_dead():
            raise PowerCut
        self.load()

    def ledger(self) -> LedgerView:
        reader = self.writer.reader()
        try:
            return ledger_view(self.warehouse, reader, self.catalog, "default", 0, 10**9)
        finally:
            reader.close()


class HouseLife:
    """A seeded workload on a house."""

    def __init__(self, root: Path, seed: int, disk: SimDisk) -> None:
        self.root, self.disk = root, disk
        self.chance = random.Random(seed)
        self.book = Book()
        self.ids = itertools.count(1)
        self.now_us = NOON_US
        self.house: House | None = None
        self.told: Counter[str] = Counter()
        self.wal_bytes = 0

    def run(self, steps: int) -> None:
        """Ends early where the power is cut."""
        try:
            with quick(self.disk, self._at_point):
                self._open()
                for _ in range(steps):
                    self._step()
        except PowerCut:
            self.disk.power_off()
        finally:
            if not self.disk.dead:
                self.disk.power_off()
            with quick(self.disk, self._at_point):
                self._close()

    def _open(self) -> None:
        for _ in range(30):
            try:
                self.house = House(self.root, self.book, lambda: self.disk.dead)
            except (HeadwaterError, OSError) as error:
                self.told[getattr(error, "code", type(error).__name__)] += 1
            else:
                return
        raise AssertionError(f"the disk works again and the house does not open: {dict(self.told)}")

    def _step(self) -> None:
        assert self.house is not None
        step = self.chance.choice(STEPS)
        try:
            if step == "send":
                for _ in range(self.chance.randint(1, 3)):
                    self._send()
            elif step == "clock":
                self.now_us += self.chance.choice((-7200, -61, 30, 59, 3600, 90_000)) * 1_000_000
            elif step == "restart":
                self._close()
                self._open()
            else:
                getattr(self.house, step)()
        except (HeadwaterError, OSError) as error:
            # A supervisor would start it again; a request is answered with it.
            self.told[getattr(error, "code", type(error).__name__)] += 1
            self._close()
            self._open()

    def _send(self) -> None:
        assert self.house is not None
        if self.book.sent and self.chance.random() < 0.2:
            number = self.chance.randrange(len(self.book.sent))  # a client that did not hear the answer
        else:
            number = len(self.book.sent)
            self.book.sent.append([self._event() for _ in range(self.chance.randint(1, 9))])
        self.now_us += self.chance.randint(0, 2 * MINUTE_US)
        sent_us = self.now_us - 3_000_000 if self.chance.random() < 0.3 else None
        self.house.send(number, self.now_us, sent_us)

    def _event(self) -> Any:
        n = next(self.ids)
        dice = self.chance.random()
        if dice < 0.1:
            return b'{"name":5,"x":"\xff"}'
        if dice < 0.25:
            return purchase(n, str(n), source=self.chance.choice(("web", "ios")))
        event = purchase(n, n, source=self.chance.choice(("web", "ios")))
        if dice < 0.35:
            del event["id"]
        if dice < 0.45:
            del event["timestamp"]
        return event

    def _at_point(self, name: str) -> None:
        """Remember how long the engine's log was before the commit that may be torn."""
        if name == "warehouse.load.before_commit" or name == "warehouse.seal.before_commit":
            self.wal_bytes = self._wal_size(self.root)
        self.disk.crash_point(name)

    def tear_wal(self, after: Path, chance: random.Random) -> bool:
        """In what is left: the last commit half written, where nobody has been told of it."""
        wal = after / "warehouse" / "warehouse.duckdb.wal"
        if self.disk.ops[-1].path not in TORN_AT or not wal.exists():
            return False
        content = wal.read_bytes()
        if len(content) <= self.wal_bytes:
            return False
        wal.write_bytes(content[: chance.randint(self.wal_bytes, len(content))])
        return True

    @staticmethod
    def _wal_size(root: Path) -> int:
        wal = root / "warehouse" / "warehouse.duckdb.wal"
        return wal.stat().st_size if wal.exists() else 0

    def _close(self) -> None:
        if self.house is not None:
            house, self.house = self.house, None
            while house.open:
                with suppress(PowerCut):
                    house.close()


STEPS = ("send", "send", "send", "send", "load", "load", "archive", "archive", "trim", "replay", "restart", "clock")


@contextmanager
def quick(disk: SimDisk | None = None, at_point: Callable[[str], None] | None = None) -> Iterator[None]:
    """Short waits, one engine for the lake, and crash points as operations of the disk."""
    waits = [(module, module.RETRY_SECONDS_MIN) for module in (archiving, streaming)]
    for module, _ in waits:
        module.RETRY_SECONDS_MIN = 0.001
    points = [(m, m.crash_point) for m in list(sys.modules.values()) if hasattr(m, "crash_point")] if at_point else []
    # Not where it is defined: a module imported meanwhile would keep it.
    points = [(m, p) for m, p in points if m.__name__.startswith("headwater.") and m is not crash]
    for module, _ in points:
        module.crash_point = at_point  # type: ignore[attr-defined]
    try:
        with many_short_lives():
            yield
    finally:
        for module, seconds in waits:
            module.RETRY_SECONDS_MIN = seconds
        for module, point in points:
            module.crash_point = point  # type: ignore[attr-defined]


def check_house(root: Path, book: Book, now_us: int, *, again: bool) -> Counter[str]:
    """Open what is left, let it catch up, let the clients send again what they have no answer for: then everything is
    stored once, the ledger balances, and a warehouse made anew is the same. Raises AssertionError."""
    with quick(), without_syncs():
        house = House(root, book)
        try:
            _catch_up(house)
            totals = _balanced(house)
            stored = _stored(house)
            acknowledged = {event for number in book.acknowledged for event in book.good[number]}
            missing = acknowledged - stored.keys()
            assert not missing, f"{len(missing)} acknowledged events are missing"
            received = sum(book.size[number] for number in book.acknowledged)
            assert totals["received"] >= received, f"{totals['received']} received, {received} acknowledged"
            for number in sorted(book.good.keys() - book.acknowledged):
                house.send(number, now_us, None)
            _catch_up(house)
            totals = _balanced(house)
            stored = _stored(house)
            good = {event for ids in book.good.values() for event in ids}
            assert good <= stored.keys(), "not stored, though sent again"
            if again:
                _rebuilt_equal(root, house)
        finally:
            house.close()
    return Counter(totals)


def _catch_up(house: House) -> None:
    house.load()
    house.archive()
    house.trim()


def _balanced(house: House) -> dict[str, int]:
    view = house.ledger()
    assert all(row.balanced for row in view.rows), f"unbalanced: {[row for row in view.rows if not row.balanced]}"
    totals = view.totals.counts()
    assert view.totals.balanced and not totals["inFlight"] and not totals["lost"], totals
    return {name: int(n) for name, n in totals.items() if name != "balanced"}


def _stored(house: House) -> dict[str, int]:
    table = house.warehouse.run(EventsPage(limit=1000), QUERY_SECONDS)
    place = list(table.columns).index("id")
    found = Counter(str(row[place]) for row in table.rows)
    doubled = {event: n for event, n in found.items() if n > 1}
    assert not doubled, f"doubled: {doubled}"
    totals = house.ledger().totals
    assert len(table.rows) == totals.stored, f"{len(table.rows)} rows, the ledger says {totals.stored} stored"
    seqs = [seq for rows in house.lake.read(0, 1000) for seq in rows["seq"].to_pylist()]
    assert seqs == sorted(set(seqs)), "the lake has rows twice"
    return dict(found)


def _rebuilt_equal(root: Path, house: House) -> None:
    new = open_warehouse(f"duckdb://{root}/again/warehouse.duckdb", seal_rows=60, seal_rows_min=30, threads=1)
    try:
        report = rebuild(house.lake, lambda: open_log_reader(house.url), new, old=house.warehouse)
        assert report.equal and not report.missing, report.sentence()
    finally:
        new.close()
