"""The lake: every accepted event as it came, with its log position and verdict. The contract of every backend.

A lake belongs to one project. Rows are Arrow (any object with `__arrow_c_stream__`), columns as in COLUMNS, ascending
by seq. Repeats and quarantined events are here too: the warehouse can be made again from this alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from headwater.storage.log.base import Counts, Position

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


COUNTED_BY = ("day", "source", "name", "code")
"""What events of a version can be counted by: UTC day of receipt, ledger label of the source, name (or type) as sent,
verdict of the collector."""


class Version(msgspec.Struct, frozen=True):
    """One entry of a lake's history."""

    version: int
    committed_us: int
    """0 where only its number is known any more."""
    operation: str
    """WRITE, OPTIMIZE (compaction), DELETE (life span), or what another tool did."""
    rows: int
    """By how much it changed them; so bytes and files."""
    bytes: int
    files: int
    seq: int
    """Position after it."""


class Count(msgspec.Struct, frozen=True):
    by: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    """One value for each of `by`, then the number of events; most events first."""
    events: int
    """In all groups. Replays from quarantine are not among them: they are events that were there already."""
    others: int
    """In groups beyond the limit."""


class Part(msgspec.Struct, frozen=True):
    """Files of one day: what a step of care is about."""

    day: str
    files: int
    rows: int
    bytes: int
    bytes_after: int = 0
    """Of the one file that takes their place; 0 where none does or it is not made yet."""
    left_alone: str = ""
    """Why these files were not touched: the damage, by name."""


class Unused(msgspec.Struct, frozen=True):
    """A file that no kept version needs."""

    path: str
    bytes: int


class Expired(msgspec.Struct, frozen=True):
    """What the life span took away so far."""

    rows: int
    counts: Counts
    """Events by minute of receipt and ledger label; replays are not among them."""


class View(Protocol):
    """One version, whatever becomes of the lake meanwhile."""

    @property
    def facts(self) -> Version: ...

    @property
    def position(self) -> Position | None: ...

    @property
    def rows(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    @property
    def files(self) -> int: ...

    def read(self, after_seq: int, rows_max: int) -> Iterator[Any]:
        """As `Lake.read`."""

    def count(
        self, by: Sequence[str], first_day: str | None, last_day: str | None, groups_max: int, seconds_max: float
    ) -> Count:
        """Events that had been received up to then, on days from `first_day` to `last_day` (as 2026-01-31, both
        included). Reads only the columns it needs. Raises BadInput (QUERY_TIMEOUT), NotFound (LAKE_VERSION_GONE) where
        files of that version were vacuumed, Damaged."""


class Lake(Protocol):
    """One writer at a time; readers any number. Calls block; use a thread.

    Care (compact, expire, vacuum) is for the process that appends, in any one thread beside that; each step is whole or
    nothing, also over kill -9, and what is left to do is read from the lake itself. Raises Unavailable.
    """

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

    def at(self, version: int | None = None, time_us: int | None = None) -> View:
        """The present version, that one, or the one of that time. Raises NotFound (LAKE_VERSION_GONE)."""

    def history(self, limit: int) -> list[Version]:
        """Newest first."""

    def compactable(self) -> Sequence[Part]:
        """The merges that `compact` would make now. Costs nothing."""

    def compact(self) -> Iterator[Part]:
        """Put large files in the place of many small ones, those of one day by those of one day; a merge each step.

        The same rows in the same order, compared before the commit; the position stays. A file that is damaged is
        named and left alone, and so is what a commit of somebody else took away meanwhile. Old files stay until
        `vacuum`.
        """

    def expirable(self, before_us: int, seq_max: int) -> Sequence[Part]:
        """The days that `expire` would remove. Costs nothing."""

    def expire(self, before_us: int, seq_max: int) -> Iterator[Part]:
        """Remove the rows of whole UTC days that ended at or before `before_us`, a day each step; a day with a seq
        beyond `seq_max` stays. The files stay, and older versions with them, until `vacuum`."""

    def expired(self) -> Expired: ...

    def vacuumable(self, before_us: int) -> Sequence[Unused]:
        """Files that no version from that instant on needs and nobody in this process reads."""

    def vacuum(self, before_us: int) -> Iterator[Sequence[Unused]]:
        """Delete these, some at each step, and the commits that only older versions need: those can't be asked any
        more. Must not be before what other processes still read."""

    def faults(self, advance: Callable[[float, float | None], None] | None = None) -> list[str]:
        """Files of the present version and commits that are missing or not what was written, by name; nothing is
        changed. Without `advance` only the sizes of data files are looked at; with it each is read, and it is told
        (bytes read, all bytes)."""

    def stats(self) -> dict[str, int]:
        """`files`, `small_files` (that compaction would merge now), `bytes`, `rows`, `version`, `seq`; `set_aside` =
        unreadable commits, `checkpoint_failures`, `compacted_us` (last merge of this process, 0 = none)."""

    def close(self) -> None: ...
