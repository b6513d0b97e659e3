"""Something happens while the service runs, starts or stops."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from tests.bad_days.days import (
    QUICK_LAKE,
    Load,
    copy,
    filled,
    folder,
    mounted,
    rebuild,
    remounted,
    send,
    settled,
    stopped,
    until,
    warehouse_ids,
)
from tests.bad_days.raw import event, head_of
from tests.served import Served

MIB = 1 << 20


@pytest.fixture
def service(tmp_path):
    with Served(tmp_path / "data", env=QUICK_LAKE) as running:
        yield running


def assert_all_stored(served, acknowledged):
    """Every acknowledged event is stored, once; what was not acknowledged may be."""
    totals = settled(served, lake=True)
    assert totals["lost"] == 0
    stopped(served)
    ids = warehouse_ids(served)
    assert len(ids) == len(set(ids))
    assert set(acknowledged) <= set(ids), f"{len(set(acknowledged) - set(ids))} are lost"
    assert totals["stored"] == len(ids)


def test_a_stop_under_load_ends_in_10_seconds_with_everything_stored(service):
    with Load(service) as one, Load(service, each=300) as two:
        service.wait_for(lambda: len(one.acknowledged) > 500 and len(two.acknowledged) > 1000, 30)
        assert service.stop(10) == 0
    service.start()
    assert_all_stored(service, one.acknowledged + two.acknowledged)


@pytest.mark.slow
def test_a_stop_with_idle_stalled_and_deaf_clients_ends_in_10_seconds(service):
    ids = send(service)
    clients = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(50)]
    for client in clients[:20]:
        client.sendall(head_of(service, 1000) + b"[")
    for client in clients[20:30]:
        client.sendall(b"GET /heal")
    assert service.stop(10) == 0
    for client in clients:
        client.close()
    service.start()
    assert_all_stored(service, ids)


@pytest.mark.slow
def test_two_signals_to_stop_are_as_good_as_one(service):
    ids = send(service)
    service.process.send_signal(signal.SIGTERM)
    service.process.send_signal(signal.SIGINT)
    assert service.stop(10) == 0
    service.start()
    assert_all_stored(service, ids)


@pytest.mark.slow
def test_a_kill_at_any_moment_of_the_start_does_no_harm(service):
    ids = send(service)
    settled(service)
    service.kill()
    for wait_ms in (0, 100, 200, 300, 400, 500, 600, 700, 800, 1000, 1200):
        service.launch()
        threading.Event().wait(wait_ms / 1000)
        service.kill()
    service.start()
    ids += send(service)
    assert_all_stored(service, ids)


@pytest.mark.slow
def test_a_kill_at_any_moment_of_the_first_start_does_no_harm(tmp_path):
    for wait_ms in (300, 500, 600, 700, 800, 900, 1000, 1200):
        served = Served(tmp_path / f"data{wait_ms}", env=QUICK_LAKE)
        served.launch()
        threading.Event().wait(wait_ms / 1000)
        served.kill()
        with served:
            ids = send(served)
            assert_all_stored(served, ids)


def test_a_second_process_on_the_folder_harms_nobody(service):
    ids = send(service)
    second = Served(service.data, env=QUICK_LAKE)
    second.journal = service.data.parent / "second.journal"
    said = second.start_refused()
    assert "ROLE_RUNNING" in said and str(service.process.pid) in said
    assert service.cli("lake", "rebuild", "--json")["result"]["switched"], "by the service that runs"
    assert service.cli("ledger", "--json")["totals"]["balanced"]
    ids += send(service)
    assert_all_stored(service, ids)


@pytest.mark.slow
def test_a_rebuild_killed_in_the_middle_is_begun_again(service):
    ids = send(service, batches=30, each=1000)
    settled(service, lake=True)
    stopped(service)
    command = [sys.executable, "-m", "headwater", "lake", "rebuild", "--json", "--data", str(service.data)]
    folder = service.project_folder() / "warehouse"
    for _ in range(3):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: any(folder.glob("*.next-*")) or running.poll() is not None, 30)  # noqa: B023
        threading.Event().wait(0.1)
        running.kill()
        running.wait()
    assert rebuild(service)["equal"]
    assert not any(folder.glob("*.next-*"))
    service.start()
    assert_all_stored(service, ids)


@pytest.mark.parametrize("order", ["collect first", "core first", "at once"])
@pytest.mark.slow
def test_roles_may_start_in_either_order(tmp_path, order):
    collect = Served(tmp_path / "data", "--role", "collect")
    core = Served(tmp_path / "data", "--role", "process,api", env=QUICK_LAKE)
    core.journal = tmp_path / "core.journal"
    both = [collect, core] if order != "core first" else [core, collect]
    if order == "at once":
        for each in both:
            each.launch()
        for each in both:
            each.address = each.wait_ready(0)
            each.port = int(each.address.rpartition(":")[2])
    else:
        for each in both:
            each.start()
    try:
        ids = send(collect)
        core.wait_for(lambda: core.count() == len(ids), 20)
        assert collect.stop() == 0
        settled(core, lake=True)
        collect.start()
        ids += send(collect)
        core.wait_for(lambda: core.count() == len(ids), 20)
        for each in both:
            assert each.health() == {"status": "ok", "reasons": []}
        assert core.stop() == 0
        assert collect.stop() == 0
        assert warehouse_ids(core) == sorted(ids)
    finally:
        for each in both:
            if each.process.poll() is None:
                each.kill()


def test_decode_workers_that_are_killed_are_replaced_and_nothing_is_lost(tmp_path):
    with Served(tmp_path / "data", "--decode-workers", "2", env=QUICK_LAKE) as service:
        ids = send(service)
        settled(service)
        with Load(service) as load:
            for _ in range(4):
                goal = len(load.acknowledged) + 200
                workers = service.wait_for(lambda: psutil.Process(service.process.pid).children(recursive=True), 20)
                for worker in workers:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        worker.kill()
                service.wait_for(lambda: len(load.acknowledged) > goal, 30)  # noqa: B023
        settled(service)
        service.wait_for(lambda: service.health()["status"] == "ok", 20)
        assert_all_stored(service, ids + load.acknowledged)


@pytest.mark.slow
def test_a_stopped_service_leaves_no_process_behind(tmp_path):
    with Served(tmp_path / "data", "--decode-workers", "2") as service:
        send(service)
        settled(service)
        children = psutil.Process(service.process.pid).children(recursive=True)
        assert children
        stopped(service)
        _, alive = psutil.wait_procs(children, 5)
        assert not alive
        service.start()
        children = psutil.Process(service.process.pid).children(recursive=True)
        service.kill()
        _, alive = psutil.wait_procs(children, 10)
        assert not alive


# Disks


SMALL = {
    **QUICK_LAKE,
    "HEADWATER_LOG__FREE_BYTES_MIN": "0",
    "HEADWATER_LOG__SEGMENT_BYTES": "1 MiB",
}


@pytest.mark.slow
def test_too_little_free_disk_refuses_senders_and_goes_on_by_itself(tmp_path):
    env = {**QUICK_LAKE, "HEADWATER_LOG__FREE_BYTES_MIN": "64 MiB"}
    with mounted(tmp_path / "data", 400) as disk, Served(disk, env=env) as service:
        ids = send(service)
        ballast = filled(disk, 40 * MIB)
        service.wait_for(lambda: "DISK_FULL" in service.health_codes())
        status, headers, problem = service.send([event()])
        assert (status, problem["code"]) == (503, "DISK_FULL") and int(headers["retry-after"]) > 0
        assert service.ask("GET", "/health/ready", key=None)[0] == 503
        assert service.count() == len(ids), "questions are still answered"
        ballast.unlink()
        service.wait_for(lambda: service.send([event()])[0] == 201)
        service.wait_for(lambda: service.health() == {"status": "ok", "reasons": []})
        assert_all_stored(service, ids)


@pytest.mark.parametrize("store", ["log", "warehouse", "lake", "everything"])
def test_a_disk_that_is_full_to_the_last_byte_costs_nothing_acknowledged(tmp_path, store):
    """The store alone lies on a small disk, or all of the data folder does."""
    with on_small_disk(tmp_path / "data", store) as (disk, service):
        ids = send(service)
        settled(service, lake=True)
        ballast = filled(disk, 0)
        with Load(service, each=200) as load:
            if store in ("log", "everything"):
                service.wait_for(lambda: load.refused.get("DISK_FULL", 0) > 20, 30)
                assert set(load.refused) == {"DISK_FULL"}
            elif store == "warehouse":
                service.wait_for(lambda: "LOADING_STALLED" in service.health_codes() and load.acknowledged, 30)
            else:
                service.wait_for(lambda: "LAKE_STALLED" in service.health_codes() and load.acknowledged, 30)
            ballast.unlink()
            goal = len(load.acknowledged) + 1000
            service.wait_for(lambda: len(load.acknowledged) > goal, 60)
        service.wait_for(lambda: service.health() == {"status": "ok", "reasons": []}, 60)
        assert "unexpected_error" not in service.said()
        assert_all_stored(service, ids + load.acknowledged)


@contextlib.contextmanager
def on_small_disk(data, store):
    """A service of which that store has 24 MiB for itself, or `everything` 128."""
    service = Served(data, env=SMALL)
    place = data if store == "everything" else folder(service, store)
    if store != "everything":
        with service:
            stopped(service)
        copied = copy(place, data.parent / "copy")
    with mounted(place, 128 if store == "everything" else 24) as disk:
        if store != "everything":
            shutil.copytree(copied, place, dirs_exist_ok=True)
        with service:
            yield disk, service


@pytest.mark.slow
def test_a_full_disk_under_the_catalog_is_said_and_passes(tmp_path):
    with mounted(tmp_path / "disk", 8) as disk:
        env = {**QUICK_LAKE, "HEADWATER_CATALOG__URL": f"sqlite://{disk}/catalog.sqlite"}
        with Served(tmp_path / "data", env=env) as service:
            ids = send(service)
            ballast = filled(disk, 0)
            status, _, problem = 0, {}, {}
            for number in range(2000):
                key = {"name": f"k{number}", "kind": "sk", "scopes": ["query"]}
                status, _, problem = service.ask("POST", "/api/v1/keys", key)
                if status != 201:
                    break
            assert status == 503 and problem["code"] != "INTERNAL", problem
            ids += send(service)
            ballast.unlink()
            key = {"name": "after", "kind": "sk", "scopes": ["query"]}
            assert service.ask("POST", "/api/v1/keys", key)[0] == 201
            service.wait_for(lambda: service.health() == {"status": "ok", "reasons": []})
            assert_all_stored(service, ids)


@pytest.mark.slow
def test_a_data_folder_that_can_not_be_written_is_refused_by_name(tmp_path):
    with mounted(tmp_path / "data", 128) as disk, Served(disk, env=SMALL) as service:
        ids = send(service)
        settled(service)
        stopped(service)
        remounted(disk, "ro")
        said = service.start_refused()
        assert "DATA_FOLDER_UNWRITABLE" in said and str(service.data) in said
        remounted(disk, "rw")
        service.start()
        assert_all_stored(service, ids)


# Clocks


def faked(clock, seconds=0):
    """Environment of a process whose clock is off by what the file says; monotonic time is left alone."""
    found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    if not found:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    set_clock(clock, seconds)
    alone = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}
    return {**QUICK_LAKE, **alone, "LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(clock)}


def set_clock(file, seconds):
    file.write_text(f"{seconds:+d}s\n")


@pytest.mark.slow
def test_a_clock_set_back_an_hour_loses_and_refuses_nothing(tmp_path):
    clock = tmp_path / "clock"
    with Served(tmp_path / "data", env=faked(clock)) as service:
        ids = send(service)
        settled(service)
        set_clock(clock, -3600)
        service.wait_for(lambda: "CLOCK_SET_BACK" in service.health_codes(), 20)
        now = [{"name": "now", "source": "web"} for _ in range(50)]
        status, _, answer = service.send(now)
        assert (status, answer["accepted"], answer["quarantined"]) == (201, 50, 0)
        ids += send(service)
        totals = settled(service, lake=True)
        assert totals["stored"] == len(ids) + 50
        assert service.health()["status"] == "degraded"
        assert service.ask("GET", "/health/ready", key=None)[0] == 200
        stopped(service)
        service.start()
        ids += send(service)
        totals = settled(service, lake=True)
        assert totals["stored"] == len(ids) + 50
        set_clock(clock, 0)
        service.wait_for(lambda: service.health() == {"status": "ok", "reasons": []}, 20)
        ids += send(service)
        assert_all_stored(service, ids)


@pytest.mark.slow
def test_a_clock_set_forward_and_back_again_refuses_nothing(tmp_path):
    clock = tmp_path / "clock"
    with Served(tmp_path / "data", env=faked(clock, 2 * 86400)) as service:
        ids = send(service)
        settled(service, lake=True)
        stopped(service)
        set_clock(clock, 0)
        service.start()
        service.wait_for(lambda: "CLOCK_SET_BACK" in service.health_codes(), 20)
        ids += send(service)
        status, _, answer = service.send([{"name": "now", "source": "web"}])
        assert (status, answer["accepted"]) == (201, 1)
        assert settled(service, lake=True)["stored"] == len(ids) + 1
        assert_all_stored(service, ids)
