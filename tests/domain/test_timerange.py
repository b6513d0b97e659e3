import datetime as dt
import zoneinfo
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain.errors import BadInput
from headwater.domain.events import us_of
from headwater.domain.timerange import (
    CALENDAR_INTERVALS,
    CLOCK_INTERVALS,
    HOUR_US,
    INTERVALS,
    RangeAsked,
    edges_of,
    interval_that_fits,
    label,
    resolve,
)


def us(text: str) -> int:
    return us_of(dt.datetime.fromisoformat(text))


def labels(start: str, end: str, interval: str, zone: str) -> list[str]:
    return [label(edge, zone) for edge in edges_of(us(start), us(end), interval, zone)]


def hours(start: str, end: str, interval: str, zone: str) -> list[float]:
    edges = edges_of(us(start), us(end), interval, zone)
    return [(after - before) / HOUR_US for before, after in pairwise(edges)]


def test_days_of_a_change_of_the_clock_last_23_and_25_hours() -> None:
    assert hours("2026-03-28T12:00Z", "2026-03-30T12:00Z", "1d", "Europe/Berlin") == [24, 23, 24]
    assert hours("2026-10-24T12:00Z", "2026-10-26T12:00Z", "1d", "Europe/Berlin") == [24, 25, 24]


def test_a_bucket_is_labelled_by_its_true_start_where_the_range_begins_inside_it() -> None:
    assert labels("2026-11-24T10:30Z", "2026-11-24T11:10Z", "1h", "UTC") == [
        "2026-11-24T10:00:00+00:00",
        "2026-11-24T11:00:00+00:00",
        "2026-11-24T12:00:00+00:00",
    ]


def test_the_hour_shown_twice_is_two_buckets() -> None:
    assert labels("2026-10-25T00:00Z", "2026-10-25T02:00Z", "1h", "Europe/Berlin") == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


def test_hours_of_a_zone_with_an_odd_offset_begin_on_its_own_full_hours() -> None:
    assert labels("2026-01-01T00:00Z", "2026-01-01T01:00Z", "1h", "Asia/Kathmandu") == [
        "2026-01-01T05:00:00+05:45",
        "2026-01-01T06:00:00+05:45",
        "2026-01-01T07:00:00+05:45",
    ]


def test_a_clock_moved_by_half_an_hour_makes_one_long_and_one_short_hour() -> None:
    # Lord Howe: 02:00 becomes 01:30 in April, and 02:30 in October
    assert hours("2026-04-04T13:00Z", "2026-04-04T17:00Z", "1h", "Australia/Lord_Howe") == [1, 1.5, 1, 1]
    assert labels("2026-10-03T14:30Z", "2026-10-03T16:30Z", "1h", "Australia/Lord_Howe") == [
        "2026-10-04T01:00:00+10:30",
        "2026-10-04T02:30:00+11:00",
        "2026-10-04T03:00:00+11:00",
        "2026-10-04T04:00:00+11:00",
    ]


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("Africa/Cairo", "2024-04-26", "2024-04-26T01:00:00+03:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T01:00:00-02:00"),
        ("Asia/Beirut", "2022-03-27", "2022-03-27T01:00:00+03:00"),
        ("America/Toronto", "1919-03-31", "1919-03-31T00:30:00-04:00"),
    ],
)
def test_a_day_whose_midnight_is_skipped_begins_with_its_first_instant(zone: str, day: str, first: str) -> None:
    assert first in labels(f"{day}T00:00Z", f"{day}T20:00Z", "1d", zone)
    assert hours(f"{day}T12:00Z", f"{day}T13:00Z", "1d", zone) == [23.5 if zone == "America/Toronto" else 23]


def test_a_day_that_a_zone_left_out_has_no_bucket() -> None:
    assert labels("2011-12-29T12:00Z", "2011-12-31T12:00Z", "1d", "Pacific/Apia") == [
        "2011-12-29T00:00:00-10:00",
        "2011-12-31T00:00:00+14:00",
        "2012-01-01T00:00:00+14:00",
        "2012-01-02T00:00:00+14:00",
    ]


