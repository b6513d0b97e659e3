"""The lake on a local disk: what a bad day leaves behind, and what is made of it."""

import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import lakerows
import pytest
from deltalake import DeltaTable
from lakerows import at, rows_of, seqs_of

from headwater.domain.errors import Damaged, Unavailable
from headwater.storage.lake import fs, open_lake
from headwater.storage.lake.fs import FileLake

APPENDS = 3
ROWS = 20


def opened(folder: Path, *, read_only: bool = False) -> FileLake:
    lake = open_lake(f"file://{folder}", read_only=read_only)
    assert isinstance(lake, FileLake)
    return lake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lake of three appends, closed."""
    folder = tmp_path / "lake"
    lake = opened(folder)
    for k in range(APPENDS):
        lake.append(rows_of(1 + ROWS * k, ROWS), at(ROWS * (k + 1)))
    lake.close()
    return folder


def commit(folder: Path, version: int) -> Path:
    return folder / "events" / "_delta_log" / f"{version:020d}.json"


def data_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("events/received_on=*/*.parquet"))


def all_seqs(folder: Path) -> list[int]:
    lake = opened(folder, read_only=True)
    return seqs_of(lake.read(0, 1000))


def file_behind(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def test_another_reader_of_delta_tables_finds_the_rows(folder: Path) -> None:
    table = DeltaTable(folder / "events")
    assert table.count() == APPENDS * ROWS
    assert table.metadata().partition_columns == ["received_on"]
    assert table.transaction_version(lakerows.LOG.hex()) == APPENDS * ROWS


def test_everything_is_its_owners_alone(folder: Path) -> None:
    opened(folder).close()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_data_is_on_the_disk_before_its_commit_can_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder is fsynced, in this order, before append returns."""
    folder = tmp_path / "lake"
    lake = opened(folder)
    told: list[str] = []
    fsync, link = os.fsync, os.link

    def telling_fsync(descriptor: int) -> None:
        told.append(file_behind(descriptor).name)
        fsync(descriptor)

    def telling_link(source: Path, target: Path) -> None:
        told.append(f"visible {Path(target).name}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", telling_fsync)
    monkeypatch.setattr(os, "link", telling_link)
    lake.append(rows_of(1, ROWS), at(ROWS))
    name = f"{1:020d}.json"
    assert told == [
        f"{1:020d}.parquet",
        "events",
        "received_on=2026-11-23",
        name,
        f"visible {name}",
        "_delta_log",
    ]
    lake.close()


@pytest.mark.parametrize("failing", ["parquet", "json"])
def test_a_failed_fsync_before_the_commit_commits_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    lake = opened(folder)
    fsync = os.fsync

    def failing_fsync(descriptor: int) -> None:
        if file_behind(descriptor).name.endswith(failing):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing_fsync)
        with pytest.raises(Unavailable, match="Input/output error") as caught:
            lake.append(rows_of(61, ROWS), at(80))
    assert caught.value.code == "LAKE_FAILED"
    assert lake.position() == at(60)
    assert len(data_files(folder)) == APPENDS
    lake.append(rows_of(61, ROWS), at(80))
    lake.close()
    assert all_seqs(folder) == [*range(1, 81)]


def test_a_failed_fsync_of_the_log_folder_takes_the_commit_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = opened(folder)
    fsync = os.fsync

    def failing_fsync(descriptor: int) -> None:
        if file_behind(descriptor).name == "_delta_log":
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing_fsync)
        with pytest.raises(Unavailable):
            lake.append(rows_of(61, ROWS), at(80))
    assert not commit(folder, 4).exists()
    lake.append(rows_of(61, ROWS), at(80))
    lake.close()
    assert all_seqs(folder) == [*range(1, 81)]


@pytest.mark.parametrize("torn", [b"", b"\0" * 700, None], ids=["empty", "zeros", "cut"])
def test_a_torn_last_commit_is_set_aside_and_comes_again(folder: Path, torn: bytes | None) -> None:
    last = commit(folder, APPENDS)
    last.write_bytes(last.read_bytes()[:-40] if torn is None else torn)
    reader = opened(folder, read_only=True)
    assert reader.position() == at(40)
    assert last.exists()
    lake = opened(folder)
    assert lake.position() == at(40)
    assert lake.stats()["set_aside"] == 1
    lake.append(rows_of(41, ROWS), at(60))
    lake.close()
    assert all_seqs(folder) == [*range(1, 61)]


def test_a_torn_first_commit_of_a_new_lake_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    opened(folder).close()
    commit(folder, 0).write_bytes(b"")
    lake = opened(folder)
    lake.append(rows_of(1, ROWS), at(ROWS))
    lake.close()
    assert all_seqs(folder) == [*range(1, ROWS + 1)]


def test_a_damaged_earlier_commit_is_named(folder: Path) -> None:
    flip(commit(folder, 2), 3000)
    for read_only in (True, False):
        with pytest.raises(Damaged, match=commit(folder, 2).name):
            opened(folder, read_only=read_only)


