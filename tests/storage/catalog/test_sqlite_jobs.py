"""What SQLite adds to the contract of jobs: its clock is the host's, its lock is one for all, its rows are checked."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.domain.errors import Damaged, Unavailable
from headwater.storage.catalog.jobs import JobError, JobRow, Progress, Pulse
from headwater.storage.catalog.sqlite import SqliteCatalog
from headwater.storage.catalog.sqlite import open as open_sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


@pytest.fixture
def catalog(path: Path) -> Iterator[SqliteCatalog]:
    catalog = open_sqlite(f"sqlite://{path}")
    yield catalog
    catalog.close()


@pytest.fixture
def other(path: Path, catalog: SqliteCatalog) -> Iterator[sqlite3.Connection]:
    con = sqlite3.connect(path, isolation_level=None)
    yield con
    con.close()


def claimed(catalog: SqliteCatalog) -> JobRow:
    row = catalog.jobs.claim(["k"], "w")
    assert row is not None
    return row


def queue(catalog: SqliteCatalog) -> None:
    catalog.jobs.enqueue("p", "k", "lane", {"n": 1}, attempts_max=9, queued_max=9)


def test_times_are_the_hosts(catalog: SqliteCatalog) -> None:
    assert abs(catalog.jobs.now_us() / 1e6 - time.time()) < 0.1


def test_a_retry_that_a_clock_set_back_moved_out_of_reach_is_due(
    catalog: SqliteCatalog, other: sqlite3.Connection
) -> None:
    queue(catalog)
    row = claimed(catalog)
    catalog.jobs.retry(row.id, row.attempt, JobError("X", "x"), 300)
    assert catalog.jobs.waiting(["k"]) == []
    other.execute("update jobs set due_us = due_us + 7200e6")  # as if the clock had been set back by two hours
    assert catalog.jobs.waiting(["k"]) == ["k"]
    assert claimed(catalog).attempt == 2


def test_a_take_over_waits_for_no_other_writer(catalog: SqliteCatalog, other: sqlite3.Connection) -> None:
    queue(catalog)
    row = claimed(catalog)
    (lease,) = catalog.jobs.leases(["k"])
    other.execute("begin immediate")
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        catalog.jobs.take_over(lease, "w2")
    assert caught.value.code == "CATALOG_BUSY" and time.monotonic() - began < 1.0
    other.execute("rollback")
    assert catalog.jobs.save(Pulse(row.id, 1, Progress()), {}) == "held"
    # Its short patience is for that one statement: the catalog's own waits as long as ever.
    assert catalog._writer.execute("pragma busy_timeout").fetchone() == (5000,)


def test_a_changed_checkpoint_is_found(catalog: SqliteCatalog, other: sqlite3.Connection) -> None:
    queue(catalog)
    row = claimed(catalog)
    catalog.jobs.save(Pulse(row.id, 1, Progress()), {"day": 1})
    other.execute("update jobs set checkpoint = '{\"day\":9}'")
    with pytest.raises(Damaged, match=f"checkpoint of job {row.id} has a wrong checksum"):
        catalog.jobs.get("p", row.id)


def test_looks_never_read_the_history(catalog: SqliteCatalog, other: sqlite3.Connection) -> None:
    """It may be long, and four times a second somebody looks."""
    for state, index in (("queued", "jobs_queued"), ("running", "jobs_running")):
        sql = f"select kind from jobs where state = '{state}' and kind in (select value from json_each('[\"k\"]'))"
        plan = " ".join(row[3] for row in other.execute(f"explain query plan {sql}"))
        assert index in plan and "SCAN jobs" not in plan, plan
