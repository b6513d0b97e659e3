"""Ctrl-C: whatever a command was doing, it ends soon, with its own exit code and no traceback."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from tests.served import Served


def started(tmp_path, *arguments):
    command = [sys.executable, "-m", "headwater", *map(str, arguments)]
    # As a shell does it for a command in the foreground, whatever this process was started with.
    return subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("when", ["its socket is made", "its catalog is made"])
def test_a_command_that_serves_its_folder_for_the_moment_ends(tmp_path, when):
    big = tmp_path / "big.ndjson"
    big.write_text('{"name": "a"}\n' * 200_000)
    running = started(tmp_path, "import", big)
    awaited = tmp_path / "headwater-data" / ("headwater.sock" if "socket" in when else "catalog.sqlite")
    while not awaited.exists():
        assert running.poll() is None, running.stderr.read()
        threading.Event().wait(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert not (tmp_path / "headwater-data" / "headwater.sock").exists()


def test_serve_ends_with_0_and_leaves_nothing_behind(tmp_path):
    with Served(tmp_path / "data") as served:
        served.send([{"name": "a"}])
        os.kill(served.process.pid, signal.SIGINT)
        assert served.process.wait(15) == 0
        assert "Traceback" not in served.journal.read_text()
        assert not (served.data / "headwater.sock").exists()