def test_a_flipped_bit_in_a_data_file_is_named_and_the_others_are_read(folder: Path) -> None:
    bad = data_files(folder)[1]
    for bit in random.Random(7).sample(range(bad.stat().st_size * 8), 8):
        flip(bad, bit)
        lake = opened(folder, read_only=True)
        with pytest.raises(Damaged, match=bad.name):
            seqs_of(lake.read(0, ROWS))
        assert seqs_of(lake.read(40, ROWS)) == [*range(41, 61)]
        flip(bad, bit)
    assert all_seqs(folder) == [*range(1, 61)]


def test_a_missing_data_file_is_named(folder: Path) -> None:
    gone = data_files(folder)[2]
    gone.unlink()
    lake = opened(folder, read_only=True)
    rows = lake.read(0, ROWS)
    assert next(rows)["seq"].to_pylist() == [*range(1, 21)]
    with pytest.raises(Damaged, match=gone.name):
        list(rows)


def test_a_lake_whose_log_of_commits_is_gone_is_not_taken_for_a_new_one(folder: Path) -> None:
    shutil.rmtree(folder / "events" / "_delta_log")
    with pytest.raises(Damaged, match="_delta_log is missing"):
        opened(folder)


def test_files_that_no_commit_lists_are_deleted_at_opening(folder: Path) -> None:
    listed = data_files(folder)
    orphan = listed[0].parent / f"{61:020d}-{80:020d}-0badc0de.zstd.parquet"
    orphan.write_bytes(b"left by a crash before its commit")
    (folder / "staging" / "half.parquet").write_bytes(b"half")
    opened(folder).close()
    assert data_files(folder) == listed
    assert not list((folder / "staging").iterdir())


def test_many_commits_are_folded_into_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lake"
    lake = opened(folder)
    monkeypatch.setattr(fs, "COMMITS_PER_CHECKPOINT", 10)
    last = 25
    for seq in range(1, last + 1):
        lake.append(rows_of(seq, 1), at(seq))
    lake.close()
    log = folder / "events" / "_delta_log"
    assert (log / f"{20:020d}.checkpoint.parquet").exists()
    for version in range(20):
        commit(folder, version).unlink()
    lake = opened(folder)
    assert lake.position() == at(last)
    assert lake.stats()["checkpoint_failures"] == 0
    assert seqs_of(lake.read(0, 1000)) == [*range(1, last + 1)]
    lake.close()


def test_a_version_that_another_writer_took_is_passed_over(folder: Path) -> None:
    lake = opened(folder)
    DeltaTable(folder / "events").alter.set_table_description("someone was here")
    lake.append(rows_of(61, ROWS), at(80))
    lake.close()
    assert all_seqs(folder) == [*range(1, 81)]
    assert [each.seq for each in opened(folder, read_only=True).history(2)] == [80, 60]


def test_a_disk_that_takes_no_more_commits_nothing(folder: Path) -> None:
    """In a child whose files may not grow beyond 4 KiB: the kernel's word for it is `File too large`."""
    code = (
        "import pathlib, resource, sys, lakerows\n"
        "staging = pathlib.Path(sys.argv[1][7:], 'staging')\n"
        "from headwater.domain.errors import Unavailable\n"
        "lake = lakerows.open_lake(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    lake.append(lakerows.rows_of(61, 20000), lakerows.at(20060))\n"
        "except Unavailable as error:\n"
        "    print(error.code, lake.position().seq, sum(1 for _ in staging.iterdir()))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "lake.append(lakerows.rows_of(61, 20), lakerows.at(80))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"file://{folder}"],
        cwd=Path(lakerows.__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["LAKE_FAILED", "60", "0"]
    assert all_seqs(folder) == [*range(1, 81)]


def kill_while_appending(folder: Path, appends: int, looks: int) -> int:
    """A child's last word, its seq, after it was killed somewhere in a later append."""
    child = subprocess.Popen(
        [sys.executable, lakerows.__file__, str(folder)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout is not None
    said = 0
    for _ in range(appends):
        said = int(child.stdout.readline())
    for _ in range(looks):  # the only clock here: a look into its folder takes some 20 µs
        list((folder / "staging").iterdir())
    child.kill()
    rest = child.stdout.read().split()
    child.wait()
    child.stdout.close()
    return int(rest[-1]) if rest else said


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_whatever_moment_it_is_killed_each_row_is_there_once(tmp_path: Path, kills: int) -> None:
    folder = tmp_path / "lake"
    chance = random.Random(kills)
    for _ in range(kills):
        said = kill_while_appending(folder, chance.randrange(1, 6), chance.randrange(3000))
        lake = opened(folder, read_only=True)
        position = lake.position()
        assert position is not None
        assert said <= position.seq <= said + 20
        assert seqs_of(lake.read(0, 1000)) == [*range(1, position.seq + 1)]


@pytest.mark.parametrize(("point", "seq"), [("before", 20), ("after", 40)])
def test_killed_right_around_the_commit(tmp_path: Path, point: str, seq: int) -> None:
    folder = tmp_path / "lake"
    done = subprocess.run(
        [sys.executable, lakerows.__file__, str(folder)],
        env={**os.environ, "HEADWATER_CRASH_AT": f"lake.append.{point}_commit:2"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -9
    assert done.stdout.split() == ["20"]
    lake = opened(folder)
    assert lake.position() == at(seq)
    assert len(data_files(folder)) == lake.stats()["files"]
    assert seqs_of(lake.read(0, 1000)) == [*range(1, seq + 1)]
    lake.close()
