"""Frames → lake rows → frames: the pipeline makes the same of them."""

import random
from collections import Counter
from typing import Any

import msgspec
from frames import LOG_ID, RECEIVED_US, batch_of, event, frame_of
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain import wire
from headwater.domain.batches import Batch, Form, Verdict, encode_batch
from headwater.domain.events import MINUTE_US, OTHER_SOURCE, UNKNOWN_SOURCE, minute_of
from headwater.process.pipeline import blocks_of
from headwater.process.rows import frames_of, rows_of
from headwater.storage.lake.base import COLUMNS
from headwater.storage.log.base import Frame, Kind

SOURCES = ["web", "ios", "api", "rare-1", "rare-2"]
KNOWN = {"web", "ios", UNKNOWN_SOURCE, "site"}
BROKEN_ANYWHERE = [
    b'{"name":5,"source":"web"}',
    b'{"id":"nope","name":"a","source":"rare-1"}',
    b'{"name":"a","data":{"attributes":{"x":"\xff"}},"source":"ios"}',
    b'{"name":"a\\\xff\x00"}',
    b"{bad}",
    b'"text"',
]
BROKEN_IN_ARRAY = [*BROKEN_ANYWHERE, b"", b'{"name":\n5}', b'{"a\r\n\xff":[1,\n2]}']
BROKEN_LINE = [*BROKEN_ANYWHERE, b"not json at all", b'{"cut', b"\xef\xbb\xbf{}", b"[1,2", b"\xff\xfe\x00"]


def good_event(chance: random.Random, n: int) -> bytes:
    fields: dict[str, Any] = {"source": chance.choice(SOURCES)}
    made = event(n, **fields)
    for optional in ("id", "source", "timestamp", "name"):
        if chance.random() < 0.2:
            del made[optional]
    text = msgspec.json.encode(made)
    return msgspec.json.format(text, indent=2) if chance.random() < 0.2 else text


def random_batch(chance: random.Random) -> Batch:
    form = chance.choice([*Form])
    n = 1 if form is Form.SINGLE else chance.randrange(2, 8)
    texts: list[bytes] = []
    verdicts: list[Verdict] = []
    for index in range(n):
        text = good_event(chance, chance.randrange(50))
        if form is Form.NDJSON:
            text = text.replace(b"\n", b" ")
        if form is not Form.SINGLE and chance.random() < 0.3:
            text = chance.choice(BROKEN_LINE if form is Form.NDJSON else BROKEN_IN_ARRAY)
            if form is Form.NDJSON and index == 0:
                text = b"no json"
            source = wire.peek(text).source or UNKNOWN_SOURCE
            verdicts.append(Verdict(index, "BROKEN", f"$[{index}]: broken", source))
        texts.append(text)
    suppressed = tuple(verdict.index for verdict in verdicts if chance.random() < 0.3)
    return batch_of(
        texts,
        form=form,
        verdicts=verdicts,
        suppressed=suppressed,
        received_us=RECEIVED_US + chance.randrange(3) * MINUTE_US,
        sent_us=chance.choice([None, RECEIVED_US - 5]),
        source_ip=chance.choice([None, "10.0.0.1"]),
        user_agent=chance.choice([None, "curl ☃"]),
        recognisable=chance.random() < 0.5,
        public=chance.random() < 0.5,
        revision=chance.randrange(9),
    )


def label_of(batch: Batch, index: int, text: bytes) -> str:
    judged = {verdict.index: verdict.source for verdict in batch.verdicts}
    source = judged.get(index)
    if source is None:
        source = msgspec.json.decode(text).get("source", batch.source)
    return source if source in KNOWN else OTHER_SOURCE


def random_frame(chance: random.Random, first_seq: int) -> Frame:
    batches = [random_batch(chance) for _ in range(chance.randrange(1, 5))]
    kind = Kind.REPLAY if chance.random() < 0.2 else Kind.EVENTS
    if kind is Kind.REPLAY:
        batches = [msgspec.structs.replace(b, replays_seq=tuple(range(900, 900 + b.n))) for b in batches]
    counts: Counter[tuple[int, str]] = Counter()
    for batch in batches:
        texts = wire.texts_of(batch)
        counts.update((minute_of(batch.received_us), label_of(batch, i, text)) for i, text in enumerate(texts))
    return Frame(
        first_seq=first_seq,
        n=sum(batch.n for batch in batches),
        kind=kind,
        counts={} if kind is Kind.REPLAY else dict(counts),
        payloads=[encode_batch(batch) for batch in batches],
        entry_sizes=[batch.n for batch in batches],
    )


def random_frames(chance: random.Random) -> list[Frame]:
    frames: list[Frame] = []
    next_seq = 1
    for _ in range(chance.randrange(1, 6)):
        next_seq += chance.choice([0, 0, 7])
        frames.append(random_frame(chance, next_seq))
        next_seq = frames[-1].last_seq + 1
    return frames


