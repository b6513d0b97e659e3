"""The lake: every accepted event as it came, with its log position and verdict. The contract of every backend.

A lake belongs to one project. Rows are Arrow (any object with `__arrow_c_stream__`), columns as in COLUMNS, ascending
by seq. Repeats and quarantined events are here too: the warehouse can be made again from this alone.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from headwater.storage.log.base import Position

COLUMNS: dict[str, str] = {
    "seq": "int64: position in the log",
    "received_on": "date32: UTC day of received_us; the partition",
    "kind": "int8: log.base.Kind",
    "replays_seq": "int64?: the quarantined seq that this row replays",
    "batch_id": "binary: 16 bytes",
    "key_id": "string",
    "id_base": "binary: 16 bytes",
    "recognisable": "bool",
    "public": "bool: sent with an ingest key",
    "batch_index": "int32: index of the event in its batch",
    "source_default": "string: Batch.source",
    "source_label": "string: ledger label under which it was received",
    "source_ip": "string?: of the connection",
    "user_agent": "string?: of the connection",
    "sent_us": "int64?",
    "received_us": "int64",
    "revision": "int64: catalog revision of the verdict",
    "code": "string?: verdict; null = accepted",
    "detail": "string?: verdict",
    "verdict_source": "string?: Verdict.source, where `source_label` may only say OTHER_SOURCE; null = accepted",
    "suppressed": "bool: beyond the quarantine quota",
    "event": "string: the event's JSON text as it came; undecodable bytes as backslash escapes",
    "event_bytes": "binary?: the event as it came, only where `event` had to escape some of it",
}


class Version(msgspec.Struct, frozen=True):
    """One entry of a lake's history."""

    version: int
    committed_us: int
    operation: str
    rows: int
    bytes: int
    files: int
    seq: int
    """Position after it."""


class Lake(Protocol):
    """One writer at a time; readers any number. Calls block; use a thread."""

    def position(self) -> Position | None:
        """Up to where rows are here durably; None for a new lake."""

    def append(self, rows: Any, position: Position) -> None:
        """Add rows and move the position in one commit: both or neither, exactly once.

        Without rows (nothing readable came, or a new log goes on) only the position moves. At return the data files,
        the commit and their folders are fsynced. Raises Unavailable (disk full, read-only); then nothing was
        committed, but for code OUTCOME_UNKNOWN: then the lake is closed, and its position at the next opening tells.
        Raises Conflict when `position.seq` is not above the present one (of another log: below it).
        """

    def read(self, after_seq: int, rows_max: int) -> Iterator[Any]:
        """Arrow tables ascending by seq, `after_seq` excluded; never splits a batch. Flat memory at any size.

        Raises Damaged, naming the file, when one can't be read.
        """

    def history(self, limit: int) -> list[Version]:
        """Newest first."""

    def stats(self) -> dict[str, int]:
        """`files`, `bytes`, `rows`, `version`, `seq`; `set_aside` = unreadable commits, `checkpoint_failures`."""

    def close(self) -> None: ...
