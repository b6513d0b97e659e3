"""kill -9 at random moments under load: everything acknowledged is stored, nothing twice, and the ledger balances."""

import http.client
import json
import random
import threading
import uuid

import pytest
from tests.served import Served

SENDERS = 4


class Sender(threading.Thread):
    """Sends batches until told to stop; what gets no answer is sent again, unchanged, until it is acknowledged."""

    def __init__(self, served: Served, key: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.served = served
        self.key = key
        self.random = random.Random(seed)
        self.stop = threading.Event()
        self.acknowledged: list[str] = []
        self.repeats = 0

    def run(self) -> None:
        while not self.stop.is_set():
            n = self.random.choice((1, 1, 20, 200))
            ids = [str(uuid.UUID(int=self.random.getrandbits(128), version=4)) for _ in range(n)]
            late = self.random.random() < 0.1
            stamp = f"2026-{'01' if late else '11'}-{self.random.randrange(1, 20):02}T10:00:00.000001Z"
            body = json.dumps([{"id": each, "name": "load", "timestamp": stamp} for each in ids]).encode()
            while not self.sent(body):
                self.repeats += 1
                if self.stop.wait(0.02):
                    return
            self.acknowledged += ids
            if self.random.random() < 0.05:
                self.sent(body)

    def sent(self, body: bytes) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=10)
        try:
            connection.request("POST", "/api/v1/events", body, {"Authorization": f"Bearer {self.key}"})
            return connection.getresponse().status == 201
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def kill_under_load(served: Served, kills: int, seed: int) -> int:
    """How many acknowledged events were looked for afterwards."""
    chance = random.Random(seed)
    key = served.keys["sk"]
    senders = [Sender(served, key, seed * 1000 + number) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    pause = threading.Event()
    for _ in range(kills):
        pause.wait(chance.uniform(0.1, 1.0))
        served.kill()
        served.start()
    pause.wait(0.5)
    for sender in senders:
        sender.stop.set()
    for sender in senders:
        sender.join(30)
    totals = served.settled(60)
    acknowledged = {each for sender in senders for each in sender.acknowledged}
    stored = served.stored_ids()
    assert len(stored) == len(set(stored)), "stored twice"
    assert acknowledged <= set(stored), f"{len(acknowledged - set(stored))} acknowledged events are lost"
    assert totals["balanced"], totals
    assert totals["stored"] == len(stored)
    assert len(acknowledged) > 100 * kills / 20
    return len(acknowledged)


def test_20_random_kills_lose_nothing_and_double_nothing(served, record_property):
    record_property("kills", 20)
    record_property("events", kill_under_load(served, kills=20, seed=1))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [2, 3, 4, 5, 6])
def test_100_random_kills(tmp_path, seed, record_property):
    record_property("kills", 20)
    with Served(tmp_path / "data") as served:
        record_property("events", kill_under_load(served, kills=20, seed=seed))
