"""Every operator on every type of value, sealed and hot alike, against the plain-Python model."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query_model import holds

from headwater.domain.errors import BadInput
from headwater.domain.filters import ORDERED, TEXTUAL
from headwater.engine.query.parse import parse_query
from headwater.engine.query.run import answer

EVERYTHING = {"start": "1960-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}
VALUES: list[Any] = [
    *(
        "",
        "a",
        "A",
        "abc",
        "xABCx",
        "12",
        "1.0",
        "true",
        "null",
        "'; drop table events; --",
        "%",
        "ä",
        "\x01",
        "\x0112",
    ),
    *(0, 1, 12, -3, 1.0, 1.5, -0.0, 0.1, 1e22, 1e-7, 2**53, 2**53 + 1, 2**63, -(2**63), 2**64 - 1),
    *(True, False, None, [], [1, "a"], {}, {"a": 1}),
]
# Values that conditions name: each kind, and what is easily taken for another.
SCALARS = ["", "a", "ABC", "12", "true", "%", "\x01", 0, 1, 12, 1.5, 1e22, 2**53 + 1, 2**64 - 1, -(2**63), True, False]


def count(lab: Any, filters: list[dict[str, Any]]) -> int:
    query = parse_query({"metrics": ["events"], "timeRange": EVERYTHING, "filters": filters})
    ((number,),) = answer(query, {}, lab, now_us=0, watermark_us=None).rows
    return int(number)


def matching(lab: Any, filters: list[dict[str, Any]]) -> set[int]:
    """Seqs, by way of a dimension: one question instead of one for each event."""
    body = {
        "metrics": ["events"],
        "timeRange": EVERYTHING,
        "filters": filters,
        "dimensions": ["version"],
        "limit": 10_000,
    }
    rows = answer(parse_query(body), {}, lab, now_us=0, watermark_us=None).rows
    return {int(row[0]) for row in rows}


def conditions() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"operator": "exists"}, {"operator": "notExists"}]
    for value in SCALARS:
        made += [{"operator": each, "value": value} for each in ("eq", "ne")]
        if not isinstance(value, bool):
            made += [{"operator": each, "value": value} for each in ORDERED if each != "between"]
        if isinstance(value, str):
            made += [
                {"operator": each, "value": value}
                for each in (*TEXTUAL, "notContains")
                if each != "matches" or value.isalnum()
            ]
            made.append({"operator": "eq", "value": value, "ignoreCase": True})
            made.append({"operator": "contains", "value": value, "ignoreCase": True})
    made += [
        {"operator": "in", "value": [1, "a", True]},
        {"operator": "notIn", "value": [1, "a", True]},
        {"operator": "in", "value": [1.5, "12"]},
        {"operator": "in", "value": ["ABC", "A"], "ignoreCase": True},
        {"operator": "notIn", "value": [2**53 + 1, 2**64 - 1]},
        {"operator": "between", "value": [0, 12]},
        {"operator": "between", "value": ["a", "b"]},
        {"operator": "matches", "value": "^[ab]+c$"},
        {"operator": "matches", "value": "abc", "ignoreCase": True},
        {"operator": "matches", "value": "1"},
    ]
    return made


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "hot"])
def test_every_operator_on_every_type_says_what_the_model_says(lab: Any, sealed: bool) -> None:
    events = [
        {"seq": seq, "version": str(seq), "occurred_us": seq, "attributes": attributes}
        for seq, attributes in enumerate([*({"v": each, "w": {"v": each}} for each in VALUES), {}, {"w": 5}])
    ]
    lab.add(events, sealed)
    for condition in conditions():
        asked = {"field": "attributes.v", **condition}
        wanted, found = {each["seq"] for each in events if holds(each, asked)}, matching(lab, [asked])
        if condition["operator"] in ORDERED:
            # Order looks at doubles: beyond 2^53 neighbours may fall together.
            wanted, found = ({seq for seq in each if not huge(events[seq])} for each in (wanted, found))
        assert found == wanted, asked


def huge(event: dict[str, Any]) -> bool:
    value = event["attributes"].get("v")
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "hot"])
def test_columns_compare_as_text_and_missing_ones_satisfy_negations_only(lab: Any, sealed: bool) -> None:
    texts = ["a", "A", "abc", "12", "", None]
    events = [
        {"seq": seq, "version": str(seq), "occurred_us": seq, "actor": text, "source_ip": text, "attributes": {}}
        for seq, text in enumerate(texts)
    ]
    lab.add(events, sealed)
    for field in ("actor", "sourceIp"):
        for condition in [each for each in conditions() if each.get("value") in ("a", "ABC", 12, True, 1.5, None)]:
            asked = {"field": field, **condition}
            assert matching(lab, [asked]) == {each["seq"] for each in events if holds(each, asked)}, asked


def test_addresses_and_agents_come_from_the_request_where_the_event_names_none(lab: Any) -> None:
    for sealed, first in ((True, 10), (False, 20)):
        lab.add(
            [
                {"seq": first, "version": str(first), "occurred_us": 1},
                {"seq": first + 1, "version": str(first + 1), "occurred_us": 1, "source_ip": "9.9.9.9"},
            ],
            sealed,
        )
    lab.add([{"seq": 30, "version": "30", "occurred_us": 1}])  # between requests: of none
    lab.add_batch(10, 19, source_ip="1.1.1.1", user_agent="A")
    lab.add_batch(20, 29, source_ip="2.2.2.2")
    assert matching(lab, [{"field": "sourceIp", "operator": "eq", "value": "1.1.1.1"}]) == {10}
    assert matching(lab, [{"field": "sourceIp", "operator": "eq", "value": "9.9.9.9"}]) == {11, 21}
    assert matching(lab, [{"field": "sourceIp", "operator": "notExists"}]) == {30}
    assert matching(lab, [{"field": "userAgent", "operator": "ne", "value": "A"}]) == {20, 21, 30}


def test_time_is_compared_by_instant(lab: Any) -> None:
    lab.add([{"seq": seq, "version": str(seq), "occurred_us": seq * 1_000_000} for seq in range(5)])
    at = "1970-01-01T01:00:0{}+01:00".format
    assert matching(lab, [{"field": "time", "operator": "gt", "value": at(2)}]) == {3, 4}
    assert matching(lab, [{"field": "time", "operator": "between", "value": [at(1), at(3)]}]) == {1, 2, 3}
    assert matching(lab, [{"field": "time", "operator": "ne", "value": at(2)}]) == {0, 1, 3, 4}
    assert matching(lab, [{"field": "time", "operator": "notIn", "value": [at(0), at(4)]}]) == {1, 2, 3}
    assert matching(lab, [{"field": "time", "operator": "lt", "value": at(0)}]) == set()
    nested = {
        "any": [
            {"field": "time", "operator": "eq", "value": at(0)},
            {"field": "version", "operator": "eq", "value": "4"},
        ]
    }
    assert matching(lab, [nested]) == {0, 4}


KEYS = ("a", "b.c", 'q"u', "s'q", "$", "*", "0", "-", "a\\b", "ä", "#", "~1", "/x", "[0]", "?", "$1", "\x00", "a b")


@settings(max_examples=30, deadline=None)
@given(
    path=st.lists(
        st.sampled_from(KEYS) | st.text("ab.\\\"'*$/0~[] \u00e4\U0001f600", min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    )
)
def test_any_key_is_found_by_its_path_and_by_no_other(shared_lab: Any, path: list[str]) -> None:
    shared_lab.clear()
    nested: Any = "found"
    for key in reversed(path):
        nested = {key: nested, key + "!": "no"}
    name = "attributes." + ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in path)
    for seq, sealed in ((1, True), (2, False)):
        shared_lab.add([{"seq": seq, "version": str(seq), "occurred_us": 1, "attributes": nested}], sealed)
        shared_lab.add(
            [{"seq": seq + 2, "version": str(seq + 2), "occurred_us": 1, "attributes": {"z": ["found"]}}], sealed
        )
    assert matching(shared_lab, [{"field": name, "operator": "eq", "value": "found"}]) == {1, 2}


def test_lists_are_not_stepped_into(lab: Any) -> None:
    for seq, sealed in ((1, True), (2, False)):
        lab.add(
            [{"seq": seq, "version": str(seq), "occurred_us": 1, "attributes": {"l": ["x", "y"], "*": {"0": "x"}}}],
            sealed,
        )
    assert count(lab, [{"field": "attributes.l.0", "operator": "exists"}]) == 0
    assert count(lab, [{"field": "attributes.l.*", "operator": "exists"}]) == 0
    assert count(lab, [{"field": "attributes.*.0", "operator": "eq", "value": "x"}]) == 2
    assert count(lab, [{"field": "attributes.*", "operator": "exists"}]) == 2


@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=20).filter(lambda each: all(not 0xD800 <= ord(c) <= 0xDFFF for c in each)))
def test_any_text_is_data(shared_lab: Any, text: str) -> None:
    shared_lab.clear()
    for seq, sealed in ((1, True), (2, False)):
        event = {"seq": seq, "version": str(seq), "occurred_us": 1, "actor": text or None, "attributes": {"v": text}}
        shared_lab.add([event], sealed)
    assert matching(shared_lab, [{"field": "attributes.v", "operator": "eq", "value": text}]) == {1, 2}
    assert matching(shared_lab, [{"field": "attributes.v", "operator": "ne", "value": text}]) == set()
    assert matching(shared_lab, [{"field": "attributes.v", "operator": "contains", "value": text}]) == {1, 2}
    if text:
        assert matching(shared_lab, [{"field": "actor", "operator": "in", "value": [text]}]) == {1, 2}


INJECTIONS = (
    "'); drop table events; --",
    '"; drop table events; --',
    "$1",
    "?",
    "{{x}}",
    "' or '1'='1",
    "\\'; delete from hot; --",
    "/* */ union select * from batches",
)


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_in_every_string_of_a_question_is_only_text(lab: Any, text: str) -> None:
    key = text.replace("\\", "\\\\").replace(".", "\\.")
    for seq, sealed in ((1, True), (2, False)):
        event = {"seq": seq, "occurred_us": 1, "name": text, "actor": text, "source": text, "attributes": {text: text}}
        lab.add([event, {"seq": seq + 2, "occurred_us": 1, "name": "other"}], sealed)
    body = {
        "metrics": [{"name": "u", "aggregation": "unique", "field": f"attributes.{key}", "events": [text]}],
        "timeRange": EVERYTHING,
        "dimensions": [f"attributes.{key}", "actor"],
        "filters": [
            {"field": "source", "operator": "eq", "value": text},
            {"any": [{"field": f"attributes.{key}", "operator": "in", "value": [text, "x"]}]},
            {"field": f"attributes.{key}", "operator": "startsWith", "value": text},
        ],
        "order": [{"by": f"attributes.{key}"}],
    }
    assert answer(parse_query(body), {}, lab, now_us=0, watermark_us=None).rows == [[text, text, 1]]
    assert count(lab, []) == 4


@pytest.mark.parametrize("pattern", ["(", "*", "a(?=b)", r"(a)\1", "[z-a]", "a{2000}"])
def test_a_pattern_that_re2_can_not_take_is_refused_where_it_stands(lab: Any, pattern: str) -> None:
    bad = {"field": "name", "operator": "matches", "value": pattern}
    for filters, path in (([bad], "$.filters[0].value"), ([{"any": [bad]}], "$.filters[0].any[0].value")):
        with pytest.raises(BadInput) as caught:
            count(lab, filters)
        assert (caught.value.code, caught.value.path, caught.value.value) == ("INVALID_PATTERN", path, pattern)


def test_a_number_too_big_for_a_double_is_no_number(lab: Any) -> None:
    for seq, sealed in ((1, True), (2, False)):
        lab.add([{"seq": seq, "occurred_us": 1, "attributes": '{"v": 1e400}'}], sealed)
    body = {"metrics": [{"aggregation": "sum", "field": "attributes.v"}], "timeRange": EVERYTHING}
    assert answer(parse_query(body), {}, lab, now_us=0, watermark_us=None).rows == [[0]]
    assert math.inf not in [
        row[0]
        for row in answer(
            parse_query(body | {"dimensions": ["attributes.v"]}), {}, lab, now_us=0, watermark_us=None
        ).rows
    ]
