from typing import Any

import pytest

from headwater.domain.errors import BadInput
from headwater.engine.query.parse import decode_query, parse_query

GOOD: dict[str, Any] = {"metrics": ["events"], "timeRange": {"last": "1d"}}


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"metrics": []}, "MISSING_FIELD", "$.metrics"),
        ({"metrics": ["events"] * 2}, "DUPLICATE_METRIC", "$.metrics[1]"),
        ({"metrics": [f"m{i}" for i in range(21)]}, "TOO_MANY_METRICS", "$.metrics"),
        ({"metrics": [7]}, "TYPE_MISMATCH", "$.metrics[0]"),
        ({"metrics": [{"aggregation": "sum"}]}, "MISSING_FIELD", "$.metrics[0].field"),
        ({"metrics": [{"aggregation": "count", "name": "events"}]}, "INVALID_NAME", "$.metrics[0].name"),
        ({"metrics": [{"aggregation": "count", "filter": []}]}, "UNKNOWN_FIELD", "$.metrics[0]"),
        ({"metrics": [{"name": "r", "formula": "a/b"}]}, "UNSUPPORTED", "$.metrics[0].formula"),
        ({"timeZone": "Mars/Phobos"}, "UNKNOWN_TIME_ZONE", "$.timeZone"),
        ({"dimensions": ["contry"]}, "UNKNOWN_FIELD", "$.dimensions[0]"),
        ({"dimensions": ["time"]}, "INVALID_DIMENSION", "$.dimensions[0]"),
        ({"dimensions": ["name", "name"]}, "DUPLICATE_DIMENSION", "$.dimensions[1]"),
        ({"filters": [{"field": "name", "operator": "is", "value": 1}]}, "UNKNOWN_OPERATOR", "$.filters[0].operator"),
        ({"order": [{"by": "revenue"}]}, "UNKNOWN_ORDER", "$.order[0].by"),
        ({"order": [{"by": "events"}] * 11}, "TOO_MANY_ORDERS", "$.order"),
        ({"limit": 0}, "INVALID_LIMIT", "$.limit"),
        ({"limit": 10_001}, "INVALID_LIMIT", "$.limit"),
        ({"compare": "previous"}, "UNSUPPORTED", "$.compare"),
        ({"others": True}, "UNSUPPORTED", "$.others"),
        ({"asOf": "2026-11-24T00:00:00Z"}, "UNSUPPORTED", "$.asOf"),
        ({"groupBy": ["name"]}, "UNKNOWN_FIELD", "$"),
    ],
)
def test_a_wrong_question_names_its_place(change: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_query(GOOD | change)
    assert (caught.value.code, caught.value.path) == (code, path)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"metrics": NaN}', b"[" * 100_000, b'"\\ud800"'])
def test_a_body_that_is_no_question_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        decode_query(body)
    assert caught.value.code in ("MALFORMED_JSON", "TYPE_MISMATCH")


def test_what_may_be_sent_as_null_is_the_same_as_left_out() -> None:
    nothing = {"compare": None, "asOf": None, "others": False, "limit": None, "timeZone": None}
    assert parse_query(GOOD | nothing) == parse_query(GOOD)
