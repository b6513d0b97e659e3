"""Requests for events over real sockets: those that come whole go the short way, and look no different for it."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.api.front import Front
from headwater.boot.connections import BoundedProtocol, bounded
from headwater.boot.serve import http_server
from headwater.collect.bounds import Bounds
from headwater.collect.counts import Counts
from headwater.collect.intake import Acks, Intake
from headwater.collect.limit import InFlight, Quota, Rates
from headwater.collect.receive import Receiver
from headwater.collect.sources import Labels
from headwater.domain.batches import decode_batch
from headwater.domain.errors import Unauthenticated
from headwater.domain.schemas import rules_from
from headwater.security.keys import Access
from headwater.storage.log.base import Frame
from headwater.storage.log.disk import Disk
from headwater.storage.log.files import open_reader, open_writer

KEYS = {
    "Bearer sk": Access("default", "sk", "server", "sk", frozenset({"events:write"}), (), (), None, None),
    "Bearer in": Access("default", "in", "web", "in", frozenset({"events:write"}), ("web",), ("https://a.b",), 1.0, 2),
    "Bearer reader": Access("default", "reader", "reader", "sk", frozenset({"query"}), (), (), None, None),
}


class SlowDisk(Disk):
    """A sync waits for `may_sync`."""

    def __init__(self) -> None:
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.syncing = threading.Event()

    def sync(self, descriptor: int) -> None:
        self.syncing.set()
        assert self.may_sync.wait(20)
        super().sync(descriptor)


class WatchedFront(Front):
    """Knows which requests were prompt."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.prompted: list[bool] = []

    def prompt(self, *given: Any) -> bool:
        self.prompted.append(super().prompt(*given))
        return self.prompted[-1]


