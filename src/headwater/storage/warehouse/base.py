"""The warehouse: structured tables that answer questions. The contract of every backend.

A warehouse belongs to one project. It has one writer (`load`, `maintain`) and any number of readers; calls block, so
use threads. All times are integer microseconds since the epoch, UTC, unless a plan says otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from headwater.domain.plans import Plan, Table
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


class Warehouse(Protocol):
    def position(self) -> Position | None:
        """How far the log is loaded, durably; None for a new warehouse."""

    def load(self, block: Block) -> Loaded:
        """Rows, quarantine, ledger counts and position in one transaction: all or nothing, durable at return.

        Exact duplicates by (source, id, created_us), also against everything stored before: the lowest seq stays, the
        rest are counted and remembered for receipts. Raises BadInput when the data itself can't be stored (the caller
        halves the block), Conflict when the block does not follow the position, Unavailable for IO.
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

    def receipts(self, event_id: str, source: str | None) -> Sequence[Receipt]:
        """All outcomes of that id, one per source; empty when it is not here."""

    def digest(self, seq_max: int) -> Mapping[str, tuple[int, int]]:
        """Rows with seq <= `seq_max` and a checksum of their content that no order changes, for each of `events`,
        `duplicates`, `quarantine`: two warehouses made from the same events agree. Reads everything."""

    def facts(self) -> Mapping[str, Any]:
        """`rows_hot`, `rows_sealed`, `quarantined`, `bytes`, `wal_bytes`, `engine_version`, `last_seal_us`, …"""

    def close(self) -> None: ...


class Cancel(Protocol):
    """Hands the running query to whoever may stop it."""

    def bind(self, interrupt: Any) -> None:
        """Called with a function that interrupts the query; called with None when it is over."""
