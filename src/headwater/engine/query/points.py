"""`GET /api/v1/metrics`: the parameters of its address, and the mission's Metric for each value."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from headwater.domain.errors import BadInput
from headwater.domain.filters import Filter
from headwater.domain.metrics import BUILT_IN, Metric, MetricMetadata, MetricType, Versioned, definition_named
from headwater.domain.queries import GROUPS_MAX, Facts, Query
from headwater.domain.reading import decoded, did_you_mean, read
from headwater.domain.values import shown
from headwater.engine.query.parse import parse_query
from headwater.engine.query.plan import Output
from headwater.engine.query.run import POINTS_MAX, ask
from headwater.storage.warehouse.base import Cancel, Warehouse

RANGE_FIELDS = ("start", "end", "last", "offset", "interval")
RANGE_DEFAULT = {"last": "24h"}
PARAMETERS = ("names", "timeRange", *RANGE_FIELDS, "dimensions", "timeZone")


def parse_metrics_parameters(parameters: Sequence[tuple[str, str]]) -> Query:
    """The question of an address: decoded (name, value) pairs in their order.

    `names=a&names=b` or `names=a,b`, by default the built-in ones; `dimensions` likewise; the time range as
    `timeRange[start]=`, as `start=`, or as JSON in `timeRange`, by default the last 24 hours. Raises BadInput.
    """
    names: list[str] = []
    dimensions: list[str] = []
    span: dict[str, Any] = {}
    zone: str | None = None
    for name, value in parameters:
        if name == "names":
            names += [each for each in value.split(",") if each]
        elif name == "dimensions":
            dimensions += [each for each in value.split(",") if each]
        elif name == "timeZone":
            zone = value
        elif (field := range_field(name)) is not None:
            add_range(span, field, value)
        else:
            raise unknown_parameter(name, PARAMETERS)
    query: dict[str, Any] = {
        "metrics": list(dict.fromkeys(names)) or list(BUILT_IN),
        "timeRange": span or RANGE_DEFAULT,
        "dimensions": list(dict.fromkeys(dimensions)),
    }
    if dimensions:
        query["limit"] = GROUPS_MAX
    return parse_query(query if zone is None else query | {"timeZone": zone})


def range_field(name: str) -> str | None:
    """Which part of a time range a parameter gives: one of RANGE_FIELDS, `*` for all of it, None for no part."""
    if name == "timeRange":
        return "*"
    if name.startswith("timeRange[") and name.endswith("]"):
        name = name[len("timeRange[") : -1]
    return name if name in RANGE_FIELDS else None


def add_range(span: dict[str, Any], field: str, value: str) -> None:
    """Raises BadInput with code MALFORMED_JSON, TYPE_MISMATCH or DUPLICATE_PARAMETER."""
    given: dict[str, Any] = {field: value}
    if field == "*":
        given = read(dict[str, Any], decoded(value, "timeRange"), "timeRange")
    for each, said in given.items():
        if each in span and span[each] != said:
            raise BadInput(
                f"timeRange: '{each}' is given twice, as {shown(span[each])} and {shown(said)}",
                code="DUPLICATE_PARAMETER",
                path=f"timeRange.{each}",
                value=said,
            )
        span[each] = said


def unknown_parameter(name: str, known: Sequence[str]) -> BadInput:
    hint = did_you_mean(name, known) if known else "this address takes none"
    return BadInput(
        f"unknown parameter {shown(name)}; {hint}", code="UNKNOWN_PARAMETER", path=name, value=name, hint=hint
    )


def metric_points(
    query: Query,
    definitions: Mapping[str, Versioned],
    warehouse: Warehouse,
    *,
    now_us: int,
    watermark_us: int | None,
    timeout_seconds: float = 30.0,
    points_max: int = POINTS_MAX,
    cancel: Cancel | None = None,
) -> tuple[list[Metric], Facts]:
    """By metric, then by time, then by group. Buckets without a value are left out. Blocks; raises as `answer`."""
    asked = ask(
        query,
        _observed(query, definitions),
        warehouse,
        now_us=now_us,
        watermark_us=watermark_us,
        timeout_seconds=timeout_seconds,
        points_max=points_max,
        cancel=cancel,
    )
    question, shaped = asked.question, asked.shaped
    dimensions = [
        {
            name: said if isinstance(said, str) else msgspec.json.encode(said).decode()
            for name, said in zip(question.dimensions, each.dimensions, strict=True)
            if said is not None
        }
        for each in shaped.series
    ]
    points = []
    for index, output in enumerate(question.outputs):
        metadata = _metadata(output, question.time_range.interval)
        seed = msgspec.json.encode([output.definition, output.version, question.dimensions])
        for bucket, start in enumerate(shaped.labels):
            for each, named in zip(shaped.series, dimensions, strict=True):
                value = each.values[bucket][index]
                if value is not None:
                    points.append(
                        Metric(
                            id=_point_id(seed, start, each.dimensions),
                            name=output.name,
                            type=output.definition.metric_type,
                            value=value,
                            timestamp=start,
                            dimensions=named,
                            metadata=metadata,
                        )
                    )
    return points, asked.facts


def _observed(query: Query, definitions: Mapping[str, Versioned]) -> dict[str, Versioned]:
    """The definitions, histograms counting their observations: that count is a histogram's value."""
    named = {
        name: definition_named(name, definitions, f"$.metrics[{index}]")
        for index, name in enumerate(query.metrics)
        if isinstance(name, str)
    }
    for name, found in named.items():
        definition = found.definition
        if definition.metric_type is MetricType.HISTOGRAM and definition.field is not None:
            seen = Filter(field=definition.field, operator="exists")
            counting = replace(definition, aggregation="count", field=None, filters=(*definition.filters, seen))
            named[name] = Versioned(counting, found.version)
    return named


def _metadata(output: Output, interval: str | None) -> MetricMetadata:
    definition = output.definition
    return MetricMetadata(
        unit=definition.unit or "",
        aggregation=definition.aggregation,
        interval=interval or definition.interval or "",
        retention=definition.retention or "forever",
    )


def _point_id(seed: bytes, start: str, dimensions: Sequence[Any]) -> str:
    """The same point has the same id in every answer: 32 hex digits of (definition, bucket, dimensions)."""
    named = msgspec.json.encode([start, dimensions])
    return hashlib.blake2b(seed + b"\0" + named, digest_size=16).hexdigest()
