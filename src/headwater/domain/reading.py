"""Documents from outside become structs, with errors that name the path, the value and the nearest known word."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from headwater.domain.errors import BadInput
from headwater.domain.values import shown

T = TypeVar("T")

_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or the one it begins, case ignored; None when nothing is close."""
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if not found and len(word) >= 3:
        found = [each for each in by_lower if each.startswith(word.lower())][:1]
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the list of what is known where nothing is close."""
    known = tuple(known)
    found = nearest(word, known)
    return f"did you mean '{found}'?" if found else f"known: {', '.join(known)}"


def decoded(raw: bytes | str, path: str = "$") -> Any:
    """JSON → plain dicts, lists, scalars. Raises BadInput (MALFORMED_JSON)."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON: {error}", code="MALFORMED_JSON", path=path) from None


def read(kind: type[T], value: Any, path: str = "$") -> T:
    """`value` (plain dicts, lists, scalars) as a `kind`; unknown fields are errors where the struct forbids them.

    Raises BadInput with code UNKNOWN_FIELD, MISSING_FIELD or TYPE_MISMATCH.
    """
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise _explained(error, kind, value, path) from None


def _explained(error: msgspec.ValidationError, kind: Any, value: Any, path: str) -> BadInput:
    match = _MESSAGE.match(str(error))
    assert match is not None
    what, below = match["what"], match["path"] or ""
    at = path + below
    if unknown := _UNKNOWN.match(what):
        name = unknown["name"]
        hint = did_you_mean(name, _names_at(kind, below))
        return BadInput(f"{at}: unknown field '{name}'; {hint}", code="UNKNOWN_FIELD", path=at, value=name, hint=hint)
    if missing := _MISSING.match(what):
        name = missing["name"]
        return BadInput(f"{at}: missing field '{name}'", code="MISSING_FIELD", path=f"{at}.{name}")
    found = _value_at(value, below)
    choices = _choices_at(kind, below)
    said = f"expected one of {', '.join(choices)}" if choices else what[:1].lower() + what[1:].replace("`", "")
    return BadInput(f"{at}: {said}; the value is {shown(found)}", code="TYPE_MISMATCH", path=at, value=found)


def _steps(path: str) -> list[str | int | None]:
    return [
        match[1] if match[1] is not None else int(match[2]) if match[2] is not None else None
        for match in _STEP.finditer(path)
    ]


def _value_at(value: Any, path: str) -> Any:
    for step in _steps(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _names_at(kind: Any, path: str) -> list[str]:
    """Fields of the struct at `path`."""
    return [
        field.encode_name
        for each in _types_at(kind, path)
        if isinstance(each, msgspec.inspect.StructType)
        for field in each.fields
    ]


def _choices_at(kind: Any, path: str) -> list[str]:
    """What a word at `path` may be, where it is one of several."""
    return [
        str(choice)
        for each in _types_at(kind, path)
        if isinstance(each, msgspec.inspect.LiteralType | msgspec.inspect.EnumType)
        for choice in (each.values if isinstance(each, msgspec.inspect.LiteralType) else each.cls)
    ]


def _types_at(kind: Any, path: str) -> list[Any]:
    here = [msgspec.inspect.type_info(kind)]
    for step in _steps(path):
        inside: list[Any] = []
        for each in _alternatives(here):
            if isinstance(each, msgspec.inspect.StructType):
                inside += [field.type for field in each.fields if field.encode_name == step]
            elif isinstance(each, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
                inside.append(each.item_type)
        here = inside
    return _alternatives(here)


def _alternatives(kinds: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for each in kinds:
        flat += each.types if isinstance(each, msgspec.inspect.UnionType) else [each]
    return flat
