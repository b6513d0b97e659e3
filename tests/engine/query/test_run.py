"""Whole answers from a real DuckDB, against the plain-Python model."""

import datetime as dt
import math
from collections import defaultdict
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_model import MISSING, aggregated, chosen, holds, kind, value_of

from headwater.domain.errors import BadInput, NotFound
from headwater.domain.events import us_of
from headwater.domain.metrics import Versioned, read_definition
from headwater.domain.queries import Answer
from headwater.domain.timerange import edges_of, label
from headwater.engine.query.parse import parse_query
from headwater.engine.query.run import answer

HOUR = 3_600_000_000
T0 = us_of(dt.datetime(2026, 10, 24, 12, tzinfo=dt.UTC))  # 12 hours before Berlin's longest day
METRICS: list[dict[str, Any]] = [
    {"name": "n", "aggregation": "count"},
    {"name": "buys", "aggregation": "count", "events": ["buy"]},
    {"name": "rate", "aggregation": "rate", "filters": [{"field": "attributes.x", "operator": "exists"}]},
    {"name": "total", "aggregation": "sum", "field": "attributes.x", "events": ["buy", "view"]},
    {"name": "mean", "aggregation": "avg", "field": "attributes.x"},
    {"name": "low", "aggregation": "min", "field": "attributes.x"},
    {"name": "high", "aggregation": "max", "field": "attributes.x"},
    {"name": "newest", "aggregation": "last", "field": "attributes.x"},
    {"name": "people", "aggregation": "unique", "field": "actor", "events": ["buy"]},
    {"name": "kinds", "aggregation": "unique", "field": "attributes.x"},
    {"name": "addresses", "aggregation": "unique", "field": "sourceIp"},
    *({"name": f"q{q}", "aggregation": f"p{q}", "field": "attributes.x"} for q in (50, 75, 90, 95, 99)),
]

attribute = st.sampled_from(["DE", "US", "5", "", "\x01", "true", 5, 5.0, 2, -1.5, 0, -0.0, True, False, None])
events_lists = st.lists(
    st.fixed_dictionaries(
        {
            "occurred_us": st.integers(T0 - 2 * HOUR, T0 + 80 * HOUR),
            "name": st.sampled_from(["buy", "view", "other"]),
            "actor": st.sampled_from(["a", "b", "c", None]),
            "source_ip": st.sampled_from(["1.1.1.1", None]),
            "attributes": st.fixed_dictionaries({}, optional={"x": attribute, "y": attribute}),
            "sealed": st.booleans(),
        }
    ),
    max_size=25,
)
filters_lists = st.lists(
    st.sampled_from(
        [
            {"field": "name", "operator": "ne", "value": "other"},
            {"field": "attributes.y", "operator": "in", "value": ["DE", 5]},
            {"field": "attributes.y", "operator": "notExists"},
            {
                "any": [
                    {"field": "actor", "operator": "eq", "value": "a"},
                    {"field": "attributes.x", "operator": "gt", "value": 0},
                ]
            },
            {"field": "sourceIp", "operator": "eq", "value": "2.2.2.2"},
            {"field": "time", "operator": "gte", "value": "2026-10-25T00:30:00Z"},
        ]
    ),
    max_size=2,
)


