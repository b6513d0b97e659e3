"""How long things are kept: settings and a moment → the instants before which nothing stays.

Whole days of the project's zone go, by the day on which an event occurred; with `90d` today and the 90 days before it
stay. What is removed stays removed: a horizon never goes back, also where a retention is made longer later.
"""

import datetime as dt
from collections.abc import Iterable
from zoneinfo import ZoneInfo

import msgspec

from headwater.domain.errors import BadInput
from headwater.domain.events import datetime_of, text_of
from headwater.domain.projects import ProjectSettings, retention_days
from headwater.domain.timerange import midnight_us, zone_of

NEVER = -(1 << 62)
"""A horizon before everything: nothing is removed."""


class Horizon(msgspec.Struct, frozen=True):
    """Both are midnights of the project's zone, or NEVER."""

    before_us: int = NEVER
    """Events that occurred before it go, and what was received before it about repeats."""
    quarantine_before_us: int = NEVER
    """Refused events that were received before it go."""

    def reaches(self, other: "Horizon") -> bool:
        """Is everything gone with this that goes with the other?"""
        return self.before_us >= other.before_us and self.quarantine_before_us >= other.quarantine_before_us

    def joined(self, other: "Horizon") -> "Horizon":
        """The later of each."""
        return Horizon(max(self.before_us, other.before_us), max(self.quarantine_before_us, other.quarantine_before_us))


class Removal(msgspec.Struct, frozen=True):
    """One entry in the history of a warehouse: after the event `seq` the horizon was this."""

    horizon: Horizon
    seq: int
    removed_us: int


def horizon_of(settings: ProjectSettings, now_us: int) -> Horizon:
    """What the settings ask for at this moment."""
    zone = zone_of(settings.time_zone)
    before_us = _before(retention_days(settings.retention), now_us, zone)
    if settings.quarantine_retention is None:
        return Horizon(before_us, before_us)
    return Horizon(before_us, _before(retention_days(settings.quarantine_retention), now_us, zone))


def lake_before_us(settings: ProjectSettings, now_us: int) -> int:
    """Events that were received before this instant, a midnight of the project's zone, need not stay in the lake."""
    return _before(retention_days(settings.lake_retention), now_us, zone_of(settings.time_zone))


def check_as_of(removals: Iterable[Removal], as_of_seq: int, start_us: int) -> None:
    """Raises BadInput (AS_OF_REMOVED) where days from `start_us` on were whole at that seq and are removed since."""
    for removal in removals:
        if removal.seq > as_of_seq and start_us < removal.horizon.before_us:
            removed, before = text_of(removal.removed_us), text_of(removal.horizon.before_us)
            raise BadInput(
                f"at that moment there were events of before {before}, which retention removed at {removed}",
                code="AS_OF_REMOVED",
                path="$.asOf",
                hint=f"ask as of {removed} or later, or of times from {before} on",
            )


def _before(days: int | None, now_us: int, zone: ZoneInfo) -> int:
    if days is None:
        return NEVER
    return midnight_us(datetime_of(now_us).astimezone(zone).date() - dt.timedelta(days=days), zone)
