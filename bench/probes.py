"""Probes: single events sent beside a load, and a question asked over and over, which counts those that are visible.

Events are visible in the order in which they were acknowledged, so an answer of n says when the first n were: at the
latest when it came. The answers' `asOf` also tells when each load of the warehouse was committed.
"""

import http.client
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.served import Served

NAME = "bench_probe"
PROBE_EVERY_SECONDS = 0.02
ASK_EVERY_SECONDS = 0.01
LAST_SECONDS_MAX = 10.0


class Probes:
    """`with Probes(served) as probes:` while the load runs; then read."""

    def __init__(self, served: Served) -> None:
        self.acknowledged: list[float] = []
        self.visible: list[float] = []
        self.answers: list[float] = []
        """Seconds that each question took."""
        self.commits: list[float] = []
        """When loads were committed, in seconds, as far as answers told."""
        self._served = served
        self._stop = threading.Event()
        self._sent_all = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(each,)) for each in (self._send, self._ask)]

    def __enter__(self) -> "Probes":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failed and exc == (None, None, None):
            raise self._failed[0]

    def delays_ms(self, after_seconds: float = 0.0) -> list[float]:
        """From acknowledgement to visible, sorted; without those sent in the first seconds."""
        if len(self.visible) < len(self.acknowledged):
            raise RuntimeError(f"{len(self.acknowledged) - len(self.visible)} probes did not become visible")
        begin = self.acknowledged[0] + after_seconds
        pairs = zip(self.acknowledged, self.visible, strict=True)
        return sorted(1000 * (seen - told) for told, seen in pairs if told >= begin)

    def stalls_ms(self) -> list[float]:
        """How much later than usual each load was committed after the one before it, sorted."""
        gaps = [1000 * (later - sooner) for sooner, later in zip(self.commits, self.commits[1:], strict=False)]
        usual = at(sorted(gaps), 0.5)
        return sorted(max(0.0, gap - usual) for gap in gaps)

    def _guarded(self, target: Any) -> None:
        try:
            target()
        except BaseException as error:  # told by __exit__ in the caller's thread
            self._failed.append(error)
            self._stop.set()
        finally:
            if target == self._send:
                self._sent_all.set()

    def _send(self) -> None:
        line, headers = self._line()
        body = json.dumps([{"name": NAME}]).encode()
        due = time.perf_counter()
        while not self._stop.is_set():
            line.request("POST", "/api/v1/events", body, headers)
            answer = line.getresponse()
            told = time.perf_counter()
            if answer.status != 201:
                raise RuntimeError(f"a probe was answered {answer.status}: {answer.read()!r}")
            answer.read()
            self.acknowledged.append(told)
            due = max(due + PROBE_EVERY_SECONDS, told)
            self._stop.wait(due - time.perf_counter())

    def _ask(self) -> None:
        line, headers = self._line()
        question = json.dumps(
            {
                "metrics": ["events"],
                "timeRange": {
                    "start": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
                    "end": "2100-01-01T00:00:00Z",
                },
                "filters": [{"field": "name", "operator": "eq", "value": NAME}],
            }
        ).encode()
        last: float | None = None
        while True:
            begin = time.perf_counter()
            line.request("POST", "/api/v1/query", question, headers)
            answer = line.getresponse()
            told = json.loads(answer.read())
            seen = time.perf_counter()
            if answer.status != 200:
                raise RuntimeError(f"a question was answered {answer.status}: {told}")
            count = told["rows"][0][-1] if told["rows"] else 0
            self.visible += [seen] * (int(count) - len(self.visible))
            self.answers.append(seen - begin)
            self._note_commit(told["asOf"])
            if self._sent_all.is_set():
                last = last or seen + LAST_SECONDS_MAX
                if len(self.visible) >= len(self.acknowledged) or seen > last:
                    return
            time.sleep(ASK_EVERY_SECONDS)

    def _note_commit(self, as_of: str | None) -> None:
        committed = datetime.fromisoformat(as_of).timestamp() if as_of else 0.0
        if committed and (not self.commits or committed > self.commits[-1]):
            self.commits.append(committed)

    def _line(self) -> tuple[http.client.HTTPConnection, dict[str, str]]:
        line = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=60)
        return line, {"Authorization": f"Bearer {self._served.keys['sk']}", "Content-Type": "application/json"}


def at(ascending: list[float], quantile: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * quantile))]
