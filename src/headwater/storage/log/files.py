"""The log in a local folder (`file:///path`): segment files, one writer process, any number of readers."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from headwater.domain.errors import Damaged, Unavailable
from headwater.storage.log.base import OnDurable
from headwater.storage.log.disk import Disk, refusal
from headwater.storage.log.marks import MarkFile
from headwater.storage.log.reader import FileLogReader
from headwater.storage.log.recovery import recover
from headwater.storage.log.segments import encode_identity, list_segments, read_head, read_identity
from headwater.storage.log.writer import FileLogWriter, Limits
from headwater.storage.urls import path_of


def open_writer(
    url: str,
    on_durable: OnDurable,
    *,
    first_seq_min: int = 1,
    consumers: tuple[str, ...] = ("process", "lake"),
    segment_bytes: int = 64 << 20,
    bytes_max: int = 8 << 30,
    age_hours_max: float = 72,
    queue_bytes_max: int = 64 << 20,
    make: bool = True,
    disk: Disk | None = None,
) -> FileLogWriter:
    """Make the log where there is none (with `make`), else find its durable end and go on there.

    `first_seq_min` is the first seq of a log that is made now. Raises Unavailable (LOG_HELD by another writer, whose
    pid is named; READ_ONLY; DISK_FULL) and Damaged (LOG_MISSING; segments of another log; a format of a later release).
    """
    folder, disk = Path(path_of(url)), disk or Disk()
    if not make and not _is_log(folder):
        raise Damaged(
            f"the log is gone: there was one in {folder}; put its folder back, or start once with --new-log to begin a "
            "new one above the highest number that is stored: what was in the old log alone is lost",
            code="LOG_MISSING",
            path=str(folder),
        )
    limits = Limits(segment_bytes, bytes_max, age_hours_max, queue_bytes_max)
    with contextlib.ExitStack() as undo:
        try:
            disk.make_folder(folder / "consumers")
            undo.callback(os.close, lock := _hold(folder, disk))
            for left_over in folder.glob("*.new"):
                disk.unlink(left_over)
            log_id = _identify(folder, disk)
            durable = MarkFile(folder / "durable", log_id, disk, writable=True)
            undo.callback(durable.close)
            for name in consumers:
                MarkFile(folder / "consumers" / name, log_id, disk, writable=True).close()
            tail = recover(folder, log_id, durable.read(), first_seq_min, disk)
            # Whoever made these may have died before, or have been told that it failed: their names are only now sure.
            for each in (folder, folder.parent):
                disk.sync_folder(each)
            writer = FileLogWriter(
                folder, log_id, tail, durable, on_durable, consumers, limits, disk, release=lambda: os.close(lock)
            )
        except OSError as error:
            raise refusal(error, folder) from error
        undo.pop_all()
        return writer


def open_reader(url: str, *, disk: Disk | None = None) -> FileLogReader:
    """Raises Unavailable (code NO_LOG) where no writer has made a log yet."""
    folder, disk = Path(path_of(url)), disk or Disk()
    try:
        if (log_id := read_identity(folder)) is not None:
            return FileLogReader(folder, log_id, disk)
    except (FileNotFoundError, NotADirectoryError):
        pass  # nothing there, or a writer is just making it
    except OSError as error:
        raise refusal(error, folder) from error
    raise Unavailable(
        f"no log in {folder} yet: its writer has not started",
        code="NO_LOG",
        path=str(folder),
        hint="start the collect role on this data folder",
        retry_after_seconds=1,
    )


def set_aside(url: str) -> str:
    """Give the folder of a log that nobody holds another name; which."""
    folder = Path(path_of(url))
    aside = folder.with_name(f"{folder.name}.set-aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    disk = Disk()
    try:
        disk.rename(folder, aside)
        disk.sync_folder(folder.parent)
    except OSError as error:
        raise refusal(error, folder) from error
    return str(aside)


def _is_log(folder: Path) -> bool:
    try:
        return (folder / "identity").exists() or bool(list_segments(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _hold(folder: Path, disk: Disk) -> int:
    """The writer's lock; the kernel lets go of it however this process ends."""
    lock = disk.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise Unavailable(
            f"log {folder} is written by process {holder or 'unknown'} already",
            code="LOG_HELD",
            path=str(folder),
            value=holder,
            hint="stop that process, or use another data folder",
        ) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError:
        os.close(lock)  # else this process holds it until it ends
        raise
    return lock


def _identify(folder: Path, disk: Disk) -> bytes:
    """The log's id: as it stands, restored from its newest segment, or new for a new log."""
    heads = [head for first in list_segments(folder) if (head := read_head(folder, first, disk)) is not None]
    stands = read_identity(folder)
    log_id = stands or (heads[-1].log_id if heads else os.urandom(16))
    others = [head.first_seq for head in heads if head.log_id != log_id]
    if others:
        raise Damaged(
            f"log {folder} holds segments of another log: {others}; move them out of the folder",
            code="LOG_MIXED",
            path=str(folder),
            value=others,
        )
    if stands is None:
        disk.replace(folder / "identity", encode_identity(log_id))
    return log_id
