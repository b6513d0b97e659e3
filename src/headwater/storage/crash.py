"""Crash points: named places between two durable steps at which a test can have the process killed.

`HEADWATER_CRASH_AT=name:count`, set before the process starts, kills it with SIGKILL when that place is reached for the
count-th time. Otherwise a crash point is an empty function.
"""

import os
import signal
import threading
from collections.abc import Callable

POINTS = (
    "log.append.before_ack",
    "warehouse.load.before_commit",
    "warehouse.load.after_commit",
    "warehouse.seal.before_commit",
    "warehouse.seal.after_commit",
    "warehouse.removal.before_commit",
    "warehouse.removal.after_commit",
    "warehouse.switch.before_rename",
    "warehouse.switch.after_rename",
    "warehouse.switch.before_move",
    "process.before_report",
    "lake.append.before_commit",
    "lake.append.after_commit",
    "lake.compact.before_place",
    "lake.compact.before_commit",
    "lake.compact.after_commit",
    "lake.expire.before_commit",
    "lake.expire.after_commit",
    "lake.vacuum.after_delete",
    "replay.before_checkpoint",
)


def _armed(setting: str) -> Callable[[str], None]:
    name, _, count = setting.partition(":")
    if name not in POINTS:
        raise ValueError(f"HEADWATER_CRASH_AT: unknown crash point {name!r}; known: {', '.join(POINTS)}")
    left = int(count or 1)
    lock = threading.Lock()

    def crash_point(reached: str) -> None:
        nonlocal left
        if reached != name:
            return
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return crash_point


def _unarmed(reached: str) -> None:
    """Costs 40 ns."""


_setting = os.environ.get("HEADWATER_CRASH_AT")
crash_point: Callable[[str], None] = _armed(_setting) if _setting else _unarmed
