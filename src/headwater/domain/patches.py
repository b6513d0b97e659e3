"""What is changed in quarantined events before they are judged again: operations on their fields, done in order.

    rename {field, to}        the value moves; an event that has `to` already is left as it is, and says so
    cast {field, type}        to string, number, integer or boolean, where nothing of the value is lost by it
    set {field, value}        in every event, whether the field is there or not
    drop {field}
    addTime {field?, format?} only for an event without a usable time: see `_add_time`

Fields are named as in filters, and any other place in the event by its path: `attributes.price` is
`data.attributes.price`, `sessionId` is `data.metadata.sessionId`, `time` is `timestamp`; `$.` before a path takes it as
it stands. An operation on a field that an event does not have changes nothing in it. What is not touched stays the
text it was, to the last digit of a number.
"""

import datetime as dt
from collections.abc import Callable, Container, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from headwater.domain.errors import BadInput
from headwater.domain.events import EPOCH, FUTURE_US_MAX, MICROSECOND, Event, Instant, text_of, us_of
from headwater.domain.filters import keys_of
from headwater.domain.reading import did_you_mean, read
from headwater.domain.values import shown

OPERATIONS_MAX = 50
VALUE_BYTES_MAX = 16 * 1024
"""Of what `set` sets, as JSON."""
FORMAT_CHARACTERS_MAX = 100
PATCH_FAILED = "PATCH_FAILED"

TOP = Event.__struct_fields__
METADATA = ("sourceIp", "userAgent", "sessionId", "batchId")
PARTS = ("attributes", "metadata")

Path = tuple[str, ...]


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One as asked."""

    op: Literal["rename", "cast", "set", "drop", "addTime"]
    field: str | UnsetType = UNSET
    to: str | UnsetType = UNSET
    type: Literal["string", "number", "integer", "boolean"] | UnsetType = UNSET
    value: Any = UNSET
    format: str | UnsetType = UNSET


class Moment(NamedTuple):
    """When the event came, and its client's clock at sending."""

    received_us: int
    sent_us: int | None


class Patched(NamedTuple):
    text: bytes
    """The event's JSON afterwards; as it was where there is a fault."""
    changed: bool
    fault: str | None = None
    """Why an operation could not be done on this event."""
    fields: Container[str] = ()
    """At the top of the event afterwards."""
    is_object: bool = True
    """False for what is no JSON object: then nothing can be done on it."""


Object = dict[str, Any]
"""Values are Raw as far as nothing led into them."""
Step = Callable[[Object, Moment], bool]
"""Changes an event; True when it did. Raises _Cannot."""

NEEDS = {"rename": ("field", "to"), "cast": ("field", "type"), "set": ("field", "value"), "drop": ("field",)}
TAKES = {**NEEDS, "addTime": ("field", "format")}

_object = msgspec.json.Decoder(dict[str, Raw])
_any = msgspec.json.Decoder()
_number = msgspec.json.Decoder(int | float)
_instant = msgspec.json.Decoder(Instant)
_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class _Cannot(Exception):
    """This event can't be changed so; the others can."""


class Patch:
    """Operations that were checked, ready for events. Immutable."""

    def __init__(self, operations: Sequence[Operation] = (), path: str = "$.patch") -> None:
        """Raises BadInput naming the operation by its index, the field and the cure."""
        if len(operations) > OPERATIONS_MAX:
            raise BadInput(
                f"{path}: {len(operations)} operations; at most {OPERATIONS_MAX}",
                code="INVALID_PATCH",
                path=path,
                value=len(operations),
                limit=OPERATIONS_MAX,
            )
        self.operations = tuple(operations)
        self._steps = [(_said(each), _step(each, f"{path}[{k}]")) for k, each in enumerate(operations)]

    def apply(self, text: bytes, moment: Moment) -> Patched:
        """The event after all operations, in order. 4 µs. Never raises."""
        try:
            root = _object.decode(text)
        except _UNREADABLE:
            return Patched(text, False, "it is no JSON object, so no patch can help", is_object=False)
        changed = False
        for k, (said, step) in enumerate(self._steps):
            try:
                changed |= step(root, moment)
            except _Cannot as why:
                return Patched(text, False, f"patch[{k}] {said}: {why}")
        return Patched(_encode(root) if changed else text, changed, None, root)


def parse_patch(value: Any, path: str = "$.patch") -> Patch:
    """From plain lists and dicts. Raises BadInput."""
    return Patch(read(tuple[Operation, ...], value, path), path)


def path_of_field(text: str, path: str) -> Path:
    """The keys that lead to a field from the event's top. Raises BadInput (INVALID_FIELD)."""
    literal = text.startswith("$.")
    keys = keys_of(text[2:] if literal else text, text, path)
    if literal:
        return keys
    if keys[0] in PARTS:
        return ("data", *keys)
    if keys == ("time",):
        return ("timestamp",)
    return ("data", "metadata", *keys) if len(keys) == 1 and keys[0] in METADATA else keys


