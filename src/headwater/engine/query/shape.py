"""Table → rows of the answer: groups in order, missing buckets filled, labels in the zone that was named."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import UNSET

from headwater.domain.metrics import ZERO_WHEN_EMPTY
from headwater.domain.plans import Table
from headwater.domain.queries import Column
from headwater.domain.timerange import label
from headwater.engine.query.plan import Output, Question, check_points

MARK = "\x01"


class Series(msgspec.Struct, frozen=True):
    """The points of one group: `values[b][i]` is metric i in bucket b (bucket 0 is all where there are none)."""

    dimensions: tuple[Any, ...]
    values: Sequence[Sequence[int | float | None]]


class Shaped(msgspec.Struct, frozen=True):
    columns: Sequence[Column]
    series: Sequence[Series]
    labels: Sequence[str]
    """One for each bucket; the start of the range where there are none."""
    unfinished: Sequence[str]
    truncated: bool


def shape(question: Question, table: Table, watermark_us: int | None) -> Shaped:
    """Raises BadInput with code TOO_MANY_POINTS when the groups found make too many."""
    plan, edges = question.plan, question.edges
    buckets = max(1, len(edges) - 1)
    groups = _groups(question, table)
    truncated = len(groups) > question.groups
    groups = groups[: question.groups]
    check_points(question.time_range, buckets, len(groups), question.points_max)
    seconds = _seconds(question)
    series = []
    for dimensions, found in groups:
        values = [
            [
                _value(each, row[measure] if row else None, seconds[bucket])
                for each, measure in zip(question.outputs, plan.outputs, strict=True)
            ]
            for bucket, row in ((bucket, found.get(bucket)) for bucket in range(buckets))
        ]
        series.append(Series(dimensions, values))
    starts = edges[:-1] or (question.time_range.start_us,)
    ends = edges[1:] or (question.time_range.end_us,)
    labels = [label(us, question.label_zone) for us in starts]
    unfinished = [name for name, end in zip(labels, ends, strict=True) if watermark_us is None or end > watermark_us]
    return Shaped(_columns(question, series), series, labels, unfinished, truncated)


def rows_of(question: Question, shaped: Shaped) -> list[list[Any]]:
    """By time, then by the order of the groups; without an interval there is no time column."""
    order = range(len(shaped.labels))
    timed = bool(question.edges)
    return [
        [*((shaped.labels[bucket],) if timed else ()), *each.dimensions, *each.values[bucket]]
        for bucket in (reversed(order) if question.time_descending else order)
        for each in shaped.series
    ]


def _groups(question: Question, table: Table) -> list[tuple[tuple[Any, ...], dict[int, Sequence[Any]]]]:
    """(dimension values, bucket → measures) for each group, in order."""
    keys = len(question.dimensions)
    timed = 1 if question.edges else 0
    if not keys:
        return [((), {row[0] if timed else 0: row[timed:] for row in table.rows})]
    groups: dict[int, tuple[tuple[Any, ...], dict[int, Sequence[Any]]]] = {}
    for row in table.rows:
        first = 1 + timed
        if row[0] not in groups:
            dimensions = zip(question.plan.dimensions, row[first : first + keys], strict=True)
            groups[row[0]] = (
                tuple(decoded(text) if field.path else text for field, text in dimensions),
                {},
            )
        groups[row[0]][1][row[1] if timed else 0] = row[first + keys :]
    return [groups[rank] for rank in sorted(groups)]


def decoded(text: str | None) -> Any:
    """The value of an attribute as a dimension: see plans.MetricsPlan. Lists and objects stay text."""
    if text is None or not text.startswith(MARK):
        return text
    if text.startswith(MARK * 2):
        return text[2:]
    said = text[1:]
    if said in ("true", "false"):
        return said == "true"
    for number in (int, float):
        try:
            value = number(said)
        except ValueError:
            continue
        return value if math.isfinite(value) else said
    return said


def _seconds(question: Question) -> list[float]:
    """What a rate divides by: the real length of each bucket inside the range; 23 or 25 hours on some days."""
    span = question.time_range
    edges = question.edges or (span.start_us, span.end_us)
    return [(min(end, span.end_us) - max(start, span.start_us)) / 1e6 for start, end in pairwise(edges)]


def _value(output: Output, found: int | float | None, seconds: float) -> int | float | None:
    aggregation = output.definition.aggregation
    if found is None or (isinstance(found, float) and not math.isfinite(found)):
        # None is "no number there"; an infinite sum is one beyond what a double holds.
        return 0 if found is None and aggregation in ZERO_WHEN_EMPTY else None
    return found / seconds if aggregation == "rate" else found


def _columns(question: Question, series: Sequence[Series]) -> list[Column]:
    columns = [Column("time", "time")] if question.edges else []
    for index, name in enumerate(question.dimensions):
        columns.append(Column(name, _kind([each.dimensions[index] for each in series])))
    for each in question.outputs:
        unit, version = each.definition.unit, each.version
        columns.append(
            Column(each.name, "number", UNSET if unit is None else unit, UNSET if version is None else version)
        )
    return columns


def _kind(values: Sequence[Any]) -> str:
    kinds = {
        "boolean" if isinstance(each, bool) else "string" if isinstance(each, str) else "number"
        for each in values
        if each is not None
    }
    return "any" if len(kinds) > 1 else kinds.pop() if kinds else "string"
