"""Which of several database files is the warehouse, and how another one takes its place.

    warehouse.duckdb                         the warehouse, whenever nobody has it open
    warehouse.duckdb.next-<name>             one that is being built; in use from its switch to the next opening
    warehouse.duckdb.current                 the pointer: written by a switch, taken away at the next opening
    warehouse.duckdb.before-rebuild-<time>   the one before, kept for KEPT_DAYS or until it is dropped

A switch is one rename, that of the pointer: before it the old file counts, after it the new one, however the process
ends. A database that is open can't be moved, since DuckDB finds its write-ahead log by name. So the files get their
usual names at the next opening, in steps that may be cut off anywhere and are gone on with.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from headwater.domain.errors import Unavailable
from headwater.storage.crash import crash_point
from headwater.storage.durable import put_in_place, sync
from headwater.storage.warehouse.duckdb.failures import damaged, no_access
from headwater.storage.warehouse.duckdb.files import Files

KEPT_DAYS = 7
NEXT, KEPT = "next-", "before-rebuild-"
STAMP = "%Y%m%dT%H%M%SZ"


class Pointer(NamedTuple):
    to: Path
    kept: Path
    """Where the file goes that counted before."""


def next_of(home: Path, name: str) -> Path:
    return home.with_name(f"{home.name}.{NEXT}{name}")


def point(home: Path, to: Path) -> Pointer:
    """From here on `to` counts: durable at return. Raises Unavailable, and then nothing has changed."""
    pointer = Pointer(to, _free_name(home.with_name(f"{home.name}.{KEPT}{time.strftime(STAMP, time.gmtime())}")))
    part = _pointer_of(home).with_suffix(".part")
    try:
        part.write_text(f"{pointer.to.name}\n{pointer.kept.name}\n")
        part.chmod(0o600)
        crash_point("warehouse.switch.before_rename")
        put_in_place(part, _pointer_of(home))
        crash_point("warehouse.switch.after_rename")
    except OSError as error:
        raise no_access(home, error) from error
    return pointer


def current(home: Path) -> Path:
    """Where the database is that counts, whether or not the files have their usual names."""
    pointer = _read(home)
    return home if pointer is None or not pointer.to.exists() else pointer.to


def settle(home: Path) -> None:
    """Give the files their usual names after a switch. Only for who is about to open the warehouse."""
    try:
        pointer = _read(home)
        if pointer is None:
            return
        if pointer.to.exists():
            _check_free(pointer.to)
            if home.exists():
                move(home, pointer.kept if not pointer.kept.exists() else _free_name(pointer.kept))
                crash_point("warehouse.switch.before_move")
            move(pointer.to, home)
            shutil.rmtree(Files(pointer.to).temp, ignore_errors=True)
        elif not home.exists():
            raise damaged(home, f"neither it nor {pointer.to.name}, which took its place, is there")
        sync(home.parent)
        _pointer_of(home).unlink()
        sync(home.parent)
    except OSError as error:
        raise no_access(home, error) from error


def move(database: Path, to: Path) -> None:
    """A database that nobody writes to, with what lies beside it; the main file last, so that a move that was cut off
    is gone on with."""
    before, after = Files(database), Files(to)
    for source, target in ((before.wal, after.wal), (before.mark, after.mark), (database, to)):
        if source.exists():
            source.rename(target)


def remove(database: Path) -> int:
    """Bytes freed."""
    files = Files(database)
    shutil.rmtree(files.temp, ignore_errors=True)
    freed = 0
    for each in (files.wal, files.mark, database):
        if each.exists():
            freed += each.stat().st_size
            each.unlink()
    return freed


def sweep(home: Path, *, but: str = "") -> None:
    """Remove what was half built, but that of this name."""
    for each in half_built(home):
        if each != next_of(home, but):
            remove(each)


def half_built(home: Path) -> list[Path]:
    """Databases that were begun and never took the place."""
    pointer = _read(home)
    current = None if pointer is None else pointer.to
    return [each for each in _databases(home, NEXT) if each != current]


def kept(home: Path) -> list[Path]:
    """Databases that counted before a rebuild, oldest first."""
    return _databases(home, KEPT)


def forget_old(home: Path) -> int:
    """Remove what has been kept for KEPT_DAYS; bytes freed."""
    oldest = time.strftime(STAMP, time.gmtime(time.time() - KEPT_DAYS * 86_400))
    return sum(remove(each) for each in kept(home) if each.name.partition(KEPT)[2] < oldest)


def _databases(home: Path, mark: str) -> list[Path]:
    begin = f"{home.name}.{mark}"
    return sorted(each for each in _beside(home) if each.name.startswith(begin) and "." not in each.name[len(begin) :])


def _beside(home: Path) -> Iterator[Path]:
    return home.parent.iterdir() if home.parent.is_dir() else iter(())


def _pointer_of(home: Path) -> Path:
    return home.with_name(f"{home.name}.current")


def _read(home: Path) -> Pointer | None:
    try:
        to, kept_as = _pointer_of(home).read_text().split()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise damaged(
            home, f"{_pointer_of(home).name}, which says which file counts, can't be read: {error}"
        ) from error
    return Pointer(home.with_name(to), home.with_name(kept_as))


def _free_name(wanted: Path) -> Path:
    found, n = wanted, 1
    while found.exists():
        n += 1
        found = wanted.with_name(f"{wanted.name}-{n}")
    return found


def _check_free(database: Path) -> None:
    """DuckDB holds a lock on what it has open. Not of use within one process, whose own locks this would let go of."""
    descriptor = os.open(database, os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Unavailable(
            f"warehouse: {database} is open elsewhere; stop that one first", code="WAREHOUSE_LOCKED", path=str(database)
        ) from None
    finally:
        os.close(descriptor)
