"""From frames to blocks: which column says what, and where what is broken goes."""

import datetime as dt
import uuid
from collections import Counter

import pytest
from arro3.core import DataType
from frames import LOG_ID, RECEIVED_US, batch_of, event, frame_of
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.batches import Form, Verdict
from headwater.domain.events import datetime_of, derived_id, minute_of, occurred_us
from headwater.process import pipeline
from headwater.process.arrow import rows_of, table_of
from headwater.process.identify import derived_text
from headwater.process.pipeline import STEPS, blocks_of
from headwater.process.work import Work
from headwater.storage.log.base import Damage, Frame, Kind
from headwater.storage.warehouse.base import BATCH_COLUMNS, EVENT_COLUMNS, QUARANTINE_COLUMNS, Block

CREATED_US = 1_795_514_400_123_456


def block_of(*frames: Frame | Damage, after_seq: int = 0) -> Block:
    block, _ = blocks_of(frames, after_seq, LOG_ID)
    return block


def test_tables_have_exactly_the_columns_of_the_contract_also_when_empty():
    for block in (block_of(frame_of(batch_of([event(1)]))), block_of(Damage(1, 3, {}, "torn"))):
        assert block.events.column_names == list(EVENT_COLUMNS)
        assert block.quarantine.column_names == list(QUARANTINE_COLUMNS)
        assert block.batches.column_names == list(BATCH_COLUMNS)


def test_a_full_event_fills_every_column():
    full = event(
        5,
        actor="ann",
        version="2",
        data={
            "attributes": {"a": [1, {"b": "ü"}]},
            "metadata": {"sourceIp": "10.1.1.1", "userAgent": "x", "sessionId": "s", "batchId": "b7"},
        },
    )
    block = block_of(frame_of(batch_of([full]), first_seq=41), after_seq=40)
    assert block.position.seq == 41 and block.position.log_id == LOG_ID and block.after_seq == 40
    assert rows_of(block.events) == [
        {
            "seq": 41,
            "id": str(uuid.UUID(int=5, version=4)),
            "has_id": True,
            "source": "web",
            "source_label": "web",
            "type": "USER_ACTION",
            "name": "page_view",
            "version": "2",
            "actor": "ann",
            "session_id": "s",
            "created_us": CREATED_US,
            "occurred_us": RECEIVED_US,
            "clamped": True,
            "received_us": RECEIVED_US,
            "source_ip": "10.1.1.1",
            "user_agent": "x",
            "client_batch_id": "b7",
            "replays_seq": None,
            "attributes": '{"a":[1,{"b":"ü"}]}',
        }
    ]


def test_the_smallest_event_gets_its_defaults():
    block = block_of(frame_of(batch_of([{"name": "signup"}, {"type": "USER_ACTION"}]), counts={"site": 2}))
    first, second = rows_of(block.events)
    assert (first["type"], first["name"], first["source"], first["version"]) == ("CUSTOM_EVENT", "signup", "site", "1")
    assert (second["type"], second["name"]) == ("USER_ACTION", "USER_ACTION")
    assert first["attributes"] == "{}" and first["actor"] is None and first["session_id"] is None
    assert first["created_us"] is None and first["occurred_us"] == RECEIVED_US and first["clamped"] is False


@pytest.mark.parametrize("form", [Form.ARRAY, Form.ENVELOPE, Form.NDJSON])
def test_every_form_of_body_gives_the_same_rows(form):
    events = [event(n) for n in range(5)]
    assert rows_of(block_of(frame_of(batch_of(events, form=form))).events) == rows_of(
        block_of(frame_of(batch_of(events))).events
    )


def test_a_single_event_and_batches_side_by_side_keep_their_seqs():
    block = block_of(
        frame_of(batch_of([event(1)], form=Form.SINGLE), batch_of([event(2), event(3)]), first_seq=10),
        frame_of(batch_of([event(4)]), first_seq=13),
        after_seq=9,
    )
    assert block.events.column("seq").to_pylist() == [10, 11, 12, 13]
    assert [(row["first_seq"], row["last_seq"]) for row in rows_of(block.batches)] == [(10, 10), (11, 12), (13, 13)]


def test_a_request_is_one_row_of_batches():
    batch = batch_of([event(1)], sent_us=RECEIVED_US - 5, source_ip="10.0.0.9", user_agent="sdk/1")
    (row,) = rows_of(block_of(frame_of(batch)).batches)
    assert uuid.UUID(row.pop("batch_id")).bytes == batch.batch_id
    assert row == {
        "first_seq": 1,
        "last_seq": 1,
        "key_id": "key",
        "sent_us": RECEIVED_US - 5,
        "received_us": RECEIVED_US,
        "source_ip": "10.0.0.9",
        "user_agent": "sdk/1",
    }


