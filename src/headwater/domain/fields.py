"""A document from outside becomes a struct: unknown fields name the nearest known one, wrong types name the path."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec

from headwater.domain.errors import BadInput

T = TypeVar("T", bound=msgspec.Struct)


def read(kind: type[T], body: Mapping[str, Any]) -> T:
    """`body` as a `kind`. Raises BadInput with code UNKNOWN_FIELD or INVALID_FIELD; only the top level is checked for
    unknown names."""
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    for name in body:
        if name not in known:
            near = nearest(name, known)
            raise BadInput(
                f"unknown field {name[:80]!r}; " + (f"did you mean {near!r}" if near else f"known: {', '.join(known)}"),
                code="UNKNOWN_FIELD",
                path=name[:80],
                hint=near,
            )
    try:
        return msgspec.convert(dict(body), kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        path = path.rstrip("`")
        text = text.replace("`", "")
        message = text[0].lower() + text[1:]
        raise BadInput(f"{path}: {message}" if path else message, code="INVALID_FIELD", path=path or None) from error


def nearest(name: str, known: list[str]) -> str | None:
    """The known name most like `name`, or None when none is near."""
    near = get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.6)
    return next((k for k in known if near and k.lower() == near[0]), None)
