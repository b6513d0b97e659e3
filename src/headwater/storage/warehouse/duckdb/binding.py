"""A plan parted into its shape and its values: equal shapes share one compiled statement, values are always bound.

In a shape every value of the plan is replaced by the number of its parameter, from 1. Equal fields and conditions of
one plan get the same numbers, so that equal expressions stay equal in the SQL and are computed once.
"""

import datetime as dt
from typing import Any

import msgspec

from headwater.domain import plans
from headwater.domain.events import EPOCH, MICROSECOND
from headwater.domain.filters import Compare, Field

VALUES: dict[type, tuple[str, ...]] = {
    Compare: ("values",),
    plans.Steps: ("origin_us", "width_us"),
    plans.MetricsPlan: ("start_us", "end_us", "groups_max", "rows_max"),
    plans.EventsPage: ("start_us", "end_us", "limit", "before"),
    plans.EventById: ("event_id", "limit"),
    plans.QuarantinePage: ("start_us", "end_us", "limit", "before_seq", "code", "source", "name", "step"),
    plans.QuarantineById: ("seq", "event_id", "limit"),
    plans.QuarantineGroups: ("start_us", "end_us", "limit", "code", "source", "name", "step"),
}
"""Which fields of each struct are values. None is part of the shape: it says that a condition is not there."""
INSTANTS = ("start_us", "end_us")


class BoundField(msgspec.Struct, frozen=True):
    """A field whose keys are parameters: one for each key (VARIANT), and the JSON paths that lead there one by one."""

    name: str
    keys: tuple[int, ...] = ()
    json: tuple[int, ...] = ()


class Bound(msgspec.Struct, frozen=True):
    shape: Any
    """The plan with parameter numbers for values; hashable."""
    params: list[Any]


def bind(plan: plans.Plan) -> Bound:
    params: list[Any] = []
    shape = _lift(plan, params, {})
    return Bound(shape, params)


def timestamp_of(us: int) -> dt.datetime:
    """As TIMESTAMP columns hold it: naive UTC."""
    return EPOCH.replace(tzinfo=None) + us * MICROSECOND


def _lift(node: Any, params: list[Any], seen: dict[Any, Any]) -> Any:
    if isinstance(node, tuple):
        return tuple(_lift(each, params, seen) for each in node)
    if not isinstance(node, msgspec.Struct):
        return node
    if node in seen:
        return seen[node]
    if isinstance(node, Field):
        lifted: Any = _lift_field(node, params)
    elif isinstance(node, plans.Edges):
        params.append([timestamp_of(us) for us in node.edges[:-1]])
        lifted = msgspec.structs.replace(node, edges=(len(params),))
    else:
        values = VALUES.get(type(node), ())
        changes: dict[str, Any] = {}
        for name in node.__struct_fields__:
            value = getattr(node, name)
            if name not in values:
                changes[name] = _lift(value, params, seen)
            elif value is not None:
                instant = name in INSTANTS or (isinstance(node, Compare) and node.kind == "instant")
                changes[name] = _slots(value, params, instant, name == "before")
        lifted = msgspec.structs.replace(node, **changes)
    seen[node] = lifted
    return lifted


def _slots(value: Any, params: list[Any], instant: bool, cursor: bool) -> Any:
    if cursor:
        occurred_us, seq = value
        return (_slots(occurred_us, params, True, False), _slots(seq, params, False, False))
    if isinstance(value, tuple):
        return tuple(_slots(each, params, instant, False) for each in value)
    params.append(timestamp_of(value) if instant else value)
    return len(params)


def _lift_field(field: Field, params: list[Any]) -> BoundField:
    numbers: list[int] = []
    chain = json_chain(field.path)
    for text in (*field.path, *chain):
        params.append(text)
        numbers.append(len(params))
    return BoundField(field.name, tuple(numbers[: len(field.path)]), tuple(numbers[len(field.path) :]))


def json_chain(keys: tuple[str, ...]) -> tuple[str, ...]:
    """JSON paths to follow one after another: one for all keys, unless one of them is `*`.

    `$."*"` is a wildcard to DuckDB even when quoted; a JSON pointer takes it as a key. Pointers alone won't do: `/0`
    steps into lists, `$."0"` does not.
    """
    if not keys:
        return ()
    if "*" not in keys:
        return ("$" + "".join(f".{_quoted(key)}" for key in keys),)
    return tuple("/*" if key == "*" else f"$.{_quoted(key)}" for key in keys)


def _quoted(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
