"""Query + definitions + now → Question: instants, buckets, measures and ranking, all decided; no SQL, no IO."""

from collections.abc import Mapping

import msgspec

from headwater.domain.errors import BadInput
from headwater.domain.filters import Field, Filter, field_of, predicates_of
from headwater.domain.metrics import MetricDefinition, Versioned, definition_named, dimensions_of
from headwater.domain.plans import Edges, Measure, MetricsPlan, Ranked
from headwater.domain.queries import GROUPS_DEFAULT, Query
from headwater.domain.timerange import TimeRange, buckets_about, edges_of, interval_that_fits, resolve
from headwater.engine.query.parse import inline_definition


class Output(msgspec.Struct, frozen=True):
    """One metric of the question, as it goes into the answer."""

    name: str
    definition: MetricDefinition
    version: int | None


class Question(msgspec.Struct, frozen=True):
    """A plan, with all that the answer needs besides the plan's table."""

    plan: MetricsPlan
    outputs: tuple[Output, ...]
    time_range: TimeRange
    label_zone: str | None
    """The zone whose offset the labels carry; None = UTC with `Z`."""
    dimensions: tuple[str, ...]
    edges: tuple[int, ...]
    """Starts of the buckets and the end of the last; empty without an interval."""
    groups: int
    time_descending: bool
    points_max: int
    warnings: tuple[str, ...]


def plan_query(query: Query, saved: Mapping[str, Versioned], now_us: int, points_max: int) -> Question:
    """Raises BadInput: UNKNOWN_METRIC, INVALID_TIME_RANGE, TOO_MANY_POINTS and others. Cost: 2 us a bucket."""
    outputs = tuple(_output(metric, index, saved) for index, metric in enumerate(query.metrics))
    span = resolve(query.time_range, now_us, query.time_zone or "UTC")
    edges: tuple[int, ...] = ()
    if span.interval is not None:
        check_points(span, buckets_about(span.start_us, span.end_us, span.interval), 1, points_max)
        edges = edges_of(span.start_us, span.end_us, span.interval, span.zone)
        check_points(span, len(edges) - 1, 1, points_max)
    dimensions = dimensions_of(query.dimensions, "$.dimensions")
    groups = query.limit or GROUPS_DEFAULT
    plan = MetricsPlan(
        start_us=span.start_us,
        end_us=span.end_us,
        measures=tuple(measure_of(each.definition) for each in outputs),
        outputs=tuple(range(len(outputs))),
        where=predicates_of(query.filters),
        dimensions=dimensions,
        buckets=Edges(edges) if edges else None,
        ranking=_ranking(query, outputs, dimensions),
        groups_max=groups + 1,
        rows_max=points_max + 1,
    )
    return Question(
        plan=plan,
        outputs=outputs,
        time_range=span,
        label_zone=query.time_zone,
        dimensions=query.dimensions,
        edges=edges,
        groups=groups,
        time_descending=any(each.by == "time" and each.descending for each in query.order),
        points_max=points_max,
        warnings=tuple(_warnings(query, outputs)),
    )


def measure_of(definition: MetricDefinition) -> Measure:
    """What the warehouse computes for a metric. A rate is a count; its seconds come in when the answer is shaped."""
    where = predicates_of(definition.filters)
    if definition.events:
        named = Filter(field="name", operator="in", value=list(dict.fromkeys(definition.events)))
        where = (*predicates_of((named,)), *where)
    aggregation = "count" if definition.aggregation == "rate" else definition.aggregation
    field = None if definition.field is None else field_of(definition.field)
    return Measure(aggregation, field, where)


def check_points(span: TimeRange, buckets: int, groups: int, points_max: int) -> None:
    """Raises BadInput with code TOO_MANY_POINTS, the number, the limit and the nearest interval that fits."""
    if buckets * groups <= points_max:
        return
    fitting = interval_that_fits(span.start_us, span.end_us, max(1, points_max // groups))
    many = f"{buckets} buckets" + (f" of {groups} groups" if groups > 1 else "")
    hint = f"use interval {fitting}, a shorter range" + (" or a lower limit" if groups > 1 else "")
    raise BadInput(
        f"$.timeRange.interval: {many} are {buckets * groups} points; at most {points_max}; {hint}",
        code="TOO_MANY_POINTS",
        path="$.timeRange.interval",
        value=buckets * groups,
        limit=points_max,
        hint=hint,
    )


def _output(metric: object, index: int, saved: Mapping[str, Versioned]) -> Output:
    if isinstance(metric, str):
        found = definition_named(metric, saved, f"$.metrics[{index}]")
        return Output(metric, found.definition, found.version)
    definition = inline_definition(metric, index)
    return Output(definition.name, definition, None)


def _ranking(query: Query, outputs: tuple[Output, ...], dimensions: tuple[Field, ...]) -> tuple[Ranked, ...]:
    """As ordered; where nothing is said, the first metric, greatest first."""
    if not dimensions:
        return ()
    names = [each.name for each in outputs]
    ranking = [
        Ranked(names.index(each.by), None, each.descending)
        if each.by in names
        else Ranked(None, query.dimensions.index(each.by), each.descending)
        for each in query.order
        if each.by != "time" or each.by in names
    ]
    return tuple(ranking) or (Ranked(0, None, True),)


def _warnings(query: Query, outputs: tuple[Output, ...]) -> list[str]:
    said = []
    if not query.dimensions and (query.limit is not None or any(each.by != "time" for each in query.order)):
        said.append("order and limit choose among the values of dimensions; there are none in this question")
    if any(each.name == "sessions" for each in outputs):
        said.append("sessions counts each sessionId in every bucket where it is seen; events without one don't count")
    return said
