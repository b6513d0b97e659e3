"""A schema tried on events: what would fail is what the collector would refuse."""

from typing import Any

import msgspec
import pytest

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, judge
from headwater.collect.schemas.samples import Sample
from headwater.collect.schemas.trial import FAILURES_MAX, try_out, would_pass
from headwater.collect.validate import Moment, Sender
from headwater.domain.schemas import Rules, parse_schema

SCHEMA = parse_schema(
    {
        "name": "a",
        "mode": "warn",
        "jsonSchema": {
            "type": "object",
            "required": ["n"],
            "properties": {"n": {"type": "number", "maximum": 9}, "l": {"items": {"type": "string"}}, "a.b": {}},
        },
    }
)
EVENTS: list[Any] = [
    {"n": 1},
    {"n": "x" * 100},
    {"n": "y"},
    {"n": 10},
    {},
    {"n": 1, "l": ["a", 5]},
    {"n": 1, "l": [6]},
    {"n": 1, "more": 1},
]


def samples(events: list[Any], version: str = "1") -> list[Sample]:
    return [Sample(f"id{n}", n, version, msgspec.json.encode(each)) for n, each in enumerate(events)]


def test_failures_are_grouped_by_code_and_path_with_an_example() -> None:
    found = try_out(SCHEMA, samples(EVENTS))
    assert (found.checked, found.would_fail, found.would_warn) == (8, 6, 0)
    told = [(each.code, each.path, each.count, each.example.id, each.example.value) for each in found.failures]
    assert told == [
        ("TYPE_MISMATCH", "attributes.n", 2, "id1", "x" * 59 + "…"),
        ("TYPE_MISMATCH", "attributes.l[]", 2, "id5", 5),
        ("SCHEMA_VIOLATION", "attributes.n", 1, "id3", 10),
        ("SCHEMA_MISSING_FIELD", "attributes.n", 1, "id4", msgspec.UNSET),
    ]
    assert found.failures[1].example.detail == "$.data.attributes.l[1]: expected string, got 5"


@pytest.mark.parametrize(("unknown", "fail", "warn"), [("allow", 6, 0), ("warn", 6, 1), ("quarantine", 7, 0)])
def test_what_fails_is_what_the_collector_refuses(unknown: str, fail: int, warn: int) -> None:
    schema = msgspec.structs.replace(SCHEMA, unknown_fields=unknown)
    found = try_out(schema, samples(EVENTS, version="7"))
    assert (found.would_fail, found.would_warn) == (fail, warn), "whatever version the events have"
    enforced = Rules([msgspec.structs.replace(schema, mode="enforce")])
    body = msgspec.json.encode([{"name": "a", "data": {"attributes": each}} for each in EVENTS])
    case = Case(Sender("k", "s", frozenset(), public=False), Moment(1_800_000_000_000_000), Bounds(), enforced)
    assert len(judge(body, case).verdicts) == fail


def test_groups_are_bounded_and_the_count_is_not() -> None:
    schema = msgspec.structs.replace(SCHEMA, unknown_fields="quarantine")
    found = try_out(schema, samples([{"n": 1, f"key{number}": 1} for number in range(5000)]))
    assert (found.would_fail, len(found.failures), found.failures_left_out) == (5000, FAILURES_MAX, True)


def test_a_number_that_can_t_be_read_fails_with_an_example() -> None:
    found = try_out(SCHEMA, [Sample("id", 0, "1", b'{"n": 1e999}')])
    assert [(each.code, each.path, each.example.value) for each in found.failures] == [
        ("SCHEMA_VIOLATION", "attributes", msgspec.UNSET)
    ]


def test_what_would_be_let_in_out_of_quarantine() -> None:
    right = '{"name": "a", "data": {"attributes": {"n": 5}}}'
    others = [
        '{"name": "a", "data": {"attributes": {"n": "5"}}}',
        '{"name": "a", "version": "2", "data": {"attributes": {"n": 5}}}',
        '{"name": "a", "data": {"attributes": 5}}',
        '{"name": "a", "id": 5, "data": {"attributes": {"n": 5}}}',
        "no JSON",
    ]
    assert would_pass(SCHEMA, [right, *others, right]) == 2