def test_a_midnight_that_comes_twice_begins_the_day_once() -> None:
    assert labels("2026-11-01T03:00Z", "2026-11-01T20:00Z", "1d", "America/Havana") == [
        "2026-10-31T00:00:00-04:00",
        "2026-11-01T00:00:00-04:00",
        "2026-11-02T00:00:00-05:00",
    ]


def test_weeks_begin_on_monday_and_quarters_and_years_on_their_first_day() -> None:
    span = ("2026-11-24T10:00Z", "2026-11-24T11:00Z")
    assert labels(*span, "1w", "UTC")[0] == "2026-11-23T00:00:00+00:00"
    assert labels(*span, "1mo", "UTC")[0] == "2026-11-01T00:00:00+00:00"
    assert labels(*span, "1q", "UTC") == ["2026-10-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"]
    assert labels(*span, "1y", "UTC") == ["2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"]


ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Cairo"),
    *("America/Sao_Paulo", "Pacific/Apia", "America/Havana", "Asia/Kolkata", "Africa/Casablanca", "Pacific/Chatham"),
)


def floor_of(instant: int, interval: str, zone: str) -> object:
    """What the local calendar shows of a bucket, worked out from the wall clock alone."""
    wall = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=instant)).astimezone(
        zoneinfo.ZoneInfo(zone)
    )
    minutes = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}.get(interval)
    if minutes:
        return (wall.date(), (wall.hour * 60 + wall.minute) // minutes)
    return {
        "1d": wall.date(),
        "1w": wall.date() - dt.timedelta(days=wall.weekday()),
        "1mo": (wall.year, wall.month),
        "1q": (wall.year, (wall.month - 1) // 3),
        "1y": wall.year,
    }[interval]


@settings(max_examples=150, deadline=None)
@given(
    start=st.integers(us("2005-01-01T00:00Z") // 1000, us("2027-01-01T00:00Z") // 1000).map(lambda ms: ms * 1000),
    buckets=st.floats(0.001, 60),
    interval=st.sampled_from(list(INTERVALS)),
    zone=st.sampled_from(ZONES),
    places=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_every_instant_lies_in_the_bucket_that_its_wall_clock_shows(
    start: int, buckets: float, interval: str, zone: str, places: list[float]
) -> None:
    end = start + max(1, int(buckets * INTERVALS[interval]))
    edges = edges_of(start, end, interval, zone)
    assert edges[0] <= start < edges[1]
    assert edges[-2] < end <= edges[-1]
    assert list(edges) == sorted(set(edges))
    for place in places:
        instant = start + int(place * (end - start - 1))
        bucket = max(edge for edge in edges if edge <= instant)
        assert floor_of(instant, interval, zone) == floor_of(bucket, interval, zone)
    if interval in CALENDAR_INTERVALS:
        floors = [floor_of(edge, interval, zone) for edge in edges]
        assert len(set(floors)) == len(floors)
        assert all(floor_of(edge - 1, interval, zone) != floor_of(edge, interval, zone) for edge in edges)
    else:
        shift = 2 * HOUR_US if zone != "Pacific/Apia" else 25 * HOUR_US
        lengths = [after - before for before, after in pairwise(edges)]
        assert max(lengths) <= CLOCK_INTERVALS[interval] + shift


def test_relative_ranges_step_by_the_local_calendar() -> None:
    now = us("2026-03-30T10:00Z")  # a day after the change of the clock in Berlin
    day = resolve(RangeAsked(last="1d"), now, "Europe/Berlin")
    assert (day.end_us - day.start_us) / HOUR_US == 24
    two = resolve(RangeAsked(last="2d"), now, "Europe/Berlin")
    assert (two.end_us - two.start_us) / HOUR_US == 47
    month = resolve(RangeAsked(last="1mo", offset="1mo"), us("2026-03-31T10:00Z"), "UTC")
    assert (label(month.start_us, None), label(month.end_us, None)) == ("2026-01-28T10:00:00Z", "2026-02-28T10:00:00Z")
    hour = resolve(RangeAsked(last="90m"), now, "Europe/Berlin")
    assert (hour.end_us - hour.start_us) / HOUR_US == 1.5


def test_auto_takes_the_shortest_interval_that_stays_readable() -> None:
    for last, interval in (("1h", "1m"), ("24h", "15m"), ("7d", "1h"), ("90d", "1d"), ("2y", "1w"), ("10y", "1mo")):
        assert resolve(RangeAsked(last=last, interval="auto"), us("2026-11-24T00:00Z"), "UTC").interval == interval
    assert interval_that_fits(0, 10_000 * INTERVALS["1y"], 1) == "1y"


@pytest.mark.parametrize(
    ("asked", "code", "path"),
    [
        ({}, "MISSING_FIELD", "$.timeRange.start"),
        ({"start": "2026-01-01T00:00:00Z"}, "MISSING_FIELD", "$.timeRange.end"),
        ({"start": "2026-01-01T00:00:00", "end": "2026-01-02T00:00:00Z"}, "INVALID_TIME", "$.timeRange.start"),
        ({"start": "0001-01-01T00:00:00+14:00", "end": "2026-01-02T00:00:00Z"}, "INVALID_TIME", "$.timeRange.start"),
        ({"start": "yesterday", "end": "2026-01-02T00:00:00Z"}, "INVALID_TIME", "$.timeRange.start"),
        ({"start": "2026-01-02T00:00:00Z", "end": "2026-01-02T00:00:00Z"}, "INVALID_TIME_RANGE", "$.timeRange"),
        ({"start": "2026-01-03T00:00:00Z", "end": "2026-01-02T00:00:00Z"}, "INVALID_TIME_RANGE", "$.timeRange"),
        ({"start": "0001-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}, "INVALID_TIME_RANGE", "$.timeRange.start"),
        ({"start": "2026-01-01T00:00:00Z", "end": "9999-12-31T00:00:00Z"}, "INVALID_TIME_RANGE", "$.timeRange.end"),
        ({"last": "7 days"}, "INVALID_TIME_RANGE", "$.timeRange.last"),
        ({"last": "0d"}, "INVALID_TIME_RANGE", "$.timeRange.last"),
        ({"last": "999999y"}, "INVALID_TIME_RANGE", "$.timeRange.last"),
        ({"last": "1d", "offset": "-1d"}, "INVALID_TIME_RANGE", "$.timeRange.offset"),
        ({"last": "1d", "start": "2026-01-01T00:00:00Z"}, "INVALID_TIME_RANGE", "$.timeRange"),
        ({"offset": "1d"}, "INVALID_TIME_RANGE", "$.timeRange"),
        ({"last": "1d", "interval": "2h"}, "UNKNOWN_INTERVAL", "$.timeRange.interval"),
        ({"last": "1d", "interval": ""}, "UNKNOWN_INTERVAL", "$.timeRange.interval"),
    ],
)
def test_a_wrong_range_names_its_place(asked: dict[str, str], code: str, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve(RangeAsked(**asked), us("2026-11-24T00:00Z"), "UTC")
    assert (caught.value.code, caught.value.path) == (code, path)


@pytest.mark.parametrize("name", ["Europe/Berlim", "", "../../etc/passwd", "CET+1", "\0"])
def test_an_unknown_time_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve(RangeAsked(last="1d"), 0, name)
    assert caught.value.code == "UNKNOWN_TIME_ZONE"
    assert caught.value.value == name


def test_labels_keep_microseconds_where_there_are_any() -> None:
    assert label(us("2026-11-24T10:00:00.000001Z"), None) == "2026-11-24T10:00:00.000001Z"
    assert label(us("2026-11-24T10:00:00Z"), "Asia/Kolkata") == "2026-11-24T15:30:00+05:30"
