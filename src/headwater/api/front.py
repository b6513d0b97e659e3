"""The first thing a request meets: request ids, the guard of --open, and the way to the collector's bare handler.

Only `POST|OPTIONS /api/v1/events` goes to the collector; binding bodies in a framework would cost it two thirds of its
rate (measured: 162k against 405k events/s at batches of 100). Everything else goes to the routes.
"""

import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from headwater.api.auth import LOCAL
from headwater.collect.call import Answer, Headers
from headwater.collect.head import sane_request_id
from headwater.collect.receive import Receiver
from headwater.domain.batches import new_uuid7
from headwater.domain.errors import NotFound, Refused
from headwater.domain.problems import problem_of
from headwater.observe.journal import bind_request, get_journal

EVENTS_PATH = "/api/v1/events"
LOOPBACK_HOST = re.compile(rb"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)

Scope = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Any]


class Front:
    """ASGI application. `collector` is None where this process has not that role."""

    def __init__(self, collector: Receiver | None, routes: App, *, open_to_all: bool, local: bool, count: Any) -> None:
        """`local`: what comes this way came by the data folder's own socket and has full rights."""
        self.collector = collector
        self.routes = routes
        self.open_to_all = open_to_all and not local
        self.local = local
        self.count = count
        self.access = get_journal("access")

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self.open_to_all:
            refusal = foreign(scope["headers"])
            if refusal is not None:
                await answer(send, refusal, request_id_of(scope))
                return
        if scope["path"] == EVENTS_PATH and scope["method"] in ("POST", "OPTIONS"):
            if self.collector is None:
                await answer(send, elsewhere("collect"), request_id_of(scope))
            else:
                await self.collector(scope, receive, send)
            return
        scope[LOCAL] = self.local
        await self.watched(scope, receive, send)

    def prompt(self, headers: Headers, peer: str | None, query: bytes, body: bytes, answer: Answer) -> bool:
        """A POST to EVENTS_PATH that has come whole; see `Receiver.prompt`. False: it is to come as ASGI."""
        if self.collector is None or (self.open_to_all and foreign(headers) is not None):
            return False
        return self.collector.prompt(headers, peer, query, body, EVENTS_PATH, answer)

    async def watched(self, scope: Scope, receive: Any, send: Any) -> None:
        """Run a route under a request id, count it, and write its line in the access journal.

        HEAD is answered as GET is, without the body: as load balancers ask for /health/ready.
        """
        request_id = request_id_of(scope)
        method, is_head = scope["method"], scope["method"] == "HEAD"
        # A copy: the server looks at its own, to know what may follow the head.
        scope = {**scope, "headwater.request_id": request_id, "method": "GET" if is_head else method}
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            elif is_head:
                message["body"] = b""
            await send(message)

        with bind_request(request_id):
            try:
                await self.routes(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                route = scope.get("path_template", "(none)")
                self.count(method, route, status, seconds)
                client = scope["client"][0] if scope.get("client") else "local"
                self.access.info(
                    "request",
                    method=method,
                    path=scope["path"],
                    status=status,
                    ms=round(seconds * 1000, 2),
                    client=client,
                )


def request_id_of(scope: Scope) -> str:
    """The caller's X-Request-Id where it is sane, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and sane_request_id(value):
            return str(value, "ascii")
    return str(new_uuid7())


def foreign(headers: Headers) -> Refused | None:
    """Under --open any page in a browser could post here: only loopback hosts and our own origin are let in."""
    hosts = [value for name, value in headers if name == b"host"]
    host = b", ".join(hosts)  # several of them are none
    if not LOOPBACK_HOST.fullmatch(host):
        return Refused(
            f"host {host.decode(errors='replace')!r} is not a loopback address; --open serves nothing else",
            code="HOST_NOT_LOOPBACK",
        )
    origins = [value for name, value in headers if name == b"origin"]
    origin = next((each for each in origins if each.partition(b"://")[2] != host), None)
    if origin is not None:
        return Refused(
            f"origin {origin.decode(errors='replace')!r} is another page's; --open answers its own only",
            code="CROSS_ORIGIN",
            hint="start without --open and use an ingest key with allowed origins",
        )
    return None


def elsewhere(role: str) -> NotFound:
    return NotFound(f"this process has not the role {role!r}", code="OTHER_ROLE", hint="ask the process that has it")


async def answer(send: Any, error: Any, request_id: str) -> None:
    status, headers, body = problem_of(error, request_id)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw += [(b"x-request-id", request_id.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
