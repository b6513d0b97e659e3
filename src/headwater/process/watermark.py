"""The watermark: the time up to which every logged event is in the warehouse. It never goes back."""

import threading
import time
from collections import deque
from collections.abc import Callable

SAMPLES_MAX = 4096


def now_us() -> int:
    return time.time_ns() // 1000


class Watermark:
    """Kept from samples (our clock, last durable seq): once that seq is loaded, so is all that was logged by then.

    With nothing in flight it is thereby the server's clock. Thread-safe.
    """

    def __init__(self, clock: Callable[[], int] = now_us) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: deque[tuple[int, int]] = deque()
        self._loaded_seq = 0
        self.us = 0

    def sample(self, read_durable_seq: Callable[[], int]) -> None:
        """Take the time, then the durable seq: never the other way, or an event between the two would be missed."""
        now = self._clock()
        seq = read_durable_seq()
        with self._lock:
            if self._samples and self._samples[-1][1] == seq:
                self._samples.pop()
            if len(self._samples) < SAMPLES_MAX:
                self._samples.append((now, seq))
            self._advance()

    def at_least(self, us: int) -> None:
        """Known from elsewhere, as at a start: everything received up to then is stored."""
        with self._lock:
            self.us = max(self.us, us)

    def loaded(self, seq: int) -> None:
        with self._lock:
            self._loaded_seq = seq
            self._advance()

    def _advance(self) -> None:
        while self._samples and self._samples[0][1] <= self._loaded_seq:
            now, _ = self._samples.popleft()
            self.us = max(self.us, now)
