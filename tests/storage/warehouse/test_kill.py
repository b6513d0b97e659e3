"""kill -9 while loading, sealing and checkpointing: rows, ledger and position agree, and nothing told is lost."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from headwater.domain import plans
from headwater.storage.crash import POINTS
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Warehouse

LOADER = Path(__file__).with_name("loader.py")
LOADS_MAX = 25


def run_until_killed(url: str, loads: int, delay_seconds: float, crash_at: str | None = None) -> int:
    """Seq of the last load that was told; the process is killed `delay_seconds` after `loads` of them."""
    env = os.environ | ({"HEADWATER_CRASH_AT": crash_at} if crash_at else {})
    told = 0
    with subprocess.Popen([sys.executable, LOADER, url], stdout=subprocess.PIPE, text=True, env=env) as child:
        assert child.stdout is not None
        for count, line in enumerate(child.stdout):
            told = int(line.split()[1])
            if count == loads:
                threading.Timer(delay_seconds, child.kill).start()
        code = child.wait()
    assert code == -signal.SIGKILL
    return told


def assert_whole(warehouse: Warehouse, told: int) -> None:
    position = warehouse.position()
    seq = position.seq if position else 0
    assert seq >= told
    refused = seq // 50
    repeats = seq // 10 - refused
    totals = warehouse.ledger(0, 1 << 40, None).totals
    assert (totals.stored, totals.duplicate, totals.quarantined) == (seq - seq // 10, repeats, refused)
    counted = {name: count for name, (count, _) in warehouse.digest(1 << 60).items()}
    assert counted == {"events": totals.stored, "duplicates": repeats, "quarantine": refused, "replayed": 0}
    newest = warehouse.run(plans.EventsPage(limit=1), 30.0)
    assert newest.seq == seq
    facts = warehouse.facts()
    assert facts["rows_hot"] + facts["rows_sealed"] == totals.stored


def kill_again_and_again(url: str, kills: int, seed: int, record_property: Any) -> None:
    record_property("kills", kills)
    chance = random.Random(seed)
    for _ in range(kills):
        told = run_until_killed(url, chance.randrange(1, LOADS_MAX), chance.random() * 0.1)
        warehouse = open_warehouse(url)
        assert_whole(warehouse, told)
        warehouse.close()
    record_property("events", told)


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path, record_property: Any) -> None:
    kill_again_and_again(f"duckdb://{tmp_path}/warehouse.duckdb", 4, 1, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
def test_many_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path, seed: int, record_property: Any) -> None:
    kill_again_and_again(f"duckdb://{tmp_path}/warehouse.duckdb", 20, seed, record_property)


@pytest.mark.parametrize("point", [each for each in POINTS if each.startswith(("warehouse.load.", "warehouse.seal."))])
def test_a_kill_at_each_named_step_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    url = f"duckdb://{tmp_path}/warehouse.duckdb"
    told = run_until_killed(url, 10_000, 0.0, crash_at=f"{point}:2")
    warehouse = open_warehouse(url)
    assert_whole(warehouse, told)
    warehouse.close()
