"""Clients that stop, stall, flood or lie on the connection: they cost themselves, nobody else."""

import contextlib
import http.client
import resource
import select
import socket
import time
from pathlib import Path

import pytest
from tests.bad_days.raw import answer_on, connected, event, exchange, head_of
from tests.served import Served

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def files():
    """As many open files as the crowds below need, on this side too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server with little patience, so that it can be seen."""
    env = {"HEADWATER_SERVER__BODY_SECONDS_MAX": "1", "HEADWATER_SERVER__ANSWER_SECONDS_MAX": "1.5"}
    with Served(tmp_path_factory.mktemp("shared") / "data", env=env) as running:
        yield running
        totals = running.settled()
        assert totals["balanced"], totals
        assert running.health() == {"status": "ok", "reasons": []}
        said = running.said()
        assert "unexpected_error" not in said and "Traceback" not in said, said[-4000:]
        assert "hw_sk_" not in said and "hw_in_" not in said
        assert running.resident_bytes(peak=True) < 600 * MIB
        assert running.stop() == 0


def open_files(served):
    return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))


def answers_quickly(served):
    began = time.monotonic()
    assert served.send([event()])[0] == 201
    return time.monotonic() - began < 5


def is_held(served, client):
    """Has the server the other end of this connection open? What is let go has no inode in the kernel's table."""
    ends = f"0100007F:{served.port:04X}", f"0100007F:{client.getsockname()[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any((row[1], row[2]) == ends and row[9] != "0" for row in rows)


def is_readable(connection):
    looking = select.poll()
    looking.register(connection, select.POLLIN)
    return bool(looking.poll(0))


def is_closed(connection, seconds):
    """Does the server close it within so long, whatever it says before?"""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_a_client_that_stops_in_mid_body_is_told_and_nothing_is_stored(shared):
    before = shared.settled()["received"]
    with connected(shared) as stalled:
        stalled.sendall(head_of(shared, 1000) + b'[{"name": "x"}')
        assert answers_quickly(shared)
        status, _, problem = answer_on(stalled)
        assert (status, problem["code"]) == (408, "BODY_TIMEOUT")
        assert is_closed(stalled, 5)
    assert shared.settled()["received"] == before + 1


def test_a_client_that_goes_away_in_mid_body_stores_nothing(shared):
    before = shared.settled()["received"]
    for end in (b"", b'[{"name": "x"}'):
        with connected(shared) as leaving:
            leaving.sendall(head_of(shared, 1000) + end)
    with connected(shared) as half:
        half.sendall(head_of(shared, 1000) + b'[{"name": "x"}')
        half.shutdown(socket.SHUT_WR)
        assert is_closed(half, 5)
    assert answers_quickly(shared)
    assert shared.settled()["received"] == before + 1


def test_bodies_that_come_a_byte_at_a_time_end_at_the_deadline(shared):
    with contextlib.ExitStack() as opened:
        slow = [opened.enter_context(connected(shared)) for _ in range(50)]
        for connection in slow:
            connection.sendall(head_of(shared, 10_000) + b"[")
        deadline = time.monotonic() + 8
        waiting = set(slow)
        while waiting and time.monotonic() < deadline:
            readable, _, _ = select.select(list(waiting), [], [], 0.1)
            waiting -= set(readable)
            for connection in waiting:
                with contextlib.suppress(OSError):
                    connection.sendall(b" ")
        assert not waiting
        assert {answer_on(connection)[0] for connection in slow} == {408}
    assert answers_quickly(shared)


def test_a_client_that_reads_nothing_holds_up_nobody(shared):
    shared.send([event(data={"attributes": {"a": "x" * 2000}}) for _ in range(2000)])
    shared.settled()
    key = shared.keys["sk"]
    one = f"GET /api/v1/events?limit=1000 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    before = shared.resident_bytes()
    with contextlib.ExitStack() as opened:
        for _ in range(20):
            deaf = opened.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", shared.port))
            deaf.sendall(one * 20)
        for _ in range(10):
            assert answers_quickly(shared)
        assert shared.resident_bytes() - before < 200 * MIB


def test_a_client_that_reads_nothing_is_cut_and_one_that_reads_slowly_is_not(shared):
    shared.send([event(data={"attributes": {"a": "x" * 2000}}) for _ in range(2000)])
    shared.settled()
    key = shared.keys["sk"]
    one = f"GET /api/v1/events?limit=1000 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    with contextlib.ExitStack() as opened:
        deaf, slow = (opened.enter_context(socket.socket()) for _ in range(2))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for client in (deaf, slow):
            client.connect(("127.0.0.1", shared.port))
            client.sendall(one * 10)
        shared.wait_for(lambda: is_held(shared, deaf))  # from when it is accepted
        deadline = time.monotonic() + 15
        while is_held(shared, deaf):
            assert time.monotonic() < deadline
            assert slow.recv(1 << 18)
            select.select([], [], [], 0.05)
        assert is_held(shared, slow)
        assert exchange(shared, one)[0] == 200


def test_1000_idle_connections_leave_room_for_others(shared):
    with contextlib.ExitStack() as opened:
        for _ in range(1000):
            opened.enter_context(connected(shared))
        shared.wait_for(lambda: open_files(shared) >= 1000)
        for _ in range(10):
            assert answers_quickly(shared)
    shared.wait_for(lambda: open_files(shared) < 500)


