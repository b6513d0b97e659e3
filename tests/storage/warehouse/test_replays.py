"""A block of replays: one effect for each quarantined seq, where the original counted, all in one transaction."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.blocks import NOON_US, block, event, refused

from headwater.domain.errors import BadInput
from headwater.domain.plans import Chosen, OpenCount, OpenEvents, OpenSizes, QuarantinePage, ReplayOutcomes
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Block, Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    opened = open_warehouse(f"duckdb://{tmp_path}/warehouse.duckdb")
    yield opened
    opened.close()


def replayed(seq: int, of: int, **columns: Any) -> dict[str, Any]:
    """Received when the original was."""
    return event(seq, replays_seq=of, received_us=NOON_US + of * 1_000_000, **columns)


def replays(rows: list[Any], position: int, after_seq: int, *, quarantine: list[Any] | None = None) -> Block:
    made = block(rows, position, after_seq, quarantine=quarantine or [])
    return msgspec.structs.replace(made, replays=True)


def totals(warehouse: Warehouse) -> tuple[int, int, int]:
    found = warehouse.ledger(0, 1 << 40, None).totals
    return found.stored, found.duplicate, found.quarantined


def still_open(warehouse: Warehouse) -> list[int]:
    return [row[0] for row in warehouse.run(QuarantinePage(limit=100), 10.0).rows]


def test_each_outcome_takes_the_original_out(warehouse: Warehouse) -> None:
    warehouse.load(block([event(1)], 4, quarantine=[refused(2), refused(3), refused(4)]))
    loaded = warehouse.load(
        replays(
            [replayed(5, 2), replayed(6, 3, id=event(1)["id"], created_us=event(1)["created_us"])],
            7,
            4,
            quarantine=[refused(7, replays_seq=4, received_us=NOON_US + 4_000_000, code="LOAD_FAILED")],
        )
    )
    assert (loaded.stored, loaded.duplicate, loaded.quarantined) == (1, 1, 1)
    assert totals(warehouse) == (2, 1, 1)
    assert still_open(warehouse) == [7]
    assert warehouse.facts()["quarantined"] == 1
    assert sorted(warehouse.run(ReplayOutcomes(5, 7), 10.0).rows) == [
        ("duplicate", 1),
        ("quarantined", 1),
        ("stored", 1),
    ]


def test_a_seq_that_is_not_open_has_no_effect(warehouse: Warehouse) -> None:
    warehouse.load(block([event(1)], 2, quarantine=[refused(2)]))
    for rows, position in (
        ([replayed(3, 2), replayed(4, 2), replayed(5, 1), replayed(6, 99)], 6),
        ([replayed(7, 2)], 7),
    ):
        warehouse.load(replays(rows, position, position - len(rows)))
        assert (totals(warehouse), still_open(warehouse)) == ((2, 0, 0), [])
    assert warehouse.facts()["quarantined"] == 0


def test_it_counts_in_the_minute_and_under_the_label_of_the_original(warehouse: Warehouse) -> None:
    warehouse.load(block([], 1, quarantine=[refused(1, source="(unknown)", received_us=NOON_US)]))
    warehouse.load(replays([event(2, source="web", replays_seq=1, received_us=NOON_US)], 2, 1))
    (row,) = warehouse.ledger(0, 1 << 40, None).rows
    assert (row.minute, row.source, row.stored, row.quarantined) == (NOON_US // 60_000_000, "(unknown)", 1, 0)


def test_a_block_that_fails_takes_nothing_out(warehouse: Warehouse) -> None:
    warehouse.load(block([], 1, quarantine=[refused(1)]))
    with pytest.raises(BadInput):
        warehouse.load(replays([replayed(2, 1, attributes="{broken")], 2, 1))
    assert (totals(warehouse), still_open(warehouse)) == ((0, 0, 1), [1])


def test_what_is_open_is_known_again_after_a_new_start(tmp_path: Path) -> None:
    url = f"duckdb://{tmp_path}/warehouse.duckdb"
    warehouse = open_warehouse(url)
    warehouse.load(block([], 3, quarantine=[refused(1), refused(2), refused(3)]))
    warehouse.load(replays([replayed(4, 2)], 4, 3))
    warehouse.close()
    warehouse = open_warehouse(url)
    assert (warehouse.facts()["quarantined"], still_open(warehouse)) == (2, [3, 1])
    warehouse.close()


def test_pages_of_what_is_open_go_up_by_seq_with_their_requests(warehouse: Warehouse) -> None:
    warehouse.load(block([], 6, quarantine=[refused(seq, event="x" * seq) for seq in range(1, 7)]))
    warehouse.load(replays([replayed(7, 3)], 7, 6))
    chosen = Chosen()
    assert warehouse.run(OpenCount(chosen, 5), 10.0).rows == [(4,)]
    assert warehouse.run(OpenSizes(chosen, 1, 6, 3), 10.0).rows == [(2, 2), (4, 4), (5, 5)]
    rows = warehouse.run(OpenEvents(chosen, 2, 5), 10.0).rows
    assert [(row[0], row[5]) for row in rows] == [(2, "xx"), (4, "xxxx"), (5, "xxxxx")]
    assert {(row[7], row[8], row[10]) for row in rows} == {(1, "key", "192.0.2.1")}


@pytest.mark.parametrize("seed", range(5))
def test_any_replays_keep_the_sum_however_they_lie_in_blocks(tmp_path: Path, seed: int) -> None:
    """A rebuild puts other blocks together than the first load did."""
    chance = random.Random(seed)
    rows, bad = [], []
    for seq in range(21, 61):
        of = chance.randrange(1, seq)
        if chance.random() < 0.4:
            bad.append(refused(seq, replays_seq=of, received_us=NOON_US))
        else:
            rows.append(replayed(seq, of, id=event(chance.choice([1, of]))["id"], created_us=NOON_US))
    found = []
    for pieces in (1, 4, 40):
        warehouse = open_warehouse(f"duckdb://{tmp_path}/{pieces}.duckdb")
        warehouse.load(block([event(1), event(2)], 20, quarantine=[refused(seq) for seq in range(3, 21)]))
        for first in range(21, 61, 40 // pieces):
            last = first + 40 // pieces - 1
            part, worse = ([row for row in each if first <= row["seq"] <= last] for each in (rows, bad))
            warehouse.load(replays(part, last, first - 1, quarantine=worse))
            assert sum(totals(warehouse)) == 20
            assert totals(warehouse)[2] == len(still_open(warehouse)) == warehouse.facts()["quarantined"]
        found.append((warehouse.digest(60), totals(warehouse)))
        warehouse.close()
    assert found[0] == found[1] == found[2]
    assert found[0][1][2] < 18
