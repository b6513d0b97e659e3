"""What the engine hands to a warehouse, and what comes back: pure data, no SQL."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from headwater.domain.filters import AnyOf, Field, Predicate

FROM_REQUEST = ("sourceIp", "userAgent")
"""Fields that an event may leave to the request that brought it."""


class Plan(msgspec.Struct, frozen=True, tag=True):
    """A question, decided down to resolved instants, fields and bound values. Each backend turns it into its SQL."""


class Table(msgspec.Struct, frozen=True):
    """Rows of an answer, with the facts of the snapshot they were read from."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    rows_read: int
    """Rows that the scan looked at after pruning, or an upper bound of it."""
    seq: int
    """Highest seq in the snapshot."""
    stored_us: int
    """When that seq was committed: `asOf`."""
    elapsed_seconds: float


class Measure(msgspec.Struct, frozen=True):
    """One number for each group: `aggregation` of `field` over the events for which all of `where` holds.

    Aggregations: count, sum, avg, min, max, last, unique, p50, p75, p90, p95, p99. Numeric ones look at numbers only;
    `last` is the number with the greatest (occurred_at, seq); `unique` counts distinct values, missing not among them.
    """

    aggregation: str
    field: Field | None
    where: tuple[Predicate, ...]


class Steps(msgspec.Struct, frozen=True, tag=True):
    """Equal buckets: bucket i is `[origin_us + i * width_us, origin_us + (i + 1) * width_us)`."""

    origin_us: int
    width_us: int


class Edges(msgspec.Struct, frozen=True, tag=True):
    """Buckets between neighbours of an ascending list; the last edge ends the last bucket."""

    edges: tuple[int, ...]


class Ranked(msgspec.Struct, frozen=True):
    """Order of groups by a measure or a dimension, missing values last."""

    measure: int | None
    dimension: int | None
    descending: bool


class MetricsPlan(Plan, frozen=True):
    """Measures for each bucket and each value of the dimensions.

    Answered with columns `rank` (0 = first group; with dimensions only), `bucket` (index, from 0; with buckets only),
    `d0` … (see below), `m0` …; buckets without a matching event have no row. Groups beyond `groups_max` by `ranking`,
    which looks at the whole range, are left out; rows beyond `rows_max` too.

    A dimension's value is text: a text as it is, a number or boolean as JSON writes it after one `\\x01`, a list or
    object as some text after one `\\x01`, a text that itself begins with `\\x01` after two more; missing is null. So
    1 and 1.0 are one value, and 1 and "1" are two.
    """

    start_us: int
    end_us: int
    measures: tuple[Measure, ...]
    outputs: tuple[int, ...]
    """For each metric asked, the index of its measure."""
    where: tuple[Predicate, ...] = ()
    dimensions: tuple[Field, ...] = ()
    buckets: Steps | Edges | None = None
    ranking: tuple[Ranked, ...] = ()
    groups_max: int = 1
    rows_max: int = 1
    batches: bool = True
    """Whether the address and user agent of the request must be looked up for events that name none."""


class EventsPage(Plan, frozen=True):
    """Stored events, newest first by (occurred_at, seq). Columns: EVENT_FIELDS."""

    limit: int
    where: tuple[Predicate, ...] = ()
    start_us: int | None = None
    end_us: int | None = None
    before: tuple[int, int] | None = None
    """(occurred_us, seq) of the last row of the page before this one."""


class EventById(Plan, frozen=True):
    """Stored events with that id: one for each source and timestamp it came with. Columns: EVENT_FIELDS."""

    event_id: str
    limit: int = 100


STATES = ("open", "replayed", "all")
"""Of quarantined events: still there; sent again, whatever came of that; both."""


class QuarantinePage(Plan, frozen=True):
    """Quarantined events, newest first by seq. Columns: QUARANTINE_FIELDS."""

    limit: int
    code: str | None = None
    source: str | None = None
    name: str | None = None
    start_us: int | None = None
    end_us: int | None = None
    before_seq: int | None = None
    step: str | None = None
    state: str = "open"


class QuarantineById(Plan, frozen=True):
    """By seq, or by the event's id where it has one, in any state; newest first. Columns: QUARANTINE_FIELDS."""

    seq: int | None = None
    event_id: str | None = None
    limit: int = 100


class QuarantineGroups(Plan, frozen=True):
    """How many are quarantined for each value of `by` (some of code, source, name), most first.

    Columns: those of `by`, then count, first_received_us, last_received_us, example_seq, example_detail (the newest).
    """

    by: tuple[str, ...]
    limit: int
    start_us: int | None = None
    end_us: int | None = None
    code: str | None = None
    source: str | None = None
    name: str | None = None
    step: str | None = None
    state: str = "open"


class Chosen(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which quarantined events: all that is given holds, and of several values of one thing any. Times of receipt."""

    codes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    names: tuple[str | None, ...] = ()
    """None = events without a name that can be read."""
    steps: tuple[str, ...] = ()
    seqs: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    """UUID texts."""
    start_us: int | None = None
    end_us: int | None = None


class OpenCount(Plan, frozen=True):
    """How many of the chosen events with seq <= `through_seq` are still in quarantine. Columns: count."""

    chosen: Chosen
    through_seq: int


class OpenSizes(Plan, frozen=True):
    """The next chosen events still in quarantine with after_seq < seq <= through_seq, ascending. Columns: seq, bytes
    (of the text), at most `limit` rows."""

    chosen: Chosen
    after_seq: int
    through_seq: int
    limit: int


class OpenEvents(Plan, frozen=True):
    """Those with first_seq <= seq <= last_seq, ascending, with what their requests say. Columns: OPEN_FIELDS."""

    chosen: Chosen
    first_seq: int
    last_seq: int


class ReplayOutcomes(Plan, frozen=True):
    """What became of replays whose own seqs are first_seq … last_seq. Columns: outcome, count."""

    first_seq: int
    last_seq: int


EVENT_FIELDS = (
    *("seq", "id", "type", "name", "source", "actor", "version", "session_id", "created_us", "occurred_us", "clamped"),
    *("received_us", "source_ip", "user_agent", "client_batch_id", "batch_id", "replays_seq", "attributes"),
)
"""`source_ip`, `user_agent`: the event's own, else those of its request. `batch_id` is the server's, `client_batch_id`
the client's. `attributes` is JSON text. Times are microseconds."""
QUARANTINE_FIELDS = (
    *("seq", "id", "source", "name", "code", "step", "detail", "received_us", "replays_seq", "event"),
    *("by_seq", "outcome"),
)
"""`by_seq`, `outcome`: of the replay that took it out of quarantine; null while it is there."""

OPEN_FIELDS = (
    *("seq", "id", "source", "code", "received_us", "event"),
    *("batch_id", "first_seq", "key_id", "sent_us", "source_ip", "user_agent"),
)
"""From `batch_id` on those of the request, null where it is not known."""
OF_QUARANTINE = (QuarantinePage, QuarantineById, QuarantineGroups, OpenCount, OpenSizes, OpenEvents, ReplayOutcomes)


def fields_in(predicates: Iterable[Predicate]) -> set[str]:
    """Names of the fields that the conditions read."""
    parts = [part for each in predicates for part in (each.parts if isinstance(each, AnyOf) else (each,))]
    return {part.field.name for part in parts}


def asks_request(predicates: Iterable[Predicate]) -> bool:
    return not fields_in(predicates).isdisjoint(FROM_REQUEST)