def test_connections_beyond_their_limit_are_refused_and_others_go_on(tmp_path):
    with Served(tmp_path / "data", env={"HEADWATER_SERVER__CONNECTIONS_MAX": "200"}) as served:
        kept = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        with contextlib.closing(kept), contextlib.ExitStack() as opened:
            kept.request("GET", "/health/live")
            assert kept.getresponse().read()
            crowd = [opened.enter_context(connected(served)) for _ in range(300)]

            def refused():
                found = [each for each in crowd if is_readable(each)]
                return found if len(found) >= 100 else None

            status, headers, problem = answer_on(served.wait_for(refused)[-1])
            assert (status, problem["code"], headers["retry-after"]) == (503, "TOO_MANY_CONNECTIONS", "1")
            kept.request("GET", "/health/live")
            assert kept.getresponse().status == 200
        served.wait_for(lambda: served.send([event()])[0] == 201)


@pytest.mark.parametrize(
    "head", [b"", b"P", b"POST /api/v1/events HTTP/1.1\r\nHost: loc"], ids=["nothing", "p", "part"]
)
def test_a_head_that_never_ends_is_given_up(shared, head):
    with connected(shared) as loris:
        loris.sendall(head)
        deadline = time.monotonic() + 15
        closed = False
        while not closed and time.monotonic() < deadline:
            closed = is_closed(loris, 0.5)
            if not closed and head:
                with contextlib.suppress(OSError):
                    loris.sendall(b"X-a: b\r\n")
        assert closed


def test_huge_heads_are_refused(shared):
    one = ("X-Big: " + "a" * 100_000,)
    many = tuple(f"X-{n}: {n}" for n in range(20_000))
    for lines in (one, many):
        status, _, problem = exchange(shared, head_of(shared, 2, lines=lines) + b"[]")
        assert status in (0, 400, 431), status
        assert status != 431 or problem["code"] == "HEAD_TOO_LARGE"
    target = b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert exchange(shared, target)[0] in (0, 400, 431)
    assert exchange(shared, head_of(shared, 2, lines=("X-Big: " + "a" * 50_000,)) + b"[]")[0] == 201


def test_a_head_without_end_takes_no_memory(shared):
    before = shared.resident_bytes()
    with connected(shared) as endless:
        endless.settimeout(10)
        endless.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nX-Big: ")
        with contextlib.suppress(OSError):
            for _ in range(50):
                endless.sendall(b"a" * MIB)
    assert shared.resident_bytes() - before < 30 * MIB
    assert answers_quickly(shared)


def test_the_same_header_twice_is_no_way_around(shared):
    two_keys = ("Authorization: Bearer hw_sk_wrong",)
    assert exchange(shared, head_of(shared, 2, lines=two_keys) + b"[]")[0] == 401
    assert exchange(shared, head_of(shared, 2, lines=("Content-Length: 3",)) + b"[]")[0] in (0, 400)
    both = head_of(shared, 2, lines=("Transfer-Encoding: chunked",)) + b"0\r\n\r\n"
    assert exchange(shared, both)[0] in (0, 400)
    twice = ("Content-Encoding: identity", "Content-Encoding: gzip")
    assert exchange(shared, head_of(shared, 2, lines=twice) + b"[]")[0] == 415
    assert exchange(
        shared, head_of(shared, 2, lines=("X-Headwater-Project: default", "X-Headwater-Project: b")) + b"[]"
    )[0] in (403, 404)


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "99999999999999999999", "2, 2", "+2"])
def test_a_lying_content_length_is_refused(shared, length):
    raw = head_of(shared, None, lines=(f"Content-Length: {length}",)) + b"[]"
    assert exchange(shared, raw)[0] in (0, 400, 413)
    assert answers_quickly(shared)


def test_broken_http_is_400_or_closed(shared):
    for raw in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 1000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /api/v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
    ):
        assert exchange(shared, raw)[0] in (0, 400), raw[:40]
    assert answers_quickly(shared)


def test_requests_in_a_row_on_one_connection_are_answered_in_order(shared):
    body = b'[{"name": "x"}]'
    with connected(shared) as connection:
        connection.sendall((head_of(shared, len(body)) + body) * 50)
        connection.settimeout(10)
        got = b""
        while got.count(b"HTTP/1.1 201") < 50:
            part = connection.recv(1 << 16)
            assert part
            got += part


def test_expect_continue_is_answered(shared):
    with connected(shared) as connection:
        connection.sendall(head_of(shared, 2, lines=("Expect: 100-continue",)))
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"[]")
        assert answer_on(connection)[0] == 201


@pytest.mark.parametrize("key", ["sk", "hw_sk_wrong"])
def test_a_question_whose_body_never_ends_is_given_up(shared, key):
    bearer = shared.keys.get(key, key)
    head = f"POST /api/v1/query HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {bearer}\r\nContent-Length: 1000\r\n\r\n"
    with connected(shared) as stalled:
        stalled.sendall(head.encode() + b"{")
        deadline = time.monotonic() + 15
        while not is_closed(stalled, 0.3):
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError):
                stalled.sendall(b" ")
    assert answers_quickly(shared)
