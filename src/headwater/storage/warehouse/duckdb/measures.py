"""MetricsPlan → SQL: scan the two tables once, then group.

`events` (sealed) and `hot` are two branches of a union, each with its own way to the attributes and with all conditions
inside: zone maps prune both by time, and a hot row is never cast whole.
"""

from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from headwater.domain import plans
from headwater.storage.warehouse.duckdb.dialect import Rows, all_of, any_of, between, call, cast, column, param

TABLES = ("events", "hot")


def metrics_sql(plan: plans.MetricsPlan) -> exp.Select:
    scan = _scan(plan)
    grouped = [f"d{index}" for index in range(len(plan.dimensions))]
    if not grouped:
        query = exp.Select().from_("scan")
        if plan.buckets:
            query = query.select(column("bucket")).group_by(column("bucket")).order_by(column("bucket"))
        return query.select(*_measures(plan)).limit(param(plan.rows_max)).with_("scan", as_=scan)
    if plan.buckets and all(each.measure is None or _adds_up(plan, each.measure) for each in plan.ranking):
        return _ranked_cells(plan, grouped, scan)
    ranked = _ranked(plan, grouped)
    if not plan.buckets:
        keys = [column(key) for key in ("rank", *grouped)]
        values = [column(f"m{index}") for index in range(len(plan.measures))]
        query = exp.select(*keys, *values).from_("ranked").order_by(column("rank"))
        return query.with_("scan", as_=scan).with_("ranked", as_=ranked)
    query = (
        exp.select(column("rank", "r"), column("bucket", "s"), *(column(key, "r") for key in grouped), *_measures(plan))
        .from_(exp.alias_(exp.to_table("scan"), "s", table=True))
        .join(exp.alias_(exp.to_table("ranked"), "r", table=True), on=_same_group(grouped, "s"))
        .group_by(column("rank", "r"), column("bucket", "s"), *(column(key, "r") for key in grouped))
        .order_by(column("rank", "r"), column("bucket", "s"))
        .limit(param(plan.rows_max))
    )
    return query.with_("scan", as_=scan).with_("ranked", as_=ranked)


def _ranked_cells(plan: plans.MetricsPlan, grouped: list[str], scan: exp.Expr) -> exp.Select:
    """Where the ranking follows from the cells of each bucket, one scan will do instead of two."""
    names = [f"m{index}" for index in range(len(plan.measures))]
    keys = [column(key) for key in grouped]
    cells = exp.select(column("bucket"), *keys, *_measures(plan)).from_("scan").group_by(column("bucket"), *keys)
    wholes = [
        exp.alias_(_whole(plan.measures[each.measure].aggregation, f"m{each.measure}"), f"m{each.measure}")
        for each in {each.measure: each for each in plan.ranking}.values()
        if each.measure is not None
    ]
    groups = exp.select(*keys, *wholes).from_("cells").group_by(*keys)
    found = [column("rank", "r"), column("bucket", "c"), *(column(name, "c") for name in (*grouped, *names))]
    return (
        exp.select(*found)
        .from_(exp.alias_(exp.to_table("cells"), "c", table=True))
        .join(exp.alias_(exp.to_table("ranked"), "r", table=True), on=_same_group(grouped, "c"))
        .order_by(column("rank", "r"), column("bucket", "c"))
        .limit(param(plan.rows_max))
        .with_("scan", as_=scan)
        .with_("cells", as_=cells, materialized=True)
        .with_("ranked", as_=_numbered(plan, groups, grouped))
    )


def _adds_up(plan: plans.MetricsPlan, measure: int) -> bool:
    return plan.measures[measure].aggregation in ("count", "sum", "min", "max")


def _whole(aggregation: str, name: str) -> exp.Expr:
    """A measure over all buckets, from its cells."""
    return call({"count": "sum", "sum": "fsum", "min": "min", "max": "max"}[aggregation], column(name))


def _same_group(grouped: list[str], table: str) -> exp.Expr:
    return all_of([exp.NullSafeEQ(this=column(key, table), expression=column(key, "r")) for key in grouped])


def _scan(plan: plans.MetricsPlan) -> exp.Expr:
    """One row for each event that matters: its bucket, dimensions, conditions (`p…`) and values (`v…`)."""
    branches = [_branch(plan, Rows(table, plan.batches)) for table in TABLES]
    union = exp.union(*branches, distinct=False)
    if not isinstance(plan.buckets, plans.Edges):
        return union
    # Buckets of unequal length: each event meets the last edge at or before it.
    starts = param(plan.buckets.edges[0])
    edges = exp.select(
        exp.alias_(call("unnest", cast(starts, "TIMESTAMP[]")), "starts_at"),
        exp.alias_(
            exp.Sub(
                this=call("generate_subscripts", cast(starts, "TIMESTAMP[]"), exp.Literal.number(1)),
                expression=exp.Literal.number(1),
            ),
            "bucket",
        ),
    )
    after = exp.GTE(this=column("occurred_at", "u"), expression=column("starts_at", "k"))
    return (
        exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("u")), column("bucket", "k"))
        .from_(union.subquery("u"))
        .join(exp.Join(this=edges.subquery("k"), method="ASOF", on=after))
    )


