"""One event's whole way: sent, durable, stored once, counted, asked for, proven."""

import uuid

from tests.served import Served


def event(name="purchase", **attributes):
    return {
        "id": str(uuid.uuid4()),
        "name": name,
        "timestamp": "2026-11-20T10:00:00.000001Z",
        "data": {"attributes": attributes},
    }


def test_an_event_is_stored_once_however_often_it_is_sent(served):
    sent = [event(price=20, country="DE"), event(price=22, country="GB")]
    for accepted, duplicate in ((2, 0), (0, 2), (0, 2)):
        status, headers, answer = served.send(sent)
        assert status == 201 and "x-request-id" in headers
        assert (answer["accepted"], answer["duplicate"]) == (accepted, duplicate)
    totals = served.settled()
    assert (totals["received"], totals["stored"], totals["duplicate"]) == (6, 2, 4)
    assert totals["balanced"]
    assert served.count() == 2


def test_a_bad_event_is_quarantined_and_its_neighbours_are_stored(served):
    sent = [event(), {"name": "x", "timestamp": "yesterday"}, event()]
    status, _, answer = served.send(sent)
    assert status == 201
    assert (answer["accepted"], answer["quarantined"]) == (2, 1)
    assert answer["results"][0]["index"] == 1
    assert answer["results"][0]["code"] == "INVALID_TIMESTAMP"
    assert "yesterday" in answer["results"][0]["detail"]
    totals = served.settled()
    assert (totals["stored"], totals["quarantined"], totals["balanced"]) == (2, 1, True)
    _, _, groups = served.ask("GET", "/api/v1/quarantine?groupBy=code,source,name")
    assert [(group["code"], group["count"]) for group in groups["items"]] == [("INVALID_TIMESTAMP", 1)]


def test_a_receipt_tells_where_an_event_is(served):
    good, bad = event(), {**event(), "name": 7}
    served.send([good, bad])
    served.send([good])
    served.settled()
    _, _, stored = served.ask("GET", f"/api/v1/events/{good['id']}/receipt")
    assert (stored["state"], stored["duplicates"]) == ("stored", 1)
    assert stored["receivedAt"] <= stored["storedAt"]
    _, _, refused = served.ask("GET", f"/api/v1/events/{bad['id']}/receipt")
    assert (refused["state"], refused["reason"]) == ("quarantined", "TYPE_MISMATCH")
    _, _, unknown = served.ask("GET", f"/api/v1/events/{uuid.uuid4()}/receipt")
    assert unknown["state"] == "unknown"


def test_a_metric_is_defined_and_asked_for_by_both_ways(served):
    served.send([event(price=20, country="DE"), event(price=22.5, country="DE"), event(price=1, country="GB")])
    served.settled()
    body = {"name": "revenue", "events": ["purchase"], "aggregation": "sum", "field": "attributes.price", "unit": "EUR"}
    status, headers, _ = served.ask("POST", "/api/v1/metric-definitions", body)
    assert status == 201 and headers["etag"] == '"1"'
    span = "timeRange[start]=2026-11-20T00:00:00Z&timeRange[end]=2026-11-21T00:00:00Z"
    status, headers, points = served.ask(
        "GET", f"/api/v1/metrics?names=revenue&dimensions=attributes.country&{span}&timeRange[interval]=1d"
    )
    assert status == 200, points
    assert {(p["dimensions"]["attributes.country"], p["value"]) for p in points} == {("DE", 42.5), ("GB", 1)}
    assert points[0]["metadata"]["unit"] == "EUR" and headers["headwater-tier"] == "raw"
    assert served.count("revenue") == 43.5


def test_a_schema_is_in_force_within_a_second_and_names_path_and_value(served):
    schema = {"type": "object", "required": ["price"], "properties": {"price": {"type": "number"}}}
    body = {"name": "purchase", "version": "1", "mode": "enforce", "jsonSchema": schema}
    assert served.ask("POST", "/api/v1/schemas", body)[0] == 201

    def refused():
        return served.send([event(price="abc")])[2]["results"]

    served.wait_for(refused)
    told = refused()[0]
    assert told["status"] == "quarantined"
    assert "$[0].data.attributes.price" in told["detail"] and "abc" in told["detail"]


