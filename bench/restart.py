"""kill -9 under load: how long until it is ready again and answers, and what became of what was acknowledged.

Senders push batches of 100 as fast as they can and send what got no answer again, unchanged, until it does: so every
event must be stored exactly once in the end. Slowest of the kills counts.
"""

import http.client
import random
import threading
import time

from tests.served import Served

from bench.bodies import Template
from bench.product import folder, product
from bench.report import Row
from bench.run import Run

SENDERS, BATCH = 4, 100
KILLS = 3
LOAD_SECONDS = 5.0


class Sender(threading.Thread):
    def __init__(self, served: Served, key: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.end = threading.Event()
        self._served = served
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._rng = random.Random(seed)
        self._templates = [Template(BATCH, 100 * seed + number) for number in range(4)]
        self._line: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not self.end.is_set():
            body, ids = self._rng.choice(self._templates).fresh(self._rng)
            while not self._is_acknowledged(body):
                time.sleep(0.01)
            self.acknowledged += ids

    def _is_acknowledged(self, body: bytes) -> bool:
        try:
            if self._line is None:
                self._line = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=10)
            self._line.request("POST", "/api/v1/events", body, self._headers)
            answer = self._line.getresponse()
            answer.read()
            return answer.status == 201
        except (OSError, http.client.HTTPException):
            self._line = None
            return False


def rows(run: Run) -> list[Row]:
    with folder() as place, product(place / "data") as served:
        senders = [Sender(served, served.keys["sk"], seed) for seed in range(1, SENDERS + 1)]
        for sender in senders:
            sender.start()
        ready, answered = [], []
        for _ in range(run.rounds(KILLS)):
            time.sleep(run.seconds(LOAD_SECONDS))
            served.kill()
            begin = time.perf_counter()
            served.start()
            ready.append(time.perf_counter() - begin)
            served.count()
            answered.append(time.perf_counter() - begin)
        for sender in senders:
            sender.end.set()
        for sender in senders:
            sender.join()
        served.settled(60)
        acknowledged = {each for sender in senders for each in sender.acknowledged}
        stored = served.stored_ids()
    lost, doubled = len(acknowledged.difference(stored)), len(stored) - len(set(stored))
    absolute = {"ready": max(ready), "best": min(answered), "kills": len(ready), "events": len(acknowledged)}
    return [
        Row(
            "restart",
            "kill -9 under load to the first answer",
            max(answered),
            "s",
            3,
            1,
            more_is_better=False,
            absolute=absolute,
        ),
        Row("restart", "acknowledged and lost", lost, "events", 0, 0, more_is_better=False),
        Row("restart", "doubled", doubled, "events", 0, 0, more_is_better=False),
    ]
