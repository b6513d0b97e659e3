"""Ourselves, served for a bench: no rate limit in the way, numbers read from outside."""

import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from tests.served import Served

WORK = Path(__file__).with_name(".work")
UNLIMITED = {
    "HEADWATER_COLLECT__EVENTS_PER_SECOND": "100000000",
    "HEADWATER_COLLECT__EVENTS_BURST": "1000000000",
    "HEADWATER_OBSERVE__LEVEL": "warning",
}
NO_CONSUMER = {"HEADWATER_LOG__LAG_EVENTS_SOFT": "1000000000", "HEADWATER_LOG__LAG_EVENTS_HARD": "1000000001"}
"""For a collector alone, whose backlog nobody takes away."""
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@contextmanager
def folder() -> Iterator[Path]:
    """A place on the checkout's own disk: a temporary folder may be memory, where fsync costs nothing."""
    WORK.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=WORK, prefix="data-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def product(data: Path, *flags: str, **environment: str) -> Served:
    return Served(data, *flags, env={**UNLIMITED, **environment})


def address(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}"


def metrics(served: Served) -> dict[tuple[str, str], float]:
    """/metrics by (name, labels as text)."""
    status, _, text = served.ask("GET", "/metrics")
    assert status == 200, text
    return {(name, labels or ""): float(value) for name, labels, value in SAMPLE.findall(text.decode())}


def total(found: dict[tuple[str, str], float], name: str, part: str = "") -> float:
    """Sum of the samples of that name whose labels contain `part`."""
    return sum(value for (each, labels), value in found.items() if each == name and part in labels)


def stored(served: Served) -> float:
    return total(metrics(served), "headwater_process_outcome_events_total", 'outcome="stored"')


def pss_mb(pid: int) -> float:
    """Memory of a process and its children, shared pages divided among those who share them."""
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(_pss_kb(process.pid) for process in processes) / 1024
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return 0.0


def _pss_kb(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


class Memory(threading.Thread):
    """Samples the memory of processes four times a second until asked for."""

    def __init__(self, *pids: int) -> None:
        super().__init__(daemon=True)
        self.pids = pids
        self.samples: list[float] = []
        self._stop_it = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._stop_it.wait(0.25):
            self.samples.append(sum(map(pss_mb, self.pids)))

    def end(self) -> list[float]:
        self._stop_it.set()
        self.join()
        return self.samples
