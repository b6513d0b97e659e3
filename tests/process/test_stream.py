"""From a log to a warehouse, whole: once, in order, whatever breaks on the way."""

import os
import signal
import threading
import uuid
from pathlib import Path
from time import monotonic

import msgspec
import pytest
from frames import batch_of, event
from house import House

from headwater.domain.batches import Verdict
from headwater.domain.errors import Unavailable
from headwater.process import feed as feeds
from headwater.process.decoders import Inline
from headwater.process.feed import Feed
from headwater.process.receipt import find_receipts
from headwater.process.workers import Workers
from headwater.storage.log.base import Frame


def id_of(n: int) -> str:
    return str(uuid.UUID(int=n, version=4))


@pytest.fixture
def house(tmp_path: Path):
    house = House(tmp_path)
    yield house
    house.close()


def receipt(house: House, n: int):
    reader = house.writer.reader()
    try:
        return find_receipts(house.warehouse, reader, id_of(n), None)
    finally:
        reader.close()


def test_what_is_in_the_log_comes_into_the_warehouse_once_and_is_counted(house):
    house.append(*[batch_of([event(10 * k + i) for i in range(10)]) for k in range(20)])
    stream = house.start()
    house.wait_loaded(stream)
    house.append(batch_of([event(0), event(900)]), batch_of([event(900), event(901)]))
    house.wait_loaded(stream)
    house.stop()
    totals = house.ledger().totals
    assert (totals.received, totals.stored, totals.duplicate, totals.in_flight) == (204, 202, 2, 0)
    assert totals.balanced
    assert stream.gauges.outcomes["stored"] == 202 and stream.gauges.outcomes["duplicate"] == 2
    assert stream.gauges.events == 204 and stream.lag(house.writer.durable_seq()) == 0
    assert sum(stream.gauges.commit_buckets) == stream.gauges.loads


def test_another_start_goes_on_where_the_last_commit_ended(house):
    house.append(batch_of([event(1), event(2)]))
    house.wait_loaded(house.start())
    house.stop()
    house.append(batch_of([event(3)]))
    stream = house.start()
    house.wait_loaded(stream)
    house.stop()
    assert stream.gauges.events == 1
    assert house.ledger().totals.stored == 3


def test_the_log_is_told_only_what_the_warehouse_has(house):
    house.append(batch_of([event(1), event(2)]))
    reader = house.writer.reader()
    assert reader.reported("process") == 0
    stream = house.start()
    house.wait_loaded(stream)
    house.stop()
    assert reader.reported("process") == 2 == house.warehouse.position().seq
    reader.close()


def test_the_collectors_verdicts_are_in_quarantine_and_counted(house):
    events = [event(1), event(2, timestamp="no"), event(3, timestamp="no")]
    verdicts = [Verdict(i, "TYPE_MISMATCH", f"$[{i}].timestamp: no", "web") for i in (1, 2)]
    house.append(batch_of(events, verdicts=verdicts, suppressed=(2,)))
    house.wait_loaded(house.start())
    house.stop()
    totals = house.ledger().totals
    assert (totals.stored, totals.quarantined, totals.suppressed, totals.balanced) == (1, 1, 1, True)
    assert [(r.state, r.reason) for r in receipt(house, 2)] == [("quarantined", "TYPE_MISMATCH")]


def test_a_receipt_follows_an_event_from_the_log_into_the_warehouse(house):
    batch = batch_of([event(1), event(2, name=5)])
    house.append(batch)
    (flying,) = receipt(house, 1)
    assert (flying.state, flying.seq, flying.source) == ("inFlight", 1, "web")
    assert flying.batch_id == str(uuid.UUID(bytes=batch.batch_id))
    assert [r.state for r in receipt(house, 2)] == ["inFlight"]
    assert receipt(house, 77) == []
    house.wait_loaded(house.start())
    house.stop()
    assert [r.state for r in receipt(house, 1)] == ["stored"]
    assert [r.state for r in receipt(house, 2)] == ["quarantined"]


@pytest.mark.parametrize("bad", [[7], [0], [29], [3, 4, 21]])
def test_events_that_can_not_be_stored_go_to_quarantine_alone(house, bad):
    # The collector checks ids; this is what is left if it ever lets one through.
    events = [event(n, id="no-uuid") if n in bad else event(n) for n in range(30)]
    house.append(batch_of(events[:10]), batch_of(events[10:]))
    stream = house.start()
    house.wait_loaded(stream)
    house.stop()
    totals = house.ledger().totals
    assert (totals.stored, totals.quarantined, totals.balanced) == (30 - len(bad), len(bad), True)
    assert stream.gauges.rejects == {("load", "LOAD_FAILED"): len(bad)}
    assert house.supervisor is None and "failed" not in [state for _, state, _ in house.states]


