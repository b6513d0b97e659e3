"""JSON Schema → a type that msgspec decodes at C speed, for what such a type can say.

The law: what the type accepts, the schema accepts. Anything that can't be said under that law gives None, and the whole
schema is then left to a validator.
"""

import enum
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType


class Strictness(enum.Enum):
    ANY_FIELD = 0
    NAMED_FIELDS = 1
    """Refuse top-level fields that `properties` doesn't name, whatever `additionalProperties` says."""


PROPERTIES_MAX = 200
LEVELS_MAX = 8
# Words that say nothing about whether a value is right.
_SILENT = {"$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples", "deprecated"}
_SILENT |= {"readOnly", "writeOnly"}
_OF_TYPE: Mapping[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set(),
    "null": set(),
}
_WORDS = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}
_SAFE_INTEGER = 1 << 53
# From here on a float no longer tells neighbouring integers apart.


class _Unsayable(Exception):
    """This schema says something that a type can't."""


def decoder_of(schema: Mapping[str, Any], strictness: Strictness) -> "msgspec.json.Decoder[Any] | None":
    """A decoder that accepts only what the schema accepts, or None. The schema is a valid JSON Schema 2020-12."""
    try:
        if _words(schema) - {"type"} - _OF_TYPE["object"] or schema.get("type", "object") != "object":
            return None
        closed = strictness is Strictness.NAMED_FIELDS or schema.get("additionalProperties") is False
        return msgspec.json.Decoder(_object(schema, closed, levels=LEVELS_MAX))
    except (_Unsayable, TypeError, ValueError):
        # TypeError, ValueError: msgspec's own word on names and bounds that it can't take.
        return None


def _type(schema: Any, levels: int) -> Any:
    if schema is True or schema == {}:
        return msgspec.Raw
    if not isinstance(schema, Mapping) or levels == 0:
        raise _Unsayable
    words = _words(schema)
    if words == {"enum"} or words == {"enum", "type"}:
        return _choice(schema)
    types = schema.get("type")
    if isinstance(types, str):
        types = [types]
    if not isinstance(types, list) or ("integer" in types and "number" in types):
        raise _Unsayable
    allowed = {"type"}.union(*(_OF_TYPE[name] for name in types))
    if words - allowed:
        raise _Unsayable
    return Union[tuple(_one(name, schema, levels) for name in types)]  # noqa: UP007  # built, not written


def _one(name: str, schema: Mapping[str, Any], levels: int) -> Any:
    match name:
        case "object":
            return _object(schema, schema.get("additionalProperties") is False, levels)
        case "array":
            item: Any = _type(schema.get("items", True), levels - 1)
            return _limited(
                list.__class_getitem__(item), min_length=schema.get("minItems"), max_length=schema.get("maxItems")
            )
        case "string":
            return _limited(str, min_length=schema.get("minLength"), max_length=schema.get("maxLength"))
        case "integer":
            return _limited(int, **_bounds(schema))
        case "number":
            return _limited(float, **_bounds(schema))
        case "boolean":
            return bool
        case _:
            return None


def _object(schema: Mapping[str, Any], closed: bool, levels: int) -> Any:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    if schema.get("additionalProperties", True) not in (True, False) or len(properties) > PROPERTIES_MAX:
        raise _Unsayable
    if required - properties.keys():
        raise _Unsayable
    # Fields go by number, and are renamed to what they are called: a property may be called anything.
    names = {f"f{number}": name for number, name in enumerate(properties)}
    fields: list[Any] = []
    for field, name in names.items():
        of = _type(properties[name], levels - 1)
        fields.append((field, of) if name in required else (field, Union[of, UnsetType], UNSET))  # noqa: UP007
    return msgspec.defstruct(
        "Attributes", fields, rename=names, forbid_unknown_fields=closed, kw_only=True, gc=False, frozen=True
    )


def _choice(schema: Mapping[str, Any]) -> Any:
    values = schema["enum"]
    if not values or not all(isinstance(value, str) for value in values) or schema.get("type", "string") != "string":
        raise _Unsayable
    return Literal[tuple(values)]


def _bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    bounds = {_WORDS[word]: schema[word] for word in _WORDS if word in schema}
    if any(abs(bound) >= _SAFE_INTEGER for bound in bounds.values()) or {"ge", "gt"} <= bounds.keys():
        raise _Unsayable
    if {"le", "lt"} <= bounds.keys():
        raise _Unsayable
    return bounds


def _limited(of: Any, **limits: Any) -> Any:
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    if any(isinstance(limit, float) and limit != limit for limit in limits.values()):
        raise _Unsayable
    return Annotated[of, Meta(**limits)] if limits else of


def _words(schema: Mapping[str, Any]) -> set[str]:
    return set(schema) - _SILENT
