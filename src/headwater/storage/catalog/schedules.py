"""The catalog's part for schedules: which job is due when. When a cron line is due next is computed outside."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from headwater.storage.catalog.jobs import JobRow


class Schedule(msgspec.Struct, frozen=True):
    project: str
    name: str
    kind: str
    lane: str
    args: Mapping[str, Any]
    attempts_max: int
    cron: str
    time_zone: str
    next_us: int


class Schedules(Protocol):
    """Thread-safe, shared by processes; errors as of `Jobs`. Instants are of the database's clock."""

    def put(self, schedule: Schedule) -> None:
        """Create or replace. One that is there with the same cron and zone keeps its next time."""

    def remove(self, project: str, name: str) -> bool:
        """False when it was not there. A job that it made stays."""

    def list(self, project: str | None = None) -> Sequence[Schedule]:
        """By project and name."""

    def due(self) -> tuple[int, Sequence[Schedule]]:
        """(now, those whose time has come), the longest due first."""

    def fire(self, schedule: Schedule, next_us: int) -> JobRow | None:
        """Move the schedule on to `next_us` and enqueue its job, together; None where somebody else did so already.

        Where its job of the time before is not finished (its dedup_key is `schedule:<name>`), that one is given and no
        other is made.
        """
