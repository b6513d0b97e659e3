import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from headwater.storage.log.disk import Disk
from headwater.storage.log.marks import Mark, MarkFile

LOG = bytes(range(16))


def opened(path: Path, log_id: bytes = LOG, *, writable: bool = True) -> Any:
    return contextlib.closing(MarkFile(path, log_id, Disk(), writable=writable))


def test_a_mark_is_read_as_written_by_all_who_have_it_open(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as writer, opened(tmp_path / "m", writable=False) as reader:
        assert reader.read() is None
        for seq in (5, 9, 2):
            writer.write(Mark(seq, 1, seq * 10))
            assert reader.read() == Mark(seq, 1, seq * 10)


def test_versions_go_on_after_reopening(tmp_path: Path) -> None:
    for seq in range(5):
        with opened(tmp_path / "m") as mark:
            mark.write(Mark(seq))
            assert mark.read() == Mark(seq)


@pytest.mark.parametrize("byte", range(36))
def test_a_torn_slot_leaves_the_mark_before_it(tmp_path: Path, byte: int, flip: Any) -> None:
    with opened(tmp_path / "m") as mark:
        mark.write(Mark(7, 1, 70))
        mark.write(Mark(8, 1, 80))
        flip(tmp_path / "m", byte)
        assert mark.read() == Mark(7, 1, 70)


def test_a_mark_of_another_log_is_none(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as mark:
        mark.write(Mark(7))
    with opened(tmp_path / "m", bytes(16)) as other:
        assert other.read() is None


def test_a_mark_file_that_is_cut_short_reads_as_none(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as mark:
        mark.write(Mark(7))
        (tmp_path / "m").write_bytes(b"")
        assert mark.read() is None
        mark.write(Mark(8))
        assert mark.read() == Mark(8)


def test_a_reader_never_sees_a_mark_that_was_not_written(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as writer, opened(tmp_path / "m", writable=False) as reader:
        writing = threading.Thread(target=lambda: [writer.write(Mark(seq, seq, seq)) for seq in range(20_000)])
        writing.start()
        last = 0
        while writing.is_alive():
            mark = reader.read()
            if mark is not None:
                assert mark.seq == mark.segment == mark.end >= last
                last = mark.seq
        writing.join()
        assert reader.read() == Mark(19_999, 19_999, 19_999)
