"""Catalog objects: pages by cursor, ETag and If-Match, Idempotency-Key."""

import pytest

METRIC = {"name": "m", "aggregation": "count"}


def create(shared, path, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return shared.ask("POST", f"/api/v1/{path}", body, headers=named)


@pytest.mark.parametrize(
    ("path", "item", "body", "change"),
    [
        ("metric-definitions", "etagged", {"name": "etagged", "aggregation": "count"}, {"events": ["a"]}),
        ("schemas", "etagged@1", {"name": "etagged", "jsonSchema": {"type": "object"}}, {"mode": "warn"}),
    ],
)
def test_a_lost_update_is_refused(shared, path, item, body, change):
    status, headers, made = create(shared, path, body)
    assert (status, headers["etag"], made["name"]) == (201, '"1"', "etagged")
    assert create(shared, path, body)[2]["code"] == "ALREADY_EXISTS"
    at = f"/api/v1/{path}/{item}"
    status, headers, _ = shared.ask("PUT", at, body | change, headers={"If-Match": '"1"'})
    assert (status, headers["etag"]) == (200, '"2"')
    for method, sent in (("PUT", body), ("DELETE", None)):
        status, _, problem = shared.ask(method, at, sent, headers={"If-Match": '"1"'})
        assert (status, problem["code"], problem["limit"]) == (412, "VERSION_MISMATCH", 2)
    status, headers, found = shared.ask("GET", at)
    assert (status, headers["etag"]) == (200, '"2"')
    assert found.items() >= change.items()
    assert shared.ask("PUT", at, body, headers={"If-Match": "mine"})[0] == 412
    assert shared.ask("DELETE", at, headers={"If-Match": '"2"'})[0] == 204
    assert shared.ask("GET", at)[0] == shared.ask("DELETE", at)[0] == 404
    assert shared.ask("PUT", at, body, headers={"If-Match": '"2"'})[0] == 404, "If-Match never makes anything"


def test_a_put_makes_and_changes_and_keeps_to_the_name_in_its_address(shared):
    at = "/api/v1/metric-definitions/put_twice"
    body = METRIC | {"name": "put_twice"}
    assert [shared.ask("PUT", at, body)[0] for _ in range(2)] == [201, 200]
    status, _, problem = shared.ask("PUT", at, body | {"name": "other"})
    assert (status, problem["code"]) == (400, "NAME_MISMATCH")


def test_a_repeated_creation_makes_nothing_again_and_shows_no_secret_again(shared):
    asked = {"name": "once", "scopes": ["query"]}
    first, again = (create(shared, "keys", asked, Idempotency_Key="once-1") for _ in range(2))
    assert first[0] == again[0] == 201
    assert first[2]["secret"].startswith("hw_sk_")
    assert again[2] == first[2] | {"secret": None}
    listed = shared.ask("GET", "/api/v1/keys?limit=1000")[2]["items"]
    assert len([key for key in listed if key["name"] == "once"]) == 1
    assert create(shared, "keys", asked, Idempotency_Key="once-2")[2]["id"] != first[2]["id"]
    body = METRIC | {"name": "made_once"}
    answers = [create(shared, "metric-definitions", body, Idempotency_Key="once-1") for _ in range(2)]
    assert [(status, headers["etag"]) for status, headers, _ in answers] == [(201, '"1"')] * 2
    status, _, problem = create(shared, "keys", asked, Idempotency_Key="x" * 257)
    assert (status, problem["code"]) == (400, "BAD_HEADER")


def test_a_refused_creation_may_be_repeated_with_the_same_key(shared):
    assert create(shared, "keys", {"name": "", "scopes": ["query"]}, Idempotency_Key="late")[0] == 400
    assert create(shared, "keys", {"name": "ok", "scopes": ["query"]}, Idempotency_Key="late")[0] == 201


@pytest.mark.parametrize("path", ["schemas", "metric-definitions", "keys"])
def test_a_list_comes_whole_by_its_cursor(shared, make_key, path):
    for number in range(5):
        if path == "keys":
            make_key("query")
        else:
            create(shared, path, METRIC | {"name": f"p{number}"} if path != "schemas" else schema(f"p{number}"))
    whole = shared.ask("GET", f"/api/v1/{path}?limit=1000")[2]
    assert whole["nextCursor"] is None
    pages, cursor = [], ""
    while cursor is not None:
        page = shared.ask("GET", f"/api/v1/{path}?limit=2{cursor and f'&cursor={cursor}'}")[2]
        assert len([item for item in page["items"] if not item.get("builtIn")]) <= 2
        pages += page["items"]
        cursor = page["nextCursor"]
    assert pages == whole["items"]


def schema(name):
    return {"name": name, "jsonSchema": {"type": "object"}}


def test_a_built_in_metric_is_read_like_any_other_and_never_changed(shared):
    assert shared.ask("GET", "/api/v1/metric-definitions/events")[2]["builtIn"] is True
    status, _, problem = shared.ask(
        "PUT", "/api/v1/metric-definitions/events", {"name": "events", "aggregation": "sum", "field": "attributes.a"}
    )
    assert (status, problem["code"]) == (400, "INVALID_NAME")
    assert shared.ask("DELETE", "/api/v1/metric-definitions/events")[0] == 404


def test_settings_keep_what_is_left_out(shared):
    before = shared.ask("GET", "/api/v1/settings")[2]
    status, headers, after = shared.ask("PUT", "/api/v1/settings", {"retention": "90d"})
    assert status == 200 and headers["etag"] == f'"{before["objectVersion"] + 1}"'
    assert (after["timeZone"], after["retention"]) == (before["timeZone"], "90d")
    assert shared.ask("PUT", "/api/v1/settings", {"name": "renamed"})[2]["code"] == "INVALID_FIELD"
    assert shared.ask("PUT", "/api/v1/settings", {"retention": "forever"})[0] == 200
