"""Ends the processes that a test run started when the run itself is gone, however it ended: also by kill -9.

A process of its own hears through a pipe which ones there are; that the run is gone it sees by the pipe's end, which
the kernel closes. A signal at the parent's death would do for less, but comes when the starting thread ends.
"""

import atexit
import subprocess
import sys
import threading

WARDEN = """
import os, signal, sys
running = set()
for line in sys.stdin:
    (running.add if line[0] == "+" else running.discard)(int(line[1:]))
for pid in running:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""

_lock = threading.Lock()
_warden: "subprocess.Popen[str] | None" = None


def guard(pid: int) -> None:
    """This child dies with us."""
    _tell(f"+{pid}\n")


def release(pid: int) -> None:
    """It has ended and was waited for: its number may be another's by now. Idempotent."""
    _tell(f"-{pid}\n")


def _tell(line: str) -> None:
    global _warden
    with _lock:
        if _warden is None:
            # In a session of its own: a Ctrl-C at the terminal must not reach it.
            command = [sys.executable, "-I", "-S", "-c", WARDEN]
            _warden = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1, start_new_session=True)
            atexit.register(_end, _warden)
        assert _warden.stdin is not None
        _warden.stdin.write(line)


def _end(warden: "subprocess.Popen[str]") -> None:
    assert warden.stdin is not None
    warden.stdin.close()
    warden.wait()
