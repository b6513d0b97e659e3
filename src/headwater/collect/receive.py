"""`POST /api/v1/events`, bare: an ASGI handler that reads a body, has it judged and logged, and answers.

    head → who, may they → body → expand → judge → rate, backlog → log → answer

Every status but 201 and 202 means that nothing was stored. No framework stands in between: binding bodies in one costs
half of the rate and more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from headwater.collect import head
from headwater.collect.answer import body_of
from headwater.collect.bounds import Bounds
from headwater.collect.cors import origin_headers, preflight_headers
from headwater.collect.counts import Counts
from headwater.collect.expand import coding_of, expand
from headwater.collect.intake import Connection, Intake, Receipt
from headwater.collect.judge import Case, Judged, judge, judge_apart, judge_whole
from headwater.collect.limit import Bucket, InFlight, Rates, allowance, take_bytes, take_events
from headwater.collect.validate import Sender
from headwater.domain.batches import new_uuid7
from headwater.domain.errors import BadInput, HeadwaterError, TooLarge
from headwater.domain.events import minute_of
from headwater.domain.networks import Network, client_of
from headwater.domain.problems import problem_of
from headwater.observe.journal import get_journal
from headwater.security.keys import Access, require

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Authenticate = Callable[[str | None, str | None, str | None, str | None], Access]
"""`Authenticator.access`: (Authorization, ?key=, client address, X-Headwater-Project) → who."""
OnRefused = Callable[[str, int, Mapping[str, int]], None]
"""(project, minute, events by ledger label) of a request that was refused; a request not yet read counts as one."""

WHOLE_BYTES_MIN = 1 << 20
"""From this size on a body is judged in a thread. msgspec holds the interpreter while it decodes, there too, but not
between its calls: 4 MB in 10,000 events held up the loop for 39 ms, in a thread for 14. Below, the hop is dearer."""
APART_BYTES_MIN = 64 << 10
"""The same for a body with something wrong in it, which is Python's work: 10 times as slow, but given up every 5 ms."""
EXPAND_BYTES_MIN = 8 << 10
"""Compressed bodies are expanded in a thread from this size on: below, the way there costs more than inflating."""
THREADS = 2
DRAIN_BYTES_MAX = 32 << 20
DRAIN_SECONDS_MAX = 2.0


class Disconnected(Exception):
    """The client went away before its body was whole: nothing is stored, nobody is there to answer."""


class Call:
    """One request on its way through."""

    __slots__ = ("access", "bucket", "client", "headers", "intake", "judged", "late", "out", "taken", "task", "whole")

    def __init__(self, scope: Scope, trusted: tuple[Network, ...]) -> None:
        self.headers = head.headers_of(scope["headers"])
        peer = scope.get("client")
        self.client: str | None = peer[0] if peer else None
        if trusted:
            self.client = client_of(self.client, head.text_of(self.headers.get(b"x-forwarded-for")), trusted)
        self.out: list[tuple[bytes, bytes]] = []
        """Headers of the answer so far."""
        self.whole = False
        """Is all of the body read? If not, the connection is closed after the answer."""
        self.late = False
        """Was its reading ended because it took too long?"""
        self.task: asyncio.Task[Any] | None = None
        self.taken = 0
        """Bytes in flight for it."""
        self.access: Access | None = None
        self.intake: Intake | None = None
        self.bucket: Bucket | None = None
        self.judged: Judged | None = None