class Server:
    """The collector behind our own connections, in a thread."""

    def __init__(self, folder: Path, keep_alive_seconds: int, lag_events_soft: int) -> None:
        self.url = f"file://{folder}/log"
        self.disk = SlowDisk()
        self.counts = Counts()
        self.in_flight = InFlight(1 << 20)
        self.lag = 0
        self.lag_events_soft = lag_events_soft
        self.keep_alive_seconds = keep_alive_seconds
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self.thread.start()
        assert self.ready.wait(10)

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        log = open_writer(self.url, Acks(self.loop).on_durable, disk=self.disk)
        intake = Intake(
            log,
            rules=rules_from([]),
            labels=Labels([], 100),
            quota=Quota(100),
            lag=lambda: self.lag,
            lag_events_soft=self.lag_events_soft,
        )
        receiver = Receiver(
            self.access,
            lambda project: intake,
            rates=Rates(1e6, 10**6, 1e6, 1000),
            in_flight=self.in_flight,
            counts=self.counts,
            bounds=Bounds(),
        )
        self.front = WatchedFront(receiver, None, open_to_all=False, local=False, count=None)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.server, where = http_server(self.front, [listener], bounded(100, 30.0, 60.0))
        self.server.config.timeout_keep_alive = self.keep_alive_seconds
        serving = asyncio.create_task(self.server.serve(sockets=where))
        await self.server.listening.wait()
        self.ready.set()
        await serving
        await asyncio.to_thread(log.close)
        receiver.close()

    def access(self, authorization: str | None, key: str | None, client: str | None, project: str | None) -> Access:
        if authorization not in KEYS:
            raise Unauthenticated("no such key")
        return KEYS[authorization]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def stop(self) -> None:
        self.server.should_exit = True
        self.disk.may_sync.set()
        self.thread.join(15)

    def bodies(self) -> list[bytes]:
        with contextlib.closing(open_reader(self.url)) as reader:
            after, found = 0, []
            while after < reader.durable_seq():
                for frame in reader.read(after, 20_000, 1.0):
                    assert isinstance(frame, Frame)
                    found += [decode_batch(payload).body for payload in frame.payloads]
                    after = frame.last_seq
            return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(keep_alive_seconds: int = 75, lag_events_soft: int = 1000) -> Server:
        running.append(Server(tmp_path, keep_alive_seconds, lag_events_soft))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def request(body: bytes, *lines: str, key: str = "sk", query: str = "", method: str = "POST") -> bytes:
    head = [
        f"{method} /api/v1/events{query} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {key}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


def answers(connection: socket.socket, count: int) -> list[tuple[int, dict[str, str], Any]]:
    """(status, headers, body) of so many answers, in their order; fewer where the server closes before."""
    found: list[tuple[int, dict[str, str], Any]] = []
    with connection.makefile("rb") as lines:
        while len(found) < count and (first := lines.readline()):
            headers = {}
            while (line := lines.readline().decode().strip()) != "":
                name, _, value = line.partition(": ")
                assert name not in headers
                headers[name] = value
            body = lines.read(int(headers["content-length"]))
            found.append((int(first.split()[1]), headers, json.loads(body) if body else None))
    return found


def ask(one: Server, raw: bytes) -> tuple[int, dict[str, str], Any]:
    with one.connect() as connection:
        connection.sendall(raw)
        return answers(connection, 1)[0]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


PARITY: dict[str, dict[str, Any]] = {
    "right": {"body": b'[{"name":"a"},{"name":"b"}]'},
    "buffered": {"body": b'{"name":"a"}', "query": "?ack=buffered"},
    "no events": {"body": b"[]"},
    "partly wrong": {"body": b'[{"name":"a"},{"name":5},{"name":"b","colour":1}]'},
    "request id": {"body": b'{"name":"a"}', "lines": ["X-Request-Id: mine"]},
    "odd request id": {"body": b'{"name":"a"}', "lines": ["X-Request-Id: ../mine"]},
    "idempotency key": {"body": b'{"name":"a"}', "lines": ["Idempotency-Key: k"]},
    "clock": {"body": b'{"name":"a"}', "lines": ["Headwater-Sent-At: 2026-01-01T00:00:00Z"]},
    "page": {"body": b'{"name":"a"}', "key": "in", "lines": ["Origin: https://a.b"]},
    "other page": {"body": b'{"name":"a"}', "key": "in", "lines": ["Origin: https://evil"]},
    "page that names a source": {"body": b'{"name":"a","source":"x"}', "key": "in"},
    "no json": {"body": b"nope"},
    "empty": {"body": b""},
    "wrong key": {"body": b'{"name":"a"}', "key": "nobody"},
    "no scope": {"body": b'{"name":"a"}', "key": "reader"},
    "unknown parameter": {"body": b'{"name":"a"}', "query": "?colour=red"},
    "bad header": {"body": b'{"name":"a"}', "lines": ["Headwater-Sent-At: yesterday"]},
}  # fmt: skip


def test_an_answer_is_the_same_either_way(server: Any) -> None:
    one = server()
    for name, case in PARITY.items():
        options = {option: case[option] for option in ("key", "query") if option in case}
        before = counted(one)
        short = ask(one, request(case["body"], *case.get("lines", []), **options))
        between = counted(one)
        # A connection that is to be closed after it goes the long way.
        long = ask(one, request(case["body"], "Connection: close", *case.get("lines", []), **options))
        assert long[1].pop("connection") == "close"
        assert list(short[1]) == list(long[1]), name
        assert (short[0], comparable(short[2])) == (long[0], comparable(long[2])), name
        assert between - before == counted(one) - between, name
    assert one.front.prompted == [True] * len(PARITY)
    assert one.in_flight.bytes == 0


def counted(one: Server) -> Counter[str]:
    counts = one.counts
    return Counter({"accepted": counts.accepted, "bytes": counts.body_bytes, **counts.refused, **counts.quarantined})


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """Without what differs between two requests that are the same: ids, and that the second one is a repeat."""
    for changing in ("batchId", "requestId", "accepted", "duplicate"):
        body.pop(changing, None)
    told = [result for result in body.get("results", []) if result["status"] != "duplicate"]
    return {**body, "results": [(result["index"], result["code"]) for result in told]}


def test_what_has_more_to_wait_for_than_the_log_goes_the_long_way(server: Any) -> None:
    import gzip

    one = server()
    packed = gzip.compress(b'{"name":"a"}')
    large = json.dumps([{"name": "a", "actor": "x" * 200} for _ in range(400)]).encode()
    assert len(large) > 64 << 10
    assert ask(one, request(packed, "Content-Encoding: gzip"))[0] == 201
    assert ask(one, request(large))[2]["accepted"] == 400
    assert not any(one.front.prompted)
    one.lag = 10_000
    one.lag_events_soft = 0
    until(lambda: ask(one, request(b'{"name":"a"}'))[0] == 201 and not one.front.prompted[-1])


def test_a_body_that_comes_after_its_head_is_stored(server: Any) -> None:
    one = server()
    raw = request(b'[{"name":"a"}]')
    with one.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(raw)):
            connection.sendall(raw[at : at + 1])
        assert answers(connection, 1)[0][0] == 201
        connection.sendall(raw)
        assert answers(connection, 1)[0][0] == 201
    assert one.bodies() == [b'[{"name":"a"}]'] * 2


