"""The body of a request as it comes: read within its time and size, expanded, or drained where it was refused."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from headwater.collect import head
from headwater.collect.bounds import Bounds
from headwater.collect.call import Call, Deadlines
from headwater.collect.counts import Counts
from headwater.collect.expand import expand
from headwater.collect.limit import InFlight
from headwater.domain.errors import BadInput, TooLarge

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

EXPAND_BYTES_MIN = 8 << 10
"""Compressed bodies are expanded in a thread from this size on: below, the way there costs more than inflating."""
DRAIN_BYTES_MAX = 32 << 20
DRAIN_SECONDS_MAX = 2.0


class Disconnected(Exception):
    """The client went away before its body was whole: nothing is stored, nobody is there to answer."""


class Bodies:
    def __init__(
        self, bounds: Bounds, in_flight: InFlight, counts: Counts, threads: ThreadPoolExecutor, seconds_max: float
    ) -> None:
        self._bounds = bounds
        self._in_flight = in_flight
        self._counts = counts
        self._threads = threads
        self._deadlines = Deadlines(seconds_max)
        self._drains = Deadlines(min(DRAIN_SECONDS_MAX, seconds_max))

    async def read(self, call: Call, receive: Receive) -> bytes:
        """The body as it came. Raises TooLarge, BadInput (BODY_TIMEOUT), Overloaded, Disconnected."""
        bytes_max = self._bounds.body_bytes_max
        if head.content_length_of(call.headers.get(b"content-length")) > bytes_max:
            raise _too_large(bytes_max)
        parts: list[bytes] = []
        self._deadlines.begin(call)
        try:
            while not call.whole:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                part = message.get("body", b"")
                self._in_flight.add(len(part))
                call.taken += len(part)
                if call.taken > bytes_max:
                    raise _too_large(bytes_max)
                parts.append(part)
                call.whole = not message.get("more_body", False)
        except asyncio.CancelledError:
            if not call.late or call.task is None or call.task.uncancel() > 0:
                raise
            seconds = self._deadlines.seconds_max
            raise BadInput(
                f"the body was not whole after {seconds:g} s; {call.taken} bytes came",
                code="BODY_TIMEOUT",
                limit=seconds,
            ) from None
        finally:
            self._deadlines.end(call)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def expand(self, call: Call, body: bytes, coding: str) -> bytes:
        if len(body) < EXPAND_BYTES_MIN:
            body = expand(body, coding, self._bounds.expanded_bytes_max)
        else:
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self._threads, expand, body, coding, self._bounds.expanded_bytes_max)
        self._in_flight.add(len(body))
        call.taken += len(body)
        self._counts.expanded_bytes += len(body)
        return body

    async def drain(self, call: Call, receive: Receive) -> None:
        """Take the rest of a refused body off the line, within bounds, and forget it.

        A client that is still sending when the connection closes would meet a reset instead of the answer. One that
        asked first (`Expect: 100-continue`) has sent nothing yet, and one that was too slow has had its time.
        """
        announced = head.content_length_of(call.headers.get(b"content-length"))
        if call.whole or call.late or announced > DRAIN_BYTES_MAX or b"expect" in call.headers:
            return
        drained = 0
        self._drains.begin(call)
        try:
            while not call.whole and drained <= DRAIN_BYTES_MAX:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                drained += len(message.get("body", b""))
                call.whole = not message.get("more_body", False)
        except asyncio.CancelledError:
            if not call.late or call.task is None or call.task.uncancel() > 0:
                raise
        finally:
            self._drains.end(call)


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(
        f"the body is larger than {bytes_max} bytes; send smaller batches, or compress it",
        code="BODY_TOO_LARGE",
        limit=bytes_max,
    )
