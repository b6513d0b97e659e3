from typing import Any

import pytest

from headwater.domain.errors import BadInput
from headwater.domain.filters import AnyOf, Compare, Field, Filter, field_of, predicates_of
from headwater.domain.reading import read


def one(**asked: Any) -> Any:
    (predicate,) = predicates_of((read(Filter, asked),))
    return predicate


def test_dots_step_into_objects_and_a_backslash_keeps_a_dot() -> None:
    assert field_of("attributes.a.b").path == ("a", "b")
    assert field_of(r"attributes.http\.status").path == ("http.status",)
    assert field_of(r"attributes.a\\.b").path == ("a\\", "b")
    for text in ("attributes.a.b", r"attributes.http\.status", r"attributes.a\\.b", "attributes.ä '\"$", "name"):
        assert str(field_of(text)) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nmae", "UNKNOWN_FIELD"),
        ("country", "UNKNOWN_FIELD"),
        ("attributes", "UNKNOWN_FIELD"),
        ("data.attributes.country", "UNKNOWN_FIELD"),
        ("attributes.", "INVALID_FIELD"),
        ("attributes.a..b", "INVALID_FIELD"),
        ("attributes.a\\", "INVALID_FIELD"),
        ("attributes." + ".".join("a" * 21), "INVALID_FIELD"),
        ("attributes." + "a" * 600, "INVALID_FIELD"),
        ("attributes.\ud800", "INVALID_FIELD"),
        ("cohort", "UNSUPPORTED"),
    ],
)
def test_a_wrong_field_is_refused_with_a_cure(text: str, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        field_of(text)
    assert caught.value.code == code
    assert caught.value.path == "$.field"


def test_the_nearest_field_is_named() -> None:
    with pytest.raises(BadInput, match="did you mean 'name'"):
        field_of("nmae")
    with pytest.raises(BadInput, match=r"did you mean 'attributes\.country'"):
        field_of("data.attributes.country")
    with pytest.raises(BadInput, match="did you mean 'sessionId'"):
        field_of("session_id")


def test_negated_operators_are_the_plain_ones_turned_around() -> None:
    assert one(field="name", operator="ne", value="a") == Compare(Field("name"), "eq", "text", ("a",), negated=True)
    assert one(field="name", operator="notExists") == Compare(Field("name"), "exists", "none", negated=True)


def test_values_of_several_types_are_compared_each_as_its_own() -> None:
    mixed = one(field="attributes.a", operator="notIn", value=[1, "1", True, 1.5])
    assert isinstance(mixed, AnyOf)
    assert mixed.negated
    assert {(part.kind, part.values) for part in mixed.parts} == {
        ("integer", (1,)),
        ("text", ("1",)),
        ("boolean", (True,)),
        ("number", (1.5,)),
    }


def test_whole_numbers_are_integers_for_equality_and_floats_for_order() -> None:
    assert one(field="attributes.a", operator="eq", value=2.0).values == (2,)
    assert one(field="attributes.a", operator="eq", value=2**64 - 1).values == (2**64 - 1,)
    assert one(field="attributes.a", operator="eq", value=2**64).kind == "number"
    assert one(field="attributes.a", operator="gt", value=2).values == (2.0,)


@pytest.mark.parametrize(
    ("asked", "code", "path"),
    [
        ({"operator": "eq", "value": 1}, "MISSING_FIELD", "$.filters[0].field"),
        ({"field": "name", "value": 1}, "MISSING_FIELD", "$.filters[0].operator"),
        ({"field": "name", "operator": "eq"}, "MISSING_FIELD", "$.filters[0].value"),
        ({"field": "name", "operator": "equals", "value": 1}, "UNKNOWN_OPERATOR", "$.filters[0].operator"),
        ({"field": "nam", "operator": "eq", "value": 1}, "UNKNOWN_FIELD", "$.filters[0].field"),
        ({"field": "name", "operator": "exists", "value": 1}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "name", "operator": "eq", "value": None}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "name", "operator": "eq", "value": [1]}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "name", "operator": "eq", "value": {"a": 1}}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "name", "operator": "eq", "value": "x" * 5000}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "name", "operator": "eq", "value": "\ud800"}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "name", "operator": "in", "value": "a"}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "name", "operator": "in", "value": []}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "name", "operator": "in", "value": list(range(1001))}, "TOO_MANY_VALUES", "$.filters[0].value"),
        ({"field": "name", "operator": "between", "value": [1]}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "attributes.a", "operator": "between", "value": [1, "2"]}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "attributes.a", "operator": "gt", "value": True}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "attributes.a", "operator": "contains", "value": 1}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "attributes.a", "operator": "gt", "value": 10**400}, "INVALID_VALUE", "$.filters[0].value"),
        ({"field": "time", "operator": "gt", "value": 5}, "INVALID_TIME", "$.filters[0].value"),
        (
            {"field": "time", "operator": "gt", "value": "0001-01-01T00:00:00+14:00"},
            "INVALID_TIME",
            "$.filters[0].value",
        ),
        ({"field": "time", "operator": "gt", "value": "2026-01-01"}, "INVALID_TIME", "$.filters[0].value"),
        ({"field": "time", "operator": "contains", "value": "2026"}, "INVALID_VALUE", "$.filters[0].value"),
        ({"any": []}, "INVALID_FILTER", "$.filters[0]"),
        ({"any": [{"any": [{"field": "name", "operator": "exists"}]}]}, "INVALID_FILTER", "$.filters[0].any[0]"),
        ({"any": [{"field": "name", "operator": "exists"}], "field": "name"}, "INVALID_FILTER", "$.filters[0]"),
        ({"any": [{"field": "name", "operator": "eq"}]}, "MISSING_FIELD", "$.filters[0].any[0].value"),
    ],
)
def test_a_wrong_condition_names_its_place(asked: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        predicates_of((read(Filter, asked),))
    assert (caught.value.code, caught.value.path) == (code, path)


def test_conditions_are_counted_inside_any_too() -> None:
    many = [{"field": "name", "operator": "exists"}] * 101
    with pytest.raises(BadInput) as caught:
        one(any=many)
    assert (caught.value.code, caught.value.value, caught.value.limit) == ("TOO_MANY_FILTERS", 101, 100)
