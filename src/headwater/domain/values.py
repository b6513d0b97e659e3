"""How a JSON value and the way to it are shown in a message: short, on one line, in JSON's own words."""

import re
from collections.abc import Iterable
from typing import Any

SHOWN_CHARACTERS_MAX = 60
_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")


def shown(value: Any) -> str:
    """`'abc'`, `5`, `null`, `an object`, `an array`; long texts are cut with `…`."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            cut = value if len(value) <= SHOWN_CHARACTERS_MAX else value[: SHOWN_CHARACTERS_MAX - 1] + "…"
            return repr(cut)
        case dict():
            return "an object"
        case list() | tuple():
            return "an array"
        case int() if abs(value) >= 10**SHOWN_CHARACTERS_MAX:
            # Python refuses to write integers of more than 4,300 digits.
            return "a number of more than 60 digits"
        case _:
            return str(value)


def path_of(parts: Iterable[str | int]) -> str:
    """`.data.attributes["odd key"][3]`: what follows a `$`."""
    return "".join(_step(part) for part in parts)


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    cut = part if len(part) <= SHOWN_CHARACTERS_MAX else part[: SHOWN_CHARACTERS_MAX - 1] + "…"
    if _PLAIN.fullmatch(cut):
        return f".{cut}"
    quoted = cut.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{quoted}"]'
