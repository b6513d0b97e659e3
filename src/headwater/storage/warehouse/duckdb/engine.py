"""The version of DuckDB that wrote a file, and what a change of it asks for.

Opening a database changes nothing of it: what its write-ahead log holds is replayed in memory. So the version is looked
at then, and where it is another one, the files are let go of untouched and copied before this version writes. Tried
with files of 0.9.2 and 1.4.4 that were cut off by kill -9: not a byte changed, and the old version reads the copy.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from headwater.domain.errors import Unavailable
from headwater.observe.journal import get_journal
from headwater.storage.durable import put_in_place
from headwater.storage.warehouse.duckdb.failures import newer
from headwater.storage.warehouse.duckdb.files import Files

STATES: tuple[str, ...] = ()
"""Tables of states that an engine made of itself (sketches, aggregate states): emptied where they can't be trusted, to
be computed anew from rows."""
COPIES_MAX = 2
BYTES_LEFT_MIN = 64 << 20
"""On the disk, beside a copy."""

RECORDED = "select arg_max(version, opened_at) from engines"
RECORD = "insert into engines select version(), make_timestamp(?) where version() is distinct from ({recorded})"
COPY = re.compile(r"\.before-v?\d+\.\d+\.\d+\S*")

journal = get_journal("pipeline")


def changed(con: duckdb.DuckDBPyConnection, path: Path) -> str | None:
    """The version that the file was used with before, where this is another. Raises Damaged (WAREHOUSE_NEWER)."""
    ((recorded, now),) = con.execute(f"select ({RECORDED}), version()").fetchall()
    if recorded is None or recorded == now:
        return None
    if parts_of(recorded) > parts_of(now):
        raise newer(path, f"it was used with DuckDB {recorded}, this is {now}")
    return str(recorded)


def let_go(con: duckdb.DuckDBPyConnection) -> None:
    """Close without writing anything."""
    con.execute("pragma disable_checkpoint_on_shutdown")
    con.close()


def keep_copy(files: Files, before: str, now: str) -> Path:
    """Copy the closed database and its write-ahead log, as they are, for the version before. Raises Unavailable."""
    target = Files(files.database.with_name(f"{files.database.name}.before-{now.removeprefix('v')}"))
    pairs = [(files.wal, target.wal), (files.database, target.database)]
    wanted = sum(source.stat().st_size for source, _ in pairs if source.exists()) + BYTES_LEFT_MIN
    free = shutil.disk_usage(files.database.parent).free
    if free < wanted:
        raise Unavailable(
            f"warehouse: DuckDB has changed from {before} to {now}, and before {files.database} is written by the new "
            f"one it is copied: that takes {wanted:,} bytes, {free:,} are free; free space, or put DuckDB "
            f"{before.removeprefix('v')} back",
            code="DISK_FULL",
            path=str(files.database),
            value=free,
            limit=wanted,
        )
    for source, copy in pairs:
        if source.exists():
            part = copy.with_name(f"{copy.name}.part")
            part.touch(0o600)
            shutil.copyfile(source, part)
            put_in_place(part, copy)
    for old in copies(files.database)[:-COPIES_MAX]:
        Files(old).wal.unlink(missing_ok=True)
        old.unlink()
    journal.warning("engine_changed", file=str(files.database), before=before, now=now, copy=str(target.database))
    return target.database


def copies(database: Path) -> list[Path]:
    """Kept at changes of version, oldest first."""
    begin = len(database.name)
    found = [each for each in database.parent.glob(f"{database.name}.before-*") if COPY.fullmatch(each.name[begin:])]
    return sorted(
        (each for each in found if each.suffix not in (".wal", ".part")), key=lambda each: each.stat().st_mtime_ns
    )


def trusted(recorded: str, now: str) -> bool:
    """May states that the one version made be read by the other? Not across a major version."""
    return parts_of(recorded)[0] == parts_of(now)[0]


def distrust(con: duckdb.DuckDBPyConnection, recorded: str, states: Sequence[str] = STATES) -> list[str]:
    """Empty the tables of states where they are not to be trusted; which."""
    ((now,),) = con.execute("select version()").fetchall()
    if trusted(recorded, now):
        return []
    for table in states:
        con.execute(f"delete from {table}").fetchall()  # noqa: S608 - constants only
    return list(states)


def record(con: duckdb.DuckDBPyConnection, now_us: int) -> None:
    con.execute(RECORD.format(recorded=RECORDED), [now_us])


def parts_of(version: str) -> tuple[int, int, int]:
    """`v2.0.1-dev12` → (2, 0, 1)."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
