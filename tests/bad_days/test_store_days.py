"""Something happens to warehouse, lake or catalog while the service is down."""

import random
import shutil
import sqlite3

import duckdb
import pytest
from tests.bad_days.days import (
    QUICK_LAKE,
    copy,
    flip,
    folder,
    put_back,
    rebuild,
    send,
    settled,
    stopped,
    warehouse_ids,
)
from tests.bad_days.raw import event
from tests.served import Served


@pytest.fixture
def service(tmp_path):
    with Served(tmp_path / "data", env=QUICK_LAKE) as running:
        yield running


def with_everything(served):
    """Stored, duplicate and quarantined events; ids of the stored ones."""
    ids = send(served, batches=5)
    twice = [event(source="web")]
    served.send(twice)
    served.send(twice)
    served.send([{"name": 7}, {"name": "late", "timestamp": "yesterday"}])
    totals = settled(served, lake=True)
    assert (totals["stored"], totals["duplicate"], totals["quarantined"]) == (101, 1, 2)
    return [*ids, twice[0]["id"]]


def assert_whole(served, ids, before):
    """The same rows and the same totals as before, twice over: by restart and by a rebuild that compares."""
    assert_totals(served, before)
    stopped(served)
    assert warehouse_ids(served) == sorted(ids)
    report = rebuild(served)
    assert report["equal"], report
    served.start()
    assert_totals(served, before)


def assert_totals(served, before):
    totals = settled(served)
    assert {**totals, "refused": 0} == {**before, "refused": 0}


@pytest.mark.slow
def test_a_damaged_warehouse_file_is_refused_and_rebuilt(service):
    ids = with_everything(service)
    before = settled(service)
    stopped(service)
    file = folder(service, "warehouse") / "warehouse.duckdb"
    flip(file, 4096 + 100)
    flip(file, 100)
    said = service.start_refused()
    assert "WAREHOUSE_DAMAGED" in said and "headwater lake rebuild" in said, said
    rebuild(service)
    service.start()
    assert_whole(service, ids, before)


@pytest.mark.slow
def test_a_flipped_bit_anywhere_in_the_warehouse_file_is_never_silently_wrong(service):
    ids = with_everything(service)
    before = settled(service)
    stopped(service)
    file = folder(service, "warehouse") / "warehouse.duckdb"
    whole = file.read_bytes()
    for share in (0.2, 0.5, 0.8):
        file.write_bytes(whole)
        flip(file, int(len(whole) * share), bit=3)
        try:
            assert warehouse_ids(service) == sorted(ids)
        except duckdb.Error:
            continue
    flip(file, int(len(whole) * 0.5), bit=3)
    started = service.launch()
    ended_or_ready(service, started)
    if service.process.poll() is None:
        service.kill()
    else:
        assert "WAREHOUSE_DAMAGED" in service.said(started)
    rebuild(service)
    service.start()
    assert_whole(service, ids, before)


def ended_or_ready(served, started):
    def known():
        return served.process.poll() is not None or "headwater is ready" in served.said(started)

    served.wait_for(known, 20)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.slow
def test_a_flipped_bit_in_the_wal_is_refused_or_recovered(service, share):
    ids = with_everything(service)
    before = settled(service)
    service.kill()
    wal = folder(service, "warehouse") / "warehouse.duckdb.wal"
    assert wal.stat().st_size > 1000
    flip(wal, int(wal.stat().st_size * share))
    started = service.launch()
    ended_or_ready(service, started)
    if service.process.poll() is None:
        service.kill()
    else:
        said = service.said(started)
        assert "WAREHOUSE_DAMAGED" in said and "headwater lake rebuild" in said, said
        rebuild(service)
    service.start()
    assert_whole(service, ids, before)


@pytest.mark.slow
def test_a_warehouse_folder_that_is_gone_fills_up_again(service):
    ids = with_everything(service)
    before = settled(service)
    stopped(service)
    shutil.rmtree(folder(service, "warehouse"))
    service.start()
    assert_whole(service, ids, before)


