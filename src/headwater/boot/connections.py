"""Connections with bounds, which uvicorn does not set: how many, how large a head, how long a request may take to come.

beyond `connections_max`          503, closed
head above HEAD_BYTES_MAX         431, closed: the parser keeps it in memory and copies it at every piece
head not whole in time            closed
body not whole in time            the collector answers 408; closed somewhat later whoever reads it
answer of which nothing is taken  cut
"""

import resource
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from headwater.domain.batches import new_uuid7
from headwater.domain.errors import HeadwaterError, TooLarge, Unavailable
from headwater.domain.problems import problem_of

HEAD_BYTES_MAX = 64 << 10
GRACE_SECONDS = 3.0
"""After a body's deadline: whoever reads it has answered by then."""
DEAF_SECONDS_MAX = 60.0
"""An answer lies here this long and not a byte of it is taken."""
FILES_APART = 200
"""Files that are no connections: stores, sockets, and what a library opens."""


class BoundedProtocol(HttpToolsProtocol):
    connections_max: int
    seconds_max: float
    """For a head to come, and again for its body."""

    # Times are of time.monotonic(); 0 while nothing is awaited.
    _since = 0.0
    _in_head = True
    _head_bytes = 0
    _deaf_since = 0.0
    _untaken_bytes = 0
    _running: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._since = time.monotonic()
        if len(self.connections) > self.connections_max:
            self._refuse(
                Unavailable(
                    f"{self.connections_max} connections are open, which is the limit",
                    code="TOO_MANY_CONNECTIONS",
                    limit=self.connections_max,
                    retry_after_seconds=1,
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        running = self._running
        if running is not None and not running.response_complete:
            # uvicorn tells the newest request of the line alone: one before it would write to a closed socket.
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if not self._since:
                self._since = time.monotonic()
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(_head_too_large())

    def on_headers_complete(self) -> None:
        if self._head_bytes > HEAD_BYTES_MAX and _size(self.url, self.headers) > HEAD_BYTES_MAX:
            # It came whole in one piece: the parser can't be stopped from here, but nobody gets to see it.
            self.app = _answer_head_too_large
        self._in_head = False
        self._since = time.monotonic()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._since = 0.0
        self._head_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        self._deaf_since = time.monotonic()
        self._untaken_bytes = self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._deaf_since = 0.0
        super().resume_writing()

    def look(self, now: float) -> None:
        """Close it if it had its time. About 0.1 µs; once a second for each connection, cheaper than a timer each."""
        if self._since and now - self._since > self.seconds_max + (0 if self._in_head else GRACE_SECONDS):
            self.transport.close()
        if self._deaf_since:
            untaken = self.transport.get_write_buffer_size()
            if untaken < self._untaken_bytes:
                self._untaken_bytes, self._deaf_since = untaken, now
            elif now - self._deaf_since > DEAF_SECONDS_MAX:
                self.transport.abort()

    def _refuse(self, error: HeadwaterError) -> None:
        status, headers, body = problem_of(error, str(new_uuid7()))
        headers = {**headers, "content-length": str(len(body)), "connection": "close"}
        lines = [f"HTTP/1.1 {status} ", *(f"{name}: {value}" for name, value in headers.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()


def bounded(connections_max: int, seconds_max: float) -> type[BoundedProtocol]:
    """The protocol of one server."""
    bounds = {"connections_max": connections_max, "seconds_max": seconds_max}
    return type("BoundedProtocol", (BoundedProtocol,), bounds)


def room_for(connections_max: int) -> int:
    """How many connections this process can hold: as many as asked for where the system allows as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + FILES_APART
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections_max if soft == resource.RLIM_INFINITY else max(1, min(connections_max, soft - FILES_APART))


def _size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def _head_too_large() -> TooLarge:
    return TooLarge(
        f"the head of the request is larger than {HEAD_BYTES_MAX} bytes", code="HEAD_TOO_LARGE", limit=HEAD_BYTES_MAX
    )


async def _answer_head_too_large(scope: Any, receive: Any, send: Any) -> None:
    status, headers, body = problem_of(_head_too_large(), str(new_uuid7()))
    headers = {**headers, "content-length": str(len(body)), "connection": "close"}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
