"""What a writer does before it trusts the folder: hold its lock, put a torn commit aside, make the last one durable."""

import fcntl
import json
import os
import time
from pathlib import Path

from headwater.domain.errors import Unavailable
from headwater.storage.durable import sync
from headwater.storage.lake import commits


def locked(folder: Path) -> int:
    """The writer's lock on the folder, which is made here. Raises Unavailable naming the process that has it."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        sync(each.parent)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 64, 0).decode(errors="replace")
        os.close(descriptor)
        raise Unavailable(
            f"lake: {folder} is written by another process: pid {holder or 'unknown'}",
            code="LAKE_LOCKED",
            hint="stop that process, or open the lake read-only",
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except OSError:
        os.close(descriptor)  # else this process holds it until it ends
        raise
    return descriptor


def set_aside_torn(folder: Path, log: Path) -> bool:
    """Move a last commit that can't be read out of the way: it was never reported, so its rows come again."""
    if not log.exists():
        return False
    last, checkpoint = commits.versions(log)
    if last <= checkpoint:
        return False
    torn = commits.path_of(last, log)
    if commits.fault_of(torn) is None:
        return False
    aside = folder / "set-aside"
    aside.mkdir(mode=0o700, exist_ok=True)
    torn.rename(aside / f"{last:020d}-{time.time_ns()}.json")
    sync(aside)
    sync(log)
    return True


def drop_unsure_checkpoint(log: Path) -> None:
    """Delete a checkpoint of the last commit: only the commit after it proves that it is whole on the disk.

    deltalake syncs none, and of a torn one it may read anything. It costs nothing: the commits that it folds are there.
    """
    if not log.exists():
        return
    held, points = commits.numbers(log)
    last, point = max(held, default=-1), max(points, default=-1)
    before = max(points - {point}, default=-1)
    if 0 <= last <= point and set(range(before + 1, last + 1)) <= held:
        for each in log.glob(f"{point:020d}.checkpoint*"):
            each.unlink()
        points.remove(point)
    told = log / "_last_checkpoint"
    if told.exists() and _version_in(told) not in points:
        told.unlink()
    sync(log)


def _version_in(told: Path) -> int:
    """Of the checkpoint that it tells of; -1 where it is torn."""
    try:
        return int(json.loads(told.read_bytes())["version"])
    except (ValueError, KeyError, TypeError):
        return -1


def sync_tail(table: Path, log: Path) -> None:
    """fsync the last commit and its folders: the process that wrote them may have died before it could.

    It is written again in place: after a failed fsync the kernel may hold it as clean though it never reached the disk.
    """
    last, _ = commits.versions(log)
    if last >= 0:
        path = commits.path_of(last, log)
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, path.read_bytes(), 0)
        finally:
            os.close(descriptor)
        for each in (commits.path_of(last, log), log, table):
            sync(each)
    log.chmod(0o700)
    for name in (f"{last:020d}.json", "_last_checkpoint"):
        if (log / name).exists():
            (log / name).chmod(0o600)
