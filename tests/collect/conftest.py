"""A collector as it runs: uvicorn on a free port, real keys, a real log."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from headwater.collect.bounds import Bounds
from headwater.collect.counts import Counts
from headwater.collect.intake import Acks, Intake
from headwater.collect.limit import InFlight, Quota, Rates
from headwater.collect.receive import Receiver
from headwater.collect.sources import Labels
from headwater.domain.batches import Batch, decode_batch
from headwater.domain.networks import networks_of
from headwater.domain.schemas import rules_from
from headwater.security.keys import Authenticator, create_key
from headwater.security.projects import create_project
from headwater.storage.catalog import open_catalog
from headwater.storage.log import open_log_reader, open_log_writer
from headwater.storage.log.base import Frame

PATH = "/api/v1/events"


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        body = response.read()
        self.json: Any = json.loads(body) if body else None


class Collector:
    """Runs in a thread of its own; `post` is a client. Settings may be given as keywords."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.url = f"file://{folder}/log"
        self.catalog = open_catalog(f"sqlite://{folder}/catalog.sqlite")
        create_project(self.catalog, {"name": "default"})
        self.keys = {
            "sk": self._key("sk", "server", scopes=["events:write"]),
            "in": self._key("in", "web", sources=["web", "shop"], origins=["https://shop.example"]),
            "reader": self._key("sk", "reader", scopes=["query"]),
        }
        self.settings = settings
        self.lag = 0
        self.refused: list[tuple[str, dict[str, int]]] = []
        self.counts = Counts()
        self.in_flight = InFlight(settings.get("inflight_bytes_max", 256 << 20))
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self.ready.wait(10)

    def post(
        self, body: bytes | str | list[Any] | dict[str, Any], *, key: str | None = "sk", query: str = "", **headers: str
    ) -> Answer:
        raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["authorization"] = f"Bearer {self.keys.get(key, key)}"
        return self.request("POST", raw, query, sent)

    def request(self, method: str, body: bytes | None, query: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, PATH + query, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def frames(self) -> list[Frame]:
        reader = open_log_reader(self.url)
        try:
            found: list[Frame] = []
            while reader.durable_seq() > (found[-1].last_seq if found else 0):
                for frame in reader.read(found[-1].last_seq if found else 0, 20_000, 1.0):
                    assert isinstance(frame, Frame)
                    found.append(frame)
            return found
        finally:
            reader.close()

    def batches(self) -> list[Batch]:
        return [decode_batch(payload) for frame in self.frames() for payload in frame.payloads]

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)
        self.catalog.close()

    def _key(self, kind: Any, name: str, **given: Any) -> str:
        return create_key(self.catalog, "default", kind=kind, name=name, **given)[1]

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        log = open_log_writer(self.url, Acks(self.loop).on_durable)
        self.intake = Intake(
            log,
            rules=rules_from(self.settings.get("schemas", [])),
            labels=Labels([], self.settings.get("sources_max", 1000)),
            quota=Quota(self.settings.get("quarantine_events_per_day", 100_000)),
            lag=lambda: self.lag,
            lag_events_soft=100,
            lag_events_hard=1000,
            ack_wait_seconds=self.settings.get("ack_wait_seconds", 2.0),
        )
        bounds = self.settings.get("bounds", Bounds())
        receiver = Receiver(
            Authenticator(self.catalog, self.settings.get("open", False)).access,
            lambda project: self.intake,
            rates=Rates(
                self.settings.get("events_per_second", 100_000),
                self.settings.get("events_burst", 200_000),
                self.settings.get("in_bytes_per_second", 10 << 20),
                bounds.batch_events_max,
            ),
            in_flight=self.in_flight,
            counts=self.counts,
            bounds=bounds,
            trusted_proxies=networks_of(self.settings.get("trusted_proxies", [])),
            body_seconds_max=self.settings.get("body_seconds_max", 30),
            on_refused=lambda project, minute, counts: self.refused.append((project, dict(counts))),
        )
        config = uvicorn.Config(receiver, port=0, lifespan="off", log_config=None, proxy_headers=False)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:  # noqa: ASYNC110  # uvicorn says it in no other way
            await asyncio.sleep(0.01)
        self.ready.set()
        await self.stop.wait()
        server.should_exit = True
        await serving
        receiver.close()
        log.close()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    running: list[Collector] = []

    def start(**settings: Any) -> Collector:
        running.append(Collector(tmp_path, **settings))
        return running[-1]

    yield start
    for one in running:
        one.close()
