"""Time ranges and buckets of a calendar: half-open, in any IANA time zone, exact across changes of the clock.

Days and longer buckets begin at local midnight (where midnight does not exist, at the first instant of the day), weeks
on Monday. Hours and shorter ones begin where the local clock shows a whole interval and are cut by instant, so the
hour that is shown twice in autumn is two buckets.
"""

import datetime as dt
import math
import re
import zoneinfo
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from headwater.domain.errors import BadInput
from headwater.domain.events import DAY_US, EPOCH, MICROSECOND, MINUTE_US, datetime_of
from headwater.domain.filters import instant_us
from headwater.domain.reading import did_you_mean, nearest
from headwater.domain.values import shown

HOUR_US = 60 * MINUTE_US
CLOCK_INTERVALS = {"1m": MINUTE_US, "5m": 5 * MINUTE_US, "15m": 15 * MINUTE_US, "1h": HOUR_US}
CALENDAR_INTERVALS = {
    "1d": DAY_US,
    "1w": 7 * DAY_US,
    "1mo": 2_629_746_000_000,
    "1q": 7_889_238_000_000,
    "1y": 31_556_952_000_000,
}
"""Mean lengths, for estimates only."""
INTERVALS = {**CLOCK_INTERVALS, **CALENDAR_INTERVALS}
AUTO_BUCKETS_MAX = 200
"""`auto` takes the shortest interval with at most so many buckets: a day is 96 quarter-hours, a week 168 hours."""
YEAR_MIN, YEAR_MAX = 2, 9998
"""Zone arithmetic needs a day of room at both ends of what a datetime can say."""

NAME_CHARACTERS_MAX = 64
NOT_PORTABLE = ("posix", "right/", "localtime", "Factory")
"""Files beside the zones of some systems' databases; those under `right/` have leap seconds."""

_SPAN = re.compile(r"([1-9]\d{0,5})(m|h|d|w|mo|q|y)")


class RangeAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """`timeRange` as sent: `start` and `end`, or `last` with an optional `offset` back from now."""

    start: str | UnsetType = UNSET
    end: str | UnsetType = UNSET
    last: str | UnsetType = UNSET
    offset: str | UnsetType = UNSET
    interval: str | UnsetType | None = UNSET


class TimeRange(msgspec.Struct, frozen=True):
    """`[start_us, end_us)`, resolved. `interval` is one of INTERVALS or None for one value over all of it."""

    start_us: int
    end_us: int
    interval: str | None
    zone: str


def zone_of(name: str, path: str = "$.timeZone") -> zoneinfo.ZoneInfo:
    """Raises BadInput with code UNKNOWN_TIME_ZONE."""
    try:
        return _zone(name)
    except (LookupError, ValueError, OSError):  # unknown; a path that leaves the database; a folder of it
        found = nearest(name[:NAME_CHARACTERS_MAX], zoneinfo.available_timezones())
        hint = f"did you mean '{found}'?" if found else "use an IANA name such as Europe/Berlin"
        raise BadInput(
            f"{path}: unknown time zone {shown(name)}; {hint}",
            code="UNKNOWN_TIME_ZONE",
            path=path,
            value=name[:NAME_CHARACTERS_MAX],
            hint=hint,
        ) from None


@lru_cache(maxsize=1024)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    if len(name) > NAME_CHARACTERS_MAX or name.startswith(NOT_PORTABLE):
        raise LookupError(name)
    return zoneinfo.ZoneInfo(name)


