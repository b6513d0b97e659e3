"""Care of the lake as jobs: small files into large ones, days whose time is over, files that nothing needs any more.

What is left to do is read from the lake itself, each step is whole or nothing: so a job that was cut off anywhere goes
on, and twice does no more than once. It steps back while events wait: freshness comes before care.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any, TypeVar

import msgspec

from headwater.domain.events import DAY_US, text_of
from headwater.domain.projects import ProjectSettings
from headwater.domain.retention import NEVER, lake_before_us
from headwater.jobs.base import Job
from headwater.process.watermark import now_us
from headwater.storage.lake.base import Lake, Part, Unused
from headwater.storage.warehouse.base import Warehouse

NAMES_MAX = 100
"""Files and days that a dry run names."""
BUSY_SECONDS_MAX = 30.0
"""That one step waits at most while events wait: a machine that never rests needs its files merged all the same."""
LOOK_SECONDS = 0.1

T = TypeVar("T")


class Progress(msgspec.Struct):
    """The checkpoint: of steps that were told; after a kill what the last one did is not among them."""

    files: int = 0
    rows: int = 0
    bytes: int = 0
    bytes_after: int = 0
    left_alone: list[str] = []

    def add(self, part: Part) -> None:
        if part.left_alone:
            self.left_alone = [*self.left_alone, part.left_alone][:NAMES_MAX]
            return
        self.files += part.files
        self.rows += part.rows
        self.bytes += part.bytes
        self.bytes_after += part.bytes_after


class LakeCare:
    """One project's. All methods block: call them in a thread."""

    def __init__(
        self,
        lake: Callable[[], Lake],
        warehouse: Warehouse,
        settings: Callable[[], ProjectSettings],
        *,
        history_days: float,
        busy: Callable[[], bool] = lambda: False,
        on_damage: Callable[[str], None] = lambda reason: None,
        now_us: Callable[[], int] = now_us,
    ) -> None:
        """`lake` and `settings` give those of now. While `busy`, each step waits a while. `on_damage` is told of a
        file that is not what was written."""
        self._lake = lake
        self._warehouse = warehouse
        self._settings = settings
        self._history_us = round(history_days * DAY_US)
        self._busy = busy
        self._on_damage = on_damage
        self._now_us = now_us

    def compact_dry(self) -> dict[str, Any]:
        """What a compaction would merge now."""
        return parts_of(self._lake().compactable())

    def expire_dry(self) -> dict[str, Any]:
        """Which days the settings of now no longer keep, as far as the warehouse is done with them."""
        before_us, seq_max = self._expiry()
        found = parts_of(self._lake().expirable(before_us, seq_max))
        return {**found, "lakeRetention": self._settings().lake_retention, "before": instant(before_us)}

    def vacuum_dry(self, older_us: int | None = None) -> dict[str, Any]:
        """Which files no version of the last `lake.history_days` needs, or of the last `older_us`."""
        before_us = self._now_us() - (self._history_us if older_us is None else older_us)
        unused = self._lake().vacuumable(before_us)
        return {
            **unused_of(unused),
            "before": text_of(before_us),
            "names": [each.path for each in unused[:NAMES_MAX]],
        }

    def compact(self, job: Job) -> Mapping[str, Any]:
        """The job. Its result: files that were merged, rows, bytes before and after; what is damaged, by name."""
        progress, total = self._begin(job, sum(part.files for part in self._lake().compactable()))
        for part in self._steps(job, self._lake().compact()):
            progress.add(part)
            if part.left_alone:
                self._on_damage(part.left_alone)
            self._save(job, progress, total)
        return self._result(progress)

    def expire(self, job: Job) -> Mapping[str, Any]:
        """The job. Its result: files, rows and bytes that are no longer in the lake, and before when."""
        before_us, seq_max = self._expiry()
        progress, total = self._begin(job, sum(part.files for part in self._lake().expirable(before_us, seq_max)))
        for part in self._steps(job, self._lake().expire(before_us, seq_max)):
            progress.add(part)
            self._save(job, progress, total)
        return {**self._result(progress), "before": instant(before_us)}

    def vacuum(self, job: Job) -> Mapping[str, Any]:
        """The job. Its result: files and bytes that were deleted, and before when nobody had needed them."""
        older_us = job.args.get("older_us")
        before_us = self._now_us() - (self._history_us if older_us is None else older_us)
        progress, total = self._begin(job, len(self._lake().vacuumable(before_us)))
        for gone in self._steps(job, self._lake().vacuum(before_us)):
            progress.files += len(gone)
            progress.bytes += sum(each.bytes for each in gone)
            self._save(job, progress, total)
        return {"files": progress.files, "bytes": progress.bytes, "before": text_of(before_us)}

    def _expiry(self) -> tuple[int, int]:
        """(before when, up to which seq): never what the warehouse still has or has not yet."""
        before_us = lake_before_us(self._settings(), self._now_us())
        removals, position = self._warehouse.removals(), self._warehouse.position()
        if before_us == NEVER or not removals or position is None:
            return NEVER, 0
        held = removals[-1].horizon
        if self._warehouse.removable(held).rows:
            return NEVER, 0
        return min(before_us, held.before_us, held.quarantine_before_us), position.seq

    def _begin(self, job: Job, files: int) -> tuple[Progress, int]:
        progress = msgspec.convert(job.checkpoint, Progress) if job.checkpoint else Progress()
        total = progress.files + files
        job.tell(done=progress.files, total=total, unit="files")
        return progress, total

    def _save(self, job: Job, progress: Progress, total: int) -> None:
        """A step takes longer than this: a merge is of up to a million rows, a vacuum's of a hundred files."""
        job.save(msgspec.to_builtins(progress), done=progress.files, total=max(total, progress.files), unit="files")

    def _steps(self, job: Job, steps: Iterable[T]) -> Iterable[T]:
        """Each begun when no events wait; the job may end between two."""
        found = iter(steps)
        while True:
            job.check()
            until = monotonic() + BUSY_SECONDS_MAX
            while self._busy() and monotonic() < until:
                job.check()
                sleep(LOOK_SECONDS)
            try:
                step = next(found)
            except StopIteration:
                return
            yield step

    @staticmethod
    def _result(progress: Progress) -> dict[str, Any]:
        return {
            "files": progress.files,
            "rows": progress.rows,
            "bytes": progress.bytes,
            "bytesAfter": progress.bytes_after,
            "leftAlone": progress.left_alone,
        }


def parts_of(parts: Sequence[Part]) -> dict[str, Any]:
    """All of them together, and by day."""
    days = [
        {"day": part.day, "files": part.files, "rows": part.rows, "bytes": part.bytes} for part in parts[:NAMES_MAX]
    ]
    return {
        "files": sum(part.files for part in parts),
        "rows": sum(part.rows for part in parts),
        "bytes": sum(part.bytes for part in parts),
        "parts": days,
    }


def unused_of(unused: Sequence[Unused]) -> dict[str, Any]:
    return {"files": len(unused), "bytes": sum(each.bytes for each in unused)}


def instant(us: int) -> str | None:
    return None if us == NEVER else text_of(us)
