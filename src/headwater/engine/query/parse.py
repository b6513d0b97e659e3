"""As sent → Query: every word known, every count within its limit, and what is not there yet refused by name."""

from typing import Any

from msgspec import UNSET

from headwater.domain.errors import BadInput
from headwater.domain.filters import Filter, predicates_of
from headwater.domain.metrics import MetricDefinition, dimensions_of, read_definition
from headwater.domain.queries import GROUPS_MAX, METRICS_MAX, ORDER_MAX, Query
from headwater.domain.reading import decoded, did_you_mean, read
from headwater.domain.timerange import zone_of
from headwater.domain.values import shown


def decode_query(body: bytes) -> Query:
    """Raises BadInput with code MALFORMED_JSON, and as `parse_query`."""
    return parse_query(decoded(body))


def parse_query(value: Any) -> Query:
    """Raises BadInput with path, value and cure. Whether the metrics exist is for `plan` to say."""
    query = read(Query, value)
    _refuse_later(query)
    names = [metric_name(each, index) for index, each in enumerate(query.metrics)]
    _check_count(len(names), METRICS_MAX, "$.metrics", "metrics", "TOO_MANY_METRICS")
    if not names:
        raise BadInput("$.metrics: at least one metric", code="MISSING_FIELD", path="$.metrics")
    for index, name in enumerate(names):
        if name in names[:index]:
            at = f"$.metrics[{index}]"
            raise BadInput(f"{at}: {shown(name)} stands twice", code="DUPLICATE_METRIC", path=at, value=name)
    dimensions_of(query.dimensions, "$.dimensions")
    predicates_of(query.filters)
    if query.time_zone is not None:
        zone_of(query.time_zone)
    _check_order(query, names)
    if query.limit is not None and not 1 <= query.limit <= GROUPS_MAX:
        raise BadInput(
            f"$.limit: expected 1 to {GROUPS_MAX} groups, got {query.limit}",
            code="INVALID_LIMIT",
            path="$.limit",
            value=query.limit,
            limit=GROUPS_MAX,
        )
    return query


def metric_name(metric: Any, index: int) -> str:
    """The name of a metric as it stands in a question, given by name or inline."""
    if isinstance(metric, str):
        return metric
    return inline_definition(metric, index).name


def inline_definition(metric: Any, index: int) -> MetricDefinition:
    at = f"$.metrics[{index}]"
    if not isinstance(metric, dict):
        raise BadInput(
            f"{at}: expected a metric's name or a definition, got {shown(metric)}",
            code="TYPE_MISMATCH",
            path=at,
            value=metric,
        )
    return read_definition(metric, inline=True, path=at)


def path_of_pattern(query: Query, pattern: str) -> str:
    """Where a regular expression stands in the question; `$.metrics` when a definition brought it."""
    for index, asked in enumerate(query.filters):
        at = f"$.filters[{index}]"
        inside: tuple[Filter, ...] = () if asked.any is UNSET else asked.any
        for place, each in ((at, asked), *((f"{at}.any[{inner}]", one) for inner, one in enumerate(inside))):
            if each.operator == "matches" and each.value == pattern:
                return f"{place}.value"
    return "$.metrics"


def _refuse_later(query: Query) -> None:
    later = (
        ("compare", query.compare is not None, "ask twice, with timeRange.offset"),
        ("others", query.others, "leave it out; ask without dimensions for the total"),
        ("asOf", query.as_of is not None, "leave it out or send null for the present"),
    )
    for name, asked, cure in later:
        if asked:
            at = f"$.{name}"
            raise BadInput(f"{at}: '{name}' is not there yet; {cure}", code="UNSUPPORTED", path=at, hint=cure)


def _check_order(query: Query, names: list[str]) -> None:
    _check_count(len(query.order), ORDER_MAX, "$.order", "entries", "TOO_MANY_ORDERS")
    known = (*names, *query.dimensions, "time")
    for index, each in enumerate(query.order):
        if each.by not in known:
            at, hint = f"$.order[{index}].by", did_you_mean(each.by, known)
            raise BadInput(
                f"{at}: {shown(each.by)} is no metric or dimension of this question; {hint}",
                code="UNKNOWN_ORDER",
                path=at,
                value=each.by,
                hint=hint,
            )


def _check_count(count: int, limit: int, path: str, what: str, code: str) -> None:
    if count > limit:
        raise BadInput(f"{path}: {count} {what}; at most {limit}", code=code, path=path, value=count, limit=limit)
