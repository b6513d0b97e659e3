"""Clients that send at a fixed rate, as a process of their own: `-m bench.clients URL KEY RATE BATCH SECONDS [mixed]`.

`mixed` sends the traffic of bench.mixed, tells every 5 s in a line of JSON how it goes, and ends only when all is
answered: then what was sent is known to the event.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from bench.bodies import Template
from bench.mixed import Mixed, Sending

CONNECTIONS = 16
TEMPLATES = 16
TELL_EVERY_SECONDS = 5.0
LAST_SECONDS_MAX = 300.0
"""For what waits when the time is over: much of it means that the rate could not be kept."""


class Plain:
    """All of one kind, none twice."""

    def __init__(self, batch: int) -> None:
        self._rng = random.Random(time.time_ns())
        self._templates = [Template(batch, seed) for seed in range(TEMPLATES)]

    def next(self) -> Sending:
        return Sending(self._rng.choice(self._templates).fresh(self._rng)[0], b"", 0, 0)

    def acknowledged(self, sending: Sending) -> None:
        pass


class Sent:
    """What was answered, and how fast."""

    def __init__(self) -> None:
        self.requests = self.refused = self.repeats = self.broken = 0
        self.times: list[float] = []

    def note(self, sending: Sending, seconds: float, accepted: bool) -> None:
        self.times.append(seconds)
        self.requests += 1
        self.refused += not accepted
        if accepted:
            self.repeats += sending.repeats
            self.broken += sending.broken

    def p_ms(self, quantile: float, since: int = 0) -> float:
        ordered = sorted(self.times[since:])
        return 1000 * ordered[int(len(ordered) * quantile)] if ordered else 0.0


async def send_all(
    url: str, key: str, rate: float, batch: int, seconds: float, bodies: Plain | Mixed, sent: Sent, *, drain: bool
) -> dict[str, float]:
    """Batch k is due at k * batch / rate, whether those before are answered or not."""
    where = urlsplit(url)
    due: asyncio.Queue[float] = asyncio.Queue()
    head = f"POST /api/v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Length: "

    async def client() -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1 << 20)
        while True:
            await due.get()
            sending = bodies.next()
            begin = time.perf_counter()
            writer.write(f"{head}{len(sending.body)}\r\n\r\n".encode() + sending.body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            accepted = answer.startswith(b"HTTP/1.1 201")
            sent.note(sending, time.perf_counter() - begin, accepted)
            if accepted:
                bodies.acknowledged(sending)
            due.task_done()

    clients = [asyncio.create_task(client()) for _ in range(CONNECTIONS)]
    begin = time.perf_counter()
    for number in range(round(rate * seconds / batch)):
        wait = begin + number * batch / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        due.put_nowait(0.0)
        for task in clients:
            if task.done():
                task.result()
    elapsed = time.perf_counter() - begin
    figures = {
        "events/s": sent.requests * batch / elapsed,
        "waiting": due.qsize(),
        "ack p50 ms": sent.p_ms(0.5),
        "ack p99 ms": sent.p_ms(0.99),
    }
    if drain:
        await asyncio.wait_for(due.join(), LAST_SECONDS_MAX)
    for task in clients:
        task.cancel()
    return {
        **figures,
        "refused": sent.refused,
        "events": (sent.requests - sent.refused) * batch,
        "repeats": sent.repeats,
        "broken": sent.broken,
    }


async def tell(sent: Sent, batch: int) -> None:
    """Until cancelled: a line for each 5 s."""
    requests, refused, begin = 0, 0, time.perf_counter()
    while True:
        await asyncio.sleep(TELL_EVERY_SECONDS)
        now, done = time.perf_counter(), sent.requests
        line = {
            "events/s": (done - requests) * batch / (now - begin),
            "refused": sent.refused - refused,
            "ack p99 ms": sent.p_ms(0.99, requests),
        }
        print(json.dumps(line), flush=True)
        requests, refused, begin = done, sent.refused, now


async def send_mixed(url: str, key: str, rate: float, batch: int, seconds: float) -> dict[str, float]:
    sent = Sent()
    telling = asyncio.create_task(tell(sent, batch))
    try:
        return await send_all(url, key, rate, batch, seconds, Mixed(batch, 1), sent, drain=True)
    finally:
        telling.cancel()


class Paced:
    """The same beside us; `figures` waits for its end."""

    def __init__(self, url: str, key: str, rate: float, batch: int, seconds: float, *more: str) -> None:
        command = [sys.executable, "-m", "bench.clients", url, key, str(rate), str(batch), str(seconds), *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def told(self) -> Iterator[dict[str, float]]:
        """The lines of `mixed` as they come; the last one holds the figures."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def figures(self) -> dict[str, float]:
        out, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError("the clients at a fixed rate failed")
        return json.loads(out)


def main() -> None:
    url, key, *numbers = sys.argv[1:6]
    rate, batch, seconds = float(numbers[0]), int(numbers[1]), float(numbers[2])
    if sys.argv[6:] == ["mixed"]:
        work = send_mixed(url, key, rate, batch, seconds)
    else:
        work = send_all(url, key, rate, batch, seconds, Plain(batch), Sent(), drain=False)
    print(json.dumps(asyncio.run(work)))


if __name__ == "__main__":
    main()