TRIMMING = {
    **QUICK_LAKE,
    "HEADWATER_LOG__SEGMENT_BYTES": "1 MiB",
    "HEADWATER_LOG__BYTES_MAX": "4 MiB",
}


@pytest.mark.parametrize("trimmed", [False, True], ids=["from the log", "from log and lake"])
@pytest.mark.slow
def test_an_older_copy_of_the_warehouse_fills_up_by_itself(tmp_path, trimmed):
    with Served(tmp_path / "data", env=TRIMMING if trimmed else QUICK_LAKE) as service:
        ids = with_everything(service)
        stopped(service)
        copied = copy(folder(service, "warehouse"), tmp_path / "copy")
        service.start()
        if trimmed:
            first = min(folder(service, "log").glob("*.segment"))
            while first.exists():
                ids += send_much(service)
        else:
            ids += send(service)
        before = settled(service, lake=True)
        stopped(service)
        put_back(copied, folder(service, "warehouse"))
        service.start()
        assert ("warehouse_filled_from_lake" in service.said()) == trimmed
        assert_whole(service, ids, before)


def send_much(served):
    """Ids of what was acknowledged of 400 KB that can't be compressed; a log that is full makes room in a while."""
    noise = random.Random()
    batch = [event(data={"attributes": {"a": noise.randbytes(10_000).hex()}}) for _ in range(20)]
    status, _, answer = served.send(batch)
    assert status == 201 or answer["code"] == "LOG_FULL", answer
    return [one["id"] for one in batch] if status == 201 else []


