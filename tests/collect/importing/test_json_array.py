import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.collect.importing.json_array import read_json
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin, Record
from headwater.domain.errors import BadInput

ORIGIN = Origin("e.json", "e.json", "event")


EVENTS = st.dictionaries(st.text(max_size=4), st.text(max_size=6) | st.lists(st.integers(), max_size=2), max_size=5)


class Trickle(Input):
    """An input that gives a few bytes at a time."""

    step = 1

    def read(self, size: int = 1) -> bytes:
        return super().read(min(size, self.step))


def read(path: Path, content: bytes, offset: int = 0, line: int = 0) -> list[Record]:
    path.write_bytes(content)
    with Input(path) as source:
        return list(read_json(source, ORIGIN, offset, line))


def names(records: list[Record]) -> list[Any]:
    return [
        record.event.code if isinstance(record.event, BadLine) else json.loads(record.event)["name"]
        for record in records
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.json"


@pytest.mark.parametrize(
    "content",
    [
        b'[{"name":"a"},{"name":"b"}]',
        b'\xef\xbb\xbf \n[ {"name":"a"} ,\n {"name":"b"}\n]\n',
        b'{"events":[{"name":"a"},{"name":"b"}]}',
        b'{ "events" : [{"name":"a"},{"name":"b"}], "sentAt": "2025-01-01T00:00:00Z"}',
    ],
)
def test_an_array_and_an_envelope_give_their_elements(path: Path, content: bytes) -> None:
    records = read(path, content)
    assert names(records) == ["a", "b"]
    assert [record.line for record in records] == [1, 2]


def test_an_empty_array_gives_nothing(path: Path) -> None:
    assert read(path, b" [ ] ") == read(path, b'{"events":[]}') == []


@pytest.mark.parametrize(
    "content", [b"", b"7", b'{"name":"a"}', b'{"name":"a"}\n{"name":"b"}', b'{"sentAt":1,"events":[]}']
)
def test_a_file_that_is_no_array_is_refused_with_the_cure(path: Path, content: bytes) -> None:
    with pytest.raises(BadInput, match="one event a line is the format ndjson"):
        read(path, content)


def test_brackets_quotes_and_backslashes_inside_texts_do_not_end_an_element(path: Path) -> None:
    events = [{"name": text} for text in ("]}", '"', "\\", '\\"', "[[{", "a,b", "é\U0001f600")]
    assert names(read(path, json.dumps(events).encode())) == [event["name"] for event in events]


def test_a_broken_element_is_bad_and_its_neighbours_live(path: Path) -> None:
    content = b'[{"name":"a"}, {"name":}, 7, "x", null, [1], {"name":"\xff"}, {"name":"b"}]'
    assert names(read(path, content)) == [
        "a", "MALFORMED_JSON", "TYPE_MISMATCH", "TYPE_MISMATCH", "TYPE_MISMATCH", "TYPE_MISMATCH", "NOT_UTF8", "b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content", [b'[{"name":"a"}', b'[{"name":"a"},', b'[{"name":"a"},{"name":"b', b'[{"name":"a"},{']
)
def test_a_cut_off_file_gives_what_is_whole_and_one_bad_line(path: Path, content: bytes) -> None:
    assert names(read(path, content)) == ["a", "MALFORMED_JSON"]


def test_text_after_the_array_is_not_lost_unseen(path: Path) -> None:
    assert names(read(path, b'[{"name":"a"}]\n\n[{"name":"b"}]')) == ["a", "MALFORMED_JSON"]


def test_an_element_above_the_limit_is_cut_and_the_next_one_read(path: Path) -> None:
    big = json.dumps({"name": "x" * (2 << 20)})
    records = read(path, f'[{{"name":"a"}},{big},{{"name":"b"}}]'.encode())
    assert names(records) == ["a", "EVENT_TOO_LARGE", "b"]


def test_an_element_without_end_costs_bounded_memory_and_is_one_bad_line(path: Path) -> None:
    path.write_bytes(b'[{"name":"a"},{"name":"' + b"x" * (60 << 20))
    tracemalloc.start()
    with Input(path) as source:
        assert names(list(read_json(source, ORIGIN))) == ["a", "MALFORMED_JSON"]
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=8), st.integers(1, 9), st.sampled_from([None, 2]))
def test_any_array_in_any_pieces_gives_its_elements_and_resumes_behind_each(
    tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]], step: int, indent: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(events, indent=indent), encoding="utf-8")
    with Trickle(path) as source:
        source.step = max(step, 9)
        # The opening bracket must lie in the first piece; everything else may be cut anywhere.
        whole = list(read_json(source, ORIGIN))
    found = [json.loads(record.event) for record in whole if isinstance(record.event, bytes)]
    assert len(found) == len(whole) == len(events)
    for event, sent in zip(found, events, strict=True):
        assert all(event[name] == value for name, value in sent.items() if name != "data")
    for number, record in enumerate(whole):
        with Trickle(path) as source:
            source.step = step
            assert list(read_json(source, ORIGIN, record.end, record.last)) == whole[number + 1 :]


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_no_array_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    records = read(path, b"[" + content)
    assert [record.line for record in records] == list(range(1, len(records) + 1))


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b'"', b",", b"\\", b"1", b" ", b'{"name":"a"}']), max_size=40))
def test_no_shuffled_array_raises(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    read(tmp_path_factory.getbasetemp() / "shuffled.json", b"[" + b"".join(parts))


@pytest.mark.parametrize("unit", [b"[", b"{", b'"', b'\\"', b"]", b",", b'{"a":', b"1 "])
def test_a_hostile_file_of_a_megabyte_takes_seconds_at_most(path: Path, unit: bytes) -> None:
    # A quadratic reading would take minutes, and the test's timeout ends it.
    read(path, b"[" + unit * (1_000_000 // len(unit)))
