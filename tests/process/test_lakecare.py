"""The care of the lake as jobs, on the real stores: what it leaves, and what a rebuild makes of it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archiving import Archiving
from frames import RECEIVED_US, batch_of, event
from test_rebuild import append_random, load_from_log, rebuilt
from test_retention import Attempt, totals

from headwater.domain.batches import Form, Verdict
from headwater.domain.errors import Unavailable
from headwater.domain.events import text_of
from headwater.domain.projects import project_settings
from headwater.domain.retention import Horizon
from headwater.process.lakecare import LakeCare
from headwater.process.retention import apply
from headwater.storage.lake import care, open_lake
from headwater.storage.lake.base import Lake
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Warehouse

DAY_US = 86_400_000_000
DAYS = 4
NOW_US = RECEIVED_US + DAYS * DAY_US
KEPT = {"retention": "2d", "lakeRetention": "2d"}


@pytest.fixture(autouse=True)
def merged_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever day this machine believes it is."""
    monkeypatch.setattr(care, "LIVE_FILES_MIN", 2)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Archiving]:
    place = Archiving(tmp_path)
    yield place
    place.close()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Warehouse]]:
    opened = [open_warehouse(f"duckdb://{tmp_path / name}") for name in ("old", "new")]
    yield opened
    for each in opened:
        each.close()


@pytest.fixture
def lake(place: Archiving) -> Iterator[Lake]:
    """As the archive's process has it, once the archive is done."""
    opened: list[Lake] = []

    def once() -> Iterator[Lake]:
        place.seal_all(events_per_seal=25)
        opened.append(open_lake(place.lake_url))
        yield opened[0]

    append_days(place)
    yield from once()
    opened[0].close()


def append_days(place: Archiving) -> None:
    """On each day some events, repeats of these, refused and suppressed ones. None repeats one of another day: what is
    known of an event goes with its day."""
    chance = random.Random(1)
    for day in range(DAYS):
        received_us = RECEIVED_US + day * DAY_US
        for minute in range(20):
            at = received_us + minute * 60_000_000
            ids = [1000 * day + chance.randrange(60) for _ in range(4)]
            events: list[Any] = [event(n, timestamp=text_of(at - at % 60_000_000 - n % 1000)) for n in ids]
            verdicts = []
            if minute % 5 == 0:
                events.append(b'{"name":5,"n":%d}' % at)
                verdicts.append(Verdict(4, "BROKEN", "broken", "(unknown)"))
            suppressed = (4,) if minute == 10 else ()
            batch = batch_of(events, received_us=at, form=Form.NDJSON, verdicts=verdicts, suppressed=suppressed)
            place.append(batch, events=events)


def care_of(lake: Lake, warehouse: Warehouse, now_us: int = NOW_US, **settings: Any) -> LakeCare:
    return LakeCare(
        lambda: lake,
        warehouse,
        lambda: project_settings({"name": "a", **settings}),
        history_days=1,
        now_us=lambda: now_us,
    )


def days_of(lake: Lake) -> list[str]:
    return sorted(row[0] for row in lake.at().count(["day"], None, None, 100, 60).rows)


@pytest.mark.parametrize("seed", range(2))
def test_a_rebuild_from_a_compacted_lake_equals_the_original(
    place: Archiving, stores: list[Warehouse], seed: int
) -> None:
    old, new = stores
    append_random(place, seed, 40)
    place.seal_all(events_per_seal=10)
    append_random(place, seed + 100, 10)
    load_from_log(place, old)
    lake = open_lake(place.lake_url)
    files = lake.stats()["files"]
    result = care_of(lake, old).compact(Attempt())
    assert (result["files"], result["leftAlone"], lake.stats()["files"]) == (files, [], 1)
    lake.close()
    report = rebuilt(place, new, old)
    assert report.equal, report.sentence()
    assert 0 < report.from_lake < report.seq


def test_a_dry_run_tells_what_the_job_then_does(place: Archiving, stores: list[Warehouse], lake: Lake) -> None:
    load_from_log(place, stores[0])
    work = care_of(lake, stores[0])
    told, job = work.compact_dry(), Attempt()
    result = work.compact(job)
    assert {name: result[name] for name in ("files", "rows", "bytes")} == {
        name: told[name] for name in ("files", "rows", "bytes")
    }
    assert len(told["parts"]) == DAYS == lake.stats()["files"]
    assert job.told[-1] == (told["files"], told["files"])
    assert work.compact_dry()["files"] == 0


def test_cut_off_after_any_step_a_compaction_goes_on(place: Archiving, stores: list[Warehouse], lake: Lake) -> None:
    files, left = lake.stats()["files"], 1
    while lake.stats()["files"] > DAYS:
        begun = Attempt(checks_max=2)
        with pytest.raises(Unavailable):
            care_of(lake, stores[0]).compact(begun)
        assert lake.stats()["files"] < files
        files, left = lake.stats()["files"], left + 1
    assert left == DAYS + 1