def resolve(asked: RangeAsked, now_us: int, zone: str, path: str = "$.timeRange") -> TimeRange:
    """Instants of a range. Raises BadInput with code INVALID_TIME_RANGE, INVALID_TIME or UNKNOWN_INTERVAL.

    `last` ends now, or `offset` before now; both step by the local calendar, so `1d` keeps the time of day and `1mo`
    the day of the month (or its last one).
    """
    tz = zone_of(zone)
    if asked.last is not UNSET:
        if asked.start is not UNSET or asked.end is not UNSET:
            raise _bad_range(path, "takes 'start' and 'end', or 'last'; not both", None)
        end = now_us if asked.offset is UNSET else _back(now_us, asked.offset, tz, f"{path}.offset")
        start = _back(end, asked.last, tz, f"{path}.last")
    else:
        if asked.offset is not UNSET:
            raise _bad_range(path, "'offset' goes with 'last'", asked.offset)
        if asked.start is UNSET or asked.end is UNSET:
            missing = "start" if asked.start is UNSET else "end"
            raise BadInput(
                f"{path}: missing field '{missing}'; give start and end, or last",
                code="MISSING_FIELD",
                path=f"{path}.{missing}",
            )
        start, end = instant_us(asked.start, f"{path}.start"), instant_us(asked.end, f"{path}.end")
    if not start < end:
        raise _bad_range(path, "ends before it starts or is empty; it is half-open, [start, end)", asked.end or None)
    for name, us in (("start", start), ("end", end)):
        if not YEAR_MIN <= datetime_of(us).year <= YEAR_MAX:
            raise _bad_range(f"{path}.{name}", f"is outside of the years {YEAR_MIN} to {YEAR_MAX}", None)
    interval = None if asked.interval is UNSET else asked.interval
    if interval == "auto":
        interval = interval_that_fits(start, end, AUTO_BUCKETS_MAX)
    elif interval is not None and interval not in INTERVALS:
        hint = did_you_mean(interval, (*INTERVALS, "auto"))
        at = f"{path}.interval"
        raise BadInput(
            f"{at}: unknown interval {shown(interval)}; {hint}",
            code="UNKNOWN_INTERVAL",
            path=at,
            value=interval,
            hint=f"known: {', '.join((*INTERVALS, 'auto'))}",
        )
    return TimeRange(start, end, interval, zone)


def buckets_about(start_us: int, end_us: int, interval: str) -> int:
    """How many buckets there are, give or take one for calendar intervals."""
    return math.ceil((end_us - start_us) / INTERVALS[interval])


def interval_that_fits(start_us: int, end_us: int, buckets_max: int) -> str:
    """The shortest interval with at most `buckets_max` buckets, else the longest there is."""
    return next((each for each in INTERVALS if buckets_about(start_us, end_us, each) <= buckets_max), "1y")


def edges_of(start_us: int, end_us: int, interval: str, zone: str) -> tuple[int, ...]:
    """Starts of all buckets that touch `[start_us, end_us)`, and the end of the last: n + 1 ascending instants.

    The first is the true start of its bucket, at or before `start_us`.
    """
    tz = zone_of(zone)
    width = CLOCK_INTERVALS.get(interval)
    made = _clock_edges(start_us, tz, width) if width else _calendar_edges(start_us, tz, interval)
    edges: list[int] = []
    for edge in made:
        if edge <= start_us:
            edges = [edge]
        elif edge > edges[-1]:
            edges.append(edge)
        if edge >= end_us:
            break
    assert edges[0] <= start_us and edges[-1] >= end_us
    return tuple(edges)


def label(us: int, zone: str | None) -> str:
    """A bucket's start, RFC 3339: in UTC with `Z`, or with the offset of a zone that was named."""
    if zone is None:
        return datetime_of(us).isoformat().replace("+00:00", "Z")
    return datetime_of(us).astimezone(zone_of(zone)).isoformat()


def _offset_us(us: int, tz: zoneinfo.ZoneInfo) -> int:
    offset = datetime_of(us).astimezone(tz).utcoffset()
    assert offset is not None
    return offset // MICROSECOND


def _first_change(low: int, high: int, tz: zoneinfo.ZoneInfo) -> int:
    """The first instant in (low, high] with the offset of `high`; offsets at the two ends differ."""
    after = _offset_us(high, tz)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset_us(middle, tz) == after else (middle, high)
    return high


