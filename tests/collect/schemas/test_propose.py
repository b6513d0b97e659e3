"""Schemas made from events: what is said and what is not, and that every event passes that was learned from."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.collect.schemas.learn import learn
from headwater.collect.schemas.propose import Proposal, propose
from headwater.collect.schemas.samples import Sample
from headwater.domain.schemas import SCHEMA_BYTES_MAX, Rules
from headwater.domain.shapes import Strictness, decoder_of


def samples(*attributes: Any, version: str = "1") -> list[Sample]:
    return [
        Sample(str(number), number, version, each if isinstance(each, bytes) else msgspec.json.encode(each))
        for number, each in enumerate(attributes)
    ]


def proposed(*attributes: Any) -> Proposal:
    return propose("a", learn(samples(*attributes)).versions[0])


def said(*attributes: Any) -> dict[str, Any]:
    """The schema of the attribute `x`, where ten events carry these values in turn."""
    values = [{"x": attributes[number % len(attributes)]} for number in range(max(10, len(attributes)))]
    return proposed(*values).schema.json_schema["properties"]["x"]  # type: ignore[no-any-return]


KEYS = st.sampled_from(["a", "b", "a.b", 'say "x"', "🎈", "", "$ref", "$id", "pattern", "type", "required"]) | st.text(
    max_size=4
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.just(10**400),
    st.text(max_size=5),
    st.sampled_from(["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01t00:00:60z", "1.2.3.4", "::1", "a@b", "a://"]),
    st.uuids().map(str),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
EVENTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=1, max_size=8)


@settings(deadline=None)
@given(EVENTS, st.sampled_from([1, 2, 30]))
def test_every_event_passes_that_was_learned_from(events: list[dict[str, Any]], times: int) -> None:
    given_ = samples(*(events * times))
    schema = propose("a", learn(given_).versions[0]).schema
    rules = Rules([msgspec.structs.replace(schema, mode="enforce")])
    assert [rules.check("a", "1", each.attributes) for each in given_] == [[]] * len(given_)


@pytest.mark.parametrize(
    ("values", "schema"),
    [
        ([1, 2], {"type": "integer"}),
        ([1, 2.5], {"type": "number"}),
        ([1, "b c"], {"type": ["string", "integer"]}),
        ([1.5, "b c", None, True], {"type": ["string", "number", "boolean", "null"]}),
        ([None], {}),
        ([[]], {"type": "array"}),
        ([[1, "a"], [None]], {"type": "array", "items": {"type": ["string", "integer", "null"]}}),
        ([[None]], {"type": "array"}),
        ([{"y": 1}], {"type": "object", "properties": {"y": {"type": "integer"}}, "required": ["y"]}),
        ([{"y": 1}, {}], {"type": "object", "properties": {"y": {"type": "integer"}}}),
        (["2026-01-01T10:00:00Z", "2026-01-02T10:00:00+01:00"], {"type": "string", "format": "date-time"}),
        (["2026-01-01"], {"type": "string", "format": "date"}),
        (["2026-01-01", "2026-13-01"], {"type": "string"}),
        (["ann@example.com", None], {"type": ["string", "null"]}),
        (["ann@example.com"], {"type": "string", "format": "email"}),
        (["https://example.com/a?b=1"], {"type": "string", "format": "uri"}),
        (["note:x", "urn:x"], {"type": "string"}),
        (["192.0.2.1"], {"type": "string", "format": "ipv4"}),
        (["::1", "2001:db8::1"], {"type": "string", "format": "ipv6"}),
        (["0192f7a0-4d5e-7abc-8def-0123456789ab"], {"type": "string", "format": "uuid"}),
        (["2026-01-01", "::1"], {"type": "string"}),
    ],
)
def test_types_formats_and_what_is_inside_are_said(values: list[Any], schema: dict[str, Any]) -> None:
    assert said(*values) == schema


def test_few_texts_that_come_again_and_again_are_an_enum_and_others_are_not() -> None:
    assert said(*["m", "s"] * 10) == {"type": "string", "enum": ["m", "s"]}
    assert said(*["m", "s", None] * 10) == {"type": ["string", "null"], "enum": ["m", "s", None]}
    assert said(*["m", "s"] * 9) == {"type": "string"}, "too few"
    assert said(*["m", "s"] * 50, "l") == {"type": "string"}, "one came but once: there will be more"
    assert said(*["m"] * 50) == {"type": "string"}, "a constant says nothing of what else there may be"
    assert said(*[f"v{number % 21}" for number in range(2100)]) == {"type": "string"}
    assert said(*["m", "s", 5] * 30) == {"type": ["string", "integer"]}
    assert said(*["m" * 101, "s"] * 30) == {"type": "string"}
    assert said(*["2026-01-01", "2026-01-02"] * 30) == {"type": "string", "format": "date"}


def test_a_field_is_required_where_enough_events_all_have_it() -> None:
    assert proposed(*[{"x": 1}] * 10).schema.json_schema["required"] == ["x"]
    assert "required" not in proposed(*[{"x": 1}] * 9).schema.json_schema
    assert "required" not in proposed(*[{"x": 1}] * 100, {}).schema.json_schema
    assert proposed(*[{"x": None}] * 10).schema.json_schema == {
        "type": "object",
        "properties": {"x": {}},
        "required": ["x"],
    }


def test_the_proposal_refuses_nothing_and_can_be_declared_as_it_is() -> None:
    schema = proposed({"x": 1}).schema
    assert (schema.name, schema.version, schema.mode, schema.unknown_fields) == ("a", "1", "warn", "allow")


def seen(path: str, present: int, of: int, types: dict[str, int], required: bool, **more: Any) -> dict[str, Any]:
    """Evidence as it goes out."""
    fixed = {"path": f"attributes.{path}", "present": present, "of": of, "types": types, "required": required}
    return fixed | more


def test_the_evidence_counts_what_was_seen_at_each_path() -> None:
    found = proposed(
        *[{"price": 5, "size": "m", "items": [{"sku": "ab"}, {"sku": "a.b"}], "a.b": {"🎈": None}}] * 15,
        *[{"price": 2.5, "size": "s"}] * 15,
    )
    told = [msgspec.to_builtins(each) for each in found.paths]
    assert told == [
        seen("price", 30, 30, {"integer": 15, "number": 15}, True, minimum=2.5, maximum=5),
        seen("size", 30, 30, {"string": 30}, True, distinct=2, enum=["m", "s"], lengthMax=1),
        seen("items", 15, 30, {"array": 15}, False),
        seen("items[]", 30, 30, {"object": 30}, False),
        seen("items[].sku", 30, 30, {"string": 30}, True, distinct=2, enum=["a.b", "ab"], lengthMax=3),
        seen("a\\.b", 15, 30, {"object": 15}, False),
        seen("a\\.b.🎈", 15, 15, {"null": 15}, True),
    ]


def test_versions_are_learned_apart_and_the_most_frequent_comes_first() -> None:
    lesson = learn([*samples({"x": 1}), *samples({"x": "a"}, {"x": "b"}, version="2")])
    assert [(each.version, each.events) for each in lesson.versions] == [("2", 2), ("1", 1)]
    assert propose("a", lesson.versions[0]).schema.json_schema["properties"] == {"x": {"type": "string"}}
    lesson = learn([Sample("", 0, str(number), b"{}") for number in range(30)])
    assert (len(lesson.versions), lesson.reached) == (20, {"versions"})


def test_an_event_with_a_number_beyond_numbers_is_told_and_not_learned_from() -> None:
    lesson = learn(samples(b'{"x": 1e999}', {"x": 1}))
    assert (lesson.unreadable, lesson.versions[0].events) == (1, 1)


def test_thousands_of_keys_are_bounded_said_and_still_accepted() -> None:
    events = [{"always": "x", f"key{number}": number, "map": {f"id{number}": {"n": 1}}} for number in range(5000)]
    lesson = learn(samples(*events))
    found = propose("a", lesson.versions[0])
    assert "fields" in lesson.reached and found.fields_left_out
    assert found.schema.json_schema["required"] == ["always", "map"]
    assert list(found.schema.json_schema["properties"]) == ["always", "map"], "what is in one event of 5,000 is no rule"
    rules = Rules([msgspec.structs.replace(found.schema, mode="enforce")])
    assert not any(rules.check("a", "1", each.attributes) for each in samples(*events))


def test_a_proposal_is_always_small_enough_to_be_declared() -> None:
    event = {f"{'k' * 240}{number}": {"inside": number} for number in range(400)}
    found = proposed(*[event] * 10)
    size = len(msgspec.json.encode(found.schema.json_schema))
    assert 1000 < size <= SCHEMA_BYTES_MAX
    assert found.fields_left_out and len(found.paths) < 400


def test_deep_wide_and_long_values_are_looked_into_so_far_and_no_further() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = {"x": deep}
    lesson = learn(samples(*[{"deep": deep, "long": list(range(1000)) + ["text"] * 500, "y" * 300: 1}] * 10))
    assert lesson.reached == {"levels", "elements", "keyCharacters"}
    document = propose("a", lesson.versions[0]).schema.json_schema
    assert document["properties"]["long"] == {"type": "array"}
    assert decoder_of(document, Strictness.ANY_FIELD) is not None, "it can be compiled"


def test_ten_thousand_events_are_learned_from_in_a_second() -> None:
    event = {"price": 9.5, "currency": "EUR", "sku": "", "qty": 3, "url": "https://shop.example/p/1", "ok": True}
    event |= {"at": "2026-01-01T00:00:00Z", "items": [{"id": 1, "price": 1.5}], "user": {"id": 5, "plan": "pro"}}
    given_ = samples(*[event | {"sku": f"sku-{number}", "price": number / 7} for number in range(10_000)])
    seconds = []
    for _ in range(3):
        begin = time.thread_time()
        propose("a", learn(given_).versions[0])
        seconds.append(time.thread_time() - begin)
    assert min(seconds) < 0.5, seconds
