"""A supervisor of threads: starts them, starts again what dies, stops all of them within a deadline."""

import threading
import traceback
from collections.abc import Callable
from time import monotonic

Target = Callable[[threading.Event], None]
"""Runs until the event is set, then returns soon. Whatever it leaves half done is made good by its next start."""
OnState = Callable[[str, str, str], None]
"""Called with (name, state, reason): state `running`, `failed` (will be started again) or `stopped`."""

BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 30.0
STEADY_SECONDS = 60.0
"""What ran this long before it died is started again as if it had never died before."""


class Supervisor:
    def __init__(self, on_state: OnState, *, backoff_seconds_min: float = BACKOFF_SECONDS_MIN) -> None:
        self.on_state = on_state
        self.backoff_seconds_min = backoff_seconds_min
        self.restarts: dict[str, int] = {}
        self.last_traceback: dict[str, str] = {}
        """For the journal: where each thread that died was, the last time."""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, target: Target) -> None:
        """Keep `target(stop)` running in a thread of that name until `stop` is called."""
        self.restarts[name] = 0
        # A daemon: what outlives the deadline of stop() must not keep the process, since the log has everything.
        thread = threading.Thread(target=self._keep, args=(name, target), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self, seconds: float) -> list[str]:
        """Ask all to stop and wait up to `seconds` in all; the names of those still running then."""
        self._stop.set()
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _keep(self, name: str, target: Target) -> None:
        backoff = self.backoff_seconds_min
        while True:
            began = monotonic()
            self.on_state(name, "running", "")
            try:
                target(self._stop)
                reason = "ended without being asked"
            except Exception as error:
                self.last_traceback[name] = traceback.format_exc()
                reason = f"{type(error).__name__}: {error}"
            if self._stop.is_set():
                self.on_state(name, "stopped", "")
                return
            if monotonic() - began >= STEADY_SECONDS:
                backoff = self.backoff_seconds_min
            self.restarts[name] += 1
            self.on_state(name, "failed", reason)
            if self._stop.wait(backoff):
                self.on_state(name, "stopped", "")
                return
            backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)
