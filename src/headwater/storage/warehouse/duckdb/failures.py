"""What DuckDB raises → the errors of the house, naming the file and the cure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from headwater.domain.errors import BadInput, Damaged, HeadwaterError, Unavailable

REBUILD = "make it anew with `headwater lake rebuild`"
LOCKED = ("Could not set lock", "different configuration", "configuration has been locked")
NEWER = ("version number", "newer version of DuckDB", "storage version")
VERSIONS = re.compile(r"version number (\d+), but we can only read versions? (?:between )?(\d+)")
DAMAGE = (
    *("corrupt", "checksum", "replaying WAL", "not a valid DuckDB", "Failed to deserialize", "LEB128", "Serialization"),
    *("does not match database file", "out of range of file", "INTERNAL Error"),
)
DISK = (
    "No space left",
    "Permission denied",
    "Read-only file system",
    "File too large",
    "quota exceeded",
    "Cannot open",
)
DATA = (
    duckdb.ConversionException,
    duckdb.ConstraintException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    duckdb.TypeMismatchException,
)


@contextmanager
def translated(path: Path, *, opening: bool = False) -> Iterator[None]:
    """Raises the house's error for any that DuckDB raises inside."""
    try:
        yield
    except duckdb.Error as error:
        raise translate(error, path, opening=opening) from error


def translate(error: duckdb.Error, path: Path, *, opening: bool = False) -> HeadwaterError:
    """While opening, whatever is not known to be something else is damage: what was written no longer reads."""
    said = str(error)
    brief = said.splitlines()[0][:300] if said else type(error).__name__
    if any(each in said for each in LOCKED):
        return Unavailable(
            f"warehouse: {path} is open elsewhere ({brief}); stop that one first",
            code="WAREHOUSE_LOCKED",
            path=str(path),
        )
    if any(each in said for each in DISK):
        return Unavailable(
            f"warehouse: {path} can't be read or written: {brief}; free space or mend the permissions, it goes on then",
            code="WAREHOUSE_IO",
            path=str(path),
        )
    if any(each in said for each in NEWER):
        return older(path, brief) if _is_older(said) else newer(path, brief)
    if any(each.lower() in said.lower() for each in DAMAGE):
        return damaged(path, brief)
    if opening and not isinstance(error, duckdb.OutOfMemoryException):
        return damaged(path, brief)
    if isinstance(error, DATA):
        return BadInput(f"rows can't be stored: {brief}", code="LOAD_FAILED")
    if isinstance(error, duckdb.OutOfMemoryException):
        return Unavailable(
            f"warehouse: out of memory: {brief}; raise warehouse.memory_bytes_max",
            code="WAREHOUSE_MEMORY",
            path=str(path),
        )
    return Unavailable(f"warehouse: {path}: {brief}", code="WAREHOUSE_UNAVAILABLE", path=str(path))


def no_access(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"warehouse: {path} can't be read or written: {error.strerror}; free space or mend the permissions",
        code="WAREHOUSE_IO",
        path=str(path),
    )


def damaged(path: Path, reason: str) -> Damaged:
    return Damaged(
        f"warehouse: {path} is damaged: {reason}; {REBUILD}", code="WAREHOUSE_DAMAGED", path=str(path), hint=REBUILD
    )


def newer(path: Path, reason: str) -> Damaged:
    return Damaged(
        f"warehouse: {path} was written by a newer version: {reason}; start that version, or {REBUILD}",
        code="WAREHOUSE_NEWER",
        path=str(path),
        hint=REBUILD,
    )


def older(path: Path, reason: str) -> Damaged:
    return Damaged(
        f"warehouse: {path} was written by a version too old for this one: {reason}; put the old DuckDB back, or "
        f"{REBUILD}",
        code="WAREHOUSE_OLDER",
        path=str(path),
        hint=REBUILD,
    )


def _is_older(said: str) -> bool:
    found = VERSIONS.search(said)
    return found is not None and int(found[1]) < int(found[2])
