"""Schemas that grow: made from stored events, checked, declared, changed, all from the outside."""

import json
import time

import pytest

INFER, CHECK = "/api/v1/schemas/infer", "/api/v1/schemas/check"


def bought(number, **attributes):
    fixed = {"price": number / 4, "currency": ("EUR", "USD", "GBP")[number % 3], "item": {"sku": f"s{number}"}}
    return {"name": "bought", "data": {"attributes": fixed | attributes}}


@pytest.fixture(scope="module")
def filled(shared):
    status, _, answer = shared.send([bought(number) for number in range(60)])
    assert (status, answer["accepted"]) == (201, 60), answer
    shared.settled()
    return shared


def infer(served, **asked):
    return served.ask("POST", INFER, {"name": "bought", **asked})


def check(served, document, **more):
    status, _, answer = served.ask("POST", CHECK, {**document, **more})
    assert status == 200, answer
    return answer


def test_what_is_inferred_is_checked_and_declared_as_it_is(filled):
    status, _, found = infer(filled)
    assert status == 200
    document = found["schema"]
    assert document == {
        "name": "bought",
        "version": "1",
        "mode": "warn",
        "unknownFields": "allow",
        "jsonSchema": {
            "type": "object",
            "required": ["price", "currency", "item"],
            "properties": {
                "price": {"type": "number"},
                "currency": {"type": "string", "enum": ["EUR", "GBP", "USD"]},
                "item": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}},
            },
        },
    }
    evidence = found["evidence"]
    assert (evidence["events"], evidence["truncated"], evidence["limits"]) == (60, False, [])
    assert [each["path"] for each in evidence["paths"]][-1] == "attributes.item.sku"
    answer = check(filled, document)
    told = {name: answer[name] for name in ("compatible", "comparedWith", "changes", "checked", "wouldFail")}
    assert told == {"compatible": True, "comparedWith": None, "changes": [], "checked": 60, "wouldFail": 0}
    assert filled.ask("POST", "/api/v1/schemas", document)[0] == 201
    narrow = json.loads(json.dumps(document).replace('"GBP", ', ""))
    answer = check(filled, narrow)
    assert not answer["compatible"] and answer["comparedWith"]["objectVersion"] == 1
    assert [(each["path"], each["change"], each["breaking"]) for each in answer["changes"]] == [
        ("attributes.currency", "enumNarrowed", True)
    ]
    (failure,) = answer["failures"]
    assert (answer["wouldFail"], failure["count"], failure["code"]) == (20, 20, "SCHEMA_VIOLATION")
    assert failure["example"]["value"] == "GBP"
    assert filled.ask("GET", f"/api/v1/events/{failure['example']['id']}")[2]["data"]["attributes"]["currency"] == "GBP"
    assert check(filled, narrow, version="2")["eventVersion"] is None, "no event of version 2 yet: all are tried"


def test_a_looser_schema_tells_how_many_in_quarantine_it_would_let_in(filled):
    strict = {"name": "strict", "jsonSchema": {"properties": {"n": {"type": "integer"}}}}
    assert filled.ask("POST", "/api/v1/schemas", strict)[0] == 201

    def refused():
        event = {"name": "strict", "data": {"attributes": {"n": "5"}}}
        return filled.send([event, event])[2]["quarantined"] == 2

    filled.wait_for(refused)
    filled.settled()
    loose = {**strict, "jsonSchema": {"properties": {"n": {"type": ["integer", "string"]}}}}
    answer = check(filled, loose)
    assert answer["compatible"] and answer["wouldRescue"] == 2
    assert check(filled, strict)["wouldRescue"] == 0


def test_one_number_beyond_numbers_does_not_sink_its_batch(filled):
    declared = {"name": "huge", "jsonSchema": {"properties": {"n": {"type": "number"}}}}
    assert filled.ask("POST", "/api/v1/schemas", declared)[0] == 201
    body = b'[{"name": "huge", "data": {"attributes": {"n": 1e999}}}, {"name": "huge"}]'

    def judged():
        status, _, answer = filled.send(body)
        assert status == 201, answer
        return answer["quarantined"] == 1 and answer["accepted"] == 1

    filled.wait_for(judged)


