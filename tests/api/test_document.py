"""What describes the service: /openapi.json and /metrics."""

import json
import re
import urllib.request

import jsonschema_rs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from headwater.api.openapi import document
from headwater.api.routes import ROUTES

DOCUMENT = json.loads(document())
OPERATIONS = [
    (path, method, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def references(part):
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_the_document_is_served_as_it_is_in_the_repository(shared):
    with urllib.request.urlopen(f"{shared.address}/openapi.json") as answer:
        assert answer.read() == document()


def test_every_route_is_in_the_document_with_its_scope():
    described = {(path, method.upper()) for path, method, _ in OPERATIONS}
    for handler in ROUTES:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", next(iter(handler.paths)))
        for method in handler.http_methods:
            assert (path, method) in described
            security = DOCUMENT["paths"][path][method.lower()].get("security", [])
            scopes = [scope for each in security for scope in each["key"]]
            assert scopes == ([handler.opt["needs"]] if "needs" in handler.opt else [])


def test_all_its_references_lead_somewhere_and_all_its_schemas_are_schemas():
    for reference in references(DOCUMENT):
        found = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate(schema)
        assert schema.get("type") == "object" or "enum" in schema, name


def test_operations_have_ids_of_their_own_summaries_and_their_path_parameters():
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    for path, _, operation in OPERATIONS:
        assert (operation["summary"] and operation["responses"]["default"]) or path.startswith("/health")
        named = {each["name"] for each in operation.get("parameters", []) if each.get("in") == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))


BODIES = [(path, method, operation) for path, method, operation in OPERATIONS if "requestBody" in operation]


@pytest.mark.parametrize(("path", "method", "operation"), BODIES, ids=[f"{m} {p}" for p, m, _ in BODIES])
def test_the_example_of_a_body_is_right(path, method, operation):
    (content,) = operation["requestBody"]["content"].values()
    whole = {"components": DOCUMENT["components"], **content["schema"]}
    jsonschema_rs.validator_for(whole).validate(content["example"])


def test_every_post_and_put_says_what_it_takes():
    """But for work on the whole that takes no word."""
    assert [
        (path, method) for path, method, op in OPERATIONS if method in ("post", "put") and "requestBody" not in op
    ] == [("/api/v1/doctor", "post"), ("/api/v1/warehouse/reclaim", "post")]


def test_gauges_are_read_by_prometheus_own_parser(shared):
    shared.send([{"name": "a"}])
    with urllib.request.urlopen(authorised(shared, "/metrics")) as answer:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    assert families["headwater_collect_accepted_events"].type == "counter"
    assert families["headwater_collect_accepted_events"].samples[0].value >= 1
    assert families["headwater_http_request_seconds"].type == "histogram"
    assert all(family.documentation.endswith(".") for family in families.values())


def test_the_reference_page_names_every_route():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()
    for path, method, _ in OPERATIONS:
        assert f"| {method.upper()} | `{path}` |" in page


def authorised(shared, path):
    return urllib.request.Request(shared.address + path, headers={"Authorization": f"Bearer {shared.keys['sk']}"})
