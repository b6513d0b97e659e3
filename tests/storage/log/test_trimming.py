import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.errors import Damaged
from headwater.domain.events import UNKNOWN_SOURCE
from headwater.storage.log.base import SegmentCounts
from headwater.storage.log.segments import list_segments


def fill(log: Any, frames: int = 12, **settings: Any) -> None:
    log.open(segment_bytes=4700, consumers=("process", "lake"), **settings)
    for _ in range(frames):
        log.write(2, bytes(range(250)))


def report(log: Any, **seqs: int) -> None:
    with contextlib.closing(log.reader()) as reader:
        for consumer, seq in seqs.items():
            reader.report(consumer, seq)


def test_only_what_all_consumers_have_reported_goes_and_never_the_last_segment(log: Any) -> None:
    fill(log, age_hours_max=-1)
    held = list_segments(log.folder)
    assert len(held) > 4
    report(log, process=24)
    assert log.writer.trim(lambda counts: None) == 0
    report(log, lake=held[3] - 1)
    assert log.writer.trim(lambda counts: None) == 3
    assert list_segments(log.folder) == held[3:]
    report(log, lake=24)
    log.writer.trim(lambda counts: None)
    assert list_segments(log.folder) == held[-1:]


def test_space_and_age_choose_the_oldest_among_the_droppable(log: Any) -> None:
    fill(log, bytes_max=1 << 30)
    report(log, process=24, lake=24)
    held = list_segments(log.folder)
    assert log.writer.trim(lambda counts: None) == 0
    for path in log.segments()[:2]:
        os.utime(path, (0, 0))
    assert log.writer.trim(lambda counts: None) == 2
    log.close()
    log.open(segment_bytes=4700, bytes_max=6 * 4700)
    log.writer.trim(lambda counts: None)
    kept = list_segments(log.folder)
    assert kept == held[-len(kept) :]
    assert sum(path.stat().st_size for path in log.segments()) <= 4 * 4700


def test_counts_are_handed_over_before_the_segment_goes_and_again_after_a_crash_between(log: Any) -> None:
    fill(log, age_hours_max=-1)
    before = log.received()
    report(log, process=24, lake=24)
    kept: dict[tuple[bytes, int], SegmentCounts] = {}

    def keep_then_die(counts: SegmentCounts) -> None:
        assert (log.folder / f"{counts.segment:020d}.segment").exists()
        kept[counts.log_id, counts.segment] = counts
        if len(kept) == 2:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        log.writer.trim(keep_then_die)
    log.writer.trim(lambda counts: kept.update({(counts.log_id, counts.segment): counts}))
    total = sum(sum(part.counts.values()) for part in kept.values()) + sum(log.received().values())
    assert total == sum(before.values()) == 24


def test_the_counts_of_a_missing_segment_go_with_the_one_before_it(log: Any) -> None:
    fill(log, age_hours_max=-1)
    log.segments()[1].unlink()
    before = log.received()
    assert (UNKNOWN_SOURCE in {label for _, label in before}) and sum(before.values()) == 24
    report(log, process=24, lake=24)
    kept = []
    log.writer.trim(kept.append)
    total = sum(sum(part.counts.values()) for part in kept) + sum(log.received().values())
    assert total == 24
    assert len({part.segment for part in kept}) == len(kept)


def test_a_reader_whose_place_was_trimmed_is_told_so_and_one_beyond_reads_on(log: Any) -> None:
    fill(log, age_hours_max=-1)
    with contextlib.closing(log.reader()) as behind, contextlib.closing(log.reader()) as beyond:
        assert behind.read(0, 2, 0.0)[0].last_seq == 2
        assert beyond.read(20, 2, 0.0)[0].last_seq == 22
        report(log, process=22, lake=22)
        assert log.writer.trim(lambda counts: None) > 0
        assert beyond.first_seq() > 3
        assert [item.first_seq for item in beyond.read(22, 99, 0.0)] == [23]
        with pytest.raises(Damaged) as caught:
            while found := behind.read(2, 2, 0.0):
                assert found[0].first_seq == 3
                behind = type(behind)(log.folder, log.writer.log_id)
        assert caught.value.code == "POSITION_BEHIND_LOG"


def test_a_report_may_go_back(log: Any) -> None:
    fill(log)
    report(log, process=24)
    report(log, process=6)
    with contextlib.closing(log.reader()) as reader:
        assert (reader.reported("process"), reader.reported("lake"), reader.reported("nobody")) == (6, 0, 0)


def test_reports_for_another_log_do_not_count(log: Any) -> None:
    fill(log)
    report(log, process=24)
    log.close()
    for path in log.folder.iterdir():
        if path.is_file():
            Path.unlink(path)
    log.open()
    with contextlib.closing(log.reader()) as reader:
        assert reader.reported("process") == 0
