"""How rows are removed from DuckDB: sealed and hot ones, beside loads and seals, and the space of what is gone."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.blocks import NOON_US, block, event, refused, request, settle

from headwater.domain import plans
from headwater.domain.retention import Horizon
from headwater.process.retention import apply
from headwater.storage.warehouse.duckdb import reclaim, removals
from headwater.storage.warehouse.duckdb.store import DuckWarehouse

DAY_US = 86_400_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def warehouse(path: Path) -> Iterator[DuckWarehouse]:
    warehouse = DuckWarehouse(path, seal_rows=100, seal_rows_min=50)
    yield warehouse
    warehouse.close()


def day(seq: int, days: int, **columns: Any) -> dict[str, Any]:
    """So many days before the others."""
    at = NOON_US - days * DAY_US + seq
    return event(seq, created_us=at, occurred_us=at, received_us=at, **columns)


def stored(warehouse: DuckWarehouse) -> list[int]:
    page = warehouse.run(plans.EventsPage(limit=10_000), 30.0)
    return sorted(row[page.columns.index("seq")] for row in page.rows)


def totals(warehouse: DuckWarehouse) -> tuple[int, ...]:
    row = warehouse.ledger(0, 1 << 40, None).totals
    return row.stored, row.duplicate, row.quarantined, row.removed


def before(days: float) -> Horizon:
    us = int(NOON_US - days * DAY_US)
    return Horizon(us, us)


def test_sealed_and_hot_rows_go_and_the_counters_agree_with_the_tables(warehouse: DuckWarehouse, path: Path) -> None:
    warehouse.load(block([day(seq, seq % 10) for seq in range(1, 401)], 400))
    settle(warehouse)
    warehouse.load(block([day(seq, seq % 10) for seq in range(401, 451)], 450, after_seq=400))
    assert warehouse.facts()["rows_sealed"] > 0 and warehouse.facts()["rows_hot"] >= 50
    apply(warehouse, before(4.5))
    settle(warehouse)
    assert stored(warehouse) == [seq for seq in range(1, 451) if seq % 10 < 5]
    facts = warehouse.facts()
    assert facts["rows_hot"] + facts["rows_sealed"] == 225
    warehouse.close()
    reopened = DuckWarehouse(path)
    after = reopened.facts()
    assert [after[name] for name in ("rows_hot", "rows_sealed")] == [
        facts[name] for name in ("rows_hot", "rows_sealed")
    ]
    assert totals(reopened) == (225, 0, 0, 225)
    reopened.close()


def test_what_belongs_to_removed_events_goes_with_them(warehouse: DuckWarehouse, path: Path) -> None:
    old = NOON_US - 3 * DAY_US
    batches = [request(1, 3, received_us=old), request(4, 6)]
    rows = [day(1, 3), day(2, 3, id=event(1)["id"]) | {"created_us": day(1, 3)["created_us"]}, day(4, 0)]
    refusals = [refused(3, received_us=old), refused(5)]
    warehouse.load(block(rows, 6, quarantine=refusals, batches=batches))
    assert totals(warehouse) == (2, 1, 2, 0)
    apply(warehouse, before(1))
    assert totals(warehouse) == (1, 1, 1, 2)
    assert warehouse.facts()["quarantined"] == 1
    warehouse.close()
    with duckdb.connect(str(path), read_only=True) as con:
        counts = {
            table: con.execute(f"select count(*) from {table}").fetchall()[0][0]
            for table in ("hot", "events", "quarantine", "duplicates", "batches")
        }
    assert counts == {"hot": 1, "events": 0, "quarantine": 1, "duplicates": 0, "batches": 1}


def test_slices_are_bounded_and_the_ledger_holds_after_each(
    warehouse: DuckWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals.remove_slice, "__defaults__", (7,))
    warehouse.load(block([day(seq, 5, source=f"s{seq % 3}") for seq in range(1, 51)], 50))
    warehouse.raise_horizon(before(1))
    sizes = []
    while (step := warehouse.remove_some()) is not None:
        sizes.append(step.rows)
        gone = totals(warehouse)
        assert gone[0] + gone[3] == 50 and gone[0] == len(stored(warehouse))
    assert sizes == [7] * 7 + [1]
    rows = warehouse.ledger(0, 1 << 40, None).rows
    assert sorted((row.source, row.stored, row.removed) for row in rows) == [
        ("s0", 0, 16),
        ("s1", 0, 17),
        ("s2", 0, 17),
    ]


def test_a_quarantined_event_that_was_replayed_is_not_counted_twice(warehouse: DuckWarehouse) -> None:
    old = NOON_US - 3 * DAY_US
    warehouse.load(block([], 2, quarantine=[refused(1, received_us=old), refused(2, received_us=old)]))
    replay = block([day(3, 0, replays_seq=1) | {"received_us": old}], 3, after_seq=2, batches=[])
    warehouse.load(
        type(replay)(**{name: getattr(replay, name) for name in replay.__struct_fields__} | {"replays": True})
    )
    assert totals(warehouse) == (1, 0, 1, 0)
    apply(warehouse, before(1))
    assert totals(warehouse) == (1, 0, 0, 1)
    assert stored(warehouse) == [3]


def test_a_replay_of_an_event_of_a_removed_day_leaves_the_quarantine_as_removed(warehouse: DuckWarehouse) -> None:
    warehouse.load(block([], 1, quarantine=[refused(1)]))
    apply(warehouse, before(1))
    replay = block([day(2, 9, replays_seq=1) | {"received_us": NOON_US}], 2, after_seq=1, batches=[])
    replay = type(replay)(**{name: getattr(replay, name) for name in replay.__struct_fields__} | {"replays": True})
    assert warehouse.load(replay).removed == 1
    assert totals(warehouse) == (0, 0, 0, 1)
    assert warehouse.facts()["quarantined"] == 0


def test_loads_and_seals_go_on_meanwhile(warehouse: DuckWarehouse) -> None:
    stop = threading.Event()
    seq = 0
    while seq < 2000:
        warehouse.load(block([day(seq + n, 5) for n in range(1, 101)], seq + 100, after_seq=seq))
        seq += 100
    settle(warehouse)
    failed: list[BaseException] = []

    def live() -> None:
        nonlocal seq
        try:
            while not stop.is_set():
                warehouse.load(block([day(seq + n, 0) for n in range(1, 51)], seq + 50, after_seq=seq))
                seq += 50
                warehouse.maintain()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=live)
    thread.start()
    warehouse.raise_horizon(before(1))
    while warehouse.remove_some() is not None:
        pass
    stop.set()
    thread.join()
    assert not failed
    settle(warehouse)
    assert totals(warehouse) == (seq - 2000, 0, 0, 2000)
    facts = warehouse.facts()
    assert facts["rows_hot"] + facts["rows_sealed"] == seq - 2000


def test_close_waits_for_a_step_and_a_step_after_it_says_that_it_is_closed(path: Path) -> None:
    warehouse = DuckWarehouse(path)
    warehouse.load(block([day(1, 5)], 1))
    warehouse.raise_horizon(before(1))
    warehouse.close()
    with pytest.raises(Exception, match="is closed"):
        warehouse.remove_some()
    reopened = DuckWarehouse(path)
    assert stored(reopened) == [1]
    assert reopened.removals()[-1].horizon == before(1)
    while reopened.remove_some() is not None:
        pass
    assert totals(reopened) == (0, 0, 0, 1)
    reopened.close()


def filled(path: Path, rows: int) -> DuckWarehouse:
    """Sealed rows with a text of some bytes each, one a second."""
    warehouse = DuckWarehouse(path)
    warehouse.close()
    with duckdb.connect(str(path), config={"checkpoint_threshold": "1TB"}) as con:
        con.execute(
            "insert into events select seq, uuid(), true, 'web', null, 'USER_ACTION', 'view', '1', null, null, t, t, "
            "false, t, null, null, null, null, ('{\"k\":\"' || md5(seq::varchar) || '\"}')::json::variant "
            "from (select seq, timestamp '2025-11-01' + to_seconds(seq) as t from range(1, ?) r(seq))",
            [rows + 1],
        ).fetchall()
        con.execute(
            "insert into ledger select epoch_us(received_at) // 60000000, source, count(*), 0, 0, 0, 0, 0 from events "
            "group by 1, 2"
        ).fetchall()
        con.execute("insert into positions values (?, ?, ?)", [b"L" * 16, rows, "2025-12-01"]).fetchall()
        con.execute("checkpoint").fetchall()
    return DuckWarehouse(path)


def test_removed_rows_make_room_and_reclaiming_gives_it_back_to_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclaim, "FREE_BLOCKS_MIN", 4)
    rows = 6 * 122_880
    warehouse = filled(path, rows)
    first_us = 1_761_955_200_000_000
    us = first_us + rows * 5 // 6 * 1_000_000
    apply(warehouse, Horizon(us, us))
    settle(warehouse)
    space = warehouse.space()
    assert space.free_bytes > 0.25 * space.total_bytes and path.stat().st_size > 0.9 * space.total_bytes
    kept = warehouse.digest(rows)
    for _ in warehouse.reclaim():
        pass
    assert warehouse.digest(rows) == kept
    assert path.stat().st_size < 0.6 * space.total_bytes
    assert warehouse.load(block([event(rows + 1)], rows + 1, after_seq=rows, log_id=b"L" * 16)).stored == 1
    warehouse.close()
    reopened = DuckWarehouse(path)
    assert reopened.digest(rows) == kept
    assert list(reopened.reclaim()) == [], "nothing more is worth it"
    reopened.close()
