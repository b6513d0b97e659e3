"""Events leave the quarantine once, whoever replays them how often, and count where they counted."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.replaying import NOON_US, PRICES, SENDERS, TO_NUMBER, MadeJob, Yard, purchase, wait_for

from headwater.collect.rejudge import Quarantined, Ready, batch_of
from headwater.domain.batches import encode_batch
from headwater.domain.errors import Unavailable
from headwater.domain.events import minute_of
from headwater.domain.plans import Chosen
from headwater.domain.schemas import rules_from
from headwater.storage.log.base import Entry, Kind

MINUTE_US = 60_000_000


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    yard.close()


def test_a_patched_event_is_stored_with_the_time_and_in_the_minute_it_came(yard: Yard) -> None:
    yard.sent([purchase(1, "12.50"), purchase(2, 3)])
    yard.sent([purchase(3, 5)], at_us=NOON_US + 10 * MINUTE_US)
    assert yard.totals() == {"received": 3, "stored": 2, "quarantined": 1}
    result = yard.replay(TO_NUMBER)
    assert result == {
        "selected": 1,
        "replayed": 1,
        "stored": 1,
        "duplicate": 0,
        "removed": 0,
        "quarantined": 0,
        "unchanged": 0,
        "stillBad": [],
    }
    assert yard.totals() == {"received": 3, "stored": 3}
    rows = {(row.minute, row.source): row.stored for row in yard.ledger().rows}
    assert rows == {(minute_of(NOON_US), "site"): 2, (minute_of(NOON_US) + 10, "site"): 1}
    one = next(row for row in yard.stored() if row["replays_seq"])
    assert (one["replays_seq"], one["attributes"], one["received_us"]) == (1, '{"price":12.5,"n":1}', NOON_US)
    assert one["occurred_us"] == one["created_us"] == NOON_US - MINUTE_US
    assert (one["source_ip"], one["user_agent"]) == ("192.0.2.1", "test")
    assert yard.quarantined() == [] and yard.warehouse.facts()["quarantined"] == 0
    (was,) = yard.quarantined(state="replayed")
    assert (was["seq"], was["outcome"], was["by_seq"]) == (1, "stored", one["seq"])


def test_the_dry_run_says_what_the_replay_then_does(yard: Yard) -> None:
    yard.sent([purchase(1, "1"), purchase(2, "two"), purchase(3, None), purchase(4, "4"), b"{broken"])
    dry = yard.dry(TO_NUMBER)
    assert (dry["selected"], dry["wouldStore"], dry["complete"]) == (5, 2, True)
    still_bad = {each["code"]: (each["count"], each["example"]["seq"]) for each in dry["stillBad"]}
    assert still_bad == {"PATCH_FAILED": (2, 2), "MALFORMED_JSON": (1, 5)}
    assert "cast attributes.price: 'two' is no number" in dry["stillBad"][0]["example"]["detail"]
    assert "no patch can help" in dry["stillBad"][1]["example"]["detail"]
    assert yard.totals() == {"received": 5, "quarantined": 5}
    done = yard.replay(TO_NUMBER)
    assert (done["stored"], done["stillBad"]) == (dry["wouldStore"], dry["stillBad"])
    assert yard.totals() == {"received": 5, "stored": 2, "quarantined": 3}
    assert [row["seq"] for row in yard.quarantined()] == [5, 3, 2]


def test_what_the_patch_does_not_mend_stays_as_it_came(yard: Yard) -> None:
    yard.sent([purchase(1, "12.50")])
    before = yard.quarantined()
    for patch, code in (
        ([{"op": "drop", "field": "attributes.price"}], "SCHEMA_MISSING_FIELD"),
        ([{"op": "cast", "field": "attributes.pirce", "type": "number"}], "TYPE_MISMATCH"),
        ([{"op": "set", "field": "attributes.price", "value": [1]}], "TYPE_MISMATCH"),
    ):
        result = yard.replay(patch)
        assert (result["replayed"], [each["code"] for each in result["stillBad"]]) == (0, [code])
    assert yard.replay([{"op": "cast", "field": "attributes.pirce", "type": "number"}])["unchanged"] == 1
    assert yard.quarantined() == before
    assert yard.totals() == {"received": 1, "quarantined": 1}


def test_a_repeat_of_what_is_stored_by_now_becomes_a_duplicate(yard: Yard) -> None:
    yard.sent([purchase(1, "12.50")], [purchase(1, 12.5)], [purchase(1, "12.5")])
    assert yard.totals() == {"received": 3, "stored": 1, "quarantined": 2}
    result = yard.replay(TO_NUMBER)
    assert (result["stored"], result["duplicate"]) == (0, 2)
    assert yard.totals() == {"received": 3, "stored": 1, "duplicate": 2}
    (receipt,) = yard.warehouse.receipts(purchase(1, 0)["id"], None)
    assert (receipt.state, receipt.seq, receipt.duplicates, receipt.before) == ("stored", 2, 2, [])


def test_of_several_quarantined_repeats_one_is_stored(yard: Yard) -> None:
    yard.sent([purchase(1, "1")], [purchase(1, "1.0"), purchase(1, "1.00")])
    assert yard.replay(TO_NUMBER)["duplicate"] == 2
    assert yard.totals() == {"received": 3, "stored": 1, "duplicate": 2}


def test_repeats_that_lost_their_time_are_still_one_event(yard: Yard) -> None:
    broken = purchase(1, 1, timestamp="yesterday")
    yard.sent([broken])
    yard.sent([broken | {"timestamp": "the day before"}], at_us=NOON_US + 5 * MINUTE_US)
    result = yard.replay([{"op": "addTime"}])
    assert (result["stored"], result["duplicate"]) == (1, 1)
    (row,) = yard.stored()
    assert (row["created_us"], row["occurred_us"]) == (None, NOON_US)


def test_the_same_text_sent_again_after_its_replay_is_a_repeat(yard: Yard) -> None:
    yard.sent([purchase(1, "1")])
    yard.replay(TO_NUMBER)
    yard.sent([purchase(1, "1")])
    assert yard.totals() == {"received": 2, "stored": 1, "duplicate": 1}
    assert yard.quarantined() == []


def test_the_receipt_of_a_replayed_event_tells_its_history(yard: Yard) -> None:
    batch = yard.send([purchase(1, "12.50")])
    yard.settle()
    yard.replay(TO_NUMBER)
    (receipt,) = yard.warehouse.receipts(purchase(1, 0)["id"], None)
    assert (receipt.state, receipt.reason, receipt.received_us) == ("stored", None, NOON_US)
    assert receipt.batch_id is not None and receipt.batch_id.replace("-", "") == batch.batch_id.hex()
    assert [(each.seq, each.reason) for each in receipt.before] == [(1, "TYPE_MISMATCH")]


def test_events_keep_the_id_and_source_that_their_request_gave_them(yard: Yard) -> None:
    nameless = {"name": "purchase", "data": {"attributes": {"price": "1"}}}
    yard.sent([nameless, {**nameless, "id": "no-uuid"}, {**nameless, "source": "app"}, {**nameless, "source": 5}])
    ids = {row["seq"]: row["id"] for row in yard.quarantined()}
    patch = [*TO_NUMBER, {"op": "drop", "field": "id"}]
    assert yard.replay(patch)["stored"] == 3
    stored = {row["replays_seq"]: (row["id"], row["source"]) for row in yard.stored()}
    assert stored == {1: (ids[1], "site"), 2: (ids[2], "site"), 3: (ids[3], "app")}
    yard.replay([*TO_NUMBER, {"op": "drop", "field": "source"}])
    row = next(row for row in yard.stored() if row["replays_seq"] == 4)
    assert (row["id"], row["source"]) == (ids[4], "site")
    # It was received under (unknown), and is stored under it: both columns of one row.
    rows = {row.source: (row.received, row.stored) for row in yard.ledger().rows}
    assert rows == {"site": (2, 2), "app": (1, 1), "(unknown)": (1, 1)}


def test_the_clock_of_the_client_is_corrected_as_when_it_came(yard: Yard) -> None:
    hour_us = 60 * MINUTE_US
    yard.sent([purchase(1, "1", timestamp="2026-11-24T12:59:00Z")], sent_us=NOON_US + hour_us)
    yard.replay(TO_NUMBER)
    (row,) = yard.stored()
    assert row["occurred_us"] == NOON_US - MINUTE_US


def test_a_public_key_is_judged_as_one(yard: Yard) -> None:
    yard.sent(
        [
            purchase(1, "1", source="other"),
            purchase(2, "1", source="shop"),
            purchase(3, 1, timestamp="2026-01-01T00:00:00Z"),
        ],
        key="page",
    )
    result = yard.replay(TO_NUMBER)
    assert result["stored"] == 1
    assert {each["code"] for each in result["stillBad"]} == {"SOURCE_NOT_ALLOWED", "TIME_TOO_OLD"}
    assert yard.replay([*TO_NUMBER, {"op": "set", "field": "source", "value": "web"}])["stored"] == 1


@pytest.mark.parametrize(
    ("chosen", "seqs"),
    [
        (Chosen(), [1, 2, 3, 4]),
        (Chosen(codes=("TYPE_MISMATCH",)), [1, 2]),
        (Chosen(codes=("TYPE_MISMATCH", "MALFORMED_JSON")), [1, 2, 3]),
        (Chosen(sources=("app",)), [2]),
        (Chosen(names=(None,)), [3]),
        (Chosen(names=("purchase",)), [1, 2, 4]),
        (Chosen(seqs=(2, 4, 9)), [2, 4]),
        (Chosen(ids=(purchase(4, 0)["id"],)), [4]),
        (Chosen(steps=("load",)), []),
        (Chosen(start_us=NOON_US + 1), [4]),
        (Chosen(end_us=NOON_US + 1, codes=("INVALID_TIMESTAMP",)), []),
    ],
)
def test_a_filter_chooses(yard: Yard, chosen: Chosen, seqs: list[int]) -> None:
    yard.sent([purchase(1, "1"), purchase(2, "1", source="app"), b"{broken"])
    yard.sent([purchase(4, 1, timestamp="never")], at_us=NOON_US + MINUTE_US)
    dry = yard.dry([{"op": "set", "field": "name", "value": "x"}, {"op": "addTime"}], chosen)
    assert dry["selected"] == dry["judged"] == len(seqs)
    assert dry["wouldStore"] == len(seqs) - (3 in seqs)


def test_a_schema_that_changes_in_the_middle_holds_from_the_next_page_on(yard: Yard) -> None:
    yard.replays = yard.make_replays(page_events=10)
    yard.sent(*([purchase(k, "1")] for k in range(30)))
    job = yard.job(TO_NUMBER)

    def declare_texts() -> None:
        if yard.rules.revision == 1 and len(yard.stored()) >= 10:
            yard.declare(jsonSchema={"type": "object", "properties": {"price": {"type": "string"}}})

    job.on_check = lambda: (yard.settle(), declare_texts())
    result = yard.replays.run(job)
    assert (result["stored"], [each["count"] for each in result["stillBad"]]) == (10, [20])
    assert yard.totals() == {"received": 30, "stored": 10, "quarantined": 20}
    assert yard.replay()["stored"] == 20


def test_a_schema_that_was_loosened_lets_them_pass_without_a_patch(yard: Yard) -> None:
    yard.sent([purchase(1, "1")])
    yard.rules = rules_from([{**PRICES, "mode": "off"}], "allow", 2)
    result = yard.replay()
    assert (result["stored"], result["unchanged"]) == (1, 1)


def test_two_who_replay_the_same_group_have_each_event_once(yard: Yard) -> None:
    yard.replays = yard.make_replays(page_events=50)
    yard.sent(*([purchase(k, "1") for k in range(at, at + 5)] for at in range(0, 1000, 5)))
    results: list[Any] = []
    jobs = [yard.job(TO_NUMBER) for _ in range(2)]
    threads = [threading.Thread(target=lambda job=job: results.append(yard.replays.run(job))) for job in jobs]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(results) == 2
    assert yard.totals() == {"received": 1000, "stored": 1000}
    assert len({row["id"] for row in yard.stored()}) == 1000


def test_the_same_page_appended_twice_has_one_effect(yard: Yard) -> None:
    yard.replays = yard.make_replays(page_events=10)
    yard.sent([purchase(k, "1") for k in range(40)])
    first = yard.job(TO_NUMBER)

    def cut_after_two_pages() -> None:
        yard.settle()
        first.checks_max = 0 if len(yard.stored()) >= 20 else None

    first.on_check = cut_after_two_pages
    yard.until_cut_off(first)
    before = yard.totals()
    assert 0 < before["stored"] < 40
    again = MadeJob(first.args)
    again.checkpoint = first.checkpoint
    result = yard.replays.run(again)
    assert (result["selected"], result["stored"]) == (40, 40)
    assert yard.totals() == {"received": 40, "stored": 40}


def test_what_is_still_in_the_log_is_not_counted_twice_when_it_is_replayed_again(yard: Yard) -> None:
    """The warehouse stands still while a replay is appended twice."""
    yard.sent([purchase(k, "1") for k in range(10)])
    yard.stop_stream()
    job = yard.job(TO_NUMBER)

    def appended() -> bool:
        return yard.writer.durable_seq() >= 20

    cut = threading.Thread(target=yard.until_cut_off, args=(job,))
    cut.start()
    wait_for(appended)
    job.checks_max = 0
    cut.join()
    yard.start_stream()
    assert yard.replay(TO_NUMBER)["selected"] in (0, 10)
    assert yard.totals() == {"received": 10, "stored": 10}


def test_the_ledger_balances_at_every_instant_of_a_replay(yard: Yard) -> None:
    yard.replays = yard.make_replays(page_events=20)
    yard.sent(*([purchase(k, "1"), purchase(k, 1)] for k in range(200)))
    over = threading.Event()
    seen: set[tuple[int, ...]] = set()

    def look() -> None:
        while not over.is_set():
            totals = yard.ledger().totals
            assert totals.balanced, totals
            seen.add((totals.stored, totals.duplicate, totals.quarantined))

    looking = threading.Thread(target=look)
    looking.start()
    live = threading.Thread(target=lambda: [yard.send([purchase(1000 + k, 1)]) for k in range(200)])
    live.start()
    result = yard.replay(TO_NUMBER)
    live.join()
    yard.settle()
    over.set()
    looking.join()
    assert result["duplicate"] == 200
    assert len(seen) > 3
    assert yard.totals() == {"received": 600, "stored": 400, "duplicate": 200}


def test_a_suppressed_event_is_in_no_quarantine_and_can_not_be_replayed(yard: Yard) -> None:
    yard.send([purchase(1, "1"), purchase(2, "1")], suppressed=[1])
    yard.settle()
    assert yard.replay(TO_NUMBER)["selected"] == 1
    assert yard.totals() == {"received": 2, "stored": 1, "suppressed": 1}


def test_live_events_go_first(yard: Yard) -> None:
    yard.sent([purchase(k, "1") for k in range(10)])
    lag = [10**6]
    yard.replays = yard.make_replays()
    yard.replays._lag = lambda: lag[0]
    job = yard.job(TO_NUMBER)
    checks: list[int] = []

    def on_check() -> None:
        checks.append(len(yard.stored()))
        if len(checks) > 5:
            lag[0] = 0

    job.on_check = on_check
    yard.replays.run(job)
    assert checks[:5] == [0] * 5
    assert len(yard.stored()) == 10


def test_a_full_disk_stops_it_with_nothing_lost(yard: Yard) -> None:
    yard.sent([purchase(k, "1") for k in range(10)])
    full: list[Unavailable | None] = [Unavailable("no room", code="DISK_FULL")]
    yard.replays = yard.make_replays(refusing=lambda: full[0])
    with pytest.raises(Unavailable) as caught:
        yard.replay(TO_NUMBER)
    assert caught.value.code == "DISK_FULL"
    assert yard.totals() == {"received": 10, "quarantined": 10}
    full[0] = None
    assert yard.replay(TO_NUMBER)["stored"] == 10


def test_a_log_that_can_not_take_it_says_so(yard: Yard) -> None:
    yard.sent([purchase(k, "1") for k in range(10)])

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(yard.writer, name)

        def append(self, entry: Any, told: Any) -> None:
            told(Unavailable("no space left", code="DISK_FULL"))

    yard.replays = yard.make_replays(log=Full())
    with pytest.raises(Unavailable, match="no space left"):
        yard.replay(TO_NUMBER)
    assert yard.totals() == {"received": 10, "quarantined": 10}


def test_an_event_that_is_refused_again_has_its_new_reason_where_the_old_one_counted(yard: Yard) -> None:
    """By a step: a time before the year 1, once corrected, passes no collector, so it goes to the log directly."""
    yard.sent([purchase(1, "1")])
    row = yard.quarantined()[0]
    first = Quarantined(1, row["id"], "site", "X", NOON_US, "", None, None, "key", 10**17, None, None)
    text = b'{"id":"%s","name":"purchase","timestamp":"0001-01-01T00:00:00Z"}' % row["id"].encode()
    batch = batch_of(Ready(first, SENDERS["key"], [text], [1]), 1)
    yard.writer.append(Entry(encode_batch(batch), 1, 0, {}, Kind.REPLAY), None)
    yard.settle()
    assert yard.totals() == {"received": 1, "quarantined": 1}
    (again,) = yard.quarantined()
    assert (again["seq"], again["code"], again["replays_seq"]) == (2, "STEP_FAILED", 1)
    assert yard.warehouse.facts()["quarantined"] == 1
    (receipt,) = yard.warehouse.receipts(row["id"], None)
    assert (receipt.state, receipt.reason) == ("quarantined", "STEP_FAILED")
    assert [each.reason for each in receipt.before] == ["TYPE_MISMATCH"]
    assert yard.replay([{"op": "set", "field": "attributes.price", "value": 2}, {"op": "drop", "field": "time"}])[
        "stored"
    ]
    assert yard.totals() == {"received": 1, "stored": 1}
