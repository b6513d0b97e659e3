"""What a running product uses and how far behind it is, read from outside."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil
from tests.served import Served

from bench.product import metrics, pss_mb, total

CSV_ROWS_MAX = 200


@dataclass
class Sample:
    """Sums over all processes of the product."""

    seconds: float
    memory_mb: float
    cpu_percent: float
    """Of one core, since the sample before."""
    threads: float
    handles: float
    events_per_second: float
    """Sent and answered, since the sample before."""
    refused: float
    ack_p99_ms: float
    visible_ms: float | None
    """The slowest of the probes since the sample before."""
    answer_ms: float | None
    """The slowest question."""
    log_mb: float
    process_lag: float
    lake_lag: float
    wal_mb: float
    warehouse_mb: float
    lake_mb: float
    lake_files: float
    hot_rows: float


class Watch:
    """Samples of one product; `seconds` count from the first."""

    def __init__(self, served: Served) -> None:
        assert served.process is not None
        self._served = served
        self._pid = served.process.pid
        self._cpu: tuple[float, float] | None = None

    def sample(
        self, seconds: float, clients: dict[str, float], visible: Sequence[float], answers: Sequence[float]
    ) -> Sample:
        """`clients`: the latest line of the clients; the rest in ms, since the sample before."""
        root = psutil.Process(self._pid)
        processes = [root, *root.children(recursive=True)]
        cpu = sum(sum(process.cpu_times()[:2]) for process in processes)
        before, self._cpu = self._cpu, (seconds, cpu)
        found = metrics(self._served)
        return Sample(
            seconds=round(seconds, 1),
            memory_mb=round(pss_mb(self._pid), 1),
            cpu_percent=round(100 * (cpu - before[1]) / (seconds - before[0]), 1) if before else 0.0,
            threads=sum(process.num_threads() for process in processes),
            handles=sum(process.num_fds() for process in processes),
            events_per_second=round(clients.get("events/s", 0.0)),
            refused=clients.get("refused", 0),
            ack_p99_ms=round(clients.get("ack p99 ms", 0.0), 1),
            visible_ms=round(max(visible), 1) if visible else None,
            answer_ms=round(max(answers), 1) if answers else None,
            log_mb=folder_mb(self._served.project_folder() / "log"),
            process_lag=total(found, "headwater_log_lag_events"),
            lake_lag=total(found, "headwater_lake_lag_events"),
            wal_mb=round(total(found, "headwater_warehouse_wal_bytes") / 1e6, 1),
            warehouse_mb=round(total(found, "headwater_warehouse_file_bytes") / 1e6, 1),
            lake_mb=folder_mb(self._served.project_folder() / "lake"),
            lake_files=total(found, "headwater_lake_files"),
            hot_rows=total(found, "headwater_warehouse_hot_rows"),
        )


def folder_mb(folder: Path) -> float:
    """What lies there, old versions included; files that go meanwhile count nothing."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:
            continue
    return round(size / 1e6, 1)


def write_csv(path: Path, samples: Sequence[Sample]) -> None:
    """Every n-th, so that there are at most 200."""
    step = -(-len(samples) // CSV_ROWS_MAX)
    with path.open("w", newline="") as out:
        lines = csv.DictWriter(out, [field.name for field in fields(Sample)], lineterminator="\n")
        lines.writeheader()
        lines.writerows(asdict(sample) for sample in samples[::step])
