"""A body and its events: forms, splitting, and reading a batch back from the log."""

import json
import uuid

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain import wire
from headwater.domain.batches import Batch, Form, Verdict
from headwater.domain.errors import BadInput, HeadwaterError, TooLarge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
TEXTS = st.builds(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), JSON)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=8))
def test_splitting_undoes_joining(texts: list[bytes]) -> None:
    assert wire.split(b"[" + b" ,\n".join(texts) + b"]") == (Form.ARRAY, texts, None)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=8))
def test_the_own_splitter_finds_what_msgspec_finds(texts: list[bytes]) -> None:
    body = b"[" + b",".join(texts) + b"]"
    assert wire._elements(body, 100) == (texts, len(body))


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=5), st.sampled_from([b'{"x":NaN}', b'{"x":"\\ud800"}', b'{"x":"\xff"}', b"{'x'}", b""]))
def test_a_broken_event_does_not_move_its_neighbours(texts: list[bytes], broken: bytes) -> None:
    split = wire.split(b"[" + b",".join([*texts, broken, b'{"name":"last"}']) + b"]")
    assert split.texts == [*texts, broken, b'{"name":"last"}']


@settings(deadline=None)
@given(st.binary() | st.text(alphabet='[]{}",:\\ \n01a').map(str.encode))
def test_any_bytes_split_or_say_why_not(body: bytes) -> None:
    try:
        parts = wire.split(body)
    except HeadwaterError as error:
        assert error.code in ("EMPTY_BODY", "MALFORMED_JSON")
    else:
        assert wire.split_as(body, parts.form).texts == parts.texts


@pytest.mark.parametrize(
    ("body", "form", "texts"),
    [
        (b'[{"name":"a"}, {"name":"b"}]', Form.ARRAY, [b'{"name":"a"}', b'{"name":"b"}']),
        (b"\xef\xbb\xbf [1]\n", Form.ARRAY, [b"1"]),
        (b"[]", Form.ARRAY, []),
        (b'{"events":[{"name":"a"}],"other":[[]]}', Form.ENVELOPE, [b'{"name":"a"}']),
        (b'{"\\u0065vents":[1,NaN]}', Form.ENVELOPE, [b"1", b"NaN"]),
        (b'{"events":[1],"events":[2]}', Form.ENVELOPE, [b"2"]),
        (b'{"events": [\n {"name":"a"}\n]}', Form.ENVELOPE, [b'{"name":"a"}']),
        (b'{\n "name": "a"\n}', Form.SINGLE, [b'{\n "name": "a"\n}']),
        (b'{"name":"a"}\r\n\n{"name":"b"}\n', Form.NDJSON, [b'{"name":"a"}', b'{"name":"b"}']),
        (b'{"name":"a"}\nnot json', Form.NDJSON, [b'{"name":"a"}', b"not json"]),
        (b'{"name":"a"}{"name":"b"}', Form.NDJSON, [b'{"name":"a"}{"name":"b"}']),
    ],
)
def test_the_body_itself_tells_its_form(body: bytes, form: Form, texts: list[bytes]) -> None:
    parts = wire.split(body)
    assert (parts.form, parts.texts) == (form, texts)


@pytest.mark.parametrize(
    "body",
    [b"[", b'[{"name":"a"}', b'[{"name":"a"},', b'[{"a":"]}', b"[1] 2", b"[}", b'{"events":5}', b'{"events":{}}'],
)
def test_a_body_whose_brackets_do_not_match_has_no_events(body: bytes) -> None:
    with pytest.raises(BadInput) as raised:
        wire.split(body)
    assert raised.value.code == "MALFORMED_JSON"


@pytest.mark.parametrize("body", [b"[" + b"0," * 50 + b"0]", b"[" + b"{}," * 5000 + b"{}]", b'{"a":1}\n' * 51])
def test_splitting_stops_at_the_limit_of_events(body: bytes) -> None:
    with pytest.raises(TooLarge) as raised:
        wire.split(body, events_max=50)
    assert (raised.value.code, raised.value.limit) == ("TOO_MANY_EVENTS", 50)


