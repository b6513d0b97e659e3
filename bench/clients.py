"""Clients that send at a fixed rate, as a process of their own: `-m bench.clients URL KEY RATE BATCH SECONDS`."""

import asyncio
import json
import random
import subprocess
import sys
import time
from urllib.parse import urlsplit

from bench.bodies import Template

CONNECTIONS = 16
TEMPLATES = 16


async def send_all(url: str, key: str, rate: float, batch: int, seconds: float) -> dict[str, float]:
    """Batch k is due at k * batch / rate, whether those before are answered or not."""
    where = urlsplit(url)
    templates = [Template(batch, seed) for seed in range(TEMPLATES)]
    due: asyncio.Queue[float] = asyncio.Queue()
    times: list[float] = []
    refused = 0
    head = f"POST /api/v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Length: "

    async def client(seed: int) -> None:
        nonlocal refused
        rng = random.Random(seed * 7919 + time.time_ns())
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1 << 20)
        while True:
            await due.get()
            body, _ = templates[rng.randrange(TEMPLATES)].fresh(rng)
            begin = time.perf_counter()
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - begin)
            refused += not answer.startswith(b"HTTP/1.1 201")

    clients = [asyncio.create_task(client(number)) for number in range(CONNECTIONS)]
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
    for task in clients:
        task.cancel()
    times.sort()
    return {
        "events/s": len(times) * batch / elapsed,
        "refused": refused,
        "waiting": due.qsize(),
        "ack p50 ms": 1000 * times[len(times) // 2],
        "ack p99 ms": 1000 * times[int(len(times) * 0.99)],
    }


class Paced:
    """The same beside us; `figures` waits for its end."""

    def __init__(self, url: str, key: str, rate: float, batch: int, seconds: float) -> None:
        command = [sys.executable, "-m", "bench.clients", url, key, str(rate), str(batch), str(seconds)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def figures(self) -> dict[str, float]:
        out, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError("the clients at a fixed rate failed")
        return json.loads(out)


def main() -> None:
    url, key, rate, batch, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(send_all(url, key, float(rate), int(batch), float(seconds)))))


if __name__ == "__main__":
    main()