@given(st.binary(min_size=16, max_size=16), st.integers(0, 20_000))
def test_derived_ids_are_those_of_the_domain(base, index):
    assert uuid.UUID(derived_text(base, index)) == derived_id(base, index)


@pytest.mark.parametrize("recognisable", [True, False])
def test_an_event_without_an_id_has_one_only_if_its_batch_can_be_known_again(recognisable):
    without = {key: value for key, value in event(2).items() if key != "id"}
    batch = batch_of([event(1), without], recognisable=recognisable)
    first, second = rows_of(block_of(frame_of(batch)).events)
    assert first["has_id"] is True
    assert second["has_id"] is recognisable
    assert uuid.UUID(second["id"]) == derived_id(batch.id_base, 1)


instants = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@given(st.lists(st.none() | instants, min_size=1, max_size=5), st.none() | st.integers(RECEIVED_US, RECEIVED_US + 9**9))
def test_times_are_those_of_the_domain(created, sent_us):
    events = [{"name": "x"} | ({} if us is None else {"timestamp": text_of(us)}) for us in created]
    block = block_of(frame_of(batch_of(events, sent_us=sent_us), counts={"site": len(events)}))
    rows = rows_of(block.events)
    stored = {row["seq"]: (row["occurred_us"], row["clamped"]) for row in rows}
    for index, us in enumerate(created):
        wanted = occurred_us(RECEIVED_US, sent_us, us)
        if wanted[0] >= -62_135_596_800_000_000:
            assert stored[index + 1] == wanted
        else:
            assert index + 1 not in stored
    assert [row["created_us"] for row in rows] == [us for n, us in enumerate(created) if n + 1 in stored]


def text_of(us: int) -> str:
    return datetime_of(us).isoformat().replace("+00:00", "Z")


def test_batches_with_and_without_the_clients_clock_keep_apart():
    early = event(1, timestamp=text_of(RECEIVED_US - 10_000_000))
    block = block_of(frame_of(batch_of([early], sent_us=RECEIVED_US - 9_000_000), batch_of([early])))
    assert block.events.column("occurred_us").to_pylist() == [RECEIVED_US - 1_000_000, RECEIVED_US - 10_000_000]


def test_a_time_that_would_lie_before_the_year_1_goes_to_quarantine():
    batch = batch_of([event(1, timestamp="0001-01-01T00:00:00Z"), event(2)], sent_us=RECEIVED_US + 5_000_000)
    block, stats = blocks_of([frame_of(batch)], 0, LOG_ID)
    assert block.events.column("seq").to_pylist() == [2]
    assert stats.rejects == {("clock", "STEP_FAILED"): 1}


def test_a_source_that_its_frame_counted_under_other_keeps_its_name_and_takes_that_label():
    events = [event(1, source="web"), event(2, source="thousand-and-first")]
    block = block_of(
        frame_of(batch_of(events), counts={"web": 1, "(other)": 1}),
        frame_of(batch_of(events), first_seq=3, counts={"web": 1, "thousand-and-first": 1}),
    )
    assert block.events.column("source").to_pylist() == ["web", "thousand-and-first"] * 2
    assert block.events.column("source_label").to_pylist() == ["web", "(other)", "web", "thousand-and-first"]


def test_a_replay_carries_the_quarantined_seqs_and_its_sources_own_label():
    block = block_of(frame_of(batch_of([event(1), event(2)], replays_seq=(7, 9)), counts={}, kind=Kind.REPLAY))
    assert block.events.column("replays_seq").to_pylist() == [7, 9]
    assert block.events.column("source_label").to_pylist() == ["web", "web"]


def test_verdicts_of_the_collector_become_quarantine_rows_and_leave_their_neighbours_alone():
    bad = event(2, timestamp="yesterday")
    verdicts = [Verdict(1, "TYPE_MISMATCH", "$[1].timestamp: no", "web"), Verdict(2, "TYPE_MISMATCH", "?", "(unknown)")]
    batch = batch_of([event(1), bad, ["not an event"], event(4)], verdicts=verdicts, suppressed=(2,))
    block, stats = blocks_of([frame_of(batch, counts={"web": 3, "(unknown)": 1})], 0, LOG_ID)
    assert block.events.column("seq").to_pylist() == [1, 4]
    first, second = rows_of(block.quarantine)
    assert first["event"].startswith("{") and "yesterday" in first["event"]
    assert (first["code"], first["step"], first["source"], first["name"]) == (
        "TYPE_MISMATCH",
        "collect",
        "web",
        "page_view",
    )
    assert uuid.UUID(first["id"]) == uuid.UUID(int=2, version=4)
    assert (first["suppressed"], second["suppressed"]) == (False, True)
    assert (second["source"], second["source_label"], second["name"]) == ("(unknown)", "(unknown)", None)
    assert uuid.UUID(second["id"]) == derived_id(batch.id_base, 2)
    assert stats.rejects == {("collect", "TYPE_MISMATCH"): 2}


