"""The product as a user runs it: `headwater serve` in a child process, on a free port, in a folder of its own."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.warden import guard, release

READY = re.compile(r"headwater is ready at (http://\S+)")
READY_SECONDS_MAX = 30


class Served:
    """Start, ask, kill and start again. `data` outlives the process."""

    def __init__(
        self,
        data: Path,
        *flags: str,
        env: Mapping[str, str] | None = None,
        port: int = 0,
        before: Sequence[str] = (),
    ) -> None:
        """`before`: a command that runs the service, as `faketime`."""
        self.data = data
        self.flags = flags
        self.env = dict(env or {})
        self.port = port
        self.before = list(before)
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ""
        self.journal = data.parent / f"{data.name}.journal"

    def __enter__(self) -> "Served":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.kill()
            release(self.process.pid)

    def start(self, *flags: str) -> "Served":
        """Start and wait until it is ready; `flags` are for this start alone."""
        started = self.launch(*flags)
        self.address = self.wait_ready(started)
        self.port = int(self.address.rpartition(":")[2])
        return self

    def launch(self, *flags: str) -> int:
        """Start without waiting; where in the journal this start begins."""
        command = [sys.executable, "-m", "headwater", "serve", "--data", str(self.data), "--port", str(self.port)]
        environment = {**os.environ, "HEADWATER_OBSERVE__JOURNAL": "json", **self.env}
        with self.journal.open("ab") as sink:
            started = self.journal.stat().st_size
            arguments = [*self.before, *command, *self.flags, *flags]
            self.process = subprocess.Popen(arguments, stdout=sink, stderr=sink, env=environment)
        guard(self.process.pid)
        return started

    def start_refused(self, *flags: str) -> str:
        """What a start that does not come up says; it must end by itself, with exit code 1 or (wrong use) 2."""
        started = self.launch(*flags)
        assert self.process is not None
        try:
            ended = self.process.wait(READY_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the start was not refused: {self.said(started)[-4000:]}") from None
        said = self.said(started)
        assert ended in (1, 2), (ended, said[-4000:])
        assert "Traceback" not in said, said[-4000:]
        return said

    def said(self, offset: int = 0) -> str:
        """Everything printed and journalled, from a place in it on."""
        with self.journal.open("rb") as lines:
            lines.seek(offset)
            return lines.read().decode(errors="replace")

    def wait_ready(self, offset: int) -> str:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            found = READY.search(self.said(offset))
            if found:
                return found.group(1)
            if self.process is not None and self.process.poll() is not None:
                break
            threading.Event().wait(0.01)
        raise AssertionError(f"not ready: {self.journal.read_text()[-4000:]}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        release(self.process.pid)

    def stop(self, seconds: float = 15) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        ended = self.process.wait(seconds)
        release(self.process.pid)
        return ended

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
            answered = {name.lower(): value for name, value in response.headers.items()}
            return response.status, answered, json.loads(raw) if raw and "json" in kind else raw
        finally:
            connection.close()

    def send(self, events: Any, **more: Any) -> tuple[int, dict[str, str], Any]:
        return self.ask("POST", "/api/v1/events", events, **more)

    def count(self, metric: str = "events", *, key: str = "sk", **question: Any) -> float:
        """One number over all time."""
        asked = {"metrics": [metric], "timeRange": {"start": "1971-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}}
        status, _, answer = self.ask("POST", "/api/v1/query", {**asked, **question}, key=key)
        assert status == 200, answer
        return answer["rows"][0][-1] if answer["rows"] else 0

    def settled(self, seconds: float = 20) -> dict[str, Any]:
        """The ledger's totals once nothing is in flight."""

        def totals() -> dict[str, Any] | None:
            status, _, ledger = self.ask("GET", "/api/v1/ledger")
            assert status == 200, ledger
            return ledger["totals"] if ledger["totals"]["inFlight"] == 0 else None

        return self.wait_for(totals, seconds)

    def health(self) -> dict[str, Any]:
        """`/health/ready`: status and reasons."""
        answer: dict[str, Any] = self.ask("GET", "/health/ready", key=None)[2]
        return answer

    def health_codes(self) -> set[str]:
        return {reason["code"] for reason in self.health()["reasons"]}

    def resident_bytes(self, *, peak: bool = False) -> int:
        """Memory of the process, or the most it ever had."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def project_folder(self, project: str = "default") -> Path:
        return self.data / "projects" / project

    def wait_for(self, condition: Callable[[], Any], seconds: float = 10) -> Any:
        """What `condition` gives as soon as that is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not in {seconds} s"
            threading.Event().wait(0.02)
        return found

    def run_cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command on this data folder."""
        command = [sys.executable, "-m", "headwater", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def cli(self, *arguments: str) -> Any:
        done = self.run_cli(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stored_ids(self) -> list[str]:
        """Of every stored event; the service is stopped for it and started again."""
        import duckdb

        assert self.stop() == 0
        file = self.data / "projects" / "default" / "warehouse" / "warehouse.duckdb"
        with duckdb.connect(str(file), read_only=True) as warehouse:
            found = [str(row[0]) for row in warehouse.execute("select id from events_all").fetchall()]
        self.start()
        return found

    def break_ledger(self) -> None:
        """Take a stored row out of the ledger behind everybody's back; the service must be stopped."""
        import duckdb

        file = self.data / "projects" / "default" / "warehouse" / "warehouse.duckdb"
        with duckdb.connect(str(file)) as warehouse:
            warehouse.execute("update ledger set stored = stored - 1 where stored > 0")
