"""The way into one project's log: judged bodies become entries, and their senders wait here for durability."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, Judged, Note
from headwater.collect.limit import Quota
from headwater.collect.sources import Labels
from headwater.collect.validate import Moment, Sender
from headwater.domain.batches import Batch, encode_batch, new_uuid7_bytes
from headwater.domain.errors import Overloaded, Unavailable
from headwater.domain.events import derived_id, minute_of
from headwater.domain.schemas import Rules
from headwater.observe.journal import get_journal
from headwater.storage.crash import crash_point
from headwater.storage.log.base import Entry, LogWriter, Outcome

POLL_SECONDS = 0.01
"""How often the lag is looked at, also while somebody waits for it to shrink."""
HELD_MAX = 32
HELD_BYTES_MAX = 128 << 10
"""Entries go to the log's thread by so many, and at the end of each turn of the event loop. One by one they became
groups of one: the disk was synced 20 times a turn, while no answer can be written before the turn's end."""
IDEMPOTENCY = uuid.UUID("6d7c1a52-6c0e-5f0e-9b52-0f7f7a1d2c11")
"""Namespace of ids that come from an Idempotency-Key."""


Told = Callable[[Outcome], None]
"""Called in the event loop with what became of an entry: its first seq, or why it is not in the log."""

_journal = get_journal("error")


class Acks:
    """From the log's writer thread back to the event loop: give `on_durable` to the log when it is opened."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.buffered_lost = 0
        """Entries that nobody waited for and the log could not take."""

    def on_durable(self, outcomes: Sequence[tuple[Told | None, Outcome]]) -> None:
        """One wake-up of the loop per group, however many requests are in it."""
        crash_point("log.append.before_ack")
        try:
            self._loop.call_soon_threadsafe(self._resolve, outcomes)
        except RuntimeError:
            # The loop is closed: the server stops, and nobody waits any more. What is in the log is in the log.
            return

    def _resolve(self, outcomes: Sequence[tuple[Told | None, Outcome]]) -> None:
        for told, outcome in outcomes:
            if told is None:
                self.buffered_lost += isinstance(outcome, Exception)
                continue
            try:
                told(outcome)
            except Exception as error:
                # A defect in answering one; the others of its group are not to wait for ever.
                _journal.error("answer_failed", exc_info=error)


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
        self._held: list[tuple[Entry, Told]] = []
        self._held_bytes = 0
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
        if not durable:
            return self.submit(body, judged, sender, connection, None, self.moment().received_us)
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        told = partial(resolve, done)
        receipt = self.submit(body, judged, sender, connection, told, self.moment().received_us)
        if receipt.n:
            confirm(await done)
        return receipt

    def submit(
        self,
        body: bytes,
        judged: Judged,
        sender: Sender,
        connection: Connection,
        told: Told | None,
        received_us: int,
    ) -> Receipt:
        """Hand a judged body to the log. `told` hears what became of it, later, unless there are no events.

        Without `told` the receipt is one for a buffered body; then it raises Unavailable where the log takes nothing.
        `received_us` is that of a `moment` of this turn of the loop.
        """
        batch_id = new_uuid7_bytes(received_us)
        key = connection.idempotency_key
        id_base = batch_id if key is None else uuid.uuid5(IDEMPOTENCY, f"{sender.key_id}\n{key}").bytes
        suppressed: tuple[int, ...] = ()
        if judged.verdicts:
            granted = self.quota.take(sender.key_id, len(judged.verdicts), received_us)
            suppressed = tuple(verdict.index for verdict in judged.verdicts[granted:])
        receipt = Receipt(
            uuid_text(batch_id),
            judged.n,
            len(judged.verdicts),
            judged.notes,
            id_base,
            frozenset(suppressed),
            told is not None,
        )
        if judged.n == 0:
            return receipt
        # By position, which is the log's format: by name it took 1.0 µs, this takes 0.3.
        batch = Batch(
            batch_id,
            received_us,
            judged.n,
            judged.form,
            body,
            sender.key_id,
            sender.source,
            id_base,
            key is not None,
            judged.sent_us,
            connection.source_ip,
            connection.user_agent,
            judged.verdicts,
            self.rules.revision,
            (),
            suppressed,
            sender.public,
        )
        entry = Entry(encode_batch(batch), judged.n, minute_of(received_us), self.labels.counts(judged.sources))
        self.received_us_last = received_us
        if told is None:
            self._hand_over()  # what came before it stays before it
            self._log.append(entry, None)
            return receipt
        held = self._held
        if not held:
            asyncio.get_running_loop().call_soon(self._hand_over)
        held.append((entry, told))
        self._held_bytes += len(entry.payload)
        if len(held) >= HELD_MAX or self._held_bytes >= HELD_BYTES_MAX:
            self._hand_over()
        return receipt

    def _hand_over(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        for entry, told in held:
            try:
                self._log.append(entry, told)
            except Exception as error:
                told(error)

    def _look(self) -> None:
        """Wake all who wait once the lag is below the soft bound: one timer, however many wait."""
        assert self._room is not None
        if self.lag() <= self._soft:
            self._room.set_result(None)
            self._room = None
        else:
            asyncio.get_running_loop().call_later(POLL_SECONDS, self._look)


def confirm(outcome: Outcome) -> None:
    """Raises what kept an entry out of the log."""
    if isinstance(outcome, Unavailable):
        # One outcome belongs to all requests of a group: each raises its own, or their traces would grow together.
        raise Unavailable(
            outcome.detail,
            code=outcome.code,
            hint=outcome.hint,
            retry_after_seconds=outcome.retry_after_seconds or 1,
        )
    if isinstance(outcome, Exception):
        raise outcome


def uuid_text(value: bytes) -> str:
    """As `str(UUID(bytes=value))`, in a quarter of the time."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def resolve(done: asyncio.Future[Outcome], outcome: Outcome) -> None:
    """For who waits for the outcome in a task."""
    if not done.done():  # the task was cancelled
        done.set_result(outcome)