def test_a_201_waits_for_the_disk(server: Any) -> None:
    one = server()
    one.disk.may_sync.clear()
    one.disk.syncing.clear()
    with one.connect() as connection:
        connection.sendall(request(b'[{"name":"a"}]'))
        assert one.disk.syncing.wait(10)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(20)
        one.disk.may_sync.set()
        assert answers(connection, 1)[0][0] == 201
    assert one.front.prompted == [True]


def test_requests_in_a_row_are_answered_in_their_order_whichever_way_they_go(server: Any) -> None:
    one = server()
    one.disk.may_sync.clear()
    raws = []
    for n in range(12):
        ways = (
            request(b'{"name":"a"}', f"X-Request-Id: r{n}"),
            request(b'{"name":"a"}', f"X-Request-Id: r{n}", query="?ack=buffered"),
            request(b"nope", f"X-Request-Id: r{n}"),
            request(b"", f"X-Request-Id: r{n}", method="OPTIONS"),
        )
        raws.append(ways[n % len(ways)])
    with one.connect() as connection:
        connection.sendall(b"".join(raws))
        until(lambda: len(one.front.prompted) == 1)
        one.disk.may_sync.set()
        found = answers(connection, len(raws))
    assert [status for status, _, _ in found] == [201, 202, 400, 204] * 3
    told = [headers["x-request-id"] for _, headers, _ in found]
    assert told == [f"r{n}" for n in range(12)]


def test_a_stop_answers_what_is_under_way_and_closes(server: Any) -> None:
    one = server()
    one.disk.may_sync.clear()
    with one.connect() as connection, one.connect() as idle:
        connection.sendall(request(b'[{"name":"a"}]'))
        until(lambda: one.front.prompted == [True])
        one.server.should_exit = True
        assert idle.recv(1) == b""
        one.disk.may_sync.set()
        ((status, headers, _),) = answers(connection, 2)
    assert (status, headers["connection"]) == (201, "close")
    one.thread.join(10)
    assert one.bodies() == [b'[{"name":"a"}]']


def test_a_client_that_is_gone_before_its_answer_holds_up_nobody(server: Any) -> None:
    one = server()
    one.disk.may_sync.clear()
    for _ in range(10):
        with one.connect() as connection:
            connection.sendall(request(b'[{"name":"gone"}]'))
    until(lambda: len(one.front.prompted) == 10)
    one.disk.may_sync.set()
    assert ask(one, request(b'[{"name":"a"}]'))[0] == 201
    assert one.bodies() == [b'[{"name":"gone"}]'] * 10 + [b'[{"name":"a"}]']
    assert one.in_flight.bytes == 0


def test_a_connection_that_asks_nothing_more_is_closed(server: Any) -> None:
    one = server(keep_alive_seconds=1)
    with one.connect() as connection:
        connection.sendall(request(b'[{"name":"a"}]'))
        assert answers(connection, 1)[0][0] == 201
        connection.settimeout(10)
        assert connection.recv(1) == b""
    assert one.front.prompted == [True]


def test_a_client_that_reads_no_answers_is_not_answered_without_end(server: Any) -> None:
    one = server()
    raw = request(b'{"name":"a"}', query="?ack=buffered") * 50
    with one.connect() as connection:
        connection.setblocking(False)
        deadline = time.monotonic() + 20
        stuck = 0
        while stuck < 20:
            assert time.monotonic() < deadline
            try:
                connection.send(raw)
                stuck = 0
            except BlockingIOError:
                stuck += 1
                threading.Event().wait(0.05)
        (protocol,) = one.server.server_state.connections
        assert isinstance(protocol, BoundedProtocol)
        assert protocol.transport.get_write_buffer_size() < 1 << 20
    assert ask(one, request(b'[{"name":"a"}]'))[0] == 201
