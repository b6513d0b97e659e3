"""Seals: what they move, in which order, and what they leave alone. And the traps others fell into."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.blocks import NOON_US, block, event, settle

from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.duckdb import migrate, seal
from headwater.storage.warehouse.duckdb.store import DuckWarehouse

HOUR_US = 3_600_000_000
Open = Callable[..., DuckWarehouse]


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Open]:
    opened: list[DuckWarehouse] = []

    def opening(**settings: Any) -> DuckWarehouse:
        for each in opened:
            each.close()
        warehouse = open_warehouse(f"duckdb://{tmp_path}/w/warehouse.duckdb", **settings)
        assert isinstance(warehouse, DuckWarehouse)
        opened.append(warehouse)
        return warehouse

    yield opening
    for each in opened:
        each.close()


def asked(warehouse: DuckWarehouse, sql: str) -> list[tuple[Any, ...]]:
    with warehouse.state.cursor() as cursor:
        return cursor.execute(sql).fetchall()


def rows_with(count: int, first: int = 1, **columns: Any) -> list[dict[str, Any]]:
    return [event(n, **columns) for n in range(first, first + count)]


def test_nothing_is_sealed_before_it_is_due(opening: Open) -> None:
    warehouse = opening(seal_rows=10, seal_rows_min=5)
    warehouse.load(block(rows_with(9), 9))
    assert not warehouse.maintain()
    warehouse.load(block(rows_with(1, 10), 10, 9))
    assert warehouse.maintain()
    settle(warehouse)
    assert (warehouse.facts()["rows_hot"], warehouse.facts()["rows_sealed"]) == (0, 10)
    assert warehouse.facts()["wal_bytes"] == 0
    assert warehouse.facts()["last_seal_us"] > NOON_US


def test_age_is_counted_from_the_load_also_after_reopening(opening: Open) -> None:
    warehouse = opening(seal_rows=10, seal_rows_min=5, seal_age_seconds=3600.0)
    warehouse.load(block(rows_with(5, received_us=NOON_US - 1000 * HOUR_US), 5))
    assert not warehouse.maintain()
    warehouse = opening(seal_rows=10, seal_rows_min=5, seal_age_seconds=3600.0)
    assert not warehouse.maintain()
    warehouse = opening(seal_rows=10, seal_rows_min=6, seal_age_seconds=0.0)
    assert not warehouse.maintain()
    warehouse = opening(seal_rows=10, seal_rows_min=5, seal_age_seconds=0.0)
    assert warehouse.maintain()
    settle(warehouse)
    assert warehouse.facts()["rows_sealed"] == 5


def fill(warehouse: DuckWarehouse, rows: int, occurred: str, attributes: str = "'{}'") -> None:
    """Hot rows with seqs from 1 by one statement; `occurred` and `attributes` are SQL over `i`, the seq."""
    with warehouse.state.cursor() as cursor:
        cursor.execute(
            "insert into hot by name select i as seq, uuid() as id, true as has_id, 'web' as source, 'x' as type, "
            f"'x' as name, '1' as version, make_timestamp({occurred}) as occurred_at, false as clamped, "
            f"make_timestamp(i) as received_at, ({attributes})::json as attributes from range(1, {rows + 1}) t(i)"
        )
        cursor.execute("insert into positions values ('x'::blob, ?, make_timestamp(1))", [rows])


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [("'{}'", 0), ("case when i % 1000 = 0 then json_object(k || i, i) else '{}' end".replace("k", "'k'"), 244)],
    ids=["all move", "some stay"],
)
def test_the_row_groups_of_a_seal_follow_each_other_in_time(opening: Open, attributes: str, kept: int) -> None:
    """Else one late event in each would make every question about its day read all of them."""
    rows = 2 * seal.ROW_GROUP
    warehouse = opening(seal_rows=rows, seal_rows_min=rows)
    fill(warehouse, rows, f"(i * 7919 % {rows}) // 3", attributes)
    warehouse = opening(seal_rows=rows, seal_rows_min=rows)
    settle(warehouse)
    groups = asked(
        warehouse,
        "select count(*), min(occurred_at), max(occurred_at) from events "
        f"group by rowid // {seal.ROW_GROUP} order by 2",
    )
    assert sum(count for count, _, _ in groups) == rows - warehouse.facts()["rows_hot"]
    assert kept - 48 <= warehouse.facts()["rows_hot"] <= kept
    (_, _, first_ends), (_, second_begins, _) = groups
    assert first_ends <= second_begins
    # Exactly the rows that were there, each once.
    assert asked(warehouse, "select count(distinct seq), min(seq), max(seq) from events_all") == [(rows, 1, rows)]


def test_a_large_seal_takes_whole_row_groups_and_leaves_the_rest_hot(opening: Open) -> None:
    warehouse = opening(seal_rows=seal.ROW_GROUP + 10, seal_rows_min=seal.ROW_GROUP + 10)
    fill(warehouse, seal.ROW_GROUP + 10, "i")
    warehouse = opening(seal_rows=seal.ROW_GROUP + 10, seal_rows_min=seal.ROW_GROUP + 10)
    settle(warehouse)
    facts = warehouse.facts()
    assert (facts["rows_sealed"], facts["rows_hot"], facts["rows_unsealed"]) == (seal.ROW_GROUP, 10, 10)


def test_events_with_keys_of_their_own_don_t_make_a_seal_fail_or_crawl(opening: Open) -> None:
    """A column for each of 40,000 keys needs more than all memory: such rows stay text."""
    rows = 40_000
    warehouse = opening(seal_rows=rows, seal_rows_min=rows, memory_bytes_max=256 << 20)
    wild = [event(n, attributes=f'{{"key-{n}": {n}}}') for n in range(1, rows // 2 + 1)]
    plain = [event(n, attributes=f'{{"n": {n}, "o": {{"x": {n}}}}}') for n in range(rows // 2 + 1, rows + 1)]
    warehouse.load(block(wild + plain, rows))
    settle(warehouse)
    facts = warehouse.facts()
    assert facts["seal_failures"] == 0
    assert facts["rows_sealed"] >= rows // 2
    assert facts["rows_hot"] + facts["rows_sealed"] == rows
    assert facts["rows_unsealed"] == 0
    ((total, xs),) = asked(
        warehouse, "select count(*), sum(try_cast(attributes.o.x as bigint)) from events_all where attributes.o.x > 0"
    )
    assert (total, xs) == (rows // 2, sum(range(rows // 2 + 1, rows + 1)))


def test_rows_that_stay_hot_are_not_looked_at_again(opening: Open) -> None:
    warehouse = opening(seal_rows=4, seal_rows_min=4)
    wide = json.dumps({f"k{n}": n for n in range(1000)})
    warehouse.load(block([*rows_with(2), event(3, attributes=wide), event(4, attributes=wide)], 4))
    settle(warehouse)
    assert (warehouse.facts()["rows_hot"], warehouse.facts()["rows_unsealed"]) == (2, 0)
    warehouse.load(block(rows_with(4, 5), 8, 4))
    settle(warehouse)
    assert (warehouse.facts()["rows_hot"], warehouse.facts()["rows_sealed"]) == (2, 6)
    assert asked(warehouse, "select seq, moved, kept from seals order by seq") == [(4, 2, 2), (8, 4, 0)]


def test_repeats_of_rows_that_stay_hot_are_known(opening: Open) -> None:
    warehouse = opening(seal_rows=2, seal_rows_min=2)
    wide = event(1, attributes=json.dumps({f"k{n}": n for n in range(1000)}))
    warehouse.load(block([wide, event(2)], 2))
    settle(warehouse)
    assert warehouse.load(block([wide | {"seq": 3}], 3, 2)).duplicate == 1


def test_a_key_that_stands_twice_has_one_value_before_and_after_a_seal(opening: Open) -> None:
    warehouse = opening(seal_rows=10, seal_rows_min=5)
    rows = rows_with(10, attributes='{"a":1}')
    rows[3]["attributes"] = '{"a":1,"b":{"c":7},"a":2}'
    warehouse.load(block(rows, 10))
    hot = asked(warehouse, "select (attributes->>'a')::int, attributes->'b'->>'c' from hot order by seq")
    settle(warehouse)
    assert asked(warehouse, "select count(*) from hot") == [(0,)]
    sealed = asked(warehouse, "select attributes.a::int, attributes.b.c::varchar from events order by seq")
    assert hot == sealed
    assert hot[3] == (2, "7")


def test_a_seal_folds_the_ledger_and_changes_no_sum(opening: Open) -> None:
    warehouse = opening(seal_rows=30, seal_rows_min=30)
    for n in range(1, 31):
        warehouse.load(block([event(n)], n, n - 1))
    before = warehouse.ledger(0, 1 << 40, None)
    assert asked(warehouse, "select count(*) from ledger") == [(30,)]
    settle(warehouse)
    after = warehouse.ledger(0, 1 << 40, None)
    assert (after.rows, after.totals) == (before.rows, before.totals)
    assert asked(warehouse, "select count(*) from ledger") == [(1,)]


def test_positions_of_the_last_days_are_whole_and_of_older_ones_the_last_of_each_second_stays(opening: Open) -> None:
    warehouse = opening(seal_rows=2, seal_rows_min=2)
    warehouse.load(block([event(100)], 100))
    with warehouse.state.cursor() as cursor:
        cursor.execute(
            "insert into positions select '\\x00'::blob, i, make_timestamp(i * 300000 + ?) from range(1, 100) t(i)",
            [NOON_US],
        )
        cursor.execute("insert into positions select '\\x00'::blob, i, now()::timestamp from range(101, 111) t(i)")
    warehouse = opening(seal_rows=2, seal_rows_min=2)
    last = max(110, 100)
    warehouse.load(block([event(111)], 111, last, log_id=b"\x00"))
    settle(warehouse)
    seqs = [seq for (seq,) in asked(warehouse, "select seq from positions order by seq")]
    assert seqs[-12:] == list(range(100, 112))
    old = seqs[:-12]
    assert len(old) == 30
    times = [NOON_US + seq * 300_000 for seq in old]
    assert len({us // 1_000_000 for us in times}) == len(times)
    # What a second's loads were is told by the last of them, so no seq seems to be stored before it was.
    for seq in range(1, 100):
        found = next((each for each in seqs if each >= seq), None)
        assert found is not None and 0 <= (found - seq) * 300_000 < 1_000_000


def test_loads_go_on_while_a_seal_is_under_way(opening: Open) -> None:
    warehouse = opening(seal_rows=20_000, seal_rows_min=20_000)
    warehouse.load(block(rows_with(20_000), 20_000))
    assert warehouse.maintain()
    loads = 0
    while warehouse.facts()["sealing"]:
        seq = 20_001 + loads
        again = {name: event(loads + 1)[name] for name in ("id", "created_us")}
        assert warehouse.load(block([event(seq, **again)], seq, seq - 1)).duplicate == 1
        loads += 1
        warehouse.maintain()
    assert loads > 0
    assert warehouse.ledger(0, 1 << 40, None).totals.stored == 20_000
    assert warehouse.facts()["rows_sealed"] == 20_000


def test_closing_undoes_a_seal_and_the_next_opening_does_it(opening: Open) -> None:
    warehouse = opening(seal_rows=20_000, seal_rows_min=20_000)
    warehouse.load(block(rows_with(20_000), 20_000))
    assert warehouse.maintain()
    warehouse = opening(seal_rows=20_000, seal_rows_min=20_000)
    facts = warehouse.facts()
    assert facts["rows_hot"] + facts["rows_sealed"] == 20_000
    settle(warehouse)
    assert warehouse.facts()["rows_sealed"] == 20_000


def test_the_write_ahead_log_is_checkpointed_when_it_is_long(opening: Open) -> None:
    warehouse = opening(wal_bytes_max=20_000)
    warehouse.load(block(rows_with(500), 500))
    assert warehouse.facts()["wal_bytes"] > 20_000
    assert warehouse.maintain()
    assert warehouse.facts()["wal_bytes"] == 0


def test_a_checkpoint_works_beside_an_open_reader(opening: Open) -> None:
    """After an UPDATE it would not: 'other write transactions active', and the log would grow without end."""
    warehouse = opening(seal_rows=10, seal_rows_min=10)
    warehouse.load(block(rows_with(5), 5))
    with warehouse.state.cursor() as reader:
        reader.execute("begin transaction read only")
        assert reader.execute("select count(*) from hot").fetchall() == [(5,)]
        warehouse.load(block(rows_with(5, 6), 10, 5))
        settle(warehouse)
        assert warehouse.facts()["wal_bytes"] == 0
        assert warehouse.facts()["rows_sealed"] == 10
        assert reader.execute("select count(*), (select count(*) from events) from hot").fetchall() == [(5, 0)]


def test_no_sql_of_ours_updates() -> None:
    folder = Path(migrate.__file__).parent
    for file in [*folder.glob("*.py"), *folder.glob("ddl/*.sql")]:
        assert not re.search(r"\bupdate\s+\S+\s+set\b", file.read_text().lower()), file


def test_no_result_is_left_open() -> None:
    """An unread result keeps its snapshot, and with it every checkpoint waits."""
    for file in Path(migrate.__file__).parent.glob("*.py"):
        assert "fetchone" not in file.read_text(), file


def test_a_seal_that_fails_for_memory_is_tried_again_and_loses_nothing(
    opening: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = opening(seal_rows=4, seal_rows_min=4)
    warehouse.load(block(rows_with(4), 4))
    monkeypatch.setattr(seal, "MOVE", "select error('no ' || $begin || $end)")
    warehouse.maintain()
    while warehouse.facts()["sealing"]:
        warehouse.maintain()
    assert warehouse.facts()["seal_failures"] == 1
    assert warehouse.ledger(0, 1 << 40, None).totals.stored == 4
    assert not warehouse.maintain()
    monkeypatch.undo()
    warehouse.state.database.retry_at = 0.0
    settle(warehouse)
    assert (warehouse.facts()["rows_sealed"], warehouse.facts()["seal_failures"]) == (4, 0)


def test_duckdb_is_the_pinned_version() -> None:
    """What was measured and what is relied on: see the module's docstrings."""
    assert duckdb.__version__ == "2.0.0"
