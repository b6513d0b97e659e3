"""Who has no business here: pages of other sites, made-up hosts, wrong keys, paths and methods that are tricks."""

import socket

import pytest
from tests.bad_days.raw import event, exchange, head_of
from tests.served import Served

PUBLIC = {"/health/live", "/health/ready", "/openapi.json", "/docs"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("open") / "data", "--open") as running:
        yield running
        assert running.settled()["balanced"]
        assert running.health() == {"status": "ok", "reasons": []}
        assert running.stop() == 0


def post(served, *lines, path="/api/v1/events", body=b'[{"name": "x"}]', method="POST"):
    head = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}", *lines, "", ""]
    return exchange(served, "\r\n".join(head).encode("latin-1") + body)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (("Host: localhost:{port}",), None),
        (("Host: 127.0.0.1:{port}", "Origin: http://127.0.0.1:{port}"), None),
        (("Host: 127.0.0.1:{port}", "Origin: https://evil.example"), "CROSS_ORIGIN"),
        (("Host: 127.0.0.1:{port}", "Origin: null"), "CROSS_ORIGIN"),
        (("Host: 127.0.0.1:{port}", "Origin: http://127.0.0.1:1"), "CROSS_ORIGIN"),
        (("Host: 127.0.0.1:{port}", "Origin: http://localhost:{port}"), "CROSS_ORIGIN"),
        (("Host: 127.0.0.1:{port}", "Origin: http://127.0.0.1:{port}.evil.example"), "CROSS_ORIGIN"),
        (("Host: 127.0.0.1:{port}", "Origin: "), "CROSS_ORIGIN"),
        (("Host: 127.0.0.1:{port}", "Origin: https://evil.example", "Origin: http://127.0.0.1:{port}"), "CROSS_ORIGIN"),
        (("Host: evil.example:{port}",), "HOST_NOT_LOOPBACK"),
        (("Host: evil.example", "Origin: http://evil.example"), "HOST_NOT_LOOPBACK"),
        (("Host: localhost.evil.example",), "HOST_NOT_LOOPBACK"),
        (("Host: 127.0.0.1.evil.example",), "HOST_NOT_LOOPBACK"),
        (("Host: 127.0.0.1@evil.example",), "HOST_NOT_LOOPBACK"),
        (("Host: 0.0.0.0:{port}",), "HOST_NOT_LOOPBACK"),
        (("Host: ",), "HOST_NOT_LOOPBACK"),
        ((), "HOST_NOT_LOOPBACK"),
        (("Host: evil.example", "Host: 127.0.0.1:{port}"), "HOST_NOT_LOOPBACK"),
        (("Host: 127.0.0.1:{port}", "Host: evil.example"), "HOST_NOT_LOOPBACK"),
        (("Host: evil.example", "X-Forwarded-Host: 127.0.0.1"), "HOST_NOT_LOOPBACK"),
    ],
)
def test_an_open_server_takes_nothing_from_other_pages(opened, lines, code):
    before = opened.settled()["received"]
    for path in ("/api/v1/events", "/api/v1/query"):
        status, headers, answer = post(opened, *(line.format(port=opened.port) for line in lines), path=path)
        if code is None:
            assert status in (201, 400), answer
            assert answer.get("code") not in ("CROSS_ORIGIN", "HOST_NOT_LOOPBACK")
        else:
            # A request with no or several hosts may also be thrown out as broken.
            assert status == 400 or (status, answer["code"]) == (403, code), answer
            assert "access-control-allow-origin" not in headers
    assert opened.settled()["received"] - before == (code is None)


def test_an_open_server_answers_no_preflight_of_another_page(opened):
    lines = (f"Host: 127.0.0.1:{opened.port}", "Origin: https://evil.example", "Access-Control-Request-Method: POST")
    status, headers, _ = post(opened, *lines, method="OPTIONS", body=b"")
    assert status == 403 and "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_open_is_refused_on_other_than_loopback_addresses(tmp_path, host):
    said = Served(tmp_path / "data", "--open", "--host", host).start_refused()
    assert "OPEN_NOT_LOOPBACK" in said or "loopback" in said


