"""Good things made a little wrong: most bugs of a decoder lie close to what it takes."""

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

JUNK: tuple[Any, ...] = (
    None,
    True,
    "",
    "x",
    0,
    -1,
    0.5,
    1e308,
    2**63,
    -(2**70),
    [],
    {},
    [None],
    {"": ""},
    "é😀\u0000\u2028",
    "a" * 5000,
    "2026-11-24T10:00:00Z",
    "0001-01-01T00:00:00+14:00",
    [[[[[[[[[[]]]]]]]]]],
    "attributes.a.b",
)
TOKENS = (
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"null",
    b"1e999",
    b"-0",
    b"\\ud800",
    b"\\u0000",
    b"\xc3\x28",
    b" ",
    b"%",
    b"\t",
    b"[" * 200,
)


def mutated(content: bytes, number: int, times: int, others: Sequence[bytes] = ()) -> bytes:
    """The content after `times` changes, drawn from `number`."""
    chance = random.Random(number)
    for _ in range(times):
        begin = chance.randint(0, len(content))
        end = min(len(content), begin + chance.choice((0, 1, 1, 2, 8, 64, 1000)))
        match chance.randrange(7):
            case 0 if content:
                at = chance.randrange(len(content))
                content = content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
            case 1:
                content = content[:begin] + content[end:]
            case 2:
                content = content[:end] + content[begin:end] + content[end:]
            case 3:
                content = content[:begin] + chance.choice(TOKENS) + content[end:]
            case 4:
                content = content[:begin]
            case 5:
                content = content[:begin] + chance.randbytes(end - begin) + content[end:]
            case _ if others:
                other = chance.choice(others)
                content = content[:begin] + other[chance.randint(0, len(other)) :]
    return content


def twisted(document: Any, number: int, times: int) -> Any:
    """A JSON value after `times` changes: values replaced by junk, fields renamed, dropped, doubled, moved."""
    chance = random.Random(number)
    document = copy.deepcopy(document)
    for _ in range(times):
        holders = [each for each in _holders(document) if each]
        if not holders:
            return chance.choice(JUNK)
        holder = chance.choice(holders)
        key = chance.choice([*holder]) if isinstance(holder, dict) else chance.randrange(len(holder))
        match chance.randrange(5):
            case 0 | 1:
                holder[key] = copy.deepcopy(chance.choice(JUNK))
            case 2:
                del holder[key]
            case 3 if isinstance(holder, dict):
                holder[chance.choice((key + "x", key[:-1], key.upper(), "name"))] = holder.pop(key)
            case 3:
                holder.append(copy.deepcopy(holder[key]))
            case _:
                part = copy.deepcopy(chance.choice([*_holders(document)]))
                holder[key] = part
    return document


def _holders(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(each for inner in value.values() for each in _holders(inner))]
    if isinstance(value, list):
        return [value, *(each for inner in value for each in _holders(inner))]
    return []


def bytes_like(*corpus: bytes) -> st.SearchStrategy[bytes]:
    return st.builds(
        mutated, st.sampled_from(corpus), st.integers(0, 2**32), st.integers(0, 6), st.just(corpus)
    ) | st.binary(max_size=200)


def documents_like(*corpus: Any) -> st.SearchStrategy[Any]:
    return st.builds(twisted, st.sampled_from(corpus), st.integers(0, 2**32), st.integers(0, 5))


def fuzz(check: Callable[[Any], None], inputs: st.SearchStrategy[Any], examples: int, number: int = 1) -> None:
    """`check` on so many inputs, always the same for a number. A failure prints the smallest input that fails."""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(inputs)
    def run(value: Any) -> None:
        check(value)

    run()
