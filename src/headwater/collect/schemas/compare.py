"""One schema against another: what has changed, and whether an event that was right may now be wrong.

What can't be shown to be harmless is breaking. The one exception is a new field that is not required: by the letter,
where the old schema let any field through, events may carry it with another type; whether any does is what a trial on
stored events tells.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from headwater.collect.schemas.samples import ANY_KEY, place_of
from headwater.domain.schemas import MODES, UNKNOWN, Schema
from headwater.domain.values import shown

LEVELS_MAX = 64
SILENT = {"$schema", "$id", "$comment", "$defs", "$anchor", "title", "description", "default", "examples"}
SILENT |= {"deprecated", "readOnly", "writeOnly"}
LOWER = {"minLength": "string", "minItems": "array", "minProperties": "object"}
UPPER = {"maxLength": "string", "maxItems": "array", "maxProperties": "object"}
RANGE = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
LOOKED_AT = SILENT | {"$ref", "type", "enum", "const", "required", "properties", "additionalProperties", "items"}
LOOKED_AT |= {*LOWER, *UPPER, *RANGE}
TYPES = frozenset({"null", "boolean", "object", "array", "string", "integer", "number"})
CLOSED: Mapping[str, Any] = {"not": {}}
"""What no value is right for."""
ENTANGLED = {"if", "then", "else", "contains", "minContains", "maxContains", "patternProperties", "prefixItems"}
"""Words whose absence may make others refuse more."""

Keys = tuple[str | int, ...]


class Change(msgspec.Struct, frozen=True):
    path: str
    """As questions write it; `mode` and `unknownFields` for those of the schema as a whole."""
    change: str
    """One of the words in docs/how-to/schemas.md."""
    breaking: bool
    detail: str


def changes_between(old: Schema, new: Schema) -> list[Change]:
    """In the order of the new schema. Words that say nothing about right and wrong are no changes."""
    changes: list[Change] = []
    if old.mode != new.mode:
        stricter = MODES.index(new.mode) > MODES.index(old.mode)
        detail = f"{old.mode} → {new.mode}"
        if new.mode == "enforce":
            detail += ": what fails is no longer stored, it goes into quarantine"
        changes.append(Change("mode", "modeTightened" if stricter else "modeLoosened", False, detail))
    if old.unknown_fields != new.unknown_fields:
        stricter = UNKNOWN.index(new.unknown_fields) > UNKNOWN.index(old.unknown_fields)
        word = "unknownFieldsTightened" if stricter else "unknownFieldsLoosened"
        detail = f"{old.unknown_fields} → {new.unknown_fields}"
        changes.append(Change("unknownFields", word, stricter and new.unknown_fields == "quarantine", detail))
    closed = new.unknown_fields == "quarantine"
    comparison = _Comparison(old.json_schema, new.json_schema)
    changes += comparison.of(old.json_schema, new.json_schema, (), closed)
    return changes


class _Comparison:
    """Two documents, in which references are followed."""

    def __init__(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self.old, self.new = old, new
        self.same_definitions = old.get("$defs") == new.get("$defs")
        self._followed: set[tuple[bytes, bytes]] = set()

    def of(self, old: Any, new: Any, keys: Keys, closed: bool = False) -> Iterator[Change]:
        """`closed`: fields without a name are quarantined, whatever `additionalProperties` says."""
        if _ref_of(old) or _ref_of(new):
            pair = msgspec.json.encode(old, order="sorted"), msgspec.json.encode(new, order="sorted")
            if pair in self._followed:
                return
            self._followed.add(pair)
        old, new = _followed(old, self.old), _followed(new, self.new)
        if len(keys) > LEVELS_MAX:
            if old != new:
                yield Change(place_of(keys), "ruleChanged", True, f"nested deeper than {LEVELS_MAX} levels")
            return
        place = place_of(keys)
        yield from _types(old, new, place)
        yield from _values(old, new, place)
        yield from self._others(old, new, place)
        # Rules for a type that was refused until now refuse nothing that was right.
        was = _types_of(old)
        yield from _bounds(old, new, was, place)
        if "object" in was:
            yield from self._fields(old, new, keys, closed)
        if "array" in was and ("items" in old or "items" in new):
            yield from self.of(old.get("items", {}), new.get("items", {}), (*keys, 0))

    def _fields(self, old: Mapping[str, Any], new: Mapping[str, Any], keys: Keys, closed: bool) -> Iterator[Change]:
        was, now = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        rest = new.get("additionalProperties", True)
        closed = closed or rest is False or new.get("unevaluatedProperties") is False
        for key in [*now, *sorted(needs - now.keys())]:
            here = (*keys, key)
            place = place_of(here)
            if key in needs - needed:
                yield Change(place, "requiredAdded", True, "events without it were right")
            if key in was and key in now:
                yield from self.of(was[key], now[key], here)
            elif key in now:
                yield from self._added(old, now[key], here)
        for key in sorted(needed - needs):
            yield Change(place_of((*keys, key)), "requiredRemoved", False, "may be missing now")
        for key in [each for each in was if each not in now]:
            place = place_of((*keys, key))
            if closed:
                yield Change(place, "fieldRemoved", True, "events that carry it are refused, as an unknown field")
            else:
                yield Change(place, "fieldRemoved", False, "no longer looked at")
                if isinstance(rest, Mapping):
                    yield from self.of(was[key], rest, (*keys, key))
        was_rest = old.get("additionalProperties", True)
        if was_rest is not False and rest is False:
            yield Change(place_of(keys), "unknownFieldsClosed", True, "additionalProperties: false")
        elif was_rest is False and rest is not False:
            yield Change(place_of(keys), "unknownFieldsOpened", False, "additionalProperties is no longer false")
        elif was_rest != rest:
            yield from self.of(was_rest, rest, (*keys, ANY_KEY))

    def _added(self, old: Mapping[str, Any], field: Any, keys: Keys) -> Iterator[Change]:
        place, rest = place_of(keys), old.get("additionalProperties", True)
        if rest is False:
            yield Change(place, "fieldAdded", False, "was refused until now")
        elif _plain(field) == CLOSED:
            yield Change(place, "fieldForbidden", True, "events that carry it were right")
        else:
            yield Change(place, "fieldAdded", False, "optional; events that carry something else there fail")
            if isinstance(rest, Mapping):
                yield from self.of(rest, field, keys)

    def _others(self, old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[Change]:
        """Words that are not understood here: dropped they loosen, for each of them only ever refuses."""
        for word in sorted((old.keys() | new.keys()) - LOOKED_AT):
            if word not in new:
                if word in ENTANGLED:
                    yield Change(place, "ruleChanged", True, f"{word} is gone, and other rules may reach further now")
                else:
                    yield Change(place, "ruleRemoved", False, f"{word} is gone")
            elif word not in old:
                yield Change(place, "ruleAdded", True, f"{word}: {_said(new[word])}")
            elif old[word] != new[word]:
                yield Change(place, "ruleChanged", True, f"{word}: {_said(old[word])} → {_said(new[word])}")
            elif not self.same_definitions and b'"$ref"' in msgspec.json.encode(new[word]):
                yield Change(place, "ruleChanged", True, f"{word} refers to $defs, which have changed")


def _types(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[Change]:
    was, now = _types_of(old), _types_of(new)
    if was == now:
        return
    detail = f"{_named(was)} → {_named(now)}"
    lost = was - now
    yield Change(place, "typeNarrowed" if lost else "typeWidened", bool(lost), detail)


def _types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    said = schema.get("type", TYPES)
    types = frozenset([said] if isinstance(said, str) else said)
    if "number" in types:
        types |= {"integer"}
    values = _values_of(schema)
    return types if values is None else types & {kind for value in values.values() for kind in _kinds_of(value)}


def _kinds_of(value: Any) -> tuple[str, ...]:
    match value:
        case None:
            return ("null",)
        case bool():
            return ("boolean",)
        case str():
            return ("string",)
        case int() | float():
            return ("integer", "number")
        case list():
            return ("array",)
        case _:
            return ("object",)


def _named(types: frozenset[str]) -> str:
    if types == TYPES:
        return "anything"
    return " or ".join(sorted(types - ({"integer"} if "number" in types else set()))) or "nothing"


def _values_of(schema: Mapping[str, Any]) -> dict[bytes, Any] | None:
    """Of `enum` or `const`, by their JSON; None where any value will do."""
    if "const" in schema:
        values = [schema["const"]]
    elif "enum" in schema:
        values = schema["enum"]
    else:
        return None
    return {msgspec.json.encode(value, order="sorted"): value for value in values}


def _values(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[Change]:
    was, now = _values_of(old), _values_of(new)
    if was is None and now is not None:
        yield Change(place, "enumAdded", True, f"only {_listed(now)}")
    elif was is not None and now is None:
        yield Change(place, "enumRemoved", False, "no longer one of a list")
    elif was is not None and now is not None:
        lost, won = was.keys() - now.keys(), now.keys() - was.keys()
        if lost:
            yield Change(place, "enumNarrowed", True, f"no longer {_listed({each: was[each] for each in lost})}")
        if won:
            yield Change(place, "enumWidened", False, f"also {_listed({each: now[each] for each in won})}")


def _bounds(old: Mapping[str, Any], new: Mapping[str, Any], types: frozenset[str], place: str) -> Iterator[Change]:
    for word, kind in LOWER.items():
        if kind in types:
            yield from _bound(word, old.get(word, 0), new.get(word, 0), place, lower=True)
    for word, kind in UPPER.items():
        if kind in types:
            yield from _bound(word, old.get(word), new.get(word), place, lower=False)
    if "integer" in types:
        was, now = _range_of(old), _range_of(new)
        yield from _bound("minimum", was[0], now[0], place, lower=True)
        yield from _bound("maximum", was[1], now[1], place, lower=False)


def _bound(word: str, was: Any, now: Any, place: str, *, lower: bool) -> Iterator[Change]:
    if was == now:
        return
    tighter = now is not None and (was is None or (now > was if lower else now < was))
    detail = f"{word}: {_bound_said(was)} → {_bound_said(now)}"
    yield Change(place, "boundTightened" if tighter else "boundLoosened", tighter, detail)


def _range_of(schema: Mapping[str, Any]) -> tuple[tuple[float, int] | None, tuple[float, int] | None]:
    """The smallest and greatest number; an excluded end is 1 further inside."""
    least = [(schema[word], side) for word, side in (("minimum", 0), ("exclusiveMinimum", 1)) if word in schema]
    most = [(schema[word], side) for word, side in (("maximum", 0), ("exclusiveMaximum", -1)) if word in schema]
    return max(least, default=None), min(most, default=None)


def _bound_said(bound: Any) -> str:
    if isinstance(bound, tuple):
        return f"{bound[0]} (excluded)" if bound[1] else str(bound[0])
    return "none" if bound is None else str(bound)


def _ref_of(schema: Any) -> str:
    ref = schema.get("$ref", "") if isinstance(schema, Mapping) else ""
    return ref if isinstance(ref, str) else ""


def _followed(schema: Any, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema without its reference: what it points at, and the words beside it."""
    plain = _plain(schema)
    for _ in range(LEVELS_MAX):
        ref = _ref_of(plain)
        if not ref:
            return plain
        aim = _aim(ref, document)
        beside = {word: value for word, value in plain.items() if word != "$ref"}
        if aim is None or (beside.keys() - SILENT) & aim.keys():
            # A reference by anchor, or rules on both sides that both hold: left as a word that is not understood.
            return {**beside, "allOf": [{"$ref": ref}]}
        plain = {**aim, **beside}
    return plain


def _aim(ref: str, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if ref == "#":
        return document
    if not ref.startswith("#/"):
        return None
    aim: Any = document
    for part in ref[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(aim, list):
            aim = aim[int(key)] if key.isdigit() and int(key) < len(aim) else None
        else:
            aim = aim.get(key) if isinstance(aim, Mapping) else None
    return _plain(aim) if isinstance(aim, Mapping | bool) else None


def _plain(schema: Any) -> Mapping[str, Any]:
    if isinstance(schema, Mapping):
        return schema
    return {} if schema is True else CLOSED


def _listed(values: Mapping[bytes, Any]) -> str:
    first = [shown(values[each]) for each in sorted(values)[:5]]
    return ", ".join(first) + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def _said(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:59] + "…"
