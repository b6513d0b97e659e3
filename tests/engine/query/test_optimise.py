from typing import Any

from headwater.domain.filters import Compare, Field
from headwater.domain.plans import Edges, MetricsPlan, Steps
from headwater.engine.query.optimise import (
    collapse_measures,
    equal_steps,
    narrow_time,
    optimise,
    share_conditions,
    skip_requests,
)
from headwater.engine.query.parse import parse_query
from headwater.engine.query.plan import plan_query

SPAN = {"start": "2026-03-28T00:00:00Z", "end": "2026-03-31T00:00:00Z"}
BUY = {"field": "name", "operator": "eq", "value": "buy"}


def planned(metrics: list[Any], zone: str = "UTC", interval: str | None = None, **more: Any) -> MetricsPlan:
    span = SPAN if interval is None else SPAN | {"interval": interval}
    query = parse_query({"metrics": metrics, "timeRange": span, "timeZone": zone, **more})
    return plan_query(query, {}, 0, 100_000).plan


def test_a_count_and_its_rate_are_computed_once() -> None:
    metrics = [
        {"name": "rate", "aggregation": "rate"},
        "actors",
        {"name": "n", "aggregation": "count"},
        {"name": "people", "aggregation": "unique", "field": "actor"},
    ]
    plan = collapse_measures(planned(metrics, dimensions=["name"], order=[{"by": "people"}]))
    assert [each.aggregation for each in plan.measures] == ["count", "unique"]
    assert plan.outputs == (0, 1, 0, 1)
    assert plan.ranking[0].measure == 1


def test_what_every_measure_asks_filters_the_scan() -> None:
    other = {"field": "actor", "operator": "exists"}
    metrics = [
        {"name": "a", "aggregation": "count", "filters": [BUY, other]},
        {"name": "b", "aggregation": "unique", "field": "actor", "filters": [BUY]},
    ]
    plan = share_conditions(planned(metrics))
    assert plan.where == (Compare(Field("name"), "eq", "text", ("buy",)),)
    assert [len(each.where) for each in plan.measures] == [1, 0]
    assert share_conditions(planned([*metrics, "events"])).where == ()


def test_conditions_on_time_become_the_range_and_leave_the_buckets_alone() -> None:
    filters = [
        {"field": "time", "operator": "gt", "value": "2026-03-28T12:00:00Z"},
        {"field": "time", "operator": "lte", "value": "2026-03-29T12:00:00Z"},
        {"field": "time", "operator": "ne", "value": "2026-03-29T00:00:00Z"},
    ]
    before = planned(["events"], interval="1h", filters=filters)
    plan = narrow_time(before)
    assert (plan.start_us - before.start_us, before.end_us - plan.end_us) == (
        12 * 3_600_000_000 + 1,
        36 * 3_600_000_000 - 1,
    )
    assert len(plan.where) == 1
    assert plan.buckets == before.buckets


def test_ranges_that_exclude_each_other_leave_an_empty_one() -> None:
    plan = narrow_time(
        planned(["events"], filters=[{"field": "time", "operator": "gt", "value": "2030-01-01T00:00:00Z"}])
    )
    assert plan.start_us >= plan.end_us


def test_days_without_a_change_of_the_clock_are_equal_steps() -> None:
    assert isinstance(equal_steps(planned(["events"], "UTC", "1d")).buckets, Steps)
    assert isinstance(equal_steps(planned(["events"], "America/New_York", "1d")).buckets, Steps)
    assert isinstance(equal_steps(planned(["events"], "Europe/Berlin", "1d")).buckets, Edges)
    assert isinstance(equal_steps(planned(["events"], "Europe/Berlin", "1h")).buckets, Steps)


def test_requests_are_joined_only_where_something_asks_for_them() -> None:
    address = {"field": "sourceIp", "operator": "exists"}
    assert not skip_requests(planned(["events"])).batches
    assert skip_requests(planned(["events"], dimensions=["userAgent"])).batches
    assert skip_requests(planned(["events"], filters=[address])).batches
    assert skip_requests(planned(["events"], filters=[{"any": [BUY, address]}])).batches
    assert skip_requests(planned([{"aggregation": "count", "filters": [address]}])).batches
    assert skip_requests(planned([{"aggregation": "unique", "field": "sourceIp"}])).batches


def test_optimising_twice_changes_nothing_more() -> None:
    plan = optimise(planned(["events", "actors"], "Europe/Berlin", "1d", dimensions=["name"], filters=[BUY]))
    assert optimise(plan) == plan
