"""Lines on their way to a file descriptor: a bounded queue and one thread, so that a stuck reader stops nobody."""

import atexit
import os
import select
import sys
import threading
import time
from collections import deque
from typing import Protocol

WAITING_MAX = 10_000
WAITING_CHARACTERS_MAX = 8_000_000
WRITE_BYTES_MAX = 65_536


class HasDescriptor(Protocol):
    def fileno(self) -> int: ...

    def isatty(self) -> bool: ...


Target = HasDescriptor | None
"""None = stderr as it is at the first line."""


class Lines:
    """`put` never blocks. What is beyond the limits above, or can't be written, is counted in `dropped`."""

    def __init__(self, target: Target) -> None:
        self.dropped = 0
        self._said = 0
        self._target = target
        self._waiting: deque[str] = deque()
        self._characters = 0
        self._put = 0
        self._done = 0
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def is_terminal(self) -> bool:
        try:
            return (self._target or sys.stderr).isatty()
        except ValueError:  # closed
            return False

    def put(self, line: str) -> None:
        with self._wake:
            full = len(self._waiting) >= WAITING_MAX or self._characters + len(line) > WAITING_CHARACTERS_MAX
            if self._closed or full:
                self.dropped += 1
                return
            self._waiting.append(line)
            self._characters += len(line)
            self._put += 1
            if self._thread is None or not self._thread.is_alive():  # a forked child has no threads
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._wake.notify_all()

    def flush(self, seconds_max: float) -> bool:
        deadline = time.monotonic() + seconds_max
        with self._wake:
            upto = self._put
            return self._wake.wait_for(lambda: self._done >= upto, deadline - time.monotonic())

    def close(self, seconds_max: float = 1.0) -> None:
        """Write what waits, for at most `seconds_max`; later lines are dropped. Idempotent."""
        self.flush(seconds_max)
        with self._wake:
            self._closed = True
            self._wake.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(0.1)
            atexit.unregister(self.close)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                taken = self._take()
                lost = self.dropped - self._said
            text = "".join(taken)
            if lost:
                text += f'{{"event":"journal_lines_dropped","level":"warning","kind":"application","lines":{lost}}}\n'
            written = self._write(text.encode(errors="backslashreplace"))
            with self._wake:
                if written:
                    self._said += lost
                else:
                    self.dropped += len(taken)
                self._done += len(taken)
                self._wake.notify_all()

    def _take(self) -> list[str]:
        taken: list[str] = []
        size = 0
        while self._waiting and size < WRITE_BYTES_MAX:
            taken.append(self._waiting.popleft())
            size += len(taken[-1])
        self._characters -= size
        return taken

    def _write(self, data: bytes) -> bool:
        """To the descriptor itself: a daemon thread inside sys.stderr's own lock aborts the interpreter at exit."""
        view = memoryview(data)
        try:
            descriptor = (self._target or sys.stderr).fileno()
            while view:
                try:
                    view = view[os.write(descriptor, view) :]
                except BlockingIOError:  # whoever shares the terminal has set it non-blocking
                    select.select([], [descriptor], [], 1.0)
        except (OSError, ValueError, AttributeError):  # closed, gone, or no stderr at all: counted as dropped
            return False
        return True
