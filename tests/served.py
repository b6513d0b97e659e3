"""The product as a user runs it: `headwater serve` in a child process, on a free port, in a folder of its own."""

import http.client
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

READY = re.compile(r"headwater is ready at (http://\S+)")
READY_SECONDS_MAX = 30


class Served:
    """Start, ask, kill and start again. `data` outlives the process."""

    def __init__(self, data: Path, *flags: str, env: Mapping[str, str] | None = None, port: int = 0) -> None:
        self.data = data
        self.flags = flags
        self.env = dict(env or {})
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ""
        self.journal = data.parent / f"{data.name}.journal"

    def __enter__(self) -> "Served":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def start(self) -> "Served":
        command = [sys.executable, "-m", "headwater", "serve", "--data", str(self.data), "--port", str(self.port)]
        sink = self.journal.open("ab")
        environment = {**os.environ, "HEADWATER_OBSERVE__JOURNAL": "json", **self.env}
        started = self.journal.stat().st_size
        self.process = subprocess.Popen([*command, *self.flags], stdout=sink, stderr=sink, env=environment)
        sink.close()
        self.address = self.wait_ready(started)
        self.port = int(self.address.rpartition(":")[2])
        return self

    def wait_ready(self, offset: int) -> str:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            with self.journal.open("rb") as lines:
                lines.seek(offset)
                found = READY.search(lines.read().decode(errors="replace"))
            if found:
                return found.group(1)
            if self.process is not None and self.process.poll() is not None:
                break
            selectors.DefaultSelector().select(0.01)
        raise AssertionError(f"not ready: {self.journal.read_text()[-4000:]}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds: float = 15) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    @property
    def keys(self) -> dict[str, str]:
        """The first start's keys by kind."""
        found = re.findall(r"hw_(?:in|sk)_\S+", (self.data / "first-keys").read_text())
        return {key.split("_")[1]: key for key in found}

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "sk",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, decoded body). `key` is a kind of first key, a whole key, or None."""
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {self.keys.get(key, key)}")
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, payload, sent)
            response = connection.getresponse()
            raw = response.read()
            kind = response.headers.get("content-type", "")
            return response.status, dict(response.headers.lower_items()), json.loads(raw) if "json" in kind else raw
        finally:
            connection.close()

    def send(self, events: Any, **more: Any) -> tuple[int, dict[str, str], Any]:
        return self.ask("POST", "/api/v1/events", events, **more)

    def count(self, metric: str = "events", **question: Any) -> float:
        """One number over all time."""
        asked = {"metrics": [metric], "timeRange": {"start": "1971-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}}
        status, _, answer = self.ask("POST", "/api/v1/query", {**asked, **question})
        assert status == 200, answer
        return answer["rows"][0][-1] if answer["rows"] else 0

    def settled(self, seconds: float = 20) -> dict[str, Any]:
        """The ledger's totals once nothing is in flight."""
        deadline = time.monotonic() + seconds
        while True:
            status, _, ledger = self.ask("GET", "/api/v1/ledger")
            assert status == 200, ledger
            if ledger["totals"]["inFlight"] == 0:
                return ledger["totals"]
            assert time.monotonic() < deadline, ledger["totals"]
            selectors.DefaultSelector().select(0.02)
