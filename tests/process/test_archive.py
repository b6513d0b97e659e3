"""Log → lake: everything in it, once, told to the log only when it is durable."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from archiving import WAIT_SECONDS, Archiving, flip_a_bit_of
from frames import batch_of, event
from tests.bad_days.days import filled, mounted

from headwater.domain.batches import Form, Verdict
from headwater.domain.errors import Unavailable
from headwater.process.archive import CONSUMER
from headwater.storage.log.base import Kind, Position


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Archiving]:
    place = Archiving(tmp_path)
    yield place
    place.close()


def test_old_quarantined_and_repeated_events_are_in_the_lake(place: Archiving) -> None:
    imported = [event(1, timestamp="1999-12-31T23:59:59Z"), event(2, timestamp="2012-02-29T00:00:00Z")]
    place.append(batch_of(imported, key_id="local"))
    broken = batch_of(
        [event(3), b'{"name":7}', b"\xff no json"],
        form=Form.NDJSON,
        verdicts=[Verdict(1, "TYPE_MISMATCH", "$[1].name", "web"), Verdict(2, "MALFORMED", "$[2]", "(unknown)")],
        suppressed=(2,),
    )
    place.append(broken, events=[event(3), b"", b""])
    place.append(batch_of(imported, key_id="local"))
    place.append(batch_of([event(9)], replays_seq=(4,)), kind=Kind.REPLAY)
    place.seal_all()
    assert place.column("seq") == [*range(1, 9)]
    texts = place.column("event")
    assert texts[:2] == texts[5:7]
    assert "1999-12-31" in texts[0]
    assert texts[3:5] == ['{"name":7}', "\\xff no json"]
    assert place.column("event_bytes")[4] == b"\xff no json"
    assert place.column("code") == [None, None, None, "TYPE_MISMATCH", "MALFORMED", None, None, None]
    assert place.column("suppressed") == [False] * 4 + [True] + [False] * 3
    assert place.column("source_label") == ["web"] * 4 + ["(unknown)"] + ["web"] * 3
    assert place.column("replays_seq") == [None] * 7 + [4]
    assert place.column("kind") == [1] * 7 + [2]


def test_it_seals_when_enough_events_wait(place: Archiving) -> None:
    for n in range(6):
        place.append(batch_of([event(n), event(n + 100)]))
    place.start(events_per_seal=4)
    place.wait_sealed(12)
    assert [seal.events for seal in place.seals] == [4, 4, 4]


def test_it_seals_when_enough_bytes_wait(place: Archiving) -> None:
    for n in range(3):
        place.append(batch_of([event(n)]))
    place.start(events_per_seal=1, bytes_per_seal=1)
    place.wait_sealed(3)
    assert [seal.events for seal in place.seals] == [1, 1, 1]


def test_it_seals_when_the_first_has_waited_long_enough(place: Archiving) -> None:
    place.start(seconds_per_seal=0.05)
    place.append(batch_of([event(1)]))
    place.wait_sealed(1)
    place.append(batch_of([event(2)]))
    place.wait_sealed(2)


def test_a_flush_seals_what_is_durable_now(place: Archiving) -> None:
    archive = place.start()
    place.append(batch_of([event(1)]), batch_of([event(2)]))
    assert archive.flush(WAIT_SECONDS)
    assert archive.sealed_seq == 2
    assert place.column("seq") == [1, 2]
    assert archive.flush(WAIT_SECONDS)
    assert len(place.seals) == 1


def test_a_flush_of_what_does_not_run_says_so(place: Archiving) -> None:
    archive = place.start()
    place.stop()
    assert archive.flush(0.01) is False


def test_what_is_gathered_is_sealed_at_the_end(place: Archiving) -> None:
    place.append(batch_of([event(1)]))
    archive = place.start()
    while archive.gathered_seq == 0:
        os.sched_yield()
    place.stop()
    assert place.column("seq") == [1]


def test_the_log_hears_of_a_seal_and_again_at_the_next_start(place: Archiving) -> None:
    place.append(batch_of([event(1)]))
    place.seal_all()
    reader = place.writer.reader()
    assert reader.reported(CONSUMER) == 1
    reader.report(CONSUMER, 0)
    archive = place.start()
    assert archive.flush(WAIT_SECONDS)
    assert reader.reported(CONSUMER) == 1
    reader.close()


def test_it_goes_on_where_the_lake_stands(place: Archiving) -> None:
    for n in range(1, 4):
        place.append(batch_of([event(n)]))
        place.seal_all()
    assert place.column("seq") == [1, 2, 3]
    assert place.lake().position() == Position(place.writer.log_id, 3)


def test_a_full_disk_under_the_lake_is_told_and_waited_for_and_nothing_is_lost(place: Archiving) -> None:
    place.append(batch_of([event(1)]))
    with mounted(place.folder / "lake", 4) as disk:
        place.start(events_per_seal=1)
        place.wait_sealed(1)
        ballast = filled(disk, 0)
        place.append(batch_of([event(2)]))
        place.wait_told(lambda told: len(told) >= 2)
        assert {str(reason).partition(":")[0] for reason in place.told} == {"DISK_FULL"}
        place.append(batch_of([event(3)]))
        ballast.unlink()
        place.wait_sealed(3)
        assert place.told[-1] is None
        place.stop()
        assert place.failure is None
        assert place.column("seq") == [1, 2, 3]


def test_it_stops_at_once_while_the_disk_is_full(place: Archiving) -> None:
    with mounted(place.folder / "lake", 4) as disk:
        place.append(batch_of([event(1)]))
        place.seal_all()
        ballast = filled(disk, 0)
        place.append(batch_of([event(2)]))
        place.start(events_per_seal=1)
        place.wait_told(lambda told: len(told) >= 1)
        place.stop()
        assert place.failure is None
        assert place.seals[-1].position.seq == 1
        ballast.unlink()
        place.seal_all()
        assert place.column("seq") == [1, 2]


def test_an_fsync_that_fails_is_tried_again_with_a_new_file(place: Archiving, monkeypatch: pytest.MonkeyPatch) -> None:
    place.append(batch_of([event(1)]))
    fsync = os.fsync

    def failing_fsync(descriptor: int) -> None:
        if not place.told and Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(".parquet"):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing_fsync)
        place.start(events_per_seal=1)
        place.wait_sealed(1)
    assert str(place.told[0]).startswith("LAKE_FAILED")
    assert place.told[1:] == [None]
    assert place.column("seq") == [1]


def test_a_lake_that_is_no_longer_open_ends_it_and_the_next_run_loses_nothing(place: Archiving) -> None:
    archive = place.start(events_per_seal=1)
    archive.lake.close()
    place.append(batch_of([event(1)]))
    place.wait_over()
    assert isinstance(place.failure, Unavailable)
    assert place.failure.code == "LAKE_CLOSED"
    place.seal_all()
    assert place.column("seq") == [1]


LONG_REST = 1e9


def test_it_rests_while_others_are_busy_and_goes_on_afterwards(place: Archiving) -> None:
    busy = threading.Event()
    busy.set()
    looks: list[int] = []

    def is_busy() -> bool:
        looks.append(archive.gathered_seq)
        if len(looks) == 3:
            busy.clear()
        return busy.is_set()

    place.append(batch_of([event(1)]))
    archive = place.start(events_per_seal=1, busy=is_busy, rest_seconds_max=LONG_REST)
    place.wait_sealed(1)
    assert looks[:3] == [0, 0, 0]


def test_busy_or_not_it_falls_behind_no_further_than_it_may(place: Archiving) -> None:
    place.append(batch_of([event(1), event(2)]))
    place.append(batch_of([event(3), event(4)]))
    place.start(events_per_seal=1, busy=lambda: True, rest_seconds_max=LONG_REST, events_behind_max=3)
    place.wait_sealed(2)
    place.append(batch_of([event(5), event(6)]))
    place.wait_sealed(4)
    place.stop()
    assert place.column("seq") == [*range(1, 7)], "the end of the log is brought in at the stop"


def test_busy_or_not_bytes_are_a_bound_too_by_the_size_of_the_last_events(place: Archiving) -> None:
    busy = threading.Event()
    place.append(batch_of([event(1)]))
    place.start(events_per_seal=1, busy=busy.is_set, rest_seconds_max=LONG_REST, bytes_behind_max=1000)
    place.wait_sealed(1)
    busy.set()
    for n in range(2, 10):
        place.append(batch_of([event(n)]))
    place.wait_sealed(3)


def test_however_busy_it_is_it_looks_at_the_log_now_and_then(place: Archiving) -> None:
    place.append(batch_of([event(1)]))
    place.start(events_per_seal=1, busy=lambda: True, rest_seconds_max=0.01)
    place.wait_sealed(1)


def test_a_flush_does_not_wait_for_the_busy(place: Archiving) -> None:
    place.append(batch_of([event(1)]))
    archive = place.start(busy=lambda: True, rest_seconds_max=LONG_REST)
    assert archive.flush(WAIT_SECONDS)
    assert place.column("seq") == [1]


def test_what_the_log_can_not_read_is_told_and_the_rest_is_kept(place: Archiving) -> None:
    batches = [batch_of([event(n)]) for n in range(1, 4)]
    place.append(*batches)
    place.writer.close()
    flip_a_bit_of(batches[1].batch_id, place.folder / "log")
    place.open_writer()
    place.seal_all()
    assert [(damage.first_seq, damage.n) for seal in place.seals for damage in seal.damages] == [(2, 1)]
    assert place.column("seq") == [1, 3]


def test_a_new_log_is_taken_on_at_once_and_gone_on_with(place: Archiving) -> None:
    place.append(batch_of([event(1), event(2)]))
    place.seal_all()
    place.writer.close()
    (place.folder / "log").rename(place.folder / "old-log")
    place.log_settings = {"first_seq_min": 101}
    place.open_writer()
    place.seal_all()
    assert place.lake().position() == Position(place.writer.log_id, 100)
    place.append(batch_of([event(3)]))
    place.seal_all()
    assert place.column("seq") == [1, 2, 101]
