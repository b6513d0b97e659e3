"""From a bad event to a good one, by HTTP and by the command line."""

import json
import re
import uuid

import pytest

SCHEMA = {"name": "order", "jsonSchema": {"type": "object", "properties": {"price": {"type": "number"}}}}
CAST = ["--cast", "attributes.price=number"]


def order(price, **fields):
    return {"id": str(uuid.uuid4()), "name": "order", "data": {"attributes": {"price": price}}} | fields


@pytest.fixture
def broken(served):
    """A server with one event that a cast mends, and one that it does not."""
    assert served.ask("PUT", "/api/v1/schemas/order@1", SCHEMA)[0] in (200, 201)
    served.wait_for(lambda: served.send([order("probe", name="order")])[2]["quarantined"])
    served.ask("POST", "/api/v1/quarantine/replay", {"filter": {}})
    served.mended, served.bad = order("12.50"), order("a lot")
    assert served.send([served.mended, served.bad])[2]["quarantined"] == 2
    served.settled()
    return served


def test_what_is_wrong_is_marked_in_the_event(broken):
    _, _, one = broken.ask("GET", f"/api/v1/quarantine/{broken.mended['id']}")
    assert (one["state"], one["path"], one["value"]) == ("open", "$.data.attributes.price", "12.50")
    assert one["event"] == broken.mended
    _, _, groups = broken.ask("GET", "/api/v1/quarantine?groupBy=code&code=TYPE_MISMATCH&name=order")
    (group,) = groups["items"]
    assert group["count"] >= 2 and "expected number" in group["exampleDetail"]


def test_a_replay_by_http_is_tried_dry_and_then_done_once(broken):
    chosen = {"id": [broken.mended["id"], broken.bad["id"]]}
    body = {"filter": chosen, "patch": [{"op": "cast", "field": "attributes.price", "type": "number"}]}
    status, _, dry = broken.ask("POST", "/api/v1/quarantine/replay", body)
    assert (status, dry["selected"], dry["wouldStore"]) == (200, 2, 1)
    assert [each["code"] for each in dry["stillBad"]] == ["PATCH_FAILED"]
    again = {"Idempotency-Key": "once"}
    status, _, first = broken.ask("POST", "/api/v1/quarantine/replay", {**body, "dryRun": False}, headers=again)
    assert status == 202
    broken.wait_for(lambda: broken.ask("GET", f"/api/v1/jobs/{first['jobId']}")[2]["finishedAt"])
    _, _, receipt = broken.ask("GET", f"/api/v1/events/{broken.mended['id']}/receipt")
    assert receipt["state"] == "stored"
    assert [(each["state"], each["reason"]) for each in receipt["history"]] == [("quarantined", "TYPE_MISMATCH")]
    _, _, stored = broken.ask("GET", f"/api/v1/events/{broken.mended['id']}")
    assert stored["data"]["attributes"] == {"price": 12.5}
    _, _, was = broken.ask("GET", f"/api/v1/quarantine/{broken.mended['id']}")
    assert (was["state"], was["outcome"], was["replayedBy"]) == ("replayed", "stored", receipt["logOffset"])
    _, _, left = broken.ask("GET", f"/api/v1/quarantine/{broken.bad['id']}")
    assert left["state"] == "open"
    assert broken.settled()["balanced"]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"filter": {"cod": "A"}}, "UNKNOWN_FIELD", "did you mean 'code'?"),
        (
            {"filter": {}, "patch": [{"op": "drop", "field": "a"}, {"op": "cast", "field": "a"}]},
            "MISSING_FIELD",
            "$.patch[1]",
        ),
        (
            {"filter": {}, "patch": [{"op": "set", "field": "nmae", "value": 1}]},
            "UNKNOWN_FIELD",
            "did you mean 'name'?",
        ),
        ({"patch": []}, "MISSING_FIELD", "filter"),
    ],
)
def test_a_wrong_replay_is_refused_whole(shared, body, code, said):
    for dry in (True, False):
        status, _, problem = shared.ask("POST", "/api/v1/quarantine/replay", {**body, "dryRun": dry})
        assert (status, problem["code"]) == (400, code), problem
        assert said in problem["detail"]


def test_a_replay_needs_the_right_to_manage(shared):
    status, _, made = shared.ask("POST", "/api/v1/keys", {"name": "reader", "kind": "sk", "scopes": ["events:read"]})
    assert status == 201, made
    assert shared.ask("GET", "/api/v1/quarantine", key=made["secret"])[0] == 200
    status, _, problem = shared.ask("POST", "/api/v1/quarantine/replay", {"filter": {}}, key=made["secret"])
    assert (status, problem["code"]) == (403, "SCOPE_MISSING")


def test_the_command_says_what_it_would_do_and_what_it_did(broken, tmp_path):
    only = ["--id", broken.mended["id"], "--id", broken.bad["id"]]
    dry = broken.run_cli("quarantine", "replay", *only, *CAST)
    assert dry.returncode == 0, dry.stderr
    assert "2 selected: 1 would be stored" in dry.stdout and "nothing was done" in dry.stdout
    assert json.loads(broken.run_cli("quarantine", "replay", *only, *CAST, "--json").stdout)["wouldStore"] == 1
    done = broken.run_cli("quarantine", "replay", *only, *CAST, "--yes")
    assert done.returncode == 3, done.stderr
    assert "2 selected: 1 stored" in done.stdout and "'a lot' is no number" in done.stdout
    assert re.search(r"quarantined +(\d+) +(\d+) +-1", done.stdout) and "balanced: yes" in done.stdout
    (tmp_path / "patch.json").write_text('[{"op": "set", "field": "attributes.price", "value": 0}]')
    rest = broken.run_cli("quarantine", "replay", *only, "--patch", str(tmp_path / "patch.json"), "--yes", "--json")
    assert rest.returncode == 0, rest.stderr
    assert json.loads(rest.stdout)["job"]["result"]["stored"] == 1
    shown = broken.run_cli("quarantine", "show", broken.bad["id"]).stdout
    assert "replayed" in shown and "$.data.attributes.price" in shown
    listed = broken.run_cli("quarantine", "list", "--state", "replayed").stdout
    assert broken.bad["id"] in listed and broken.mended["id"] in listed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cast", "attributes.price"], "expected FIELD="),
        (["--cast", "attributes.price=int"], "expected one of boolean, integer"),
        (["--start", "yesterday"], "expected an RFC 3339 instant"),
        (["--seq", "0"], "0 is not in the range"),
    ],
)
def test_a_wrong_command_is_told_with_exit_code_2(shared, arguments, said):
    done = shared.run_cli("quarantine", "replay", *arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr and "Traceback" not in done.stderr
