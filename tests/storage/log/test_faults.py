"""A disk that fails under a running writer."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.errors import TooLarge, Unavailable
from headwater.storage.log.base import Damage, Frame
from headwater.storage.log.segments import list_segments


def test_a_failed_fsync_is_answered_as_unknown_and_its_seqs_are_never_given_again(log: Any, summed: Any) -> None:
    log.open()
    assert log.write(2) == 1
    log.disk.sync_fails = 1
    outcome = log.write(3)
    assert isinstance(outcome, Unavailable)
    assert outcome.code == "OUTCOME_UNKNOWN"
    assert log.writer.durable_seq() == 2
    assert log.write(4) == 6
    assert list_segments(log.folder) == [1, 6]
    items = log.everything()
    assert [(type(item), item.first_seq, item.n) for item in items] == [(Frame, 1, 2), (Frame, 6, 4)]
    assert log.received() == summed(item.counts for item in items) == {(100, "web"): 6}


def test_bytes_beyond_a_failed_fsync_are_never_read_even_when_they_are_whole(log: Any, flip: Any) -> None:
    log.open()
    log.write(2)
    log.disk.sync_fails = 1
    log.write(3)
    log.write(4)
    log.close()
    assert [frame.first_seq for frame in log.frames_of(log.segments()[0])] == [1, 3]
    log.open()
    log.close()
    assert [item.first_seq for item in log.everything()] == [1, 6]
    flip(log.segments()[1], 30)  # the word where to stop stands twice
    assert [item.first_seq for item in log.everything()] == [1, 6]


def test_a_reader_does_not_keep_bytes_that_it_saw_before_they_were_durable(log: Any) -> None:
    log.open()
    log.write(1)
    with contextlib.closing(log.reader()) as reader:
        with log.segments()[0].open("ab") as file:
            file.write(b"half of a frame" * 30)
        assert reader.read(0, 10, 0.0)[0].first_seq == 1
        log.write(2)
        (frame,) = reader.read(1, 10, 0.0)
        assert (type(frame), frame.first_seq) == (Frame, 2)


def test_a_writer_that_dies_after_a_failed_fsync_leaves_a_log_that_recovers(log: Any) -> None:
    """The frame may be found: it was told as unknown. What is found is written and synced once more."""
    log.open()
    log.write(2)
    log.disk.sync_fails = 1
    log.write(3)
    log.close()
    log.disk.syncs.clear()
    log.open()
    assert log.disk.syncs[0] == "file"
    assert log.writer.durable_seq() == 5
    assert log.write(1) == 6
    assert [item.first_seq for item in log.everything()] == [1, 3, 6]


def test_fsyncs_failing_in_a_row_skip_their_seqs_and_the_log_reads_on(log: Any) -> None:
    log.open()
    log.write(2)
    log.disk.sync_fails = 1
    assert log.write(3).code == "OUTCOME_UNKNOWN"
    log.disk.sync_fails = 1
    assert log.write(3).code == "LOG_FAILED"  # no new segment could be made: nothing was written
    assert log.write(3) == 6
    log.disk.sync_fails = 1
    assert log.write(2).code == "OUTCOME_UNKNOWN"
    assert log.write(1) == 11
    items = log.everything()
    assert [(type(item), item.first_seq) for item in items] == [(Frame, 1), (Frame, 6), (Frame, 11)]
    with contextlib.closing(log.reader()) as reader:
        assert reader.read(2, 1, 0.0)[0].first_seq == 6


def test_an_empty_segment_after_skipped_seqs_keeps_them_skipped_over_a_restart(log: Any) -> None:
    log.open()
    log.write(2)
    log.disk.sync_fails = 1
    log.write(3)
    log.disk.room = 4096  # a segment's head fits, its first frame does not
    assert log.write(1).code == "DISK_FULL"
    log.disk.room = None
    log.close()
    assert list_segments(log.folder) == [1, 6]
    log.open()
    assert log.writer.durable_seq() == 2
    assert log.write(1) == 6


def test_skipped_seqs_stay_skipped_when_the_segment_that_says_so_is_deleted(log: Any) -> None:
    log.open()
    log.write(2)
    log.disk.sync_fails = 1
    log.write(3)
    log.disk.room = 4096
    log.write(1)
    log.disk.room = None
    log.close()
    log.open()
    log.close()
    log.segments()[-1].unlink()
    log.open()
    assert log.write(1) == 6
    assert [item.first_seq for item in log.everything()] == [1, 6]


def test_a_full_disk_keeps_nothing_and_appends_work_again_when_there_is_room(log: Any) -> None:
    log.open()
    assert log.write(2) == 1
    for room in (0, 10, 70):
        log.disk.room = room
        outcome = log.write(3)
        assert isinstance(outcome, Unavailable)
        assert (outcome.code, outcome.path) == ("DISK_FULL", str(log.folder))
    log.disk.room = None
    assert log.write(4) == 3
    log.close()
    log.open()
    assert [(item.first_seq, item.n) for item in log.everything()] == [(1, 2), (3, 4)]
    assert list_segments(log.folder) == [1]


def test_a_piece_of_a_frame_that_can_not_be_taken_back_closes_the_segment(log: Any) -> None:
    log.open()
    log.write(2)
    log.disk.room, log.disk.truncate_fails = 30, True
    assert log.write(3).code == "OUTCOME_UNKNOWN"
    log.disk.room, log.disk.truncate_fails = None, False
    assert log.write(1) == 6
    assert [(type(item), item.first_seq) for item in log.everything()] == [(Frame, 1), (Frame, 6)]


def test_a_disk_that_is_full_at_rotation_refuses_and_recovers(log: Any) -> None:
    log.open(segment_bytes=4500)
    log.write(1, bytes(range(250)))
    log.disk.room = 100
    assert log.write(1, bytes(range(250))).code == "DISK_FULL"
    log.disk.room = None
    assert log.write(1, bytes(range(250))) == 2
    assert list_segments(log.folder) == [1, 2]
    assert [item.first_seq for item in log.everything()] == [1, 2]


def test_a_read_only_folder_is_named_at_opening_and_while_running(log: Any) -> None:
    log.disk.read_only = True
    with pytest.raises(Unavailable) as caught:
        log.open()
    assert caught.value.code == "READ_ONLY"
    assert str(log.folder) in str(caught.value)
    log.disk.read_only = False
    log.open(segment_bytes=4500)
    log.write(1, bytes(range(250)))
    log.disk.read_only = True
    assert log.write(1, bytes(range(250))).code == "READ_ONLY"
    log.disk.read_only = False
    assert log.write(1) == 2


def test_a_folder_deleted_under_the_writer_acknowledges_nothing_more(log: Any) -> None:
    log.open()
    log.write(1)
    for path in log.segments():
        path.unlink()
    assert log.write(1).code == "LOG_REPLACED"
    with pytest.raises(Unavailable) as caught:
        log.append()
    assert caught.value.code == log.writer.broken().code == "LOG_REPLACED"


def test_nothing_is_given_to_a_reader_before_its_sync(log: Any) -> None:
    log.open()
    log.write(1)
    log.disk.may_sync.clear()
    token = log.append(2, b"written, not yet synced")
    assert log.disk.held.wait(20)
    with contextlib.closing(log.reader()) as reader:
        assert (reader.read(1, 10, 0.0), reader.durable_seq(), log.writer.durable_seq()) == ([], 1, 1)
        assert sum(log.received().values()) == 1
        log.disk.may_sync.set()
        assert log.answer(token) == 2
        assert reader.read(1, 10, 0.0)[0].payloads == [b"written, not yet synced"]


def test_damage_at_the_durable_end_does_not_reach_into_the_frame_being_written(log: Any, flip: Any) -> None:
    log.open()
    log.write(1)
    log.write(2)
    (path,) = log.segments()
    flip(path, log.frames_of(path)[1].offset)
    log.disk.may_sync.clear()
    token = log.append(3)
    assert log.disk.held.wait(20)
    with contextlib.closing(log.reader()) as reader:
        assert [(type(item), item.n) for item in reader.read(0, 10, 0.0)] == [(Frame, 1), (Damage, 2)]
        log.disk.may_sync.set()
        assert log.answer(token) == 4
        assert [(type(item), item.n) for item in reader.read(3, 10, 0.0)] == [(Frame, 3)]


def test_a_disk_that_can_not_be_read_now_is_no_damage(log: Any) -> None:
    log.open()
    log.write(1)
    with contextlib.closing(log.writer.reader()) as reader:
        log.disk.unreadable = True
        with pytest.raises(Unavailable) as caught:
            reader.read(0, 10, 0.0)
        assert caught.value.code == "LOG_UNREADABLE"
        log.disk.unreadable = False
        assert reader.read(0, 10, 0.0)[0].first_seq == 1


def test_the_queue_has_a_bound_in_bytes_and_says_so(log: Any) -> None:
    log.open(queue_bytes_max=1000)
    log.disk.may_sync.clear()
    tokens = [log.append(1, bytes(400)), log.append(1, bytes(400))]
    with pytest.raises(Unavailable) as caught:
        log.append(1, bytes(400))
    assert (caught.value.code, caught.value.limit) == ("LOG_QUEUE_FULL", 1000)
    assert log.writer.queued() == (2, 800)
    with pytest.raises(TooLarge):
        log.append(1, bytes(1001))
    log.disk.may_sync.set()
    assert [log.answer(token) for token in tokens] == [1, 2]
    assert log.write(1, bytes(400)) == 3
    assert log.writer.queued() == (0, 0)


def test_all_that_waits_during_a_sync_is_one_group_answered_by_one_call(log: Any) -> None:
    log.open()
    log.disk.may_sync.clear()
    tokens = [log.append(2) for _ in range(50)]
    log.disk.may_sync.set()
    assert [log.answer(token) for token in tokens] == list(range(1, 101, 2))
    assert len(log.groups) <= 2
    assert log.writer.facts()["frames"] == len(log.groups)


def test_a_full_log_that_no_consumer_has_read_refuses_and_trimming_makes_room(log: Any) -> None:
    log.open(segment_bytes=4500, bytes_max=20_000, consumers=("process",))
    with pytest.raises(Unavailable) as caught:
        for _ in range(100):
            log.write(1, bytes(range(250)))
    assert caught.value.code == "LOG_FULL"
    assert log.writer.trim(lambda counts: None) == 0
    with contextlib.closing(log.reader()) as reader:
        reader.report("process", reader.durable_seq())
    assert log.writer.trim(lambda counts: None) > 0
    assert isinstance(log.write(1), int)
    log.close()


def test_close_answers_everything_handed_over(log: Any) -> None:
    log.open()
    tokens = [log.append(1) for _ in range(200)]
    log.close()
    log.close()
    assert [log.answers[token] for token in tokens] == list(range(1, 201))
    with pytest.raises(Unavailable) as caught:
        log.append()
    assert caught.value.code == "LOG_CLOSED"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_in_the_answering_stops_the_writer_loudly(tmp_path: Path, log: Any) -> None:
    log.open()

    def broken(outcomes: Any) -> None:
        raise RuntimeError("event loop is closed")

    log.writer._on_durable = broken
    log.append()
    log.writer._thread.join(10)
    with pytest.raises(Unavailable, match="event loop is closed") as caught:
        log.append()
    assert caught.value.code == log.writer.broken().code == "LOG_STOPPED"
    log.close()
    log.open()
    assert log.writer.broken() is None
    assert log.writer.durable_seq() == 1


def test_a_flipped_bit_in_the_mark_neither_loses_nor_repeats(log: Any, flip: Any) -> None:
    log.open()
    for _ in range(4):
        log.write(1)
    log.close()
    for at in (2, 66, 10, 90, 34, 98):
        flip(log.folder / "durable", at)
        log.open()
        assert log.writer.durable_seq() == 4
        log.close()
    assert not [item for item in log.everything() if isinstance(item, Damage)]
