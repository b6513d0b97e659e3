"""The catalog: projects, keys, schemas, definitions, jobs, and the counts of trimmed logs. One for all projects.

Objects are documents: (kind, project, name) → JSON body, with a version that counts from 1. Every change raises the
catalog's revision in the same transaction; roles watch that number to know that a key or schema has changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from headwater.storage.catalog.jobs import Jobs
from headwater.storage.catalog.schedules import Schedules
from headwater.storage.log.base import Counts, SegmentCounts


class Stored(msgspec.Struct, frozen=True):
    kind: str
    project: str
    name: str
    version: int
    """ETag on the wire."""
    body: Mapping[str, Any]
    created_us: int
    updated_us: int


class Catalog(Protocol):
    """Thread-safe. Every write is durable at return. Raises Unavailable for IO."""

    @property
    def jobs(self) -> Jobs: ...

    @property
    def schedules(self) -> Schedules: ...

    def revision(self) -> int:
        """Cheap (< 0.1 ms): polled several times a second by every role."""

    def get(self, kind: str, project: str, name: str) -> Stored | None: ...

    def list(self, kind: str, project: str, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        """By name, ascending, names greater than `after`."""

    def put(
        self, kind: str, project: str, name: str, body: Mapping[str, Any], *, if_version: int | None = None
    ) -> Stored:
        """Create (`if_version=0`: only if new), replace (`if_version=n`: only that version), or either (None).

        Raises Conflict with code ALREADY_EXISTS or VERSION_MISMATCH. Old versions are kept.
        """

    def delete(self, kind: str, project: str, name: str, *, if_version: int | None = None) -> bool:
        """False when it was not there. Its versions stay readable."""

    def versions(self, kind: str, project: str, name: str) -> Sequence[Stored]:
        """Newest first, deleted ones included."""

    def recall(self, project: str, scope: str, key: str) -> str | None:
        """Idempotency-Key: the answer kept for (project, scope, key) in the last 24 h, without keeping one."""

    def remember(self, project: str, scope: str, key: str, answer: str) -> str | None:
        """Idempotency-Key: the answer kept earlier for (project, scope, key), else None and `answer` is kept 24 h."""

    def add_trimmed(self, project: str, counts: SegmentCounts) -> None:
        """Keep a segment's received counts before it is deleted. Idempotent by (project, log_id, segment)."""

    def trimmed(self, project: str) -> Sequence[SegmentCounts]: ...

    def add_refused(self, project: str, counts: Counts) -> None:
        """Add to the refused requests' event counts by (minute, source)."""

    def refused(self, project: str, minute_from: int, minute_to: int) -> Counts: ...

    def close(self) -> None: ...


def every(catalog: Catalog, kind: str, project: str) -> Iterator[Stored]:
    """All objects of a kind by name, page by page; one that changes meanwhile may be seen before or after."""
    after = ""
    while page := catalog.list(kind, project, after=after):
        yield from page
        after = page[-1].name