def value_at(event: Any, path: Sequence[str | int]) -> Any:
    """The value there in decoded JSON, else UNSET."""
    for key in path:
        is_there = isinstance(event, dict) and key in event
        if not is_there and not (isinstance(event, list) and isinstance(key, int) and key < len(event)):
            return UNSET
        event = event[key]
    return event


def _said(asked: Operation) -> str:
    return asked.op if asked.field is UNSET else f"{asked.op} {asked.field}"


def _step(asked: Operation, at: str) -> Step:
    given = {name for name in ("field", "to", "type", "value", "format") if getattr(asked, name) is not UNSET}
    for name in NEEDS.get(asked.op, ()):
        if name not in given:
            raise BadInput(f"{at}: '{asked.op}' needs '{name}'", code="MISSING_FIELD", path=f"{at}.{name}")
    for name in sorted(given.difference(TAKES[asked.op])):
        takes = ", ".join(TAKES[asked.op])
        raise BadInput(
            f"{at}: '{asked.op}' takes {takes}, not '{name}'; leave it out", code="INVALID_PATCH", path=f"{at}.{name}"
        )
    field = path_of_field(asked.field, f"{at}.field") if isinstance(asked.field, str) else ()
    match asked.op:
        case "rename":
            to = _target(str(asked.to), f"{at}.to")
            if to == field:
                raise BadInput(f"{at}: from {asked.field} to itself", code="INVALID_PATCH", path=f"{at}.to")
            return lambda root, _: _rename(root, field, to, str(asked.to))
        case "cast":
            return lambda root, _: _cast(root, field, str(asked.type))
        case "set":
            value = _value(asked, field, at)
            target = _target(str(asked.field), f"{at}.field")
            return lambda root, _: _put(root, target, value)
        case "drop":
            return lambda root, _: _take(root, field) is not UNSET
        case "addTime":
            if asked.format is not UNSET and not field:
                raise BadInput(f"{at}: 'format' is of the text in 'field'", code="MISSING_FIELD", path=f"{at}.field")
            form = None if asked.format is UNSET else _format(asked.format, f"{at}.format")
            return lambda root, moment: _add_time(root, field, form, moment)


def _value(asked: Operation, field: Path, at: str) -> Raw:
    if field == ("id",):
        raise BadInput(
            f"{at}.field: one id for all would make them one event; drop it, and each gets one of its own",
            code="INVALID_PATCH",
            path=f"{at}.field",
            value=asked.field,
        )
    value = _encode(asked.value)
    if len(value) > VALUE_BYTES_MAX:
        raise BadInput(
            f"{at}.value: {len(value)} bytes; at most {VALUE_BYTES_MAX}",
            code="INVALID_PATCH",
            path=f"{at}.value",
            limit=VALUE_BYTES_MAX,
        )
    return Raw(value)


def _format(text: str, at: str) -> str:
    try:
        if not text or len(text) > FORMAT_CHARACTERS_MAX:
            raise ValueError(f"1 to {FORMAT_CHARACTERS_MAX} characters")
        dt.datetime.strptime(EPOCH.strftime(text), text)  # noqa: DTZ007 - only whether it can be read back
    except ValueError as error:
        raise BadInput(
            f"{at}: {shown(text)} is no format of times such as '%d.%m.%Y %H:%M:%S': {error}",
            code="INVALID_PATCH",
            path=at,
            value=text,
        ) from None
    return text


def _target(text: str, at: str) -> Path:
    """A place that events have: a typing error here would put the value where nobody finds it."""
    path = path_of_field(text, at)
    unknown = None
    if path[0] not in TOP or (path[0] == "data" and len(path) > 1 and path[1] not in PARTS):
        unknown = did_you_mean(text, (*TOP, *METADATA, "attributes.<path>"))
    elif path[:2] == ("data", "metadata") and len(path) > 2 and path[2] not in METADATA:
        unknown = did_you_mean(path[2], METADATA)
    if unknown:
        raise BadInput(
            f"{at}: unknown field {shown(text)}; {unknown}", code="UNKNOWN_FIELD", path=at, value=text, hint=unknown
        )
    if len(path) > {"attributes": 100, "metadata": 3}.get(path[1] if path[0] == "data" and len(path) > 1 else "", 1):
        raise BadInput(
            f"{at}: {shown(text)} leads into a field that holds no object", code="INVALID_FIELD", path=at, value=text
        )
    return path


# On one event


def _inside(node: Object, key: str) -> Object | None:
    """The object at `key`, opened in place; None where there is none."""
    child = node.get(key)
    if type(child) is dict or child is None:
        return child
    try:
        child = node[key] = _object.decode(child)
    except _UNREADABLE:
        return None
    return child


def _holder(root: Object, path: Path) -> Object | None:
    node = root
    for key in path[:-1]:
        inside = _inside(node, key)
        if inside is None:
            return None
        node = inside
    return node


