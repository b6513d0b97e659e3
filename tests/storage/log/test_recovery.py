"""A writer that starts on what an earlier one left."""

import contextlib
import stat
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.errors import Damaged, Unavailable
from headwater.storage.log.base import Frame
from headwater.storage.log.files import set_aside
from headwater.storage.log.segments import HEAD_BYTES, list_segments


def forget_the_mark(log: Any) -> None:
    """As after power loss: nothing of the mark has reached the disk."""
    (log.folder / "durable").write_bytes(bytes(128))


def copy_of(log: Any, folder: Path) -> Any:
    other = type(log)(folder)
    (folder / "consumers").mkdir(parents=True)
    for path in log.folder.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return other


@pytest.mark.parametrize("mark", ["kept", "lost"])
def test_a_tail_torn_at_any_byte_costs_only_what_was_never_acknowledged(log: Any, tmp_path: Path, mark: str) -> None:
    """Frame three is written, but its sync never returns: the mark stands at frame two."""
    log.open()
    log.write(2, b"first")
    log.write(3, b"second")
    marked = (log.folder / "durable").read_bytes()
    log.write(4, b"third, never acknowledged")
    log.close()
    (path,) = log.segments()
    whole = path.read_bytes()
    third = log.frames_of(path)[2]
    for cut in range(third.offset, third.end):
        (log.folder / "durable").write_bytes(marked if mark == "kept" else bytes(128))
        path.write_bytes(whole[:cut])
        torn = copy_of(log, tmp_path / str(cut))
        torn.open()
        try:
            assert torn.writer.durable_seq() == 5, cut
            assert torn.writer.facts()["torn_bytes"] == cut - third.offset
            assert torn.segments()[0].stat().st_size == third.offset
            assert torn.write(7, b"next") == 6
        finally:
            torn.close()
        assert [(type(item), item.first_seq, item.n) for item in torn.everything()] == [
            (Frame, 1, 2),
            (Frame, 3, 3),
            (Frame, 6, 7),
        ]


def test_a_whole_frame_beyond_the_mark_is_kept(log: Any) -> None:
    """It may have been acknowledged just before a power cut took the mark back."""
    log.open()
    log.write(2)
    marked = (log.folder / "durable").read_bytes()
    log.write(3)
    log.close()
    (log.folder / "durable").write_bytes(marked)
    assert log.open().durable_seq() == 5
    assert log.write(1) == 6


def test_a_last_frame_of_full_length_with_a_wrong_body_is_skipped_and_its_seqs_never_given_again(
    log: Any, flip: Any
) -> None:
    log.open()
    log.write(2)
    marked = (log.folder / "durable").read_bytes()
    log.write(3, b"blocks that reached the disk out of order")
    log.close()
    (log.folder / "durable").write_bytes(marked)
    (path,) = log.segments()
    flip(path, log.frames_of(path)[1].body_offset + 2)
    log.open()
    assert log.write(1) == 6
    log.close()
    assert [(type(item), item.first_seq) for item in log.everything()] == [(Frame, 1), (Frame, 6)]


def test_numbers_go_on_after_a_restart_in_the_same_segment(log: Any) -> None:
    for first in (1, 4, 7):
        log.open()
        assert log.write(3) == first
        log.close()
    assert list_segments(log.folder) == [1]
    assert [item.first_seq for item in log.everything()] == [1, 4, 7]


def test_an_empty_last_segment_is_reused(log: Any) -> None:
    for _ in range(3):
        log.open()
        log.close()
    assert list_segments(log.folder) == [1]
    log.open()
    assert log.write(1) == 1


def test_a_new_log_goes_on_above_the_seq_it_is_told(log: Any) -> None:
    log.open(first_seq_min=1001)
    assert log.writer.durable_seq() == 1000
    with contextlib.closing(log.reader()) as reader:
        assert (reader.first_seq(), reader.read(1000, 10, 0.0)) == (1001, [])
        with pytest.raises(Damaged) as caught:
            reader.read(0, 10, 0.0)
        assert caught.value.code == "POSITION_BEHIND_LOG"
    assert log.write(2) == 1001
    log.close()
    log.open(first_seq_min=5000)
    assert log.write(1) == 1003


