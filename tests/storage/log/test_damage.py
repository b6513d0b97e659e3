"""Bytes that are not what was written: everything else is read on, and what is lost is told exactly."""

from typing import Any

import pytest

from headwater.domain.errors import Damaged
from headwater.domain.events import UNKNOWN_SOURCE
from headwater.storage.log.base import Damage, Frame, Kind

FIVE = [(2, 100), (3, 100), (5, 101), (4, 102), (1, 102)]
"""(events, minute) of five frames; the third, seqs 6-10, is the one to break."""


def five_frames(log: Any) -> None:
    log.open()
    for n, minute in FIVE:
        log.write(n, payload=b"payload of %d" % n, minute=minute)
    log.close()


@pytest.mark.parametrize("region", ["magic", "format", "log_id", "first_seq", "lengths", "checksum", "counts", "body"])
def test_a_flipped_bit_in_a_middle_frame_costs_that_frame_alone(log: Any, flip: Any, summed: Any, region: str) -> None:
    five_frames(log)
    (path,) = log.segments()
    third = log.frames_of(path)[2]
    at = {"magic": 0, "format": 4, "log_id": 9, "first_seq": 24, "lengths": 38, "checksum": 53, "counts": 58}
    flip(path, third.body_offset + 3 if region == "body" else third.offset + at[region])
    items = log.everything()
    assert [(type(item), item.first_seq, item.n) for item in items] == [
        (Frame, 1, 2),
        (Frame, 3, 3),
        (Damage, 6, 5),
        (Frame, 11, 4),
        (Frame, 15, 1),
    ]
    assert items[2].counts == ({(101, "web"): 5} if region == "body" else {(100, UNKNOWN_SOURCE): 5})
    assert log.received() == summed(item.counts for item in items)
    assert log.received(5) == summed(item.counts for item in items[2:])


def test_the_damaged_range_is_set_aside_once(log: Any, flip: Any) -> None:
    five_frames(log)
    (path,) = log.segments()
    third = log.frames_of(path)[2]
    flip(path, third.offset)
    broken = path.read_bytes()[third.offset : third.end]
    for _ in range(2):
        reason = log.everything()[2].reason
    (copy,) = (log.folder / "damaged").iterdir()
    assert copy.read_bytes() == broken
    assert str(copy) in reason
    assert log.open().facts()["damaged_ranges"] == 1


def test_damage_in_the_first_and_the_last_frame_of_segments_is_exact(log: Any, flip: Any, summed: Any) -> None:
    log.open(segment_bytes=5000)
    for index in range(12):
        log.write(2, payload=bytes(range(256)) + bytes([index]) * 10)
    log.close()
    paths = log.segments()
    assert len(paths) > 3
    lost = []
    for path, which in zip(paths, (0, -1, 0, -1), strict=False):
        frame = log.frames_of(path)[which]
        lost.append(frame.first_seq)
        flip(path, frame.offset + 2)
    items = log.everything()
    assert [item.first_seq for item in items] == list(range(1, 25, 2))
    assert [item.first_seq for item in items if isinstance(item, Damage)] == lost
    assert log.received() == summed(item.counts for item in items)


def test_a_missing_segment_is_damage_of_exactly_its_seqs(log: Any, summed: Any) -> None:
    log.open(segment_bytes=4500)
    for _ in range(9):
        log.write(3, payload=bytes(range(200)))
    log.close()
    gone = log.segments()[1]
    inside = log.frames_of(gone)
    gone.unlink()
    items = log.everything()
    (damage,) = [item for item in items if isinstance(item, Damage)]
    assert (damage.first_seq, damage.last_seq) == (inside[0].first_seq, inside[-1].last_seq)
    assert sum(item.n for item in items) == 27
    assert "missing" in damage.reason
    assert log.received() == summed(item.counts for item in items)


def test_the_missing_last_segment_is_damage_and_its_seqs_are_not_given_again(log: Any) -> None:
    log.open(segment_bytes=4500)
    for _ in range(9):
        log.write(3, payload=bytes(range(200)))
    log.close()
    log.segments()[-1].unlink()
    log.open()
    assert log.write(1) == 28
    log.close()
    items = log.everything()
    assert [type(item) for item in items[-2:]] == [Damage, Frame]
    assert sum(item.n for item in items) == 28


