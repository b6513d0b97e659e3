"""What every backend of the warehouse promises (storage/warehouse/base.py)."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.blocks import LOG_ID, NOON_US, block, event, refused, request, settle, table

from headwater.domain import plans
from headwater.domain.errors import BadInput, Conflict
from headwater.domain.retention import Horizon
from headwater.storage.log.base import Position
from headwater.storage.warehouse import KNOWN, open_warehouse
from headwater.storage.warehouse.base import LedgerRow, Warehouse

EMBEDDED = {"duckdb"}
NOON_MINUTE = NOON_US // 60_000_000
Open = Callable[..., Warehouse]


@pytest.fixture(params=sorted(KNOWN))
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same warehouse each time; the one before is closed."""
    variable = f"HEADWATER_TEST_WAREHOUSE_{request.param.upper()}"
    url = os.environ.get(variable)
    if request.param in EMBEDDED:
        url = f"{request.param}://{tmp_path}/warehouse/warehouse.db"
    elif url is None:
        pytest.skip(f"set {variable} to a URL")
    opened: list[Warehouse] = []

    def opening(**settings: Any) -> Warehouse:
        if opened:
            opened[-1].close()
        opened.append(open_warehouse(str(url), **settings))
        return opened[-1]

    yield opening
    if opened:
        opened[-1].close()


@pytest.fixture
def warehouse(opening: Open) -> Warehouse:
    return opening()


def stored_seqs(warehouse: Warehouse) -> list[int]:
    page = warehouse.run(plans.EventsPage(limit=1000), 30.0)
    return sorted(row[page.columns.index("seq")] for row in page.rows)


def totals(warehouse: Warehouse) -> dict[str, int]:
    row = warehouse.ledger(0, 1 << 40, None).totals
    return {name: getattr(row, name) for name in ("stored", "duplicate", "quarantined", "suppressed", "lost")}


def test_a_new_warehouse_has_no_position_and_no_rows(warehouse: Warehouse) -> None:
    assert warehouse.position() is None
    assert stored_seqs(warehouse) == []
    assert warehouse.ledger(0, 1 << 40, None).position is None


def test_rows_counts_and_position_are_there_when_load_returns_and_after_reopening(opening: Open) -> None:
    warehouse = opening()
    loaded = warehouse.load(
        block(
            [event(1), event(2), event(3, id=event(1)["id"], created_us=event(1)["created_us"])],
            6,
            quarantine=[refused(4), refused(5, suppressed=True)],
            lost={(NOON_MINUTE, "(unknown)"): 1},
        )
    )
    assert (loaded.stored, loaded.duplicate, loaded.quarantined, loaded.suppressed, loaded.lost) == (2, 1, 1, 1, 1)
    for reopened in (False, True):
        each = opening() if reopened else warehouse
        assert each.position() == Position(LOG_ID, 6)
        assert stored_seqs(each) == [1, 2]
        assert totals(each) == {"stored": 2, "duplicate": 1, "quarantined": 1, "suppressed": 1, "lost": 1}
        assert each.facts()["quarantined"] == 1


def test_an_empty_block_moves_the_position(warehouse: Warehouse) -> None:
    loaded = warehouse.load(block([], 7, batches=[]))
    assert (loaded.stored, loaded.duplicate) == (0, 0)
    assert warehouse.position() == Position(LOG_ID, 7)


def test_a_block_of_refused_events_alone_is_loaded(warehouse: Warehouse) -> None:
    warehouse.load(block([], 2, quarantine=[refused(1), refused(2, id=None, name=None, source="(unknown)")]))
    assert totals(warehouse)["quarantined"] == 2


def test_a_block_of_lost_events_alone_is_counted(warehouse: Warehouse) -> None:
    warehouse.load(block([], 9, batches=[], lost={(5, "web"): 4, (6, "(unknown)"): 5}))
    page = warehouse.ledger(0, 10, None)
    assert list(page.rows) == [LedgerRow(5, "web", lost=4), LedgerRow(6, "(unknown)", lost=5)]


def test_a_block_that_does_not_follow_is_refused_and_changes_nothing(warehouse: Warehouse) -> None:
    warehouse.load(block([event(1)], 1))
    for after in (0, 2):
        with pytest.raises(Conflict) as caught:
            warehouse.load(block([event(3)], 3, after_seq=after))
        assert caught.value.code == "POSITION_CONFLICT"
    assert totals(warehouse)["stored"] == 1