def test_history_tells_what_each_change_changed(filled):
    at = "/api/v1/schemas/moved@1"
    documents = [
        {"name": "moved", "jsonSchema": {"properties": {"n": {"type": kind}}}}
        for kind in ("number", "integer", "string")
    ]
    for document in documents:
        assert filled.ask("PUT", at, document)[0] in (200, 201)
    assert filled.ask("PUT", "/api/v1/schemas/moved@2", {**documents[0], "version": "2"})[0] == 201
    assert filled.ask("PUT", "/api/v1/schemas/moved@x@1", {**documents[0], "name": "moved@x"})[0] == 201

    def history(**asked):
        query = "&".join(f"{name}={value}" for name, value in {"name": "moved", **asked}.items())
        status, _, found = filled.ask("GET", f"/api/v1/schemas/history?{query}")
        return found if status == 200 else status

    items = history()["items"]
    told = [(i["version"], i["objectVersion"], i["inForce"], i["compatible"], len(i["changes"])) for i in items]
    assert told == [
        ("2", 1, True, True, 0),
        ("1", 3, True, False, 1),
        ("1", 2, False, False, 1),
        ("1", 1, False, True, 0),
    ]
    assert items[1]["changes"][0]["detail"] == "integer → string"
    assert items[2]["schema"]["jsonSchema"] == documents[1]["jsonSchema"]
    first = history(limit=3)
    assert first["items"] + history(limit=3, cursor=first["nextCursor"])["items"] == items
    assert filled.ask("DELETE", at)[0] == 204
    assert [i["inForce"] for i in history(version=1)["items"]] == [False] * 3, "what was removed is still told"
    assert len(history()["items"]) == 1
    assert history(name="never") == history(version=9) == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (INFER, {"name": "never"}, 404, "NO_EVENTS"),
        (INFER, {"name": "bought", "version": 9}, 404, "NO_EVENTS"),
        (INFER, {"name": "bought", "timeRange": {"last": "1d", "offset": "1y"}}, 404, "NO_EVENTS"),
        (INFER, {"name": "bought", "timeRange": {"start": "2026-01-01T00:00:00Z"}}, 400, "MISSING_FIELD"),
        (INFER, {"name": "bought", "timeRange": {"last": "1d", "interval": "1h"}}, 400, "UNKNOWN_FIELD"),
        (INFER, {"name": "bought", "limit": 100_001}, 400, "INVALID_LIMIT"),
        (INFER, {"name": "bought", "limit": 0}, 400, "INVALID_LIMIT"),
        (INFER, {"name": "bought", "limt": 5}, 400, "UNKNOWN_FIELD"),
        (INFER, {}, 400, "MISSING_FIELD"),
        (INFER, [], 400, "TYPE_MISMATCH"),
        (CHECK, {"name": "bought", "jsonSchema": {"type": "objekt"}}, 400, "INVALID_SCHEMA"),
        (CHECK, {"name": "bought", "jsonSchema": {"$ref": "http://127.0.0.1:1/"}}, 400, "INVALID_SCHEMA"),
        (CHECK, {"name": "bought", "jsonSchema": {}, "lastEvents": 100_001}, 400, "INVALID_LIMIT"),
        (CHECK, {"name": "bought", "jsonSchema": {}, "lastEvent": 1}, 400, "UNKNOWN_FIELD"),
    ],
)
def test_what_can_t_be_done_is_a_problem_with_its_code(filled, path, body, status, code):
    answered, _, problem = filled.ask("POST", path, body)
    assert (answered, problem["code"]) == (status, code), problem


def test_reading_stops_at_its_limit_and_says_so(filled):
    found = infer(filled, limit=20)[2]["evidence"]
    assert (found["events"], found["truncated"], found["limits"]) == (20, True, ["events"])
    assert check(filled, {"name": "bought", "jsonSchema": {}}, lastEvents=7)["checked"] == 7
    assert check(filled, {"name": "bought", "jsonSchema": {}}, lastEvents=0)["checked"] == 0


