"""Connections with bounds, which uvicorn does not set: how many, how large a head, how long a request may take to come.
And a short way for events: a POST of them that has come whole is answered without a task, as ASGI would need one.

beyond `connections_max`          503, closed
head above HEAD_BYTES_MAX         431, closed: the parser keeps it in memory and copies it at every piece
head not whole in time            closed
body not whole in time            the collector answers 408; closed somewhat later whoever reads it
answer of which nothing is taken  cut
no request for long               closed
"""

import resource
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from headwater.api.front import EVENTS_PATH, Front
from headwater.domain.batches import new_uuid7
from headwater.domain.errors import HeadwaterError, TooLarge, Unavailable
from headwater.domain.problems import problem_of

HEAD_BYTES_MAX = 64 << 10
GRACE_SECONDS = 3.0
"""After a body's deadline: whoever reads it has answered by then."""
EVENTS_URL = EVENTS_PATH.encode()
FILES_APART = 200
"""Files that are no connections: stores, sockets, and what a library opens."""


class BoundedProtocol(HttpToolsProtocol):
    connections_max: int
    seconds_max: float
    """For a head to come, and again for its body."""
    deaf_seconds_max: float
    """For an answer to lie here without a byte of it taken."""

    # Times are of time.monotonic(); 0 while nothing is awaited.
    _since = 0.0
    _in_head = True
    _head_bytes = 0
    _deaf_since = 0.0
    _untaken_bytes = 0
    _idle_since = 0.0
    _running: RequestResponseCycle | None = None
    _pieces: list[bytes] | None = None
    """Of the body of a request that may be prompt; None while uvicorn has what comes."""
    _prompt = False
    """Is a prompt request under way, so that no other may be answered before it?"""
    _stopping = False
    _front: Front | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._front = self.app if isinstance(self.app, Front) else None
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

    def shutdown(self) -> None:
        if self._prompt and not self.pipeline:
            self._stopping = True
        else:
            super().shutdown()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._prompt:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))
            return
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        self._idle_since = 0.0
        if self._in_head:
            self._head_bytes += len(data)
            if not self._since:
                self._since = time.monotonic()
        super().data_received(data)
        if self._pieces is not None:
            self._hand_over(self._pieces)  # the rest of it is still to come
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(_head_too_large())

    def on_message_begin(self) -> None:
        # uvicorn's makes the ASGI scope, which a prompt request has no use for: `_hand_over` comes to it.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        if self._head_bytes > HEAD_BYTES_MAX and _size(self.url, self.headers) > HEAD_BYTES_MAX:
            # It came whole in one piece: the parser can't be stopped from here, but nobody gets to see it.
            self.app = _answer_head_too_large
            self._front = None
        self._in_head = False
        self._since = time.monotonic()
        if self._may_be_prompt():
            self._pieces = []
        else:
            self._hand_over([])

    def on_body(self, body: bytes) -> None:
        if self._pieces is None:
            super().on_body(body)
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._since = 0.0
        self._head_bytes = 0
        if self._pieces is not None:
            pieces, self._pieces = self._pieces, None
            if self._is_taken(pieces[0] if len(pieces) == 1 else b"".join(pieces)):
                return
            self._hand_over(pieces)
        super().on_message_complete()

    def _may_be_prompt(self) -> bool:
        """A plain POST of events, with nothing before it on this connection that is not answered."""
        url, parser = self.url, self.parser
        return (
            url.startswith(EVENTS_URL)
            and (len(url) == len(EVENTS_URL) or (url[len(EVENTS_URL)] == b"?"[0] and b"#" not in url))
            and self._front is not None
            and not self._prompt
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.expect_100_continue
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )

    def _is_taken(self, body: bytes) -> bool:
        """Is it a prompt request? Then it is answered by now, or will be."""
        self._prompt = True
        assert self._front is not None
        peer = self.client[0] if self.client else None
        if self._front.prompt(self.headers, peer, self.url[len(EVENTS_URL) + 1 :], body, self._answer):
            return True
        self._prompt = False
        return False

    def _answer(self, status: int, lines: bytes, body: bytes) -> None:
        """Write the answer of a prompt request: as uvicorn would, but in one piece."""
        self._prompt = False
        if self.transport.is_closing():
            return
        ours = b"".join([b"%b: %b\r\n" % pair for pair in self.server_state.default_headers])
        closing = b"connection: close\r\n" if self._stopping else b""
        self.transport.write(b"%b%b%b%b\r\n%b" % (STATUS_LINE[status], ours, lines, closing, body))
        self.server_state.total_requests += 1
        if self._stopping:
            self.transport.close()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = time.monotonic()

    def _hand_over(self, pieces: list[bytes]) -> None:
        """Let uvicorn have the request, with what has come of its body: it gets a task and goes the way of ASGI."""
        self._pieces = None
        url, expects, headers = self.url, self.expect_100_continue, self.headers
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        for piece in pieces:
            super().on_body(piece)

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
            elif now - self._deaf_since > self.deaf_seconds_max:
                self.transport.abort()
        if self._idle_since and now - self._idle_since > self.timeout_keep_alive:
            # After a prompt request; uvicorn sets a timer for each of its own.
            self.transport.close()

    def _refuse(self, error: HeadwaterError) -> None:
        status, headers, body = problem_of(error, str(new_uuid7()))
        headers = {**headers, "content-length": str(len(body)), "connection": "close"}
        lines = [f"HTTP/1.1 {status} ", *(f"{name}: {value}" for name, value in headers.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()


def bounded(connections_max: int, seconds_max: float, deaf_seconds_max: float) -> type[BoundedProtocol]:
    """The protocol of one server."""
    bounds = {
        "connections_max": connections_max,
        "seconds_max": seconds_max,
        "deaf_seconds_max": deaf_seconds_max,
    }
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
