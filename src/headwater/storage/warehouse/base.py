"""The warehouse: structured tables that answer questions. The contract of every backend.

A warehouse belongs to one project. It has one writer (`load`, `maintain`) and any number of readers; calls block, so
use threads. All times are integer microseconds since the epoch, UTC, unless a plan says otherwise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from headwater.domain.plans import Plan, Table
from headwater.domain.retention import Horizon, Removal
from headwater.storage.log.base import Counts, Position

EVENT_COLUMNS: dict[str, str] = {
    "seq": "int64",
    "id": "string: UUID text",
    "has_id": "bool: the id came from the client or its Idempotency-Key, so the event can be known again",
    "source": "string",
    "source_label": "string: the ledger's word for the source",
    "type": "string",
    "name": "string",
    "version": "string",
    "actor": "string?",
    "session_id": "string?",
    "created_us": "int64?: the client's timestamp as sent; null = none sent",
    "occurred_us": "int64: corrected and clamped",
    "clamped": "bool: occurred_us was set to received_us",
    "received_us": "int64",
    "source_ip": "string?: only where the event itself names one; else see batches",
    "user_agent": "string?: as source_ip",
    "client_batch_id": "string?: data.metadata.batchId as sent",
    "replays_seq": "int64?: the quarantined seq this event replays",
    "attributes": "string: JSON text of an object",
}
QUARANTINE_COLUMNS: dict[str, str] = {
    "seq": "int64",
    "id": "string?: UUID text where it can be read or was derived",
    "source": "string: as sent, or UNKNOWN_SOURCE",
    "source_label": "string",
    "name": "string?: where it can be read",
    "code": "string",
    "step": "string: `collect` for the collector's verdicts, else the name of the step that refused it",
    "detail": "string",
    "suppressed": "bool: counted as suppressed; not kept in the quarantine table",
    "received_us": "int64",
    "replays_seq": "int64?",
    "event": "string: the event's JSON text as it came",
}
BATCH_COLUMNS: dict[str, str] = {
    "first_seq": "int64",
    "last_seq": "int64",
    "batch_id": "string: UUID text",
    "key_id": "string",
    "sent_us": "int64?",
    "received_us": "int64",
    "source_ip": "string?",
    "user_agent": "string?",
}


class Block(msgspec.Struct, frozen=True):
    """What one load writes. Arrow tables (`__arrow_c_stream__`), ascending by seq; columns as above."""

    position: Position
    """After this block: the end of its last frame."""
    after_seq: int
    """Position before it. A block whose `after_seq` is not the present position is refused."""
    events: Any
    quarantine: Any
    batches: Any
    lost: Counts
    """From `log.Damage`; empty on a good day."""
    replays: bool = False
    """Its rows replay quarantined ones. A row whose `replays_seq` is no longer open, or came before in the block, has
    no effect; any other takes its original out of quarantine and counts where that did."""


class Loaded(msgspec.Struct, frozen=True):
    """What a load really did, from rows really inserted."""

    stored: int
    duplicate: int
    quarantined: int
    suppressed: int
    lost: int
    committed_us: int
    seconds: Mapping[str, float]
    """Time by phase: look, duplicates, insert, commit."""
    removed: int = 0
    """Occurred before the horizon: counted, and not stored."""


class Removable(msgspec.Struct, frozen=True):
    """What would be removed."""

    events: int
    quarantined: int
    """Still open ones."""
    rows: int
    """Of all tables, with what the warehouse keeps besides about these events."""
    first_us: int | None
    """When the oldest of the events occurred."""
    bytes: int
    """About so much becomes free for new events."""


class Removed(msgspec.Struct, frozen=True):
    """What a step of a removal took away."""

    events: int
    quarantined: int
    rows: int


class LedgerRow(msgspec.Struct, frozen=True):
    minute: int
    source: str
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    suppressed: int = 0
    removed: int = 0
    lost: int = 0


class LedgerPage(msgspec.Struct, frozen=True):
    """Outcome counts as of exactly one position, read in one snapshot."""

    position: Position | None
    rows: Sequence[LedgerRow]
    totals: LedgerRow
    """Over all time and sources; minute 0, source ''."""


class Before(msgspec.Struct, frozen=True):
    """An earlier stay of an event in quarantine, which a replay has ended."""

    seq: int
    reason: str


class Receipt(msgspec.Struct, frozen=True):
    """Where an event is. `state`: stored, duplicate, quarantined or suppressed."""

    id: str
    source: str
    state: str
    seq: int
    received_us: int
    stored_us: int | None
    batch_id: str | None
    duplicates: int
    reason: str | None
    before: Sequence[Before] = ()
    """Oldest first; empty for what was never replayed."""


Advance = Callable[[float, float | None], None]
"""(done so far, total or None)."""


class Tally(msgspec.Struct, frozen=True):
    """Rows that are here, counted anew, beside what the ledger says of them; of one snapshot."""

    position: Position | None
    committed_us: int
    """Of the last load; 0 before the first."""
    stored: int
    duplicate: int
    """Fewer than the ledger's where some were removed."""
    quarantined: int
    """Still open."""
    doubled: int
    """Stored in two places."""
    ledger: LedgerRow
    engines: Sequence[tuple[str, int]]
    """(version, since when in µs) of the engine that had it open, oldest first; the last is today's."""