def test_a_line_that_is_no_json_is_kept_as_text():
    verdict = Verdict(1, "MALFORMED_JSON", "$[1]: no", "(unknown)")
    batch = batch_of([event(1), b'{"id": \xff', event(3)], form=Form.NDJSON, verdicts=[verdict])
    block = block_of(frame_of(batch, counts={"web": 2, "(unknown)": 1}))
    assert block.events.column("seq").to_pylist() == [1, 3]
    assert rows_of(block.quarantine)[0]["event"] == '{"id": \\xff'


def test_an_event_that_the_collector_let_pass_and_that_can_not_be_read_goes_alone():
    block, stats = blocks_of([frame_of(batch_of([event(1), event(2, name=5), event(3)]))], 0, LOG_ID)
    assert block.events.column("seq").to_pylist() == [1, 3]
    (row,) = rows_of(block.quarantine)
    assert (row["step"], row["code"], row["source_label"]) == ("decode", "STEP_FAILED", "web")
    assert stats.rejects == {("decode", "STEP_FAILED"): 1}


def test_a_body_that_holds_another_number_of_events_than_its_batch_says_goes_to_quarantine_whole():
    batch = batch_of([event(1), event(2)], body=b'[{"name":"a"}]')
    block = block_of(frame_of(batch, batch_of([event(3)])))
    assert block.events.column("seq").to_pylist() == [3]
    assert [row["code"] for row in rows_of(block.quarantine)] == ["BATCH_UNREADABLE"] * 2


def test_an_entry_that_is_no_batch_goes_to_quarantine_under_what_its_frame_leaves_over():
    good = batch_of([event(1), event(2, source="ios")])
    frame = frame_of(good, batch_of([event(3), event(4), event(5)]), counts={"web": 3, "ios": 2})
    frame = Frame(frame.first_seq, frame.n, frame.kind, frame.counts, [frame.payloads[0], b"\xc1?"], frame.entry_sizes)
    block, stats = blocks_of([frame], 0, LOG_ID)
    rows = rows_of(block.quarantine)
    assert [row["seq"] for row in rows] == [3, 4, 5]
    counted = Counter(block.events.column("source_label").to_pylist()) + Counter(row["source_label"] for row in rows)
    assert counted == {"web": 3, "ios": 2}
    assert {minute_of(row["received_us"]) for row in rows} == {minute_of(RECEIVED_US)}
    assert stats.rejects == {("unpack", "BATCH_UNREADABLE"): 3}


def test_what_a_frame_leaves_over_is_not_taken_by_the_frames_beside_it():
    before = frame_of(batch_of([event(1), event(2)]), counts={"web": 2})
    strange = frame_of(batch_of([event(3), event(4)]), first_seq=3, counts={"web": 2})
    strange = Frame(3, 2, strange.kind, strange.counts, [b"\xc1?"], strange.entry_sizes)
    block, _ = blocks_of([before, strange], 0, LOG_ID)
    assert [row["source_label"] for row in rows_of(block.quarantine)] == ["web", "web"]
    assert {minute_of(row["received_us"]) for row in rows_of(block.quarantine)} == {minute_of(RECEIVED_US)}


def test_damage_is_lost_under_its_own_counts_and_moves_the_position():
    counts = {(5, "web"): 2, (6, "web"): 1}
    block = block_of(
        frame_of(batch_of([event(1)])), Damage(2, 3, counts, "torn"), Damage(5, 1, {(6, "web"): 1}, "torn")
    )
    assert block.lost == {(5, "web"): 2, (6, "web"): 2}
    assert block.position.seq == 5


def picky(work: Work) -> Work:
    names = [row.name for row in work.rows]
    if "poison" in names:
        raise KeyError("poison")
    return work.with_columns(extra=names)


def test_an_event_that_breaks_a_step_goes_to_quarantine_with_the_steps_name():
    events = [event(1), event(2, name="poison"), event(3)]
    block, stats = blocks_of([frame_of(batch_of(events))], 0, LOG_ID, [*STEPS, picky])
    assert block.events.column("seq").to_pylist() == [1, 3]
    assert block.events.column("attributes").to_pylist() == ['{"n":1}', '{"n":3}']
    (row,) = rows_of(block.quarantine)
    assert (row["seq"], row["step"], row["code"], row["detail"]) == (
        2,
        "picky",
        "STEP_FAILED",
        "picky: KeyError: 'poison'",
    )
    assert "poison" in row["event"]
    assert stats.rejects == {("picky", "STEP_FAILED"): 1}


