"""What the answers must be, in plain Python over lists of events: the other opinion of the property tests.

Events are dicts as `Lab.add` takes them; what their request says is under `request`.
"""

import datetime as dt
import math
import re
from collections.abc import Sequence
from typing import Any

from headwater.domain.events import us_of
from headwater.domain.filters import field_of

MISSING = object()
COLUMNS = {"sessionId": "session_id", "sourceIp": "source_ip", "userAgent": "user_agent", "time": "occurred_us"}
NEGATED = {"ne": "eq", "notIn": "in", "notContains": "contains", "notExists": "exists"}


def value_of(event: dict[str, Any], name: str) -> Any:
    if not name.startswith("attributes."):
        column = COLUMNS.get(name, name)
        found = event.get(column)
        if found is None and name in ("sourceIp", "userAgent"):
            found = event.get("request", {}).get(column)
        return MISSING if found is None else found
    found = event["attributes"]
    for key in field_of(name).path:
        if not isinstance(found, dict) or key not in found:
            return MISSING
        found = found[key]
    return MISSING if found is None else found


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"


def same(left: Any, right: Any, ignore_case: bool) -> bool:
    if kind(left) != kind(right) or kind(left) == "other":
        return False
    return bool(left.lower() == right.lower() if ignore_case and isinstance(left, str) else left == right)


def holds(event: dict[str, Any], asked: dict[str, Any]) -> bool:
    if "any" in asked:
        return any(holds(event, each) for each in asked["any"])
    value, wanted = value_of(event, asked["field"]), asked.get("value")
    if asked["field"] == "time" and wanted is not None:
        wanted = [instant(each) for each in wanted] if isinstance(wanted, list) else instant(wanted)
    operator, ignore_case = asked["operator"], asked.get("ignoreCase", False)
    if operator in NEGATED:
        return not met(value, NEGATED[operator], wanted, ignore_case)
    return met(value, operator, wanted, ignore_case)


def instant(text: str) -> int:
    return us_of(dt.datetime.fromisoformat(text))


def met(value: Any, operator: str, wanted: Any, ignore_case: bool) -> bool:
    if value is MISSING:
        return False
    if operator == "exists":
        return True
    if operator == "eq":
        return same(value, wanted, ignore_case)
    if operator == "in":
        return any(same(value, each, ignore_case) for each in wanted)
    if operator == "between":
        return ordered(value, "gte", wanted[0], ignore_case) and ordered(value, "lte", wanted[1], ignore_case)
    if operator in ("gt", "gte", "lt", "lte"):
        return ordered(value, operator, wanted, ignore_case)
    if not isinstance(value, str):
        return False
    if operator == "matches":
        return re.search(wanted, value, re.IGNORECASE if ignore_case else 0) is not None
    if ignore_case:
        value, wanted = value.lower(), wanted.lower()
    if operator == "contains":
        return wanted in value
    return value.startswith(wanted) if operator == "startsWith" else value.endswith(wanted)


def ordered(value: Any, operator: str, wanted: Any, ignore_case: bool) -> bool:
    if kind(value) != kind(wanted) or kind(value) not in ("number", "text"):
        return False
    if isinstance(value, str):
        if ignore_case:
            value, wanted = value.lower(), wanted.lower()
        value, wanted = value.encode(), wanted.encode()
    answers = {"gt": value > wanted, "gte": value >= wanted, "lt": value < wanted, "lte": value <= wanted}
    return bool(answers[operator])


def chosen(events: Sequence[dict[str, Any]], definition: dict[str, Any]) -> list[dict[str, Any]]:
    """The events that a metric looks at."""
    return [
        each
        for each in events
        if (not definition.get("events") or each["name"] in definition["events"])
        and all(holds(each, one) for one in definition.get("filters", ()))
    ]


def aggregated(events: Sequence[dict[str, Any]], definition: dict[str, Any], seconds: float) -> Any:
    events, word = chosen(events, definition), definition["aggregation"]
    if word == "count":
        return len(events)
    if word == "rate":
        return len(events) / seconds
    values = [value_of(each, definition["field"]) for each in events]
    if word == "unique":
        return len({(kind(each), each) for each in values if each is not MISSING})
    numbers = [
        (each["occurred_us"], each["seq"], float(value))
        for each, value in zip(events, values, strict=True)
        if kind(value) == "number"
    ]
    if not numbers:
        return 0 if word == "sum" else None
    found = [each[2] for each in numbers]
    if word == "last":
        return max(numbers)[2]
    if word.startswith("p"):
        return quantile(sorted(found), int(word[1:]) / 100)
    return {"sum": math.fsum, "avg": lambda x: math.fsum(x) / len(x), "min": min, "max": max}[word](found)


def quantile(values: Sequence[float], q: float) -> float:
    """Continuous: linear between the two neighbours."""
    place = (len(values) - 1) * q
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)