def _branch(plan: plans.MetricsPlan, rows: Rows) -> exp.Select:
    made: list[exp.Expr] = []
    if isinstance(plan.buckets, plans.Steps):
        since = exp.Sub(this=call("epoch_us", column("occurred_at", "e")), expression=param(plan.buckets.origin_us))
        step = exp.IntDiv(this=exp.paren(since), expression=param(plan.buckets.width_us))
        made.append(exp.alias_(step, "bucket"))
    last = any(each.aggregation == "last" for each in plan.measures)
    if last or isinstance(plan.buckets, plans.Edges):
        made.append(column("occurred_at", "e"))
    if last:
        made.append(column("seq", "e"))
    dimensions: Sequence[Any] = plan.dimensions
    for index, dimension in enumerate(dimensions):
        made.append(exp.alias_(rows.key(dimension), f"d{index}"))
    for index, where in enumerate(_conditions(plan)):
        made.append(exp.alias_(exp.paren(all_of([rows.holds(each) for each in where])), f"p{index}"))
    for index, (numeric, field) in enumerate(_values(plan)):
        made.append(exp.alias_(rows.number(field) if numeric else rows.key(field), f"v{index}"))
    made = made or [exp.alias_(exp.Literal.number(1), "one")]
    needed = [*between(plan.start_us, plan.end_us, "occurred_at", "e"), *(rows.holds(each) for each in plan.where)]
    if all(each.where for each in plan.measures):
        apart = [exp.paren(all_of([rows.holds(each) for each in where])) for where in _conditions(plan)]
        needed.append(exp.paren(any_of(apart)))
    return rows.source().select(*made).where(*needed)


def _conditions(plan: plans.MetricsPlan) -> list[Any]:
    return list(dict.fromkeys(each.where for each in plan.measures if each.where))


def _values(plan: plans.MetricsPlan) -> list[tuple[bool, Any]]:
    """(as a number, field) for each value that a measure reads, each once."""
    return list(
        dict.fromkeys((each.aggregation != "unique", each.field) for each in plan.measures if each.field is not None)
    )


def _measures(plan: plans.MetricsPlan) -> list[exp.Expr]:
    return [exp.alias_(_measure(plan, each), f"m{index}") for index, each in enumerate(plan.measures)]


def _measure(plan: plans.MetricsPlan, measure: plans.Measure) -> exp.Expr:
    wanted = [column(f"p{_conditions(plan).index(measure.where)}")] if measure.where else []
    if measure.field is None:
        return _filtered(exp.Count(this=exp.Star()), wanted)
    numeric = measure.aggregation != "unique"
    value = column(f"v{_values(plan).index((numeric, measure.field))}")
    return _filtered(_aggregated(measure.aggregation, value), wanted)


def _aggregated(aggregation: str, value: exp.Expr) -> exp.Expr:
    if aggregation == "unique":
        return exp.Count(this=exp.Distinct(expressions=[value]))
    if aggregation == "last":
        when = exp.Tuple(expressions=[column("occurred_at"), column("seq")])
        return call("arg_max", value, when)
    if aggregation.startswith("p"):
        return call("quantile_cont", value, exp.Literal.number(f"0.{aggregation[1:]}"))
    # Kahan sums: a plain one differs in its last digits from run to run, as threads share the rows differently.
    return call({"sum": "fsum", "avg": "favg", "min": "min", "max": "max"}[aggregation], value)


def _filtered(aggregate: exp.Expr, conditions: list[exp.Expr]) -> exp.Expr:
    if not conditions:
        return aggregate
    return exp.Filter(this=aggregate, expression=exp.Where(this=all_of(conditions)))


def _ranked(plan: plans.MetricsPlan, grouped: list[str]) -> exp.Select:
    """The first groups by the ranking over the whole range, numbered from 0. One more than asked tells truncation."""
    groups = exp.select(*(column(key) for key in grouped), *_measures(plan)).from_("scan")
    return _numbered(plan, groups.group_by(*(column(key) for key in grouped)), grouped)


def _numbered(plan: plans.MetricsPlan, groups: exp.Select, grouped: list[str]) -> exp.Select:
    order = [
        exp.Ordered(
            this=column(f"m{each.measure}" if each.measure is not None else f"d{each.dimension}"),
            desc=each.descending,
            nulls_first=False,
        )
        for each in plan.ranking
    ]
    order += [exp.Ordered(this=column(key), desc=False, nulls_first=False) for key in grouped]
    number = exp.Window(this=exp.RowNumber(), order=exp.Order(expressions=order))
    rank = exp.alias_(exp.Sub(this=number, expression=exp.Literal.number(1)), "rank")
    return (
        exp.select(exp.Star(), rank).from_(groups.subquery("g")).order_by(column("rank")).limit(param(plan.groups_max))
    )
