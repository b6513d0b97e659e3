"""Numbered migrations of the DuckDB warehouse."""

import shutil
from pathlib import Path

import duckdb
import pytest
from tests.blocks import LOG_ID, block, event

from headwater.domain.errors import Damaged
from headwater.storage.log.base import Position
from headwater.storage.warehouse.duckdb import migrate
from headwater.storage.warehouse.duckdb.store import DuckWarehouse


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of today and one more."""
    copy = tmp_path / "ddl"
    shutil.copytree(migrate.FOLDER, copy)
    number = len(migrate.steps_in(copy)) + 1
    (copy / f"{number:04d}_more.sql").write_text("create table more(x int);\ninsert into more values (1), (2);")
    return copy


def test_a_pending_migration_runs_once_after_a_copy(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "w" / "warehouse.duckdb"
    known = len(migrate.steps_in())
    warehouse = DuckWarehouse(path)
    warehouse.load(block([event(1)], 1))
    warehouse.close()
    for _ in range(2):
        warehouse = DuckWarehouse(path, migrations=folder)
        with warehouse.state.cursor() as cursor:
            assert cursor.execute("select count(*) from more").fetchall() == [(2,)]
        assert warehouse.position() == Position(LOG_ID, 1)
        warehouse.close()
    copy = path.with_name(f"warehouse.duckdb.before-{known + 1:04d}")
    assert copy.stat().st_mode & 0o077 == 0
    con = duckdb.connect(str(copy), read_only=True)
    assert con.execute("select max(number), (select count(*) from hot) from migrations").fetchall() == [(known, 1)]
    con.close()


def test_a_new_database_needs_no_copy(tmp_path: Path, folder: Path) -> None:
    DuckWarehouse(tmp_path / "w" / "warehouse.duckdb", migrations=folder).close()
    assert not list((tmp_path / "w").glob("*.before-*"))


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "w" / "warehouse.duckdb"
    DuckWarehouse(path, migrations=folder).close()
    before = path.read_bytes()
    with pytest.raises(Damaged, match="newer version") as caught:
        DuckWarehouse(path)
    assert caught.value.code == "WAREHOUSE_NEWER"
    assert path.read_bytes() == before


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "w" / "warehouse.duckdb"
    DuckWarehouse(path).close()
    broken = sorted(folder.glob("*.sql"))[-1]
    broken.write_text("create table more(x int);\ninsert into nowhere values (1);")
    with pytest.raises(Damaged, match="nowhere"):
        DuckWarehouse(path, migrations=folder)
    DuckWarehouse(path).close()


def test_the_engine_s_version_is_recorded_once(tmp_path: Path) -> None:
    path = tmp_path / "w" / "warehouse.duckdb"
    for _ in range(2):
        DuckWarehouse(path).close()
    con = duckdb.connect(str(path), read_only=True)
    assert con.execute("select version from engines").fetchall() == [(f"v{duckdb.__version__}",)]
    con.close()
