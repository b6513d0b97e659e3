"""When a cron line is due next, in a time zone, right on the days when clocks change.

Five fields: minute, hour, day of month, month, day of week (names like MON, JAN; steps, ranges, lists, `L`, `MON#2`).
With fixed hours, a time that a day does not have is due once, at the first instant after the gap; one that a day has
twice is due once, the first time. With an hour field that begins with `*`, the line is due by elapsed time: in both
hours that bear the same name, and never in one that does not exist.
"""

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from headwater.domain.errors import BadInput
from headwater.domain.events import datetime_of, us_of
from headwater.domain.timerange import zone_of
from headwater.domain.values import shown

LOOK_BACK = dt.timedelta(hours=3)
"""The answer is the first of one sequence after an instant, wherever that lies: so that inside of a doubled hour what
was due in its first pass is not due again, the sequence is begun before the change. No zone changes by more today."""
CRON_CHARACTERS_MAX = 200


def next_after(cron: str, time_zone: str, after_us: int) -> int:
    """The first instant strictly after `after_us` at which the line is due (µs, whole minutes of wall time).

    ~0.1 ms. Raises BadInput: INVALID_CRON, UNKNOWN_TIME_ZONE.
    """
    zone = zone_of(time_zone)
    after = datetime_of(after_us)
    try:
        return us_of(next(instant for instant in _instants(cron, zone, after - LOOK_BACK) if instant > after))
    except CronSimError as error:
        raise _wrong(cron, str(error)[:1].lower() + str(error)[1:]) from None
    except StopIteration:
        raise _wrong(cron, "it is never due in the next 50 years") from None


def _instants(cron: str, zone: ZoneInfo, start: dt.datetime) -> Iterator[dt.datetime]:
    """Ascending; an instant may come twice."""
    fields = cron.split()
    if len(cron) > CRON_CHARACTERS_MAX:
        raise _wrong(cron, f"at most {CRON_CHARACTERS_MAX} characters, got {len(cron)}")
    if len(fields) != 5:
        raise _wrong(cron, f"expected 5 fields, got {len(fields)}")
    local = start.astimezone(zone)
    if fields[1].startswith("*"):
        return (due.astimezone(dt.UTC) for due in CronSim(cron, local))
    return (_first_instant(wall, zone) for wall in CronSim(cron, local.replace(tzinfo=None)))


def _first_instant(wall: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The first instant at which clocks in the zone show `wall` or, where none does, a later time."""
    instant = wall.replace(tzinfo=zone).astimezone(dt.UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # In a gap: read with the offset of before it, `wall` lies after the change; with that of after it, before.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(dt.UTC)
    seconds = range(int((instant - before).total_seconds()))
    changed = bisect_left(seconds, True, key=lambda n: _shown_at(before + dt.timedelta(seconds=n), zone) >= wall)
    return before + dt.timedelta(seconds=changed)


def _shown_at(instant: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _wrong(cron: str, reason: str) -> BadInput:
    return BadInput(
        f"cron {shown(cron)}: {reason}",
        code="INVALID_CRON",
        path="$.cron",
        value=cron,
        hint="five fields: minute, hour, day of month, month, day of week; every day at 3: 0 3 * * *",
    )
