import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from headwater.domain.events import UNKNOWN_SOURCE
from headwater.storage.log.base import Entry, Kind
from headwater.storage.log.frames import Gap, Header, ReadAt, counts_in, decode_body, encode_frame, header_at, walk

LOG = bytes(range(16))
labels = st.text(min_size=1, max_size=20)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    counts = draw(st.dictionaries(labels, st.integers(1, 50), min_size=1, max_size=5))
    return Entry(draw(st.binary(max_size=400)), sum(counts.values()), draw(st.integers(0, 40_000_000)), counts)


groups = st.lists(st.lists(entries(), min_size=1, max_size=6), min_size=1, max_size=5)


def bytes_of(frames: list[list[Entry]], first_seq: int = 1) -> tuple[bytes, list[int]]:
    """The frames one after the other, and where each begins."""
    whole, starts = b"", []
    for frame in frames:
        starts.append(len(whole))
        whole += b"".join(encode_frame(LOG, first_seq, frame))
        first_seq += sum(entry.n for entry in frame)
    return whole, starts


def reading(whole: bytes) -> ReadAt:
    return lambda offset, length: whole[offset : offset + length]


def walked(whole: bytes, last_seq: int, minute: int = 7) -> list[Header | Gap]:
    return [item for item, _ in walk(reading(whole), LOG, 0, len(whole), 1, last_seq, minute)]


def events(frames: list[list[Entry]]) -> int:
    return sum(entry.n for frame in frames for entry in frame)


@settings(max_examples=60, deadline=None)
@given(groups)
def test_what_is_encoded_is_found_and_decoded_unchanged(frames: list[list[Entry]]) -> None:
    whole, starts = bytes_of(frames)
    found = walked(whole, events(frames))
    assert [item.offset for item in found] == starts
    for header, frame in zip(found, frames, strict=True):
        assert isinstance(header, Header)
        sizes, payloads = decode_body(header, whole[header.body_offset : header.end])
        assert sizes == [entry.n for entry in frame]
        assert payloads == [entry.payload for entry in frame]
        expected: dict[tuple[int, str], int] = {}
        for entry in frame:
            for label, n in entry.counts.items():
                expected[entry.minute, label] = expected.get((entry.minute, label), 0) + n
        assert header.counts() == expected


@settings(max_examples=150, deadline=None)
@given(groups, st.data())
def test_one_wrong_bit_loses_one_frame_at_most_and_every_seq_is_accounted_for(
    frames: list[list[Entry]], data: st.DataObject
) -> None:
    whole, starts = bytes_of(frames)
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    broken = bytearray(whole)
    broken[at // 8] ^= 1 << at % 8
    found = walked(bytes(broken), events(frames))
    seq = 1
    lost = []
    for item in found:
        assert item.first_seq == seq
        seq = item.last_seq + 1
        if isinstance(item, Gap):
            lost.append(item)
            continue
        try:
            decode_body(item, bytes(broken[item.body_offset : item.end]))
        except ValueError:
            lost.append(item)
    assert seq == events(frames) + 1
    hit = max(index for index, start in enumerate(starts) if start * 8 <= at)
    first = 1 + events(frames[:hit])
    assert [(item.first_seq, item.n) for item in lost] == [(first, events(frames[hit : hit + 1]))]


def test_a_gap_counts_as_unknown_in_the_minute_of_the_frame_before() -> None:
    whole, starts = bytes_of([[Entry(b"a", 1, 50, {"s": 1})], [Entry(b"b", 4, 60, {"s": 4})]])
    broken = whole[: starts[1]] + b"\0" + whole[starts[1] + 1 :]
    assert counts_in(walked(broken, 5)[1]) == {(50, UNKNOWN_SOURCE): 4}
    assert counts_in(walked(b"\0" + whole[1:], 5)[0]) == {(7, UNKNOWN_SOURCE): 1}


def test_a_frame_of_another_log_is_not_a_frame_of_this_one() -> None:
    head, body = encode_frame(bytes(16), 1, [Entry(b"a", 1, 50, {"s": 1})])
    whole = head + body
    assert header_at(reading(whole), 0, LOG) is None


def test_bytes_of_a_payload_that_look_like_a_frame_are_not_read_as_one_after_damage() -> None:
    """A client may send what it likes, but not this log's id. Random bytes, so that lz4 leaves them as they are."""
    forged = b"".join(encode_frame(bytes(range(1, 17)), 2, [Entry(b"evil", 1, 1, {"s": 1})]))
    whole, starts = bytes_of([[Entry(forged, 1, 50, {"s": 1})], [Entry(b"b", 1, 60, {"s": 1})]])
    found = walked(b"\0" + whole[1:], 2)
    assert [(type(item), item.first_seq) for item in found] == [(Gap, 1), (Header, 2)]
    assert found[1].offset == starts[1]


def test_a_replay_frame_carries_its_kind_and_no_counts() -> None:
    whole, _ = bytes_of([[Entry(b"a", 3, 50, {}, Kind.REPLAY)]])
    (header,) = walked(whole, 3)
    assert isinstance(header, Header)
    assert (header.kind, header.counts(), header.n) == (Kind.REPLAY, {}, 3)


def test_a_body_that_ends_early_says_so() -> None:
    whole, _ = bytes_of([[Entry(b"a" * 50, 1, 50, {"s": 1})]])
    (header,) = walked(whole, 1)
    assert isinstance(header, Header)
    with pytest.raises(ValueError, match="ends 2 bytes early"):
        decode_body(header, whole[header.body_offset : -2])