def test_errors_of_the_machine_are_not_taken_for_data():
    def full(work: Work) -> Work:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        blocks_of([frame_of(batch_of([event(1)]))], 0, LOG_ID, [full])


def test_every_stage_is_timed_under_its_name():
    _, stats = blocks_of([frame_of(batch_of([event(1), event(2)]))], 0, LOG_ID)
    assert list(stats.seconds) == ["unpack", "decode", *(step.__name__ for step in STEPS), "arrow"]
    assert (stats.events, stats.batches) == (2, 1)


@given(
    st.lists(
        st.sampled_from([event(1), event(2, name=5), {"name": "a"}, {"id": None}, ["?"], b"{", b"\xff"]), min_size=1
    ),
    st.sampled_from([Form.ARRAY, Form.NDJSON]),
)
def test_every_seq_comes_out_exactly_once_whatever_the_body(events, form):
    batch = batch_of(events, form=form)
    block, _ = blocks_of([frame_of(batch, first_seq=100)], 99, LOG_ID)
    seqs = block.events.column("seq").to_pylist() + block.quarantine.column("seq").to_pylist()
    assert sorted(seqs) == list(range(100, 100 + len(events)))


def test_the_clients_clock_is_read_to_the_microsecond():
    at = dt.datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45)))
    block = block_of(frame_of(batch_of([event(1, timestamp=at.isoformat())])))
    assert datetime_of(block.events.column("created_us").to_pylist()[0]) == at


def test_the_steps_can_be_printed():
    assert [step.__name__ for step in pipeline.STEPS] == ["identify", "describe", "clock", "context"]


def test_parts_of_a_block_give_what_the_whole_gives(monkeypatch):
    def frames() -> list[Frame | Damage]:
        sizes = (1, 3, 7, 2, 2, 1)
        verdict = Verdict(0, "TYPE_MISMATCH", "no", "web")
        batches = [batch_of([event(10 * k + i) for i in range(n)], verdicts=[verdict]) for k, n in enumerate(sizes)]
        entries = frame_of(*batches)
        return [entries, Damage(17, 3, {(1, "web"): 3}, "torn"), frame_of(batch_of([event(90)]), first_seq=20)]

    whole = block_of(*(todo := frames()))
    for most in (1, 3, 4, 5, 10):
        monkeypatch.setattr(pipeline, "PART_EVENTS", most)
        parts, stats = blocks_of(todo, 0, LOG_ID)
        assert rows_of(parts.events) == rows_of(whole.events)
        assert rows_of(parts.quarantine) == rows_of(whole.quarantine)
        assert rows_of(parts.batches) == rows_of(whole.batches) and parts.lost == whole.lost
        assert stats.events == 20 and stats.rejects == {("collect", "TYPE_MISMATCH"): 6}
        assert len(parts.events.to_batches()) == 1


def test_entries_that_are_no_batch_take_what_all_parts_of_their_frame_leave_over(monkeypatch):
    monkeypatch.setattr(pipeline, "PART_EVENTS", 2)
    good = [batch_of([event(2 * k, source="ios"), event(2 * k + 1)]) for k in range(3)]
    frame = frame_of(*good, batch_of([event(8), event(9)]), counts={"web": 5, "ios": 3})
    payloads = [*frame.payloads[:3], b"\xc1?"]
    block = block_of(Frame(1, 8, frame.kind, frame.counts, payloads, frame.entry_sizes))
    assert sorted(row["source_label"] for row in rows_of(block.quarantine)) == ["web", "web"]


def test_attributes_that_are_no_utf_8_go_alone():
    texts = [b'{"name":"a","data":{"attributes":{"k":"%s"}}}' % text for text in (b"\xc3\xbc", b"\xff", b"x")]
    block = block_of(frame_of(batch_of(texts), counts={"site": 3}))
    assert block.events.column("seq").to_pylist() == [1, 3]
    assert block.events.column("attributes").to_pylist() == ['{"k":"ü"}', '{"k":"x"}']
    assert [row["code"] for row in rows_of(block.quarantine)] == ["STEP_FAILED"]


@given(st.lists(st.none() | st.booleans(), max_size=9), st.sampled_from(["string", "int64", "bool"]))
def test_columns_of_one_value_are_what_they_say(values, kind):
    if kind != "bool":
        values = [None for _ in values]
    column = table_of({"a": values}, {"a": f"{kind}?"}).column("a")
    assert column.to_pylist() == values and column.type == {"string": DataType.string(), "int64": DataType.int64()}.get(
        kind, DataType.bool()
    )
