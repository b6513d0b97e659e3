"""Alive, ready, and why not."""

import pytest
from tests.bad_days.raw import connected
from tests.served import Served


@pytest.fixture
def own(tmp_path):
    with Served(tmp_path / "data") as running:
        yield running


def test_a_healthy_process_is_alive_and_ready_and_gives_no_reasons(shared):
    assert shared.ask("GET", "/health/live", key=None)[::2] == (200, {"status": "ok", "reasons": []})
    assert shared.ask("GET", "/health/ready", key=None)[::2] == (200, {"status": "ok", "reasons": []})


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/openapi.json", "/api/v1/nowhere"])
def test_head_is_answered_as_get_without_the_body(shared, path):
    key = None if path.startswith("/health") else "sk"
    got, head = (shared.ask(method, path, key=key) for method in ("GET", "HEAD"))
    assert head[0] == got[0]
    assert head[1]["content-type"] == got[1]["content-type"]
    if path != "/metrics":  # which differs from look to look
        assert int(head[1]["content-length"]) == int(got[1]["content-length"])
    # What follows on the same connection begins right behind the head.
    after = "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with connected(shared) as kept, kept.makefile("rb") as answers:
        kept.sendall(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n{after}".encode())
        _, _, rest = answers.read().partition(b"\r\n\r\n")
    assert rest.startswith(b"HTTP/1.1 200") and rest.endswith(b'{"status":"ok","reasons":[]}')


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

        def reasons():
            return own.ask("GET", "/health/ready", key=None)[2]["reasons"]

        own.wait_for(lambda: [reason["code"] for reason in reasons()] == ["DISK_FULL"])
        status, _, ready = own.ask("GET", "/health/ready", key=None)
        assert status == 503
        assert "bytes are free" in ready["reasons"][0]["detail"]
        assert own.ask("GET", "/health/live", key=None)[0] == 200
        status, headers, problem = own.send([{"name": "a"}])
        assert (status, problem["code"], headers["retry-after"]) == (503, "DISK_FULL", "10")
