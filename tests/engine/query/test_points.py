import datetime as dt
from typing import Any

import msgspec
import pytest

from headwater.domain.errors import BadInput
from headwater.domain.events import us_of
from headwater.domain.metrics import Versioned, read_definition
from headwater.engine.query.points import metric_points, parse_metrics_parameters

NOON = us_of(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))
HOUR = 3_600_000_000
SPAN = [("timeRange[start]", "2026-11-24T12:00:00Z"), ("timeRange[end]", "2026-11-24T14:00:00Z")]
SAVED = {
    each["name"]: Versioned(read_definition(each), 2)
    for each in (
        {
            "name": "amount",
            "aggregation": "avg",
            "field": "attributes.amount",
            "unit": "EUR",
            "retention": "2y",
            "interval": "1h",
        },
        {"name": "sizes", "aggregation": "p95", "field": "attributes.amount", "type": "HISTOGRAM"},
    )
}


def points(lab: Any, *parameters: tuple[str, str]) -> list[dict[str, Any]]:
    query = parse_metrics_parameters(parameters)
    made, facts = metric_points(query, SAVED, lab, now_us=NOON, watermark_us=NOON)
    assert facts.tier == "raw"
    return msgspec.json.decode(msgspec.json.encode(made))


def test_a_point_is_the_missions_metric(lab: Any) -> None:
    lab.add([{"seq": 1, "occurred_us": NOON, "attributes": {"amount": 5, "country": "DE"}}])
    (point,) = points(
        lab, ("names", "amount"), *SPAN, ("timeRange[interval]", "1h"), ("dimensions", "attributes.country")
    )
    assert len(point.pop("id")) == 32
    assert point == {
        "name": "amount",
        "type": "GAUGE",
        "value": 5.0,
        "timestamp": "2026-11-24T12:00:00Z",
        "dimensions": {"attributes.country": "DE"},
        "metadata": {"unit": "EUR", "aggregation": "avg", "interval": "1h", "retention": "2y"},
    }


def test_buckets_without_a_value_are_left_out_and_zeros_are_not(lab: Any) -> None:
    lab.add([{"seq": 1, "occurred_us": NOON, "attributes": {"amount": 5}}])
    found = points(lab, ("names", "amount,events"), *SPAN, ("interval", "1h"))
    assert [(each["name"], each["timestamp"][11:13], each["value"]) for each in found] == [
        ("amount", "12", 5.0),
        ("events", "12", 1),
        ("events", "13", 0),
    ]


def test_without_an_interval_there_is_one_value_for_the_range(lab: Any) -> None:
    lab.add([{"seq": seq, "occurred_us": NOON + seq * HOUR, "actor": "a"} for seq in range(2)])
    found = points(lab, *SPAN)
    assert [(each["name"], each["value"]) for each in found] == [("events", 2), ("actors", 1), ("sessions", 0)]
    assert {each["timestamp"] for each in found} == {"2026-11-24T12:00:00Z"}


def test_a_histogram_counts_its_observations(lab: Any) -> None:
    lab.add([{"seq": seq, "occurred_us": NOON, "attributes": {"amount": 5} if seq else {}} for seq in range(3)])
    (point,) = points(lab, ("names", "sizes"), *SPAN)
    assert (point["type"], point["value"]) == ("HISTOGRAM", 2)


def test_a_point_keeps_its_id_and_shares_it_with_no_other(lab: Any) -> None:
    lab.add(
        [
            {"seq": i, "occurred_us": NOON + i * HOUR // 2, "attributes": {"k": k, "amount": 1}}
            for i, k in enumerate(["5", 5, None, "5"])
        ]
    )
    asked = (("names", "events,amount"), *SPAN, ("interval", "1h"), ("dimensions", "attributes.k"))
    ids = [each["id"] for each in points(lab, *asked)]
    assert len(set(ids)) == len(ids) == 6 + 4
    assert [each["id"] for each in points(lab, *asked)] == ids


def test_a_missing_dimension_has_no_key_and_numbers_are_text(lab: Any) -> None:
    lab.add(
        [{"seq": i, "occurred_us": NOON, "attributes": {"k": k}} for i, k in enumerate([None, 5.0, 1.5, True, "x"])]
    )
    found = points(lab, ("names", "events"), *SPAN, ("dimensions", "attributes.k"))
    assert sorted(str(each["dimensions"].get("attributes.k")) for each in found) == ["1.5", "5", "None", "true", "x"]


def test_a_range_may_be_given_in_every_form() -> None:
    start, end = "2026-11-24T12:00:00Z", "2026-11-24T14:00:00Z"
    forms = (
        [*SPAN, ("timeRange[interval]", "1h")],
        [("start", start), ("end", end), ("interval", "1h")],
        [("timeRange", f'{{"start": "{start}", "end": "{end}", "interval": "1h"}}')],
        [("timeRange", f'{{"start": "{start}", "end": "{end}"}}'), ("interval", "1h")],
    )
    queries = [parse_metrics_parameters([("names", "a"), ("names", "b,c"), *form]) for form in forms]
    assert queries[0].metrics == ("a", "b", "c")
    assert all(each == queries[0] for each in queries)


@pytest.mark.parametrize(
    ("parameters", "code", "path"),
    [
        ([("name", "a")], "UNKNOWN_PARAMETER", "name"),
        ([("timeRange[begin]", "x")], "UNKNOWN_PARAMETER", "timeRange[begin]"),
        ([("timeRange", "7d")], "MALFORMED_JSON", "timeRange"),
        ([("timeRange", "[" * 5000)], "MALFORMED_JSON", "timeRange"),
        ([("timeRange", '{"start": 5, "end": 6}')], "TYPE_MISMATCH", "$.timeRange.start"),
        ([("timeRange", '{"begin": "x"}')], "UNKNOWN_FIELD", "$.timeRange"),
        ([("start", "a"), ("timeRange[start]", "b")], "DUPLICATE_PARAMETER", "timeRange.start"),
        ([("dimensions", "nope")], "UNKNOWN_FIELD", "$.dimensions[0]"),
        ([("timeZone", "Nowhere")], "UNKNOWN_TIME_ZONE", "$.timeZone"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: list[tuple[str, str]], code: str, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_metrics_parameters(parameters)
    assert (caught.value.code, caught.value.path) == (code, path)
