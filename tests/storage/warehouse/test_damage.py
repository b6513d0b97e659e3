"""Bad days of the file: flipped bits, other hands on it, other versions, a full disk."""

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tests.blocks import LOG_ID, block, event, settle

from headwater.domain import plans
from headwater.domain.errors import Damaged, HeadwaterError, Unavailable
from headwater.storage.log.base import Position
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.duckdb.mark import Mark

LOADS = 6
KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from headwater.storage.warehouse import open_warehouse
from tests.blocks import block, event
warehouse = open_warehouse({url!r})
for n in range({loads}):
    warehouse.load(block([event(n * 10 + k) for k in range(1, 11)], n * 10 + 10, n * 10))
os.kill(os.getpid(), signal.SIGKILL)
"""
ROOT = str(Path(__file__).parents[3])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a warehouse whose process was killed after LOADS loads: all of them in the write-ahead log."""
    folder = tmp_path_factory.mktemp("killed")
    url = f"duckdb://{folder}/warehouse.duckdb"
    code = KILLED.format(tests=ROOT, url=url, loads=LOADS)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert (folder / "warehouse.duckdb.wal").stat().st_size > 10_000
    return folder


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target / "warehouse.duckdb"


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_a_killed_process_leaves_all_that_was_loaded(killed: Path, tmp_path: Path) -> None:
    warehouse = open_warehouse(f"duckdb://{copy_of(killed, tmp_path / 'w')}")
    assert warehouse.position() == Position(LOG_ID, LOADS * 10)
    assert warehouse.facts()["wal_bytes"] == 0
    warehouse.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_in_the_write_ahead_log_loses_nothing_in_silence(killed: Path, tmp_path: Path, seed: int) -> None:
    """Some flips only look like the end of the log to DuckDB; the mark beside it tells."""
    path = copy_of(killed, tmp_path / "w")
    wal = path.with_name(path.name + ".wal")
    chance = random.Random(seed)
    size = wal.stat().st_size
    flip(wal, chance.randrange(64) if seed < 6 else chance.randrange(size), chance.randrange(8))
    try:
        warehouse = open_warehouse(f"duckdb://{path}")
    except Damaged as error:
        assert error.code == "WAREHOUSE_DAMAGED"
        assert str(path) in str(error)
        assert "headwater lake rebuild" in str(error)
        return
    assert warehouse.position() == Position(LOG_ID, LOADS * 10)
    assert warehouse.ledger(0, 1 << 40, None).totals.stored == LOADS * 10
    warehouse.close()


