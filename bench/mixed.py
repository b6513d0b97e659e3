"""Traffic as it comes in practice: pages, purchases and machines; of 200 events two came before, one is broken.

A body is a template with other ids and the present time, and three more events: one that may come again later, one that
did come before (or a new one), one that is broken (or a new one).
"""

import random
from collections import deque
from dataclasses import dataclass

from bench.bodies import NAMES, Template, events

REPEAT_SHARE = 0.01
BROKEN_SHARE = 0.005
KEPT_SINGLES = 20_000
"""Of those that came: at 200 requests a second a repeat comes up to 100 s late."""
SCHEMA = {
    "name": "purchase",
    "mode": "enforce",
    "jsonSchema": {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]},
}
MACHINES = ("api-1", "api-2", "db-1", "worker-1")


@dataclass(frozen=True)
class Sending:
    """`single`: the event in it that is fit to be sent again once this is acknowledged."""

    body: bytes
    single: bytes
    repeats: int
    broken: int


class Mixed:
    """Bodies of `batch` events. `acknowledged` tells which have come; only those are repeated."""

    def __init__(self, batch: int, seed: int, templates: int = 16) -> None:
        assert batch > 3
        self._rng = random.Random(seed)
        self._whole = [Template(batch - 3, seed + number, mixed) for number in range(templates)]
        self._single = [Template(1, seed + 1000 + number, mixed) for number in range(templates)]
        self._broken = [Template(1, seed + 2000, kind) for kind in (of_no_type, amount_in_words)]
        self._came: deque[bytes] = deque(maxlen=KEPT_SINGLES)
        self._owed_repeats = self._owed_broken = 0.0
        self._batch = batch

    def next(self) -> Sending:
        self._owed_repeats += REPEAT_SHARE * self._batch
        self._owed_broken += BROKEN_SHARE * self._batch
        repeats = int(self._owed_repeats >= 1 and bool(self._came))
        broken = int(self._owed_broken >= 1)
        self._owed_repeats -= repeats
        self._owed_broken -= broken
        whole = self._rng.choice(self._whole).fresh(self._rng)[0][1:-1]
        single = self._one(self._single)
        again = self._came[self._rng.randrange(len(self._came))] if repeats else self._one(self._single)
        last = self._one(self._broken if broken else self._single)
        return Sending(b"[" + b", ".join((whole, single, again, last)) + b"]", single, repeats, broken)

    def acknowledged(self, sending: Sending) -> None:
        self._came.append(sending.single)

    def _one(self, templates: list[Template]) -> bytes:
        return self._rng.choice(templates).fresh(self._rng)[0][1:-1]


def mixed(count: int, seed: int) -> list[dict]:
    """Mostly pages; an eighth of the shop's server, an eighth of machines."""
    rng = random.Random(seed)
    found = events(count, seed)
    for event in found:
        attributes = event["data"]["attributes"]
        kind = rng.randrange(8)
        if kind == 0:
            event |= {"type": "BUSINESS_EVENT", "source": "shop"}
            attributes |= {"currency": "EUR", "items": rng.randrange(1, 9), "gift": rng.random() < 0.1}
        elif kind == 1:
            event |= {"type": "SYSTEM_METRIC", "name": "cpu", "source": rng.choice(MACHINES)}
            del event["actor"]
            event["data"]["attributes"] = {"usedShare": round(rng.random(), 3), "load": {"1m": rng.random() * 4}}
        else:
            attributes["query"] = " ".join(rng.choices(NAMES, k=rng.randrange(1, 6)))
    return found


def of_no_type(count: int, seed: int) -> list[dict]:
    return [event | {"type": "CLICK"} for event in mixed(count, seed)]


def amount_in_words(count: int, seed: int) -> list[dict]:
    found = events(count, seed)
    for event in found:
        event["name"] = "purchase"
        event["data"]["attributes"]["amount"] = "a lot"
    return found