def close(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted, rel_tol=1e-12, abs_tol=1e-12)
    return bool(found == wanted and isinstance(found, bool) == isinstance(wanted, bool))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=events_lists,
    filters=filters_lists,
    metrics=st.lists(st.sampled_from(METRICS), min_size=1, max_size=4, unique_by=lambda each: each["name"]),
    dimensions=st.sampled_from(
        [[], ["attributes.y"], ["actor"], ["attributes.x", "sourceIp"], ["name", "attributes.y"]]
    ),
    order=st.sampled_from([True, False, None]),
    interval=st.sampled_from([None, "1h", "1d", "1w", "15m"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    start=st.integers(0, 20).map(lambda each: T0 + each * HOUR // 3),
    hours=st.integers(1, 60),
)
def test_an_answer_is_what_the_model_counts(
    shared_lab: Any,
    events: list[dict[str, Any]],
    filters: list[dict[str, Any]],
    metrics: list[dict[str, Any]],
    dimensions: list[str],
    order: bool | None,
    interval: str | None,
    zone: str,
    start: int,
    hours: int,
) -> None:
    end = start + hours * HOUR
    fill(shared_lab, events)
    span = {"start": label(start, None), "end": label(end, None)}
    body: dict[str, Any] = {
        "metrics": [each["name"] for each in metrics],
        "timeRange": span if interval is None else span | {"interval": interval},
        "timeZone": zone,
        "dimensions": dimensions,
        "filters": filters,
        "order": [] if order is None else [{"by": metrics[-1]["name"], "descending": order}],
    }
    saved = {each["name"]: Versioned(read_definition(each), 1) for each in metrics}
    found = answer(parse_query(body), saved, shared_lab, now_us=0, watermark_us=None)

    events = [each for each in events if start <= each["occurred_us"] < end]
    events = [each for each in events if all(holds(each, one) for one in filters)]
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    if not dimensions:
        groups[()] = events
    else:
        for each in events:
            if any(each in chosen([each], metric) for metric in metrics):
                values = [value_of(each, name) for name in dimensions]
                groups[tuple((kind(one), None if one is MISSING else one) for one in values)].append(each)
    edges = edges_of(start, end, interval, zone) if interval else (start, end)
    wanted = {}
    for group, members in groups.items():
        for since, until in pairwise(edges):
            inside = [each for each in members if since <= each["occurred_us"] < until]
            seconds = (min(until, end) - max(since, start)) / 1e6
            key = ((label(since, zone),) if interval else ()) + group
            wanted[key] = [aggregated(inside, metric, seconds) for metric in metrics]
    timed = 1 if interval else 0
    width = timed + len(dimensions)
    rows = {
        (*row[:timed], *((kind(each) if each is not None else "other", each) for each in row[timed:width])): row[width:]
        for row in found.rows
    }
    assert len(rows) == len(found.rows)
    assert rows.keys() == wanted.keys()
    for key, values in wanted.items():
        assert all(close(*pair) for pair in zip(rows[key], values, strict=True)), (key, rows[key], values)
    if dimensions and order is not None:
        ranks = {}
        for group, members in groups.items():
            ranks[group] = aggregated(
                members, metrics[-1] | ({"aggregation": "count"} if metrics[-1]["aggregation"] == "rate" else {}), 1
            )
        shown_groups = list(dict.fromkeys(tuple(row[timed:]) for row in rows))
        assert_ranked([ranks[tuple(key)[: len(dimensions)]] for key in shown_groups], order)
    if interval:
        times = [row[0] for row in found.rows]
        assert [*dict.fromkeys(times)] == ([label(edge, zone) for edge in edges[:-1]] if groups else [])


def assert_ranked(values: list[Any], descending: bool) -> None:
    numbers = [each for each in values if each is not None]
    assert values == numbers + [None] * (len(values) - len(numbers))
    for before, after in pairwise(numbers):
        assert (before >= after if descending else before <= after) or math.isclose(before, after, abs_tol=1e-12)


def fill(lab: Any, events: list[dict[str, Any]]) -> None:
    lab.clear()
    lab.add_batch(0, 1000, source_ip="2.2.2.2")
    for seq, each in enumerate(events):
        each["seq"] = seq
        each["request"] = {"source_ip": "2.2.2.2"}
    for sealed in (True, False):
        lab.add(
            [
                {k: v for k, v in each.items() if k not in ("sealed", "request")}
                for each in events
                if each["sealed"] is sealed
            ],
            sealed,
        )


def ask(lab: Any, metrics: list[Any], span: dict[str, str], watermark_us: int | None = None, **more: Any) -> Answer:
    query = parse_query({"metrics": metrics, "timeRange": span, **more})
    return answer(query, {}, lab, now_us=us_of(dt.datetime(2026, 11, 24, tzinfo=dt.UTC)), watermark_us=watermark_us)


DAY = {"start": "2026-11-24T00:00:00Z", "end": "2026-11-25T00:00:00Z"}
NOON = us_of(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))


def test_the_answer_is_the_shape_on_the_wire(lab: Any) -> None:
    lab.add([{"seq": 1, "occurred_us": NOON, "attributes": {"country": "DE", "amount": 120.5}}])
    saved = {
        "revenue": Versioned(
            read_definition({"name": "revenue", "aggregation": "sum", "field": "attributes.amount", "unit": "EUR"}), 3
        )
    }
    body = {
        "metrics": ["revenue", "events", {"name": "inline", "aggregation": "max", "field": "attributes.amount"}],
        "timeRange": {"start": "2026-11-24T12:00:00Z", "end": "2026-11-24T13:00:00Z", "interval": "1h"},
        "timeZone": "Europe/Berlin",
        "dimensions": ["attributes.country"],
        "compare": None,
        "asOf": None,
    }
    found = answer(parse_query(body), saved, lab, now_us=0, watermark_us=NOON)
    wire = msgspec.json.decode(msgspec.json.encode(found))
    assert wire.pop("elapsedMs") > 0
    assert wire == {
        "columns": [
            {"name": "time", "type": "time"},
            {"name": "attributes.country", "type": "string"},
            {"name": "revenue", "type": "number", "unit": "EUR", "definitionVersion": 3},
            {"name": "events", "type": "number", "unit": "events", "definitionVersion": 1},
            {"name": "inline", "type": "number"},
        ],
        "rows": [["2026-11-24T13:00:00+01:00", "DE", 120.5, 1, 120.5]],
        "asOf": "1970-01-01T00:00:01.000000Z",
        "watermark": "2026-11-24T12:00:00.000000Z",
        "tier": "raw",
        "rowsRead": 1,
        "cache": "miss",
        "exact": True,
        "unfinished": ["2026-11-24T13:00:00+01:00"],
        "truncated": False,
        "warnings": [],
    }


def test_a_bucket_is_unfinished_until_the_watermark_reaches_its_end(lab: Any) -> None:
    span = {"start": "2026-11-24T10:00:00Z", "end": "2026-11-24T12:30:00Z", "interval": "1h"}
    assert ask(lab, ["events"], span, NOON).unfinished == ["2026-11-24T12:00:00Z"]
    assert ask(lab, ["events"], span, NOON - 1).unfinished == ["2026-11-24T11:00:00Z", "2026-11-24T12:00:00Z"]
    assert ask(lab, ["events"], span, NOON + HOUR).unfinished == []
    assert ask(lab, ["events"], DAY, NOON).unfinished == ["2026-11-24T00:00:00Z"]
    assert len(ask(lab, ["events"], span, None).unfinished) == 3


def test_no_events_give_zeros_and_nulls(lab: Any) -> None:
    metrics = [*METRICS[:4], METRICS[4], METRICS[8]]
    assert ask(lab, metrics, DAY).rows == [[0, 0, 0, 0, None, 0]]
    assert ask(lab, metrics, DAY, dimensions=["actor"]).rows == []
    assert len(ask(lab, metrics, DAY | {"interval": "1h"}).rows) == 24


def test_the_top_groups_are_chosen_over_the_whole_range_and_the_rest_is_told(lab: Any) -> None:
    events = []
    for index, (actor, early, late) in enumerate((("a", 1, 5), ("b", 4, 0), ("c", 2, 1), ("d", 1, 1))):
        for count, at in ((early, NOON), (late, NOON + HOUR)):
            events += [{"actor": actor, "occurred_us": at, "seq": index, "attributes": {"v": 10 - index}}] * count
    lab.add(events)
    span = {"start": "2026-11-24T12:00:00Z", "end": "2026-11-24T14:00:00Z"}
    found = ask(lab, ["events"], span, dimensions=["actor"], limit=2)
    assert (found.rows, found.truncated) == ([["a", 6], ["b", 4]], True)
    found = ask(lab, ["events"], span | {"interval": "1h"}, dimensions=["actor"], limit=2)
    assert [row[1:] for row in found.rows] == [["a", 1], ["b", 4], ["a", 5], ["b", 0]]
    assert found.truncated
    last = {"name": "v", "aggregation": "avg", "field": "attributes.v"}
    order = [{"by": "v", "descending": False}, {"by": "actor"}]
    found = ask(lab, ["events", last], span, dimensions=["actor"], limit=4, order=order)
    assert [row[0] for row in found.rows] == ["d", "c", "b", "a"]
    assert not found.truncated
    order = [{"by": "time", "descending": True}, {"by": "actor", "descending": True}]
    found = ask(lab, ["events"], span | {"interval": "1h"}, dimensions=["actor"], limit=1, order=order)
    assert [row[:2] for row in found.rows] == [["2026-11-24T13:00:00Z", "d"], ["2026-11-24T12:00:00Z", "d"]]


def test_missing_values_rank_last_either_way(lab: Any) -> None:
    lab.add([{"actor": actor, "occurred_us": NOON, "seq": 1} for actor in ("a", None, "b")])
    for descending, wanted in ((True, ["b", "a", None]), (False, ["a", "b", None])):
        order = [{"by": "actor", "descending": descending}]
        assert [row[0] for row in ask(lab, ["events"], DAY, dimensions=["actor"], order=order).rows] == wanted


def test_too_many_points_name_the_number_and_the_interval_that_fits(lab: Any) -> None:
    with pytest.raises(BadInput) as caught:
        ask(lab, ["events"], {"start": "2025-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z", "interval": "1m"})
    error = caught.value
    assert (error.code, error.value, error.limit) == ("TOO_MANY_POINTS", 525_600, 100_000)
    assert "use interval 15m" in str(error)
    lab.add([{"seq": seq, "occurred_us": NOON, "actor": str(seq)} for seq in range(80)])
    span = {"start": "2026-11-24T00:00:00Z", "end": "2026-11-25T00:00:00Z", "interval": "1m"}
    with pytest.raises(BadInput) as caught:
        ask(lab, ["events"], span, dimensions=["actor"])
    assert (caught.value.code, caught.value.value) == ("TOO_MANY_POINTS", 1440 * 80)
    assert "use interval 5m" in str(caught.value)


def test_sums_of_money_do_not_drift(lab: Any) -> None:
    lab.add([{"seq": seq, "occurred_us": NOON, "attributes": {"v": 0.1}} for seq in range(100)])
    assert ask(lab, [{"aggregation": "sum", "field": "attributes.v"}], DAY).rows == [[10.0]]


def test_a_rate_divides_by_the_seconds_of_its_bucket_inside_the_range(lab: Any) -> None:
    lab.add([{"seq": seq, "occurred_us": NOON, "attributes": {}} for seq in range(90)])
    rate = {"name": "rate", "aggregation": "rate"}
    assert ask(lab, [rate], DAY).rows == [[90 / 86400]]
    half = {"start": "2026-11-24T12:00:00Z", "end": "2026-11-24T12:30:00Z"}
    assert ask(lab, [rate], half | {"interval": "1h"}).rows == [["2026-11-24T12:00:00Z", 0.05]]
    long_day = {"start": "2026-10-24T22:00:00Z", "end": "2026-10-25T23:00:00Z", "interval": "1d"}
    lab.add([{"seq": 100, "occurred_us": us_of(dt.datetime(2026, 10, 25, tzinfo=dt.UTC))}])
    assert ask(lab, [rate], long_day, timeZone="Europe/Berlin").rows == [["2026-10-25T00:00:00+02:00", 1 / 90000]]


def test_last_is_the_newest_by_time_then_by_arrival(lab: Any) -> None:
    lab.add(
        [{"seq": seq, "occurred_us": at, "attributes": {"v": v}} for seq, at, v in ((9, NOON, 1), (3, NOON + 1, 2))]
    )
    lab.add(
        [{"seq": seq, "occurred_us": NOON + 1, "attributes": {"v": v}} for seq, v in ((4, 3), (5, "text"), (6, None))],
        False,
    )
    assert ask(lab, [{"aggregation": "last", "field": "attributes.v"}], DAY).rows == [[3.0]]


def test_sessions_and_actors_are_built_in(lab: Any) -> None:
    lab.add(
        [
            {"seq": i, "occurred_us": NOON, "actor": a, "session_id": s}
            for i, (a, s) in enumerate([("a", "1"), ("a", "2"), ("b", None), (None, "2")])
        ]
    )
    found = ask(lab, ["events", "actors", "sessions"], DAY)
    assert found.rows == [[4, 2, 2]]
    assert "sessionId" in found.warnings[0]


def test_conditions_at_the_ends_of_time_are_only_conditions(lab: Any) -> None:
    lab.add([{"seq": 1, "occurred_us": NOON}])
    for operator, number in (("gt", 0), ("lte", 1), ("eq", 0)):
        filters = [{"field": "time", "operator": operator, "value": "9999-12-31T23:59:59.999999Z"}]
        assert ask(lab, ["events"], DAY, filters=filters).rows == [[number]]
    filters = [{"field": "time", "operator": "gte", "value": "0001-01-01T00:00:00Z"}]
    assert ask(lab, ["events"], DAY, filters=filters).rows == [[1]]


def test_a_metric_that_is_not_there_is_named(lab: Any) -> None:
    with pytest.raises(NotFound) as caught:
        ask(lab, ["event"], DAY)
    assert (caught.value.code, caught.value.path) == ("UNKNOWN_METRIC", "$.metrics[0]")
