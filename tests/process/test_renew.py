"""The warehouse is made again while events come in, and switched when it is equal."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from frames import batch_of, event
from house import House

from headwater.domain.errors import Damaged
from headwater.jobs.attempt import Attempt
from headwater.jobs.base import JobCancelled, JobStopping, Kind
from headwater.process.archive import Archive
from headwater.process.renew import Renewal
from headwater.process.supervise import Supervisor
from headwater.storage.lake import open_lake
from headwater.storage.lake.base import Lake

EVENTS = 50


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def send(house: House, first: int, batches: int = 1) -> None:
    for n in range(batches):
        events = [event(first + EVENTS * n + i) for i in range(EVENTS)]
        house.append(batch_of(events), events=events)


def seal(house: House) -> None:
    seq = house.writer.durable_seq()
    archive = Archive(house.writer.reader(), open_lake(f"file://{house.folder}/lake"), seconds_per_seal=0.05)
    supervisor = Supervisor(lambda *told: None)
    supervisor.start("lake", archive.run)
    assert archive.flush(60) and archive.sealed_seq >= seq
    assert supervisor.stop(60) == []


def lake_of(house: House) -> Lake:
    return open_lake(f"file://{house.folder}/lake", read_only=True)


def renewal(house: House, **settings: Any) -> Renewal:
    return Renewal(house.warehouse, lambda: lake_of(house), house.writer.reader, memory_bytes=64 << 20, **settings)


def attempt(house: House, renewal: Renewal, **args: Any) -> Attempt:
    """At a job in the catalog, as the runner has it; the next one of the same job where there is one."""
    jobs, kind = house.catalog.jobs, Kind(renewal.run, lane="care")
    leases = jobs.leases(["warehouse-rebuild"])
    if leases:
        row = jobs.take_over(leases[0], "test")
    else:
        jobs.enqueue("default", "warehouse-rebuild", "care", args, attempts_max=5, queued_max=10, dedup_key=None)
        row = jobs.claim(["warehouse-rebuild"], "test")
    assert row is not None
    return Attempt(row, kind, jobs)


def files(house: House, pattern: str) -> list[Path]:
    return [each for each in (house.folder / "warehouse").glob(pattern) if each.is_file()]


def test_the_new_one_is_equal_and_takes_the_place_while_events_come_in(house: House) -> None:
    stream = house.start()
    send(house, 0, 4)
    seal(house)
    send(house, 0, 1)  # repeats
    house.wait_loaded(stream)
    stop = threading.Event()
    sent = [1000]

    def feed() -> None:
        while not stop.is_set():
            send(house, sent[0])
            sent[0] += EVENTS

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        work = renewal(house)
        result = work.run(attempt(house, work))
    finally:
        stop.set()
        feeding.join(60)
    assert result["equal"] and result["switched"] and result["duplicate"] == EVENTS, result
    assert result["fromLake"] == 4 * EVENTS and result["keptBytes"] > 0
    house.wait_loaded(stream)
    totals = house.ledger().totals
    assert totals.balanced and totals.stored == 4 * EVENTS + sent[0] - 1000
    assert house.warehouse.tally().stored == totals.stored
    assert len(files(house, "*.before-rebuild-*")) >= 1


def test_one_that_differs_is_refused_and_taken_by_force(house: House) -> None:
    stream = house.start()
    send(house, 0, 2)
    seal(house)
    house.wait_loaded(stream)
    house.stop()
    house.warehouse.close()
    with duckdb.connect(str(house.folder / "warehouse" / "warehouse.duckdb")) as con:
        con.execute("delete from hot where seq = 7")
    house.warehouse.__init__(house.folder / "warehouse" / "warehouse.duckdb")  # type: ignore[misc]
    work = renewal(house)
    with pytest.raises(Damaged, match="events: 100 rows, before 99") as refused:
        work.run(attempt(house, work))
    assert refused.value.code == "REBUILD_DIFFERS"
    assert house.warehouse.tally().stored == 99
    assert not files(house, "*.next-*"), "what was built is removed"
    job = attempt(house, work)
    job.args = {"force": True, "dropOld": True}
    result = work.run(job)
    assert not result["equal"] and result["switched"] and result["keptBytes"] == 0
    assert house.warehouse.tally().stored == 100 and house.ledger().totals.balanced


def test_a_job_that_is_stopped_goes_on_with_what_was_built(house: House) -> None:
    stream = house.start(events_per_load_max=EVENTS)
    send(house, 0, 40)
    house.wait_loaded(stream)
    seal(house)
    stopped: list[Attempt] = []

    def busy() -> bool:
        stopped[0].end(JobStopping())
        return False

    work = renewal(house, busy=busy)
    stopped.append(attempt(house, work))
    with pytest.raises(JobStopping):
        work.run(stopped[0])
    (begun,) = [each for each in files(house, "*.next-*") if "." not in each.name.partition(".next-")[2]]
    again = renewal(house)
    job = attempt(house, again)
    assert begun.name.endswith(job.checkpoint["name"])
    assert again.run(job)["equal"]
    assert house.warehouse.state.database.files.database == begun  # type: ignore[attr-defined]


def test_a_cancelled_job_leaves_nothing_behind(house: House) -> None:
    stream = house.start()
    send(house, 0, 4)
    house.wait_loaded(stream)
    seal(house)
    work = renewal(house)
    job = attempt(house, work)
    job.end(JobCancelled())
    with pytest.raises(JobCancelled):
        work.run(job)
    job.ended = None
    work = renewal(house, busy=lambda: job.end(JobCancelled()) or False)  # type: ignore[func-returns-value]
    with pytest.raises(JobCancelled):
        work.run(job)
    assert not files(house, "*.next-*")
    assert house.warehouse.tally().stored == 4 * EVENTS


def test_an_empty_warehouse_is_made_again_too(house: House) -> None:
    open_lake(f"file://{house.folder}/lake").close()
    work = renewal(house)
    result = work.run(attempt(house, work))
    assert result["switched"] and result["seq"] == 0
    stream = house.start()
    send(house, 0)
    house.wait_loaded(stream)
    assert house.warehouse.tally().stored == EVENTS
