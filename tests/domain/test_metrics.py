from typing import Any

import msgspec
import pytest

from headwater.domain.errors import BadInput, NotFound
from headwater.domain.metrics import (
    AGGREGATIONS,
    BUILT_IN,
    MetricDefinition,
    MetricType,
    Versioned,
    check_definition,
    definition_named,
    read_definition,
)

REVENUE = {
    "name": "revenue",
    "displayName": "Revenue",
    "events": ["purchase"],
    "filters": [{"field": "attributes.test", "operator": "ne", "value": True}],
    "field": "attributes.amount",
    "aggregation": "sum",
    "dimensions": ["attributes.country"],
    "unit": "EUR",
    "interval": "1h",
    "retention": "2y",
}


def test_a_definition_comes_back_as_it_was_sent() -> None:
    assert msgspec.json.decode(msgspec.json.encode(read_definition(REVENUE))) == REVENUE


def test_the_default_type_follows_the_aggregation() -> None:
    types = {each: MetricDefinition("m", each).metric_type for each in AGGREGATIONS}
    assert {each for each in types if types[each] is MetricType.COUNTER} == {"count", "sum", "unique"}
    assert {each for each in types if types[each] is MetricType.GAUGE} == {"avg", "min", "max", "last", "rate"}
    assert {each for each in types if types[each] is MetricType.SUMMARY} == {"p50", "p75", "p90", "p95", "p99"}
    assert read_definition(REVENUE | {"type": "HISTOGRAM"}).metric_type is MetricType.HISTOGRAM


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"name": "events"}, "INVALID_NAME", "$.name"),
        ({"name": "sessions"}, "INVALID_NAME", "$.name"),
        ({"name": "1st"}, "INVALID_NAME", "$.name"),
        ({"name": "a-b"}, "INVALID_NAME", "$.name"),
        ({"name": "a__compare"}, "INVALID_NAME", "$.name"),
        ({"name": "x" * 129}, "INVALID_NAME", "$.name"),
        ({"aggregation": "median"}, "UNKNOWN_AGGREGATION", "$.aggregation"),
        ({"aggregation": ""}, "MISSING_FIELD", "$.aggregation"),
        ({"formula": "revenue / events"}, "UNSUPPORTED", "$.formula"),
        ({"field": None}, "MISSING_FIELD", "$.field"),
        ({"field": "actor"}, "INVALID_FIELD", "$.field"),
        ({"field": "amount"}, "UNKNOWN_FIELD", "$.field"),
        ({"aggregation": "count"}, "INVALID_FIELD", "$.field"),
        ({"aggregation": "rate"}, "INVALID_FIELD", "$.field"),
        ({"aggregation": "unique", "field": "time"}, "INVALID_FIELD", "$.field"),
        ({"filters": [{"field": "nam", "operator": "exists"}]}, "UNKNOWN_FIELD", "$.filters[0].field"),
        ({"dimensions": ["time"]}, "INVALID_DIMENSION", "$.dimensions[0]"),
        ({"dimensions": ["name", "name"]}, "DUPLICATE_DIMENSION", "$.dimensions[1]"),
        ({"dimensions": [f"attributes.d{i}" for i in range(11)]}, "TOO_MANY_DIMENSIONS", "$.dimensions"),
        ({"events": [f"e{i}" for i in range(101)]}, "TOO_MANY_VALUES", "$.events"),
        ({"interval": "2h"}, "UNKNOWN_INTERVAL", "$.interval"),
        ({"retention": "two years"}, "INVALID_RETENTION", "$.retention"),
        ({"agregation": "sum"}, "UNKNOWN_FIELD", "$"),
        ({"type": "METER"}, "TYPE_MISMATCH", "$.type"),
    ],
)
def test_a_wrong_definition_names_its_place(change: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_definition(REVENUE | change)
    assert (caught.value.code, caught.value.path) == (code, path)


def test_a_metric_can_not_outlive_its_raw_rows() -> None:
    definition = read_definition(REVENUE)
    check_definition(definition, days_max=732)
    for retention in ("2y", "forever"):
        with pytest.raises(BadInput) as caught:
            check_definition(read_definition(REVENUE | {"retention": retention}), days_max=731)
        assert (caught.value.code, caught.value.limit) == ("INVALID_RETENTION", "731d")


def test_an_inline_definition_is_named_by_its_aggregation() -> None:
    assert read_definition({"aggregation": "count"}, inline=True).name == "count"
    with pytest.raises(BadInput) as caught:
        read_definition({"aggregation": "count"})
    assert caught.value.code == "MISSING_FIELD"


def test_names_are_found_built_in_first_and_the_nearest_is_told() -> None:
    saved = {"revenue": Versioned(read_definition(REVENUE), 3), "events": Versioned(read_definition(REVENUE), 1)}
    assert definition_named("events", saved, "$") is BUILT_IN["events"]
    assert definition_named("revenue", saved, "$").version == 3
    with pytest.raises(NotFound, match="did you mean 'revenue'") as caught:
        definition_named("revnue", saved, "$.metrics[0]")
    assert (caught.value.code, caught.value.path) == ("UNKNOWN_METRIC", "$.metrics[0]")