class Space(msgspec.Struct, frozen=True):
    """Of the warehouse's files. `free_bytes` will be taken by new events; until then the disk has them not."""

    total_bytes: int
    used_bytes: int
    free_bytes: int


class Warehouse(Protocol):
    def position(self) -> Position | None:
        """How far the log is loaded, durably; None for a new warehouse."""

    def load(self, block: Block) -> Loaded:
        """Rows, quarantine, ledger counts and position in one transaction: all or nothing, durable at return.

        Exact duplicates by (source, id, created_us), also against everything stored before: the lowest seq stays, the
        rest are counted and remembered for receipts. So is a refused event whose source, id and text came before: it
        stands in quarantine once. Raises BadInput when the data itself can't be stored (the caller halves the block),
        Conflict when the block does not follow the position, Unavailable for IO.
        """

    def check(self, block: Block) -> None:
        """Try everything that `load` casts and stages of this block's rows, and keep nothing.

        Neither position nor duplicates are looked at, so a part of a block will do: so the caller finds the rows that
        can't be stored. Raises BadInput and Unavailable as `load` does.
        """

    def maintain(self) -> bool:
        """One piece of upkeep if any is due (seal, checkpoint); True when something was done. Writer thread only."""

    def run(self, plan: Plan, timeout_seconds: float, cancel: "Cancel | None" = None) -> Table:
        """Answer a plan from one snapshot. Raises BadInput (code QUERY_TIMEOUT, QUERY_CANCELLED, …)."""

    def ledger(self, minute_from: int, minute_to: int, source: str | None) -> LedgerPage:
        """Rows with minute_from <= minute < minute_to, and the totals, in one snapshot with the position."""

    def carry(self, rows: Sequence[LedgerRow]) -> None:
        """Ledger counts of events that no store holds any more, into a new warehouse; again, they replace the first.

        Raises Conflict where anything was loaded already.
        """

    def receipts(self, event_id: str, source: str | None) -> Sequence[Receipt]:
        """All outcomes of that id, one per source; empty when it is not here."""

    def digest(self, seq_max: int) -> Mapping[str, tuple[int, int]]:
        """Rows with seq <= `seq_max` and a checksum of their content that no order changes, for each of `events`,
        `duplicates`, `quarantine`, `replayed`: two warehouses made from the same events agree. Reads everything."""

    def removable(self, horizon: Horizon) -> Removable:
        """What raising the horizon to this one would remove, as of now. Changes nothing."""

    def raise_horizon(self, horizon: Horizon) -> Horizon:
        """From the next load on, events that occurred before it are counted as `removed` and not stored. Durable at
        return; never goes back: gives what holds now. What is stored before it is still there until `remove_some`."""

    def remove_some(self) -> Removed | None:
        """Remove the next bounded number of rows that lie before the horizon, in one transaction with the ledger: each
        counts as `removed` in the minute and source of its receipt, where it counted as stored or quarantined. None
        when nothing is left. Beside loads and maintenance, in any one thread; safe to be cut off at any instant.

        Repeats of removed events are known by the day on which they occurred; those without a timestamp by their key.
        """

    def removals(self) -> Sequence[Removal]:
        """Each raise of the horizon, oldest first."""

    def space(self) -> Space: ...

    def reclaim(self) -> Iterator[Space]:
        """Give free space back to the disk, a piece at each step, beside loads and maintenance; in any one thread, safe
        to be cut off at any instant. Ends when there is nothing more to gain. No row changes."""

    def tally(self) -> Tally:
        """Fast: no content is read."""

    def unreadable(self, advance: Advance) -> Sequence[str]:
        """Read all that is here, and tell what can't be read; empty when all of it can."""

    def seqs(self, after_seq: int, last_seq: int) -> Sequence[int]:
        """Every seq in that range that has a row, in no order: stored, duplicate or refused, replayed ones too."""

    def beside(self, name: str, memory_bytes_max: int) -> "Warehouse":
        """One of the same kind that may take the place of this: new and empty, or as it was left by whoever built it
        under that name before. What was begun under other names is removed."""

    def switch(self, new: "Warehouse", finish: Callable[[Position | None], None]) -> Callable[[], None]:
        """From here on this object is what `new` was, durably; `new` is of no more use. Questions under way are
        answered by the old one, which is kept; loads wait meanwhile.

        `finish` is called once they do, with the position at which they wait: it is to bring `new` there, and may
        raise: then nothing has changed. Call what comes back, outside of any hurry: it puts the old one away. Killed
        at any moment, either the one or the other is the warehouse. Raises Conflict when `new` stands elsewhere,
        Unavailable.
        """

    def drop_begun(self) -> None:
        """Remove all that was begun `beside` and never switched to."""

    def kept_bytes(self, *, drop: bool = False) -> int:
        """Of old ones that `switch` kept; with `drop` they are removed."""

    def facts(self) -> Mapping[str, Any]:
        """`rows_hot`, `rows_sealed`, `quarantined` (not replayed), `bytes`, `wal_bytes`, `engine_version`, …"""

    def resize(self, memory_bytes_max: int) -> None:
        """From now on take at most so much memory, also while it is in use. Raises Unavailable where that can't be.

        Nothing in a backend whose memory is not this process's.
        """

    def close(self) -> None: ...


class Cancel(Protocol):
    """Hands the running query to whoever may stop it."""

    def bind(self, interrupt: Any) -> None:
        """Called with a function that interrupts the query; called with None when it is over."""