def test_a_wrong_key_of_any_shape_is_401(shared):
    right = shared.keys["sk"]
    for value in (
        "",
        "Bearer",
        "Bearer ",
        f"Basic {right}",
        f"bearer  {right} x",
        f"Bearer {right[:-1]}",
        f"Bearer {right}x",
        f"Bearer {right.upper()}",
        f"Bearer {right}, Bearer {right}",
        "Bearer hw_sk_' or '1'='1",
        "Bearer \xff\xfe",
        "Bearer " + "a" * 10_000,
    ):
        lines = ("Host: localhost", f"Authorization: {value}")
        for path in ("/api/v1/events", "/api/v1/query"):
            status, _, answer = post(shared, *lines, path=path)
            assert (status, answer["code"]) == (401, "UNAUTHENTICATED"), (value[:40], path, answer)
            assert right not in str(answer)
    assert post(shared, "Host: localhost", f"Authorization: bEaReR {right}")[0] == 201


def test_a_key_in_the_address_works_for_ingest_alone(shared):
    for kind in ("sk", "in"):
        key = shared.keys[kind]
        for method, path in (("GET", "/api/v1/events"), ("POST", "/api/v1/query"), ("GET", "/metrics")):
            status, _, answer = shared.ask(method, f"{path}?key={key}", key=None)
            assert status == 401, (path, answer)
            assert key not in str(answer)
    assert shared.ask("POST", f"/api/v1/events?key={shared.keys['in']}", [event()], key=None)[0] == 201
    status, _, answer = shared.ask("POST", f"/api/v1/events?key={shared.keys['sk']}", [event()], key=None)
    assert status == 401, answer
    assert "hw_sk_" not in shared.said() and "hw_in_" not in shared.said()


def test_unknown_parameters_are_named(shared):
    for method, path, body in (
        ("POST", "/api/v1/events?akc=buffered", [event()]),
        ("GET", "/api/v1/ledger?sorce=a", None),
        ("GET", "/api/v1/events?nmae=a", None),
        ("GET", "/api/v1/metrics?names=events&intervall=1d", None),
        ("GET", "/api/v1/quarantine?groupby=code", None),
        ("POST", "/api/v1/query?x=1", {"metrics": ["events"], "timeRange": {"last": "1d"}}),
        ("POST", "/api/v1/query", {"metrics": ["events"], "timeRange": {"last": "1d"}, "filter": []}),
    ):
        status, _, answer = shared.ask(method, path, body)
        assert status == 400, (path, answer)
        assert answer["code"] != "INTERNAL" and answer["detail"]


def test_paths_that_are_tricks_lead_nowhere(shared):
    for path in (
        "/api/v1/events/../keys",
        "/api/v1/events/..%2f..%2fkeys",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/API/V1/EVENTS",
        "/api/v1/events%00",
        "/api/v1/events;a=b",
        "/api/v1/events%0d%0aX-Evil:%201",
        "/api/v1/keys/%ff%fe",
        "/api/v1/events/" + "a" * 5000,
        "/api/v1/quarantine/99999999999999999999999999",
        "/api/v1/events/%27%20or%201=1/receipt",
    ):
        status, headers, _ = post(shared, "Host: localhost", path=path, method="GET", body=b"")
        assert status in (400, 401, 404, 405), (path, status)
        assert "x-evil" not in headers
        status, _, answer = shared.ask("GET", path)
        assert status in (400, 404, 405), (path, status, answer)
        assert answer["code"] != "INTERNAL"
    for path in ("/api/v1/events/", "/api/v1/events?", "/api/v1/%65vents", "//api/v1/events", "/api/v1//events"):
        assert post(shared, "Host: localhost", path=path)[0] in (401, 404, 405), path


def test_methods_that_a_path_does_not_take_are_refused(shared):
    key = f"Authorization: Bearer {shared.keys['sk']}"
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "FOO", "get"):
        status, _, _ = post(shared, "Host: localhost", key, method=method)
        assert status in (0, 400, 404, 405), (method, status)
    assert post(shared, "Host: localhost", key, method="DELETE", body=b"")[0] == 405


