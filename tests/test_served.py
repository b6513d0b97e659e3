"""The tests' own double of a user cleans up after itself."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUN = """
import sys, threading
from pathlib import Path
from tests.served import Served
served = Served(Path(sys.argv[1])).start()
print(served.process.pid, flush=True)
threading.Event().wait()
"""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_server_ends_with_the_test_run_that_started_it(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", RUN, str(tmp_path / "data")]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        assert not is_gone(server)
        run.send_signal(number)
        run.wait()
    deadline = time.monotonic() + 10
    while not is_gone(server):
        assert time.monotonic() < deadline, f"{server} runs on"
        threading.Event().wait(0.02)
