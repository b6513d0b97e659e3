"""Replay from quarantine: what is open is read page by page, judged again, and what passes is appended to the log.

The log's frames of kind REPLAY carry the quarantined seq of each event; `process` gives each its effect once, whoever
appended it how often. So a page is done when its entries are durable: cut off before that was noted, it is done again
and has no second effect. Live events go first: a page waits until `process` is hardly behind.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

import msgspec

from headwater.collect.bounds import Bounds
from headwater.collect.intake import confirm
from headwater.collect.rejudge import Quarantined, Ready, Rejudge, Tally, batch_of
from headwater.collect.validate import Sender
from headwater.domain.batches import encode_batch
from headwater.domain.errors import NotFound, Unavailable
from headwater.domain.events import minute_of
from headwater.domain.patches import Operation, Patch
from headwater.domain.plans import Chosen, OpenCount, OpenEvents, OpenSizes, ReplayOutcomes
from headwater.domain.schemas import Rules
from headwater.jobs.base import Job
from headwater.storage.crash import crash_point
from headwater.storage.log.base import Entry, Kind, LogWriter, Outcome
from headwater.storage.warehouse.base import Warehouse

PAGE_EVENTS = 5_000
PAGE_BYTES = 8 << 20
LAG_EVENTS_MAX = 10_000
"""How far `process` may be behind when a page is appended: a sixth of what makes live senders wait."""
WINDOW_SEQS = 100_000
WINDOW_SEQS_MAX = 1 << 40
READ_SECONDS_MAX = 60.0
SAVE_EVERY_SECONDS = 1.0
WAIT_SECONDS = 0.02
DURABLE_SECONDS_MAX = 60.0
LOADED_SECONDS_MAX = 600.0


class Args(msgspec.Struct, frozen=True):
    """Of a replay job: resolved when it was asked for, so that every attempt does the same."""

    chosen: Chosen
    patch: tuple[Operation, ...]
    through_seq: int


class Progress(msgspec.Struct):
    """The checkpoint."""

    after_seq: int
    selected: int
    tally: Tally
    first_seq: int
    """Nothing that is appended for this job lies before it."""


class Replays:
    """One project's. All methods block, for up to minutes: call them in a thread of their own."""

    def __init__(
        self,
        warehouse: Warehouse,
        log: LogWriter | None,
        *,
        rules: Callable[[], Rules],
        sender_of: Callable[[str], Sender | None],
        bounds: Bounds,
        lag: Callable[[], int],
        refusing: Callable[[], Unavailable | None] = lambda: None,
        page_events: int = PAGE_EVENTS,
        lag_events_max: int = LAG_EVENTS_MAX,
    ) -> None:
        """Without a `log` only dry runs are made. `rules` gives the schemas of now; `lag`: events that `process` is
        behind; `refusing`: why nothing may be written to the disk."""
        self._warehouse = warehouse
        self._log = log
        self._rules = rules
        self._sender_of = sender_of
        self._bounds = bounds
        self._lag = lag
        self._refusing = refusing
        self._page_events = page_events
        self._lag_events_max = lag_events_max

    def dry_run(self, chosen: Chosen, patch: Patch, seconds_max: float) -> dict[str, Any]:
        """What a replay would do, and what is in its way. Stops after `seconds_max`: `complete` is false then."""
        until = monotonic() + seconds_max
        rejudge = Rejudge(patch, self._sender_of, self._bounds)
        through_seq = self.through_seq()
        selected = self._count(chosen, through_seq)
        complete = True
        for rows, _ in self._pages(chosen, 0, through_seq):
            rejudge.page(rows, self._rules())
            if monotonic() > until:
                complete = False
                break
        tally = rejudge.tally
        return {
            "selected": selected,
            "judged": tally.judged,
            "complete": complete or tally.judged >= selected,
            "wouldStore": tally.good,
            "unchanged": tally.unchanged,
            "stillBad": tally.still_bad(),
        }

    def through_seq(self) -> int:
        """Up to where quarantine is known now: a replay asked for at this moment goes no further."""
        position = self._warehouse.position()
        return position.seq if position else 0

    def log(self) -> LogWriter:
        """Raises NotFound (OTHER_ROLE) where another process writes it."""
        if self._log is None:
            raise NotFound(
                "a replay needs the roles collect and process in one process, and this one does not collect",
                code="OTHER_ROLE",
                hint="dry runs work here; to replay, serve the data folder with --role all",
            )
        return self._log

    def run(self, job: Job) -> Mapping[str, Any]:
        """The job. Its result: selected, replayed, what became of those, and why the rest is still in quarantine."""
        log = self.log()
        args = msgspec.convert(job.args, Args)
        if job.checkpoint:
            progress = msgspec.convert(job.checkpoint, Progress)
        else:
            selected = self._count(args.chosen, args.through_seq)
            progress = Progress(0, selected, Tally(), log.durable_seq() + 1)
        rejudge = Rejudge(Patch(args.patch), self._sender_of, self._bounds)
        rejudge.tally = progress.tally
        saved_at = monotonic()
        self._save(job, progress)
        for rows, end in self._pages(args.chosen, progress.after_seq, args.through_seq):
            rules = self._rules()
            ready = rejudge.page(rows, rules)
            if ready:
                self._await_room(job, log)
                self._append(job, log, ready, rules.revision)
            crash_point("replay.before_checkpoint")
            progress.after_seq = end
            if monotonic() - saved_at > SAVE_EVERY_SECONDS:
                saved_at = monotonic()
                self._save(job, progress)
            else:
                job.check()
                job.tell(done=progress.tally.judged, total=progress.selected)
        progress.after_seq = args.through_seq
        self._save(job, progress)
        outcomes = self._outcomes(job, progress.first_seq, log.durable_seq())
        return {
            "selected": progress.selected,
            "replayed": sum(outcomes.values()),
            **outcomes,
            "unchanged": progress.tally.unchanged,
            "stillBad": progress.tally.still_bad(),
        }

    def _save(self, job: Job, progress: Progress) -> None:
        kept = msgspec.to_builtins(progress)
        job.save(kept, done=progress.tally.judged, total=progress.selected, unit="events")

    def _count(self, chosen: Chosen, through_seq: int) -> int:
        table = self._warehouse.run(OpenCount(chosen, through_seq), READ_SECONDS_MAX)
        return int(table.rows[0][0])

    def _pages(self, chosen: Chosen, after_seq: int, through_seq: int) -> Iterator[tuple[list[Quarantined], int]]:
        """Open events ascending, each page with the seq it goes up to. Flat memory: a page has PAGE_BYTES of events,
        or one event. Looks at a window of seqs at a time, in which a page or two are, or each page would cost a look
        at all that follows."""
        window = WINDOW_SEQS
        while after_seq < through_seq:
            end = min(through_seq, after_seq + window)
            sizes = self._warehouse.run(OpenSizes(chosen, after_seq, end, self._page_events), READ_SECONDS_MAX).rows
            if len(sizes) < self._page_events // 2:
                window = min(window * 4, WINDOW_SEQS_MAX)
            elif len(sizes) == self._page_events:
                window = 2 * (sizes[-1][0] - after_seq)
            n = _fitting([size for _, size in sizes])
            if n < len(sizes) or n == self._page_events:
                end = sizes[n - 1][0]
            if n:
                plan = OpenEvents(chosen, sizes[0][0], end)
                yield [Quarantined(*row) for row in self._warehouse.run(plan, READ_SECONDS_MAX).rows], end
            after_seq = end

    def _await_room(self, job: Job, log: LogWriter) -> None:
        while self._lag() > self._lag_events_max or log.queued()[0] > self._lag_events_max:
            job.check()
            threading.Event().wait(WAIT_SECONDS)
        if (refused := self._refusing()) is not None:
            raise refused

    def _append(self, job: Job, log: LogWriter, ready: list[Ready], revision: int) -> None:
        """Durable at return. Raises Unavailable; then some may be in the log."""
        landing = _Landing(len(ready))
        for each in ready:
            batch = batch_of(each, revision)
            log.append(Entry(encode_batch(batch), batch.n, minute_of(batch.received_us), {}, Kind.REPLAY), landing)
        until = monotonic() + DURABLE_SECONDS_MAX
        while not landing.down.wait(WAIT_SECONDS * 10):
            job.check()
            if monotonic() > until:
                raise Unavailable("the log did not answer within a minute", code="OUTCOME_UNKNOWN")
        for outcome in landing.outcomes:
            confirm(outcome)

    def _outcomes(self, job: Job, first_seq: int, last_seq: int) -> dict[str, int]:
        """What became of what was appended between these, once the warehouse holds it all."""
        until = monotonic() + LOADED_SECONDS_MAX
        while self.through_seq() < last_seq:
            job.check()
            if monotonic() > until:
                raise Unavailable("what was replayed is in the log and not loaded yet", code="LOADING_STALLED")
            threading.Event().wait(WAIT_SECONDS)
        counts = {"stored": 0, "duplicate": 0, "removed": 0, "quarantined": 0}
        for outcome, n in self._warehouse.run(ReplayOutcomes(first_seq, last_seq), READ_SECONDS_MAX).rows:
            counts[outcome] = n
        return counts


class _Landing:
    """Hears from the log, in whichever thread, until all entries of a page have their outcome."""

    def __init__(self, n: int) -> None:
        self.outcomes: list[Outcome] = []
        self.down = threading.Event()
        self._n = n

    def __call__(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if len(self.outcomes) == self._n:
            self.down.set()


def _fitting(sizes: list[int]) -> int:
    """How many of these, at least one where there are any, have PAGE_BYTES together."""
    total = 0
    for place, size in enumerate(sizes):
        total += size
        if total > PAGE_BYTES and place:
            return place
    return len(sizes)