def test_a_block_that_comes_again_does_nothing(warehouse: Warehouse) -> None:
    first = block([event(1), event(2, has_id=False)], 2)
    warehouse.load(first)
    again = warehouse.load(first)
    assert (again.stored, again.duplicate) == (0, 0)
    assert totals(warehouse) == {"stored": 2, "duplicate": 0, "quarantined": 0, "suppressed": 0, "lost": 0}


def test_another_log_goes_on_above_the_stored_seqs(warehouse: Warehouse) -> None:
    warehouse.load(block([event(1)], 1))
    warehouse.load(block([event(5)], 5, after_seq=1, log_id=b"x" * 16))
    assert warehouse.position() == Position(b"x" * 16, 5)


@pytest.mark.parametrize(
    "broken",
    [{"id": "not-a-uuid"}, {"attributes": '{"a":'}, {"attributes": '{"a": "\\ud800"}'}, {"name": None}],
    ids=["id", "cut", "surrogate", "no name"],
)
def test_data_that_can_t_be_stored_is_bad_input_and_changes_nothing(
    warehouse: Warehouse, broken: dict[str, Any]
) -> None:
    bad = block([event(1), event(2, **broken)], 2)
    with pytest.raises(BadInput) as caught:
        warehouse.load(bad)
    assert caught.value.code == "LOAD_FAILED"
    assert warehouse.position() is None
    warehouse.load(block([event(1)], 2))
    assert stored_seqs(warehouse) == [1]


def test_check_finds_what_load_would_refuse_and_keeps_nothing(warehouse: Warehouse) -> None:
    warehouse.check(block([event(50)], 50, after_seq=40))
    with pytest.raises(BadInput):
        warehouse.check(block([event(50, id="x")], 50, after_seq=40))
    assert warehouse.position() is None
    assert stored_seqs(warehouse) == []


def test_a_repeat_is_known_by_source_id_and_timestamp_however_late(opening: Open) -> None:
    warehouse = opening(seal_rows=2, seal_rows_min=2)
    warehouse.load(block([event(1), event(2)], 2))
    settle(warehouse)
    again = {name: event(1)[name] for name in ("id", "created_us")}
    day_us = 86_400_000_000
    warehouse.load(
        block(
            [
                event(3, **again),
                event(4, **again | {"created_us": again["created_us"] + 1}),
                event(5, **again | {"source": "app", "source_label": "app"}),
                event(6, **again | {"created_us": None}),
                event(
                    7, id=event(2)["id"].upper(), created_us=event(2)["created_us"], received_us=NOON_US + 90 * day_us
                ),
            ],
            7,
            after_seq=2,
        )
    )
    assert stored_seqs(warehouse) == [1, 2, 4, 5, 6]
    assert totals(warehouse)["duplicate"] == 2


def test_without_a_timestamp_a_repeat_is_known_among_those_without(warehouse: Warehouse) -> None:
    same = {"id": event(1)["id"], "created_us": None}
    warehouse.load(block([event(1, **same), event(2, **same)], 2))
    warehouse.load(block([event(3, **same), event(4, id=event(1)["id"])], 4, after_seq=2))
    assert stored_seqs(warehouse) == [1, 4]
    assert totals(warehouse)["duplicate"] == 2


def test_an_event_without_an_id_of_its_own_is_never_a_repeat(warehouse: Warehouse) -> None:
    same = {"id": event(1)["id"], "created_us": NOON_US, "has_id": False}
    warehouse.load(block([event(1, **same), event(2, **same)], 2))
    warehouse.load(block([event(3, **same), event(4, **same | {"has_id": True})], 4, after_seq=2))
    assert stored_seqs(warehouse) == [1, 2, 3, 4]


def test_inside_a_block_the_lowest_seq_stays(warehouse: Warehouse) -> None:
    same = {"id": event(1)["id"], "created_us": NOON_US}
    warehouse.load(block([event(n, **same) for n in range(1, 50)], 49))
    assert stored_seqs(warehouse) == [1]