def _get(root: Object, path: Path) -> Any:
    """Plain JSON value; UNSET where the event has none."""
    holder = _holder(root, path)
    return UNSET if holder is None or path[-1] not in holder else _plain(holder[path[-1]])


def _plain(value: Any) -> Any:
    try:
        return _any.decode(value if type(value) is Raw else _encode(value))
    except _UNREADABLE as error:
        raise _Cannot(f"its value can't be read: {error}") from None


def _take(root: Object, path: Path) -> Any:
    holder = _holder(root, path)
    return UNSET if holder is None else holder.pop(path[-1], UNSET)


def _put(root: Object, path: Path, value: Any) -> bool:
    node = root
    for depth, key in enumerate(path[:-1]):
        inside = _inside(node, key)
        if inside is None:
            if key in node:
                raise _Cannot(f"{'.'.join(path[: depth + 1])} is no object")
            inside = node[key] = {}
        node = inside
    node[path[-1]] = value
    return True


def _rename(root: Object, field: Path, to: Path, said: str) -> bool:
    holder, target = _holder(root, field), _holder(root, to)
    if holder is None or field[-1] not in holder:
        return False
    if target is not None and to[-1] in target and to[: len(field)] != field:
        raise _Cannot(f"the event has {said} already; drop that first")
    return _put(root, to, _take(root, field))


def _cast(root: Object, field: Path, kind: str) -> bool:
    holder = _holder(root, field)
    if holder is None or field[-1] not in holder:
        return False
    value = _plain(holder[field[-1]])
    made = _as(kind, value)
    if made is value:
        return False
    holder[field[-1]] = made
    return True


def _as(kind: str, value: Any) -> Any:
    """The value as that kind; itself where it is one. Raises _Cannot."""
    if type(value) is str and kind in ("number", "integer"):
        number = _number_in(value)
        if number is None or (kind == "integer" and isinstance(number, float) and not number.is_integer()):
            raise _Cannot(f"{shown(value)} is no {kind}")
        return number if kind == "number" else int(number)
    match kind, value:
        case ("boolean", bool()) | ("string", str()):
            return value
        case "boolean", str() | int() | float():
            found = _BOOLEANS.get(str(value).strip().lower())
            if found is not None:
                return found
        case "string", bool():
            return "true" if value else "false"
        case "string", int() | float():
            return _encode(value).decode()
        case "number", int() | float() if not isinstance(value, bool):
            return value
        case "integer", int() if not isinstance(value, bool):
            return value
        case "integer", float() if value.is_integer() and abs(value) < 2**63:
            return int(value)
    raise _Cannot(f"{shown(value)} is no {kind}")


def _number_in(text: str) -> int | float | None:
    """As JSON writes numbers: `007` is a name, and so is what has more digits than are kept."""
    try:
        number = _number.decode(text)
    except _UNREADABLE:
        return None
    return number if isinstance(number, float) or -(2**63) <= number < 2**64 else None


def _add_time(root: Object, field: Path, form: str | None, moment: Moment) -> bool:
    """Usable is an RFC 3339 time with a zone that is not more than 24 hours ahead of the receipt.

    Without `field` the event loses its time, and so happened when it was received: what is left of it is the same in
    every repeat. With one, the value there becomes its `timestamp`: a text of `format` or RFC 3339 (UTC where it names
    no zone), or a number since 1970, in s, ms, µs or ns as its size tells (< 1e11, < 1e14, < 1e17, above).
    """
    if _is_usable(root.get("timestamp", UNSET), moment):
        return False
    if not field:
        return root.pop("timestamp", UNSET) is not UNSET
    value = _get(root, field)
    if value is UNSET:
        return False
    us = _us_in(value, form)
    if us is None:
        raise _Cannot(f"{shown(value)} is no time{'' if form is None else f' of the format {form}'}")
    root["timestamp"] = Raw(_encode(text_of(us)))
    return True


def _is_usable(timestamp: Any, moment: Moment) -> bool:
    if not isinstance(timestamp, Raw):
        return False
    try:
        us = us_of(_instant.decode(timestamp))
    except (*_UNREADABLE, OverflowError):
        return False
    shift = 0 if moment.sent_us is None else moment.received_us - moment.sent_us
    return us + shift <= moment.received_us + FUTURE_US_MAX


def _us_in(value: Any, form: str | None) -> int | None:
    try:
        if isinstance(value, str) and form is not None:
            return _us_of_local(dt.datetime.strptime(value.strip(), form))  # noqa: DTZ007 - UTC where it names none
        if isinstance(value, str):
            number = _number_in(value)
            if number is None:
                return _us_of_local(dt.datetime.fromisoformat(value.strip()))
            value = number
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        size = abs(value)
        scale = 1_000_000 if size < 1e11 else 1_000 if size < 1e14 else 1
        us = value * scale if size < 1e17 else value / 1000
        return us_of(EPOCH + round(us) * MICROSECOND)
    except (ValueError, OverflowError):
        return None


def _us_of_local(at: dt.datetime) -> int:
    return us_of(at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC))
