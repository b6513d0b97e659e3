"""Small things a person notices: memory while nothing happens, how long help and start take.

Memory is PSS of the whole process tree 3 s after ready. Times are the best of several, each in a process of its own;
`ready` is from the command to the line that says so, on a new data folder and on one that exists.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.product import folder, product, pss_mb
from bench.report import Row
from bench.run import Run

HELP_TRIES, SERVE_TRIES = 5, 3
COMMAND = Path(sys.executable).with_name("headwater")
IDLE_SECONDS = 3.0


def rows(run: Run) -> list[Row]:
    helps = [seconds_of(ask_help) for _ in range(run.rounds(HELP_TRIES))]
    new, again, idle = [], [], []
    for _ in range(run.rounds(SERVE_TRIES)):
        with folder() as place:
            served = product(place / "data")
            new.append(seconds_of(served.start))
            served.stop()
            again.append(seconds_of(served.start))
            time.sleep(IDLE_SECONDS)
            assert served.process is not None
            idle.append(pss_mb(served.process.pid))
            served.stop()
    ready = {"new folder": min(new), "existing": min(again)}
    return [
        Row("memory", "idle memory", min(idle), "MB", 200, 120, more_is_better=False),
        Row("memory", "headwater --help", 1000 * min(helps), "ms", 300, 150, more_is_better=False),
        Row("memory", "serve ready", max(ready.values()), "s", 2, 1, more_is_better=False, absolute=ready),
    ]


def ask_help() -> None:
    subprocess.run([COMMAND, "--help"], check=True, capture_output=True)


def seconds_of(action: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