def test_the_ledger_counts_by_minute_of_receipt_and_label(warehouse: Warehouse) -> None:
    warehouse.load(
        block(
            [event(1), event(70), event(71, source="app", source_label="(other)")],
            72,
            quarantine=[refused(72, source="(unknown)", source_label="(unknown)")],
        )
    )
    page = warehouse.ledger(NOON_MINUTE, NOON_MINUTE + 2, None)
    assert list(page.rows) == [
        LedgerRow(NOON_MINUTE, "web", stored=1),
        LedgerRow(NOON_MINUTE + 1, "(other)", stored=1),
        LedgerRow(NOON_MINUTE + 1, "(unknown)", quarantined=1),
        LedgerRow(NOON_MINUTE + 1, "web", stored=1),
    ]
    assert page.position == Position(LOG_ID, 72)
    assert [row.source for row in warehouse.ledger(NOON_MINUTE, NOON_MINUTE + 1, None).rows] == ["web"]
    assert [row.minute for row in warehouse.ledger(0, 1 << 40, "(other)").rows] == [NOON_MINUTE + 1]
    assert page.totals == LedgerRow(0, "", stored=3, quarantined=1)


def test_receipts_tell_where_an_event_is(warehouse: Warehouse) -> None:
    first = event(1)
    repeat = {"id": first["id"], "created_us": first["created_us"]}
    loaded = warehouse.load(
        block(
            [first, event(2, **repeat), event(3, **repeat)],
            6,
            quarantine=[refused(4), refused(5, source="app", id=first["id"]), refused(6, suppressed=True)],
            batches=[request(1, 3), request(4, 6)],
        )
    )
    app, web = warehouse.receipts(first["id"], None)
    assert (web.state, web.seq, web.duplicates, web.source) == ("stored", 1, 2, "web")
    assert (web.stored_us, web.received_us, web.batch_id) == (
        loaded.committed_us,
        first["received_us"],
        request(1, 3)["batch_id"],
    )
    assert (app.state, app.seq, app.reason, app.stored_us) == ("quarantined", 5, "TYPE_MISMATCH", None)
    assert app.batch_id == request(4, 6)["batch_id"]
    assert [each.source for each in warehouse.receipts(first["id"], "app")] == ["app"]
    assert warehouse.receipts(refused(6)["id"], None) == []


def test_a_receipt_for_what_is_no_uuid_is_bad_input(warehouse: Warehouse) -> None:
    with pytest.raises(BadInput, match="expected a UUID, got 'x'"):
        warehouse.receipts("x", None)


def test_a_receipt_keeps_its_facts_through_a_seal(opening: Open) -> None:
    warehouse = opening(seal_rows=2, seal_rows_min=2)
    warehouse.load(block([event(1), event(2)], 2))
    before = warehouse.receipts(event(1)["id"], None)
    settle(warehouse)
    assert warehouse.facts()["rows_hot"] == 0
    assert warehouse.receipts(event(1)["id"], None) == before


def test_an_answer_tells_the_position_and_time_of_its_snapshot(warehouse: Warehouse) -> None:
    warehouse.load(block([event(1)], 1))
    loaded = warehouse.load(block([event(2)], 3, after_seq=1))
    answer = warehouse.run(plans.EventsPage(limit=1), 30.0)
    assert (answer.seq, answer.stored_us) == (3, loaded.committed_us)
    assert answer.rows_read == 2


class Switch:
    """A Cancel that interrupts as soon as it can."""

    def __init__(self) -> None:
        self.bound: list[Any] = []

    def bind(self, interrupt: Any) -> None:
        self.bound.append(interrupt)
        if interrupt is not None:
            interrupt()


def test_a_cancelled_query_says_so_and_the_next_one_works(opening: Open) -> None:
    warehouse = filled(opening, 20_000)
    switch = Switch()
    with pytest.raises(BadInput) as caught:
        warehouse.run(slow_plan(), 30.0, switch)
    assert caught.value.code == "QUERY_CANCELLED"
    assert switch.bound[-1] is None
    assert warehouse.run(plans.EventsPage(limit=1), 30.0).seq == 20_000


def test_a_query_over_its_time_says_so(opening: Open) -> None:
    warehouse = filled(opening, 20_000)
    with pytest.raises(BadInput) as caught:
        warehouse.run(slow_plan(), 0.001)
    assert (caught.value.code, caught.value.limit) == ("QUERY_TIMEOUT", 0.001)


def filled(opening: Open, rows: int) -> Warehouse:
    warehouse = opening()
    warehouse.load(block([event(n, attributes=f'{{"n": {n}, "s": "{n}"}}') for n in range(1, rows + 1)], rows))
    return warehouse


def slow_plan() -> plans.Plan:
    return plans.EventsPage(limit=20_000)


