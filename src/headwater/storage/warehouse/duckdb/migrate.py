"""Numbered migrations: `ddl/0001_*.sql` and so on, each run once, in a transaction, after a copy of the file."""

import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb

from headwater.domain.errors import Damaged
from headwater.storage.durable import put_in_place
from headwater.storage.warehouse.duckdb.failures import newer

FOLDER = Path(__file__).parent / "ddl"


class Step(NamedTuple):
    number: int
    name: str
    sql: str


def steps_in(folder: Path = FOLDER) -> list[Step]:
    """Ascending, numbered from 1 without gaps."""
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    steps = [Step(int(file.name[:4]), file.stem[5:], file.read_text()) for file in files]
    assert [step.number for step in steps] == list(range(1, len(steps) + 1)), folder
    return steps


def pending(con: duckdb.DuckDBPyConnection, path: Path, steps: list[Step]) -> tuple[list[Step], bool]:
    """What is to be run, and whether the database was in use before. Raises Damaged where it is not for this code."""
    tables = {row[0] for row in con.execute("select table_name from duckdb_tables()").fetchall()}
    if "migrations" not in tables:
        if tables:
            raise Damaged(
                f"warehouse: {path} is a database of another program; move it away, or point warehouse.url elsewhere",
                code="WAREHOUSE_DAMAGED",
                path=str(path),
            )
        return steps, False
    (done,) = con.execute("select coalesce(max(number), 0) from migrations").fetchall()[0]
    if done > len(steps):
        raise newer(path, f"it has format {done}, this headwater knows up to {len(steps)}")
    return steps[done:], True


def apply(con: duckdb.DuckDBPyConnection, steps: list[Step]) -> None:
    """All or nothing."""
    con.execute("begin")
    try:
        con.execute(
            "create table if not exists migrations (number integer not null, name varchar not null, "
            "applied_at timestamp not null, engine_version varchar not null)"
        )
        for step in steps:
            con.execute(step.sql)
            con.execute("insert into migrations values (?, ?, make_timestamp(epoch_us(now())), version())", step[:2])
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise


def copy_of(path: Path, before: int) -> Path:
    """A fsynced copy of the closed database at `path`, named by the migration that follows."""
    target = path.with_name(f"{path.name}.before-{before:04d}")
    part = target.with_name(target.name + ".part")
    part.touch(0o600)
    with path.open("rb") as source, part.open("wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    put_in_place(part, target)
    return target
