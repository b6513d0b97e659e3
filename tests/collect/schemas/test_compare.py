"""One schema against another: which changes are told, and that what is called compatible is."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.collect.schemas.compare import changes_between
from headwater.domain.schemas import Schema


def changes(old: Any, new: Any, **frame: Any) -> list[tuple[str, str, bool]]:
    before, after = Schema("a", old), Schema("a", new, **frame)
    return [(each.path, each.change, each.breaking) for each in changes_between(before, after)]


def of_x(old: Any, new: Any) -> list[tuple[str, bool]]:
    """Changes of one field from `old` to `new`."""
    found = changes({"properties": {"x": old}}, {"properties": {"x": new}})
    assert {path for path, _, _ in found} <= {"attributes.x"}
    return [(change, breaking) for _, change, breaking in found]


@pytest.mark.parametrize(
    ("old", "new", "change", "breaking"),
    [
        ({"type": "integer"}, {"type": "number"}, "typeWidened", False),
        ({"type": "number"}, {"type": "integer"}, "typeNarrowed", True),
        ({"type": "string"}, {"type": ["string", "null"]}, "typeWidened", False),
        ({"type": ["string", "null"]}, {"type": "string"}, "typeNarrowed", True),
        ({"type": "string"}, {"type": "integer"}, "typeNarrowed", True),
        ({}, {"type": "string"}, "typeNarrowed", True),
        ({"type": "string"}, True, "typeWidened", False),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, "enumNarrowed", True),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, "enumWidened", False),
        ({"const": "a"}, {"enum": ["a", "b"]}, "enumWidened", False),
        ({"type": "string"}, {"type": "string", "enum": ["a"]}, "enumAdded", True),
        ({"type": "string", "enum": ["a"]}, {"type": "string"}, "enumRemoved", False),
        ({"minimum": 0}, {"minimum": 1}, "boundTightened", True),
        ({"minimum": 1}, {"minimum": 0}, "boundLoosened", False),
        ({"minimum": 0}, {"exclusiveMinimum": 0}, "boundTightened", True),
        ({"exclusiveMaximum": 5}, {"maximum": 5}, "boundLoosened", False),
        ({}, {"maxLength": 5}, "boundTightened", True),
        ({"minLength": 1}, {}, "boundLoosened", False),
        ({"maxItems": 3}, {"maxItems": 2}, "boundTightened", True),
        ({}, {"format": "date"}, "ruleAdded", True),
        ({"format": "date"}, {}, "ruleRemoved", False),
        ({"pattern": "a"}, {"pattern": "b"}, "ruleChanged", True),
        ({"oneOf": [{}]}, {"oneOf": [{}, {}]}, "ruleChanged", True),
        ({"prefixItems": [{}], "items": False}, {"items": False}, "ruleChanged", True),
        ({}, {"additionalProperties": False}, "unknownFieldsClosed", True),
        ({"additionalProperties": False}, {}, "unknownFieldsOpened", False),
    ],
)
def test_each_change_of_one_field_is_named(old: Any, new: Any, change: str, breaking: bool) -> None:
    assert of_x(old, new) == [(change, breaking)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string"}, {"type": "string", "title": "new"}),
        ({"minLength": 0}, {}),
        ({"type": ["a"]}, {"type": ["a"]}),
        ({"type": ["string", "null"]}, {"type": ["null", "string"]}),
        (True, {}),
        ({"type": "string", "minimum": 5}, {"type": "string"}),
    ],
)
def test_what_changes_nothing_is_no_change(old: Any, new: Any) -> None:
    assert of_x(old, new) == []


def test_a_new_required_field_breaks_and_a_new_optional_one_does_not() -> None:
    old = {"properties": {"a": {}}, "required": ["a"]}
    assert changes(old, {**old, "required": ["a", "b"]}) == [("attributes.b", "requiredAdded", True)]
    assert changes(old, {"properties": {"a": {}}}) == [("attributes.a", "requiredRemoved", False)]
    optional = {"properties": {"a": {}, "b": {"type": "string"}}, "required": ["a"]}
    assert changes(old, optional) == [("attributes.b", "fieldAdded", False)]
    assert changes(old, {**optional, "properties": {"a": {}, "b": False}}) == [("attributes.b", "fieldForbidden", True)]


def test_a_field_that_is_gone_breaks_where_unknown_ones_are_refused() -> None:
    old, new = {"properties": {"a": {}, "b": {}}}, {"properties": {"a": {}}}
    assert changes(old, new) == [("attributes.b", "fieldRemoved", False)]
    assert ("attributes.b", "fieldRemoved", True) in changes(old, new, unknown_fields="quarantine")
    assert ("attributes.b", "fieldRemoved", True) in changes(old, {**new, "additionalProperties": False})
    assert ("attributes.b", "typeNarrowed", True) in changes(old, {**new, "additionalProperties": {"type": "string"}})


def test_mode_and_unknown_fields_are_told() -> None:
    assert changes({}, {}, mode="warn") == [("mode", "modeLoosened", False)]
    assert changes({}, {}, unknown_fields="warn") == [("unknownFields", "unknownFieldsTightened", False)]
    assert changes({}, {}, unknown_fields="quarantine") == [("unknownFields", "unknownFieldsTightened", True)]


def test_changes_inside_objects_and_lists_have_their_path() -> None:
    old = {"properties": {"a.b": {"type": "array", "items": {"properties": {"🎈": {"type": "number"}}}}}}
    new = {"properties": {"a.b": {"type": "array", "items": {"properties": {"🎈": {"type": "integer"}}}}}}
    assert changes(old, new) == [("attributes.a\\.b[].🎈", "typeNarrowed", True)]


def test_references_are_followed_also_in_circles() -> None:
    tree = {"$defs": {"t": {"properties": {"n": {"type": "number"}, "l": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}
    narrow = {
        "$defs": {"t": {"properties": {"n": {"type": "integer"}, "l": {"$ref": "#/$defs/t"}}}},
        "$ref": "#/$defs/t",
    }
    assert changes(tree, tree) == []
    places = ["attributes.n", "attributes.l.n"]
    assert changes(tree, narrow) == [(place, "typeNarrowed", True) for place in places], "once around is enough"
    assert changes(tree, {"properties": {"n": {"type": "number"}}})[-1][1:] == ("fieldRemoved", False)
    hidden = [{"oneOf": [{"$ref": "#/$defs/t"}], "$defs": {"t": {"type": kind}}} for kind in ("object", "array")]
    assert changes(*hidden) == [("attributes", "ruleChanged", True)]


LEAVES = st.one_of(
    st.just({}),
    st.booleans(),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "number", "null", ["string", "null"], ["integer", "boolean"]])},
        optional={
            "minimum": st.integers(0, 3),
            "exclusiveMaximum": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "minLength": st.integers(0, 3),
            "pattern": st.sampled_from(["a", "^b"]),
        },
    ),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from(["a", "b", 1, 2, None]), min_size=1, unique=True)}),
)
KEYS = st.sampled_from(["a", "b", "c"])


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"properties": st.dictionaries(KEYS, inner, max_size=3)},
        optional={
            "type": st.just("object"),
            "required": st.lists(KEYS, max_size=2, unique=True),
            "additionalProperties": st.booleans() | LEAVES,
            "minProperties": st.integers(0, 2),
            "patternProperties": st.dictionaries(st.sampled_from(["a", "c"]), LEAVES, max_size=1),
        },
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        objects(inner)
        | st.fixed_dictionaries(
            {"items": inner},
            optional={"type": st.just("array"), "prefixItems": st.lists(inner, min_size=1, max_size=2)},
        )
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 1, 2, 3, 1.5, "", "a", "ab", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(objects(SCHEMAS), objects(SCHEMAS), st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=8))
def test_where_no_change_is_breaking_what_was_right_stays_right(old: Any, new: Any, events: list[Any]) -> None:
    """But for what events carry in a field that the new schema is the first to name."""
    found = changes_between(Schema("a", old), Schema("a", new))
    if any(each.breaking or each.change == "fieldAdded" for each in found):
        return
    was, now = (jsonschema_rs.Draft202012Validator(each) for each in (old, new))
    for event in events:
        assert now.is_valid(event) or not was.is_valid(event), found