def made_of(frames: list[Frame]) -> dict[str, Any]:
    block, _ = blocks_of(frames, 0, LOG_ID)
    return {
        part: {name: table[name].to_pylist() for name in table.column_names}
        for part, table in (("events", block.events), ("quarantine", block.quarantine), ("batches", block.batches))
    }


@settings(max_examples=80, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_pipeline_makes_the_same_of_frames_that_went_through_the_lake(chance: random.Random) -> None:
    frames = random_frames(chance)
    again = frames_of(rows_of(frames))
    assert made_of(again) == made_of(frames)


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_received_counts_are_the_same_after_the_lake(chance: random.Random) -> None:
    def received(frames: list[Frame]) -> Counter[tuple[int, str]]:
        return sum((Counter(dict(frame.counts)) for frame in frames), Counter())

    frames = random_frames(chance)
    assert received(frames_of(rows_of(frames))) == received(frames)


def test_every_event_of_a_frame_is_a_row_whatever_its_verdict() -> None:
    good, bad = event(1), b'{"name":5}'
    batch = batch_of([good, bad, good], verdicts=[Verdict(1, "TYPE_MISMATCH", "$[1].name", "web")])
    table = rows_of([frame_of(batch, first_seq=11)])
    assert table.column_names == [*COLUMNS]
    assert table["seq"].to_pylist() == [11, 12, 13]
    assert table["code"].to_pylist() == [None, "TYPE_MISMATCH", None]
    assert table["event"].to_pylist()[1] == bad.decode()


def test_an_entry_that_is_no_batch_is_kept_and_counted_under_what_is_left_of_its_header() -> None:
    whole = batch_of([event(1, source="ios")])
    frame = Frame(
        first_seq=1,
        n=4,
        kind=Kind.EVENTS,
        counts={(minute_of(RECEIVED_US), "ios"): 1, (minute_of(RECEIVED_US), "web"): 3},
        payloads=[b"\xffno batch", encode_batch(whole)],
        entry_sizes=[3, 1],
    )
    table = rows_of([frame])
    assert table["seq"].to_pylist() == [1, 2, 3, 4]
    assert table["source_label"].to_pylist() == ["web", "web", "web", "ios"]
    assert table["event"].to_pylist()[0] == "\\xffno batch"
    assert made_of(frames_of(table)) == made_of([frame])


def test_a_batch_whose_body_does_not_hold_its_events_is_kept_in_one_piece() -> None:
    batch = msgspec.structs.replace(batch_of([event(1)]), n=2)
    table = rows_of([frame_of(batch)])
    assert table["code"].to_pylist() == ["BATCH_UNREADABLE"] * 2
    assert sum(frame.n for frame in frames_of(table)) == 2


def test_small_requests_share_a_frame_and_a_gap_ends_it() -> None:
    frames = [frame_of(batch_of([event(n)]), first_seq=n) for n in (1, 2, 3, 7, 8)]
    assert [(frame.first_seq, frame.n) for frame in frames_of(rows_of(frames))] == [(1, 3), (7, 2)]


def test_each_event_has_the_label_of_its_own_source_and_the_senders_where_it_names_none() -> None:
    sources = ["ios", "nobody-knows-me", None, "web"]
    events = [event(n, source=source) for n, source in enumerate(sources)]
    del events[2]["source"]
    whole = frame_of(batch_of(events, source="site"), counts={"ios": 1, "site": 1, "web": 1, OTHER_SOURCE: 1})
    a_line_each = frame_of(batch_of(events, source="site", form=Form.NDJSON), counts=dict.fromkeys(KNOWN, 1))
    expected = ["ios", OTHER_SOURCE, "site", "web"]
    assert rows_of([whole])["source_label"].to_pylist() == expected
    assert rows_of([a_line_each])["source_label"].to_pylist() == expected


def test_one_event_that_is_not_utf8_leaves_all_others_as_they_came() -> None:
    odd = batch_of([event(1), b"\xe2\x98 cut short"], form=Form.NDJSON, verdicts=[Verdict(1, "BROKEN", "$[1]", "web")])
    snow = batch_of([event(2, name="\u2603"), event(3)])
    table = rows_of([frame_of(odd), frame_of(snow, first_seq=3)])
    texts = table["event"].to_pylist()
    assert texts[1] == "\\xe2\\x98 cut short"
    assert [msgspec.json.decode(text)["name"] for text in texts[::2] + texts[3:]] == [
        "page_view",
        "\u2603",
        "page_view",
    ]
    assert table["event_bytes"].to_pylist() == [None, b"\xe2\x98 cut short", None, None]


def test_nothing_makes_a_table_without_rows() -> None:
    assert rows_of([]).num_rows == 0
    assert rows_of([]).column_names == [*COLUMNS]