class Receiver:
    """The handler. One per way in (port, socket of the data folder), sharing everything but `authenticate`."""

    def __init__(
        self,
        authenticate: Authenticate,
        intake: Callable[[str], Intake | Awaitable[Intake]],
        *,
        rates: Rates,
        in_flight: InFlight,
        counts: Counts,
        bounds: Bounds | None = None,
        trusted_proxies: tuple[Network, ...] = (),
        body_seconds_max: float = 30.0,
        on_refused: OnRefused | None = None,
    ) -> None:
        self.counts = counts
        self._authenticate = authenticate
        self._intake = intake
        self._rates = rates
        self._in_flight = in_flight
        self._bounds = bounds or Bounds()
        self._trusted = trusted_proxies
        self._deadlines = Deadlines(body_seconds_max)
        self._drains = Deadlines(min(DRAIN_SECONDS_MAX, body_seconds_max))
        self._on_refused = on_refused
        self._senders: dict[str, tuple[Access, Sender]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="judge")
        self._journal = get_journal("error")
        self._access = get_journal("access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        call = Call(scope, self._trusted)
        batch_id = None
        request_id = head.sane_request_id(call.headers.get(b"x-request-id"))
        try:
            if scope["method"] == "POST":
                receipt = await self._post(call, scope["query_string"], receive)
                status, body = (201 if receipt.durable else 202), body_of(receipt)
                call.out.append((b"content-type", b"application/json"))
                batch_id = receipt.batch_id_text
                request_id = request_id or batch_id.encode()
            else:
                status, body = _other(call, scope["method"])
        except Disconnected:
            self.counts.disconnected += 1
            return
        except Exception as error:
            request_id = request_id or str(new_uuid7()).encode()
            if not isinstance(error, HeadwaterError):
                self._journal.error("unexpected_error", request_id=request_id.decode(), exc_info=error)
                error = HeadwaterError("unexpected")
            status, body = self._refuse(call, error, request_id.decode())
            await self._drain(call, receive)
        finally:
            self._in_flight.remove(call.taken)
        self._finish(call, request_id or b"-", len(body))
        seconds = time.perf_counter() - started
        self.counts.answered(status, seconds)
        if status >= 300 or self._access.wants_debug():
            self._told(call, scope, request_id or b"-", batch_id, status, seconds)
        await send({"type": "http.response.start", "status": status, "headers": call.out})
        await send({"type": "http.response.body", "body": body})

    def _told(
        self, call: Call, scope: Scope, request_id: bytes, batch_id: str | None, status: int, seconds: float
    ) -> None:
        """A line in the access journal. Of what went well only on demand: it costs as much as a small request."""
        say = self._access.info if status >= 300 else self._access.debug
        say(
            "request",
            request_id=request_id.decode(),
            batch_id=batch_id,
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 2),
            client=call.client or "local",
            project=call.access.project if call.access else None,
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _post(self, call: Call, query: bytes, receive: Receive) -> Receipt:
        headers = call.headers
        parameters = head.parameters_of(query)
        call.access = access = self._authenticate(
            head.text_of(headers.get(b"authorization")),
            parameters.key,
            call.client,
            head.text_of(headers.get(b"x-headwater-project")),
        )
        require(access, "events:write")
        if b"origin" in headers:
            call.out += origin_headers(access, headers[b"origin"])
        found = self._intake(access.project)
        call.intake = intake = found if isinstance(found, Intake) else await found
        call.bucket = bucket = self._bucket(access, call.client)
        coding = coding_of(headers[b"content-encoding"]) if b"content-encoding" in headers else None
        sent_us = head.sent_us_of(headers[b"headwater-sent-at"]) if b"headwater-sent-at" in headers else None
        connection = Connection(
            call.client,
            head.user_agent_of(headers.get(b"user-agent")),
            head.idempotency_key_of(headers[b"idempotency-key"]) if b"idempotency-key" in headers else None,
        )
        sender = self._sender(access)
        body = await self._read(call, receive)
        self.counts.body_bytes += len(body)
        if sender.public:
            now = time.monotonic()
            take_bytes(self._rates.bytes_of(access.key_id, self._bounds.body_bytes_max, now), len(body), now)
        if coding is not None:
            body = await self._expand(call, body, coding)
        case = intake.case(sender, sent_us, self._bounds)
        call.judged = judged = await self._judge(body, case)
        if intake.is_crowded():
            await intake.room()
        take_events(bucket, judged.n, time.monotonic())
        receipt = await intake.append(body, judged, sender, connection, parameters.durable)
        self._count(receipt)
        return receipt

    def _sender(self, access: Access) -> Sender:
        """Made once for each Access, which lives as long as the keys don't change."""
        known = self._senders.get(access.key_id)
        if known is None or known[0] is not access:
            known = self._senders[access.key_id] = access, _sender_of(access)
        return known[1]

    def _bucket(self, access: Access, client: str | None) -> Bucket:
        """The bucket of the key, under --open that of the address. Refuses at once where nothing is left in it."""
        now = time.monotonic()
        key = access.key_id if access.kind != "open" else f"open {client}"
        bucket = self._rates.events_of(key, access.events_per_second, access.events_burst, now)
        if bucket.refill(now) < 1:
            take_events(bucket, 1, now)
        return bucket

    async def _read(self, call: Call, receive: Receive) -> bytes:
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

    async def _expand(self, call: Call, body: bytes, coding: str) -> bytes:
        if len(body) < EXPAND_BYTES_MIN:
            body = expand(body, coding, self._bounds.expanded_bytes_max)
        else:
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self._threads, expand, body, coding, self._bounds.expanded_bytes_max)
        self._in_flight.add(len(body))
        call.taken += len(body)
        self.counts.expanded_bytes += len(body)
        return body

    async def _judge(self, body: bytes, case: Case) -> Judged:
        if len(body) >= WHOLE_BYTES_MIN:
            return await asyncio.get_running_loop().run_in_executor(self._threads, judge, body, case)
        judged = judge_whole(body, case)
        if judged is not None:
            return judged
        if len(body) < APART_BYTES_MIN:
            return judge_apart(body, case)
        return await asyncio.get_running_loop().run_in_executor(self._threads, judge_apart, body, case)

    def _count(self, receipt: Receipt) -> None:
        counts = self.counts
        counts.accepted += receipt.n - receipt.verdicts
        for note in receipt.notes:
            by_code = counts.quarantined if note.quarantine else counts.warnings
            by_code[note.code] = by_code.get(note.code, 0) + 1
        counts.suppressed += len(receipt.suppressed)

    def _refuse(self, call: Call, error: HeadwaterError, request_id: str) -> tuple[int, bytes]:
        """The problem document; nothing of the request was stored."""
        status, headers, body = problem_of(error, request_id)
        self.counts.refuse(error.code)
        call.out += [(name.encode(), value.encode()) for name, value in headers.items()]
        # What may be in the log after all is not counted as refused: should it be there, it is counted as received.
        if self._on_refused and call.access and call.intake and error.code != "OUTCOME_UNKNOWN":
            sources = call.judged.sources if call.judged else {_sender_of(call.access).source: 1}
            minute = minute_of(call.intake.moment().received_us)
            self._on_refused(call.access.project, minute, call.intake.labels.counts(sources))
        return status, body

    async def _drain(self, call: Call, receive: Receive) -> None:
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

    def _finish(self, call: Call, request_id: bytes, size: int) -> None:
        if not call.whole:
            call.out.append((b"connection", b"close"))
        if call.bucket is not None:
            left = allowance(call.bucket)
            call.out += (
                (b"ratelimit-limit", b"%d" % left.limit),
                (b"ratelimit-remaining", b"%d" % left.remaining),
                (b"ratelimit-reset", b"%d" % left.reset_seconds),
            )
        call.out += ((b"x-request-id", request_id), (b"content-length", b"%d" % size))


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


def _other(call: Call, method: str) -> tuple[int, bytes]:
    """A preflight, or a method that this address does not take."""
    call.whole = True
    if method != "OPTIONS":
        call.out.append((b"allow", b"POST, OPTIONS"))
        raise BadInput(f"expected POST or OPTIONS, got {method}", code="METHOD_NOT_ALLOWED")
    call.out += preflight_headers(call.headers.get(b"origin"))
    return 204, b""


def _sender_of(access: Access) -> Sender:
    source = access.sources[0] if access.sources else access.name
    return Sender(access.key_id, source, frozenset(access.sources), access.kind == "in")


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(
        f"the body is larger than {bytes_max} bytes; send smaller batches, or compress it",
        code="BODY_TOO_LARGE",
        limit=bytes_max,
    )
