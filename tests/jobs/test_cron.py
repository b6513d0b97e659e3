"""When a cron line is due, on the days when clocks change above all."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.domain.errors import BadInput
from headwater.domain.events import text_of, us_of
from headwater.jobs.cron import next_after

ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu"),
    *("America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia", "Asia/Gaza"),
)
MINUTE_US = 60_000_000
YEAR_FROM, YEAR_TO = us_of(dt.datetime(2025, 1, 1, tzinfo=dt.UTC)), us_of(dt.datetime(2027, 1, 1, tzinfo=dt.UTC))


def us(text: str) -> int:
    return us_of(dt.datetime.fromisoformat(text))


def due(cron: str, zone: str, after: str, n: int) -> list[str]:
    found, at = [], us(after)
    for _ in range(n):
        at = next_after(cron, zone, at)
        found.append(text_of(at)[5:16])
    return found


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # 02:00 to 03:00 does not exist: once, when the gap ends
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-29T01:00", "03-30T00:30"]),
        ("*/15 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-29T01:00", "03-30T00:00"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-29T01:00", "03-30T00:00", "03-30T01:00"]),
        ("0 0 * * *", "America/Havana", "2026-03-07T12:00Z", ["03-08T05:00", "03-09T04:00"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", ["10-03T15:30", "10-04T15:15"]),
        # 02:00 to 03:00 comes twice: once, the first time
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["10-25T00:30", "10-26T01:30"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["10-25T00:00", "10-25T00:30", "10-26T01:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10Z", ["10-26T01:30"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00Z", ["04-04T14:45", "04-05T15:15"]),
        # every half hour goes on by elapsed time
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:10Z", ["10-25T00:30", "10-25T01:00", "10-25T01:30"]),
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:10Z", ["03-29T00:30", "03-29T01:00", "03-29T01:30"]),
        ("0 9 * * MON#1", "Europe/Berlin", "2026-10-01T00:00Z", ["10-05T07:00", "11-02T08:00"]),
        ("0 0 L * *", "UTC", "2026-02-01T00:00Z", ["02-28T00:00", "03-31T00:00"]),
    ],
)
def test_due_times_around_changes_of_the_clock(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert due(cron, zone, after, len(expected)) == expected


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(YEAR_FROM, YEAR_TO),
    st.integers(0, 59),
    st.one_of(st.just("*"), st.integers(0, 23).map(str)),
)
@example("Europe/Berlin", us("2026-03-28T12:00Z"), 30, "2")
@example("Europe/Berlin", us("2026-10-24T12:00Z"), 30, "2")
@example("Australia/Lord_Howe", us("2026-10-03T00:00Z"), 15, "2")
def test_a_daily_line_is_due_once_a_day_and_an_hourly_one_once_an_hour_whatever_the_clocks_do(
    name: str, start_us: int, minute: int, hour: str
) -> None:
    zone, at = ZoneInfo(name), start_us
    seen = []
    for _ in range(40):
        after, at = at, next_after(f"{minute} {hour} * * *", name, at)
        assert at > after
        seen.append(dt.datetime.fromtimestamp(at / 1e6, zone))
    days = [local.date() for local in seen]
    if hour == "*":
        assert all(local.minute == minute for local in seen)
        gaps = {later - earlier for earlier, later in zip(seen_utc(seen), seen_utc(seen)[1:], strict=False)}
        # where half an hour is put in or left out, the minute comes that much later or twice within the hour
        assert gaps <= {dt.timedelta(hours=1), dt.timedelta(minutes=30), dt.timedelta(minutes=90)}
    else:
        assert days == [days[0] + dt.timedelta(days=n) for n in range(len(days))]
        wall = dt.time(int(hour), minute)
        assert all(local.time() == wall or is_first_after_gap(local, wall) for local in seen)
        assert all(local.fold == 0 or local.time() != wall for local in seen), "the first of two"


def seen_utc(seen: list[dt.datetime]) -> list[dt.datetime]:
    return [local.astimezone(dt.UTC) for local in seen]


def is_first_after_gap(local: dt.datetime, wall: dt.time) -> bool:
    """`wall` does not exist on that day, and a second before `local` the clock showed less than it."""
    missing = dt.datetime.combine(local.date(), wall, tzinfo=local.tzinfo)
    before = (local.astimezone(dt.UTC) - dt.timedelta(seconds=1)).astimezone(local.tzinfo)
    exists = missing.astimezone(dt.UTC).astimezone(local.tzinfo).time() == wall
    return not exists and before.replace(tzinfo=None) < missing.replace(tzinfo=None) <= local.replace(tzinfo=None)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), st.integers(YEAR_FROM, YEAR_TO), st.integers(1, 300))
def test_the_sequence_is_the_same_wherever_one_begins_to_look(name: str, start_us: int, minutes: int) -> None:
    cron = "*/20 1,2 * * *"
    first = next_after(cron, name, start_us)
    somewhere = min(start_us + minutes * MINUTE_US, first - 1)
    assert next_after(cron, name, somewhere) == first


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("", "expected 5 fields, got 0"),
        ("@daily", "expected 5 fields, got 1"),
        ("0 0 3 * * *", "expected 5 fields, got 6"),
        ("61 * * * *", "bad minute"),
        ("* * * * FUNDAY", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 * 2 MON#6", "bad day-of-week"),
        (f"{','.join(['1'] * 200)} * * * *", "at most 200 characters"),
    ],
)
def test_a_line_that_is_wrong_or_never_due_is_refused_with_the_reason(cron: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        next_after(cron, "UTC", 0)
    assert caught.value.code == "INVALID_CRON" and caught.value.hint


def test_an_unknown_zone_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean 'Europe/Berlin'") as caught:
        next_after("0 3 * * *", "Europe/Berln", 0)
    assert caught.value.code == "UNKNOWN_TIME_ZONE"
