"""A warehouse made again from lake and log is the one that it was."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archiving import Archiving, flip_a_bit_of
from frames import batch_of, event

from headwater.domain.batches import Batch, Form, Verdict
from headwater.domain.errors import Damaged
from headwater.process.rebuild import LakeThenLog, Report, differences, fill, rebuild
from headwater.process.stream import Stream
from headwater.storage.log.base import Damage, Kind
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Warehouse

Open = Callable[[str], Warehouse]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Archiving]:
    place = Archiving(tmp_path)
    yield place
    place.close()


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Open]:
    opened: list[Warehouse] = []

    def named(name: str) -> Warehouse:
        opened.append(open_warehouse(f"duckdb://{tmp_path / name}"))
        return opened[-1]

    yield named
    for each in opened:
        each.close()


def load_from_log(place: Archiving, warehouse: Warehouse) -> None:
    """What the ordinary stream makes of the log."""
    seq = place.writer.durable_seq()
    stop = threading.Event()

    def on_loaded(block: Any, loaded: Any) -> None:
        if block.position.seq >= seq:
            stop.set()

    position = warehouse.position()
    if position is not None and position.seq >= seq:
        return
    Stream(place.writer.reader, warehouse, linger_seconds=0.0, events_per_load_max=50, on_loaded=on_loaded).run(stop)


def rebuilt(place: Archiving, warehouse: Warehouse, old: Warehouse | None, **settings: Any) -> Report:
    return rebuild(place.lake(), place.writer.reader, warehouse, old=old, **settings)


def random_batch(chance: random.Random) -> tuple[Batch, list[Any]]:
    """Few ids, so that many repeat; some broken, some without an id, some from sources beyond the limit."""
    events: list[Any] = []
    verdicts: list[Verdict] = []
    for index in range(chance.randrange(1, 6)):
        if chance.random() < 0.15:
            events.append(b'{"name":5,"x":"\xff"}')
            verdicts.append(Verdict(index, "BROKEN", "broken", "(unknown)"))
            continue
        made = event(chance.randrange(40), source=chance.choice(["web", "ios"]))
        if chance.random() < 0.2:
            del made["id"]
        if chance.random() < 0.2:
            del made["timestamp"]
        events.append(made)
    suppressed = tuple(verdict.index for verdict in verdicts if chance.random() < 0.3)
    return batch_of(events, form=Form.NDJSON, verdicts=verdicts, suppressed=suppressed), events


def append_random(place: Archiving, seed: int, batches: int) -> None:
    chance = random.Random(seed)
    for _ in range(batches):
        batch, events = random_batch(chance)
        place.append(batch, events=events)


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_original_wherever_the_lake_ends(place: Archiving, warehouse: Open, seed: int) -> None:
    append_random(place, seed, 30)
    place.seal_all(events_per_seal=25)
    append_random(place, seed + 100, 10)
    old = warehouse("old")
    load_from_log(place, old)
    heard: list[tuple[float, float | None]] = []
    report = rebuilt(place, warehouse("new"), old, progress=lambda done, total: heard.append((done, total)))
    assert report.equal, report.sentence()
    assert 0 < report.from_lake < report.seq == report.compared_seq == place.writer.durable_seq()
    assert heard[-1] == (report.seq, report.seq)
    assert sum(report.counts.values()) == report.seq
    assert min(report.counts[outcome] for outcome in ("stored", "duplicate", "quarantined", "suppressed")) > 0
    assert "the same rows, duplicates and quarantine" in report.sentence()


def test_without_an_old_warehouse_it_says_that_nothing_was_compared(place: Archiving, warehouse: Open) -> None:
    append_random(place, 1, 5)
    place.seal_all()
    report = rebuilt(place, warehouse("new"), None)
    assert report.compared_seq is None
    assert report.facts()["equal"] is None
    assert "no old warehouse" in report.sentence()


def test_a_lake_without_rows_leaves_everything_to_the_log(place: Archiving, warehouse: Open) -> None:
    append_random(place, 1, 5)
    report = rebuilt(place, warehouse("new"), None)
    assert report.from_lake == 0
    assert report.seq == place.writer.durable_seq()


def test_a_difference_is_told(place: Archiving, warehouse: Open) -> None:
    place.append(batch_of([event(1), event(2)]))
    old = warehouse("old")
    load_from_log(place, old)
    place.append(batch_of([event(3)]))
    place.seal_all()
    other = Archiving(place.folder / "other")
    other.append(batch_of([event(1), event(1)]), batch_of([event(3)]))
    other.seal_all()
    report = rebuilt(other, warehouse("new"), old)
    other.close()
    assert report.compared_seq == 2
    assert not report.equal
    assert [each.partition(":")[0] for each in report.differences] == ["duplicates", "events"]
    assert "differs from the old one" in report.sentence()


def test_a_changed_value_is_a_difference_though_the_counts_agree(place: Archiving, warehouse: Open) -> None:
    other = Archiving(place.folder / "other")
    for each, n in ((place, 1), (other, 2)):
        each.append(batch_of([event(n, id=event(1)["id"], timestamp="2026-11-24T09:00:00Z", name=f"n{n}")]))
    left, right = warehouse("left"), warehouse("right")
    load_from_log(place, left)
    load_from_log(other, right)
    other.close()
    assert differences(left, right, 1) == ["events: 1 rows, not all with the same content"]


def test_events_that_were_lost_are_counted_as_lost_again(place: Archiving, warehouse: Open) -> None:
    batches = [batch_of([event(n), event(n + 50)]) for n in range(1, 6)]
    place.append(*batches)
    place.writer.close()
    for lost in (batches[1], batches[3]):
        flip_a_bit_of(lost.batch_id, place.folder / "log")
    place.open_writer()
    old = warehouse("old")
    load_from_log(place, old)
    place.seal_all()
    report = rebuilt(place, warehouse("new"), old)
    assert report.equal, report.sentence()
    assert (report.missing, report.lost, report.counts["lost"], report.counts["stored"]) == (4, 4, 4, 6)


def test_replays_come_out_the_same(place: Archiving, warehouse: Open) -> None:
    bad = batch_of([event(1), b'{"name":5}'], verdicts=[Verdict(1, "BROKEN", "broken", "web")])
    place.append(bad)
    place.append(batch_of([event(2)], replays_seq=(2,)), kind=Kind.REPLAY)
    place.append(batch_of([event(3)], replays_seq=(2,)), kind=Kind.REPLAY)
    place.seal_all()
    old = warehouse("old")
    load_from_log(place, old)
    report = rebuilt(place, warehouse("new"), old)
    assert report.equal, report.sentence()


def test_a_warehouse_behind_is_filled_up_to_where_the_lake_ends(place: Archiving, warehouse: Open) -> None:
    whole, behind = warehouse("whole"), warehouse("behind")
    append_random(place, 1, 10)
    load_from_log(place, behind)
    append_random(place, 2, 10)
    place.seal_all()
    sealed = place.writer.durable_seq()
    append_random(place, 3, 10)
    load_from_log(place, whole)
    fill(place.lake(), place.writer.reader, behind)
    position = behind.position()
    assert position is not None
    assert position.seq >= sealed
    assert differences(whole, behind, position.seq) == []
    load_from_log(place, behind)
    assert differences(whole, behind, place.writer.durable_seq()) == []


def test_a_part_that_was_read_can_be_read_again(place: Archiving) -> None:
    """The stream looks whether there is anything, waits for more, and reads again from the same place."""
    append_random(place, 1, 20)
    place.seal_all()
    reader = LakeThenLog(place.lake(), place.writer.reader(), 0, {})
    first = reader.read(0, 1, 0.0)
    assert reader.read(0, 1, 0.0) == first
    everything = reader.read(0, 1_000_000, 0.0)
    assert everything[0] == first[0]
    after = everything[0].last_seq
    assert list(reader.read(after, 1_000_000, 0.0)) == list(everything[1:])
    assert reader.read(0, 1, 0.0) == first
    reader.close()


def test_lost_counts_are_given_once_and_gaps_are_told(place: Archiving) -> None:
    place.append(batch_of([event(1)]))
    place.seal_all()
    lost = {(5, "web"): 3}
    reader = LakeThenLog(place.lake(), place.writer.reader(), 0, lost)
    first, second = reader.read(0, 1, 0.0)
    assert isinstance(first, Damage)
    assert (first.counts, first.n) == (lost, 0)
    assert second.first_seq == 1
    reader.close()


def test_a_lake_that_does_not_reach_the_log_is_refused_unless_a_person_takes_the_gap(
    place: Archiving, warehouse: Open
) -> None:
    """A log that begins at 101 beside a lake that ends at 2."""
    place.append(batch_of([event(1), event(2)]))
    place.seal_all()
    place.writer.close()
    late = Archiving(place.folder / "late", first_seq_min=101)
    late.append(batch_of([event(3)]))
    with pytest.raises(Damaged, match="another log"):
        rebuild(place.lake(), late.writer.reader, warehouse("refused"))
    report = rebuild(place.lake(), late.writer.reader, warehouse("taken"), lake_gap=True)
    assert (report.seq, report.missing, report.counts["stored"]) == (101, 98, 3)
    late.close()
