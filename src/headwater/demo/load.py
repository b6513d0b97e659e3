"""The shop's history into a running collector, from a process of its own so that it takes none of the server's time."""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from headwater.demo import shop
from headwater.demo.sender import Sender, Totals
from headwater.domain.errors import HeadwaterError, Unavailable

CONNECTIONS = 2
"""One body is on its way while the collector works on the other; a third brought nothing on two cores."""
PROGRESS_SECONDS = 0.1
STOP_SECONDS_MAX = 5.0


def load_demo(
    base_url: str,
    headers: Mapping[str, str],
    events_total: int,
    seed: int,
    end_us: int,
    on_progress: Callable[[Totals], object],
) -> Totals:
    """Generate about `events_total` events that end at `end_us` (a whole hour) and post them to `base_url`.

    Returns when all are acknowledged durable. `on_progress` is called several times a second with the totals so far.
    Any exception, also one out of `on_progress`, stops the child. Raises Refused, BadInput or Unavailable.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    arguments = (there, base_url, dict(headers), events_total, seed, end_us)
    child = context.Process(target=_child, args=arguments, name="headwater-demo", daemon=True)
    child.start()
    there.close()
    totals: Totals = Totals()
    try:
        while True:
            try:
                # Also while the collector lets the child wait: so the caller can stop it at any time.
                while not here.poll(2 * PROGRESS_SECONDS):
                    on_progress(totals)
                kind, fact = here.recv()
            except EOFError:
                child.join(STOP_SECONDS_MAX)
                raise Unavailable(f"the process that loads the demo ended with code {child.exitcode}") from None
            if kind == "failed":
                raise fact
            totals = fact
            on_progress(totals)
            if kind == "done":
                return totals
    finally:
        here.close()
        if child.is_alive():
            child.terminate()
        child.join(STOP_SECONDS_MAX)
        child.close()


def post_all(
    base_url: str,
    headers: Mapping[str, str],
    bodies: Iterable[tuple[int, bytes]],
    on_progress: Callable[[Totals], object],
) -> Totals:
    """Post (events, body) pairs over CONNECTIONS connections; at most twice as many bodies are held."""
    senders: SimpleQueue[Sender] = SimpleQueue()
    for _ in range(CONNECTIONS):
        senders.put(Sender(base_url, headers))

    def post(body: bytes) -> Mapping[str, Any]:
        sender = senders.get()
        try:
            return sender.post(body)
        finally:
            senders.put(sender)

    totals = Totals()
    told = time.monotonic()
    sent: deque[tuple[int, Future[Mapping[str, Any]]]] = deque()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for n, body in bodies:
            if len(sent) >= 2 * CONNECTIONS:
                oldest, future = sent.popleft()
                totals.add(oldest, future.result())
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    on_progress(totals)
            sent.append((n, pool.submit(post, body)))
        for n, future in sent:
            totals.add(n, future.result())
    for _ in range(CONNECTIONS):
        senders.get().close()
    return totals


def _child(
    pipe: Connection, base_url: str, headers: Mapping[str, str], events_total: int, seed: int, end_us: int
) -> None:
    # Ctrl-C reaches the whole terminal group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bodies = shop.bodies(seed, end_us, events_total)
        totals = post_all(base_url, headers, bodies, lambda totals: pipe.send(("progress", totals)))
        pipe.send(("done", totals))
    except HeadwaterError as error:
        pipe.send(("failed", error))
    except BrokenPipeError:
        # The parent is gone: nobody wants the rest.
        return
