"""The log: events on their way, in order, durable before they are acknowledged. The contract of every backend.

A log belongs to one project. It knows no events: an `Entry` is one request, opaque, with the number of events in it.
Numbers (`seq`) are given at append, one per event, ascending without reuse, also across restarts; the first is 1.
Entries are grouped into frames; a frame is the unit of durability, of reading and of positions.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from headwater.domain.errors import Unavailable

Counts = Mapping[tuple[int, str], int]
"""Events by (minute since epoch of `received`, ledger source label)."""


class Kind(enum.IntEnum):
    EVENTS = 1
    REPLAY = 2
    """Events sent again from quarantine: they were counted as received before, so their frames carry no counts."""


READ_BYTES_MAX = 32 << 20
"""Payload bytes a read gives at most, unless told otherwise: 20,000 events alone may be 20 GB."""


class Position(msgspec.Struct, frozen=True, order=True):
    """How far a consumer has come: all up to and including `seq` of the log `log_id` is done. Frame ends only."""

    log_id: bytes
    """16 random bytes made with the log; shown in no API."""
    seq: int


class Entry(msgspec.Struct, gc=False, frozen=True):
    """One request to append: at most 10,000 events."""

    payload: bytes
    n: int
    minute: int
    counts: Mapping[str, int]
    """Events by ledger source label; sums up to `n` (empty for Kind.REPLAY)."""
    kind: Kind = Kind.EVENTS


class Frame(msgspec.Struct, frozen=True):
    """A durable group of entries. Event seqs are `first_seq … first_seq + n - 1`; at most 20,000 events."""

    first_seq: int
    n: int
    kind: Kind
    counts: Counts
    payloads: Sequence[bytes]
    """One per entry, in order."""
    entry_sizes: Sequence[int]
    """Events in each entry, same order as `payloads`."""

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.n - 1


class Damage(msgspec.Struct, frozen=True):
    """What stood between two readable frames and can't be read: the seqs are gone from this log.

    `counts` are those of the frame's header where it could be read, else everything under UNKNOWN_SOURCE in the minute
    of the frame before. A gap left by a failed fsync was never acknowledged and is not reported.
    """

    first_seq: int
    n: int
    counts: Counts
    reason: str

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.n - 1


class SegmentCounts(msgspec.Struct, frozen=True):
    """What a segment's headers say was received; `segment` (its first seq) names it uniquely within `log_id`."""

    log_id: bytes
    segment: int
    last_seq: int
    counts: Counts


Outcome = int | Exception
"""First seq of the entry, or why it is not in the log (`Unavailable`; code OUTCOME_UNKNOWN where it may be)."""
OnDurable = Callable[[Sequence[tuple[Any, Outcome]]], None]
"""Called by the writer thread once per group, after the fsync, with (token, outcome) for each entry. Must not block."""


class LogWriter(Protocol):
    """The one writer of a log."""

    log_id: bytes

    def append(self, entry: Entry, token: Any) -> None:
        """Hand over an entry; returns at once. Its outcome comes through the `on_durable` given at opening.

        Raises Unavailable at once when the writer is closed, or when more than `queue_bytes_max` wait to be written.
        An entry whose outcome is a seq survives kill -9 and power loss. Entries keep the order of the calls.
        """

    def durable_seq(self) -> int:
        """Last seq that is durable; one below the first to be given when nothing is. Never goes back."""

    def queued(self) -> tuple[int, int]:
        """(events, bytes) handed over and not yet durable."""

    def broken(self) -> Unavailable | None:
        """Why nothing is taken any more until the log is opened anew; None while it works, or was closed. Cheap."""

    def trim(self, before_drop: Callable[[SegmentCounts], None]) -> int:
        """Delete whole segments that every registered consumer has reported done; returns how many.

        `before_drop` must make the segment's counts durable elsewhere; it may be called again for the same segment
        after a crash, so it must be idempotent by (log_id, segment). The last segment is never dropped.
        Space (`log.bytes_max`) and age (`log.age_hours_max`) choose among the droppable ones.
        """

    def reader(self) -> "LogReader":
        """A reader in this process, woken as soon as a group is durable. Usable after the writer is closed."""

    def facts(self) -> Mapping[str, float]:
        """`bytes` held, `frames` and `frame_bytes` written, `sync_seconds`, `sync_failures`, `write_failures` since
        the start, `torn_bytes` met at the start, `damaged_ranges` set aside. Cheap."""

    def close(self) -> None:
        """Write and fsync everything handed over, answer it, release the files. Idempotent."""


class LogReader(Protocol):
    """Reads a log that this or another process writes. Any number may exist; each thread uses its own."""

    log_id: bytes

    def first_seq(self) -> int:
        """Lowest seq still held; the next seq to be given when the log is empty."""

    def durable_seq(self) -> int:
        """As published by the writer, also from another process. Bytes beyond it are never given out."""

    def read(
        self, after_seq: int, events_max: int, wait_seconds: float, bytes_max: int = READ_BYTES_MAX
    ) -> Sequence[Frame | Damage]:
        """The next frames after `after_seq` (a frame end), oldest first, at least one unless the wait ends first.

        Stops before exceeding `events_max` events or `bytes_max` bytes, but always gives one frame; the bytes are
        those of the payloads, give or take 5 for each. Waits up to `wait_seconds` for the first
        to become durable. Raises Damaged when `after_seq` lies before `first_seq() - 1` (code POSITION_BEHIND_LOG),
        beyond what is durable (POSITION_AHEAD_OF_LOG) or inside a frame (POSITION_INSIDE_FRAME), and when the log was
        deleted or replaced meanwhile (LOG_REPLACED). Raises Unavailable when the store can't be read now.
        """

    def headers(self, after_seq: int = 0) -> Sequence[SegmentCounts]:
        """Received counts of durable frames after `after_seq`, per segment held, from their headers alone.

        Damaged frames are counted as `Damage.counts` says, so that received = what a reader is given.
        """

    def report(self, consumer: str, seq: int) -> None:
        """Tell the writer that `consumer` has everything up to `seq` durably; frees segments and back-pressure.

        The consumer's own store has the truth: it reports again at each start, also backwards.
        """

    def reported(self, consumer: str) -> int:
        """Last seq reported by that consumer, from any process; 0 when never."""

    def close(self) -> None: ...
