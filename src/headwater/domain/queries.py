"""A question, and its answer, as both are on the wire (`POST /api/v1/query`)."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from headwater.domain.filters import Filter
from headwater.domain.timerange import RangeAsked

METRICS_MAX = 20
ORDER_MAX = 10
GROUPS_DEFAULT = 100
"""Groups (values of the dimensions) of an answer where the question names no limit; `truncated` says there are more."""
GROUPS_MAX = 10_000


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """By a metric or dimension of the question, or by `time`."""

    by: str
    descending: bool = False


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A question as sent. A metric is a name or an inline definition. Sound once `engine.query.parse` has read it."""

    metrics: tuple[Any, ...]
    time_range: RangeAsked
    time_zone: str | None = None
    dimensions: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    compare: Any = None
    others: bool = False
    as_of: str | None = None


class Column(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`type`: time, string, number, boolean, or any where a dimension has values of several types."""

    name: str
    type: str
    unit: str | UnsetType = UNSET
    definition_version: int | UnsetType = UNSET


class Facts(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What every answer says about itself."""

    as_of: str | None
    watermark: str | None
    tier: str
    rows_read: int
    elapsed_ms: float
    cache: str
    exact: bool
    unfinished: Sequence[str]
    """Starts of buckets that end after the watermark: their numbers may still grow."""
    truncated: bool
    """There are more groups than the limit lets through."""
    warnings: Sequence[str]


class Answer(Facts, frozen=True, rename="camel", kw_only=True):
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
