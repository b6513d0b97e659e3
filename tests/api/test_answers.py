"""What the document says of answers is what is answered."""

import json

import jsonschema_rs
import pytest

from headwater.api.openapi import document

DOCUMENT = json.loads(document())
A_METRIC = {"name": "answered", "events": ["purchase"], "aggregation": "sum", "field": "attributes.price"}
A_SCHEMA = {"name": "answered", "version": "1", "jsonSchema": {"type": "object"}}
AN_ID = "018f4a7e-0000-7000-8000-00000000000a"
EVENTS = [
    {"id": AN_ID, "name": "purchase", "data": {"attributes": {"price": 3}}},
    {"name": "purchase", "data": {"metadata": {"sessionId": "s"}}, "colour": "red"},
    {"name": 7, "id": AN_ID[:-1] + "b"},
]

CALLS = [
    ("GET", "/health/live", "/health/live", None),
    ("GET", "/health/ready", "/health/ready", None),
    ("GET", "/openapi.json", "/openapi.json", None),
    ("POST", "/api/v1/events", "/api/v1/events", EVENTS),
    ("POST", "/api/v1/events", "/api/v1/events?ack=buffered", EVENTS[:2]),
    ("GET", "/api/v1/events", "/api/v1/events", None),
    ("GET", "/api/v1/events/{event_id}", f"/api/v1/events/{AN_ID}", None),
    ("GET", "/api/v1/events/{event_id}/receipt", f"/api/v1/events/{AN_ID}/receipt", None),
    ("GET", "/api/v1/events/{event_id}/receipt", f"/api/v1/events/{AN_ID[:-1]}b/receipt", None),
    ("GET", "/api/v1/events/{event_id}/receipt", f"/api/v1/events/{AN_ID[:-1]}c/receipt", None),
    ("GET", "/api/v1/quarantine", "/api/v1/quarantine", None),
    ("GET", "/api/v1/quarantine", "/api/v1/quarantine?groupBy=code,source", None),
    ("GET", "/api/v1/quarantine/{item}", f"/api/v1/quarantine/{AN_ID[:-1]}b", None),
    ("POST", "/api/v1/quarantine/replay", "/api/v1/quarantine/replay", {"filter": {}, "patch": []}),
    ("POST", "/api/v1/quarantine/replay", "/api/v1/quarantine/replay", {"filter": {}, "dryRun": False}),
    ("GET", "/api/v1/ledger", "/api/v1/ledger", None),
    ("POST", "/api/v1/query", "/api/v1/query", {"metrics": ["events"], "timeRange": {"last": "1d", "interval": "1h"}}),
    ("GET", "/api/v1/metrics", "/api/v1/metrics?names=events&timeRange[last]=1d", None),
    ("GET", "/api/v1/metric-definitions", "/api/v1/metric-definitions", None),
    ("GET", "/api/v1/metric-definitions/{metric}", "/api/v1/metric-definitions/events", None),
    ("PUT", "/api/v1/metric-definitions/{metric}", "/api/v1/metric-definitions/answered", A_METRIC),
    ("PUT", "/api/v1/metric-definitions/{metric}", "/api/v1/metric-definitions/answered", A_METRIC),
    ("POST", "/api/v1/metric-definitions", "/api/v1/metric-definitions", {**A_METRIC, "name": "made"}),
    ("PUT", "/api/v1/schemas/{schema}", "/api/v1/schemas/answered@1", A_SCHEMA),
    ("PUT", "/api/v1/schemas/{schema}", "/api/v1/schemas/answered@1", {**A_SCHEMA, "mode": "warn"}),
    ("POST", "/api/v1/schemas", "/api/v1/schemas", {**A_SCHEMA, "version": "2"}),
    ("GET", "/api/v1/schemas", "/api/v1/schemas", None),
    ("GET", "/api/v1/schemas/{schema}", "/api/v1/schemas/answered@1", None),
    ("GET", "/api/v1/projects", "/api/v1/projects", None),
    ("GET", "/api/v1/settings", "/api/v1/settings", None),
    ("PUT", "/api/v1/settings", "/api/v1/settings", {"retention": "forever"}),
    ("POST", "/api/v1/keys", "/api/v1/keys", {"name": "answered", "kind": "in"}),
    ("POST", "/api/v1/keys", "/api/v1/keys", {"name": "secret", "expiresAt": "2099-01-01T00:00:00Z"}),
    ("GET", "/api/v1/keys", "/api/v1/keys", None),
    ("DELETE", "/api/v1/keys/{key}", "/api/v1/keys/answered", None),
    ("DELETE", "/api/v1/schemas/{schema}", "/api/v1/schemas/answered@2", None),
    ("DELETE", "/api/v1/metric-definitions/{metric}", "/api/v1/metric-definitions/made", None),
    ("GET", "/api/v1/lake", "/api/v1/lake", None),
    ("GET", "/api/v1/lake/count", "/api/v1/lake/count?by=day,source", None),
    ("POST", "/api/v1/lake/compact", "/api/v1/lake/compact", {"dryRun": True}),
    ("POST", "/api/v1/lake/compact", "/api/v1/lake/compact", {"dryRun": False}),
    ("POST", "/api/v1/lake/expire", "/api/v1/lake/expire", {}),
    ("POST", "/api/v1/lake/vacuum", "/api/v1/lake/vacuum", {"olderThanDays": 0}),
    ("GET", "/api/v1/pipeline", "/api/v1/pipeline", None),
    ("GET", "/api/v1/doctor", "/api/v1/doctor", None),
    ("POST", "/api/v1/doctor", "/api/v1/doctor", None),
    ("POST", "/api/v1/warehouse/rebuild", "/api/v1/warehouse/rebuild", {"force": False}),
    ("GET", "/api/v1/jobs", "/api/v1/jobs", None),
    ("GET", "/api/v1/jobs", "/api/v1/nowhere", None),
]


def closed(part):
    """With no fields but those that are named: what is answered and not said is a fault here."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    more = {"additionalProperties": False} if "properties" in part and "additionalProperties" not in part else {}
    return {name: closed(each) for name, each in part.items()} | more


COMPONENTS = {"schemas": closed(DOCUMENT["components"]["schemas"])}


def answer_schema(method, path, status):
    """The JSON schema of an answer; None where it has no body."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    described = responses.get(str(status), responses["default"])
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    if "content" not in described:
        return None
    (content,) = described["content"].values()
    return {"components": COMPONENTS, **content["schema"]}


def test_answers_are_of_the_types_that_the_document_gives_them(shared):
    for method, path, address, body in CALLS:
        if method == "GET" and path.startswith("/api/v1/events"):
            shared.settled()
        status, _, answer = shared.ask(method, address, body)
        assert status < 300 or "nowhere" in address, (method, address, answer)
        schema = answer_schema(method, path, status)
        if schema is None:
            assert answer == b"", (method, address)
            continue
        wrong = [
            f"{each.instance_path} {each.message}" for each in jsonschema_rs.validator_for(schema).iter_errors(answer)
        ]
        assert not wrong, (method, address, wrong)


def test_the_answer_that_makes_a_project_is_of_its_type(shared):
    made = shared.cli("project", "create", "answers", "--json")
    schema = answer_schema("POST", "/api/v1/projects", 201)
    jsonschema_rs.validator_for(schema).validate(made)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        (path, method, status)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        for status in operation["responses"]
        if status != "default"
    ],
)
def test_every_answer_has_a_type(path, method, status):
    schema = answer_schema(method, path, status)
    assert schema is None or len(schema) > 1, (path, method)
