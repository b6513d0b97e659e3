"""Declared shapes: what is a schema, what it finds, and that the quick way never lets a wrong event pass."""

from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain.errors import BadInput
from headwater.domain.schemas import Rules, parse_schema, rules_from
from headwater.domain.shapes import Strictness, decoder_of

PURCHASE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "price": {"type": "number", "minimum": 0},
        "count": {"type": "integer", "maximum": 100},
        "sku": {"type": "string", "minLength": 1, "maxLength": 8},
        "size": {"enum": ["s", "m", "l"]},
        "coupon": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "address": {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]},
        "odd key": {},
    },
    "required": ["price"],
}


def rules(**changed: Any) -> Rules:
    body = {"name": "purchase", "jsonSchema": PURCHASE, **changed}
    return rules_from([body], changed.pop("unknown_events", "allow"))


def found(attributes: Any, **changed: Any) -> list[tuple[str, str, str, bool]]:
    return [f[:4] for f in rules(**changed).check("purchase", "1", msgspec.json.encode(attributes))]


def test_a_right_event_has_no_findings() -> None:
    assert found({"price": 1, "count": 2, "sku": "a", "size": "m", "coupon": None, "tags": ["x"], "odd key": [1]}) == []


def test_an_integer_written_as_a_float_is_right() -> None:
    assert found({"price": 1.5, "count": 2.0}) == []


@pytest.mark.parametrize(
    ("attributes", "code", "path", "message"),
    [
        ({"price": "abc"}, "TYPE_MISMATCH", ".price", "expected number, got 'abc'"),
        ({}, "SCHEMA_MISSING_FIELD", ".price", "required, but missing"),
        ({"price": 1, "address": {}}, "SCHEMA_MISSING_FIELD", ".address.zip", "required, but missing"),
        ({"price": -1}, "SCHEMA_VIOLATION", ".price", "-1 is less than the minimum of 0"),
        ({"price": 1, "count": 1.5}, "TYPE_MISMATCH", ".count", "expected integer, got 1.5"),
        ({"price": 1, "tags": ["a", 5]}, "TYPE_MISMATCH", ".tags[1]", "expected string, got 5"),
        ({"price": 1, "size": "xl"}, "SCHEMA_VIOLATION", ".size", '"xl" is not one of "s", "m" or "l"'),
    ],
)
def test_a_wrong_event_is_told_with_path_and_value(attributes: Any, code: str, path: str, message: str) -> None:
    assert found(attributes) == [(code, path, message, True)]
    assert found(attributes, mode="warn") == [(code, path, message, False)]
    assert found(attributes, mode="off") == []


@pytest.mark.parametrize(("unknown", "quarantine"), [("warn", False), ("quarantine", True)])
def test_unknown_fields_are_allowed_told_or_quarantined(unknown: str, quarantine: bool) -> None:
    assert found({"price": 1, "extra": 1}, unknownFields="allow") == []
    expected = [("SCHEMA_UNKNOWN_FIELD", ".extra", "the schema names no such field", quarantine)]
    assert found({"price": 1, "extra": 1}, unknownFields=unknown) == expected


def test_mode_warn_quarantines_nothing() -> None:
    assert [f[3] for f in found({"extra": 1}, mode="warn", unknownFields="quarantine")] == [False, False]


@pytest.mark.parametrize(("setting", "told"), [("allow", []), ("warn", [False]), ("quarantine", [True])])
def test_events_without_a_schema_follow_the_setting_of_the_project(setting: str, told: list[bool]) -> None:
    checked = rules_from([{"name": "purchase", "jsonSchema": PURCHASE}], setting)
    assert [f.quarantine for f in checked.check("signup", "1", b"{}")] == told
    assert [f.quarantine for f in checked.check("purchase", "2", b"{}")] == told
    codes = {f.code for f in checked.check("signup", "1", b"{}") + checked.check("purchase", "2", b"{}")}
    assert codes == ({"UNKNOWN_EVENT", "UNKNOWN_VERSION"} if told else set())


