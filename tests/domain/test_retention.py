"""Horizons: whole days of the project's zone, also where days are shorter or longer."""

import datetime as dt
from typing import Any

import pytest

from headwater.domain.errors import BadInput
from headwater.domain.events import us_of
from headwater.domain.projects import project_settings
from headwater.domain.retention import NEVER, Horizon, Removal, check_as_of, horizon_of, lake_before_us


def at(text: str) -> int:
    return us_of(dt.datetime.fromisoformat(text))


def horizon(now: str, **settings: Any) -> Horizon:
    return horizon_of(project_settings({"name": "a", **settings}), at(now))


def test_forever_removes_nothing() -> None:
    assert horizon("2026-11-24T12:00:00Z") == Horizon(NEVER, NEVER)


@pytest.mark.parametrize(
    ("zone", "now", "before"),
    [
        ("UTC", "2026-11-24T12:00:00Z", "2026-11-22T00:00:00Z"),
        ("UTC", "2026-11-24T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("Asia/Tokyo", "2026-11-24T16:00:00Z", "2026-11-22T15:00:00Z"),  # the 25th there already
        ("Europe/Berlin", "2026-03-30T12:00:00Z", "2026-03-27T23:00:00Z"),  # over a day of 23 hours
        ("Europe/Berlin", "2026-10-26T12:00:00Z", "2026-10-23T22:00:00Z"),  # over a day of 25
        ("Africa/Cairo", "2026-04-26T12:00:00Z", "2026-04-23T22:00:00Z"),  # the 24th begins at 1 o'clock
    ],
)
def test_today_and_so_many_days_before_it_stay(zone: str, now: str, before: str) -> None:
    found = horizon(now, timeZone=zone, retention="2d")
    assert found == Horizon(at(before), at(before))


def test_quarantine_and_lake_have_spans_of_their_own() -> None:
    settings = project_settings({"name": "a", "retention": "1d", "quarantineRetention": "3d", "lakeRetention": "3d"})
    now_us = at("2026-11-24T12:00:00Z")
    assert horizon_of(settings, now_us) == Horizon(at("2026-11-23T00:00:00Z"), at("2026-11-21T00:00:00Z"))
    assert lake_before_us(settings, now_us) == at("2026-11-21T00:00:00Z")
    assert horizon("2026-11-24T12:00:00Z", retention="1d", quarantineRetention="forever").quarantine_before_us == NEVER


@pytest.mark.parametrize(
    "settings",
    [
        {"lakeRetention": "30d"},
        {"retention": "31d", "lakeRetention": "30d"},
        {"retention": "1d", "quarantineRetention": "31d", "lakeRetention": "30d"},
    ],
)
def test_a_lake_that_would_forget_before_the_warehouse_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="could not be made again from the lake") as caught:
        project_settings({"name": "a", **settings})
    assert (caught.value.code, caught.value.path) == ("INVALID_RETENTION", "$.lakeRetention")


def test_a_moment_before_a_removal_can_t_be_asked_for_where_its_days_are_gone() -> None:
    removals = [Removal(Horizon(1_000, 1_000), 50, 9_000), Removal(Horizon(2_000, 2_000), 80, 10_000)]
    check_as_of(removals, 80, 0)
    check_as_of(removals, 10, 2_000)
    check_as_of(removals, 60, 2_000)
    for seq, start_us in ((79, 1_999), (10, 500)):
        with pytest.raises(BadInput) as caught:
            check_as_of(removals, seq, start_us)
        assert caught.value.code == "AS_OF_REMOVED"