def _clock_edges(start_us: int, tz: zoneinfo.ZoneInfo, width: int) -> Iterator[int]:
    at = start_us - width - 6 * HOUR_US  # no change of the clock makes a bucket longer than this room
    offset = _offset_us(at, tz)
    at -= (at + offset) % width
    day_end = at + DAY_US
    while True:
        change, next_offset = day_end, _offset_us(day_end, tz)
        if next_offset != offset:
            change = _first_change(at, day_end, tz)
        yield from range(at, change, width)
        if next_offset == offset:
            at += -(-(change - at) // width) * width
        else:
            # At a change a bucket begins where the clock jumps into another one, or shows a whole interval.
            before, after = (change - 1 + offset) // width, (change + next_offset) // width
            if before != after:
                yield change
            at = change + -(change + next_offset) % width
            offset = next_offset
        day_end = at + DAY_US


def _calendar_edges(start_us: int, tz: zoneinfo.ZoneInfo, interval: str) -> Iterator[int]:
    local = datetime_of(start_us).astimezone(tz).date()
    if interval == "1d":
        first = local
    elif interval == "1w":
        first = local - dt.timedelta(days=local.weekday())
    else:
        first = local.replace(month=1 if interval == "1y" else local.month, day=1)
        if interval == "1q":
            first = first.replace(month=(first.month - 1) // 3 * 3 + 1)
    days = {"1d": 1, "1w": 7}.get(interval)
    months = {"1mo": 1, "1q": 3, "1y": 12}.get(interval, 0)
    while True:
        yield midnight_us(first, tz)
        first = first + dt.timedelta(days=days) if days else _months_on(first, months)


def midnight_us(day: dt.date, tz: zoneinfo.ZoneInfo) -> int:
    """The first instant of a local day, also where its midnight was skipped."""
    wall = (dt.datetime.combine(day, dt.time(), dt.UTC) - EPOCH) // MICROSECOND
    aware = dt.datetime.combine(day, dt.time(), tz)
    by_old, by_new = ((aware.replace(fold=fold).astimezone(dt.UTC) - EPOCH) // MICROSECOND for fold in (0, 1))
    if by_old + _offset_us(by_old, tz) == wall:
        return by_old
    return _first_change(by_new - 1, by_old, tz)  # in a gap the jump lies between the readings by new and old offset


def _months_on(day: dt.date, months: int) -> dt.date:
    """`day` moved by whole months, cut to the last day where that month is shorter."""
    count = day.year * 12 + day.month - 1 + months
    year, month = count // 12, count % 12 + 1
    last = (dt.date(year + month // 12, month % 12 + 1, 1) - dt.timedelta(days=1)).day
    return dt.date(year, month, min(day.day, last))


def _back(us: int, span: str, tz: zoneinfo.ZoneInfo, path: str) -> int:
    match = _SPAN.fullmatch(span)
    if match is None:
        raise _bad_range(path, f"is not a span such as 30m, 24h, 7d, 4w, 1mo, 1q or 1y; got {shown(span)}", span)
    count, unit = int(match[1]), match[2]
    if unit in ("m", "h"):
        moved = us - count * (MINUTE_US if unit == "m" else HOUR_US)
    else:
        local = datetime_of(us).astimezone(tz)
        try:
            day = local.date()
            if unit in ("d", "w"):
                day -= dt.timedelta(days=count * (7 if unit == "w" else 1))
            else:
                day = _months_on(day, -count * {"mo": 1, "q": 3, "y": 12}[unit])
            # fold is kept; a time that the clock skipped that day is read with the offset before the jump
            moved = (dt.datetime.combine(day, local.timetz()).astimezone(dt.UTC) - EPOCH) // MICROSECOND
        except (ValueError, OverflowError):
            moved = -(2**62)
    if moved < (dt.datetime(YEAR_MIN, 1, 1, tzinfo=dt.UTC) - EPOCH) // MICROSECOND:
        raise _bad_range(path, f"reaches back before the year {YEAR_MIN}; got {shown(span)}", span)
    return moved


def _bad_range(path: str, need: str, value: Any) -> BadInput:
    return BadInput(f"{path}: {need}", code="INVALID_TIME_RANGE", path=path, value=value)
