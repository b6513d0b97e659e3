"""Wrong requests: each is told as a problem document with its code, its place, its cure and a request id."""

import re

import pytest

from headwater.domain.problems import REQUEST_CODES

QUESTION = {"metrics": ["events"], "timeRange": {"last": "1d"}}


def problem(answer, status):
    assert answer[0] == status, answer
    headers, body = answer[1:]
    assert headers["content-type"] == "application/problem+json"
    assert body["requestId"] == headers["x-request-id"]
    assert body["status"] == status and body["code"] in REQUEST_CODES
    return body


@pytest.mark.parametrize(
    ("address", "code", "hint"),
    [
        ("/api/v1/keys?limt=3", "UNKNOWN_PARAMETER", "did you mean 'limit'?"),
        ("/api/v1/keys?limit=0", "INVALID_LIMIT", None),
        ("/api/v1/keys?limit=1001", "INVALID_LIMIT", None),
        ("/api/v1/keys?limit=many", "BAD_PARAMETER", None),
        ("/api/v1/schemas?cursor=zzz", "INVALID_CURSOR", None),
        ("/api/v1/projects?cursor=zzz", "INVALID_CURSOR", None),
        ("/api/v1/events?cursor=zzz", "INVALID_CURSOR", None),
        ("/api/v1/events?limit=1001", "INVALID_LIMIT", None),
        ("/api/v1/events?nmae=a", "UNKNOWN_PARAMETER", "did you mean 'name'?"),
        ("/api/v1/events?filter={", "MALFORMED_JSON", None),
        ("/api/v1/events/nope", "INVALID_ID", None),
        ("/api/v1/events/nope/receipt", "INVALID_ID", None),
        ("/api/v1/events/0192f0c4-0000-7000-8000-000000000000?event_id=1", "UNKNOWN_PARAMETER", "known: source"),
        ("/api/v1/quarantine?groupBy=cod", "UNKNOWN_FIELD", "did you mean 'code'?"),
        ("/api/v1/ledger?sorce=a", "UNKNOWN_PARAMETER", "did you mean 'source'?"),
        ("/api/v1/ledger?timeRange[start]=yesterday", "INVALID_TIME", None),
        ("/api/v1/ledger?timeRange[start]=1999-01-01T00:00:00Z", "INVALID_TIME_RANGE", None),
        ("/api/v1/metrics?names=evnts", "UNKNOWN_METRIC", "did you mean 'events'?"),
        ("/api/v1/metrics?timeZone=Europe/Berlim", "UNKNOWN_TIME_ZONE", "did you mean 'Europe/Berlin'?"),
        ("/api/v1/lake?limit=0", "BAD_PARAMETER", None),
        ("/health/live?verbose=1", "UNKNOWN_PARAMETER", "this address takes none"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_cure(shared, address, code, hint):
    body = problem(shared.ask("GET", address), 404 if code == "UNKNOWN_METRIC" else 400)
    assert (body["code"], body.get("hint")) == (code, hint)
    assert body["path"]


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "words"),
    [
        ("POST", "query", QUESTION | {"dimension": ["name"]}, "UNKNOWN_FIELD", "did you mean 'dimensions'?"),
        ("POST", "query", QUESTION | {"timeRange": {"lst": "1d"}}, "UNKNOWN_FIELD", "did you mean 'last'?"),
        ("POST", "query", QUESTION | {"limit": "many"}, "TYPE_MISMATCH", "$.limit"),
        ("POST", "query", b"{", "MALFORMED_JSON", "not JSON"),
        ("POST", "query", b"", "MALFORMED_JSON", "not JSON"),
        ("POST", "query", b"[" * 5000, "MALFORMED_JSON", "not JSON"),
        ("POST", "query", b'{"metrics": ["\xff"]}', "MALFORMED_JSON", "not JSON"),
        ("POST", "query", [1], "TYPE_MISMATCH", "expected object, got array"),
        ("POST", "metric-definitions", {"name": "a", "agregation": "sum"}, "UNKNOWN_FIELD", "'aggregation'"),
        ("PUT", "metric-definitions/a", {"name": "a", "aggregation": "summ"}, "UNKNOWN_AGGREGATION", "'sum'"),
        ("POST", "schemas", {"name": "a", "jsonSchema": {}, "mod": "off"}, "UNKNOWN_FIELD", "'mode'"),
        ("POST", "schemas", {"name": "a", "jsonSchema": {"type": "objekt"}}, "INVALID_SCHEMA", "$.jsonSchema.type"),
        ("PUT", "settings", {"timezone": "UTC"}, "UNKNOWN_FIELD", "'timeZone'"),
        ("PUT", "settings", {"unknownEvents": "drop"}, "TYPE_MISMATCH", "expected one of allow, quarantine, warn"),
        ("POST", "keys", {"name": "a", "scope": ["query"]}, "UNKNOWN_FIELD", "'scopes'"),
        ("POST", "keys", {"scopes": ["query"]}, "MISSING_FIELD", "'name'"),
        ("POST", "keys", {"name": "a", "kind": "public"}, "INVALID_FIELD", "$.kind"),
        ("POST", "keys", {"name": "a", "scopes": ["everything"]}, "INVALID_FIELD", "events:write"),
        ("POST", "keys", [], "TYPE_MISMATCH", "expected object, got array"),
    ],
)
def test_a_wrong_body_is_told_with_its_place_and_the_nearest_word(shared, method, path, body, code, words):
    found = problem(shared.ask(method, f"/api/v1/{path}", body), 400)
    assert found["code"] == code
    assert words in found["detail"]
    assert found["path"].startswith("$")


def test_what_does_not_exist_and_what_is_not_taken_are_problems_too(shared):
    assert "'/nowhere'" in problem(shared.ask("GET", "/nowhere"), 404)["detail"]
    answer = shared.ask("PUT", "/api/v1/query", QUESTION)
    assert problem(answer, 405)["code"] == "METHOD_NOT_ALLOWED"
    assert "POST" in answer[1]["allow"]
    assert {"GET", "HEAD", "POST"} <= set(shared.ask("DELETE", "/api/v1/events")[1]["allow"].split(", "))
    body = problem(shared.ask("POST", "/api/v1/query", b" " * (1 << 20) + b"{}"), 413)
    assert (body["code"], body["limit"]) == ("BODY_TOO_LARGE", 1 << 20)
    assert shared.ask("OPTIONS", "/api/v1/query", key=None)[0] == 204
    for path in ("metric-definitions/absent", "schemas/absent@1", "quarantine/999999"):
        assert problem(shared.ask("GET", f"/api/v1/{path}"), 404)["code"] == "NOT_FOUND"
    assert problem(shared.ask("DELETE", "/api/v1/queries/absent"), 404)["code"] == "NOT_FOUND"
    assert problem(shared.ask("DELETE", "/api/v1/keys/absent"), 404)["code"] == "KEY_NOT_FOUND"


def test_a_value_is_told_back_short_however_long_it_was(shared):
    for value in ("x" * 100_000, list(range(10_000)), {"a": "b" * 100_000}):
        answer = shared.ask("POST", "/api/v1/query", QUESTION | {"limit": value})
        assert problem(answer, 400)["code"] == "TYPE_MISMATCH"
        assert int(answer[1]["content-length"]) < 1000


@pytest.mark.parametrize("path", ["/health/live", "/api/v1/ledger", "/nowhere"])
def test_the_callers_request_id_comes_back_where_it_is_sane(shared, path):
    assert shared.ask("GET", path, headers={"X-Request-Id": "mine-1.a_B"})[1]["x-request-id"] == "mine-1.a_B"
    for insane in ("a b", "x" * 65, "a\tb", "ä"):
        given = shared.ask("GET", path, headers={"X-Request-Id": insane})[1]["x-request-id"]
        assert re.fullmatch(r"[0-9a-f-]{36}", given), "a new one instead"
