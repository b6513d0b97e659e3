from typing import Any

import pytest

from headwater.domain.errors import BadInput
from headwater.domain.queries import Query
from headwater.domain.reading import nearest, read
from headwater.domain.values import shown

RANGE = {"last": "1d"}


@pytest.mark.parametrize(
    ("body", "code", "path", "words"),
    [
        ([], "TYPE_MISMATCH", "$", "expected object, got array"),
        ({"timeRange": RANGE}, "MISSING_FIELD", "$.metrics", "missing field 'metrics'"),
        ({"metric": ["a"], "timeRange": RANGE}, "UNKNOWN_FIELD", "$", "did you mean 'metrics'?"),
        ({"metrics": ["a"], "timerange": RANGE}, "UNKNOWN_FIELD", "$", "did you mean 'timeRange'?"),
        ({"metrics": ["a"], "time_zone": "UTC", "timeRange": RANGE}, "UNKNOWN_FIELD", "$", "did you mean 'timeZone'?"),
        ({"metrics": ["a"], "timeRange": {"begin": "x", "end": "y"}}, "UNKNOWN_FIELD", "$.timeRange", "known: start"),
        ({"metrics": "a", "timeRange": RANGE}, "TYPE_MISMATCH", "$.metrics", "the value is 'a'"),
        ({"metrics": ["a"], "timeRange": {"last": 7}}, "TYPE_MISMATCH", "$.timeRange.last", "the value is 7"),
        (
            {"metrics": ["a"], "timeRange": RANGE, "filters": [{"any": [{"feild": "name"}]}]},
            "UNKNOWN_FIELD",
            "$.filters[0].any[0]",
            "did you mean 'field'?",
        ),
        (
            {"metrics": ["a"], "timeRange": RANGE, "order": [{"by": "a", "desc": True}]},
            "UNKNOWN_FIELD",
            "$.order[0]",
            "did you mean 'descending'?",
        ),
        ({"metrics": ["a"], "timeRange": RANGE, "limit": "10"}, "TYPE_MISMATCH", "$.limit", "the value is '10'"),
        (
            {"metrics": ["a"], "timeRange": RANGE, "dimensions": [1]},
            "TYPE_MISMATCH",
            "$.dimensions[0]",
            "the value is 1",
        ),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_path_value_and_cure(
    body: Any, code: str, path: str, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read(Query, body)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert words in str(caught.value)


def test_nearest_ignores_case_and_knows_when_nothing_is_close() -> None:
    assert nearest("TIMEZONE", ("timeZone", "limit")) == "timeZone"
    assert nearest("zzzz", ("timeZone", "limit")) is None


def test_values_are_shown_short() -> None:
    assert shown("x" * 200) == "'" + "x" * 59 + "…'"
    assert shown("\ud800") == r"'\ud800'"
    assert (shown([1]), shown({}), shown(None)) == ("an array", "an object", "null")
