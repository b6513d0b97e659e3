"""Bodies of the same kind for ourselves, the peer and D: events of about 430 bytes, ids and times all different."""

import json
import random
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

NAMES = ("page_view", "search", "product_view", "add_to_cart", "checkout_started", "purchase")
COUNTRIES = ("DE", "US", "FR", "GB", "IN", "BR", "JP", "PL", "ES", "IT")
ID_CUT = re.compile(rb'("id": ")[0-9a-f]{8}-[0-9a-f]{4}')
SECOND_CUT = re.compile(rb'("timestamp": ")[0-9T:-]{19}')
ID_MARK, SECOND_MARK = b"\x01", b"\x02"


def this_second(ago_seconds: float = 1.0) -> str:
    """`2026-11-24T10:00:00`; the last whole one by default, so that no microsecond of it lies ahead of the server."""
    return (datetime.now(UTC) - timedelta(seconds=ago_seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def events(count: int, seed: int = 1, second: str | None = None) -> list[dict]:
    """`count` distinct events as a client would send them, spread over one second."""
    rng = random.Random(seed)
    second = second or this_second()
    return [
        {
            "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "type": "USER_ACTION",
            "name": rng.choice(NAMES),
            "source": "web",
            "actor": f"user-{rng.randrange(50_000)}",
            "timestamp": f"{second}.{rng.randrange(10**6):06}Z",
            "version": "1",
            "data": {
                "attributes": {
                    "path": f"/products/{rng.randrange(1000)}",
                    "country": rng.choice(COUNTRIES),
                    "device": rng.choice(("ios", "android", "desktop")),
                    "amount": round(rng.uniform(1, 300), 2),
                    "plan": rng.choice(("free", "pro", "team")),
                    "campaign": "autumn-sale-2026",
                },
                "metadata": {
                    "sessionId": f"s-{rng.randrange(10**9)}",
                    "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)",
                },
            },
        }
        for _ in range(count)
    ]


def body(count: int, seed: int = 1, second: str | None = None) -> bytes:
    return json.dumps(events(count, seed, second)).encode()


def cut(text: bytes) -> bytes:
    """A mark where the first 13 characters of each id stood, and one where each timestamp's second did."""
    return SECOND_CUT.sub(rb"\1" + SECOND_MARK, ID_CUT.sub(rb"\1" + ID_MARK, text))


class Template:
    """A body that can be sent any number of times, each time with other ids and the present time."""

    def __init__(self, count: int, seed: int, make: Callable[[int, int], list[dict]] = events) -> None:
        found = make(count, seed)
        self.count = count
        self.tails = [event["id"][13:] for event in found]
        self._pieces = re.split(rb"[\x01\x02]", cut(json.dumps(found).encode()))

    def fresh(self, rng: random.Random) -> tuple[bytes, list[str]]:
        """(body, ids)."""
        second = this_second().encode()
        heads = [f"{bits >> 16:08x}-{bits & 0xFFFF:04x}" for bits in map(rng.getrandbits, [48] * self.count)]
        pieces = self._pieces
        out: list[bytes] = [b""] * (2 * len(pieces) - 1)
        out[::2] = pieces
        out[1::4] = [head.encode() for head in heads]
        out[3::4] = [second] * self.count
        return b"".join(out), [head + tail for head, tail in zip(heads, self.tails, strict=True)]
