"""A log folder to break, and a disk that breaks when told to."""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from headwater.storage.log.base import Damage, Entry, Frame, Kind
from headwater.storage.log.disk import Disk
from headwater.storage.log.files import open_reader, open_writer
from headwater.storage.log.frames import Header, walk
from headwater.storage.log.segments import HEAD_BYTES, Segment, list_segments


class FaultyDisk(Disk):
    """Does what the real one does, until a fault is set. `room` bytes are left to write; None = plenty."""

    def __init__(self) -> None:
        self.sync_fails = 0
        self.room: int | None = None
        self.read_only = False
        self.truncate_fails = False
        self.syncs: list[str] = []
        self.writes: list[tuple[int, int]] = []
        self.unreadable = False
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.held = threading.Event()
        """A sync waits for `may_sync`: all before it is written."""

    def open(self, path: Path, flags: int) -> int:
        if self.read_only and flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return super().open(path, flags)

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        if self.unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, length, offset)

    def write(self, descriptor: int, parts: Sequence[bytes], offset: int) -> None:
        """`writes` tells (offset, bytes) of each."""
        self.writes.append((offset, sum(map(len, parts))))
        if self.room is not None:
            whole = b"".join(parts)
            fits = min(self.room, len(whole))
            os.pwrite(descriptor, whole[:fits], offset)
            self.room -= fits
            if fits < len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return
        super().write(descriptor, parts, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        if self.truncate_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        if not self.may_sync.is_set():
            self.held.set()
        assert self.may_sync.wait(30)
        if self.sync_fails > 0:
            self.sync_fails -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(descriptor)
        self.syncs.append("file")

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self.syncs.append(str(folder))


class Log:
    """A log in a folder, with the writer's answers collected by token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"file://{folder}"
        self.disk = FaultyDisk()
        self.answers: dict[Any, Any] = {}
        self.groups: list[int] = []
        self._changed = threading.Condition()
        self._tokens = 0
        self.writer: Any = None

    def on_durable(self, outcomes: Sequence[tuple[Any, Any]]) -> None:
        with self._changed:
            self.groups.append(len(outcomes))
            self.answers.update(outcomes)
            self._changed.notify_all()

    def open(self, **settings: Any) -> Any:
        self.writer = open_writer(self.url, self.on_durable, disk=self.disk, **settings)
        return self.writer

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def append(self, n: int = 1, payload: bytes = b"x", minute: int = 100, **kind: Any) -> int:
        """Hands over; returns the token."""
        counts = {} if kind.get("kind") is Kind.REPLAY else {"web": n}
        self._tokens += 1
        self.writer.append(Entry(payload, n, minute, counts, **kind), self._tokens)
        return self._tokens

    def answer(self, token: int) -> Any:
        with self._changed:
            assert self._changed.wait_for(lambda: token in self.answers, 20), "no answer"
            return self.answers[token]

    def write(self, n: int = 1, payload: bytes = b"x", minute: int = 100, **kind: Any) -> Any:
        """One frame of its own; returns the outcome."""
        return self.answer(self.append(n, payload, minute, **kind))

    def reader(self) -> Any:
        return open_reader(self.url)

    def everything(self, after_seq: int = 0) -> list[Frame | Damage]:
        reader = self.reader()
        try:
            items: list[Frame | Damage] = []
            while reader.durable_seq() > after_seq:
                found = reader.read(after_seq, 1_000_000, 0.0)
                assert found, f"nothing after {after_seq}"
                items += found
                after_seq = items[-1].last_seq
            return items
        finally:
            reader.close()

    def received(self, after_seq: int = 0) -> dict[tuple[int, str], int]:
        reader = self.reader()
        try:
            return summed(part.counts for part in reader.headers(after_seq))
        finally:
            reader.close()

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.segment"))

    def frames_of(self, path: Path) -> list[Header]:
        """Headers as they lie in the file."""
        first = list_segments(self.folder)[self.segments().index(path)]
        log_id = (self.folder / "identity").read_bytes()[4:20]
        with Segment(self.folder, first, self.disk, 4096) as segment:
            found = [item for item, _ in walk(segment.read, log_id, HEAD_BYTES, segment.size(), first, 2**62, 0)]
        return [item for item in found if isinstance(item, Header)]


def summed(parts: Any) -> dict[tuple[int, str], int]:
    total: dict[tuple[int, str], int] = {}
    for counts in parts:
        for key, n in counts.items():
            total[key] = total.get(key, 0) + n
    return total


def flip(path: Path, offset: int) -> None:
    """One bit of the file is wrong from now on."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "log")
    yield made
    made.disk.may_sync.set()
    made.close()


@pytest.fixture(name="flip")
def flip_fixture() -> Callable[[Path, int], None]:
    return flip


@pytest.fixture(name="summed")
def summed_fixture() -> Callable[[Any], dict[tuple[int, str], int]]:
    return summed
