"""Numbered migrations of the SQLite catalog: run at start, in one transaction, after a copy of the file."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from headwater.domain.errors import Damaged, Unavailable
from headwater.observe.journal import get_journal
from headwater.storage.durable import put_in_place

FOLDER = Path(__file__).parent / "ddl"
APPLICATION_ID = 0x48574341
"""Stands in the file's header ("HWCA"), so that another program's database is never migrated."""


def migrate(con: sqlite3.Connection, path: Path, folder: Path = FOLDER) -> None:
    """Bring the database up to the last migration in `folder`; nothing happens where it is there already.

    `con` is in autocommit mode. Safe when several processes start at once: the first one works, the rest wait and
    find it done. Raises Unavailable (CATALOG_NEWER) and Damaged (CATALOG_DAMAGED).
    """
    steps = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    if _version(con, path, len(steps)) == len(steps):
        return
    con.execute("begin immediate")
    try:
        done = _version(con, path, len(steps))
        copy = _copy(path, done + 1) if 0 < done < len(steps) else None
        for step in steps[done:]:
            for statement in _statements(step.read_text()):
                con.execute(statement)
        con.execute(f"pragma application_id = {APPLICATION_ID}")
        con.execute(f"pragma user_version = {len(steps)}")
        con.execute("commit")
    except BaseException:
        if con.in_transaction:
            con.execute("rollback")
        raise
    if copy is not None:
        get_journal("application").info(
            "catalog_migrated", file=str(path), before=done, after=len(steps), copy=str(copy)
        )


def _version(con: sqlite3.Connection, path: Path, known: int) -> int:
    (version,) = con.execute("pragma user_version").fetchone()
    (application,) = con.execute("pragma application_id").fetchone()
    (tables,) = con.execute("select count(*) from sqlite_schema").fetchone()
    if application != APPLICATION_ID and (tables or version):
        raise Damaged(
            f"catalog: {path} is a database of another program; move it away, or point catalog.url elsewhere",
            code="CATALOG_DAMAGED",
            path=str(path),
        )
    if version > known:
        raise Unavailable(
            f"catalog: {path} has format {version}, this headwater knows up to {known}; start the newer headwater that "
            f"wrote it, or put back the copy {_copy_path(path, known + 1).name} from beside it",
            code="CATALOG_NEWER",
            path=str(path),
            value=version,
            limit=known,
        )
    return int(version)


def _copy_path(path: Path, migration: int) -> Path:
    return path.with_name(f"{path.name}.before-{migration:04d}")


def _copy(path: Path, migration: int) -> Path:
    """A whole, fsynced copy of the committed state, as it was before `migration`."""
    target = _copy_path(path, migration)
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    source, copy = sqlite3.connect(path), sqlite3.connect(part)
    try:
        source.backup(copy)
        # A copy in WAL mode would need its own -wal file; as one plain file it can be moved around.
        copy.execute("pragma journal_mode = delete").fetchall()
    finally:
        source.close()
        copy.close()
    put_in_place(part, target)
    return target


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction around them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"migration ends inside a statement: {statement.strip()[:80]!r}")