def test_every_route_asks_for_a_key_unless_it_is_public(shared):
    paths = shared.ask("GET", "/openapi.json", key=None)[2]["paths"]
    checked = 0
    for path, methods in paths.items():
        for method in methods:
            if path in PUBLIC or method not in ("get", "post", "put", "delete", "patch"):
                continue
            concrete = path.replace("{", "").replace("}", "")
            status, _, answer = shared.ask(method.upper(), concrete, b"", key=None)
            assert status == 401, (method, path, status, answer)
            checked += 1
    assert checked > 10


def test_answers_carry_no_stack_and_a_request_id_of_sane_form(shared):
    status, headers, _ = exchange(shared, head_of(shared, 2, lines=("X-Request-Id: a b\tc<script>",)) + b"{}")
    assert status in (201, 400)
    assert "<" not in headers["x-request-id"]
    for path in ("/api/v1/events", "/api/v1/ledger"):
        assert shared.ask("GET", path, headers={"X-Request-Id": "my-id.7"})[1]["x-request-id"] == "my-id.7"


def test_json_that_is_no_object_of_ours_is_400_on_every_post(shared):
    for path in ("/api/v1/query", "/api/v1/schemas", "/api/v1/metric-definitions", "/api/v1/keys"):
        for body in (b"", b"[", b"7", b"null", b"[]", b'{"a":' * 5000, b"\xff", b'{"name": "\\ud800"}', b"[" * 200_000):
            status, _, answer = shared.ask("POST", path, body)
            assert status == 400, (path, body[:20], status, answer)
            assert answer["code"] != "INTERNAL"
        status, _, answer = shared.ask("POST", path, b" " * (11 << 20))
        assert status in (400, 413), answer


EVIL = [None, True, -1, 1.5, 1e308, "", [], {}, [[]], {"a": 1}, "x" * 5000, "\x00", "\ud800", "' or 1=1 --", 2**70]


def test_questions_of_every_wrong_kind_are_never_our_error(shared):
    whole = {"metrics": ["events"], "timeRange": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}}
    questions = [{**whole, field: value} for field in (*whole, "timeZone", "filters", "limit") for value in EVIL]
    for field in ("name", "attributes.a", "attributes.'\"\\[0]", "time"):
        for operator in ("eq", "in", "between", "contains", "matches"):
            for value in (*EVIL, "(a+)+$", "["):
                questions.append({**whole, "filters": [{"field": field, "operator": operator, "value": value}]})
    nested = {"field": "name", "operator": "eq", "value": "x"}
    for _ in range(300):
        nested = {"any": [nested]}
    names = [f"n{number}" for number in range(100_000)]
    questions.append({**whole, "filters": [nested]})
    questions.append({**whole, "filters": [{"field": "name", "operator": "in", "value": names}]})
    ages = {"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}
    questions += [{**whole, "timeRange": {**ages, "interval": each}} for each in ("1m", "1d", "1y")]
    for question in questions:
        status, _, answer = shared.ask("POST", "/api/v1/query", question)
        assert status in (200, 400), (str(question)[:300], answer)


def test_parameters_of_every_wrong_kind_are_never_our_error(shared):
    values = ("", "-1", "1e9", "9" * 20, "%00", "%ff", "{", "[1", "'", "0001-01-01T00:00:00Z", "a" * 3000)
    for path in ("events", "quarantine", "ledger", "metrics", "keys", "lake"):
        for name in ("limit", "cursor", "start", "timeRange[end]", "filter", "source", "groupBy", "names"):
            for value in values:
                status, _, answer = shared.ask("GET", f"/api/v1/{path}?{name}={value}")
                assert status in (200, 400, 404), (path, name, value[:20], answer)


def test_a_schema_reads_no_file_and_calls_nobody(shared):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        for reference in (f"http://127.0.0.1:{listener.getsockname()[1]}/schema", "file:///etc/passwd"):
            body = {"name": "called", "version": "1", "mode": "enforce", "jsonSchema": {"$ref": reference}}
            status, _, answer = shared.ask("POST", "/api/v1/schemas", body)
            assert status == 400, answer
            assert shared.send([event("called")])[0] == 201
        with pytest.raises(BlockingIOError):
            listener.accept()