def test_a_damaged_lake_file_is_named_and_the_warehouse_is_whole(service):
    ids = with_everything(service)
    before = settled(service)
    stopped(service)
    parquet = sorted(folder(service, "lake").rglob("*.parquet"))[0]
    whole = parquet.read_bytes()
    flip(parquet, len(whole) // 2)
    service.start()
    assert_totals(service, before)
    assert service.count() == before["stored"]
    ids += send(service)
    settled(service, lake=True)
    stopped(service)
    refused = service.run_cli("lake", "rebuild", "--json")
    assert refused.returncode == 1 and "LAKE_DAMAGED" in refused.stderr, refused.stderr
    assert parquet.name in refused.stderr
    assert warehouse_ids(service) == sorted(ids)
    parquet.write_bytes(whole)
    assert rebuild(service)["equal"]
    service.start()
    assert settled(service)["stored"] == len(ids)


def test_a_damaged_commit_of_the_lake_is_named_at_the_start(service):
    with_everything(service)
    send(service)
    settled(service, lake=True)
    stopped(service)
    commits = sorted(folder(service, "lake").rglob("_delta_log/*.json"))
    flip(commits[1], -30)
    said = service.start_refused()
    assert "LAKE_DAMAGED" in said and commits[1].name in said, said


@pytest.mark.slow
def test_an_older_copy_of_the_lake_is_filled_from_the_log(service, tmp_path):
    ids = with_everything(service)
    stopped(service)
    copied = copy(folder(service, "lake"), tmp_path / "copy")
    service.start()
    ids += send(service)
    before = settled(service, lake=True)
    stopped(service)
    put_back(copied, folder(service, "lake"))
    service.start()
    settled(service, lake=True)
    assert_whole(service, ids, before)


@pytest.mark.slow
def test_an_older_copy_of_the_lake_that_the_trimmed_log_can_not_fill_is_refused(tmp_path):
    with Served(tmp_path / "data", env=TRIMMING) as service:
        ids = with_everything(service)
        stopped(service)
        copied = copy(folder(service, "lake"), tmp_path / "copy")
        service.start()
        first = min(folder(service, "log").glob("*.segment"))
        while first.exists():
            ids += send_much(service)
        settled(service, lake=True)
        stopped(service)
        put_back(copied, folder(service, "lake"))
        said = service.start_refused()
        assert "LAKE_BEHIND" in said
        service.start("--lake-gap")
        ids += send(service)
        assert settled(service)["stored"] == len(ids)
        stopped(service)
        service.start()
        assert settled(service)["stored"] == len(ids)


@pytest.mark.slow
def test_a_lake_folder_that_is_gone_is_filled_from_the_log(service):
    ids = with_everything(service)
    before = settled(service)
    stopped(service)
    shutil.rmtree(folder(service, "lake"))
    service.start()
    settled(service, lake=True)
    assert_whole(service, ids, before)


def test_a_deleted_catalog_is_refused_by_name(service):
    with_everything(service)
    stopped(service)
    kept = (service.data / "catalog.sqlite").read_bytes()
    for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
        (service.data / name).unlink(missing_ok=True)
    said = service.start_refused()
    assert "CATALOG_MISSING" in said, said
    (service.data / "catalog.sqlite").write_bytes(kept)
    service.start()
    assert settled(service)["stored"] == 101


@pytest.mark.slow
def test_a_damaged_catalog_is_refused_by_name(service):
    with_everything(service)
    stopped(service)
    file = service.data / "catalog.sqlite"
    whole = file.read_bytes()
    for damaged in (b"not a database at all" * 500, whole[: len(whole) // 2], b"\x00" * len(whole)):
        file.write_bytes(damaged)
        said = service.start_refused()
        assert "CATALOG_DAMAGED" in said, said
    file.write_bytes(whole)
    service.start()
    assert settled(service)["stored"] == 101


@pytest.mark.slow
def test_an_older_copy_of_the_catalog_keeps_every_event(service):
    ids = with_everything(service)
    stopped(service)
    file = service.data / "catalog.sqlite"
    kept = file.read_bytes()
    service.start()
    made = service.ask("POST", "/api/v1/keys", {"name": "later", "kind": "sk", "scopes": ["events:write"]})[2]
    batch = [event()]
    assert service.wait_for(lambda: service.send(batch, key=made["secret"])[0] == 201)
    before = settled(service, lake=True)
    stopped(service)
    file.write_bytes(kept)
    service.start()
    assert service.send([event()], key=made["secret"])[0] == 401
    assert_whole(service, [*ids, batch[0]["id"]], before)


@pytest.mark.slow
def test_the_catalog_is_a_database_that_passes_its_own_check(service):
    with_everything(service)
    service.kill()
    with sqlite3.connect(service.data / "catalog.sqlite") as catalog:
        assert catalog.execute("pragma integrity_check").fetchall() == [("ok",)]
    service.start()
    assert settled(service)["stored"] == 101


@pytest.mark.slow
def test_older_copies_of_warehouse_and_lake_below_a_trimmed_log_go_on_without_what_is_gone(tmp_path):
    with Served(tmp_path / "data", env=TRIMMING) as service:
        ids = with_everything(service)
        stopped(service)
        stores = ("warehouse", "lake")
        copies = {store: copy(folder(service, store), tmp_path / store) for store in stores}
        service.start()
        first = min(folder(service, "log").glob("*.segment"))
        while first.exists():
            send_much(service)
        before = settled(service, lake=True)
        stopped(service)
        for store, copied in copies.items():
            put_back(copied, folder(service, store))
        said = service.start_refused()
        assert "LAKE_BEHIND" in said or "WAREHOUSE_BEHIND" in said
        service.start("--new-log")
        assert "events_given_up" in service.said()
        more = send(service)
        totals = settled(service)
        assert totals["received"] == before["received"] + len(more)
        assert totals["lost"] == before["stored"] + len(more) - totals["stored"] > 0
        assert service.health() == {"status": "ok", "reasons": []}
        stopped(service)
        service.start()
        settled(service, lake=True)
        stopped(service)
        assert set(ids) | set(more) <= set(warehouse_ids(service))
