"""POST /api/v1/events over real sockets: what is answered, and what the log then holds."""

import gzip
import json
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import zstandard

from headwater.collect.bounds import Bounds
from headwater.storage.log.base import Frame

TWO = [{"name": "a"}, {"name": "b", "source": "s"}]
HEAD = "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def answer_on(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and body of what comes before the other side closes."""
    received = b""
    while part := connection.recv(65536):
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_201_means_that_the_log_holds_it(collector: Any) -> None:
    one = collector()
    answer = one.post(TWO, user_agent="sdk/1")
    assert answer.status == 201
    assert answer.json == {
        "accepted": 2, "duplicate": 0, "quarantined": 0, "batchId": answer.json["batchId"], "results": [],
    }  # fmt: skip
    assert uuid.UUID(answer.json["batchId"]).version == 7
    (frame,) = one.frames()
    assert frame.n == 2
    assert {source: n for (_, source), n in frame.counts.items()} == {"server": 1, "s": 1}
    (batch,) = one.batches()
    assert uuid.UUID(bytes=batch.batch_id) == uuid.UUID(answer.json["batchId"])
    assert (batch.source_ip, batch.user_agent, batch.source) == ("127.0.0.1", "sdk/1", "server")


def test_202_promises_nothing_and_says_so(collector: Any) -> None:
    one = collector()
    assert one.post(TWO, query="?ack=buffered").status == 202
    until(lambda: len(one.batches()) == 1)


def test_a_bad_event_is_quarantined_and_the_others_stay(collector: Any) -> None:
    one = collector(quarantine_events_per_day=1)
    own = str(uuid.uuid4())
    answer = one.post([{"name": "a", "colour": 1}, {"name": 5, "id": own}, {"name": "c"}, {"name": 6}])
    assert answer.status == 201
    assert (answer.json["accepted"], answer.json["quarantined"]) == (2, 2)
    results = answer.json["results"]
    assert [(r["index"], r["status"], r["code"]) for r in results] == [
        (0, "warning", "UNKNOWN_FIELD"),
        (1, "quarantined", "TYPE_MISMATCH"),
        (3, "suppressed", "TYPE_MISMATCH"),
    ]
    assert results[1]["id"] == own
    assert results[1]["detail"] == "$[1].name: expected string, got 5"
    assert uuid.UUID(results[2]["id"]).version == 5
    (batch,) = one.batches()
    assert (batch.n, len(batch.verdicts), batch.suppressed) == (4, 2, (3,))
    assert one.counts.quarantined == {"TYPE_MISMATCH": 2}
    assert (one.counts.accepted, one.counts.suppressed, one.counts.warnings) == (2, 1, {"UNKNOWN_FIELD": 1})


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps(TWO), "text/plain"),
        (json.dumps({"events": TWO, "sentAt": "2026-11-24T10:00:00Z"}), "application/x-www-form-urlencoded"),
        ("\n".join(map(json.dumps, TWO)), "application/json"),
        ("\ufeff" + json.dumps(TWO), "application/xml; charset=utf-16"),
        (json.dumps(TWO, indent=4), ""),
    ],
)
def test_the_body_tells_its_form_whatever_content_type_says(collector: Any, body: str, content_type: str) -> None:
    answer = collector().post(body, content_type=content_type)
    assert (answer.status, answer.json["accepted"]) == (201, 2)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("n", [1, 2000])
def test_compressed_bodies_are_logged_expanded(collector: Any, pack: Callable[[bytes], bytes], n: int) -> None:
    one = collector()
    body = json.dumps([{"name": "a", "actor": uuid.uuid4().hex} for _ in range(n)]).encode()
    coding = "gzip" if pack is gzip.compress else "zstd"
    assert one.post(pack(body), content_encoding=coding).json["accepted"] == n
    (batch,) = one.batches()
    assert batch.body == body
    assert one.in_flight.bytes == 0


