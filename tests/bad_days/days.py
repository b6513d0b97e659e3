"""What an operator's bad day needs: a folder with something in it, a bit to flip, a disk to fill, and the proof."""

import contextlib
import json
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.bad_days.raw import event
from tests.served import Served

QUICK_LAKE = {"HEADWATER_LAKE__SEAL_SECONDS": "0.1"}
"""Everything is in the lake a moment after it is in the log."""


def folder(served: Served, store: str) -> Path:
    return served.project_folder() / store


def send(served: Served, batches: int = 10, each: int = 20, **more: Any) -> list[str]:
    """Ids of the events, acknowledged, one frame or more."""
    ids = []
    for _ in range(batches):
        events = [event(source="web", **more) for _ in range(each)]
        status, _, answer = served.send(events)
        assert (status, answer["accepted"]) == (201, each), answer
        ids += [one["id"] for one in events]
    return ids


def lake_seq(served: Served) -> int:
    return served.ask("GET", "/api/v1/lake")[2].get("seq") or 0


def settled(served: Served, *, lake: bool = False) -> dict[str, Any]:
    """The ledger's totals with nothing in flight, also into the lake if asked."""
    totals = served.settled()
    assert totals["balanced"], totals
    if lake:
        received = totals["received"]
        served.wait_for(lambda: lake_seq(served) >= received)
    return totals


def stopped(served: Served) -> None:
    assert served.stop() == 0, served.said()[-4000:]


def warehouse_ids(served: Served) -> list[str]:
    """Of every stored event, sorted; the service must be stopped."""
    file = folder(served, "warehouse") / "warehouse.duckdb"
    with duckdb.connect(str(file), read_only=True) as warehouse:
        return sorted(str(row[0]) for row in warehouse.execute("select id from events_all").fetchall())


def ledger_rows(served: Served) -> list[dict[str, Any]]:
    return served.ask("GET", "/api/v1/ledger")[2]["rows"]


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Turn one bit; `at` from the end if negative."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def put_back(copied: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(copied, place)


@contextlib.contextmanager
def mounted(place: Path, mib: int) -> Iterator[Path]:
    """A small disk at `place`; skips the test where this user may not mount one."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", str(place)]
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def remounted(place: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(["remount", *options]), str(place)], check=True, capture_output=True)


def filled(place: Path, left_bytes: int) -> Path:
    """Take all of the disk but so much."""
    ballast = place / "ballast"
    with ballast.open("ab") as file:
        while (free := shutil.disk_usage(place).free) > left_bytes:
            file.write(bytes(min(free - left_bytes, 1 << 20)))
            file.flush()
    return ballast


class Load(threading.Thread):
    """Sends until stopped; remembers what was acknowledged, and what was answered otherwise."""

    def __init__(self, served: Served, each: int = 20) -> None:
        super().__init__(daemon=True)
        self.served = served
        self.each = each
        self.ending = threading.Event()
        self.acknowledged: list[str] = []
        self.refused: dict[str, int] = {}

    def run(self) -> None:
        while not self.ending.is_set():
            events = [event(source="load") for _ in range(self.each)]
            try:
                status, _, answer = self.served.send(events)
            except (OSError, ValueError):
                self.ending.wait(0.01)
                continue
            if status == 201:
                self.acknowledged += [one["id"] for one in events]
            else:
                self.refused[answer["code"]] = self.refused.get(answer["code"], 0) + 1
                self.ending.wait(0.01)

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.ending.set()
        self.join(30)


def until(condition: Any, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {seconds} s"
        threading.Event().wait(0.02)
    return found


def new_id() -> str:
    return str(uuid.uuid4())


def rebuild(served: Served, *flags: str) -> dict[str, Any]:
    """`headwater lake rebuild`: its report."""
    done = served.run_cli("lake", "rebuild", "--json", *flags)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    return json.loads(done.stdout)