def test_attributes_with_any_name_and_thousands_of_them(filled):
    names = {"a.b": 1, 'say "hi"': 2, "🎈": 3, "": 4, "$ref": 5, "x" * 300: 6}
    events = [{"name": "odd", "data": {"attributes": names | {f"k{n}_{m}": m for m in range(500)}}} for n in range(10)]
    assert filled.send(events)[0] == 201
    filled.settled()
    status, _, found = filled.ask("POST", INFER, {"name": "odd"})
    assert status == 200
    assert {"fields", "keyCharacters", "properties"} <= set(found["evidence"]["limits"])
    paths = {each["path"] for each in found["evidence"]["paths"]}
    assert {"attributes.a\\.b", 'attributes.say "hi"', "attributes.🎈", "attributes.", "attributes.$ref"} <= paths
    answer = check(filled, {**found["schema"], "mode": "enforce"})
    assert (answer["checked"], answer["wouldFail"]) == (10, 0)
    assert filled.ask("POST", "/api/v1/schemas", found["schema"])[0] == 201


def test_reading_events_asks_for_the_scope_of_events(filled):
    made = filled.ask("POST", "/api/v1/keys", {"name": "manager", "scopes": ["manage"]})[2]
    for path in (INFER, CHECK):
        status, _, problem = filled.ask("POST", path, {"name": "bought"}, key=made["secret"])
        assert (status, problem["code"]) == (403, "SCOPE_MISSING")


def test_commands_infer_check_put_and_history(filled, tmp_path):
    file = str(tmp_path / "document.json")
    done = filled.run_cli("schema", "infer", "bought", "--output", file)
    assert done.returncode == 0, done.stderr
    assert "one of EUR, GBP, USD" in done.stdout and "60 events bought of version 1" in done.stdout
    assert filled.run_cli("schema", "check", file, "--version", "cli").returncode == 0
    done = filled.run_cli("schema", "put", "bought", file, "--version", "cli")
    assert done.stdout == "schema bought version cli is in force (warn)\n"
    document = json.loads((tmp_path / "document.json").read_text())
    document["jsonSchema"]["required"].append("vat")
    (tmp_path / "document.json").write_text(json.dumps(document))
    done = filled.run_cli("schema", "check", file, "--version", "cli")
    assert done.returncode == 1
    assert "requiredAdded" in done.stdout and "60 would fail" in done.stdout and "compatible: NO" in done.stdout
    assert filled.run_cli("schema", "put", "bought", file, "--version", "cli").returncode == 0
    done = filled.run_cli("schema", "history", "bought", "--version", "cli")
    assert done.returncode == 0
    assert "requiredAdded" in done.stdout and "declared" in done.stdout
    assert json.loads(filled.run_cli("schema", "history", "bought", "--json").stdout)["items"]
    bare = str(tmp_path / "bare.json")
    (tmp_path / "bare.json").write_text(json.dumps(document["jsonSchema"]))
    done = filled.run_cli("schema", "check", bare)
    assert done.returncode == 2 and "--name" in done.stderr
    done = filled.run_cli("schema", "check", bare, "--name", "bought", "--json")
    assert (done.returncode, json.loads(done.stdout)["wouldFail"]) == (1, 60)
    assert filled.run_cli("schema", "put", "other", file).returncode == 2, "a document keeps its name"
    done = filled.run_cli("schema", "infer", "never")
    assert done.returncode == 1 and "NO_EVENTS" in done.stderr


@pytest.mark.slow
def test_ten_thousand_events_are_inferred_from_and_checked_in_a_second_each(served):
    for batch in range(4):
        assert served.send([bought(batch * 2500 + number) for number in range(2500)])[0] == 201
    served.settled()
    document = infer(served)[2]["schema"]
    for work in (lambda: infer(served), lambda: check(served, document)):
        seconds = []
        for _ in range(5):
            begin = time.monotonic()
            work()
            seconds.append(time.monotonic() - begin)
        assert min(seconds) < 1, seconds
