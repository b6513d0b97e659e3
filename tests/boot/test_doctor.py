"""Each check finds what it is for, on a folder damaged in that way, and the command that it names mends it."""

import contextlib
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.served import Served

from headwater.boot.doctor import examine_folder
from headwater.domain.findings import Finding
from headwater.process.doctor import counts, machine
from headwater.process.doctor.checks import CHECKS
from headwater.storage.catalog import open_catalog
from headwater.storage.catalog.jobs import JobError

ID = "018f4a7e-0000-7000-8000-00000000000a"
LAKE = "projects/default/lake/events"


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a clean stop leaves it: 402 events, all in log, lake and warehouse; its keys put away."""
    data = tmp_path_factory.mktemp("well") / "data"
    with Served(data, env={"HEADWATER_LAKE__SEAL_SECONDS": "0.5"}) as served:
        for _ in range(4):
            served.send([{"name": "page_view", "source": "web"} for _ in range(100)])
        again = {"name": "page_view", "id": ID, "timestamp": "2026-01-01T00:00:00Z"}
        served.send([again, {"name": 7}])
        served.send([again])
        served.settled()
        served.wait_for(lambda: served.cli("lake", "ls", "--json")["seq"] == 403)
        assert served.stop() == 0
    (data / "first-keys").unlink()
    return data


@pytest.fixture
def data(well: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(well, tmp_path / "data"))


def examined(data: Path, *, deep: bool = False) -> dict[str, Finding]:
    found = examine_folder(data, "default", deep=deep, advance=lambda done, total: None)
    return {finding.name: finding for finding in found}


def worse(data: Path, *, deep: bool = False) -> dict[str, str]:
    """The checks that are not content."""
    return {name: each.result for name, each in examined(data, deep=deep).items() if each.result != "ok"}


def mend(finding: Finding) -> None:
    """Run the command that the finding names."""
    assert finding.cure is not None
    command = finding.cure.replace("headwater ", f"{sys.executable} -m headwater ", 1)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    # A rebuild that differs from what was damaged says so.
    assert done.returncode == 0 or "lake rebuild" in command, done.stderr


@contextlib.contextmanager
def warehouse(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(data / "projects/default/warehouse/warehouse.duckdb")) as con:
        yield con


def execute(*statements: str) -> Callable[[Path], None]:
    def damage(data: Path) -> None:
        with warehouse(data) as con:
            for statement in statements:
                con.execute(statement)

    return damage


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def segment(data: Path) -> Path:
    return max((data / "projects/default/log").glob("*.segment"))


def parquet(data: Path) -> Path:
    return max((data / LAKE).rglob("*-*-*.parquet"))


def commit(data: Path) -> Path:
    return sorted((data / LAKE / "_delta_log").glob("*.json"))[1]


def test_a_healthy_folder_is_well_deep_down_and_not_touched(data: Path) -> None:
    before = digest_of(data)
    assert worse(data) == {}
    assert worse(data, deep=True) == {}
    assert digest_of(data) == before


def digest_of(data: Path) -> dict[str, str]:
    files = (each for each in data.rglob("*") if each.is_file() and each.parent.name != "locks")
    return {str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def test_every_check_has_a_name_of_its_own_and_fast_ones_take_no_second(data: Path) -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    began = time.process_time()
    assert list(examined(data)) == [check.name for check in CHECKS if check.look is not None]
    assert time.process_time() - began < 2


def slow(*case: object) -> object:
    """Of the same kind as another that is run always."""
    return pytest.param(*case, marks=pytest.mark.slow)


ROWS = {"warehouse rows": "broken"}
REBUILT: list[Any] = [
    ("a stored row removed", execute("delete from hot where seq = 7"), ROWS, False),
    slow("a row twice", execute("insert into hot select * from hot where seq = 7"), ROWS, False),
    slow("a repeat removed", execute("delete from duplicates"), ROWS, False),
    slow("a refused event removed", execute("delete from quarantine"), ROWS, False),
    slow(
        "a count changed",
        execute("insert into ledger values (1, 'web', 5, 0, 0, 0, 0, 0)"),
        {"ledger": "broken", "warehouse rows": "broken"},
        False,
    ),
    slow(
        "a row and its count removed",
        execute("delete from hot where seq = 7", "insert into ledger values (1, 'web', -1, 0, 0, 0, 0, 0)"),
        {"ledger": "broken", "lake against warehouse": "broken"},
        True,
    ),
    (
        "one row in the place of another",
        execute("insert into hot select * replace (8 as seq) from hot where seq = 7", "delete from hot where seq = 7"),
        {"lake against warehouse": "broken"},
        True,
    ),
    slow(
        "the file overwritten", lambda data: file_of(data).write_bytes(b"x" * 100_000), {"warehouse": "broken"}, False
    ),
    slow("the file gone", lambda data: file_of(data).unlink(), {"warehouse": "broken"}, False),
]


def file_of(data: Path) -> Path:
    return data / "projects/default/warehouse/warehouse.duckdb"


@pytest.mark.parametrize("what, damage, found, deep", REBUILT)
def test_a_damaged_warehouse_is_found_and_mended_by_the_command_that_is_named(
    data: Path, what: str, damage: Callable[[Path], None], found: dict[str, str], deep: bool
) -> None:
    damage(data)
    told = examined(data, deep=deep)
    bad = {name: each.result for name, each in told.items() if each.result == "broken"}
    assert bad == found
    mend(next(each for each in told.values() if each.result == "broken" and "rebuild" in (each.cure or "")))
    left = worse(data, deep=True)
    assert left == {}, examined(data, deep=True)


def test_a_flipped_bit_in_the_warehouse_file_is_found_wherever_rows_are(data: Path) -> None:
    whole = file_of(data).read_bytes()
    found = 0
    for at in range(12_288, len(whole), max(4096, len(whole) // 12)):
        flip(file_of(data), at)
        found += any(name.startswith("warehouse") for name in worse(data, deep=True))
        file_of(data).write_bytes(whole)
    assert found, "none of the flips hit what is in use"
    assert worse(data, deep=True) == {}


def test_a_missing_or_changed_file_of_the_lake_is_named(data: Path) -> None:
    path = parquet(data)
    whole, away = path.read_bytes(), data.parent / "away"
    path.rename(away)
    told = examined(data)
    assert {name for name, each in told.items() if each.result != "ok"} == {"lake files"}
    assert str(path) in told["lake files"].found and "copy" in (told["lake files"].cure or "")
    away.rename(path)
    path.write_bytes(whole[:-1])
    assert worse(data) == {"lake files": "broken"}
    path.write_bytes(whole)
    flip(path, len(whole) // 2)
    assert worse(data) == {}, "of the right size"
    assert worse(data, deep=True)["lake files"] == "broken"
    path.write_bytes(whole)
    assert worse(data, deep=True) == {}


def test_a_damaged_commit_of_the_lake_is_named(data: Path) -> None:
    path = commit(data)
    whole = path.read_bytes()
    flip(path, len(whole) - 30)
    told = examined(data)
    bad = [each for each in told.values() if each.result == "broken"]
    assert bad and any(path.name in each.found or "LAKE_DAMAGED" in each.found for each in bad), told
    path.write_bytes(whole)
    assert worse(data) == {}


def test_a_flipped_bit_in_the_log_is_a_warning_where_all_is_stored(data: Path) -> None:
    flip(segment(data), 4096 + 200)
    assert worse(data) == {}
    told = examined(data, deep=True)["log content"]
    assert told.result == "warn" and "all of them stored in lake and warehouse" in told.found


def test_a_log_without_its_segments_is_told_and_mended_by_a_new_one(data: Path) -> None:
    segment(data).unlink()
    told = examined(data)
    assert {name for name, each in told.items() if each.result == "broken"} == {"ledger"}
    assert "serve --new-log" in (told["ledger"].cure or "")
    with Served(data, "--new-log") as served:
        assert served.cli("doctor", "--json")["healthy"]
        served.stop()
    assert worse(data, deep=True) == {}


def test_a_log_that_is_gone_is_told_and_what_needs_it_left_out(data: Path) -> None:
    shutil.rmtree(data / "projects/default/log")
    told = examined(data)
    assert told["log"].result == "broken"
    assert told["ledger"].result == "skipped" and "log" in told["ledger"].found


def test_a_catalog_that_is_gone_is_told_and_what_needs_it_left_out(data: Path) -> None:
    (data / "catalog.sqlite").unlink()
    told = examined(data)
    assert told["catalog"].result == "broken" and "CATALOG_MISSING" in told["catalog"].found
    assert (told["ledger"].result, told["jobs"].result) == ("skipped", "skipped")
    assert not (data / "catalog.sqlite").exists(), "none is made"


def test_open_permissions_are_found_and_mended(data: Path) -> None:
    segment(data).chmod(0o644)
    assert worse(data) == {"permissions": "warn"}, "the folder above keeps others out"
    data.chmod(0o755)
    told = examined(data)["permissions"]
    assert told.result == "broken" and str(segment(data)) in told.found
    mend(told)
    assert worse(data) == {}


def test_first_keys_lying_about_are_told(data: Path) -> None:
    (data / "first-keys").touch(0o600)
    told = examined(data)["first keys"]
    assert told.result == "warn"
    mend(told)
    assert worse(data) == {}


def test_what_a_killed_process_left_and_what_was_set_aside_is_told(data: Path) -> None:
    folder = data / "projects/default"
    (folder / "warehouse/warehouse.duckdb.next-1").touch(0o600)
    (folder / "log.set-aside-20260101T000000Z").mkdir(0o700)
    (folder / "log.set-aside-20260101T000000Z/x").touch(0o600)
    (folder / "warehouse/warehouse.duckdb.before-2.0.0").touch(0o600)
    told = examined(data)["left over"]
    assert told.result == "warn" and "1 unfinished" in told.found and "1 kept copies" in told.found
    mend(told)
    assert worse(data) == {}
    assert (folder / "warehouse/warehouse.duckdb.before-2.0.0").exists()


def test_a_socket_that_nobody_answers_is_no_harm(data: Path) -> None:
    (data / "headwater.sock").touch(0o600)
    assert "killed" in examined(data)["locks"].found
    assert worse(data) == {}


def test_a_clock_behind_the_last_load_is_told(data: Path) -> None:
    execute("insert into positions select log_id, seq + 1, current_localtimestamp() + interval 2 day from positions")(
        data
    )
    told = examined(data)["clock"]
    assert told.result == "broken" and "behind the last load" in told.found


def test_a_change_of_engine_is_told_before_and_after(data: Path) -> None:
    execute("delete from engines", "insert into engines values ('v1.4.4', make_timestamp(0))")(data)
    told = examined(data)["versions"]
    assert told.result == "warn" and "v1.4.4" in told.found
    subprocess.run(
        [sys.executable, "-m", "headwater", "ledger", "--data", str(data)], check=True, capture_output=True, timeout=60
    )
    assert worse(data) == {}
    told_after = examined(data)
    assert "before v1.4.4" in told_after["versions"].found
    assert "kept copies" in told_after["left over"].found


def test_jobs_that_failed_are_told(data: Path) -> None:
    catalog = open_catalog(f"sqlite://{data}/catalog.sqlite")
    catalog.jobs.enqueue("default", "replay", "replay", {}, attempts_max=1, queued_max=9, dedup_key=None)
    row = catalog.jobs.claim(["replay"], "test")
    assert row is not None
    catalog.jobs.finish(row.id, row.attempt, "failed", row.progress, error=JobError("X", "it broke"))
    catalog.close()
    told = examined(data)["jobs"]
    assert told.result == "warn" and "it broke" in told.found
    mend(told)


def test_a_full_disk_and_a_large_log_are_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_LOG__FREE_BYTES_MIN", str(1 << 60))
    assert worse(data) == {"disk": "broken"}
    monkeypatch.delenv("HEADWATER_LOG__FREE_BYTES_MIN")
    with warehouse(data) as con:
        con.execute("pragma disable_checkpoint_on_shutdown")
        con.execute("set checkpoint_threshold = '1TB'")
        for _ in range(3):
            con.execute("insert into untimed select 'web', uuid() from range(100_000)")
    monkeypatch.setenv("HEADWATER_WAREHOUSE__WAL_BYTES_MAX", str(1 << 20))
    assert worse(data).get("write-ahead log") == "warn"


def test_growth_that_fills_the_disk_within_a_week_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "DAYS_LEFT_MIN", 1 << 62)
    assert examined(data)["disk"].result == "ok", "the history is too short to tell"


def test_a_large_quarantine_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "QUARANTINED_MANY", 0)
    monkeypatch.setattr(counts, "QUARANTINED_SHARE", 0.0)
    told = examined(data)["quarantine"]
    assert told.result == "warn"
    mend(told)


def test_a_folder_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headwater", "doctor", "--data", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "NO_DATA" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_running_service_is_examined_through_its_socket_and_deep_by_a_job(data: Path) -> None:
    with Served(data) as served:
        fast, deep = served.cli("doctor", "--json"), served.cli("doctor", "--deep", "--json")
        assert fast["healthy"] and deep["healthy"] and deep["deep"] and not fast["deep"]
        assert [check["name"] for check in deep["checks"]] == [check.name for check in CHECKS]
        assert {check["result"] for check in deep["checks"]} == {"ok"}, deep
        assert served.cli("jobs", "--json")["items"][0]["kind"] == "doctor"
        parquet(data).unlink()
        told = served.run_cli("doctor")
        assert told.returncode == 1 and "NOT HEALTHY" in told.stdout and "lake files" in told.stdout


def test_a_damaged_warehouse_of_a_running_service_is_mended_while_it_runs(data: Path) -> None:
    execute("delete from hot where seq = 7")(data)
    with Served(data) as served:
        told = served.run_cli("doctor", "--json")
        assert told.returncode == 1
        refused = served.run_cli("lake", "rebuild")
        assert refused.returncode == 1 and "REBUILD_DIFFERS" in refused.stdout
        assert served.run_cli("lake", "rebuild", "--force").returncode == 0
        assert served.cli("doctor", "--deep", "--json")["healthy"]
        assert served.cli("ledger", "--json")["totals"]["stored"] == 401
