"""Fields of an event and conditions on them: as asked on the wire, and in the normal form that plans carry.

A condition is true or false for every event, never unknown. A missing attribute, one that is JSON null, and an absent
actor, session, source address or user agent are all the same: *missing*. Missing satisfies the negated operators and
nothing else. Numbers, texts and booleans are never equal to each other, and only like compares with like.

In `attributes.<path>` dots step into nested objects; `\\.` is a dot inside a key and `\\\\` a backslash. Lists can't be
stepped into.
"""

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from headwater.domain.errors import BadInput
from headwater.domain.events import us_of
from headwater.domain.reading import did_you_mean
from headwater.domain.values import shown

FIELDS = ("name", "type", "source", "actor", "version", "sessionId", "sourceIp", "userAgent", "time")
NEGATED = {"ne": "eq", "notIn": "in", "notContains": "contains", "notExists": "exists"}
ORDERED = ("gt", "gte", "lt", "lte", "between")
TEXTUAL = ("contains", "startsWith", "endsWith", "matches")
OPERATORS = (
    *("eq", "ne", "in", "notIn", *ORDERED, "contains", "notContains", "startsWith", "endsWith", "matches"),
    *("exists", "notExists"),
)
CONDITIONS_MAX = 100
"""Conditions of one question or definition, those inside `any` counted each."""
VALUES_MAX = 1000
"""Values of one `in` or `notIn`."""
VALUE_LENGTH_MAX = 4096
PATH_DEPTH_MAX = 20
PATH_LENGTH_MAX = 512


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """One condition as asked: field, operator and value, or `any` of several."""

    field: str | UnsetType = UNSET
    operator: str | UnsetType = UNSET
    value: Any = UNSET
    ignore_case: bool = False
    any: tuple["Filter", ...] | UnsetType = UNSET


class Field(msgspec.Struct, frozen=True):
    """One of FIELDS, or `attributes` with the keys that lead to the value."""

    name: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        keys = (key.replace("\\", "\\\\").replace(".", "\\.") for key in self.path)
        return ".".join((self.name, *keys))


class Compare(msgspec.Struct, frozen=True, tag=True):
    """`field operator values`. The operator is never a negated one; `negated` turns the whole around, missing included.

    `kind` says what the values are: text, integer (compared exactly), number (a float), boolean, instant (microseconds
    since the epoch), or none for `exists`.
    """

    field: Field
    operator: str
    kind: str
    values: tuple[Any, ...] = ()
    ignore_case: bool = False
    negated: bool = False


class AnyOf(msgspec.Struct, frozen=True, tag=True):
    """True when one of the parts is; `negated` when none is."""

    parts: tuple[Compare, ...]
    negated: bool = False


Predicate = Compare | AnyOf


def field_of(text: str, path: str = "$.field") -> Field:
    """Raises BadInput with code UNKNOWN_FIELD, INVALID_FIELD or UNSUPPORTED."""
    if text in FIELDS:
        return Field(text)
    if text.startswith("attributes."):
        return Field("attributes", keys_of(text[len("attributes.") :], text, path))
    if text == "cohort":
        raise BadInput(
            f"{path}: saved cohorts are not there yet; filter by fields of the event",
            code="UNSUPPORTED",
            path=path,
            value=text,
        )
    hint = did_you_mean(text, (*FIELDS, "attributes.<path>"))
    if text.split(".")[0] in ("data", "metadata", "attribute", "properties") or "." in text:
        hint = f"did you mean 'attributes.{text.rsplit('.', 1)[-1]}'?"
    raise BadInput(
        f"{path}: unknown field {shown(text)}; {hint}", code="UNKNOWN_FIELD", path=path, value=text, hint=hint
    )


def keys_of(dotted: str, text: str, path: str) -> tuple[str, ...]:
    """The keys of a dotted path, which is all or the end of the `text` that was given."""
    keys, key, escaped = [], "", False
    for letter in dotted:
        if escaped:
            key, escaped = key + letter, False
        elif letter == "\\":
            escaped = True
        elif letter == ".":
            keys.append(key)
            key = ""
        else:
            key += letter
    keys.append(key)
    problem = None
    if escaped:
        problem = "ends in a lone backslash; write a backslash as \\\\ and a dot inside a key as \\."
    elif not all(keys):
        problem = "has an empty key; write attributes.a.b"
    elif len(keys) > PATH_DEPTH_MAX or len(text) > PATH_LENGTH_MAX:
        problem = f"is too long; at most {PATH_DEPTH_MAX} keys and {PATH_LENGTH_MAX} characters"
    elif not _is_text(text):
        problem = "holds half a surrogate pair"
    if problem:
        raise BadInput(f"{path}: {shown(text)} {problem}", code="INVALID_FIELD", path=path, value=text)
    return tuple(keys)


def predicates_of(filters: Sequence[Filter], path: str = "$.filters") -> tuple[Predicate, ...]:
    """The conditions, all of which must hold, in normal form. Raises BadInput with path, value and cure."""
    count = sum(1 if each.any is UNSET else len(each.any) for each in filters)
    if count > CONDITIONS_MAX:
        raise BadInput(
            f"{path}: {count} conditions; at most {CONDITIONS_MAX}, use 'in' for many values of one field",
            code="TOO_MANY_FILTERS",
            path=path,
            value=count,
            limit=CONDITIONS_MAX,
        )
    return tuple(_predicate(each, f"{path}[{index}]") for index, each in enumerate(filters))


