"""The embedded catalog's schedules."""

from collections.abc import Sequence
from typing import Any

import msgspec

from headwater.storage.catalog.jobs import JobRow
from headwater.storage.catalog.schedules import Schedule
from headwater.storage.catalog.sqlite_jobs import Read, SqliteJobs, Write, insert, json_of, unfinished

_SELECT = "select project, name, kind, lane, args, attempts_max, cron, time_zone, next_us from schedules "
_PUT = (
    "insert into schedules values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (project, name) do update set "
    "kind = excluded.kind, lane = excluded.lane, args = excluded.args, attempts_max = excluded.attempts_max, "
    "next_us = case when cron = excluded.cron and time_zone = excluded.time_zone then next_us "
    "else excluded.next_us end, cron = excluded.cron, time_zone = excluded.time_zone"
)


class SqliteSchedules:
    """The contract is `schedules.Schedules`."""

    def __init__(self, read: Read, write: Write, jobs: SqliteJobs) -> None:
        self._read = read
        self._write = write
        self._jobs = jobs

    def put(self, schedule: Schedule) -> None:
        text = json_of(f"arguments of schedule {schedule.name}", schedule.args)
        with self._write(schedule.project, schedule.name, schedule.kind, checkpoint=False) as con:
            con.execute(
                _PUT,
                (
                    *(schedule.project, schedule.name, schedule.kind, schedule.lane, text, schedule.attempts_max),
                    *(schedule.cron, schedule.time_zone, schedule.next_us),
                ),
            )

    def remove(self, project: str, name: str) -> bool:
        with self._write(project, name, checkpoint=False) as con:
            gone = con.execute("delete from schedules where project = ? and name = ?", (project, name))
            return gone.rowcount > 0

    def list(self, project: str | None = None) -> Sequence[Schedule]:
        rows = self._read(_SELECT + "where ? is null or project = ? order by project, name", project, project)
        return [_schedule(row) for row in rows]

    def due(self) -> tuple[int, Sequence[Schedule]]:
        now = self._jobs.now_us()
        return now, [_schedule(row) for row in self._read(_SELECT + "where next_us <= ? order by next_us", now)]

    def fire(self, schedule: Schedule, next_us: int) -> JobRow | None:
        key = f"schedule:{schedule.name}"
        text = json_of(f"arguments of schedule {schedule.name}", schedule.args)
        with self._write(checkpoint=False) as con:
            moved = con.execute(
                "update schedules set next_us = ? where project = ? and name = ? and next_us = ?",
                (next_us, schedule.project, schedule.name, schedule.next_us),
            )
            if not moved.rowcount:
                return None
            row = unfinished(con, schedule.project, schedule.kind, key) or insert(
                con, schedule.project, schedule.kind, schedule.lane, text, schedule.attempts_max, key
            )
        return self._jobs.row(row)


def _schedule(row: Sequence[Any]) -> Schedule:
    project, name, kind, lane, args, *rest = row
    return Schedule(project, name, kind, lane, msgspec.json.decode(args), *rest)