def test_stopping_and_starting_again_changes_nothing(served):
    served.send([event() for _ in range(50)])
    assert served.stop() == 0
    served.start()
    totals = served.settled()
    assert (totals["received"], totals["stored"], totals["balanced"]) == (50, 50, True)
    assert served.count() == 50


def test_two_projects_never_see_each_other(served):
    made = served.cli("project", "create", "other", "--json")
    key = next(each["secret"] for each in made["keys"] if each["kind"] == "sk")
    one, two = event(secret="a"), event(secret="b")
    served.send([one])
    assert served.wait_for(lambda: served.send([two], key=key)[0] == 201)
    served.settled()
    served.wait_for(lambda: served.ask("GET", "/api/v1/events", key=key)[2]["items"])
    mine = served.ask("GET", "/api/v1/events")[2]["items"]
    theirs = served.ask("GET", "/api/v1/events", key=key)[2]["items"]
    assert [each["id"] for each in mine] == [one["id"]]
    assert [each["id"] for each in theirs] == [two["id"]]
    assert served.ask("GET", f"/api/v1/events/{one['id']}/receipt", key=key)[2]["state"] == "unknown"
    for wrong in ("other", "nobody"):
        status, _, problem = served.ask("GET", "/api/v1/events", headers={"X-Headwater-Project": wrong})
        assert (status, problem["code"]) == (403, "PROJECT_FORBIDDEN")


def test_nothing_is_answered_without_a_key_but_health_and_the_document(served):
    for path in ("/health/live", "/health/ready", "/openapi.json"):
        assert served.ask("GET", path, key=None)[0] == 200
    for method, path in (
        ("POST", "/api/v1/events"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/ledger"),
        ("POST", "/api/v1/query"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/keys"),
    ):
        status, _, problem = served.ask(method, path, key=None)
        assert (status, problem["code"]) == (401, "UNAUTHENTICATED"), path
    status, _, problem = served.ask("GET", "/api/v1/ledger", key="in")
    assert (status, problem["code"]) == (403, "SCOPE_MISSING")


def test_metrics_show_what_happened(served):
    served.send([event(), {"name": 7}])
    served.settled()
    _, _, text = served.ask("GET", "/metrics")
    shown = text.decode()
    for line in (
        "headwater_collect_accepted_events_total 1.0",
        'headwater_collect_quarantined_events_total{code="TYPE_MISMATCH"} 1.0',
        'headwater_process_outcome_events_total{outcome="stored",project="default"} 1.0',
        'headwater_ledger_balanced_info{project="default"} 1.0',
        'headwater_log_lag_events{project="default"} 0.0',
    ):
        assert line in shown, shown
    assert "headwater_memory_resident_bytes" in shown


def test_a_revoked_key_is_refused_within_a_second(served):
    made = served.ask("POST", "/api/v1/keys", {"name": "temp", "kind": "sk", "scopes": ["query"]})[2]
    assert served.count(key=made["secret"]) == 0
    assert served.ask("DELETE", f"/api/v1/keys/{made['id']}")[0] == 204
    served.wait_for(lambda: served.ask("GET", "/api/v1/settings", key=made["secret"])[0] == 401)


def test_ledger_command_exits_1_when_something_is_missing(served):
    served.send([event() for _ in range(10)])
    served.settled()
    assert served.stop() == 0
    assert served.run_cli("ledger").returncode == 0
    served.break_ledger()
    broken = served.run_cli("ledger")
    assert broken.returncode == 1 and "NO" in broken.stdout


def test_roles_apart_share_one_folder(tmp_path):
    collect = Served(tmp_path / "data", "--role", "collect")
    core = Served(tmp_path / "data", "--role", "process,api")
    with collect, core:
        status, _, answer = collect.send([event() for _ in range(20)])
        assert (status, answer["accepted"]) == (201, 20)
        core.wait_for(lambda: core.count() == 20)
        assert collect.ask("GET", "/api/v1/ledger")[0] == 404
        core.kill()
        assert collect.send([event()])[0] == 201, "the collector acknowledges while the core is away"
        core.start()
        core.wait_for(lambda: core.count() == 21)
        totals = core.settled()
        assert totals["balanced"] and totals["stored"] == 21


def test_a_second_process_on_the_folder_is_refused_by_name(served):
    refused = served.run_cli("serve", "--port", "0")
    assert refused.returncode == 1
    assert "ROLE_RUNNING" in refused.stderr and str(served.process.pid) in refused.stderr
