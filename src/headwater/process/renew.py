"""A new warehouse from lake and log while the present one works, and put in its place when both are equal.

The new file is built beside the live one, which goes on taking events. When it is nearly there both are compared, row
by row; then loads wait while the new one takes the last few events, and from there on it is the warehouse. What was
built stays when the job is cut off: it goes on from there.
"""

from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Any

from headwater.domain.errors import Damaged, Unavailable
from headwater.jobs.base import Job, JobCancelled, JobStopping
from headwater.observe.journal import get_journal
from headwater.process import rebuild, retention
from headwater.process.rebuild import OUTCOMES, OpenReader, Report, differences, ledger_differences, seq_of
from headwater.storage.lake.base import Lake
from headwater.storage.log.base import Counts
from headwater.storage.warehouse.base import Advance, Warehouse

EVENTS_BEHIND_MAX = 1_000
"""What is taken while loads wait: some 40 ms."""
ROUNDS_MAX = 200
REST_SECONDS = 0.05
REST_SECONDS_MAX = 1.0
"""After each load of the new one, while the live one is behind the log."""
SAVE_EVERY_SECONDS = 2.0


journal = get_journal("pipeline")


class Renewal:
    """One project's. `run` blocks: call it in a thread."""

    def __init__(
        self,
        warehouse: Warehouse,
        open_lake: Callable[[], Lake],
        open_reader: OpenReader,
        *,
        memory_bytes: int,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`open_lake` gives a reader of its own. While `busy`, the new one steps back. `memory_bytes`: for building."""
        self._live = warehouse
        self._open_lake = open_lake
        self._open_reader = open_reader
        self._memory_bytes = memory_bytes
        self._busy = busy
        self._lost: Counts = {}
        self._missing = 0

    def run(self, job: Job) -> Mapping[str, Any]:
        """The job. Args: `force` (take it also where it differs), `dropOld`. Raises Damaged (REBUILD_DIFFERS)."""
        force, drop_old = bool(job.args.get("force")), bool(job.args.get("dropOld"))
        if job.checkpoint and job.checkpoint.get("result"):  # cut off after its switch: nothing is left to build
            return self._ended(dict(job.checkpoint["result"]), drop_old)
        name = str(job.checkpoint["name"]) if job.checkpoint else job.id.replace("-", "")[-12:]
        job.save({"name": name}, unit="events")
        while self._live.remove_some() is not None:
            job.check()
        new = self._live.beside(name, self._memory_bytes)
        try:
            result = self._build(job, name, new, force)
        except JobStopping:
            new.close()
            raise
        except (JobCancelled, Damaged):
            new.close()
            self._live.drop_begun()
            raise
        except BaseException:
            new.close()
            raise
        return self._ended(result, drop_old)

    def _build(self, job: Job, name: str, new: Warehouse, force: bool) -> dict[str, Any]:
        began = monotonic()
        self._missing = 0
        lake = self._open_lake()
        try:
            self._lost = self._lost_before(lake)
            if seq_of(new) == 0:
                new.carry(rebuild.carried(lake, self._live))
                self._missing = -lake.expired().rows
            self._approach(job, name, lake, new)
            seq = seq_of(new)
            found = differences(self._live, new, seq)
            if found and not force:
                raise self._differs(found)
            job.check()
            self._approach(job, name, lake, new)
            facts = self._report(new, lake, monotonic() - began, seq, found).facts()
            return self._switch(job, name, lake, new, force, facts)
        finally:
            lake.close()

    def _lost_before(self, lake: Lake) -> Counts:
        reader = self._open_reader()
        try:
            return rebuild.lost_before(lake, reader, self._live)
        finally:
            reader.close()

    def _report(self, new: Warehouse, lake: Lake, seconds: float, seq: int, found: list[str]) -> Report:
        position, totals = lake.position(), new.ledger(0, 0, None).totals
        return Report(
            seq=seq_of(new),
            from_lake=min(position.seq if position else 0, seq_of(new)),
            missing=self._missing,
            lost=sum(self._lost.values()),
            seconds=seconds,
            counts={outcome: getattr(totals, outcome) for outcome in OUTCOMES},
            compared_seq=seq,
            differences=found,
        )

    def _approach(self, job: Job, name: str, lake: Lake, new: Warehouse) -> None:
        """Until few events are left between the new one and the live one, which moves on meanwhile."""
        saved_at = monotonic()

        def progress(done: float, total: float | None) -> None:
            nonlocal saved_at
            job.tell(done=done, total=total)
            if monotonic() - saved_at > SAVE_EVERY_SECONDS:
                saved_at = monotonic()
                job.save({"name": name}, done=done, total=total)
            job.check()
            self._step_back()

        for _ in range(ROUNDS_MAX):
            wanted = seq_of(self._live)
            if wanted - seq_of(new) <= EVENTS_BEHIND_MAX and (wanted == 0 or seq_of(new) > 0):
                while new.maintain():
                    job.check()
                if seq_of(self._live) - seq_of(new) <= EVENTS_BEHIND_MAX:
                    return
                continue
            self._run_to(lake, new, wanted, progress)
        raise Unavailable(
            f"the new warehouse could not catch up in {ROUNDS_MAX} rounds: {wanted - seq_of(new)} events behind; "
            "it goes on from there when it is tried again",
            code="REBUILD_BEHIND",
        )

    def _run_to(self, lake: Lake, new: Warehouse, seq: int, progress: Advance) -> None:
        """What retention removed is removed after the same event again, so that later repeats meet the same rows."""
        done = len(new.removals())
        if done:
            retention.apply(new, new.removals()[-1].horizon)  # it may have been cut off in the middle
        for removal in self._live.removals()[done:]:
            if removal.seq > seq:
                break
            self._run(lake, new, removal.seq, progress)
            retention.apply(new, removal.horizon)
        self._run(lake, new, seq, progress)

    def _run(self, lake: Lake, new: Warehouse, seq: int, progress: Advance) -> None:
        _, missing = rebuild.run(lake, self._open_reader, new, seq, self._lost, progress, through_seq=seq)
        self._missing += missing

    def _step_back(self) -> None:
        until = monotonic() + REST_SECONDS_MAX
        while self._busy() and monotonic() < until:
            sleep(REST_SECONDS)

    def _switch(
        self, job: Job, name: str, lake: Lake, new: Warehouse, force: bool, facts: dict[str, Any]
    ) -> dict[str, Any]:
        waiting_since = 0.0

        def finish(at: Any) -> None:
            nonlocal waiting_since
            waiting_since = monotonic()
            if at is not None:
                self._run_to(lake, new, at.seq, lambda done, total: None)
            found = ledger_differences(self._live, new)
            if found and not force:
                raise self._differs(found)

        retire = self._live.switch(new, finish)
        result = {**facts, "switched": True, "pauseMs": round((monotonic() - waiting_since) * 1000, 1)}
        journal.info("warehouse_switched", project=job.project, seq=facts["seq"], pause_ms=result["pauseMs"])
        try:
            job.save({"name": name, "result": result})
        finally:
            retire()
        return result

    def _ended(self, result: dict[str, Any], drop_old: bool) -> dict[str, Any]:
        if drop_old:
            result["droppedBytes"] = self._live.kept_bytes(drop=True)
        return {**result, "keptBytes": self._live.kept_bytes()}

    @staticmethod
    def _differs(found: list[str]) -> Damaged:
        return Damaged(
            f"the new warehouse is not equal to the present one, which stays: {'; '.join(found)}",
            code="REBUILD_DIFFERS",
            value=found,
            hint="look: headwater doctor --deep; take the new one all the same: headwater lake rebuild --force",
        )
