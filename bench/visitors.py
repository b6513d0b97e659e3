"""Visitors beside a load that lasts: one event a second that is waited for, and a question a second."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.served import Served

NAME = "soak_probe"
LOOK_EVERY_SECONDS = 0.02
GIVEN_UP_SECONDS = 30.0
MINUTES = 5
EVERYTHING_EACH = 10
"""Every tenth question is one about the whole last hour."""


class Visitors:
    """`with Visitors(served) as visitors:`, reading what has gathered with `take`. Errors are told at the end."""

    def __init__(self, served: Served) -> None:
        self.probes = 0
        """Acknowledged."""
        self.visible: list[float] = []
        """ms from acknowledgement to the first answer that counts the event; all, in order."""
        self.answers: list[float] = []
        """ms of each question that is not looking for a probe."""
        self._served = served
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(each,)) for each in (self._probe, self._ask)]

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
        if self._failed and exc == (None, None, None):
            raise self._failed[0]

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        if self._failed:
            raise self._failed[0]

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # told by `check` and __exit__ in the caller's thread
            self._failed.append(error)

    def _probe(self) -> None:
        line = Line(self._served)
        due = time.perf_counter()
        while not self._stop.wait(due - time.perf_counter()):
            actor = f"probe-{self.probes}"
            sent_at = datetime.now(UTC)
            line.post("/api/v1/events", [{"name": NAME, "actor": actor}], 201)
            acknowledged = time.perf_counter()
            self.probes += 1
            asked = question(sent_at - timedelta(seconds=1), filters={"name": NAME, "actor": actor})
            while total(line.post("/api/v1/query", asked, 200)) < 1:
                if time.perf_counter() - acknowledged > GIVEN_UP_SECONDS:
                    raise RuntimeError(f"{actor} is not visible after {GIVEN_UP_SECONDS:.0f} s")
                time.sleep(LOOK_EVERY_SECONDS)
            self.visible.append(1000 * (time.perf_counter() - acknowledged))
            due = max(due + 1, time.perf_counter())

    def _ask(self) -> None:
        line, rng, number = Line(self._served), random.Random(1), 0
        due = time.perf_counter()
        while not self._stop.wait(due - time.perf_counter()):
            number += 1
            hour = number % EVERYTHING_EACH == 0
            since = datetime.now(UTC) - timedelta(minutes=60 if hour else MINUTES)
            asked = question(since, interval="1m") if hour else rng.choice(TILES)(since)
            begin = time.perf_counter()
            line.post("/api/v1/query", asked, 200)
            self.answers.append(1000 * (time.perf_counter() - begin))
            due = max(due + 1, time.perf_counter())


class Line:
    """A connection that is kept."""

    def __init__(self, served: Served) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
        self._headers = {"Authorization": f"Bearer {served.keys['sk']}", "Content-Type": "application/json"}

    def post(self, path: str, body: Any, expected: int) -> Any:
        self._line.request("POST", path, json.dumps(body).encode(), self._headers)
        answer = self._line.getresponse()
        text = answer.read()
        if answer.status != expected:
            raise RuntimeError(f"{path} was answered {answer.status}: {text[:500]!r}")
        return json.loads(text)


def question(
    since: datetime, *, filters: dict[str, str] | None = None, interval: str | None = None, **more: Any
) -> Any:
    """Of everything since then."""
    times = {"start": since.isoformat(), "end": "2100-01-01T00:00:00Z"}
    if interval is not None:
        times |= {"end": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(), "interval": interval}
    named = [{"field": field, "operator": "eq", "value": value} for field, value in (filters or {}).items()]
    return {"metrics": ["events"], "timeRange": times, "filters": named, **more}


def total(answer: Any) -> float:
    return float(answer["rows"][0][-1]) if answer["rows"] else 0.0


TILES: tuple[Callable[[datetime], Any], ...] = (
    lambda since: question(since, interval="1m"),
    lambda since: question(since, dimensions=["name"]),
    lambda since: question(since, metrics=["actors"]),
    lambda since: question(since, filters={"name": "purchase"}, dimensions=["attributes.country"]),
)
