"""What is learned from and tried on: stored events, in whatever way they were read."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headwater.domain.filters import Field


class Sample(NamedTuple):
    id: str
    occurred_us: int
    version: str
    attributes: bytes
    """JSON text of an object."""


KEY_CHARACTERS_SHOWN = 60
ANY_KEY = "{*}"
"""Step of a path for every key that the schema doesn't name."""


def place_of(keys: Iterable[str | int]) -> str:
    """A path as questions write it, with `[]` for every element of a list: `attributes.items[].price`."""
    path: list[str] = []
    above = "attributes"
    for key in keys:
        if isinstance(key, int):
            above += "[]"
        else:
            path.append(above)
            above = key if len(key) <= KEY_CHARACTERS_SHOWN else key[: KEY_CHARACTERS_SHOWN - 1] + "…"
    path.append(above)
    return str(Field(path[0], tuple(path[1:])))


def value_at(value: object, keys: Sequence[str | int]) -> object:
    """None where the path ends early."""
    for key in keys:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value
