import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.collect.importing.ndjson import event_of
from headwater.collect.importing.records import BadLine, Origin, derived_id

ORIGIN = Origin("e.ndjson", "e.ndjson", "event")
TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=10
)
EVENTS = st.dictionaries(
    st.sampled_from(["id", "name", "source", "data", "type", "actor", "other"]) | st.text("abc", max_size=2), JSON
) | st.fixed_dictionaries({"data": st.dictionaries(st.sampled_from(["attributes", "metadata"]), JSON)})


def filled(line: str, number: int = 3) -> dict[str, Any]:
    event = event_of(line.encode(), number, ORIGIN)
    assert isinstance(event, bytes), event
    found: dict[str, Any] = json.loads(event)
    return found


def test_a_bare_event_gets_id_source_and_place() -> None:
    line = '{"name":"a"}'
    assert filled(line) == {
        "id": derived_id("e.ndjson", 3, line.encode()),
        "source": "e.ndjson",
        "data": {"metadata": {"batchId": "e.ndjson:3"}},
        "name": "a",
    }


def test_what_the_event_brings_is_kept_as_written() -> None:
    line = (
        '{"id":"x","source":"s","data":{"attributes":{"n":1.10,"big":12345678901234567890},"metadata":{"batchId":"b"}}}'
    )
    assert event_of(line.encode(), 3, ORIGIN) == line.encode()
    line = '{"id":"x","source":"s", "data": {"attributes": {"n": 1.10, "big": 123456789012345678901}}}'
    event = event_of(line.encode(), 3, ORIGIN)
    assert isinstance(event, bytes)
    assert b'{"n": 1.10, "big": 123456789012345678901}' in event
    assert json.loads(event)["data"]["metadata"] == {"batchId": "e.ndjson:3"}


def test_the_id_follows_from_the_events_own_source_so_a_renamed_file_is_the_same_events() -> None:
    line = b'{"name":"a","source":"shop"}'
    events = [event_of(line, 3, Origin(file, file, "event")) for file in ("one", "two")]
    assert len({json.loads(event)["id"] for event in events if isinstance(event, bytes)}) == 1


def test_metadata_is_completed_and_an_own_batch_id_is_kept() -> None:
    assert filled('{"data":{"metadata":{"sessionId":"s"}}}')["data"]["metadata"] == {
        "batchId": "e.ndjson:3",
        "sessionId": "s",
    }
    assert filled('{"data":{"metadata":{"batchId":"b"}}}')["data"]["metadata"] == {"batchId": "b"}


@pytest.mark.parametrize("data", ["7", "null", '"x"', '{"metadata":[]}', '{"metadata":null}'])
def test_an_event_with_no_room_for_its_place_carries_it_beside(data: str) -> None:
    event = filled(f'{{"name":"a","data":{data}}}')
    assert event["data"] == json.loads(data)
    assert event["import"] == {"file": "e.ndjson", "line": 3}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"a":', "MALFORMED_JSON"),
        (b"{'a':1}", "MALFORMED_JSON"),
        (b'{"a":1}{"b":2}', "MALFORMED_JSON"),
        (b'{"a":NaN}', "MALFORMED_JSON"),
        (b'{"a":"\\ud800"}', "MALFORMED_JSON"),
        (b"hello", "MALFORMED_JSON"),
        (b"[1]", "TYPE_MISMATCH"),
        (b"17", "TYPE_MISMATCH"),
        (b"null", "TYPE_MISMATCH"),
        (b'{"a":"\xff"}', "NOT_UTF8"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "TOO_DEEP"),
    ],
)
def test_lines_that_are_no_events_are_bad_with_the_reason(line: bytes, code: str) -> None:
    bad = event_of(line, 3, ORIGIN)
    assert isinstance(bad, BadLine)
    assert bad.code == code
    assert bad.text.encode("utf-8", "backslashreplace")[:5] == line[:5]


@given(EVENTS)
def test_every_object_keeps_its_members_and_gains_only_what_it_lacks(event: dict[str, Any]) -> None:
    found = filled(json.dumps(event))
    for name, value in event.items():
        if name == "data" and isinstance(value, dict) and isinstance(value.get("metadata", {}), dict):
            assert found["data"] == {**value, "metadata": {"batchId": "e.ndjson:3", **value.get("metadata", {})}}
        else:
            assert found[name] == value
    assert set(found) <= {*event, "id", "source", "data", "import"}


@given(st.binary(max_size=60))
def test_no_line_raises(line: bytes) -> None:
    event_of(line, 1, ORIGIN)
