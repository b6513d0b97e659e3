"""V: the same server stack with our own decoding and checking and nothing else: no keys, limits, log or ledger.

An ASGI application as any other: a task and two messages for each answer. The product goes that way too for what has
more to wait for than the log; plain requests for events go a shorter one (boot.connections).
"""

import time
from typing import Any

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, judge
from headwater.collect.validate import Moment, Sender
from headwater.domain.schemas import Rules

ANSWER = b'{"accepted":%d,"duplicate":0,"quarantined":0,"batchId":"01a20d82-3a83-71f9-adcb-1dff8cfef7bb","results":[]}'
SENDER = Sender("bench", "bench", frozenset(), public=False)
BOUNDS, RULES = Bounds(), Rules(())


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    judged = judge(b"".join(parts), Case(SENDER, Moment(time.time_ns() // 1000), BOUNDS, RULES))
    body = ANSWER % judged.n
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})
