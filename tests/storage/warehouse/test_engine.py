"""A change of DuckDB's version: the file is copied first; a newer one's is refused; states are not trusted."""

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.blocks import block, event

from headwater.domain.errors import Damaged, Unavailable
from headwater.storage.warehouse.duckdb import engine
from headwater.storage.warehouse.duckdb.failures import translate
from headwater.storage.warehouse.duckdb.store import DuckWarehouse

NOW = f"v{duckdb.__version__}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def used_with(home: Path, version: str, *, hot_log: bool = False) -> None:
    """The file as a process with another version of DuckDB would have left it; `hot_log`: killed."""
    with duckdb.connect(str(home)) as con:
        con.execute("delete from engines")
        con.execute("insert into engines values (?, make_timestamp(0))", [version])
        con.execute("checkpoint")
        if hot_log:
            con.execute("pragma disable_checkpoint_on_shutdown")
            con.execute("insert into untimed values ('hot', uuid())")


def made(home: Path) -> None:
    warehouse = DuckWarehouse(home)
    warehouse.load(block([event(1), event(2)], 2))
    warehouse.close()


def digests(*paths: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


@pytest.mark.parametrize("hot_log", [False, True])
def test_a_file_of_another_version_is_copied_byte_for_byte_before_it_is_written(home: Path, hot_log: bool) -> None:
    made(home)
    used_with(home, "v1.4.4", hot_log=hot_log)
    files = [home, *([wal_of(home)] if hot_log else [])]
    before = digests(*files)
    warehouse = DuckWarehouse(home)
    copy = warehouse.state.database.engine_copy
    assert copy is not None and copy.name == f"warehouse.duckdb.before-{duckdb.__version__}"
    assert digests(*[copy, *([wal_of(copy)] if hot_log else [])]) == before
    assert copy.stat().st_mode & 0o077 == 0
    assert [version for version, _ in warehouse.tally().engines] == ["v1.4.4", NOW]
    assert warehouse.tally().stored == 2
    warehouse.load(block([event(3)], 3, 2))
    warehouse.close()
    again = DuckWarehouse(home)
    assert again.state.database.engine_copy is None
    again.close()


def test_a_file_of_a_newer_version_is_refused_untouched_with_the_cure(home: Path) -> None:
    made(home)
    used_with(home, "v99.0.0")
    before = digests(home)
    with pytest.raises(Damaged, match=r"used with DuckDB v99\.0\.0") as refused:
        DuckWarehouse(home)
    assert refused.value.code == "WAREHOUSE_NEWER" and "lake rebuild" in refused.value.detail
    assert digests(home) == before


def test_without_room_for_the_copy_the_start_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(home)
    used_with(home, "v1.4.4")
    before = digests(home)
    monkeypatch.setattr(engine, "BYTES_LEFT_MIN", 1 << 60)
    with pytest.raises(Unavailable, match=r"put DuckDB 1\.4\.4 back") as refused:
        DuckWarehouse(home)
    assert refused.value.code == "DISK_FULL"
    assert digests(home) == before


def test_only_the_newest_copies_are_kept(home: Path) -> None:
    made(home)
    for n in range(4):
        path = home.with_name(f"{home.name}.before-1.{n}.0")
        path.write_bytes(b"old")
        wal_of(path).write_bytes(b"log")
    home.with_name(f"{home.name}.before-0003").write_bytes(b"of a migration")
    used_with(home, "v1.4.4")
    DuckWarehouse(home).close()
    left = sorted(each.name for each in home.parent.glob("*.before-*"))
    assert left == [f"warehouse.duckdb.before-{end}" for end in ("0003", "1.3.0", "1.3.0.wal", duckdb.__version__)]


@pytest.mark.parametrize(
    "recorded, now, may",
    [("v2.0.0", "v2.1.3", True), ("v1.5.0", "v2.0.0", False), ("v2.0.0", "v3.0.0-dev12", False)],
)
def test_states_are_trusted_within_a_major_version_alone(recorded: str, now: str, may: bool) -> None:
    assert engine.trusted(recorded, now) is may


def test_states_that_are_not_trusted_are_emptied() -> None:
    with duckdb.connect() as con:
        con.execute("create table cells as select 1 as state")
        assert engine.distrust(con, NOW, ("cells",)) == []
        assert con.execute("select count(*) from cells").fetchall() == [(1,)]
        assert engine.distrust(con, "v0.9.2", ("cells",)) == ["cells"]
        assert con.execute("select count(*) from cells").fetchall() == [(0,)]


@pytest.mark.parametrize(
    "version, code",
    [(100_000, "WAREHOUSE_NEWER"), (12, "WAREHOUSE_OLDER")],
)
def test_a_file_that_this_version_can_not_open_says_so_and_the_cure(home: Path, version: int, code: str) -> None:
    made(home)
    content = bytearray(home.read_bytes())
    assert content[8:12] == b"DUCK"
    content[12:20] = version.to_bytes(8, "little")
    home.write_bytes(bytes(content))
    with pytest.raises(Damaged) as refused:
        DuckWarehouse(home)
    # A file whose header was changed by hand fails its checksum first where the engine looks at that.
    assert refused.value.code in (code, "WAREHOUSE_DAMAGED") and "lake rebuild" in refused.value.detail
    said: Any = duckdb.IOException(
        f"IO Error: Trying to read a database file with version number {version}, but we can only read versions "
        "between 64 and 68.\nThe database file was created with another version of DuckDB."
    )
    assert translate(said, home, opening=True).code == code
