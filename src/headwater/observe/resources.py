"""What this process uses: CPU, memory, threads, file handles, disk, and how late its event loop runs."""

import asyncio
import os
import threading
from pathlib import Path

from headwater.observe.gauges import REGISTRY, Registry

LAG_EVERY_SECONDS = 0.25
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


def watch_resources(data_dir: Path, registry: Registry = REGISTRY) -> None:
    """Register the gauges; they are read only when somebody looks."""
    import psutil

    process = psutil.Process()
    registry.reading("headwater_cpu_seconds_total", "CPU time of this process, user and system.", _cpu_seconds)
    registry.reading(
        "headwater_memory_resident_bytes", "Memory held by this process.", lambda: process.memory_info().rss
    )
    registry.reading("headwater_python_threads", "Python threads running.", threading.active_count)
    registry.reading(
        "headwater_os_threads", "Threads of this process, those of libraries included.", process.num_threads
    )
    registry.reading("headwater_open_file_handles", "Open files and sockets.", process.num_fds)
    registry.reading(
        "headwater_disk_free_bytes",
        "Space left for us on the disk of the data folder.",
        lambda: psutil.disk_usage(str(data_dir)).free,
    )
    registry.reading(
        "headwater_disk_used_bytes",
        "Space used by anybody on the disk of the data folder.",
        lambda: psutil.disk_usage(str(data_dir)).used,
    )
    started = process.create_time()
    registry.reading("headwater_process_start_seconds", "When this process began, seconds since 1970.", lambda: started)


async def watch_loop_lag(registry: Registry = REGISTRY) -> None:
    """Runs for ever: how much later than asked this event loop wakes up. Cancel it to stop."""
    lag = registry.histogram(
        "headwater_event_loop_lag_seconds", "How late the event loop woke up.", bounds=LAG_BOUNDS
    ).of()
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY_SECONDS
        await asyncio.sleep(LAG_EVERY_SECONDS)
        lag.observe(max(0.0, loop.time() - due))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
