"""A patch changes what it names and nothing else, and says by index, field and cure what is wrong with itself."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.errors import BadInput
from headwater.domain.patches import Moment, Patched, parse_patch, path_of_field, value_at

NOON_US = 1_795_521_600_000_000
"""2026-11-24 12:00 UTC."""
MOMENT = Moment(NOON_US, None)


def patched(event: Any, *operations: dict[str, Any], moment: Moment = MOMENT) -> Patched:
    text = event if isinstance(event, bytes) else json.dumps(event).encode()
    return parse_patch(list(operations)).apply(text, moment)


def became(event: Any, *operations: dict[str, Any], moment: Moment = MOMENT) -> Any:
    done = patched(event, *operations, moment=moment)
    assert done.fault is None, done
    return json.loads(done.text)


def attributes(**values: Any) -> dict[str, Any]:
    return {"name": "n", "data": {"attributes": values}}


@pytest.mark.parametrize(
    ("event", "field", "to", "after"),
    [
        ({"event": "signup"}, "event", "name", {"name": "signup"}),
        (attributes(a=1), "attributes.a", "attributes.b", attributes(b=1)),
        (attributes(a=1), "data.attributes.a", "attributes.b.c", attributes(b={"c": 1})),
        (attributes(a={"x": 1}), "attributes.a", "attributes.a.b", attributes(a={"b": {"x": 1}})),
        (attributes(a={"x": 1}), "attributes.a.x", "attributes.a", None),
        ({"properties": {"a": 1}}, "properties", "attributes", {"data": {"attributes": {"a": 1}}}),
        ({"name": "n", "userId": "u"}, "userId", "actor", {"name": "n", "actor": "u"}),
        ({"name": "n", "sid": "s"}, "sid", "sessionId", {"name": "n", "data": {"metadata": {"sessionId": "s"}}}),
        (
            {"name": "n", "sessionId": "s"},
            "$.sessionId",
            "sessionId",
            {"name": "n", "data": {"metadata": {"sessionId": "s"}}},
        ),
        ({"name": "n"}, "missing", "actor", {"name": "n"}),
        (attributes(**{"a.b": 1}), r"attributes.a\.b", "attributes.ab", attributes(ab=1)),
        ({"name": "n", "data": 5}, "attributes.a", "actor", {"name": "n", "data": 5}),
    ],
)
def test_rename_moves_a_value(event: Any, field: str, to: str, after: Any) -> None:
    done = patched(event, {"op": "rename", "field": field, "to": to})
    if after is None:
        assert done.fault is not None and "the event has attributes.a already" in done.fault
    else:
        assert json.loads(done.text) == after


def test_rename_never_writes_over_a_value() -> None:
    done = patched(attributes(a=1, b=2), {"op": "rename", "field": "attributes.a", "to": "attributes.b"})
    assert done.fault == "patch[0] rename attributes.a: the event has attributes.b already; drop that first"


@pytest.mark.parametrize(
    ("kind", "value", "after"),
    [
        *(
            ("number", each, made)
            for each, made in (("12.50", 12.5), (" 7 ", 7), ("-1e3", -1000.0), (3, 3), (2.5, 2.5))
        ),
        *(("integer", each, made) for each, made in (("12", 12), ("3.0", 3), (4.0, 4), (5, 5))),
        *(("boolean", each, made) for each, made in (("TRUE", True), ("0", False), (1, True), (False, False))),
        *(("string", each, made) for each, made in ((5, "5"), (2.5, "2.5"), (True, "true"), ("x", "x"))),
    ],
)
def test_cast_keeps_what_a_value_says(kind: str, value: Any, after: Any) -> None:
    found = became(attributes(a=value), {"op": "cast", "field": "attributes.a", "type": kind})
    cast = found["data"]["attributes"]["a"]
    assert (cast, type(cast)) == (after, type(after))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("number", each) for each in ("abc", "", "1,5", "0x1", "1e999", "nan", "9" * 500, None, True, [], {})),
        *(("integer", each) for each in ("1.5", 1.5, "1e999", True)),
        *(("boolean", each) for each in ("yes", 2, None, "")),
        *(("string", each) for each in (None, [], {"a": 1})),
    ],
)
def test_cast_refuses_what_it_would_change(kind: str, value: Any) -> None:
    done = patched(attributes(a=value), {"op": "cast", "field": "attributes.a", "type": kind})
    assert done.fault is not None and done.fault.endswith(f"is no {kind}")
    assert (done.changed, json.loads(done.text)) == (False, attributes(a=value))


def test_set_and_drop_do_what_they_say() -> None:
    event = attributes(a=1, b=2)
    done = became(
        event,
        {"op": "set", "field": "attributes.c.d", "value": [1, None]},
        {"op": "set", "field": "source", "value": "app"},
        {"op": "drop", "field": "attributes.a"},
        {"op": "drop", "field": "attributes.x.y"},
    )
    assert done == {"name": "n", "source": "app", "data": {"attributes": {"b": 2, "c": {"d": [1, None]}}}}


def test_set_does_not_go_through_what_is_no_object() -> None:
    done = patched(attributes(a=1), {"op": "set", "field": "attributes.a.b", "value": 1})
    assert done.fault == "patch[0] set attributes.a.b: data.attributes.a is no object"


@pytest.mark.parametrize(
    ("timestamp", "operation", "after"),
    [
        ("2026-11-24T10:00:00+01:00", {}, "2026-11-24T10:00:00+01:00"),
        ("2026-11-25T11:59:59Z", {}, "2026-11-25T11:59:59Z"),
        ("2026-11-25T12:00:01Z", {}, None),
        ("2026-11-24T10:00:00", {}, None),
        ("garbage", {}, None),
        (1_795_500_000, {}, None),
        (None, {}, None),
        ("garbage", {"field": "attributes.at"}, "2026-11-24T06:00:00.000000Z"),
        ("24.11.2026 06:00", {"field": "time", "format": "%d.%m.%Y %H:%M"}, "2026-11-24T06:00:00.000000Z"),
        ("2026-11-24 06:00:00", {"field": "timestamp"}, "2026-11-24T06:00:00.000000Z"),
        (1_795_500_000, {"field": "timestamp"}, "2026-11-24T06:00:00.000000Z"),
        (1_795_500_000_000, {"field": "timestamp"}, "2026-11-24T06:00:00.000000Z"),
        (1_795_500_000_000_000, {"field": "timestamp"}, "2026-11-24T06:00:00.000000Z"),
        (1_795_500_000_000_000_000, {"field": "timestamp"}, "2026-11-24T06:00:00.000000Z"),
        ("1795500000.25", {"field": "timestamp"}, "2026-11-24T06:00:00.250000Z"),
        ("garbage", {"field": "attributes.absent"}, "garbage"),
    ],
)
def test_add_time_is_only_for_events_without_a_usable_one(
    timestamp: Any, operation: dict[str, Any], after: Any
) -> None:
    event = attributes(at=1_795_500_000) | {"timestamp": timestamp}
    assert became(event, {"op": "addTime", **operation}).get("timestamp") == after


def test_add_time_judges_by_the_corrected_time() -> None:
    day_us = 86_400_000_000
    event = attributes() | {"timestamp": "2026-11-27T12:00:00Z"}
    assert "timestamp" in became(event, {"op": "addTime"}, moment=Moment(NOON_US, NOON_US + 3 * day_us))
    assert "timestamp" not in became(event, {"op": "addTime"})


@pytest.mark.parametrize("value", ["soon", True, [], 1e300, "99999-01-01"])
def test_a_time_that_is_none_is_told(value: Any) -> None:
    done = patched(attributes(at=value), {"op": "addTime", "field": "attributes.at"})
    assert done.fault is not None and "is no time" in done.fault


@pytest.mark.parametrize(
    "text", [b"{broken", b"", b"5", b'"text"', b"[1]", b"\xff", b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}"]
)
def test_what_is_no_object_can_not_be_patched(text: bytes) -> None:
    done = patched(text, {"op": "set", "field": "name", "value": "x"})
    assert (done.text, done.changed, done.is_object) == (text, False, False)


def test_what_is_not_touched_stays_the_text_it_was() -> None:
    text = b'{"a":1.10,"n":123456789012345678901234567890,"data":{"attributes":{"x":"1","y":[1.0 ,2]},"z":1E5}}'
    done = patched(text, {"op": "cast", "field": "attributes.x", "type": "integer"})
    assert done.text == text.replace(b'"x":"1"', b'"x":1')
    untouched = patched(text, {"op": "drop", "field": "attributes.q"})
    assert (untouched.text, untouched.changed) == (text, False)


@pytest.mark.parametrize(
    ("operation", "code", "path", "said"),
    [
        ({"op": "renam", "field": "a"}, "TYPE_MISMATCH", "$.patch[1].op", "expected one of addTime, cast"),
        ({"field": "a"}, "MISSING_FIELD", "$.patch[1].op", "missing field 'op'"),
        ({"op": "drop", "feild": "a"}, "UNKNOWN_FIELD", "$.patch[1]", "did you mean 'field'?"),
        ({"op": "rename", "field": "a"}, "MISSING_FIELD", "$.patch[1].to", "'rename' needs 'to'"),
        ({"op": "set", "field": "name"}, "MISSING_FIELD", "$.patch[1].value", "'set' needs 'value'"),
        ({"op": "drop", "field": "a", "value": 1}, "INVALID_PATCH", "$.patch[1].value", "leave it out"),
        ({"op": "cast", "field": "a", "type": "int"}, "TYPE_MISMATCH", "$.patch[1].type", "boolean, integer"),
        ({"op": "set", "field": "nmae", "value": 1}, "UNKNOWN_FIELD", "$.patch[1].field", "did you mean 'name'?"),
        ({"op": "set", "field": "metadata.sesionId", "value": 1}, "UNKNOWN_FIELD", "$.patch[1].field", "'sessionId'"),
        ({"op": "set", "field": "name.a", "value": 1}, "INVALID_FIELD", "$.patch[1].field", "holds no object"),
        ({"op": "set", "field": "id", "value": "x"}, "INVALID_PATCH", "$.patch[1].field", "one id for all"),
        ({"op": "set", "field": "name", "value": "x" * 20_000}, "INVALID_PATCH", "$.patch[1].value", "at most 16384"),
        ({"op": "rename", "field": "a", "to": "attribute.x"}, "UNKNOWN_FIELD", "$.patch[1].to", "unknown field"),
        ({"op": "rename", "field": "name", "to": "name"}, "INVALID_PATCH", "$.patch[1].to", "to itself"),
        ({"op": "drop", "field": "attributes..a"}, "INVALID_FIELD", "$.patch[1].field", "empty key"),
        ({"op": "drop", "field": ""}, "INVALID_FIELD", "$.patch[1].field", "empty key"),
        ({"op": "drop", "field": "a" * 600}, "INVALID_FIELD", "$.patch[1].field", "too long"),
        ({"op": "addTime", "field": "a", "format": "%Q"}, "INVALID_PATCH", "$.patch[1].format", "no format of times"),
        ({"op": "addTime", "format": "%Y"}, "MISSING_FIELD", "$.patch[1].field", "of the text in 'field'"),
    ],
)
def test_a_wrong_operation_is_named(operation: dict[str, Any], code: str, path: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_patch([{"op": "drop", "field": "a"}, operation])
    assert (caught.value.code, caught.value.path) == (code, path), caught.value
    assert said in caught.value.detail


def test_a_patch_has_an_end() -> None:
    with pytest.raises(BadInput, match="51 operations; at most 50"):
        parse_patch([{"op": "drop", "field": "a"}] * 51)


def test_a_value_is_found_by_its_path() -> None:
    event = {"a": [{"b": 1}], "5": 2}
    assert value_at(event, ["a", 0, "b"]) == 1
    assert value_at(event, []) == event
    for path in (["a", 1], ["b"], ["a", "b"], ["a", 0, "b", "c"], ["5", 0]):
        assert value_at(event, path) is msgspec.UNSET, path


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(["name", "attributes.a", "attributes.a.b", "$.x", "data", "attributes", "sessionId", "time"])
OPERATIONS = st.one_of(
    st.builds(lambda field: {"op": "drop", "field": field}, FIELDS),
    st.builds(
        lambda field, kind: {"op": "cast", "field": field, "type": kind},
        FIELDS,
        st.sampled_from(["string", "number", "integer", "boolean"]),
    ),
    st.builds(
        lambda field, value: {"op": "set", "field": field, "value": value}, FIELDS.filter(lambda f: f != "$.x"), JSON
    ),
    st.builds(lambda field: {"op": "addTime", "field": field}, FIELDS),
    st.just({"op": "addTime"}),
)


@given(
    event=JSON | st.dictionaries(st.sampled_from(["name", "x", "data", "timestamp"]), JSON),
    operations=st.lists(OPERATIONS, max_size=4),
)
def test_whatever_comes_is_json_afterwards_or_has_a_reason(event: Any, operations: list[dict[str, Any]]) -> None:
    came = json.dumps(event).encode()
    done = parse_patch(operations).apply(came, MOMENT)
    if done.fault is None:
        assert isinstance(json.loads(done.text), dict)
    if not done.changed:
        assert done.text == came


def test_a_path_is_read_as_filters_read_it() -> None:
    assert path_of_field(r"attributes.a\.b.c\\d", "$") == ("data", "attributes", "a.b", "c\\d")
    assert path_of_field("data.attributes.a", "$") == ("data", "attributes", "a")
    assert path_of_field("$.attributes.a", "$") == ("attributes", "a")
