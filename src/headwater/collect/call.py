"""One request on its way through the collector, and how long its body may take to come."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from headwater.collect import head
from headwater.collect.intake import Connection, Intake, Receipt
from headwater.collect.judge import Judged
from headwater.collect.limit import Bucket
from headwater.collect.repeats import Known
from headwater.collect.validate import Sender
from headwater.domain.networks import Network, client_of
from headwater.security.keys import Access

Headers = Sequence[tuple[bytes, bytes]]
Answer = Callable[[int, bytes, bytes], None]
"""(status, header lines, body) of a whole answer, for whoever writes it."""


class Call:
    """What is known of a request so far, and of its answer."""

    # Set as the way goes on; a default of the class costs a request nothing.
    access: Access
    sender: Sender
    connection: Connection
    receipt: Receipt
    answer: Answer
    request_id: bytes | None = None
    project: str | None = None
    intake: Intake | None = None
    bucket: Bucket | None = None
    judged: Judged | None = None
    task: asyncio.Task[Any] | None = None
    coding: str | None = None
    sent_us: int | None = None
    durable = True
    whole = False
    """Is all of the body read? If not, the connection is closed after the answer."""
    late = False
    """Was its reading ended because it took too long?"""
    taken = 0
    """Bytes in flight for it."""
    mark = 0
    """Of a request that will be known when it comes again; 0 for others."""
    again: Sequence[Known] = ()
    """Events that are known to have come before."""

    def __init__(
        self, method: str, path: str, headers: Headers, peer: str | None, trusted: tuple[Network, ...]
    ) -> None:
        self.started = time.perf_counter()
        self.method = method
        self.path = path
        self.headers = found = head.headers_of(headers)
        self.client = client_of(peer, head.text_of(found.get(b"x-forwarded-for")), trusted) if trusted else peer
        if b"x-request-id" in found:
            self.request_id = head.sane_request_id(found[b"x-request-id"])
        self.out: list[tuple[bytes, bytes]] = []
        """Headers of the answer so far."""


class Deadlines:
    """Ends the reading of bodies that take too long. One timer for all of them: asyncio.timeout cost 4 µs a request."""

    def __init__(self, seconds_max: float) -> None:
        self.seconds_max = seconds_max
        self._since: dict[Call, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, call: Call) -> None:
        call.task = asyncio.current_task()
        self._since[call] = time.monotonic()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._step(), self._sweep)

    def end(self, call: Call) -> None:
        self._since.pop(call, None)

    def _step(self) -> float:
        """How often to look: a deadline is kept to a tenth, at worst to a second."""
        return min(1.0, self.seconds_max / 10)

    def _sweep(self) -> None:
        now = time.monotonic()
        for call in [call for call, since in self._since.items() if now - since >= self.seconds_max]:
            self.end(call)
            call.late = True
            if call.task is not None:
                call.task.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._step(), self._sweep) if self._since else None
