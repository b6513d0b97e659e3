"""The job of retention on the real stores: what it removes, what a kill leaves, and what a rebuild makes of it."""

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from archiving import Archiving
from frames import RECEIVED_US, batch_of, event
from test_rebuild import append_random, load_from_log, rebuilt

from headwater.domain.errors import Unavailable
from headwater.domain.events import text_of, us_of
from headwater.domain.projects import project_settings
from headwater.domain.retention import Horizon
from headwater.process.retention import Retention, apply, days_between
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Warehouse

DAY_US = 86_400_000_000
NOW_US = RECEIVED_US + 5 * DAY_US


class Attempt:
    """What the runner gives a job's function; `saves_max`: then the process dies."""

    id, kind, project, attempt = "1", "retention", "default", 1
    args: Mapping[str, Any] = {}

    def __init__(self, checkpoint: Mapping[str, Any] | None = None, checks_max: int = 1 << 30) -> None:
        self.checkpoint = checkpoint
        self.checks_left = checks_max
        self.told: list[tuple[float | None, float | None]] = []

    def save(self, checkpoint: Mapping[str, Any], **progress: Any) -> None:
        self.checkpoint = checkpoint
        self.told.append((progress["done"], progress["total"]))

    def tell(self, **progress: Any) -> None: ...

    def cancelled(self) -> bool:
        return False

    def check(self) -> None:
        self.checks_left -= 1
        if not self.checks_left:
            raise Unavailable("the end")


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


def retention_of(warehouse: Warehouse, **settings: Any) -> Retention:
    return Retention(warehouse, lambda: project_settings({"name": "a", **settings}), lambda: NOW_US)


def at(n: int, us: int, received_us: int = RECEIVED_US) -> Any:
    return batch_of([event(n, timestamp=text_of(us))], received_us=received_us)


def totals(warehouse: Warehouse) -> dict[str, int]:
    row = warehouse.ledger(0, 0, None).totals
    return {name: getattr(row, name) for name in ("stored", "duplicate", "quarantined", "suppressed", "removed")}


def test_it_removes_what_the_dry_run_told(place: Archiving, stores: list[Warehouse]) -> None:
    append_random(place, 1, 40)
    place.append(at(1000, NOW_US, NOW_US))
    load_from_log(place, stores[0])
    before = totals(stores[0])
    retention = retention_of(stores[0], retention="1d", timeZone="Asia/Tokyo")
    told = retention.dry_run()
    assert told["removable"]["events"] == before["stored"] - 1
    assert told["removable"]["quarantined"] == before["quarantined"] > 0
    assert told["removable"]["days"] > 0 and told["removed"]["at"] is None
    job = Attempt()
    result = retention.run(job)
    assert (result["events"], result["quarantined"]) == (before["stored"] - 1, before["quarantined"])
    assert job.told[-1] == (before["stored"] - 1 + before["quarantined"],) * 2
    after = totals(stores[0])
    assert after == before | {
        "stored": 1,
        "quarantined": 0,
        "removed": before["stored"] - 1 + before["quarantined"],
    }
    again = retention.dry_run()
    assert again["removable"]["rows"] == 0 and again["removed"]["events"] == after["removed"]
    assert retention.run(Attempt())["events"] == 0


def test_with_forever_nothing_is_removed(place: Archiving, stores: list[Warehouse]) -> None:
    append_random(place, 1, 10)
    load_from_log(place, stores[0])
    assert retention_of(stores[0]).dry_run()["before"] is None
    assert retention_of(stores[0]).run(Attempt())["events"] == 0
    assert stores[0].removals() == []


def test_cut_off_after_any_step_it_goes_on_with_the_horizon_it_began_with(
    place: Archiving, stores: list[Warehouse]
) -> None:
    append_random(place, 2, 40)
    load_from_log(place, stores[0])
    before = totals(stores[0])
    begun = Attempt(checks_max=1)
    with pytest.raises(Unavailable):
        retention_of(stores[0], retention="1d").run(begun)
    left = totals(stores[0])
    assert sum(left.values()) == sum(before.values()) and left["removed"] > 0
    retention_of(stores[0], retention="30d").run(Attempt(begun.checkpoint))
    assert totals(stores[0])["stored"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_rebuild_removes_after_the_same_event_and_equals_the_original(
    place: Archiving, stores: list[Warehouse], seed: int
) -> None:
    old, new = stores
    append_random(place, seed, 25)
    place.append(at(500, RECEIVED_US - 9 * DAY_US), at(501, RECEIVED_US - 3 * DAY_US))
    load_from_log(place, old)
    apply(old, Horizon(RECEIVED_US - 5 * DAY_US, RECEIVED_US - 5 * DAY_US))
    place.append(
        at(500, RECEIVED_US - 9 * DAY_US), at(501, RECEIVED_US - 3 * DAY_US), at(502, RECEIVED_US - 8 * DAY_US)
    )
    place.seal_all(events_per_seal=25)
    append_random(place, seed + 50, 10)
    load_from_log(place, old)
    everything = Horizon(RECEIVED_US + DAY_US, RECEIVED_US + DAY_US)
    apply(old, everything)
    append_random(place, seed + 99, 10)
    load_from_log(place, old)
    assert totals(old)["removed"] > 50
    report = rebuilt(place, new, old, horizon=everything)
    assert report.equal, report.sentence()
    assert report.counts["removed"] == totals(old)["removed"]
    assert [removal.horizon for removal in new.removals()] == [removal.horizon for removal in old.removals()]


def test_a_rebuild_applies_the_retention_of_today(place: Archiving, stores: list[Warehouse]) -> None:
    old, new = stores
    place.append(at(1, RECEIVED_US - 9 * DAY_US), at(2, RECEIVED_US))
    load_from_log(place, old)
    report = rebuilt(place, new, old, horizon=Horizon(RECEIVED_US - DAY_US, RECEIVED_US - DAY_US))
    assert report.equal
    assert (totals(old)["stored"], totals(new)["stored"]) == (2, 1)


def test_where_more_is_kept_today_a_rebuild_brings_back_what_was_removed(
    place: Archiving, stores: list[Warehouse]
) -> None:
    old, new = stores
    place.append(at(1, RECEIVED_US - 9 * DAY_US), at(2, RECEIVED_US))
    load_from_log(place, old)
    apply(old, Horizon(RECEIVED_US - DAY_US, RECEIVED_US - DAY_US))
    report = rebuilt(place, new, old, horizon=Horizon(RECEIVED_US - 20 * DAY_US, RECEIVED_US - 20 * DAY_US))
    assert totals(new)["stored"] == 2
    assert any(each.startswith("events:") for each in report.differences)


@pytest.mark.parametrize(
    ("zone", "first", "before", "days"),
    [
        ("UTC", "2026-11-20T23:59:59Z", "2026-11-21T00:00:00Z", 1),
        ("Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T23:00:00Z", 1),
        ("America/New_York", "0001-01-01T00:00:00Z", "2026-11-21T05:00:00Z", 739_576),
    ],
)
def test_days_are_of_the_zone(zone: str, first: str, before: str, days: int) -> None:
    edges = [us_of(dt.datetime.fromisoformat(each)) for each in (first, before)]
    assert days_between(*edges, zone) == days
