"""Something happens to the log's folder while the service is down."""

import shutil

import pytest
from tests.bad_days.days import (
    QUICK_LAKE,
    copy,
    flip,
    folder,
    ledger_rows,
    put_back,
    rebuild,
    send,
    settled,
    stopped,
    warehouse_ids,
)
from tests.served import Served


@pytest.fixture
def service(tmp_path):
    with Served(tmp_path / "data", env=QUICK_LAKE) as running:
        yield running


def only_segment(served):
    (segment,) = folder(served, "log").glob("*.segment")
    return segment


def frames_at(segment):
    """Where each frame begins."""
    content = segment.read_bytes()
    magic = content[4096:4100]
    found, at = [], content.find(magic)
    while at >= 0:
        found.append(at)
        at = content.find(magic, at + 4)
    return [at for at in found if at >= 4096]


@pytest.mark.parametrize("into", ["body", pytest.param("header", marks=pytest.mark.slow)])
def test_a_flipped_bit_before_it_was_loaded_costs_one_frame_and_says_so(tmp_path, into):
    with Served(tmp_path / "data", "--role", "collect") as collect:
        ids = send(collect, batches=10, each=20)
        stopped(collect)
        segment = only_segment(collect)
        begins = frames_at(segment)
        assert len(begins) == 10
        flip(segment, begins[4] + (12 if into == "header" else 300))
    with Served(tmp_path / "data", env=QUICK_LAKE) as served:
        totals = served.settled()
        assert (totals["received"], totals["stored"], totals["lost"]) == (200, 180, 20)
        assert totals["balanced"]
        lost = {row["source"]: row["lost"] for row in ledger_rows(served) if row["lost"]}
        assert lost == {"web" if into == "body" else "(unknown)": 20}
        assert list((folder(served, "log") / "damaged").iterdir())
        served.wait_for(lambda: "log_damaged" in served.said())
        more = send(served)
        assert settled(served, lake=True)["stored"] == 380
        stopped(served)
        assert warehouse_ids(served) == sorted(ids[:80] + ids[100:] + more)
        report = rebuild(served)
        assert report["equal"], report
        served.start()
        totals = served.settled()
        assert (totals["stored"], totals["lost"], totals["balanced"]) == (380, 20, True)


@pytest.mark.parametrize("into", ["header", "body"])
@pytest.mark.slow
def test_a_flipped_bit_in_what_is_stored_already_changes_no_number(service, into):
    send(service)
    settled(service, lake=True)
    stopped(service)
    segment = only_segment(service)
    flip(segment, frames_at(segment)[4] + (12 if into == "header" else 300))
    service.start()
    send(service)
    totals = service.settled()
    assert (totals["received"], totals["stored"]) == (400, 400)
    assert totals["balanced"], totals


@pytest.mark.slow
def test_a_deleted_log_is_refused_and_a_new_one_goes_on_above(service):
    ids = send(service)
    settled(service, lake=True)
    stopped(service)
    shutil.rmtree(folder(service, "log"))
    assert_refused_then_new_log(service, ids, "LOG_MISSING")


@pytest.mark.slow
def test_another_log_in_its_place_is_refused_and_a_new_one_goes_on_above(service, tmp_path):
    with Served(tmp_path / "other", env=QUICK_LAKE) as other:
        send(other, batches=30)
        settled(other)
        stopped(other)
    ids = send(service)
    settled(service, lake=True)
    stopped(service)
    put_back(folder(other, "log"), folder(service, "log"))
    assert_refused_then_new_log(service, ids, "OTHER_LOG")


def test_an_older_copy_of_the_log_is_refused_and_a_new_one_goes_on_above(service, tmp_path):
    ids = send(service)
    settled(service)
    stopped(service)
    copied = copy(folder(service, "log"), tmp_path / "copy")
    service.start()
    ids += send(service)
    settled(service, lake=True)
    stopped(service)
    put_back(copied, folder(service, "log"))
    assert_refused_then_new_log(service, ids, "AHEAD_OF_LOG")


def assert_refused_then_new_log(served, ids, code):
    said = served.start_refused()
    assert code in said and "--new-log" in said, said
    served.start("--new-log")
    totals = served.settled()
    assert (totals["received"], totals["stored"], totals["lost"]) == (len(ids), len(ids), 0), totals
    assert totals["balanced"]
    assert all(row["balanced"] for row in ledger_rows(served))
    more = send(served)
    totals = settled(served, lake=True)
    assert totals["stored"] == len(ids) + len(more)
    offset = served.ask("GET", f"/api/v1/events/{more[0]}/receipt")[2]["logOffset"]
    assert offset > len(ids)
    stopped(served)
    served.start()
    assert served.settled()["balanced"]
    stopped(served)
    assert warehouse_ids(served) == sorted(ids + more)
    report = rebuild(served)
    assert report["equal"], report
    served.start()
    totals = served.settled()
    assert (totals["stored"], totals["balanced"]) == (len(ids) + len(more), True), totals


def test_a_collector_alone_does_not_begin_a_new_log_in_silence(tmp_path):
    with Served(tmp_path / "data") as served:
        send(served)
        settled(served)
        stopped(served)
        shutil.rmtree(folder(served, "log"))
    said = Served(tmp_path / "data", "--role", "collect").start_refused()
    assert "LOG_MISSING" in said


@pytest.mark.slow
def test_new_log_does_nothing_to_a_log_that_is_whole(service):
    ids = send(service)
    settled(service)
    stopped(service)
    service.start("--new-log")
    send(service)
    totals = settled(service)
    assert totals["stored"] == len(ids) * 2
    assert len(list(service.project_folder().glob("log*"))) == 1


@pytest.mark.slow
def test_segments_deleted_by_hand_show_in_the_ledger_until_a_person_gives_them_up(service):
    ids = send(service)
    settled(service, lake=True)
    stopped(service)
    only_segment(service).unlink()
    service.start()
    totals = service.settled()
    assert (totals["received"], totals["stored"], totals["balanced"]) == (0, len(ids), False)
    service.wait_for(lambda: "LEDGER_UNBALANCED" in service.health_codes())
    assert service.ask("GET", "/health/ready", key=None)[0] == 200
    stopped(service)
    service.start("--new-log")
    service.wait_for(lambda: service.health() == {"status": "ok", "reasons": []})
    totals = settled(service)
    assert (totals["received"], totals["stored"]) == (len(ids), len(ids))
    assert all(row["balanced"] for row in ledger_rows(service))
    ids += send(service)
    assert settled(service, lake=True)["received"] == len(ids)
    stopped(service)
    assert rebuild(service)["equal"]
    assert warehouse_ids(service) == sorted(ids)