def _predicate(asked: Filter, path: str) -> Predicate:
    if asked.any is UNSET:
        return _comparison(asked, path)
    if asked.field is not UNSET or asked.operator is not UNSET or asked.value is not UNSET or not asked.any:
        raise BadInput(
            f"{path}: 'any' stands alone and holds at least one condition; move the field, operator and value inside",
            code="INVALID_FILTER",
            path=path,
        )
    parts: list[Compare] = []
    for index, each in enumerate(asked.any):
        at = f"{path}.any[{index}]"
        if each.any is not UNSET:
            raise BadInput(f"{at}: 'any' inside 'any'; list the conditions flat", code="INVALID_FILTER", path=at)
        made = _comparison(each, at)
        if isinstance(made, Compare):
            parts.append(made)
        elif not made.negated:
            parts += made.parts
        else:
            raise BadInput(
                f"{at}: 'notIn' with values of several types can't stand inside 'any'; give one type",
                code="INVALID_FILTER",
                path=at,
            )
    return AnyOf(tuple(parts))


def _comparison(asked: Filter, path: str) -> Predicate:
    for name, given in (("field", asked.field), ("operator", asked.operator)):
        if given is UNSET:
            raise BadInput(f"{path}: missing field '{name}'", code="MISSING_FIELD", path=f"{path}.{name}")
    field, word = field_of(str(asked.field), f"{path}.field"), str(asked.operator)
    if word not in OPERATORS:
        hint = did_you_mean(word, OPERATORS)
        raise BadInput(
            f"{path}.operator: unknown operator {shown(word)}; {hint}",
            code="UNKNOWN_OPERATOR",
            path=f"{path}.operator",
            value=word,
            hint=hint,
        )
    operator, negated = NEGATED.get(word, word), word in NEGATED
    if operator == "exists":
        if asked.value is not UNSET and asked.value is not None:
            raise _bad_value(path, word, asked.value, "takes no value")
        return Compare(field, "exists", "none", negated=negated)
    if asked.value is UNSET:
        raise BadInput(f"{path}: missing field 'value'", code="MISSING_FIELD", path=f"{path}.value")
    by_kind: dict[str, list[Any]] = {}
    for value in _values(operator, word, asked.value, path):
        kind, bound = _typed(field, operator, word, value, path)
        by_kind.setdefault(kind, []).append(bound)
    if operator == "between" and len(by_kind) != 1:
        raise _bad_value(path, word, asked.value, "takes two numbers, two texts or two instants")
    parts = tuple(
        Compare(field, operator, kind, tuple(values), asked.ignore_case) for kind, values in sorted(by_kind.items())
    )
    return msgspec.structs.replace(parts[0], negated=negated) if len(parts) == 1 else AnyOf(parts, negated)


def _values(operator: str, word: str, value: Any, path: str) -> Sequence[Any]:
    if operator == "in":
        if not isinstance(value, list | tuple) or not value:
            raise _bad_value(path, word, value, "takes a list of at least one value")
        if len(value) > VALUES_MAX:
            raise BadInput(
                f"{path}.value: {len(value)} values; at most {VALUES_MAX}",
                code="TOO_MANY_VALUES",
                path=f"{path}.value",
                value=len(value),
                limit=VALUES_MAX,
            )
        return value
    if operator == "between":
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise _bad_value(path, word, value, "takes a list of two values, both ends included")
        return value
    return (value,)


def _typed(field: Field, operator: str, word: str, value: Any, path: str) -> tuple[str, Any]:
    """The kind of a value and the value as it is bound."""
    if field.name == "time":
        return "instant", _instant(operator, word, value, path)
    if isinstance(value, str):
        if len(value) > VALUE_LENGTH_MAX or not _is_text(value):
            raise _bad_value(path, word, value, f"takes well-formed text of at most {VALUE_LENGTH_MAX} characters")
        return "text", value
    if operator in TEXTUAL:
        raise _bad_value(path, word, value, "takes a text")
    if isinstance(value, bool):
        if operator in ORDERED:
            raise _bad_value(path, word, value, "takes a number or a text; use eq for true and false")
        return "boolean", value
    if isinstance(value, int | float):
        return _number(operator, word, value, path)
    if value is None:
        raise _bad_value(path, word, value, "takes no null; use exists or notExists")
    raise _bad_value(path, word, value, "takes a text, a number, true or false")


def _number(operator: str, word: str, value: int | float, path: str) -> tuple[str, Any]:
    try:
        as_float = float(value)
    except OverflowError:
        as_float = math.inf
    if not math.isfinite(as_float):
        raise _bad_value(path, word, value, "takes a finite number")
    # Ids are often integers above 2^53: equality must not go through a float.
    if operator in ("eq", "in") and as_float.is_integer() and -(2**63) <= value < 2**64:
        return "integer", int(value)
    return "number", as_float


def _instant(operator: str, word: str, value: Any, path: str) -> int:
    if operator in TEXTUAL:
        raise _bad_value(path, word, value, "does not work on time; use gt, gte, lt, lte or between")
    return instant_us(value, f"{path}.value")


def instant_us(value: Any, path: str) -> int:
    """Microseconds of an RFC 3339 text with its offset. Raises BadInput with code INVALID_TIME."""
    try:
        instant = msgspec.convert(value, type=dt.datetime) if isinstance(value, str) else None
        if instant is not None and instant.tzinfo is not None:
            return us_of(instant.astimezone(dt.UTC))  # what leaves the years 1 to 9999 overflows here
    except (msgspec.ValidationError, OverflowError):
        pass
    raise BadInput(
        f"{path}: expected an RFC 3339 instant with its offset such as 2026-11-24T10:00:00Z, got {shown(value)}",
        code="INVALID_TIME",
        path=path,
        value=value,
    )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad_value(path: str, word: str, value: Any, need: str) -> BadInput:
    at = f"{path}.value"
    return BadInput(f"{at}: '{word}' {need}; got {shown(value)}", code="INVALID_VALUE", path=at, value=value)