def test_the_schema_is_chosen_by_name_and_version() -> None:
    second = {"name": "purchase", "version": 2, "jsonSchema": {"required": ["total"]}}
    checked = rules_from([{"name": "purchase", "jsonSchema": PURCHASE}, second])
    assert [f.path for f in checked.check("purchase", "1", b"{}")] == [".price"]
    assert [f.path for f in checked.check("purchase", "2", b"{}")] == [".total"]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "objekt"}, "$.jsonSchema.type"),
        ({"properties": {"a": {"minLength": -1}}}, "$.jsonSchema.properties.a.minLength"),
        ({"properties": {"a": {"pattern": "("}}}, "$.jsonSchema.properties.a.pattern"),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "$.jsonSchema.properties.a.pattern"),
        ({"properties": {"a": {"pattern": "a{1000}{1000}"}}}, "$.jsonSchema.properties.a.pattern"),
        ({"properties": {"a": {"pattern": "a" * 2000}}}, "$.jsonSchema.properties.a.pattern"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "$.jsonSchema.$ref"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "$.jsonSchema.properties.a.$ref"),
        ({"$ref": "#/nowhere"}, "$.jsonSchema"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "$.jsonSchema.$schema"),
        ({"description": "x" * 70_000}, "$.jsonSchema"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_path(schema: dict[str, Any], path: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_schema({"name": "a", "jsonSchema": schema})
    assert (raised.value.code, raised.value.path) == ("INVALID_SCHEMA", path)


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"name": ""}, "$.name"),
        ({"mode": "strict"}, "$.mode"),
        ({"unknownFields": "drop"}, "$.unknownFields"),
        ({"version": "a b"}, "$.version"),
        ({"jsonSchema": 5}, "$.jsonSchema"),
        ({"moed": "warn"}, "$"),
    ],
)
def test_the_frame_of_a_schema_is_checked(changed: dict[str, Any], path: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_schema({"name": "a", "jsonSchema": {}, **changed})
    assert raised.value.path == path


def test_a_pattern_that_backtracks_elsewhere_costs_nothing_here() -> None:
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    checked = Rules([parse_schema({"name": "x", "jsonSchema": schema})])
    assert [f.code for f in checked.check("x", "1", msgspec.json.encode({"a": "a" * 50_000 + "!"}))] == [
        "SCHEMA_VIOLATION"
    ]


LEAF_SCHEMAS = st.sampled_from(
    [
        {},
        True,
        {"type": "string", "maxLength": 2},
        {"type": "string", "minLength": 1.0},
        {"type": "integer", "minimum": 0, "exclusiveMaximum": 3},
        {"type": "number", "maximum": 1.5},
        {"type": "number", "exclusiveMinimum": 0, "minimum": 1},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", "b"]},
        {"enum": ["a", 1]},
        {"type": ["string", "null"], "maxLength": 1},
        {"type": ["integer", "number"]},
        {"type": "string", "format": "date"},
        {"const": 1},
    ]
)
NAMES = st.sampled_from(["a", "b", 'odd "key"', "ä", ""])
SCHEMAS = st.recursive(
    LEAF_SCHEMAS,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)},
            optional={"required": st.lists(NAMES, max_size=2, unique=True), "additionalProperties": st.booleans()},
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(0, 2)}),
    ),
    max_leaves=6,
)
ROOTS = st.fixed_dictionaries(
    {"properties": st.dictionaries(NAMES, SCHEMAS, max_size=3)},
    optional={"required": st.lists(NAMES, max_size=2, unique=True), "additionalProperties": st.booleans()},
)
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 1, -1, 2, 3, 1.0, 1.5, 0.5, "", "a", "b", "ab", "abc", "ä", 2**70, "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(ROOTS, st.dictionaries(NAMES, VALUES, max_size=4), st.sampled_from(list(Strictness)))
def test_what_the_quick_way_accepts_the_schema_accepts(
    schema: dict[str, Any], value: dict[str, Any], strictness: Strictness
) -> None:
    decoder = decoder_of(schema, strictness)
    if decoder is None:
        return
    try:
        decoder.decode(msgspec.json.encode(value))
    except msgspec.ValidationError:
        return
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(value)
    if strictness is Strictness.NAMED_FIELDS:
        assert value.keys() <= schema["properties"].keys()


def test_a_plain_schema_goes_the_quick_way() -> None:
    assert decoder_of(PURCHASE, Strictness.ANY_FIELD) is not None
    assert decoder_of({"properties": {"a": {"type": "string", "pattern": "x"}}}, Strictness.ANY_FIELD) is None
