"""What every backend of the log promises (storage/log/base.py)."""

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.errors import BadInput, Damaged, Unavailable
from headwater.storage.log import KNOWN, open_log_reader, open_log_writer
from headwater.storage.log.base import Entry, Frame, Kind, LogReader, LogWriter, SegmentCounts

EMBEDDED = {"file"}


class Opened:
    """A log of one backend at a fresh place, with the writer's answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[Any, Any] = {}
        self.calls = 0
        self._changed = threading.Condition()
        self._closing = contextlib.ExitStack()

    def on_durable(self, outcomes: Sequence[tuple[Any, Any]]) -> None:
        with self._changed:
            self.calls += 1
            self.answers.update(outcomes)
            self._changed.notify_all()

    def writer(self, **settings: Any) -> LogWriter:
        writer = open_log_writer(self.url, self.on_durable, **settings)
        self._closing.callback(writer.close)
        return writer

    def reader(self) -> LogReader:
        reader = open_log_reader(self.url)
        self._closing.callback(reader.close)
        return reader

    def wait_for(self, *tokens: Any) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: all(token in self.answers for token in tokens), 20)
            return [self.answers[token] for token in tokens]

    def close(self) -> None:
        self._closing.close()


@pytest.fixture(params=sorted(KNOWN))
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    scheme = request.param
    if scheme in EMBEDDED:
        url = f"{scheme}://{tmp_path / 'log'}"
    else:
        variable = f"HEADWATER_TEST_LOG_{scheme.upper()}"
        if variable not in os.environ:
            pytest.skip(f"set {variable} to a URL")
        url = f"{os.environ[variable]}/{tmp_path.name}"
    opened = Opened(url)
    yield opened
    opened.close()


def entry(n: int = 1, payload: bytes = b"x", minute: int = 100, source: str = "web") -> Entry:
    return Entry(payload, n, minute, {source: n})


def frames(reader: LogReader, after_seq: int = 0) -> list[Frame]:
    found: list[Frame] = []
    while reader.durable_seq() > after_seq:
        for item in reader.read(after_seq, 100_000, 0.0):
            assert isinstance(item, Frame)
            found.append(item)
            after_seq = item.last_seq
    return found


def test_a_new_log_is_empty_and_gives_one_first(log: Opened) -> None:
    writer, reader = log.writer(), log.reader()
    assert (writer.durable_seq(), reader.durable_seq(), reader.first_seq(), reader.headers()) == (0, 0, 1, [])
    assert len(writer.log_id) == 16
    assert writer.log_id == reader.log_id
    assert reader.read(0, 10, 0.0) == []


def test_entries_keep_their_order_and_get_one_seq_an_event(log: Opened) -> None:
    writer = log.writer()
    for index in range(300):
        writer.append(entry(1 + index % 4, b"%d" % index), index)
    outcomes = log.wait_for(*range(300))
    expected, seq = [], 1
    for index in range(300):
        expected.append(seq)
        seq += 1 + index % 4
    assert outcomes == expected
    assert log.calls <= 300
    read = frames(log.reader())
    assert [payload for frame in read for payload in frame.payloads] == [b"%d" % index for index in range(300)]
    assert [n for frame in read for n in frame.entry_sizes] == [1 + index % 4 for index in range(300)]
    assert all(frame.n == sum(frame.entry_sizes) for frame in read)


def test_an_answered_entry_is_there_for_a_reader_at_once(log: Opened) -> None:
    writer, reader = log.writer(), log.reader()
    for token in range(20):
        writer.append(entry(), token)
        (seq,) = log.wait_for(token)
        assert reader.durable_seq() >= seq
        assert reader.read(seq - 1, 10, 0.0)[0].first_seq == seq


def test_entries_from_many_threads_all_get_their_own_seqs(log: Opened) -> None:
    writer = log.writer()

    def append(lane: int) -> None:
        for index in range(50):
            writer.append(entry(2, b"%d %d" % (lane, index)), (lane, index))

    threads = [threading.Thread(target=append, args=(lane,)) for lane in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes = log.wait_for(*((lane, index) for lane in range(8) for index in range(50)))
    assert sorted(outcomes) == list(range(1, 801, 2))
    for lane in range(8):
        own = outcomes[lane * 50 : lane * 50 + 50]
        assert own == sorted(own)
    assert writer.queued() == (0, 0)


def test_a_frame_holds_at_most_twenty_thousand_events_of_one_kind(log: Opened) -> None:
    writer = log.writer()
    for index in range(12):
        writer.append(entry(6_000), index)
        writer.append(Entry(b"again", 10, 100, {}, Kind.REPLAY), f"replay {index}")
    log.wait_for(*range(12), *(f"replay {index}" for index in range(12)))
    read = frames(log.reader())
    assert all(frame.n <= 20_000 for frame in read)
    assert sum(frame.n for frame in read) == 12 * 6_010
    assert all(not frame.counts for frame in read if frame.kind is Kind.REPLAY)
    assert {len(set(frame.payloads)) for frame in read} == {1}


@pytest.mark.parametrize("n", [0, 10_001])
def test_an_entry_holds_one_to_ten_thousand_events(log: Opened, n: int) -> None:
    with pytest.raises(BadInput):
        log.writer().append(entry(n), 0)


def test_numbers_and_id_go_on_after_a_restart(log: Opened) -> None:
    first = log.writer()
    first.append(entry(5), "a")
    first.close()
    second = log.writer()
    assert (second.log_id, second.durable_seq()) == (first.log_id, 5)
    second.append(entry(2), "b")
    assert log.wait_for("a", "b") == [1, 6]


def test_a_new_log_begins_where_it_is_told(log: Opened) -> None:
    writer = log.writer(first_seq_min=5001)
    reader = log.reader()
    assert reader.first_seq() == 5001
    assert reader.read(5000, 10, 0.0) == []
    writer.append(entry(2), "a")
    assert log.wait_for("a") == [5001]
    with pytest.raises(Damaged) as caught:
        log.reader().read(0, 10, 0.0)
    assert caught.value.code == "POSITION_BEHIND_LOG"


def test_a_position_beyond_the_end_is_refused(log: Opened) -> None:
    log.writer().append(entry(3), "a")
    log.wait_for("a")
    with pytest.raises(Damaged) as caught:
        log.reader().read(4, 10, 0.0)
    assert caught.value.code == "POSITION_AHEAD_OF_LOG"


def test_a_read_stops_before_too_many_events_but_gives_one_frame(log: Opened) -> None:
    writer = log.writer()
    for token in range(6):
        writer.append(entry(10), token)
        log.wait_for(token)
    reader = log.reader()
    assert [frame.n for frame in reader.read(0, 35, 0.0)] == [10, 10, 10]
    assert [frame.first_seq for frame in reader.read(30, 1, 0.0)] == [31]
    assert [frame.first_seq for frame in reader.read(10, 20, 0.0)] == [11, 21]


def test_a_read_stops_before_too_many_bytes_but_gives_one_frame(log: Opened) -> None:
    writer = log.writer()
    for token in range(6):
        writer.append(entry(1, b"%d" % token * 10_000), token)
        log.wait_for(token)
    reader = log.reader()
    assert [frame.first_seq for frame in reader.read(0, 100, 0.0, 35_000)] == [1, 2, 3]
    assert [frame.first_seq for frame in reader.read(3, 100, 0.0, 9_000)] == [4]
    assert [frame.first_seq for frame in reader.read(3, 100, 0.0)] == [4, 5, 6]


@pytest.mark.parametrize("where", ["own", "other"])
def test_a_waiting_reader_is_given_what_becomes_durable(log: Opened, where: str) -> None:
    writer = log.writer()
    reader = writer.reader() if where == "own" else log.reader()
    given: list[Any] = []
    waiting = threading.Thread(target=lambda: given.extend(reader.read(0, 10, 20.0)))
    waiting.start()
    writer.append(entry(3, b"woken"), 0)
    waiting.join(10)
    assert [frame.payloads for frame in given] == [[b"woken"]]
    reader.close()


def test_headers_count_what_readers_are_given(log: Opened) -> None:
    writer = log.writer()
    for index in range(40):
        writer.append(entry(1 + index % 3, minute=100 + index // 20, source=f"s{index % 5}"), index)
        if index % 7 == 0:
            log.wait_for(index)
    log.wait_for(39)
    reader = log.reader()
    for after in (0, *(frame.last_seq for frame in frames(reader))):
        expected: dict[tuple[int, str], int] = {}
        for frame in frames(reader, after):
            for key, n in frame.counts.items():
                expected[key] = expected.get(key, 0) + n
        total: dict[tuple[int, str], int] = {}
        for part in reader.headers(after):
            assert part.log_id == reader.log_id
            for key, n in part.counts.items():
                total[key] = total.get(key, 0) + n
        assert total == expected


def test_reports_are_seen_by_every_reader(log: Opened) -> None:
    log.writer()
    one, other = log.reader(), log.reader()
    assert one.reported("process") == 0
    one.report("process", 7)
    assert other.reported("process") == 7
    one.report("process", 3)
    assert other.reported("process") == 3


def test_trimming_hands_over_all_counts_and_keeps_what_is_not_reported(log: Opened) -> None:
    writer = log.writer(segment_bytes=6000, age_hours_max=-1, consumers=("process",))
    for token in range(40):
        writer.append(entry(1, os.urandom(500)), token)
        log.wait_for(token)
    kept: list[SegmentCounts] = []
    assert writer.trim(kept.append) == 0
    reader = log.reader()
    reader.report("process", 30)
    assert writer.trim(kept.append) > 0
    assert 1 < reader.first_seq() <= 31
    assert [frame.first_seq for frame in frames(log.reader(), 30)] == list(range(31, 41))
    held = sum(sum(part.counts.values()) for part in reader.headers())
    assert sum(sum(part.counts.values()) for part in kept) + held == 40
    assert kept[-1].last_seq == reader.first_seq() - 1


def test_a_closed_writer_has_answered_all_and_takes_no_more(log: Opened) -> None:
    writer = log.writer()
    for token in range(100):
        writer.append(entry(), token)
    writer.close()
    writer.close()
    assert [log.answers[token] for token in range(100)] == list(range(1, 101))
    with pytest.raises(Unavailable):
        writer.append(entry(), "late")


def test_a_log_has_one_writer(log: Opened) -> None:
    log.writer()
    with pytest.raises(Unavailable):
        log.writer()


def test_the_facts_tell_frames_bytes_and_syncs(log: Opened) -> None:
    writer = log.writer()
    writer.append(entry(), 0)
    log.wait_for(0)
    facts = writer.facts()
    assert facts["frames"] == 1
    assert facts["bytes"] >= facts["frame_bytes"] > 0
    assert facts["sync_seconds"] > 0
    assert facts["sync_failures"] == facts["write_failures"] == facts["damaged_ranges"] == 0


def test_an_unknown_scheme_is_told_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="known: file"):
        open_log_reader("kafka://host")
