"""The simulated disk does what a disk does."""

import errno
import os
import random
from pathlib import Path

import pytest
from tests.faults.simdisk import Fault, PowerCut, SimDisk

from headwater.storage.durable import put_in_place, sync
from headwater.storage.log.disk import Disk


def left(disk: SimDisk, ram: Path, times: int = 40) -> list[dict[str, bytes]]:
    """What many power cuts at this moment would leave."""
    found = []
    for number in range(times):
        after = ram / f"after{number}"
        disk.after_power_cut(after, random.Random(number))
        found.append({path.name: path.read_bytes() for path in after.rglob("*") if path.is_file()})
    return found


def write(path: Path, content: bytes, *, synced: bool) -> None:
    disk = Disk()
    descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT)
    disk.write(descriptor, [content], 0)
    if synced:
        disk.sync(descriptor)
    os.close(descriptor)


def test_what_was_synced_with_its_name_is_always_left(ram: Path) -> None:
    with SimDisk(ram / "root") as disk:
        write(ram / "root/a", b"x" * 9000, synced=True)
        sync(ram / "root")
        assert left(disk, ram) == [{"a": b"x" * 9000}] * 40


def test_of_what_was_not_synced_any_part_may_be_left(ram: Path) -> None:
    with SimDisk(ram / "root") as disk:
        write(ram / "root/a", b"x" * 9000, synced=False)
        sync(ram / "root")
        sizes = {len(files["a"].rstrip(b"\0")) for files in left(disk, ram)}
        assert {0, 9000} < sizes


def test_a_name_that_was_not_synced_may_be_gone(ram: Path) -> None:
    with SimDisk(ram / "root") as disk:
        write(ram / "root/a", b"x", synced=True)
        assert {len(files) for files in left(disk, ram)} == {0, 1}


def test_a_rename_is_whole_or_not_at_all(ram: Path) -> None:
    with SimDisk(ram / "root") as disk:
        write(ram / "root/part", b"new", synced=True)
        write(ram / "root/a", b"old", synced=True)
        sync(ram / "root")
        (ram / "root/part").replace(ram / "root/a")
        assert {tuple(sorted(files.items())) for files in left(disk, ram)} == {
            (("a", b"new"),),
            (("a", b"old"), ("part", b"new")),
        }
        sync(ram / "root")
        write(ram / "root/part", b"newer", synced=False)
        put_in_place(ram / "root/part", ram / "root/a")
        (ram / "more").mkdir()
        assert {files["a"] for files in left(disk, ram / "more")} == {b"newer"}


def test_pages_of_a_failed_sync_are_lost_to_the_next(ram: Path) -> None:
    with SimDisk(ram / "root", {4: Fault("error", errno.EIO)}) as disk:
        write(ram / "root/a", b"x", synced=False)
        sync(ram / "root")
        descriptor = os.open(ram / "root/a", os.O_RDWR)
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(descriptor)
        os.fsync(descriptor)
        assert b"\0" in {files["a"] for files in left(disk, ram)}
        os.pwrite(descriptor, b"x", 0)
        os.fsync(descriptor)
        (ram / "more").mkdir()
        assert {files["a"] for files in left(disk, ram / "more")} == {b"x"}
        os.close(descriptor)


def test_nothing_is_done_after_a_cut(ram: Path) -> None:
    with SimDisk(ram / "root", {2: Fault("cut")}) as disk:
        (ram / "root/a").mkdir()
        for _ in range(2):
            with pytest.raises(PowerCut):
                (ram / "root/b").mkdir()
        assert disk.dead
    assert [path.name for path in (ram / "root").iterdir()] == ["a"]


def test_a_full_disk_takes_what_fits_and_then_says_so(ram: Path) -> None:
    with SimDisk(ram / "root", {2: Fault("full", room=3, times=9)}), pytest.raises(OSError, match="No space"):
        write(ram / "root/a", b"12345", synced=False)
    assert (ram / "root/a").read_bytes() == b"123"
