"""What was learned → a proposed schema that accepts every event it was made from, with the evidence for each rule."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from headwater.collect.schemas.learn import Learned, Shape
from headwater.collect.schemas.samples import place_of
from headwater.domain.schemas import SCHEMA_BYTES_MAX, Schema, parse_schema

REQUIRED_MIN = 10
"""Objects that must have been seen before a field that all of them have is required."""
FORMAT_MIN = 10
"""Texts that must all have a format."""
ENUM_VALUES = range(2, 21)
ENUM_REPEATS_MIN = 10
"""Texts for each distinct one, on average. And each came twice at least: where single ones turn up, more will."""
RARE_SHARE = 0.01
"""Of an object with more keys than are looked at, only fields that so many of the objects have are proposed."""
FIELDS_SAID = (200, 100, 50, 20, 5, 0)
"""Fields of one object in the proposal: as many as leave it small enough to be declared. Compiled ones take 200."""
ORDER = ("string", "integer", "number", "boolean", "object", "array", "null")


class Evidence(msgspec.Struct, frozen=True, rename="camel"):
    """What was seen at one path. Ranges and lengths are no rules of the proposal."""

    path: str
    present: int
    """Values here, null included: of events, of the objects around, or elements of all lists."""
    of: int
    """How many there could be: the objects around it; for elements as many as there are."""
    types: dict[str, int]
    required: bool
    distinct: int | UnsetType = UNSET
    """Distinct texts, where they are few and short."""
    enum: list[str] | UnsetType = UNSET
    format: str | UnsetType = UNSET
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    length_max: int | UnsetType = UNSET


class Proposal(msgspec.Struct, frozen=True):
    schema: Schema
    paths: list[Evidence]
    """In the order of the schema; of fields that it leaves out there is nothing."""
    fields_left_out: bool


def propose(name: str, learned: Learned) -> Proposal:
    """Mode `warn`, unknown fields allowed: nothing is refused by it. At least one event was learned from."""
    for fields_max in FIELDS_SAID:
        document = _said(learned.root, fields_max)
        if len(msgspec.json.encode(document)) <= SCHEMA_BYTES_MAX:
            break
    schema = parse_schema({"name": name, "version": learned.version, "jsonSchema": document, "mode": "warn"})
    paths = list(_evidence(learned.root, fields_max, ()))
    return Proposal(schema, paths, _leaves_out(learned.root, fields_max))


def _said(shape: Shape, fields_max: int) -> dict[str, Any]:
    """The schema of one path. Nothing is said of what was null whenever it came."""
    types = _types(shape)
    if types == ["null"]:
        return {}
    said: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    values, form = _enum(shape), _format(shape)
    if values:
        said["enum"] = [*values, None] if "null" in types else values
    elif form:
        said["format"] = form
    fields = _fields(shape, fields_max)
    if fields:
        said["properties"] = {key: _said(each, fields_max) for key, each in fields}
    required = [key for key, each in fields if _is_required(each, shape)]
    if required:
        said["required"] = required
    if shape.elements is not None and not shape.partial:
        elements = _said(shape.elements, fields_max)
        if elements:
            said["items"] = elements
    return said


def _types(shape: Shape) -> list[str]:
    found = [kind for kind in ORDER if kind in shape.kinds]
    if "number" in found and "integer" in found:
        found.remove("integer")
    return found


def _enum(shape: Shape) -> list[str] | None:
    """Where all that is not null is one of few texts."""
    texts = shape.texts
    if texts is None or texts.values is None or texts.formats or set(shape.kinds) - {"string", "null"}:
        return None
    values = texts.values
    seen = shape.kinds["string"]
    if len(values) not in ENUM_VALUES or seen < ENUM_REPEATS_MIN * len(values) or min(values.values()) < 2:
        return None
    return sorted(values)


def _format(shape: Shape) -> str | None:
    if shape.texts is None or not shape.texts.formats or shape.kinds["string"] < FORMAT_MIN:
        return None
    return shape.texts.formats[0].name


def _fields(shape: Shape, fields_max: int) -> list[tuple[str, Shape]]:
    """Those to be said, the most frequent first."""
    objects = shape.kinds.get("object", 0)
    found = sorted(shape.fields.items(), key=lambda item: -item[1].seen)
    if shape.partial:
        found = [(key, each) for key, each in found if each.seen >= RARE_SHARE * objects]
    return found[:fields_max]


def _is_required(field: Shape, around: Shape) -> bool:
    objects = around.kinds.get("object", 0)
    return objects >= REQUIRED_MIN and field.seen == objects


def _leaves_out(shape: Shape, fields_max: int) -> bool:
    said = _fields(shape, fields_max)
    if len(said) < len(shape.fields):
        return True
    below = [each for _, each in said] + ([shape.elements] if shape.elements is not None else [])
    return any(_leaves_out(each, fields_max) for each in below)


def _evidence(shape: Shape, fields_max: int, keys: tuple[str | int, ...]) -> Iterator[Evidence]:
    for key, field in _fields(shape, fields_max):
        here = (*keys, key)
        of = shape.kinds["object"]
        yield _one(field, here, of, _is_required(field, shape))
        yield from _evidence(field, fields_max, here)
    if shape.elements is not None:
        here = (*keys, 0)
        yield _one(shape.elements, here, shape.elements.seen, False)
        yield from _evidence(shape.elements, fields_max, here)


def _one(shape: Shape, keys: tuple[str | int, ...], of: int, required: bool) -> Evidence:
    texts, values = shape.texts, _enum(shape)
    return Evidence(
        path=place_of(keys),
        present=shape.seen,
        of=of,
        types=dict(shape.kinds),
        required=required,
        distinct=UNSET if texts is None or texts.values is None else len(texts.values),
        enum=values or UNSET,
        format=_format(shape) or UNSET,
        minimum=UNSET if shape.least is None else shape.least,
        maximum=UNSET if shape.most is None else shape.most,
        length_max=UNSET if texts is None else texts.longest,
    )
