"""What was replayed is replayed again by a rebuild, from the lake as from the log."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.replaying import NOON_US, TO_NUMBER, Yard, purchase, wait_for

from headwater.domain.plans import Chosen
from headwater.process.archive import Archive
from headwater.process.rebuild import Report, rebuild
from headwater.process.supervise import Supervisor
from headwater.storage.lake import open_lake
from headwater.storage.warehouse import open_warehouse


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    yard.close()


def seal(yard: Yard) -> None:
    """All that is in the log is in the lake at return."""
    lake_url = f"file://{yard.folder}/lake"
    seq = yard.writer.durable_seq()
    archive = Archive(yard.writer.reader(), open_lake(lake_url), events_per_seal=50, seconds_per_seal=0.05)
    supervisor = Supervisor(lambda *told: None)
    supervisor.start("lake", archive.run)
    wait_for(lambda: archive.sealed_seq >= seq)
    assert supervisor.stop(60) == []


def rebuilt(yard: Yard) -> Report:
    lake = open_lake(f"file://{yard.folder}/lake", read_only=True)
    new = open_warehouse(f"duckdb://{yard.folder}/new.duckdb")
    try:
        return rebuild(lake, yard.writer.reader, new, old=yard.warehouse)
    finally:
        lake.close()
        new.close()


def random_body(chance: random.Random) -> list[Any]:
    """Few ids, so that some are repeats; prices that are numbers, texts of numbers, and neither."""
    return [
        purchase(
            chance.randrange(60), chance.choice([1, "1", "01", "one", None]), name=chance.choice(["purchase", "other"])
        )
        for _ in range(chance.randrange(1, 6))
    ]


@pytest.mark.parametrize("sealed", ["before", "between", "after", "never"])
def test_a_rebuild_gives_the_same_rows_duplicates_quarantine_and_ledger(yard: Yard, sealed: str) -> None:
    chance = random.Random(sealed)
    if sealed == "before":
        seal(yard)
    for day in range(3):
        yard.sent(*(random_body(chance) for _ in range(20)), at_us=NOON_US + day * 86_400_000_000)
        yard.replay(TO_NUMBER, Chosen(seqs=tuple(row["seq"] for row in yard.quarantined() if chance.random() < 0.7)))
        if sealed == "between" and day == 1:
            seal(yard)
    yard.replay([{"op": "set", "field": "attributes.price", "value": 0}])
    if sealed == "after":
        seal(yard)
    totals = yard.totals()
    assert {"stored", "duplicate"} <= totals.keys() and yard.quarantined(state="replayed")
    if sealed == "never":
        seal_nothing = open_lake(f"file://{yard.folder}/lake")
        seal_nothing.close()
    report = rebuilt(yard)
    assert report.equal, report.sentence()
    assert report.counts["stored"] == totals["stored"]
