"""Four worker processes on one catalog, killed and frozen at random: each job ends once, each effect is there once."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from tests.jobs.conftest import wait_for
from tests.warden import guard, release

from headwater.storage.catalog import open_catalog
from headwater.storage.catalog.base import Catalog

WORKERS = 4


class Workers:
    def __init__(self, url: str, effects: Path, lease_seconds: float) -> None:
        self.arguments = [url, str(effects), str(lease_seconds)]
        self.running: list[subprocess.Popen[str]] = []

    def start(self, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), *self.arguments]
        environment = {**os.environ, **(env or {})}
        worker = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        guard(worker.pid)
        self.running.append(worker)
        return worker

    def wait_up(self) -> None:
        for worker in self.running:
            assert worker.stdout is not None and worker.stdout.readline() == "up\n"

    def end(self, worker: "subprocess.Popen[str]", how: signal.Signals) -> int:
        self.running.remove(worker)
        worker.send_signal(how)
        if how != signal.SIGTERM:
            worker.send_signal(signal.SIGCONT)
        ended = worker.wait(20)
        release(worker.pid)
        assert worker.stdout is not None
        worker.stdout.close()
        return ended


@contextmanager
def workers_on(url: str, effects: Path, lease_seconds: float) -> Iterator[Workers]:
    workers = Workers(url, effects, lease_seconds)
    try:
        yield workers
    finally:
        for worker in list(workers.running):
            workers.end(worker, signal.SIGKILL)


@contextmanager
def room(tmp_path: Path) -> Iterator[tuple[str, Path, Catalog, sqlite3.Connection]]:
    url, effects = f"sqlite://{tmp_path}/catalog.sqlite", tmp_path / "effects.sqlite"
    con = sqlite3.connect(effects, isolation_level=None)
    con.execute("pragma journal_mode = wal").fetchall()
    con.execute("create table effects (job, step, primary key (job, step))")
    con.execute("create table lives (job, attempt, began_at)")
    catalog = open_catalog(url)
    try:
        yield url, effects, catalog, con
    finally:
        catalog.close()
        con.close()


def contend(tmp_path: Path, *, jobs: int, steps: int, troubles: int, seed: int, lease_seconds: float) -> None:
    """Kill -9, freeze and thaw workers while `jobs` jobs are done; then count."""
    chance = random.Random(seed)
    with room(tmp_path) as (url, effects, catalog, con), workers_on(url, effects, lease_seconds) as workers:
        for _ in range(jobs):
            catalog.jobs.enqueue("p", "steps", "work", {"steps": steps}, attempts_max=100, queued_max=10_000)
        for _ in range(WORKERS):
            workers.start()
        workers.wait_up()
        frozen: list[subprocess.Popen[str]] = []
        for _ in range(troubles):
            # One that is frozen may hold the lock of a whole file, as no lease can help: so it is thawed after a while.
            if not more_done(catalog, con, jobs, 2 * lease_seconds) or len(frozen) > 1:
                thaw(frozen)
                assert more_done(catalog, con, jobs, 60)
            worker = chance.choice([each for each in workers.running if each not in frozen])
            if chance.random() < 0.3:
                worker.send_signal(signal.SIGSTOP)
                frozen.append(worker)
            else:
                workers.end(worker, signal.SIGKILL)
                workers.start()
        thaw(frozen)
        wait_for(lambda: all_done(catalog, jobs), 120)
        rows = catalog.jobs.list("p", limit=10_000)
        assert {row.state for row in rows} == {"succeeded"}
        assert all(row.result == {"steps": steps} and row.checkpoint == {"done": steps} for row in rows)
        assert len(effects_of(con)) == jobs * steps
        lives = con.execute("select job, attempt, began_at from lives order by job, attempt").fetchall()
        assert len({(job, attempt) for job, attempt, _ in lives}) == len(lives), "each attempt was given to one worker"
        for (job, _, began), (after, _, began_after) in pairwise(lives):
            assert job != after or began <= began_after, "a checkpoint never goes back"
        assert len(lives) > jobs, "some were taken over"
        assert [workers.end(worker, signal.SIGTERM) for worker in list(workers.running)] == [0] * WORKERS


def more_done(catalog: Catalog, con: sqlite3.Connection, jobs: int, seconds: float) -> bool:
    """Is there an effect more before so many seconds have passed, or is everything done?"""
    before, until = len(effects_of(con)), time.monotonic() + seconds
    while time.monotonic() < until:
        if len(effects_of(con)) > before or all_done(catalog, jobs):
            return True
        threading.Event().wait(0.01)
    return False


def thaw(frozen: "list[subprocess.Popen[str]]") -> None:
    while frozen:
        frozen.pop().send_signal(signal.SIGCONT)


def effects_of(con: sqlite3.Connection) -> list[tuple[str, int]]:
    return con.execute("select job, step from effects").fetchall()


def all_done(catalog: Catalog, jobs: int) -> bool:
    return any(count.state == "succeeded" and count.n == jobs for count in catalog.jobs.counts())


def test_four_workers_and_random_kills_do_each_job_once(tmp_path: Path) -> None:
    contend(tmp_path, jobs=16, steps=10, troubles=6, seed=7, lease_seconds=1.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_four_workers_and_many_random_kills_do_each_job_once(tmp_path: Path, seed: int) -> None:
    contend(tmp_path, jobs=150, steps=40, troubles=60, seed=seed, lease_seconds=4.0)


def test_a_job_of_a_killed_worker_is_taken_over_within_five_seconds(tmp_path: Path) -> None:
    """With the lease of the default settings."""
    with room(tmp_path) as (url, effects, catalog, con), workers_on(url, effects, 4.0) as workers:
        row, _ = catalog.jobs.enqueue("p", "steps", "work", {"steps": 100_000}, attempts_max=9, queued_max=9)
        holder = workers.start()
        wait_for(lambda: len(effects_of(con)) > 3, 30)
        other = workers.start()
        assert other.stdout is not None and other.stdout.readline() == "up\n"
        saved = catalog.jobs.get("p", row.id).checkpoint
        assert saved is not None
        workers.end(holder, signal.SIGKILL)
        killed_at = time.monotonic()
        wait_for(lambda: catalog.jobs.get("p", row.id).attempt == 2, 6)
        assert time.monotonic() - killed_at <= 5.0
        wait_for(lambda: con.execute("select count(*) from lives").fetchone() == (2,), 5)
        ((_, began),) = con.execute("select attempt, began_at from lives where attempt = 2").fetchall()
        assert began >= saved["done"]


@pytest.mark.slow
def test_a_clock_that_jumps_by_hours_takes_no_job_from_its_worker_and_strands_none(tmp_path: Path) -> None:
    found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    if not found:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    clock = tmp_path / "clock"
    fake = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with room(tmp_path) as (url, effects, catalog, con), workers_on(url, effects, 1.0) as workers:
        clock.write_text("+0")
        long, _ = catalog.jobs.enqueue("p", "steps", "work", {"steps": 100_000}, attempts_max=9, queued_max=9)
        workers.start(fake)
        workers.start(fake)
        workers.wait_up()
        for shift in ("+3h", "-3h"):
            clock.write_text(shift)
            quick, _ = catalog.jobs.enqueue("p", "steps", "work", {"steps": 5}, attempts_max=9, queued_max=9)
            done = wait_for(lambda job=quick: row if (row := catalog.jobs.get("p", job.id)).finished_us else None, 10)
            hours = (done.finished_us - catalog.jobs.now_us()) / 3_600_000_000
            assert round(hours) == int(shift[:2]), "the workers' clock did jump"
            before = len(effects_of(con))
            wait_for(lambda before=before: len(effects_of(con)) > before + 20, 10)
        now = catalog.jobs.get("p", long.id)
        assert (now.state, now.attempt) == ("running", 1)
        holder = next(worker for worker in workers.running if f":{worker.pid}:" in (now.worker or ""))
        workers.end(holder, signal.SIGKILL)
        wait_for(lambda: catalog.jobs.get("p", long.id).attempt == 2, 5)
