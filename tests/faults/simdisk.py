"""A disk that can fail: everything that Python code asks of the operating system below one folder goes through it.

It stands in for `os.open`, `os.pwritev`, `os.fsync`, `os.rename` and the like while its `with` block runs, so no code
has to be written for it and none can go past it. The files are real. Each call that changes the disk is an *operation*
with a number; a fault is put on a number.

What would be left after a power cut is known by inode: the bytes as of the last fsync of the file, the names as of the
last fsync of the folder. `after_power_cut` makes a folder of that plus a random part of what was not synced: files torn
at any byte, sector or page, lengths without their data, renames and deletions undone, in any combination. What other
code writes (DuckDB's COPY, deltalake) is treated alike: it is found there and was never synced.

Two liberties of a real disk are kept: a rename is whole or not at all, also between two folders, and after a failed
fsync the pages it was about are lost to later fsyncs unless they are written again.
"""

import errno
import os
import random
import shutil
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

PAGE = 4096


class PowerCut(BaseException):
    """The machine is off. Raised by the operation at which that happens and by every later one."""


class Fault(msgspec.Struct, frozen=True):
    """What happens at an operation.

    `cut`: nothing of it and nothing after it. `error`: it fails with `errno`, a write after `part` of its bytes.
    `short`: a write does only `part` of its bytes and says so, as the system may at any time. `full`: from here on
    `room` bytes can be written and no file be made, for `times` further operations.
    """

    kind: str
    errno: int = errno.EIO
    part: float = 0.0
    room: int = 0
    times: int = 1


class Op(msgspec.Struct, frozen=True):
    name: str
    path: str