def test_an_event_of_5000_levels_is_one_event() -> None:
    deep = b"[" * 5000 + b"]" * 5000
    assert wire.split(b'[{"name":"a"},' + deep + b',{"name":"b"}]').texts == [b'{"name":"a"}', deep, b'{"name":"b"}']


@pytest.mark.parametrize(
    "body", [b"[" * 10_000_000, b'[{"a":' * 1_000_000, b'["' * 1_000_000, b'["' + b'\\"' * 1_000_000], ids=range(4)
)
def test_hostile_nesting_is_refused_in_linear_time(body: bytes) -> None:
    with pytest.raises(HeadwaterError):
        wire.split(body, events_max=1000)


@pytest.mark.parametrize(
    ("text", "depth"),
    [(b"{}", 1), (b'{"a":[{"b":[[]]}]}', 5), (b'{"a":"[[[[[[","b":"}}\\"{{"}', 1), (b"[[],[[]],[]]", 3)],
)
def test_depth_counts_brackets_outside_of_texts(text: bytes, depth: int) -> None:
    assert wire.depth_of(text, 0) >= 1
    assert wire.depth_of(text, depth) <= depth
    assert wire.depth_of(text, depth - 1) == depth


def batch_of(body: bytes, n: int, form: Form, *bad: int) -> Batch:
    return Batch(
        batch_id=bytes(16),
        received_us=0,
        n=n,
        form=form,
        body=body,
        key_id="k",
        source="web",
        id_base=bytes(16),
        verdicts=tuple(Verdict(index, "MALFORMED_JSON", "", "web") for index in bad),
    )


@pytest.mark.parametrize(
    ("body", "n", "form", "bad"),
    [
        (b'[{"name":"a"},{"name":"b"},{"name":"c"}]', 3, Form.ARRAY, 1),
        (b'[{"name":"a"},{"name":NaN},{"name":"c"}]', 3, Form.ARRAY, 1),
        (b'[{"name":"a"},{"name":"\xff"},{"name":"c"}]', 3, Form.ARRAY, 1),
        (b'[{"name":"a"},' + b"[" * 3000 + b"]" * 3000 + b',{"name":"c"}]', 3, Form.ARRAY, 1),
        (b'{"events":[{"name":"a"},{"name":5},{"name":"c"}]}', 3, Form.ENVELOPE, 1),
        (b'\xef\xbb\xbf{"name":"a"}\n?\n\n{"name":"c"}', 3, Form.NDJSON, 1),
    ],
)
def test_reading_a_batch_back_leaves_out_what_has_a_verdict(body: bytes, n: int, form: Form, bad: int) -> None:
    batch = batch_of(body, n, form, bad)
    assert [event and event.name for event in wire.decode_events(batch)] == ["a", None, "c"]
    assert len(wire.texts_of(batch)) == n


def test_a_batch_that_holds_other_events_than_it_says_is_told() -> None:
    with pytest.raises(BadInput) as raised:
        wire.decode_events(batch_of(b'[{"name":"a"}]', 2, Form.ARRAY))
    assert raised.value.code == "BAD_BATCH"


def test_peek_reads_what_is_right_in_a_broken_event() -> None:
    event_id = uuid.uuid4()
    text = msgspec.json.encode({"id": event_id, "source": "s", "type": "USER_ACTION", "name": 5, "timestamp": "x"})
    assert wire.peek(text) == (event_id, "s", None, True)
    assert wire.peek(b'{"type":"USER_ACTION","id":5}') == (None, None, "USER_ACTION", False)
    assert wire.peek(b'{"source":""}') == (None, None, None, True)


@settings(deadline=None)
@given(st.binary() | TEXTS)
def test_peek_never_raises(text: bytes) -> None:
    wire.peek(text)