class Tripping:
    """The warehouse, out of order for a while."""

    def __init__(self, warehouse, failures: int) -> None:
        self.warehouse = warehouse
        self.failures = failures

    def load(self, block):
        if self.failures:
            self.failures -= 1
            raise Unavailable("no space left on the disk", code="DISK_FULL")
        return self.warehouse.load(block)

    def __getattr__(self, name):
        return getattr(self.warehouse, name)


def test_errors_of_the_machine_are_told_and_tried_again_and_no_event_is_blamed(house):
    told = []
    house.append(batch_of([event(1)]))
    stream = house.start(warehouse=Tripping(house.warehouse, 2), on_stall=told.append)
    house.wait_loaded(stream)
    house.stop()
    assert told == ["DISK_FULL: no space left on the disk"] * 2 + [None]
    assert house.ledger().totals.stored == 1 and stream.gauges.retries == 2
    assert not stream.gauges.rejects


def test_stopping_while_the_machine_refuses_does_not_wait_for_it(house):
    stalled = threading.Event()
    house.append(batch_of([event(1)]))
    house.start(warehouse=Tripping(house.warehouse, 10**9), on_stall=lambda reason: stalled.set())
    assert stalled.wait(20)
    house.stop()
    assert house.warehouse.position() is None


class Shaky(Inline):
    """A decoder that breaks on its second block, once."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def take(self):
        self.taken += 1
        if self.taken == 2:
            raise RuntimeError("shaky")
        return super().take()


def test_a_decoding_thread_that_dies_is_started_again_with_everything_it_had(house):
    house.append_each(*[batch_of([event(10 * k + i) for i in range(10)]) for k in range(5)])
    stream = house.start(decoder=Shaky(), events_per_load_max=10)
    assert "shaky" in house.wait_state("failed")
    house.wait_loaded(stream)
    house.stop()
    assert house.ledger().totals.stored == 50 and house.ledger().totals.balanced


def test_workers_killed_under_load_lose_and_double_nothing(house):
    workers = Workers(2)
    try:
        house.append_each(*[batch_of([event(50 * k + i) for i in range(50)]) for k in range(40)])
        killed = 0

        def kill(block, loaded) -> None:
            nonlocal killed
            if killed < 6:
                os.kill(workers.pids()[0], signal.SIGKILL)
                killed += 1
            house._notify()

        stream = house.start(decoder=workers, events_per_load_max=200)
        stream.on_loaded = kill
        house.wait_loaded(stream)
        house.stop()
        totals = house.ledger().totals
        assert (totals.received, totals.stored, totals.duplicate, totals.balanced) == (2000, 2000, 0, True)
        assert killed == 6 and workers.deaths >= 1
    finally:
        workers.close()


class Leaky(Inline):
    """Loses the last event of every block."""

    def take(self):
        block, stats = super().take()
        return msgspec.structs.replace(block, events=block.events.slice(0, block.events.num_rows - 1)), stats


def test_an_event_that_the_processor_loses_shows_in_the_ledger(house):
    house.append(batch_of([event(n) for n in range(10)]))
    house.wait_loaded(house.start(decoder=Leaky()))
    house.stop()
    view = house.ledger()
    assert (view.totals.received, view.totals.stored, view.totals.balanced) == (10, 9, False)
    assert [row.balanced for row in view.rows] == [False]


def test_a_flipped_bit_in_the_log_is_lost_and_the_rest_is_stored(tmp_path):
    house = House(tmp_path)
    house.append_each(*[batch_of([event(10 * k + i) for i in range(10)]) for k in range(3)])
    house.close()
    segment = max((tmp_path / "log").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[(4096 + len(data)) // 2] ^= 4  # behind the segment's head, in the middle frame
    segment.write_bytes(data)
    house = House(tmp_path)
    stream = house.start()
    house.wait_loaded(stream)
    house.stop()
    totals = house.ledger().totals
    assert (totals.received, totals.stored, totals.lost, totals.balanced) == (30, 20, 10, True)
    house.close()


def test_a_warehouse_of_another_log_is_refused(tmp_path):
    house = House(tmp_path)
    house.append(batch_of([event(1), event(2)]))
    house.wait_loaded(house.start())
    house.close()
    (tmp_path / "log").rename(tmp_path / "old")
    house = House(tmp_path)
    house.append(batch_of([event(3)]))
    house.start()
    assert "another log" in house.wait_state("failed")
    house.close()


def test_the_watermark_follows_the_clock_once_all_is_loaded(house):
    now = [5_000_000]
    stream = house.start()
    stream.watermark._clock = lambda: now[0]
    house.append(batch_of([event(1)]))
    house.wait_loaded(stream)
    until = threading.Event()
    for _ in range(2000):
        if stream.watermark.us >= 5_000_000:
            break
        until.wait(0.01)
    assert stream.watermark.us >= 5_000_000
    house.stop()


class Watched(Inline):
    """What was under way beside each load."""

    def __init__(self) -> None:
        super().__init__()
        self.beside: list[int] = []

    def begin(self) -> None:
        super().begin()
        self.beside.append(self.pending())


def test_whole_blocks_are_decoded_beside_the_load_of_the_one_before(house):
    house.append_each(*[batch_of([event(10 * k + i) for i in range(10)]) for k in range(5)])
    decoder = Watched()
    stream = house.start(decoder=decoder, events_per_load_max=10)
    house.wait_loaded(stream)
    house.stop()
    assert decoder.beside == [1, 1, 1, 1, 0] and house.ledger().totals.stored == 50


class Meanwhile:
    """A warehouse during whose first load more comes, frame by frame."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.sizes: list[int] = []

    def load(self, block):
        self.sizes.append(block.events.num_rows)
        if len(self.sizes) == 1:
            self.house.append_each(*[batch_of([event(100 + k)]) for k in range(4)])
        return self.house.warehouse.load(block)

    def __getattr__(self, name):
        return getattr(self.house.warehouse, name)