def test_days_go_once_the_warehouse_has_removed_them(place: Archiving, stores: list[Warehouse], lake: Lake) -> None:
    old, _ = stores
    work = care_of(lake, old, **KEPT)
    assert work.expire_dry()["files"] == 0, "nothing is loaded"
    load_from_log(place, old)
    assert work.expire_dry()["before"] is None, "nothing is removed"
    horizon = RECEIVED_US + 2 * DAY_US - 10 * 3600 * 1_000_000
    old.raise_horizon(Horizon(horizon, horizon))
    assert work.expire_dry()["before"] is None, "what the horizon asks for is not removed yet"
    while old.remove_some() is not None:
        pass
    told = work.expire_dry()
    assert [part["day"] for part in told["parts"]][:: len(told["parts"]) - 1] == ["2026-11-24", "2026-11-25"]
    assert work.expire(Attempt())["rows"] == told["rows"] > 0
    assert days_of(lake) == ["2026-11-26", "2026-11-27"]
    assert care_of(lake, old).expire(Attempt())["before"] is None, "with `forever` nothing goes"


@pytest.mark.parametrize("with_old", [True, False])
def test_a_rebuild_from_a_lake_whose_first_days_are_gone(
    place: Archiving, stores: list[Warehouse], lake: Lake, with_old: bool
) -> None:
    """It equals the original, and the ledger goes on over what is in no store any more."""
    old, new = stores
    load_from_log(place, old)
    horizon = RECEIVED_US + 2 * DAY_US - 10 * 3600 * 1_000_000
    apply(old, Horizon(horizon, horizon))
    gone = care_of(lake, old, **KEPT).expire(Attempt())["rows"]
    assert gone > 0
    report = rebuilt(place, new, old if with_old else None, horizon=Horizon(horizon, horizon))
    assert report.missing == 0
    before, after = totals(old), totals(new)
    assert sum(after.values()) == sum(before.values())
    if with_old:
        assert report.equal, report.sentence()
        assert after == before
    else:
        assert after["stored"] == before["stored"]
        assert after["removed"] == gone
    ledger = {(row.minute, row.source): row for row in new.ledger(0, 1 << 40, None).rows}
    for row in old.ledger(0, 1 << 40, None).rows:
        counted = ledger[row.minute, row.source]
        outcomes = ("stored", "duplicate", "quarantined", "suppressed", "removed", "lost")
        assert sum(getattr(row, name) for name in outcomes) == sum(getattr(counted, name) for name in outcomes)


def test_vacuum_keeps_what_the_history_needs(place: Archiving, stores: list[Warehouse], lake: Lake) -> None:
    version = lake.at().facts
    files = lake.stats()["files"]
    committed = lake.history(1)[0].committed_us
    care_of(lake, stores[0]).compact(Attempt())
    soon = care_of(lake, stores[0], now_us=committed + DAY_US // 2)
    assert soon.vacuum_dry()["files"] == 0 and soon.vacuum(Attempt())["files"] == 0
    assert lake.at(version.version).rows == lake.at().rows
    late = care_of(lake, stores[0], now_us=committed + 2 * DAY_US)
    told = late.vacuum_dry()
    assert told["files"] == files == len(told["names"])
    result = late.vacuum(Attempt())
    assert (result["files"], result["bytes"]) == (told["files"], told["bytes"])
    assert late.vacuum_dry()["files"] == 0
    assert sum(table.num_rows for table in lake.read(0, 1000)) == lake.stats()["rows"]


def test_as_of_a_version_as_many_had_come_as_the_warehouse_accounts_for(
    place: Archiving, stores: list[Warehouse], lake: Lake
) -> None:
    """As many events of each source in the lake as the ledger has outcomes for, and at each version up to its seq."""
    load_from_log(place, stores[0])
    care_of(lake, stores[0]).compact(Attempt())
    rows = stores[0].ledger(0, 1 << 40, None).rows
    assert lake.at().count(["source"], None, None, 100, 60).events == place.writer.durable_seq()
    by_source: dict[str, int] = {}
    for row in rows:
        n = row.stored + row.duplicate + row.quarantined + row.suppressed
        by_source[row.source] = by_source.get(row.source, 0) + n
    assert dict(lake.at().count(["source"], None, None, 100, 60).rows) == by_source
    for version in lake.history(100):
        if version.operation == "WRITE":
            assert lake.at(version.version).count([], None, None, 1, 60).rows == [(version.seq,)]


def test_it_waits_while_events_wait(place: Archiving, stores: list[Warehouse], lake: Lake) -> None:
    asked: list[int] = []

    def busy() -> bool:
        asked.append(1)
        return len(asked) < 4

    work = LakeCare(lambda: lake, stores[0], lambda: project_settings({"name": "a"}), history_days=7, busy=busy)
    assert work.compact(Attempt())["files"] > 0
    assert len(asked) > 4
