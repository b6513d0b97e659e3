"""What a metric is: its definition (which events, which field, how they become one number) and its points."""

import enum
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from headwater.domain.errors import BadInput, NotFound
from headwater.domain.filters import Field, Filter, field_of, predicates_of
from headwater.domain.projects import retention_days
from headwater.domain.reading import did_you_mean, read
from headwater.domain.timerange import INTERVALS
from headwater.domain.values import shown

NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
EVENTS_MAX = 100
DIMENSIONS_MAX = 10


class MetricType(enum.StrEnum):
    COUNTER = "COUNTER"
    GAUGE = "GAUGE"
    HISTOGRAM = "HISTOGRAM"
    SUMMARY = "SUMMARY"


DEFAULT_TYPES = {
    **dict.fromkeys(("count", "sum", "unique"), MetricType.COUNTER),
    **dict.fromkeys(("avg", "min", "max", "last", "rate"), MetricType.GAUGE),
    **dict.fromkeys(("p50", "p75", "p90", "p95", "p99"), MetricType.SUMMARY),
}
AGGREGATIONS = tuple(DEFAULT_TYPES)
NUMERIC = ("sum", "avg", "min", "max", "last", "p50", "p75", "p90", "p95", "p99")
"""Aggregations of numbers: texts, booleans, lists and objects under the field are passed over, `"12"` and true too."""
ZERO_WHEN_EMPTY = ("count", "sum", "unique", "rate")
"""Aggregations of no events at all that are 0; the rest have no value."""


class MetricDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A metric as saved or sent inline. Sound only once `check_definition` has passed."""

    name: str
    aggregation: str = ""
    display_name: str | None = None
    type: MetricType | None = None
    events: tuple[str, ...] = ()
    """Names of events; empty for all."""
    filters: tuple[Filter, ...] = ()
    field: str | None = None
    formula: str | None = None
    dimensions: tuple[str, ...] = ()
    unit: str | None = None
    interval: str | None = None
    retention: str | None = None

    @property
    def metric_type(self) -> MetricType:
        return self.type or DEFAULT_TYPES[self.aggregation]


class Versioned(msgspec.Struct, frozen=True):
    """A definition with its version in the catalog; None for one that came inline."""

    definition: MetricDefinition
    version: int | None


BUILT_IN: Mapping[str, Versioned] = {
    each.name: Versioned(each, 1)
    for each in (
        MetricDefinition("events", "count", display_name="Events", unit="events"),
        MetricDefinition("actors", "unique", display_name="Actors", field="actor", unit="actors"),
        MetricDefinition("sessions", "unique", display_name="Sessions", field="sessionId", unit="sessions"),
    )
}
"""Always there; their names are reserved. `sessions` counts the distinct sessionIds seen in a bucket."""


class MetricMetadata(msgspec.Struct, frozen=True):
    unit: str
    aggregation: str
    interval: str
    retention: str


class Metric(msgspec.Struct, frozen=True):
    """One point of a metric. `timestamp` is the start of its bucket, RFC 3339; a missing dimension has no key."""

    id: str
    name: str
    type: MetricType
    value: float
    timestamp: str
    dimensions: Mapping[str, str]
    metadata: MetricMetadata


def read_definition(body: Any, *, inline: bool = False, path: str = "$") -> MetricDefinition:
    """A checked definition from what a caller sent. Inline ones may leave out the name: it is the aggregation then."""
    if inline and isinstance(body, dict) and "name" not in body:
        body = {"name": str(body.get("aggregation", "value")), **body}
    definition = read(MetricDefinition, body, path)
    check_definition(definition, path=path)
    return definition


def check_definition(definition: MetricDefinition, *, days_max: int | None = None, path: str = "$") -> None:
    """Raises BadInput with code, path, value and cure. `days_max` = how long raw rows live; None = forever."""
    _check_name(definition.name, f"{path}.name")
    if definition.formula is not None:
        raise BadInput(
            f"{path}.formula: formulas are not there yet; save the parts as metrics and combine them later",
            code="UNSUPPORTED",
            path=f"{path}.formula",
            value=definition.formula,
        )
    if not definition.aggregation:
        raise BadInput(
            f"{path}: missing field 'aggregation'; one of {', '.join(AGGREGATIONS)}",
            code="MISSING_FIELD",
            path=f"{path}.aggregation",
        )
    _check_word(definition.aggregation, AGGREGATIONS, "aggregation", "UNKNOWN_AGGREGATION", path)
    _check_field(definition, path)
    predicates_of(definition.filters, f"{path}.filters")
    _check_events(definition.events, f"{path}.events")
    dimensions_of(definition.dimensions, f"{path}.dimensions")
    if definition.interval is not None:
        _check_word(definition.interval, tuple(INTERVALS), "interval", "UNKNOWN_INTERVAL", path)
    if definition.retention is not None:
        _check_retention(definition.retention, days_max, f"{path}.retention")


def dimensions_of(names: tuple[str, ...], path: str) -> tuple[Field, ...]:
    """Raises BadInput with code TOO_MANY_DIMENSIONS, UNKNOWN_FIELD, INVALID_DIMENSION or DUPLICATE_DIMENSION."""
    if len(names) > DIMENSIONS_MAX:
        raise BadInput(
            f"{path}: {len(names)} dimensions; at most {DIMENSIONS_MAX}",
            code="TOO_MANY_DIMENSIONS",
            path=path,
            value=len(names),
            limit=DIMENSIONS_MAX,
        )
    fields: list[Field] = []
    for index, name in enumerate(names):
        at = f"{path}[{index}]"
        field = field_of(name, at)
        if field.name == "time":
            raise BadInput(
                f"{at}: time is no dimension; ask for timeRange.interval", code="INVALID_DIMENSION", path=at, value=name
            )
        if field in fields:
            raise BadInput(f"{at}: {shown(name)} stands twice", code="DUPLICATE_DIMENSION", path=at, value=name)
        fields.append(field)
    return tuple(fields)


def definition_named(name: str, saved: Mapping[str, Versioned], path: str) -> Versioned:
    """Built in or saved. Raises NotFound with code UNKNOWN_METRIC and the nearest name."""
    found = BUILT_IN.get(name) or saved.get(name)
    if found is None:
        hint = did_you_mean(name, (*BUILT_IN, *sorted(saved)[:50]))
        raise NotFound(
            f"{path}: no metric {shown(name)}; {hint}", code="UNKNOWN_METRIC", path=path, value=name, hint=hint
        )
    return found


def _check_name(name: str, path: str) -> None:
    problem = None
    if not NAME_PATTERN.fullmatch(name):
        problem = "use letters, digits, '_' and '.', a letter first, at most 128"
    elif name in BUILT_IN or name == "time":
        problem = "this name is reserved"
    elif "__" in name:
        problem = "'__' is kept for the columns of comparisons"
    if problem:
        raise BadInput(f"{path}: {problem}; got {shown(name)}", code="INVALID_NAME", path=path, value=name)


def _check_field(definition: MetricDefinition, path: str) -> None:
    at = f"{path}.field"
    if definition.aggregation in ("count", "rate"):
        if definition.field is not None:
            raise BadInput(
                f"{at}: '{definition.aggregation}' counts events and takes no field; "
                "filter with 'exists' to count those that have it",
                code="INVALID_FIELD",
                path=at,
                value=definition.field,
            )
        return
    if definition.field is None:
        raise BadInput(
            f"{path}: missing field 'field'; '{definition.aggregation}' needs one such as attributes.amount",
            code="MISSING_FIELD",
            path=at,
        )
    field = field_of(definition.field, at)
    if field.name == "time" or (definition.aggregation in NUMERIC and field.name != "attributes"):
        raise BadInput(
            f"{at}: '{definition.aggregation}' of '{field}' is no number; use a field under attributes",
            code="INVALID_FIELD",
            path=at,
            value=definition.field,
        )


def _check_events(events: tuple[str, ...], path: str) -> None:
    if len(events) > EVENTS_MAX:
        raise BadInput(
            f"{path}: {len(events)} names; at most {EVENTS_MAX}",
            code="TOO_MANY_VALUES",
            path=path,
            value=len(events),
            limit=EVENTS_MAX,
        )
    if events:
        predicates_of((Filter(field="name", operator="in", value=list(events)),), path)


def _check_word(word: str, known: tuple[str, ...], what: str, code: str, path: str) -> None:
    if word not in known:
        hint = did_you_mean(word, known)
        at = f"{path}.{what}"
        raise BadInput(
            f"{at}: unknown {what} {shown(word)}; {hint}",
            code=code,
            path=at,
            value=word,
            hint=f"known: {', '.join(known)}",
        )


def _check_retention(retention: str, days_max: int | None, path: str) -> None:
    days = retention_days(retention, path)
    if days_max is not None and (days is None or days > days_max):
        raise BadInput(
            f"{path}: {retention} is longer than the raw rows live ({days_max}d); raise the project's retention first",
            code="INVALID_RETENTION",
            path=path,
            value=retention,
            limit=f"{days_max}d",
        )
