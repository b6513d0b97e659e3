"""`POST /api/v1/events`, bare: read a body, have it judged and logged, and answer.

    head → who, may they → body → expand → judge → rate, backlog → log → answer

Two ways in. Most requests come whole and wait for nothing but the log: `Receiver.prompt` takes them without a task of
their own. The others come as ASGI. No framework stands in between: binding bodies in one costs half of the rate and
more. Every status but 201 and 202 means that nothing was stored.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from headwater.collect import head
from headwater.collect.answer import body_of
from headwater.collect.body import Bodies, Disconnected, Message, Receive
from headwater.collect.bounds import Bounds
from headwater.collect.call import Answer, Call, Headers
from headwater.collect.cors import origin_headers, preflight_headers
from headwater.collect.counts import Counts
from headwater.collect.expand import coding_of
from headwater.collect.intake import Connection, Intake, Told, confirm, resolve
from headwater.collect.judge import Case, Judged, judge, judge_apart, judge_whole
from headwater.collect.limit import Bucket, InFlight, Rates, allowance, take_bytes, take_events
from headwater.collect.repeats import Repeats, known_in, mark_of
from headwater.collect.validate import Sender
from headwater.domain.batches import new_uuid7
from headwater.domain.errors import BadInput, HeadwaterError
from headwater.domain.events import minute_of
from headwater.domain.networks import Network
from headwater.domain.problems import problem_of
from headwater.observe.journal import get_journal
from headwater.security.keys import Access, require
from headwater.storage.log.base import Outcome

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Authenticate = Callable[[str | None, str | None, str | None, str | None], Access]
"""`Authenticator.access`: (Authorization, ?key=, client address, X-Headwater-Project) → who."""
OnRefused = Callable[[str, int, Mapping[str, int]], None]
"""(project, minute, events by ledger label) of a request that was refused; a request not yet read counts as one."""

WHOLE_BYTES_MIN = 1 << 20
"""From this size on a body is judged in a thread. msgspec holds the interpreter while it decodes, there too, but not
between its calls: 4 MB in 10,000 events held up the loop for 39 ms, in a thread for 14. Below, the hop is dearer."""
APART_BYTES_MIN = 64 << 10
"""The same for a body with something wrong in it, which is Python's work: 10 times as slow, but given up every 5 ms.
Smaller ones never need a thread, so they may come promptly."""
RATE_LINES = b"ratelimit-limit: %d\r\nratelimit-remaining: %d\r\nratelimit-reset: %d\r\n"
THREADS = 2


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
        self._prompt_bytes_max = min(APART_BYTES_MIN, self._bounds.body_bytes_max)
        self._trusted = trusted_proxies
        self._on_refused = on_refused
        self._repeats = Repeats()
        self._senders: dict[str, tuple[Access, Sender]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="judge")
        self._bodies = Bodies(self._bounds, in_flight, counts, self._threads, body_seconds_max)
        self._journal = get_journal("error")
        self._access = get_journal("access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        peer = scope.get("client")
        call = Call(scope["method"], scope["path"], scope["headers"], peer[0] if peer else None, self._trusted)
        try:
            if call.method == "POST":
                status, body = await self._post(call, scope["query_string"], receive)
            else:
                status, body = _other(call)
        except Disconnected:
            self.counts.disconnected += 1
            return
        except Exception as error:
            status, body = self._refuse(call, error)
            await self._bodies.drain(call, receive)
        finally:
            self._in_flight.remove(call.taken)
        lines = self._finish(call, status, body).split(b"\r\n")[:-1]
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def prompt(self, headers: Headers, peer: str | None, query: bytes, body: bytes, path: str, answer: Answer) -> bool:
        """Take a POST that has come whole: 48 µs where ASGI takes 82, at one event.

        `answer` is called once, within this call or later in the event loop. False for a request that has more to wait
        for than the log: nothing was done with it, it is to come as ASGI.
        """
        call = Call("POST", path, headers, peer, self._trusted)
        if len(body) > self._prompt_bytes_max or b"content-encoding" in call.headers:
            return False
        call.answer = answer
        call.whole = True
        try:
            found = self._admit(call, query)
            if not isinstance(found, Intake):
                if isinstance(found, Coroutine):
                    found.close()
                return False
            if found.is_crowded():
                return False
            call.intake = found
            self._heed(call)
            self._in_flight.add(len(body))
            call.taken = len(body)
            self._charge(call, body)
            case = found.case(call.sender, call.sent_us, self._bounds)
            judged = call.judged = judge_whole(body, case) or judge_apart(body, case)
            told = partial(self._told, call) if call.durable else None
            waits = self._log(call, body, judged, told, case.moment.received_us)
        except Exception as error:
            self._end(call, *self._refuse(call, error))
        else:
            if not waits:
                self._told(call, None)
        return True

    def _told(self, call: Call, outcome: Outcome | None) -> None:
        """Answer a prompt request: the log has spoken, or had nothing to say."""
        try:
            if outcome is not None:
                confirm(outcome)
            status, body = self._accept(call)
        except Exception as error:
            status, body = self._refuse(call, error)
        self._end(call, status, body)

    def _end(self, call: Call, status: int, body: bytes) -> None:
        self._in_flight.remove(call.taken)
        call.answer(status, self._finish(call, status, body), body)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _post(self, call: Call, query: bytes, receive: Receive) -> tuple[int, bytes]:
        found = self._admit(call, query)
        call.intake = intake = found if isinstance(found, Intake) else await found
        self._heed(call)
        body = await self._bodies.read(call, receive)
        self._charge(call, body)
        if call.coding is not None:
            body = await self._bodies.expand(call, body, call.coding)
        call.judged = judged = await self._judge(body, intake.case(call.sender, call.sent_us, self._bounds))
        if intake.is_crowded():
            await intake.room()
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        told = partial(resolve, done) if call.durable else None
        if self._log(call, body, judged, told, intake.moment().received_us):
            confirm(await done)
        return self._accept(call)

    def _admit(self, call: Call, query: bytes) -> Intake | Awaitable[Intake]:
        """Who is it, may they, and where does it go?"""
        headers = call.headers
        parameters = head.parameters_of(query) if query else head.NO_PARAMETERS
        call.durable = parameters.durable
        project = headers.get(b"x-headwater-project")
        call.access = access = self._authenticate(
            head.text_of(headers.get(b"authorization")),
            parameters.key,
            call.client,
            None if project is None else project.decode("latin-1"),
        )
        call.project = access.project
        require(access, "events:write")
        call.sender = self._sender(access)
        if b"origin" in headers:
            call.out += origin_headers(access, headers[b"origin"])
        return self._intake(access.project)

    def _heed(self, call: Call) -> None:
        """What else the head says, and whether this key may send at all now."""
        headers = call.headers
        call.bucket = self._bucket(call.access, call.client)
        if b"content-encoding" in headers:
            call.coding = coding_of(headers[b"content-encoding"])
        if b"headwater-sent-at" in headers:
            call.sent_us = head.sent_us_of(headers[b"headwater-sent-at"])
        call.connection = Connection(
            call.client,
            head.user_agent_of(headers.get(b"user-agent")),
            head.idempotency_key_of(headers[b"idempotency-key"]) if b"idempotency-key" in headers else None,
        )

    def _charge(self, call: Call, body: bytes) -> None:
        """Count a body that has come, against the key's rate of bytes where it has one."""
        self.counts.body_bytes += len(body)
        if call.sender.public:
            now = time.monotonic()
            take_bytes(self._rates.bytes_of(call.access.key_id, self._bounds.body_bytes_max, now), len(body), now)

    def _log(self, call: Call, body: bytes, judged: Judged, told: Told | None, received_us: int) -> bool:
        """Hand it over. Is there something to be waited for?"""
        assert call.bucket is not None
        assert call.intake is not None
        take_events(call.bucket, judged.n, time.monotonic())
        if told is not None and not call.sender.public:
            self._know(call, body, judged)
        call.receipt = call.intake.submit(body, judged, call.sender, call.connection, told, received_us)
        return told is not None and judged.n > 0

    def _know(self, call: Call, body: bytes, judged: Judged) -> None:
        """Has this body come before? If durable it will be known; one with faults may be judged otherwise later."""
        key = call.connection.idempotency_key
        mark = mark_of(call.access.project, call.sender.key_id, key, body)
        if mark in self._repeats:
            call.again = known_in(body, judged, key)
        if not judged.verdicts:
            call.mark = mark

    def _accept(self, call: Call) -> tuple[int, bytes]:
        receipt, counts = call.receipt, self.counts
        if call.mark:
            self._repeats.add(call.mark)
        counts.accepted += receipt.n - receipt.verdicts
        for note in receipt.notes:
            by_code = counts.quarantined if note.quarantine else counts.warnings
            by_code[note.code] = by_code.get(note.code, 0) + 1
        counts.suppressed += len(receipt.suppressed)
        call.out.append((b"content-type", b"application/json"))
        if call.request_id is None:
            call.request_id = receipt.batch_id_text.encode()
        return (201 if receipt.durable else 202), body_of(receipt, call.again)

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
        if bucket.tokens < 1 and bucket.refill(now) < 1:
            take_events(bucket, 1, now)
        return bucket

    async def _judge(self, body: bytes, case: Case) -> Judged:
        if len(body) >= WHOLE_BYTES_MIN:
            return await asyncio.get_running_loop().run_in_executor(self._threads, judge, body, case)
        judged = judge_whole(body, case)
        if judged is not None:
            return judged
        if len(body) < APART_BYTES_MIN:
            return judge_apart(body, case)
        return await asyncio.get_running_loop().run_in_executor(self._threads, judge_apart, body, case)

    def _refuse(self, call: Call, error: Exception) -> tuple[int, bytes]:
        """The problem document; nothing of the request was stored."""
        if call.request_id is None:
            call.request_id = str(new_uuid7()).encode()
        request_id = call.request_id.decode()
        if not isinstance(error, HeadwaterError):
            self._journal.error("unexpected_error", request_id=request_id, exc_info=error)
            error = HeadwaterError("unexpected")
        status, headers, body = problem_of(error, request_id)
        self.counts.refuse(error.code)
        call.out += [(name.encode(), value.encode()) for name, value in headers.items()]
        # What may be in the log after all is not counted as refused: should it be there, it is counted as received.
        if self._on_refused and call.intake and error.code != "OUTCOME_UNKNOWN":
            sources = call.judged.sources if call.judged else {call.sender.source: 1}
            minute = minute_of(call.intake.moment().received_us)
            self._on_refused(call.access.project, minute, call.intake.labels.counts(sources))
        return status, body

    def _finish(self, call: Call, status: int, body: bytes) -> bytes:
        """The header lines of an answer; it is counted, and told in the access journal."""
        request_id = call.request_id or b"-"
        if not call.whole:
            call.out.append((b"connection", b"close"))
        lines = b"".join([b"%b: %b\r\n" % pair for pair in call.out])
        assert lines.count(b"\n") == len(call.out), "a header's value has a line end in it"
        if call.bucket is not None:
            lines += RATE_LINES % allowance(call.bucket)
        lines += b"x-request-id: %b\r\ncontent-length: %d\r\n" % (request_id, len(body))
        seconds = time.perf_counter() - call.started
        self.counts.answered(status, seconds)
        if status >= 300 or self._access.wants_debug():
            self._journalise(call, request_id, status, seconds)
        return lines

    def _journalise(self, call: Call, request_id: bytes, status: int, seconds: float) -> None:
        """Of what went well only on demand: a line costs as much as a small request."""
        say = self._access.info if status >= 300 else self._access.debug
        say(
            "request",
            request_id=request_id.decode(),
            batch_id=call.receipt.batch_id_text if status in (201, 202) else None,
            method=call.method,
            path=call.path,
            status=status,
            ms=round(seconds * 1000, 2),
            client=call.client or "local",
            project=call.project,
        )


def _other(call: Call) -> tuple[int, bytes]:
    """A preflight, or a method that this address does not take."""
    call.whole = True
    if call.method != "OPTIONS":
        call.out.append((b"allow", b"POST, OPTIONS"))
        raise BadInput(f"expected POST or OPTIONS, got {call.method}", code="METHOD_NOT_ALLOWED")
    call.out += preflight_headers(call.headers.get(b"origin"))
    return 204, b""


def _sender_of(access: Access) -> Sender:
    source = access.sources[0] if access.sources else access.name
    return Sender(access.key_id, source, frozenset(access.sources), access.kind == "in")