class SimDisk:
    def __init__(
        self,
        root: Path,
        faults: Mapping[int, Fault] | None = None,
        *,
        on_cut: Callable[["SimDisk"], object] = lambda disk: None,
        opaque: tuple[str, ...] = (),
    ) -> None:
        """`on_cut` is called once, at the moment of the cut, before anybody knows of it. What is below `opaque` names
        of the root belongs to code that syncs out of our sight: it is taken as it lies there."""
        self.root = root
        self.faults = dict(faults or {})
        self.ops: list[Op] = []
        self.dead = False
        self.at_sync: Callable[[], object] | None = None
        """Called once inside the next sync of a file: so slow is the disk that this happens meanwhile."""
        self.met: Counter[str] = Counter()
        """Faults that really happened."""
        self._on_cut = on_cut
        self._opaque = opaque
        self._prefix = str(root) + "/"
        self._real: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._failing: tuple[int, Fault] | None = None
        self._room = 0
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._lost_pages: dict[int, set[int]] = {}
        self._pins: dict[int, int] = {}

    # Life

    def __enter__(self) -> "SimDisk":
        self.root.mkdir(exist_ok=True)
        self._take_as_durable(self.root)
        self._hook = threading.excepthook
        threading.excepthook = self._unless_cut
        for name in STANDINS:
            self._real[name] = getattr(os, name)
            setattr(os, name, getattr(self, "_" + name))
        return self

    def __exit__(self, *raised: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)
        threading.excepthook = self._hook
        for pin in self._pins.values():
            os.close(pin)
        self._pins.clear()
        self._close_left_open()

    def crash_point(self, name: str) -> None:
        """A step of code that is no system call, as an operation: to be put in place of `storage.crash.crash_point`."""
        self._begin("point", name)

    def power_off(self) -> None:
        with self._lock:
            if not self.dead:
                self.met["cut"] += 1
                self._on_cut(self)
                self.dead = True

    # What is left

    def after_kill(self, target: Path) -> None:
        """The folder as the kernel has it: what kill -9 leaves."""
        shutil.copytree(self.root, target)

    def after_power_cut(self, target: Path, chance: random.Random) -> None:
        """The folder as the disk may have it."""
        names = self._tree()
        rate = chance.choice((0.0, 0.5, 0.5, 1.0))
        kept = _names_after(self._names, names, lambda: chance.random() < rate)
        contents: dict[int, bytes] = {}
        self._make(target, self.root.stat().st_ino, kept, contents, chance)
        for name in self._opaque:
            if (self.root / name).is_dir():
                shutil.copytree(self.root / name, target / name)
            else:
                for path in self.root.glob(name + "*"):
                    shutil.copy(path, target / path.name)

    def _make(
        self, target: Path, inode: int, kept: Mapping[int, Mapping[str, int]], contents: dict[int, bytes], chance: Any
    ) -> None:
        target.mkdir(mode=0o700)
        for name, child in sorted(kept.get(inode, {}).items()):
            if child in kept or child in self._names:
                self._make(target / name, child, kept, contents, chance)
                continue
            if child not in contents:
                contents[child] = torn(self._bytes.get(child, b""), self._current(child), chance)
            (target / name).write_bytes(contents[child])

    def _tree(self) -> dict[int, dict[str, int]]:
        """Names by folder, as the kernel has them now; every file met is pinned, so that no inode is used twice."""
        found: dict[int, dict[str, int]] = {}
        folders = [self.root]
        while folders:
            folder = folders.pop()
            names = found[folder.stat().st_ino] = {}
            for entry in os.scandir(folder):
                if folder == self.root and entry.name.startswith(self._opaque or ("\0",)):
                    continue
                names[entry.name] = entry.inode()
                self._pin(entry.inode(), entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
        return found

    def _current(self, inode: int) -> bytes:
        return Path(f"/proc/self/fd/{self._pins[inode]}").read_bytes()

    def _take_as_durable(self, root: Path) -> None:
        for inode, names in self._tree().items():
            self._names[inode] = names
        folders = set(self._names)
        for names in self._names.values():
            for inode in names.values():
                if inode not in folders:
                    self._bytes[inode] = self._current(inode)

    def _pin(self, inode: int, path: str) -> None:
        if inode not in self._pins:
            self._pins[inode] = (self._real.get("open") or os.open)(path, os.O_RDONLY | os.O_CLOEXEC)

    # Operations

    def _begin(self, name: str, path: str) -> Fault | None:
        """Count the operation; what is to go wrong with it, where that is no plain error."""
        with self._lock:
            if self.dead:
                raise PowerCut
            number = len(self.ops) + 1
            self.ops.append(Op(name, path.removeprefix(self._prefix)))
            fault = self.faults.get(number)
            if fault is not None:
                self._failing = (number + fault.times - 1, fault)
                self._room = fault.room
            elif self._failing is not None and number > self._failing[0]:
                self._failing = None
            if self._failing is None:
                return None
            fault = self._failing[1]
            if fault.kind == "cut":
                self.power_off()
                raise PowerCut
            return fault

    def _fail(self, fault: Fault | None, name: str, path: str) -> None:
        """For what is done as a whole or not at all."""
        if fault is None or fault.kind == "short":
            return
        number = errno.ENOSPC if fault.kind == "full" else fault.errno
        self.met[f"{name}: {errno.errorcode[number]}"] += 1
        raise OSError(number, os.strerror(number), path)

    def _below(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The path where it is ours."""
        if isinstance(path, int):
            text = os.readlink(f"/proc/self/fd/{path}").removesuffix(" (deleted)")  # noqa: PTH115
        elif dir_fd is not None:
            text = f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{os.fsdecode(path)}"  # noqa: PTH115
        else:
            text = os.fsdecode(path)
        if not text.startswith(self._prefix) and text != self._prefix[:-1]:
            return None
        return None if text.removeprefix(self._prefix).startswith(self._opaque or ("\0",)) else text

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        real = self._real["open"]
        if flags & (os.O_CREAT | os.O_TRUNC) and (text := self._below(path, dir_fd)) is not None:
            there = os.path.exists(text)  # noqa: PTH110
            if not there or flags & os.O_TRUNC:
                fault = self._begin("create" if not there else "truncate", text)
                if fault is not None and (fault.kind != "full" or (not there and self._room <= 0)):
                    self._fail(fault, "create", text)
        return int(real(path, flags, mode, dir_fd=dir_fd))

    def _pwritev(self, descriptor: int, parts: Any, offset: int, flags: int = 0) -> int:
        return self._write_at(descriptor, b"".join(parts), offset)

    def _pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        return self._write_at(descriptor, bytes(data), offset)

    def _write_at(self, descriptor: int, data: bytes, offset: int) -> int:
        pwrite = self._real["pwrite"]
        text = self._below(descriptor)
        if text is None:
            return int(pwrite(descriptor, data, offset))
        fault = self._begin("write", text)
        length = len(data)
        if fault is not None:
            part = max(int(length * fault.part), 1 if fault.kind == "short" else 0)
            length = min(length, self._room) if fault.kind == "full" else min(length - 1, part)
            self._room -= length
        done = int(pwrite(descriptor, data[:length], offset)) if length > 0 else 0
        pages = self._lost_pages.get(os.fstat(descriptor).st_ino)
        if pages:
            pages.difference_update(range(offset // PAGE, (offset + done + PAGE - 1) // PAGE))
        if done < len(data):
            if fault is not None and (done == 0 or fault.kind == "error"):
                self._fail(fault, "write", text)
            self.met["write: short"] += 1
        return done

    def _ftruncate(self, descriptor: int, length: int) -> None:
        text = self._below(descriptor)
        if text is not None:
            fault = self._begin("truncate", text)
            if fault is None or fault.kind != "full":
                self._fail(fault, "truncate", text)
        self._real["ftruncate"](descriptor, length)

    def _fsync(self, descriptor: int) -> None:
        text = self._below(descriptor)
        if text is None:
            self._real["fsync"](descriptor)
            return
        fault = self._begin("sync", text)
        facts = os.fstat(descriptor)
        folder = stat.S_ISDIR(facts.st_mode)
        if not folder and (meanwhile := self.at_sync) is not None:
            self.at_sync = None
            meanwhile()
        with self._lock:
            if self.dead:
                raise PowerCut
            if fault is not None and fault.kind == "error":
                if not folder:
                    self._lose_pages(facts.st_ino, descriptor)
                self._fail(fault, "sync", text)
            if folder:
                self._sync_names(facts.st_ino)
            else:
                self._pin(facts.st_ino, f"/proc/self/fd/{descriptor}")
                self._bytes[facts.st_ino] = self._reached(facts.st_ino)

    def _sync_names(self, folder: int) -> None:
        """And the other half of each rename into or out of the folder: it is one step of the disk's journal."""
        tree = self._tree()
        was, now = self._names.get(folder, {}), tree[folder]
        self._names[folder] = now
        gone, come = set(was.values()) - set(now.values()), set(now.values()) - set(was.values())
        for other, names in tree.items():
            durable = self._names.setdefault(other, {})
            durable.update({name: inode for name, inode in names.items() if inode in gone})
            for name in [name for name, inode in durable.items() if inode in come and names.get(name) != inode]:
                del durable[name]

    def _lose_pages(self, inode: int, descriptor: int) -> None:
        """A failed fsync marks the pages clean: no later one writes them."""
        self._pin(inode, f"/proc/self/fd/{descriptor}")
        before, now = self._bytes.get(inode, b""), self._current(inode)
        lost = self._lost_pages.setdefault(inode, set())
        for page in range((len(now) + PAGE - 1) // PAGE):
            at = slice(page * PAGE, (page + 1) * PAGE)
            if now[at] != before[at]:
                lost.add(page)

    def _reached(self, inode: int) -> bytes:
        """What an fsync brings to the disk."""
        now = self._current(inode)
        lost = self._lost_pages.get(inode)
        if not lost:
            return now
        before, mixed = self._bytes.get(inode, b""), bytearray(now)
        for page in lost:
            old = before[page * PAGE : (page + 1) * PAGE].ljust(PAGE, b"\0")
            mixed[page * PAGE : (page + 1) * PAGE] = old[: max(0, len(now) - page * PAGE)]
        return bytes(mixed)

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._simple("unlink", path, dir_fd=dir_fd)

    def _remove(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._simple("remove", path, dir_fd=dir_fd)

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._simple("rmdir", path, dir_fd=dir_fd)

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self._simple("mkdir", path, mode, dir_fd=dir_fd)

    def _simple(self, name: str, path: Any, *rest: Any, dir_fd: int | None) -> None:
        text = self._below(path, dir_fd)
        if text is not None and os.path.lexists(text) == (name != "mkdir"):
            fault = self._begin(name, text)
            if name == "mkdir" or fault is None or fault.kind != "full":
                self._fail(fault, name, text)
            if name != "mkdir" and not os.path.isdir(text):  # noqa: PTH112
                self._pin(os.lstat(text).st_ino, text)
        self._real[name](path, *rest, dir_fd=dir_fd)

    def _rename(self, old: Any, new: Any, **folders: Any) -> None:
        self._two("rename", old, new, folders)

    def _replace(self, old: Any, new: Any, **folders: Any) -> None:
        self._two("replace", old, new, folders)

    def _link(self, old: Any, new: Any, **folders: Any) -> None:
        self._two("link", old, new, folders)

    def _two(self, name: str, old: Any, new: Any, folders: Mapping[str, Any]) -> None:
        text = self._below(new, folders.get("dst_dir_fd"))
        if text is not None and (name != "link" or not os.path.lexists(text)):
            self._fail(self._begin(name, text), name, text)
            if os.path.isfile(text):  # noqa: PTH113
                self._pin(os.lstat(text).st_ino, text)
        self._real[name](old, new, **folders)

    # Afterwards

    def _unless_cut(self, what: threading.ExceptHookArgs) -> None:
        """A thread that ends by a cut, or by a fault that was put here, says so in the outcomes that it gives."""
        if not issubclass(what.exc_type, PowerCut | OSError):
            self._hook(what)

    def _close_left_open(self) -> None:
        """Descriptors of code that was cut off: a machine that is off has none."""
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
            try:
                text = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            except FileNotFoundError:
                continue
            if text.startswith(self._prefix) and self.dead and not text.startswith(self._opaque_paths()):
                os.close(int(name))

    def _opaque_paths(self) -> tuple[str, ...]:
        return tuple(self._prefix + name for name in self._opaque) or ("\0",)


STANDINS = (
    "open",
    "pwritev",
    "pwrite",
    "ftruncate",
    "fsync",
    "fdatasync",
    "unlink",
    "remove",
    "rmdir",
    "mkdir",
    "rename",
    "replace",
    "link",
)
SimDisk._fdatasync = SimDisk._fsync  # type: ignore[attr-defined]


def torn(before: bytes, now: bytes, chance: random.Random) -> bytes:
    """What may be on the disk of a file that was synced as `before` and is `now` in memory."""
    if before == now:
        return now
    way = chance.randrange(6)
    if way == 0:
        return before
    if way == 1:
        return now
    length = chance.choice((len(before), len(now), chance.randint(*sorted((len(before), len(now))))))
    if way == 2:  # written from the front, up to some byte
        cut = chance.randint(0, length)
        return (now[:cut] + before[cut:])[:length].ljust(length, b"\0")
    unit = chance.choice((512, PAGE))
    pieces = []
    for at in range(0, length, unit):
        new = chance.random() < 0.5
        pieces.append((now if new else before)[at : at + unit].ljust(unit, b"\0"))
    return b"".join(pieces)[:length]


def _names_after(
    before: Mapping[int, Mapping[str, int]], now: Mapping[int, Mapping[str, int]], flip: Callable[[], bool]
) -> dict[int, dict[str, int]]:
    """Names by folder after a crash: of what changed since the folders were synced, each step was done or not."""
    kept: dict[int, dict[str, int]] = {}
    decided: dict[int, bool] = {}
    for folder in sorted({*before, *now}):
        was, is_now = before.get(folder, {}), now.get(folder, {})
        names = kept[folder] = {}
        for name in sorted({*was, *is_now}):
            old, new = was.get(name), is_now.get(name)
            chosen = old
            if old != new:
                # The same file under an old and a new name: one rename, wherever its two halves lie.
                same = [inode for inode in (old, new) if inode in decided]
                done = decided[same[0]] if same else flip()
                decided.update({inode: done for inode in (old, new) if inode is not None})
                chosen = new if done else old
            if chosen is not None:
                names[name] = chosen
    return kept


@contextmanager
def without_syncs() -> Iterator[None]:
    """For what is only looked at: a real fsync takes longer than all the rest of a run."""
    real = os.fsync, os.fdatasync
    os.fsync = os.fdatasync = lambda descriptor: None
    try:
        yield
    finally:
        os.fsync, os.fdatasync = real


def flipped(content: bytes, chance: random.Random) -> bytes:
    """One bit is wrong."""
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path