def test_one_bad_copy_of_a_segments_head_is_no_loss_and_two_are_told_by_the_files_name(log: Any, flip: Any) -> None:
    log.open(segment_bytes=4500)
    for _ in range(9):
        log.write(3, payload=bytes(range(200)))
    log.close()
    flip(log.segments()[1], 30)
    assert [type(item) for item in log.everything()] == [Frame] * 9
    flip(log.segments()[1], 2048 + 30)
    assert [type(item) for item in log.everything()] == [Frame] * 9


def test_a_frame_that_was_durable_is_damage_also_as_the_last_one(log: Any, flip: Any) -> None:
    five_frames(log)
    (path,) = log.segments()
    flip(path, log.frames_of(path)[-1].body_offset + 1)
    log.open()
    assert log.write(1) == 16
    log.close()
    assert [(type(item), item.first_seq) for item in log.everything()][-2:] == [(Damage, 15), (Frame, 16)]


@pytest.mark.parametrize(
    ("frame", "byte", "lost"), [(3, 5, [(11, 5)]), (3, -5, [(11, 4), (15, 1)]), (4, 5, [(15, 1)]), (4, -5, [(15, 1)])]
)
def test_a_durable_tail_that_was_cut_off_is_damage(
    log: Any, summed: Any, frame: int, byte: int, lost: list[tuple[int, int]]
) -> None:
    five_frames(log)
    (path,) = log.segments()
    header = log.frames_of(path)[frame]
    cut = header.offset + byte if byte > 0 else header.end + byte
    path.write_bytes(path.read_bytes()[:cut])
    log.open()
    assert log.write(2) == 16
    log.close()
    items = log.everything()
    assert [(item.first_seq, item.n) for item in items if isinstance(item, Damage)] == lost
    assert (type(items[-1]), items[-1].first_seq) == (Frame, 16)
    assert log.received() == summed(item.counts for item in items)


def test_a_position_in_the_middle_of_a_gap_gets_the_rest_of_it(log: Any, flip: Any) -> None:
    five_frames(log)
    (path,) = log.segments()
    for frame in log.frames_of(path)[1:3]:
        flip(path, frame.offset)
    assert [(item.first_seq, item.n) for item in log.everything()] == [(1, 2), (3, 8), (11, 4), (15, 1)]
    assert [(item.first_seq, item.n) for item in log.everything(after_seq=5)] == [(6, 5), (11, 4), (15, 1)]
    assert log.received(5) == {(100, UNKNOWN_SOURCE): 5, (102, "web"): 5}


def test_damage_after_a_replay_frame_counts_in_the_last_minute_known(log: Any, flip: Any, summed: Any) -> None:
    log.open()
    log.write(2, minute=100)
    log.write(1, kind=Kind.REPLAY)
    log.write(3, minute=101)
    log.close()
    (path,) = log.segments()
    flip(path, log.frames_of(path)[2].offset)
    reader = log.reader()
    (replay,) = reader.read(2, 1, 0.0)
    (damage,) = reader.read(replay.last_seq, 10, 0.0)
    reader.close()
    assert (replay.kind, replay.counts) == (Kind.REPLAY, {})
    assert damage.counts == {(100, UNKNOWN_SOURCE): 3}
    assert log.received() == {(100, "web"): 2, (100, UNKNOWN_SOURCE): 3}


def test_a_position_that_is_no_frame_end_is_refused(log: Any) -> None:
    five_frames(log)
    reader = log.reader()
    with pytest.raises(Damaged) as caught:
        reader.read(4, 10, 0.0)
    reader.close()
    assert caught.value.code == "POSITION_INSIDE_FRAME"


def test_a_lost_identity_is_restored_from_the_segments(log: Any) -> None:
    five_frames(log)
    log_id = log.writer.log_id
    (log.folder / "identity").write_bytes(b"rubbish")
    assert log.open().log_id == log_id
    log.close()
    assert [type(item) for item in log.everything()] == [Frame] * 5


def test_segments_of_another_log_are_refused_by_name(log: Any, tmp_path: Any) -> None:
    five_frames(log)
    other = type(log)(tmp_path / "other")
    other.open(first_seq_min=500)
    other.close()
    (stranger,) = other.segments()
    stranger.rename(log.folder / stranger.name)
    with pytest.raises(Damaged) as caught:
        log.open()
    assert caught.value.code == "LOG_MIXED"
    assert caught.value.value == [500]
