"""Kill -9 at any moment: everything acknowledged is stored, once, and the ledger balances."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import duckdb
import pytest

HERE = Path(__file__).parent
EVENTS_PER_BATCH = 20
BATCHES = 1_000_000
"""More than a life can send before it is killed."""
READY_SECONDS = 60.0
CRASH_SECONDS = 60.0
END_SECONDS = 150.0


class Lives:
    """Lives of one data folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, *arguments: str, crash_at: str | None = None) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(HERE.parent / "process")}
        if crash_at is not None:
            environment["HEADWATER_CRASH_AT"] = crash_at
        command = [sys.executable, str(HERE / "life.py"), str(self.folder), *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)

    def until_killed(self, after_seconds: float) -> None:
        """A life that is killed so long after it was up."""
        with self.begin(str(BATCHES)) as life:
            assert life.stdout is not None and life.stdout.readline() == "up\n"
            timer = threading.Timer(after_seconds, life.kill)
            timer.start()
            assert life.wait(READY_SECONDS) == -signal.SIGKILL
            timer.join()

    def until_crash(self, point: str) -> None:
        """A life that kills itself there."""
        with self.begin(str(BATCHES), crash_at=point) as life:
            assert life.wait(CRASH_SECONDS) == -signal.SIGKILL
        assert self.acknowledged()

    def last(self) -> dict[str, Any]:
        """A life that sends what is left of a few batches more than are acknowledged, and tells what is stored."""
        with self.begin(str(len(self.acknowledged()) + 20), "--end") as life:
            out, _ = life.communicate(timeout=END_SECONDS)
            assert life.returncode == 0
        told: dict[str, Any] = json.loads(out.splitlines()[-1])
        return told

    def acknowledged(self) -> set[int]:
        path = self.folder / "acknowledged"
        return {int(line) for line in path.read_text().split()} if path.exists() else set()

    def stored(self) -> list[str]:
        (path,) = (self.folder / "warehouse").rglob("*.duckdb")
        with duckdb.connect(str(path), read_only=True) as connection:
            return [str(row[0]) for row in connection.execute("select id from events_all").fetchall()]

    def check(self) -> dict[str, Any]:
        told = self.last()
        stored = self.stored()
        acknowledged = {int(event_id, 16) for event_id in self.expected_ids()}
        found = {int(event_id.replace("-", ""), 16) for event_id in stored}
        assert len(stored) == len(found), f"{len(stored) - len(found)} doubled"
        assert acknowledged <= found, f"{len(acknowledged - found)} acknowledged events lost"
        totals = told["totals"]
        assert totals["balanced"] and told["rows_balanced"], told
        assert totals["inFlight"] == 0 and totals["lost"] == 0 and totals["stored"] == len(stored)
        assert totals["received"] == totals["stored"] + totals["duplicate"]
        assert told["lake_rows"] == totals["received"], told
        return told

    def expected_ids(self) -> list[str]:
        return [
            uuid.UUID(int=batch * EVENTS_PER_BATCH + index, version=4).hex
            for batch in self.acknowledged()
            for index in range(EVENTS_PER_BATCH)
        ]


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    return Lives(tmp_path)


POINTS = [
    "log.append.before_ack:5",
    "warehouse.load.before_commit:3",
    "warehouse.load.after_commit:3",
    "process.before_report:3",
    "warehouse.seal.before_commit:1",
    "warehouse.seal.after_commit:1",
    "lake.append.before_commit:2",
    "lake.append.after_commit:2",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_each_named_step_loses_and_doubles_nothing(lives, point, record_property):
    lives.until_crash(point)
    lives.check()
    record_property("kills", 1)
    record_property("events", len(lives.expected_ids()))


def kills(lives: Lives, n: int, record_property: Any) -> None:
    dice = random.Random(n)
    for _ in range(n):
        lives.until_killed(dice.uniform(0.0, 0.6))
    told = lives.check()
    assert told["trimmed"] > 0 and told["totals"]["duplicate"] > 0, told
    record_property("kills", n)
    record_property("events", len(lives.expected_ids()))


@pytest.mark.timeout(600)
def test_twenty_kills_at_random_moments_lose_and_double_nothing(lives, record_property):
    kills(lives, 20, record_property)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_kills_at_random_moments_lose_and_double_nothing(lives, record_property):
    kills(lives, 100, record_property)


def test_an_unknown_crash_point_is_refused_at_start(lives):
    with lives.begin("1", crash_at="nowhere:1") as life:
        assert life.wait(READY_SECONDS) == 1
