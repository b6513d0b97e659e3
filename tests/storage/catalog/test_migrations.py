import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.domain.errors import Unavailable
from headwater.storage.catalog import migrations
from headwater.storage.catalog.migrations import migrate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of a release that knew the first one alone."""
    folder = tmp_path / "ddl"
    folder.mkdir()
    shutil.copy(migrations.FOLDER / "0001_objects.sql", folder)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


@pytest.fixture
def con(path: Path) -> Iterator[sqlite3.Connection]:
    con = sqlite3.connect(path, isolation_level=None)
    con.execute("pragma journal_mode = wal").fetchall()
    yield con
    con.close()


def version(con: sqlite3.Connection) -> int:
    return int(con.execute("pragma user_version").fetchone()[0])


def test_a_new_file_gets_all_migrations_and_no_copy(con: sqlite3.Connection, path: Path, folder: Path) -> None:
    (folder / "0002_more.sql").write_text("create table more(x);")
    migrate(con, path, folder)
    assert version(con) == 2
    assert list(path.parent.glob("*.before-*")) == []


def test_an_old_file_is_copied_and_then_migrated(con: sqlite3.Connection, path: Path, folder: Path) -> None:
    migrate(con, path, folder)
    con.execute("insert into refused values ('p', 1, 'web', 5)")
    (folder / "0002_more.sql").write_text(
        "-- a comment; with a semicolon\ncreate table more(x);\ninsert into more values ('a;b');\n"
        "create trigger t after insert on more begin\n  delete from more where x = 'never';\nend;\n"
    )
    migrate(con, path, folder)
    assert version(con) == 2
    assert con.execute("select * from more").fetchall() == [("a;b",)]
    copy = path.with_name("catalog.sqlite.before-0002")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    before = sqlite3.connect(copy)
    assert version(before) == 1
    assert before.execute("select n from refused").fetchall() == [(5,)]
    before.close()
    assert sorted(file.name for file in path.parent.glob("*.before-*")) == [copy.name]


def test_a_migration_that_fails_changes_nothing_and_can_be_tried_again(
    con: sqlite3.Connection, path: Path, folder: Path
) -> None:
    migrate(con, path, folder)
    more = folder / "0002_more.sql"
    more.write_text("create table more(x);\ninsert into nowhere values (1);")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(con, path, folder)
    assert version(con) == 1
    assert con.execute("select name from sqlite_schema where name = 'more'").fetchall() == []
    more.write_text("create table more(x);")
    migrate(con, path, folder)
    assert version(con) == 2


def test_a_migration_that_ends_inside_a_statement_is_refused(con: sqlite3.Connection, path: Path, folder: Path) -> None:
    (folder / "0002_more.sql").write_text("create table more(x)")
    with pytest.raises(ValueError, match="ends inside a statement"):
        migrate(con, path, folder)
    assert version(con) == 0


def test_a_newer_file_is_refused_with_the_cure(con: sqlite3.Connection, path: Path, folder: Path) -> None:
    more = folder / "0002_more.sql"
    more.write_text("create table more(x);")
    migrate(con, path, folder)
    more.unlink()
    with pytest.raises(
        Unavailable, match=r"format 2, this headwater knows up to 1; .*catalog\.sqlite\.before-0002"
    ) as e:
        migrate(con, path, folder)
    assert e.value.code == "CATALOG_NEWER"


def test_migrating_again_does_nothing(con: sqlite3.Connection, path: Path) -> None:
    migrate(con, path)
    changes = con.total_changes
    migrate(con, path)
    assert con.total_changes == changes


def test_a_catalog_of_the_first_release_gets_jobs_and_keeps_its_objects(
    con: sqlite3.Connection, path: Path, folder: Path
) -> None:
    migrate(con, path, folder)
    con.execute("insert into refused values ('p', 1, 'web', 5)")
    migrate(con, path)
    assert con.execute("select count(*) from jobs").fetchone() == (0,)
    assert con.execute("select n from refused").fetchall() == [(5,)]
    assert path.with_name("catalog.sqlite.before-0002").exists()


def test_names_of_migrations_count_without_gaps() -> None:
    numbers = [int(step.name[:4]) for step in sorted(migrations.FOLDER.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
