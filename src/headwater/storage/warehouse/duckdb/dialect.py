"""Fragments of DuckDB SQL as sqlglot trees: parameters, values of attributes, conditions.

Attributes lie in two forms, VARIANT in sealed rows and JSON text in hot ones. Both are read as VARIANT at the path, so
all that follows is the same for both. Casting a whole hot row to VARIANT instead costs 4 times as much (231 against
52 ms over 300k rows); casting text to a number by VARIANT costs 1.3 us a row against 0.01 by way of VARCHAR.
"""

from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from headwater.domain.filters import AnyOf, Compare, Predicate
from headwater.domain.plans import FROM_REQUEST
from headwater.storage.warehouse.duckdb.binding import BoundField

COLUMNS = {
    "name": "name",
    "type": "type",
    "source": "source",
    "actor": "actor",
    "version": "version",
    "sessionId": "session_id",
    "sourceIp": "source_ip",
    "userAgent": "user_agent",
}
INTEGERS = ("UINT64", "INT64")


def param(number: Any) -> exp.Expr:
    """`$number`. A shape holds these numbers where its plan holds values of any type."""
    return exp.Parameter(this=exp.Literal.number(number))


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name.upper(), expressions=list(arguments))


def column(name: str, table: str | None = None) -> exp.Expr:
    return exp.column(name, table)


def text(value: str) -> exp.Expr:
    """A literal of ours, never a caller's value."""
    return exp.Literal.string(value)


def as_text(value: exp.Expr) -> exp.Expr:
    return exp.Cast(this=value, to=exp.DataType.build("VARCHAR", dialect="duckdb"))


def try_cast(value: exp.Expr, kind: str) -> exp.Expr:
    return exp.TryCast(this=value, to=exp.DataType.build(kind, dialect="duckdb"))


def cast(value: exp.Expr, kind: str) -> exp.Expr:
    return exp.Cast(this=value, to=exp.DataType.build(kind, dialect="duckdb"))


def any_of(conditions: Sequence[exp.Expr]) -> exp.Expr:
    return exp.or_(*conditions) if conditions else exp.false()


def all_of(conditions: Sequence[exp.Expr]) -> exp.Expr:
    return exp.and_(*conditions) if conditions else exp.true()


def case(ifs: Sequence[tuple[exp.Expr, exp.Expr]], default: exp.Expr | None = None) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=when, true=then) for when, then in ifs], default=default)


def between(start: int | None, end: int | None, name: str, table: str | None) -> list[exp.Expr]:
    """`start <= column < end` by parameters; None = open at that side."""
    made: list[exp.Expr] = []
    if start is not None:
        made.append(exp.GTE(this=column(name, table), expression=param(start)))
    if end is not None:
        made.append(exp.LT(this=column(name, table), expression=param(end)))
    return made