def test_what_comes_during_a_load_comes_with_the_very_next_one(house):
    house.append(batch_of([event(1), event(2)]))
    warehouse = Meanwhile(house)
    stream = house.start(warehouse=warehouse)
    house.wait_loaded(stream)
    house.stop()
    assert warehouse.sizes == [2, 4]


def feed_of(house: House, **settings) -> Feed:
    return Feed(house.writer.reader(), 0, **({"events_max": 20, "linger_seconds": 0.0} | settings))


def test_a_block_holds_at_most_so_many_events_and_leaves_nothing_out(house):
    for k in range(9):
        house.append(batch_of([event(7 * k + i) for i in range(7)]))
    feed, sizes, seqs = feed_of(house), [], []
    while frames := feed.next(0.0, threading.Event()):
        sizes.append(sum(frame.n for frame in frames))
        seqs += [frame.first_seq for frame in frames]
        assert feed.after_seq == frames[-1].last_seq
    assert sizes == [14, 14, 14, 14, 7] and seqs == [1 + 7 * k for k in range(9)]


def test_a_block_of_large_events_is_bounded_by_bytes(house, monkeypatch):
    monkeypatch.setattr(feeds, "BYTES_MAX", 25_000)
    for k in range(6):
        house.append(batch_of([event(k, data={"attributes": {"a": "x" * 10_000}})]))
    feed, sizes = feed_of(house), []
    while frames := feed.next(0.0, threading.Event()):
        assert all(isinstance(frame, Frame) for frame in frames)
        sizes.append(len(frames))
    assert sizes == [2, 2, 2]


def test_blocks_of_little_come_once_in_a_linger(house):
    feed, halt = feed_of(house, linger_seconds=0.2), threading.Event()
    begin = monotonic()
    for k in range(3):
        house.append(batch_of([event(k)]))
        assert len(feed.next(5.0, halt)) == 1
    assert monotonic() - begin >= 0.4


def test_a_whole_block_does_not_linger(house):
    feed = feed_of(house, linger_seconds=3600.0)
    house.append_each(*[batch_of([event(20 * k + i) for i in range(20)]) for k in range(3)])
    sizes = [sum(frame.n for frame in feed.next(0.0, threading.Event())) for _ in range(3)]
    assert sizes == [20, 20, 20]


def test_the_first_block_does_not_linger_and_lingering_ends_when_it_is_to_stop(house):
    feed, halt = feed_of(house, linger_seconds=3600.0), threading.Event()
    house.append(batch_of([event(1)]))
    assert len(feed.next(0.0, halt)) == 1
    halt.set()
    assert feed.next(0.0, halt) == []
