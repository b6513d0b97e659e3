"""The way into one project's log: judged bodies become entries, and their senders wait here for durability."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, Judged, Note
from headwater.collect.limit import Quota
from headwater.collect.sources import Labels
from headwater.collect.validate import Moment, Sender
from headwater.domain.batches import Batch, encode_batch, new_uuid7
from headwater.domain.errors import Overloaded, Unavailable
from headwater.domain.events import derived_id, minute_of
from headwater.domain.schemas import Rules
from headwater.storage.crash import crash_point
from headwater.storage.log.base import Entry, LogWriter, Outcome

POLL_SECONDS = 0.01
"""How often the lag is looked at, also while somebody waits for it to shrink."""
IDEMPOTENCY = uuid.UUID("6d7c1a52-6c0e-5f0e-9b52-0f7f7a1d2c11")
"""Namespace of ids that come from an Idempotency-Key."""


class Acks:
    """From the log's writer thread back to the event loop: give `on_durable` to the log when it is opened."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.buffered_lost = 0
        """Entries that nobody waited for and the log could not take."""

    def on_durable(self, outcomes: Sequence[tuple[Any, Outcome]]) -> None:
        """One wake-up of the loop per group, however many requests are in it."""
        crash_point("log.append.before_ack")
        try:
            self._loop.call_soon_threadsafe(self._resolve, outcomes)
        except RuntimeError:
            # The loop is closed: the server stops, and nobody waits any more. What is in the log is in the log.
            return

    def _resolve(self, outcomes: Sequence[tuple[Any, Outcome]]) -> None:
        for token, outcome in outcomes:
            if token is None:
                self.buffered_lost += isinstance(outcome, Exception)
            elif not token.done():
                token.set_result(outcome)


class Connection(msgspec.Struct, frozen=True):
    """What of a request stands in its batch besides the events."""

    source_ip: str | None = None
    user_agent: str | None = None
    idempotency_key: str | None = None


class Receipt(msgspec.Struct, frozen=True):
    """What the sender of a body is told."""

    batch_id_text: str
    n: int
    verdicts: int
    """Events quarantined, suppressed ones included."""
    notes: Sequence[Note]
    id_base: bytes
    suppressed: frozenset[int]
    durable: bool

    def id_of(self, note: Note) -> uuid.UUID:
        """The event's own id, else the one it was given."""
        return note.id if note.id is not None else derived_id(self.id_base, note.index)


class Intake:
    """One project. All methods belong to the event loop's thread; `rules` may be replaced at any time."""

    def __init__(
        self,
        log: LogWriter,
        *,
        rules: Rules,
        labels: Labels,
        quota: Quota,
        lag: Callable[[], int],
        lag_events_soft: int = 60_000,
        lag_events_hard: int = 5_000_000,
        ack_wait_seconds: float = 2.0,
        received_us_last: int = 0,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`lag` is how many events `process` is behind; it is asked in the event loop, so it must not block.

        `received_us_last` is the latest received time that the log or warehouse holds: none is given out below it.
        """
        self.rules = rules
        self.labels = labels
        self.quota = quota
        self.lag = lag
        self.received_us_last = received_us_last
        self._log = log
        self._soft = lag_events_soft
        self._hard = lag_events_hard
        self._wait_seconds = ack_wait_seconds
        self._clock_ns = clock_ns
        self._room: asyncio.Future[None] | None = None
        self._looked_at = 0.0
        self._crowded = False

    def moment(self, sent_us: int | None = None) -> Moment:
        """Now, never before the last received time."""
        now_us = self._clock_ns() // 1000
        behind = now_us < self.received_us_last
        return Moment(self.received_us_last if behind else now_us, sent_us, behind)

    def clock_behind_us(self) -> int:
        """How far the server's clock was set back behind the last received time; 0 normally. For health."""
        return max(0, self.received_us_last - self._clock_ns() // 1000)

    def case(self, sender: Sender, sent_us: int | None, bounds: Bounds) -> Case:
        return Case(sender, self.moment(sent_us), bounds, self.rules, self.labels.__contains__)

    def is_crowded(self) -> bool:
        """Is `process` further behind than the soft bound? Then `room` is to be awaited before anything is appended.

        Looked up at most every POLL_SECONDS: asking the log costs 5 µs, a tenth of a request.
        """
        now = time.monotonic()
        if now - self._looked_at >= POLL_SECONDS:
            self._looked_at = now
            self._crowded = self.lag() > self._soft
        return self._crowded

    async def room(self) -> None:
        """Wait until `process` is not too far behind, at most `ack_wait_seconds`: below the soft bound at once.

        Raises Overloaded (BACKLOG) beyond the hard bound.
        """
        lag = self.lag()
        if lag > self._soft and lag < self._hard:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
                self._look()
            await asyncio.wait([self._room], timeout=self._wait_seconds)
            lag = self.lag()
        if lag >= self._hard:
            raise Overloaded(
                f"{lag} events wait to be processed, of at most {self._hard}; send it again in 5 s",
                code="BACKLOG",
                limit=self._hard,
                retry_after_seconds=5,
            )

    async def append(
        self, body: bytes, judged: Judged, sender: Sender, connection: Connection, durable: bool
    ) -> Receipt:
        """Hand a judged body to the log. Durable at return, unless `durable` is False.

        Raises Unavailable: nothing is stored, or, with code OUTCOME_UNKNOWN, nobody knows.
        """
        received_us = self.moment().received_us
        batch_id = new_uuid7(received_us)
        batch_id_bytes = batch_id.bytes
        key = connection.idempotency_key
        id_base = batch_id_bytes if key is None else uuid.uuid5(IDEMPOTENCY, f"{sender.key_id}\n{key}").bytes
        suppressed: tuple[int, ...] = ()
        if judged.verdicts:
            granted = self.quota.take(sender.key_id, len(judged.verdicts), received_us)
            suppressed = tuple(verdict.index for verdict in judged.verdicts[granted:])
        receipt = Receipt(
            str(batch_id), judged.n, len(judged.verdicts), judged.notes, id_base, frozenset(suppressed), durable
        )
        if judged.n == 0:
            return receipt
        batch = Batch(
            batch_id=batch_id_bytes,
            received_us=received_us,
            n=judged.n,
            form=judged.form,
            body=body,
            key_id=sender.key_id,
            source=sender.source,
            id_base=id_base,
            recognisable=key is not None,
            sent_us=judged.sent_us,
            source_ip=connection.source_ip,
            user_agent=connection.user_agent,
            verdicts=judged.verdicts,
            revision=self.rules.revision,
            suppressed=suppressed,
            public=sender.public,
        )
        entry = Entry(encode_batch(batch), judged.n, minute_of(received_us), self.labels.counts(judged.sources))
        self.received_us_last = received_us
        if not durable:
            self._log.append(entry, None)
            return receipt
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._log.append(entry, done)
        outcome = await done
        if isinstance(outcome, Exception):
            raise _as_unavailable(outcome)
        return receipt

    def _look(self) -> None:
        """Wake all who wait once the lag is below the soft bound: one timer, however many wait."""
        assert self._room is not None
        if self.lag() <= self._soft:
            self._room.set_result(None)
            self._room = None
        else:
            asyncio.get_running_loop().call_later(POLL_SECONDS, self._look)


def _as_unavailable(outcome: Exception) -> Exception:
    if isinstance(outcome, Unavailable):
        # One outcome belongs to all requests of a group: each raises its own, or their traces would grow together.
        return Unavailable(
            outcome.detail,
            code=outcome.code,
            hint=outcome.hint,
            retry_after_seconds=outcome.retry_after_seconds or 1,
        )
    return outcome