def test_a_refused_event_that_comes_again_in_the_same_words_is_a_duplicate(opening: Open) -> None:
    warehouse = opening()
    first = refused(1)
    own = {name: first[name] for name in ("id", "source", "event")}
    nameless = refused(2, id=None, name=None, source="(unknown)")
    loaded = warehouse.load(block([event(3)], 4, quarantine=[first, nameless, {**refused(4), **own}]))
    assert (loaded.stored, loaded.quarantined, loaded.duplicate) == (1, 2, 1)
    again = [
        {**refused(5), **own, "source_label": "(other)"},
        {**refused(6), **own, "event": "other words"},
        {**refused(7), **own, "source": "app"},
        {**nameless, "seq": 8},
        {**refused(9), **own, "suppressed": True},
        {**refused(10), **own},
    ]
    loaded = warehouse.load(
        block([event(11, id=event(3)["id"], created_us=event(3)["created_us"])], 11, 4, quarantine=again)
    )
    assert (loaded.quarantined, loaded.duplicate, loaded.suppressed) == (3, 3, 1)
    assert warehouse.facts()["quarantined"] == 5
    assert totals(warehouse) == {"stored": 1, "duplicate": 4, "quarantined": 5, "suppressed": 1, "lost": 0}
    rows = warehouse.ledger(0, 1 << 40, "(other)").rows
    assert [(row.duplicate, row.quarantined) for row in rows] == [(1, 0)]
    (receipt,) = warehouse.receipts(first["id"], first["source"])
    assert (receipt.state, receipt.seq, receipt.reason, receipt.duplicates) == ("quarantined", 1, first["code"], 3)


def test_the_digest_does_not_depend_on_how_rows_are_kept(opening: Open) -> None:
    warehouse = opening(seal_rows=3, seal_rows_min=3)
    attributes = ['{"b": 1, "a": {"z": [1, 2.5], "y": null}}', '{"a": 1.0, "A": "x"}', "{}"]
    rows = [event(n + 1, attributes=text) for n, text in enumerate(attributes)]
    rows.append(event(4, id=rows[0]["id"], created_us=rows[0]["created_us"]))
    warehouse.load(block(rows, 5, quarantine=[refused(5)]))
    hot = warehouse.digest(5)
    assert {name: count for name, (count, _) in hot.items()} == {
        "events": 3,
        "duplicates": 1,
        "quarantine": 1,
        "replayed": 0,
    }
    settle(warehouse)
    assert warehouse.facts()["rows_hot"] == 0
    assert warehouse.digest(5) == hot
    assert warehouse.digest(2)["events"][0] == 2
    warehouse.load(block([event(6)], 6, after_seq=5))
    assert warehouse.digest(5) == hot
    assert warehouse.digest(6)["events"] != hot["events"]


def test_readers_see_whole_loads_while_the_writer_works(opening: Open) -> None:
    warehouse = opening(seal_rows=60, seal_rows_min=60)
    failures: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            page = warehouse.ledger(0, 1 << 40, None)
            seq = page.position.seq if page.position else 0
            if page.totals.stored != seq or sum(row.stored for row in page.rows) != seq:
                failures.append(f"{page.totals.stored} stored at {seq}")
            answer = warehouse.run(plans.EventsPage(limit=1000), 30.0)
            if len(answer.rows) != answer.seq:
                failures.append(f"{len(answer.rows)} rows at {answer.seq}")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for first in range(1, 400, 10):
        warehouse.load(block([event(n) for n in range(first, first + 10)], first + 9, after_seq=first - 1))
        warehouse.maintain()
    settle(warehouse)
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert warehouse.facts()["rows_sealed"] > 0


def test_tables_of_another_kind_than_arrow_s_own_are_taken(warehouse: Warehouse) -> None:
    """Whatever speaks the Arrow C stream protocol, read once."""
    made = block([event(1)], 1)
    stream = made.events.to_reader()
    warehouse.load(type(made)(made.position, made.after_seq, stream, made.quarantine, made.batches, {}))
    assert stored_seqs(warehouse) == [1]
    assert table([], {"x": "int64"}).num_rows == 0


DAY_US = 86_400_000_000


def old(seq: int, days: int = 3, **columns: Any) -> dict[str, Any]:
    at = NOON_US - days * DAY_US + seq
    return event(seq, **({"created_us": at, "occurred_us": at, "received_us": at} | columns))


def removed_all(warehouse: Warehouse, horizon: Horizon) -> dict[str, int]:
    """What all steps together took away."""
    warehouse.raise_horizon(horizon)
    counts = {"events": 0, "quarantined": 0, "rows": 0}
    while (step := warehouse.remove_some()) is not None:
        for name in counts:
            counts[name] += getattr(step, name)
    return counts


def yesterday() -> Horizon:
    return Horizon(NOON_US - DAY_US, NOON_US - DAY_US)


