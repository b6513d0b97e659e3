"""Bodies of the same kind for ourselves, the peer and D: events of about 430 bytes, every id unique."""

import json
import random
import uuid

NAMES = ("page_view", "search", "product_view", "add_to_cart", "checkout_started", "purchase")
COUNTRIES = ("DE", "US", "FR", "GB", "IN", "BR", "JP", "PL", "ES", "IT")


def events(count: int, seed: int = 1, timestamp: str = "2026-11-24T10:00:00.123456Z") -> list[dict]:
    """`count` distinct events as a client would send them."""
    rng = random.Random(seed)
    return [
        {
            "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "type": "USER_ACTION",
            "name": rng.choice(NAMES),
            "source": "web",
            "actor": f"user-{rng.randrange(50_000)}",
            "timestamp": timestamp,
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


def body(count: int, seed: int = 1, **more: str) -> bytes:
    return json.dumps(events(count, seed, **more)).encode()