BAD = [
    (b"", {}, 400, "EMPTY_BODY"),
    (b" \r\n", {}, 400, "EMPTY_BODY"),
    (b"nope", {}, 400, "MALFORMED_JSON"),
    (b'[{"name":"a"},{"name"', {}, 400, "MALFORMED_JSON"),
    (b'[{"name":"a"}]]', {}, 400, "MALFORMED_JSON"),
    (b"\xff\xfe[\x00]\x00", {}, 400, "MALFORMED_JSON"),
    (gzip.compress(b"[]"), {}, 400, "MALFORMED_JSON"),
    (b"[]", {"content-encoding": "gzip"}, 400, "BAD_ENCODING"),
    (b"[]", {"content-encoding": "zstd"}, 400, "BAD_ENCODING"),
    (gzip.compress(b"[]")[:-1], {"content-encoding": "gzip"}, 400, "BAD_ENCODING"),
    (b"[]", {"content-encoding": "br"}, 415, "UNSUPPORTED_ENCODING"),
    (b"[]", {"headwater-sent-at": "yesterday"}, 400, "INVALID_SENT_AT"),
    (b'{"events":[],"sentAt":5}', {}, 400, "INVALID_SENT_AT"),
    (b"[]", {"idempotency-key": "x" * 257}, 400, "BAD_HEADER"),
    (b"[" + b'{"name":"a"},' * 100 + b"{}]", {}, 413, "TOO_MANY_EVENTS"),
    (b"[" + b" " * 20_000 + b"]", {}, 413, "BODY_TOO_LARGE"),
    (gzip.compress(bytes(60_000)), {"content-encoding": "gzip"}, 413, "EXPANDED_TOO_LARGE"),
]  # fmt: skip


def test_a_refused_body_stores_nothing_and_says_why(collector: Any) -> None:
    one = collector(bounds=Bounds(body_bytes_max=20_000, expanded_bytes_max=50_000, batch_events_max=100))
    for body, headers, status, code in BAD:
        answer = one.post(body, **headers)
        assert (answer.status, answer.json["code"]) == (status, code), body[:40]
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["requestId"] == answer.headers["x-request-id"]
    assert one.frames() == []
    assert one.in_flight.bytes == 0
    assert sum(one.counts.refused.values()) == len(BAD)
    assert len(one.refused) == len(BAD)


@pytest.mark.parametrize(
    ("query", "path"), [("?ack=maybe", "ack"), ("?ack=", "ack"), ("?akc=durable", "akc"), ("?a=1&" * 20, None)]
)
def test_unknown_parameters_are_refused_by_name(collector: Any, query: str, path: str | None) -> None:
    answer = collector().post(TWO, query=query)
    assert (answer.status, answer.json["code"], answer.json.get("path")) == (
        400,
        "UNKNOWN_PARAMETER" if path == "akc" else "BAD_PARAMETER",
        path,
    )


def test_no_events_are_accepted_and_write_nothing(collector: Any) -> None:
    one = collector()
    assert (one.post([]).status, one.post({"events": []}).status) == (201, 201)
    assert one.frames() == []


def test_100000_events_are_too_many(collector: Any) -> None:
    one = collector()
    answer = one.post(b"[" + b'{"name":"a"},' * 99_999 + b'{"name":"a"}]')
    assert (answer.status, answer.json["code"], answer.json["limit"]) == (413, "TOO_MANY_EVENTS", 10_000)
    assert one.frames() == []


def test_10000_events_are_one_batch(collector: Any) -> None:
    one = collector()
    assert one.post([{"name": "a"}] * 10_000).json["accepted"] == 10_000
    assert [frame.n for frame in one.frames()] == [10_000]


def test_who_may_not_send_is_refused_and_nothing_is_stored(collector: Any) -> None:
    one = collector()
    cases: list[tuple[str | None, str, int, str]] = [
        (None, "", 401, "UNAUTHENTICATED"),
        ("hw_sk_wrong", "", 401, "UNAUTHENTICATED"),
        ("reader", "", 403, "SCOPE_MISSING"),
        (None, f"?key={one.keys['sk']}", 401, "UNAUTHENTICATED"),
    ]
    for key, query, status, code in cases:
        answer = one.post(TWO, key=key, query=query)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.headers["connection"] is None
    assert one.post(TWO, x_headwater_project="other").status == 403
    assert one.frames() == []


def test_an_ingest_key_works_in_the_address(collector: Any) -> None:
    one = collector()
    assert one.post([{"name": "a"}], key=None, query=f"?key={one.keys['in']}").status == 201
    (batch,) = one.batches()
    assert (batch.source, batch.public) == ("web", True)