def test_a_removal_takes_what_its_dry_run_told_and_counts_it_where_it_was_stored(opening: Open) -> None:
    warehouse = opening()
    refusals = [refused(4, received_us=NOON_US - 3 * DAY_US), refused(5)]
    warehouse.load(block([old(1), event(2), old(3, source="app")], 6, quarantine=refusals))
    told = warehouse.removable(yesterday())
    assert (told.events, told.quarantined, told.first_us) == (2, 1, NOON_US - 3 * DAY_US + 1)
    assert stored_seqs(warehouse) == [1, 2, 3], "a dry run changes nothing"
    assert removed_all(warehouse, yesterday()) == {"events": 2, "quarantined": 1, "rows": told.rows}
    for reopened in (False, True):
        each = opening() if reopened else warehouse
        assert stored_seqs(each) == [2]
        rows = {
            (row.minute, row.source): (row.stored, row.quarantined, row.removed)
            for row in each.ledger(0, 1 << 40, None).rows
        }
        minute = (NOON_US - 3 * DAY_US) // 60_000_000
        assert rows == {(minute, "web"): (0, 0, 2), (minute, "app"): (0, 0, 1), (NOON_MINUTE, "web"): (1, 1, 0)}
        assert each.removable(yesterday()).rows == 0
        assert each.remove_some() is None


def test_from_the_horizon_on_late_events_and_repeats_of_removed_ones_are_removed(opening: Open) -> None:
    warehouse = opening()
    warehouse.load(block([old(1), event(2)], 2))
    removed_all(warehouse, yesterday())
    again = old(3, id=old(1)["id"], created_us=old(1)["created_us"], occurred_us=old(1)["occurred_us"])
    for after in (2, 5):
        loaded = warehouse.load(
            block([again | {"seq": after + 1}, old(after + 2, days=9), event(after + 3)], after + 3, after_seq=after)
        )
        assert (loaded.stored, loaded.duplicate, loaded.removed) == (1, 0, 2)
        warehouse = opening()
    assert stored_seqs(warehouse) == [2, 5, 8]
    row = warehouse.ledger(0, 1 << 40, None).totals
    assert (row.stored, row.removed) == (3, 5)


def test_an_event_without_a_timestamp_is_known_again_after_its_removal(warehouse: Warehouse) -> None:
    warehouse.load(block([old(1, created_us=None)], 1))
    removed_all(warehouse, yesterday())
    loaded = warehouse.load(block([event(2, id=old(1)["id"], created_us=None)], 2, after_seq=1))
    assert (loaded.stored, loaded.duplicate) == (0, 1)


def test_a_horizon_never_goes_back_and_its_history_is_kept(opening: Open) -> None:
    warehouse = opening()
    warehouse.load(block([event(1)], 1))
    assert warehouse.removals() == []
    assert warehouse.raise_horizon(yesterday()) == yesterday()
    assert warehouse.raise_horizon(Horizon()) == yesterday()
    later = Horizon(NOON_US, 0)
    warehouse.load(block([event(2)], 2, after_seq=1))
    assert warehouse.raise_horizon(later) == Horizon(NOON_US, yesterday().quarantine_before_us)
    for reopened in (False, True):
        each = opening() if reopened else warehouse
        assert [removal.seq for removal in each.removals()] == [1, 2]
        assert each.removals()[-1].horizon == Horizon(NOON_US, yesterday().quarantine_before_us)


def test_everything_can_be_removed(warehouse: Warehouse) -> None:
    warehouse.load(block([event(seq) for seq in range(1, 200)], 200, quarantine=[refused(200)]))
    removed_all(warehouse, Horizon(NOON_US + DAY_US, NOON_US + DAY_US))
    settle(warehouse)
    assert stored_seqs(warehouse) == []
    row = warehouse.ledger(0, 1 << 40, None).totals
    assert (row.stored, row.quarantined, row.removed) == (0, 0, 200)
    assert warehouse.load(block([event(201, occurred_us=NOON_US + DAY_US)], 201, after_seq=200)).stored == 1


def test_reclaiming_changes_no_row(warehouse: Warehouse) -> None:
    warehouse.load(block([event(seq) for seq in range(1, 200)], 200))
    kept = warehouse.digest(200)
    for space in warehouse.reclaim():
        assert space.total_bytes >= space.used_bytes
    assert warehouse.digest(200) == kept
    assert warehouse.space().total_bytes >= warehouse.space().free_bytes >= 0
