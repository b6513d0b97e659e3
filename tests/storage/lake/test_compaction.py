"""Care of a lake on bad days: beside appends, foreign writers, damaged files, full disks and kill -9."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lakerows
import pytest
from deltalake import DeltaTable
from lakerows import DAY_US, PAST, at, rows_of, seqs_of

from headwater.domain.errors import Damaged, NotFound
from headwater.storage.lake import compaction, fs, open_lake
from headwater.storage.lake.fs import FileLake

WAIT_SECONDS = 60.0


def opened(folder: Path) -> FileLake:
    lake = open_lake(f"file://{folder}")
    assert isinstance(lake, FileLake)
    return lake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[FileLake]:
    lake = opened(tmp_path / "lake")
    yield lake
    lake.close()


def fill(lake: FileLake, appends: int, n: int = 20, day: int = PAST, batch: int = 5) -> None:
    position = lake.position()
    first = (position.seq if position else 0) + 1
    for k in range(appends):
        lake.append(rows_of(first + n * k, n, day=day, batch=batch), at(first + n * (k + 1) - 1))


def data_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("lake/events/received_on=*/*.parquet"))


def later() -> int:
    return time.time_ns() // 1000 + 10_000_000


def during_merge(monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> None:
    """Right after a merged file is in place and before its commit."""
    merge = compaction.merge

    def merge_and(*arguments: Any) -> Any:
        written = merge(*arguments)
        action()
        return written

    monkeypatch.setattr(compaction, "merge", merge_and)


def test_another_reader_of_delta_tables_finds_the_merged_rows(lake: FileLake, tmp_path: Path) -> None:
    fill(lake, 4)
    list(lake.compact())
    table = DeltaTable(tmp_path / "lake" / "events")
    assert (table.count(), len(table.file_uris())) == (80, 1)
    assert table.transaction_version(lakerows.LOG.hex()) == 80
    assert DeltaTable(tmp_path / "lake" / "events", version=2).count() == 40


def test_appends_go_on_while_files_are_merged(lake: FileLake) -> None:
    fill(lake, 40)
    appended = threading.Event()

    def append() -> None:
        for _ in range(40):
            fill(lake, 1, day=PAST + 1)
        appended.set()

    appending = threading.Thread(target=append)
    appending.start()
    merged = 0
    while not appended.is_set():
        merged += sum(part.files for part in lake.compact())
    appending.join(WAIT_SECONDS)
    merged += sum(part.files for part in lake.compact())
    assert merged >= 80
    assert lake.stats()["files"] == 2
    assert seqs_of(lake.read(0, 1000)) == [*range(1, 1601)]
    assert lake.position() == at(1600)


def test_an_append_between_the_merge_and_its_commit_stays(lake: FileLake, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, 4)
    during_merge(monkeypatch, lambda: fill(lake, 1))
    assert [part.files for part in lake.compact()] == [4]
    assert (lake.stats()["files"], lake.position()) == (2, at(100))
    assert seqs_of(lake.read(0, 1000)) == [*range(1, 101)]


def test_a_version_of_somebody_else_is_passed_over(
    lake: FileLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, 4)
    table = tmp_path / "lake" / "events"
    during_merge(monkeypatch, lambda: DeltaTable(table).alter.set_table_description("someone was here"))
    assert [part.files for part in lake.compact()] == [4]
    assert seqs_of(lake.read(0, 1000)) == [*range(1, 81)]
    assert DeltaTable(table).count() == 80


def test_what_somebody_else_removed_meanwhile_does_not_come_back(
    lake: FileLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, 4)
    table = tmp_path / "lake" / "events"
    during_merge(monkeypatch, lambda: DeltaTable(table).delete("received_on = '2022-01-08'"))
    assert list(lake.compact()) == []
    assert (lake.stats()["rows"], DeltaTable(table).count()) == (0, 0)
    assert lake.position() == at(80)
    assert len(data_files(tmp_path)) == 4, "the merged file is gone, what was listed before stays for older versions"


def test_a_damaged_file_is_named_and_left_alone(lake: FileLake, tmp_path: Path) -> None:
    fill(lake, 5)
    bad = data_files(tmp_path)[2]
    content = bytearray(bad.read_bytes())
    content[len(content) // 2] ^= 4
    bad.write_bytes(content)
    done = list(lake.compact())
    assert [(part.files, bad.name in part.left_alone) for part in done] == [(1, True), (2, False), (2, False)]
    assert list(lake.compact()) == [], "not tried again and again"
    with pytest.raises(Damaged, match=bad.name):
        seqs_of(lake.read(0, 10))
    content[len(content) // 2] ^= 4
    bad.write_bytes(content)
    assert seqs_of(lake.read(0, 1000)) == [*range(1, 101)]


def test_a_merged_file_that_lacks_a_row_is_never_committed(lake: FileLake, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, 4)
    copy = compaction._copy

    def copy_less(files: Any, *rest: Any) -> None:
        copy(files[1:], *rest)

    monkeypatch.setattr(compaction, "_copy", copy_less)
    (part,) = lake.compact()
    assert "does not hold their rows: 60 rows of 80" in part.left_alone
    assert (lake.stats()["files"], lake.history(1)[0].operation) == (4, "WRITE")
    assert seqs_of(lake.read(0, 1000)) == [*range(1, 81)]


def test_a_disk_that_takes_no_more_merges_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    """In a child whose files may not grow beyond what each has: the kernel's word for it is `File too large`."""
    code = (
        "import pathlib, resource, sys, lakerows\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "from headwater.domain.errors import Unavailable\n"
        "lake = lakerows.open_lake(f'file://{folder}')\n"
        "for k in range(3):\n"
        "    rows = lakerows.rows_of(1 + 5000 * k, 5000, day=lakerows.PAST)\n"
        "    lake.append(rows, lakerows.at(5000 * (k + 1)))\n"
        "limit = max(each.bytes for each in lake._now.files) + 1000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    list(lake.compact())\n"
        "except Unavailable as error:\n"
        "    print(error.code, sum(1 for _ in (folder / 'staging').iterdir()), lake.stats()['files'])\n"
        "print(sum(table.num_rows for table in lake.read(0, 1000)))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "print(sum(part.files for part in lake.compact()), lake.stats()['files'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "lake")],
        cwd=Path(lakerows.__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["LAKE_FAILED", "0", "3", "15000", "3", "1"], done.stderr


def test_large_files_are_read_in_pieces_that_cut_no_request(lake: FileLake) -> None:
    """Requests of 700 events go over the edges of row groups of 16,384."""
    n = 42_000
    fill(lake, 3, n, batch=700)
    assert [part.files for part in lake.compact()] == [3]
    for after_seq in (0, 700 * 77):
        pieces = [(table["batch_index"][0].as_py(), table["seq"].to_pylist()) for table in lake.read(after_seq, 10_000)]
        assert all(index == 0 for index, _ in pieces)
        assert max(len(seqs) for _, seqs in pieces) <= 10_000
        assert [seq for _, seqs in pieces for seq in seqs] == [*range(after_seq + 1, 3 * n + 1)]


def test_large_files_of_days_that_overlap_are_read_by_seq(lake: FileLake) -> None:
    """A clock that was set back over midnight, several times; then all of it merged."""
    for k in range(8):
        first = 1 + 20_000 * k
        lake.append(rows_of(first, 20_000, day=PAST + k % 2, batch=100), at(first + 19_999))
    assert [part.files for part in lake.compact()] == [4, 4]
    assert seqs_of(lake.read(0, 20_000)) == [*range(1, 160_001)]
    assert seqs_of(lake.read(70_000, 20_000)) == [*range(70_001, 160_001)]


def test_vacuum_forgets_versions_that_are_older_and_keeps_the_rest(
    lake: FileLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fs, "COMMITS_PER_CHECKPOINT", 10)
    fill(lake, 35)
    cut = lake.history(1)[0].committed_us + 1000
    while time.time_ns() // 1000 <= cut:
        threading.Event().wait(0.001)
    fill(lake, 3)
    list(lake.vacuum(cut))
    log = tmp_path / "lake" / "events" / "_delta_log"
    assert min(int(each.stem) for each in log.glob("*.json")) == 20
    assert [version.version for version in lake.history(100)] == [*range(38, 19, -1)]
    for version in (20, 25, 38):
        assert seqs_of(lake.at(version).read(0, 1000)) == [*range(1, 20 * version + 1)]
    assert lake.at(time_us=cut).position == at(700)
    with pytest.raises(NotFound, match="it keeps 20 to 38"):
        lake.at(19)
    lake.close()
    again = opened(tmp_path / "lake")
    fill(again, 1)
    assert seqs_of(again.read(0, 1000)) == [*range(1, 781)]
    again.close()


def test_what_an_append_is_about_to_list_is_not_vacuumed(lake: FileLake, tmp_path: Path) -> None:
    fill(lake, 1)
    day = data_files(tmp_path)[0].parent
    coming = day / f"{21:020d}-{40:020d}-0badc0de.zstd.parquet"
    left = day / f"{1:020d}-{20:020d}-0badc0de.zstd.parquet"
    for each in (coming, left):
        each.write_bytes(b"x")
    gone = [each.path for some in lake.vacuum(later()) for each in some]
    assert gone == [f"{day.name}/{left.name}"]
    assert coming.exists() and seqs_of(lake.read(0, 100)) == [*range(1, 21)]


def test_a_damaged_file_whose_time_is_over_is_removed_and_counted_all_the_same(lake: FileLake, tmp_path: Path) -> None:
    fill(lake, 2)
    fill(lake, 1, day=PAST + 1)
    data_files(tmp_path)[0].write_bytes(b"rotten")
    assert [part.rows for part in lake.expire((PAST + 1) * DAY_US, 60)] == [40]
    assert lake.expired().counts == {(PAST * 1440, "web"): 20, (PAST * 1440, "(unknown)"): 20}
    assert seqs_of(lake.read(0, 100)) == [*range(41, 61)]


def check_cared(folder: Path) -> int:
    """Rows are there once, in order, or counted as removed; the position."""
    lake = opened(folder)
    position = lake.position()
    seq = position.seq if position else 0
    gone = lake.expired().rows
    assert seqs_of(lake.read(0, 1000)) == [*range(gone + 1, seq + 1)]
    assert sum(lake.expired().counts.values()) == gone
    assert lake.faults(lambda done, total: None) == []
    versions = lake.history(1000)
    assert [each.seq for each in versions] == sorted((each.seq for each in versions), reverse=True)
    lake.close()
    return seq


@pytest.mark.parametrize(
    "point",
    [
        "lake.compact.before_place:3",
        "lake.compact.before_commit:3",
        "lake.compact.after_commit:3",
        "lake.expire.before_commit:2",
        "lake.expire.after_commit:2",
        "lake.vacuum.after_delete:5",
    ],
)
def test_a_crash_at_each_step_of_care_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "lake"
    done = subprocess.run(
        [sys.executable, lakerows.__file__, str(folder), "care"],
        env={**os.environ, "HEADWATER_CRASH_AT": point},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    assert check_cared(folder) == int(done.stdout.split()[-1])
    care_until_killed(folder, 30)


def care_until_killed(folder: Path, appends: int, looks: int = 0) -> None:
    child = subprocess.Popen(
        [sys.executable, lakerows.__file__, str(folder), "care"], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout is not None
    said = 0
    for _ in range(appends):
        said = int(child.stdout.readline())
    for _ in range(looks):  # the only clock here: a look into its folder takes some 20 µs
        list((folder / "staging").iterdir())
    child.kill()
    said = int([str(said), *child.stdout.read().split()][-1])
    child.wait()
    child.stdout.close()
    assert said <= check_cared(folder) <= said + 20


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whatever_moment_care_is_killed_each_row_is_there_once(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(50):
        care_until_killed(tmp_path / "lake", chance.randrange(1, 25), chance.randrange(5000))