def test_a_write_ahead_log_cut_short_is_damage(killed: Path, tmp_path: Path) -> None:
    path = copy_of(killed, tmp_path / "w")
    wal = path.with_name(path.name + ".wal")
    os.truncate(wal, wal.stat().st_size // 2)
    with pytest.raises(Damaged, match="held events up to 60 before"):
        open_warehouse(f"duckdb://{path}")


def test_a_mark_that_is_broken_or_gone_is_not_missed(killed: Path, tmp_path: Path) -> None:
    for number, breaking in enumerate((lambda mark: flip(mark, 10), os.unlink, lambda mark: mark.write_bytes(b""))):
        path = copy_of(killed, tmp_path / str(number))
        breaking(path.with_name(path.name + ".position"))
        warehouse = open_warehouse(f"duckdb://{path}")
        assert warehouse.position() == Position(LOG_ID, LOADS * 10)
        warehouse.close()


def test_a_mark_is_read_as_written(tmp_path: Path) -> None:
    mark = Mark(tmp_path / "position")
    assert mark.read() is None
    mark.write(Position(b"y" * 16, 1 << 60))
    assert mark.read() == Position(b"y" * 16, 1 << 60)
    mark.close()


def test_a_deleted_database_is_damage(killed: Path, tmp_path: Path) -> None:
    path = copy_of(killed, tmp_path / "w")
    path.unlink()
    path.with_name(path.name + ".wal").unlink()
    with pytest.raises(Damaged, match="it holds nothing"):
        open_warehouse(f"duckdb://{path}")


def test_flipped_bits_in_the_database_are_told_or_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "whole" / "warehouse.duckdb"
    warehouse = open_warehouse(f"duckdb://{path}", seal_rows=500, seal_rows_min=500)
    warehouse.load(block([event(n, attributes=f'{{"n": {n}}}') for n in range(1, 1001)], 1000))
    settle(warehouse)
    whole = warehouse.digest(1000)
    warehouse.close()
    chance = random.Random(5)
    told = 0
    for number in range(12):
        broken = copy_of(path.parent, tmp_path / str(number))
        for _ in range(20):
            flip(broken, chance.randrange(broken.stat().st_size), chance.randrange(8))
        try:
            damaged = open_warehouse(f"duckdb://{broken}")
            try:
                assert damaged.digest(1000) == whole
            finally:
                damaged.close()
        except HeadwaterError as error:
            assert error.code == "WAREHOUSE_DAMAGED", error
            told += 1
    assert told >= 6


def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(Damaged) as caught:
        open_warehouse(f"duckdb://{path}")
    assert caught.value.code == "WAREHOUSE_DAMAGED"


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    con = duckdb.connect(str(path))
    con.execute("create table theirs(x int)")
    con.close()
    with pytest.raises(Damaged, match="another program"):
        open_warehouse(f"duckdb://{path}")
    con = duckdb.connect(str(path))
    assert con.execute("select table_name from duckdb_tables()").fetchall() == [("theirs",)]
    con.close()


def test_a_file_that_another_process_holds_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    warehouse = open_warehouse(f"duckdb://{path}")
    code = f"""
from headwater.domain.errors import Unavailable
from headwater.storage.warehouse import open_warehouse
try:
    open_warehouse("duckdb://{path}")
except Unavailable as error:
    print(error.code, error.path)
"""
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert other.stdout.split() == ["WAREHOUSE_LOCKED", str(path)]
    warehouse.load(block([event(1)], 1))
    warehouse.close()


def test_a_refused_second_opening_leaves_the_first_one_s_spilled_files(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    warehouse = open_warehouse(f"duckdb://{path}")
    spilled = path.with_name(path.name + ".temp") / "spilled"
    spilled.touch()
    with pytest.raises(Unavailable) as caught:
        open_warehouse(f"duckdb://{path}")
    assert caught.value.code == "WAREHOUSE_LOCKED"
    assert spilled.exists()
    warehouse.load(block([event(1)], 1))
    warehouse.close()
    open_warehouse(f"duckdb://{path}").close()
    assert not spilled.exists()


def test_a_place_that_can_t_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable) as caught:
        open_warehouse(f"duckdb://{tmp_path}/file/warehouse.duckdb")
    assert caught.value.code == "WAREHOUSE_IO"


def test_folder_and_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "private" / "warehouse.duckdb"
    before = os.umask(0o022)
    try:
        warehouse = open_warehouse(f"duckdb://{path}", seal_rows=1, seal_rows_min=1)
        warehouse.load(block([event(1)], 1))
        settle(warehouse)
        warehouse.load(block([event(2)], 2, 1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert found == {
        "warehouse.duckdb": 0o600,
        "warehouse.duckdb.wal": 0o600,
        "warehouse.duckdb.position": 0o600,
        "warehouse.duckdb.temp": 0o700,
    }
    warehouse.close()


def test_sql_can_t_reach_files_or_settings(tmp_path: Path) -> None:
    warehouse = open_warehouse(f"duckdb://{tmp_path}/warehouse.duckdb")
    with warehouse.state.cursor() as cursor:
        for statement in (
            f"copy hot to '{tmp_path}/stolen.csv'",
            "select * from read_text('/etc/passwd')",
            f"attach '{tmp_path}/other.db'",
            "set threads = 64",
            "set allowed_configs = ['threads']",
            "install httpfs",
        ):
            with pytest.raises(duckdb.Error):
                cursor.execute(statement)
    warehouse.close()


def test_memory_is_given_and_taken_while_it_runs_and_stays_so_over_a_new_connection(tmp_path: Path) -> None:
    warehouse = open_warehouse(f"duckdb://{tmp_path}/warehouse.duckdb", memory_bytes_max=256 << 20)

    def limit() -> str:
        with warehouse.state.cursor() as cursor:
            return str(cursor.execute("select current_setting('memory_limit')").fetchall()[0][0])

    warehouse.load(block([event(n) for n in range(1, 1001)], 1000))
    for mib in (96, 512):
        warehouse.resize(mib << 20)
        assert limit() == f"{mib}.0 MiB"
    warehouse.state.database.stale = True
    warehouse.load(block([event(1001)], 1001, 1000))
    assert limit() == "512.0 MiB"
    with pytest.raises(Unavailable) as caught:
        warehouse.resize(1 << 10)
    assert caught.value.code == "WAREHOUSE_MEMORY"
    warehouse.resize(128 << 20)
    assert warehouse.ledger(0, 1 << 40, None).totals.stored == 1001
    warehouse.close()
    with pytest.raises(Unavailable):
        warehouse.resize(256 << 20)


FULL = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from headwater.domain.errors import Unavailable
from headwater.storage.warehouse import open_warehouse
from tests.blocks import block, event
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
warehouse = open_warehouse({url!r})
after = 0
def rows(first):
    return [event(n, attributes='{{"s": "' + 'x' * 500 + str(n) + '"}}') for n in range(first, first + 200)]
size = warehouse.facts()["bytes"]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300_000, resource.RLIM_INFINITY))
while True:
    try:
        warehouse.load(block(rows(after + 1), after + 200, after))
        after += 200
    except Unavailable as error:
        print(error.code)
        break
    assert after < 100_000
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
warehouse.load(block(rows(after + 1), after + 200, after))
after += 200
assert warehouse.position().seq == after
assert warehouse.ledger(0, 1 << 40, None).totals.stored == after
assert warehouse.digest(after)["events"][0] == after
warehouse.close()
print("whole", after)
"""


def test_a_full_disk_is_unavailable_and_the_same_load_works_once_there_is_room(tmp_path: Path) -> None:
    url = f"duckdb://{tmp_path}/warehouse.duckdb"
    done = subprocess.run(
        [sys.executable, "-c", FULL.format(tests=ROOT, url=url)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    code, whole, after = done.stdout.split()
    assert (code, whole) == ("WAREHOUSE_IO", "whole")
    warehouse = open_warehouse(url)
    assert warehouse.run(plans.EventsPage(limit=1), 30.0).seq == int(after)
    warehouse.close()


def test_a_closed_warehouse_says_so(tmp_path: Path) -> None:
    warehouse = open_warehouse(f"duckdb://{tmp_path}/warehouse.duckdb")
    warehouse.close()
    warehouse.close()
    with pytest.raises(Unavailable) as caught:
        warehouse.load(block([event(1)], 1))
    assert caught.value.code == "WAREHOUSE_CLOSED"