class Rows:
    """How the fields of one row are read: from `events` (sealed) or `hot`, with or without its request's facts."""

    def __init__(self, table: str, batches: bool) -> None:
        self.table = table
        self.batches = batches

    def source(self) -> exp.Select:
        """FROM, with the request of each row where it is wanted."""
        query = exp.Select().from_(exp.alias_(exp.to_table(self.table), "e", table=True))
        if not self.batches:
            return query
        request = exp.alias_(exp.to_table("batches"), "b", table=True)
        after = exp.GTE(this=column("seq", "e"), expression=column("first_seq", "b"))
        return query.join(exp.Join(this=request, method="ASOF", side="LEFT", on=after))

    def of_request(self, name: str) -> exp.Expr:
        """A column of the request that brought the event; null for a seq that lies between requests."""
        inside = exp.LTE(this=column("seq", "e"), expression=column("last_seq", "b"))
        return case([(inside, column(name, "b"))])

    def plain(self, field: BoundField) -> exp.Expr:
        """A text column."""
        own = column(COLUMNS[field.name], "e")
        if field.name in FROM_REQUEST and self.batches:
            return exp.Coalesce(this=own, expressions=[self.of_request(COLUMNS[field.name])])
        return own

    def attribute(self, field: BoundField) -> exp.Expr:
        """VARIANT at the path; null where it is missing or JSON null."""
        value = column("attributes", "e")
        if self.table == "hot":
            for number in field.json:
                value = call("json_extract", value, param(number))
            return cast(value, "VARIANT")
        for number in field.keys:
            value = call("variant_extract", value, param(number))
        return value

    def number(self, field: BoundField) -> exp.Expr:
        """DOUBLE where the attribute is a finite number, else null.

        Each type is cast from its own: UINT64 straight to DOUBLE costs 60 times as much (558 against 10 ms in 1.5M).
        """
        value = self.attribute(field)
        kind = call("variant_type", value)
        double = try_cast(value, "DOUBLE")
        own = [
            (
                exp.EQ(this=kind, expression=text("DOUBLE")),
                case([(call("isfinite", double), double)]),
            ),
            (exp.EQ(this=kind, expression=text("UINT64")), cast(try_cast(value, "UBIGINT"), "DOUBLE")),
            (exp.EQ(this=kind, expression=text("INT64")), cast(try_cast(value, "BIGINT"), "DOUBLE")),
        ]
        return case(own)

    def key(self, field: BoundField) -> exp.Expr:
        """Text that is equal exactly for equal values: what groups and distinct counts are made of."""
        if field.name != "attributes":
            return self.plain(field)
        value = self.attribute(field)
        kind, shown = call("variant_type", value), as_text(value)
        marked = exp.DPipe(this=_mark(1), expression=shown)
        escaped = case(
            [(call("starts_with", shown, _mark(1)), exp.DPipe(this=_mark(2), expression=shown))], default=shown
        )
        whole = call("left", shown, exp.Neg(this=exp.Literal.number(2)))
        double = case(
            [
                (exp.EQ(this=shown, expression=text("-0.0")), exp.DPipe(this=_mark(1), expression=text("0"))),
                (call("ends_with", shown, text(".0")), exp.DPipe(this=_mark(1), expression=whole)),
            ],
            default=marked,
        )
        return case(
            [(exp.EQ(this=kind, expression=text("VARCHAR")), escaped), (_is(kind, "DOUBLE"), double)], default=marked
        )

    def holds(self, predicate: Predicate) -> exp.Expr:
        """True or not; null counts as not, so put it only into WHERE, FILTER, AND and OR."""
        if isinstance(predicate, AnyOf):
            met: exp.Expr = exp.paren(any_of([self.holds(part) for part in predicate.parts]))
        else:
            met = self._met(predicate)
        if predicate.negated:
            return exp.Not(this=exp.Coalesce(this=met, expressions=[exp.false()]))
        return met

    def _met(self, asked: Compare) -> exp.Expr:
        field: Any = asked.field
        if field.name == "time":
            return self._time(asked)
        if field.name != "attributes":
            value = self.plain(field)
            if asked.operator == "exists":
                return _not_null(value)
            return _compared(asked, value) if asked.kind == "text" else exp.false()
        value = self.attribute(field)
        if asked.operator == "exists":
            return _not_null(value)
        kind, shown = call("variant_type", value), as_text(value)
        if asked.kind == "text":
            return exp.and_(_compared(asked, shown), _is(kind, "VARCHAR"))
        if asked.kind == "boolean":
            named = [case([(param(each), text("BOOL_TRUE"))], default=text("BOOL_FALSE")) for each in asked.values]
            return exp.In(this=kind, expressions=named)
        double = try_cast(shown, "DOUBLE")
        if asked.kind == "integer":
            exact = exp.In(this=shown, expressions=[as_text(param(each)) for each in asked.values])
            alike = exp.In(this=double, expressions=[cast(param(each), "DOUBLE") for each in asked.values])
            return exp.paren(
                exp.or_(
                    exp.and_(exact, exp.In(this=kind, expressions=[text(each) for each in INTEGERS])),
                    exp.and_(_is(kind, "DOUBLE"), alike),
                )
            )
        if asked.operator in ("eq", "in"):
            return exp.and_(_is(kind, "DOUBLE"), exp.In(this=double, expressions=_params(asked)))
        return _compared(asked, self.number(field))

    def _time(self, asked: Compare) -> exp.Expr:
        if asked.operator == "exists":
            return exp.true()
        return _compared(asked, column("occurred_at", "e"))


def _compared(asked: Compare, value: exp.Expr) -> exp.Expr:
    """`value` against the parameters by the operator; both lowered where case is ignored."""
    values = _params(asked)
    if asked.ignore_case and asked.kind == "text" and asked.operator != "matches":
        value, values = call("lower", value), [call("lower", each) for each in values]
    first = values[0]
    match asked.operator:
        case "eq":
            return exp.EQ(this=value, expression=first)
        case "in":
            return exp.In(this=value, expressions=values)
        case "gt":
            return exp.GT(this=value, expression=first)
        case "gte":
            return exp.GTE(this=value, expression=first)
        case "lt":
            return exp.LT(this=value, expression=first)
        case "lte":
            return exp.LTE(this=value, expression=first)
        case "between":
            return exp.Between(this=value, low=first, high=values[1])
        case "contains":
            return call("contains", value, first)
        case "startsWith":
            return call("starts_with", value, first)
        case "endsWith":
            return call("ends_with", value, first)
        case "matches":
            return call("regexp_matches", value, first, text("i" if asked.ignore_case else "c"))
    raise AssertionError(asked.operator)


def _params(asked: Compare) -> list[exp.Expr]:
    return [param(each) for each in asked.values]


def _is(kind: exp.Expr, name: str) -> exp.Expr:
    return exp.EQ(this=kind, expression=text(name))


def _not_null(value: exp.Expr) -> exp.Expr:
    return exp.Not(this=exp.Is(this=value, expression=exp.null()))


def _mark(times: int) -> exp.Expr:
    """Begins what is not plain text in a dimension's value: see plans.MetricsPlan. DuckDB folds it to a constant."""
    mark = call("chr", exp.Literal.number(1))
    return mark if times == 1 else exp.DPipe(this=mark, expression=_mark(times - 1))
