import asyncio
import time
from pathlib import Path

from headwater.observe.gauges import Registry
from headwater.observe.resources import watch_loop_lag, watch_resources


def values(registry: Registry) -> dict[str, float]:
    lines = registry.exposition().decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}


def test_resources_of_this_process_are_shown(tmp_path: Path) -> None:
    registry = Registry()
    watch_resources(tmp_path, registry)
    found = values(registry)
    assert 10e6 < found["headwater_memory_resident_bytes"] < 10e9
    assert found["headwater_python_threads"] >= 1
    assert found["headwater_os_threads"] >= 1
    assert found["headwater_open_file_handles"] >= 1
    assert found["headwater_disk_free_bytes"] > 0
    assert found["headwater_disk_used_bytes"] > 0
    assert 1.7e9 < found["headwater_process_start_seconds"] <= time.time()


def test_cpu_seconds_rise_with_work_and_an_open_file_is_seen(tmp_path: Path) -> None:
    registry = Registry()
    watch_resources(tmp_path, registry)
    before = values(registry)
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    with (tmp_path / "x").open("w"):
        after = values(registry)
    assert after["headwater_cpu_seconds_total"] > before["headwater_cpu_seconds_total"]
    assert after["headwater_open_file_handles"] == before["headwater_open_file_handles"] + 1


def test_a_folder_that_is_gone_hides_only_its_own_gauges(tmp_path: Path) -> None:
    registry = Registry()
    watch_resources(tmp_path / "gone", registry)
    found = values(registry)
    assert "headwater_disk_free_bytes" not in found
    assert "headwater_memory_resident_bytes" in found


def test_a_blocked_event_loop_is_seen() -> None:
    registry = Registry()

    async def block() -> None:
        watcher = asyncio.create_task(watch_loop_lag(registry))
        await asyncio.sleep(0)
        blocked_until = time.perf_counter() + 0.45
        while time.perf_counter() < blocked_until:
            pass
        await asyncio.sleep(0.01)  # the watcher was due long ago and runs first
        watcher.cancel()

    asyncio.run(block())
    assert values(registry)["headwater_event_loop_lag_seconds_sum"] > 0.15
