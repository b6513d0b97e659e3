"""What goes out of routes that put their answers together from several places: their types, for the document.

`tests/api/test_answers.py` holds real answers against them.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from headwater.domain.keys import Key
from headwater.domain.metrics import MetricDefinition
from headwater.domain.projects import ProjectSettings
from headwater.domain.schemas import Schema
from headwater.engine.query.pages import EventOut, QuarantinedOut, QuarantineGroup


class Reason(msgspec.Struct, frozen=True):
    """A part of the service that is not well."""

    name: str
    state: Literal["degraded", "down"]
    code: str
    detail: str
    since: str
    needed: bool
    """Without it no work can be given to this process."""
    vital: bool
    """Without it only a new start of the process helps."""
    restarts: int


class HealthOut(msgspec.Struct, frozen=True):
    status: Literal["ok", "degraded", "down"]
    reasons: Sequence[Reason]


class SentResult(msgspec.Struct, frozen=True):
    """Of an event that is not plainly accepted."""

    index: int
    id: str
    status: Literal["quarantined", "suppressed", "warning", "duplicate"]
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class SentOut(msgspec.Struct, frozen=True, rename="camel"):
    accepted: int
    duplicate: int
    """Known at once to have come before: advice, the ledger has the truth."""
    quarantined: int
    batch_id: str
    results: Sequence[SentResult]


class EventPage(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[EventOut]
    next_cursor: str | None


class QuarantinedPage(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[QuarantinedOut]
    next_cursor: str | None


class QuarantinedGroups(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[QuarantineGroup]
    next_cursor: None


class RefusedExample(msgspec.Struct, frozen=True):
    seq: int
    detail: str


class StillBad(msgspec.Struct, frozen=True):
    code: str
    count: int
    example: RefusedExample


class ReplayTried(msgspec.Struct, frozen=True, rename="camel"):
    selected: int
    judged: int
    """Of the selected; fewer where the time was over."""
    complete: bool
    would_store: int
    unchanged: int
    still_bad: Sequence[StillBad]


class JobAsked(msgspec.Struct, frozen=True, rename="camel"):
    job_id: str


class SchemaOut(Schema, frozen=True, rename="camel", kw_only=True):
    object_version: int
    created_at: str
    updated_at: str


class SchemaPage(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[SchemaOut]
    next_cursor: str | None


class MetricOut(MetricDefinition, frozen=True, rename="camel", kw_only=True):
    definition_version: int
    built_in: bool
    created_at: str | UnsetType = UNSET
    updated_at: str | UnsetType = UNSET


class MetricPage(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[MetricOut]
    next_cursor: str | None


class ProjectOut(ProjectSettings, frozen=True, rename="camel", kw_only=True):
    object_version: int
    created_at: str
    updated_at: str


class ProjectMade(ProjectOut, frozen=True, rename="camel", kw_only=True):
    keys: Sequence[Key]
    """Its first two; the secret one is shown this once."""


class ProjectPage(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[ProjectOut]
    next_cursor: str | None


class KeyPage(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[Key]
    next_cursor: str | None


class LedgerSums(msgspec.Struct, frozen=True, rename="camel"):
    received: int
    stored: int
    duplicate: int
    quarantined: int
    suppressed: int
    removed: int
    lost: int
    in_flight: int
    refused: int
    """Of requests of which nothing was stored: outside of the balance."""
    balanced: bool


class LedgerLine(LedgerSums, frozen=True, rename="camel", kw_only=True):
    minute: str
    source: str


class LedgerOut(msgspec.Struct, frozen=True):
    rows: Sequence[LedgerLine]
    totals: LedgerSums
    """Over all time and sources."""
    watermark: str | None


class ReceiptBefore(msgspec.Struct, frozen=True, rename="camel"):
    log_offset: int
    state: str
    reason: str


class ReceiptOut(msgspec.Struct, frozen=True, rename="camel"):
    """Of an unknown event there are `id`, `source` as asked and `state` alone."""

    id: str
    source: str | None
    state: Literal["stored", "duplicate", "quarantined", "suppressed", "inFlight", "unknown"]
    received_at: str | UnsetType = UNSET
    stored_at: str | UnsetType | None = UNSET
    batch_id: str | UnsetType | None = UNSET
    log_offset: int | UnsetType = UNSET
    duplicates: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    """Why it is in quarantine."""
    history: Sequence[ReceiptBefore] | UnsetType = UNSET
    """Its earlier stays in quarantine, which replays have ended; from the first on."""


class LakeVersion(msgspec.Struct, frozen=True, rename="camel"):
    version: int
    committed_at: str | None
    """null where only its number is known any more."""
    operation: str
    """WRITE, OPTIMIZE (compaction), DELETE (life span), or what another tool did."""
    rows: int
    """By how much it changed them; so bytes and files."""
    bytes: int
    files: int
    seq: int


class LakeOut(msgspec.Struct, frozen=True, rename="camel"):
    files: int
    small_files: int
    """That compaction would merge now."""
    compacted_at: str | None
    """Last merge of this process."""
    bytes: int
    rows: int
    version: int
    seq: int
    """How far the log is in it."""
    set_aside: int
    """Commits that could not be read."""
    checkpoint_failures: int
    versions: Sequence[LakeVersion]
    """Newest first."""


class Reject(msgspec.Struct, frozen=True):
    step: str
    code: str
    count: int


class PipelineOut(msgspec.Struct, frozen=True, rename="camel"):
    """Counts are since the start of the process."""

    lag: int
    lake_lag: int
    durable_seq: int
    loaded_seq: int
    loads: int
    events: int
    outcomes: dict[str, int]
    seconds: dict[str, float]
    """By step."""
    rejects: Sequence[Reject]
    retries: int
    halved: int
    restarts: dict[str, int]
    """By part."""
    warehouse: dict[str, Any]
