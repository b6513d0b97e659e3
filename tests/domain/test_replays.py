"""A replay as asked becomes conditions with fixed instants, or is told what is wrong with it."""

from typing import Any

import pytest

from headwater.domain.errors import BadInput
from headwater.domain.plans import Chosen
from headwater.domain.replays import parse_replay

NOON_US = 1_795_521_600_000_000
"""2026-11-24 12:00 UTC."""
HOUR_US = 3_600_000_000
ID = "0192f7a0-4d5e-7abc-8def-0123456789ab"


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({}, Chosen()),
        ({"code": "A", "source": ["b", "c"]}, Chosen(codes=("A",), sources=("b", "c"))),
        ({"name": None}, Chosen(names=(None,))),
        ({"name": ["n", None], "step": "load"}, Chosen(names=("n", None), steps=("load",))),
        ({"seq": 7}, Chosen(seqs=(7,))),
        ({"seq": [7, 8], "id": ID.upper()}, Chosen(seqs=(7, 8), ids=(ID,))),
        ({"timeRange": {"start": "2026-11-24T12:00:00Z"}}, Chosen(start_us=NOON_US)),
        ({"timeRange": {"end": "2026-11-24T13:00:00+01:00"}}, Chosen(end_us=NOON_US)),
        ({"timeRange": {"last": "1h"}}, Chosen(start_us=NOON_US - HOUR_US, end_us=NOON_US)),
    ],
)
def test_a_filter_is_resolved(asked: Any, chosen: Chosen) -> None:
    found = parse_replay({"filter": asked}, NOON_US)
    assert (found.chosen, found.patch, found.dry_run) == (chosen, (), True)


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({}, "MISSING_FIELD", "$.filter"),
        ({"filter": {"cod": "A"}}, "UNKNOWN_FIELD", "$.filter"),
        ({"filter": {"code": []}}, "INVALID_VALUE", "$.filter.code"),
        ({"filter": {"code": ["A"] * 1001}}, "TOO_MANY_VALUES", "$.filter.code"),
        ({"filter": {"code": 5}}, "TYPE_MISMATCH", "$.filter.code"),
        ({"filter": {"seq": 0}}, "TYPE_MISMATCH", "$.filter.seq"),
        ({"filter": {"id": "x"}}, "INVALID_ID", "$.filter.id"),
        ({"filter": {"timeRange": {"start": "now"}}}, "INVALID_TIME", "$.filter.timeRange.start"),
        ({"filter": {"timeRange": {"strat": "now"}}}, "UNKNOWN_FIELD", "$.filter.timeRange"),
        ({"filter": {"timeRange": {"last": "x"}}}, "INVALID_TIME_RANGE", "$.filter.timeRange.last"),
        ({"filter": {}, "dryrun": False}, "UNKNOWN_FIELD", "$"),
        ({"filter": {}, "dryRun": "no"}, "TYPE_MISMATCH", "$.dryRun"),
        ({"filter": {}, "patch": {}}, "TYPE_MISMATCH", "$.patch"),
        ({"filter": {}, "patch": [{"op": "drop"}]}, "MISSING_FIELD", "$.patch[0].field"),
    ],
)
def test_what_is_wrong_is_named(body: Any, code: str, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_replay(body, NOON_US)
    assert (caught.value.code, caught.value.path) == (code, path), caught.value
