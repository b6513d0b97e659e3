"""Alive, ready, and why not."""

import pytest
from tests.served import Served


@pytest.fixture
def own(tmp_path):
    with Served(tmp_path / "data") as running:
        yield running


def test_a_healthy_process_is_alive_and_ready_and_gives_no_reasons(shared):
    assert shared.ask("GET", "/health/live", key=None)[::2] == (200, {"status": "ok", "reasons": []})
    assert shared.ask("GET", "/health/ready", key=None)[::2] == (200, {"status": "ok", "reasons": []})


def test_a_process_that_only_a_new_start_helps_is_not_alive_and_says_why(own):
    assert own.send([{"name": "a"}])[0] == 201
    own.settled()
    for segment in (own.data / "projects" / "default" / "log").glob("*.segment"):
        segment.unlink()
    status, _, problem = own.send([{"name": "b"}])
    assert (status, problem["code"]) == (503, "LOG_REPLACED")
    status, _, live = own.wait_for(lambda: (found := own.ask("GET", "/health/live", key=None))[0] != 200 and found)
    assert status == 503 and live["status"] == "down"
    (reason,) = live["reasons"]
    assert (reason["name"], reason["code"], reason["vital"]) == ("default.log", "LOG_REPLACED", True)
    status, _, ready = own.ask("GET", "/health/ready", key=None)
    assert status == 503 and reason in ready["reasons"]


def test_a_full_disk_makes_it_unready_and_not_dead(tmp_path):
    with Served(tmp_path / "data", env={"HEADWATER_LOG__FREE_BYTES_MIN": str(1 << 60)}) as own:
        own.wait_for(lambda: own.ask("GET", "/health/ready", key=None)[0] == 503)
        _, _, ready = own.ask("GET", "/health/ready", key=None)
        assert [reason["code"] for reason in ready["reasons"]] == ["DISK_FULL"]
        assert "bytes are free" in ready["reasons"][0]["detail"]
        assert own.ask("GET", "/health/live", key=None)[0] == 200
        status, headers, problem = own.send([{"name": "a"}])
        assert (status, problem["code"], headers["retry-after"]) == (503, "DISK_FULL", "10")