def test_a_page_may_send_from_its_origin_only(collector: Any) -> None:
    one = collector()
    fine = one.post([{"name": "a"}], key="in", origin="https://shop.example")
    assert (fine.status, fine.headers["access-control-allow-origin"]) == (201, "https://shop.example")
    foreign = one.post([{"name": "a"}], key="in", origin="https://evil.example")
    assert (foreign.status, foreign.json["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert foreign.headers["access-control-allow-origin"] is None
    limited = one.post(b"nope", key="in", origin="https://shop.example")
    assert (limited.status, limited.headers["access-control-allow-origin"]) == (400, "https://shop.example")
    assert len(one.frames()) == 1


def test_a_preflight_is_answered_to_any_origin(collector: Any) -> None:
    headers = {"origin": "https://any.example", "access-control-request-method": "POST"}
    answer = collector().request("OPTIONS", None, "", headers)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://any.example"
    assert "content-encoding" in answer.headers["access-control-allow-headers"]


def test_other_methods_are_refused(collector: Any) -> None:
    answer = collector().request("PUT", b"[]", "", {})
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")


def test_a_request_id_is_kept_if_it_is_sane(collector: Any) -> None:
    one = collector()
    assert one.post(TWO, x_request_id="req-1.a_B").headers["x-request-id"] == "req-1.a_B"
    for strange in ("a b", "x" * 65, "<script>"):
        assert one.post(TWO, x_request_id=strange).headers["x-request-id"] != strange


def test_behind_a_trusted_proxy_the_forwarded_address_counts(collector: Any) -> None:
    one = collector(trusted_proxies=["127.0.0.0/8"])
    one.post(TWO, x_forwarded_for="6.6.6.6, 203.0.113.9")
    assert [batch.source_ip for batch in one.batches()] == ["203.0.113.9"]


def test_a_stranger_can_not_forge_an_address(collector: Any) -> None:
    one = collector()
    one.post(TWO, x_forwarded_for="203.0.113.9")
    assert [batch.source_ip for batch in one.batches()] == ["127.0.0.1"]


def test_the_rate_of_a_key_is_told_and_kept(collector: Any) -> None:
    one = collector(events_per_second=0.01, events_burst=10, bounds=Bounds(batch_events_max=10))
    first = one.post([{"name": "a"}] * 9)
    assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("10", "1")
    second = one.post([{"name": "a"}] * 2)
    assert (second.status, second.json["code"]) == (429, "RATE_LIMITED")
    assert int(second.headers["retry-after"]) == int(second.headers["ratelimit-reset"]) - 800
    assert one.refused == [("default", {"server": 2})]
    assert one.post([{"name": "a"}], key="in").status == 201
    assert [frame.n for frame in one.frames()] == [9, 1]


def test_an_ingest_key_has_a_rate_of_bytes(collector: Any) -> None:
    one = collector(in_bytes_per_second=1, bounds=Bounds(body_bytes_max=100))
    statuses = [one.post([{"name": "a" * 50}], key="in").status for _ in range(2)]
    assert statuses == [201, 429]
    assert one.post([{"name": "a" * 50}]).status == 201


def test_a_backlog_refuses_with_retry_after(collector: Any) -> None:
    one = collector()
    one.lag = 1000
    answer = one.post(TWO)
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (429, "BACKLOG", "5")
    assert one.frames() == []


def test_a_soft_backlog_delays_the_acknowledgement(collector: Any) -> None:
    one = collector(ack_wait_seconds=60)
    one.lag = 500
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(one.post, TWO)
        until(lambda: one.in_flight.bytes > 0)
        assert not answer.done()
        assert one.frames() == []
        one.lag = 0
        assert answer.result(10).status == 201


def test_bytes_in_flight_are_bounded(collector: Any) -> None:
    one = collector(inflight_bytes_max=10_000)
    answer = one.post(b"[" + b" " * 20_000 + b"]")
    assert (answer.status, answer.json["code"]) == (429, "TOO_MUCH_IN_FLIGHT")
    assert one.post(TWO).status == 201
    assert one.in_flight.bytes == 0


def test_a_client_that_stops_in_mid_body_is_told_and_let_go(collector: Any) -> None:
    one = collector(body_seconds_max=0.3)
    with one.connect() as connection:
        head = HEAD.format(key=one.keys["sk"]) + "Content-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b'[{"name":"a"},')
        status, problem = answer_on(connection)
    assert (status, problem["code"], problem["limit"]) == (408, "BODY_TIMEOUT", 0.3)
    assert one.frames() == []
    assert one.in_flight.bytes == 0


def test_a_client_that_sends_a_head_and_no_body_is_told_and_let_go(collector: Any) -> None:
    one = collector(body_seconds_max=0.3)
    with one.connect() as connection:
        connection.sendall((HEAD.format(key=one.keys["sk"]) + "Content-Length: 10\r\n\r\n").encode())
        assert answer_on(connection)[0] == 408


def test_a_slow_body_that_is_whole_in_time_is_stored(collector: Any) -> None:
    one = collector()
    with one.connect() as connection:
        body = b'[{"name":"a"}]'
        head = HEAD.format(key=one.keys["sk"]) + f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode())
        for byte in body:
            before = one.in_flight.bytes
            connection.sendall(bytes([byte]))
            if byte != body[-1]:
                until(lambda before=before: one.in_flight.bytes > before)  # type: ignore[misc]
        assert answer_on(connection)[0] == 201


def test_a_client_that_goes_away_in_mid_body_stores_nothing(collector: Any) -> None:
    one = collector()
    connection = one.connect()
    connection.sendall((HEAD.format(key=one.keys["sk"]) + 'Content-Length: 1000\r\n\r\n[{"name":"a"}').encode())
    until(lambda: one.in_flight.bytes > 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    until(lambda: one.counts.disconnected == 1)
    assert one.in_flight.bytes == 0
    assert one.frames() == []


def test_an_announced_body_that_is_too_large_is_refused_before_it_comes(collector: Any) -> None:
    one = collector()
    with one.connect() as connection:
        connection.sendall((HEAD.format(key=one.keys["sk"]) + "Content-Length: 99999999999\r\n\r\n").encode())
        status, problem = answer_on(connection)
    assert (status, problem["code"], problem["limit"]) == (413, "BODY_TOO_LARGE", 10 << 20)


def test_a_chunked_body_is_stopped_where_it_becomes_too_large(collector: Any) -> None:
    one = collector(bounds=Bounds(body_bytes_max=100_000))
    with one.connect() as connection:
        connection.sendall((HEAD.format(key=one.keys["sk"]) + "Transfer-Encoding: chunked\r\n\r\n").encode())
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        connection.sendall(chunk * 2)
        status, problem = answer_on(connection)
    assert (status, problem["code"]) == (413, "BODY_TOO_LARGE")
    assert one.in_flight.bytes == 0


def test_a_client_that_sends_all_before_it_reads_still_gets_its_refusal(collector: Any) -> None:
    one = collector()
    answer = one.post(b"[" + b" " * 20_000_000 + b"]")
    assert (answer.status, answer.json["code"]) == (413, "BODY_TOO_LARGE")
    assert one.in_flight.bytes == 0


def test_a_refused_client_that_stops_sending_is_let_go(collector: Any) -> None:
    one = collector(body_seconds_max=0.3)
    with one.connect() as connection:
        connection.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[")
        assert answer_on(connection)[0] == 401


def test_a_client_that_asks_first_is_answered_before_it_sends(collector: Any) -> None:
    one = collector()
    with one.connect() as connection:
        head = HEAD.format(key=one.keys["sk"]) + "Expect: 100-continue\r\nContent-Length: 20000000\r\n\r\n"
        connection.sendall(head.encode())
        assert answer_on(connection)[0] == 413


def test_a_client_that_reads_nothing_holds_up_nobody(collector: Any) -> None:
    one = collector()
    request = HEAD.format(key=one.keys["sk"]) + 'Content-Length: 12\r\n\r\n{"name":"a"}'
    with one.connect() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(request.encode() * 200)
        assert one.post(TWO).status == 201
        until(lambda: sum(frame.n for frame in one.frames()) > 50)


def test_idle_connections_hold_up_nobody(collector: Any) -> None:
    one = collector()
    idle = [one.connect() for _ in range(300)]
    assert one.post(TWO).status == 201
    for connection in idle:
        connection.close()


def test_a_full_or_closed_log_is_503_and_says_when_to_come_again(collector: Any) -> None:
    one = collector()
    one.intake._log.close()
    answer = one.post(TWO)
    assert (answer.status, answer.json["title"]) == (503, "Service Unavailable")
    assert one.frames() == []


def test_many_clients_at_once_lose_nothing(collector: Any) -> None:
    one = collector()
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: one.post(TWO), range(200))]
    assert {answer.status for answer in answers} == {201}
    assert sum(frame.n for frame in one.frames() if isinstance(frame, Frame)) == 400
    assert one.counts.requests == {201: 200}
    assert sum(one.counts.seconds) == 200


def test_what_is_wrong_in_a_large_body_is_found_beside_the_event_loop(collector: Any) -> None:
    one = collector()
    body = [{"name": "a", "data": {"attributes": {"x": "y" * 100}}}] * 5000 + [{"name": 5}]
    answer = one.post(body)
    assert (answer.json["accepted"], answer.json["quarantined"]) == (5000, 1)
    assert answer.json["results"][0]["index"] == 5000