def test_a_starting_writer_syncs_the_tail_before_it_publishes_it(log: Any) -> None:
    log.open()
    log.write(2)
    log.close()
    size = log.segments()[0].stat().st_size
    forget_the_mark(log)
    log.disk.syncs.clear()
    log.disk.writes.clear()
    log.open()
    assert log.disk.writes == [(HEAD_BYTES, size - HEAD_BYTES)]  # a sync alone may pass over pages of a failed one
    assert log.disk.syncs[0] == "file"
    assert log.writer.durable_seq() == 2


def test_a_new_log_syncs_its_segment_its_folder_and_the_folder_above(log: Any) -> None:
    log.open()
    assert {str(log.folder), str(log.folder.parent)} <= set(log.disk.syncs)
    assert log.disk.syncs[-2:] == ["file", str(log.folder)]


def test_until_a_writer_has_started_a_reader_waits_at_a_position_beyond_a_lost_mark(log: Any) -> None:
    log.open()
    log.write(2)
    marked = (log.folder / "durable").read_bytes()
    log.write(3)
    log.close()
    (log.folder / "durable").write_bytes(marked)
    with contextlib.closing(log.reader()) as reader:
        assert reader.read(5, 10, 0.0) == []
        with pytest.raises(Damaged) as caught:
            reader.read(6, 10, 0.0)
        assert caught.value.code == "POSITION_AHEAD_OF_LOG"


def test_a_log_rolled_back_to_an_older_copy_refuses_the_newer_position(log: Any, tmp_path: Path) -> None:
    log.open()
    log.write(2)
    older = copy_of(log, tmp_path / "older")
    log.write(3)
    older.open()
    with contextlib.closing(older.reader()) as reader, pytest.raises(Damaged) as caught:
        reader.read(5, 10, 0.0)
    older.close()
    assert caught.value.code == "POSITION_AHEAD_OF_LOG"


def test_all_segments_deleted_leaves_a_log_that_goes_on_above(log: Any) -> None:
    log.open()
    log.write(5)
    log.close()
    for path in log.segments():
        path.unlink()
    log.open()
    assert log.write(1) == 6
    with contextlib.closing(log.reader()) as reader:
        assert reader.first_seq() == 6
        with pytest.raises(Damaged) as caught:
            reader.read(2, 10, 0.0)
    assert caught.value.code == "POSITION_BEHIND_LOG"


def test_a_folder_deleted_and_made_anew_is_another_log(log: Any) -> None:
    log.open()
    log.write(5)
    log.close()
    log_id = log.writer.log_id
    with contextlib.closing(log.reader()) as reader:
        log.folder.rename(log.folder.with_name("away"))
        log.open()
        assert log.writer.log_id != log_id
        with pytest.raises(Damaged) as caught:
            reader.read(5, 10, 0.0)
    assert caught.value.code == "LOG_REPLACED"


def test_the_folder_and_its_files_are_their_owners_alone(log: Any) -> None:
    log.open()
    log.write(1)
    with contextlib.closing(log.reader()) as reader:
        reader.report("process", 1)
    for path in (log.folder, *log.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_there_is_no_log_before_its_writer(log: Any) -> None:
    with pytest.raises(Unavailable) as caught:
        log.reader()
    assert caught.value.code == "NO_LOG"
    assert str(log.folder) in str(caught.value)


def test_a_log_that_is_gone_is_made_again_only_by_who_may(log: Any) -> None:
    log.open()
    log.write(5)
    log.close()
    log.folder.rename(log.folder.with_name("away"))
    with pytest.raises(Damaged) as caught:
        log.open(make=False)
    assert caught.value.code == "LOG_MISSING"
    assert not log.folder.exists(), "so that the old one can be put back"
    log.folder.with_name("away").rename(log.folder)
    log.open(make=False)
    assert log.write(1) == 6


def test_a_log_set_aside_makes_room_for_another(log: Any) -> None:
    log.open()
    log.write(5)
    log.close()
    log_id = log.writer.log_id
    aside = Path(set_aside(log.url))
    assert aside.parent == log.folder.parent and list(aside.glob("*.segment"))
    log.open(first_seq_min=6)
    assert log.writer.log_id != log_id
    assert log.write(1) == 6
