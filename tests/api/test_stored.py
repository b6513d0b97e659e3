"""Streams of stored events: whole, in order, bounded in number, memory and time, and honest about each bound."""

import time

import pytest
from tests.blocks import block, event, refused

from headwater.api.stored import PAGE_FIRST, Stream, quarantined_texts
from headwater.storage.warehouse import open_warehouse


def opened(folder, events, quarantine=(), **settings):
    warehouse = open_warehouse(f"duckdb://{folder}/warehouse.duckdb", **settings)
    for begin in range(0, len(events), 100):
        part = events[begin : begin + 100]
        warehouse.load(block(part, position=begin + 100, after_seq=begin, quarantine=quarantine if begin == 0 else ()))
    return warehouse


def rows(n, **columns):
    return [event(seq, name=("a", "b")[seq % 2], attributes=f'{{"n": {seq}}}', **columns) for seq in range(1, n + 1)]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    found = opened(
        tmp_path_factory.mktemp("stored"),
        rows(2000),
        [refused(seq, name="b", code=("TYPE_MISMATCH", "NO_NAME")[seq % 2], event=str(seq)) for seq in range(1, 51)],
    )
    yield found
    found.close()


def test_every_event_of_the_name_comes_once_newest_first(warehouse):
    stream = Stream(warehouse, "b", events_max=5000, seconds_max=30)
    assert [each.attributes for each in stream] == [b'{"n": %d}' % seq for seq in range(1999, 0, -2)]
    assert (stream.read, stream.more, stream.out_of_time) == (1000, False, False)
    assert 2 * PAGE_FIRST < 1000, "over several pages"


@pytest.mark.parametrize(("events_max", "more"), [(1, True), (PAGE_FIRST, True), (999, True), (1000, False)])
def test_it_ends_at_its_bound_and_knows_whether_there_are_more(warehouse, events_max, more):
    stream = Stream(warehouse, "b", events_max=events_max, seconds_max=30)
    assert (len([*stream]), stream.more) == (events_max, more)


def test_a_name_that_is_not_there_gives_nothing(warehouse):
    stream = Stream(warehouse, "c", events_max=10, seconds_max=30)
    assert ([*stream], stream.more) == ([], False)
    assert [*Stream(warehouse, "b", version="2", events_max=10, seconds_max=30)] == []


def test_it_ends_when_its_time_is_over(warehouse):
    end = time.monotonic() + 0.5
    stream = Stream(warehouse, "b", events_max=5000, seconds_max=0.5)
    read = 0
    for _ in stream:
        read += 1
        while time.monotonic() < end:
            pass
    assert (read, stream.read, stream.out_of_time) == (1, 1, True)


def test_pages_shrink_until_the_memory_of_the_warehouse_suffices(tmp_path):
    text = f'{{"text": "{"x" * 200_000}"}}'
    large = [event(seq, attributes=text) for seq in range(1, 301)]
    found = opened(tmp_path, large, memory_bytes_max=160 << 20)
    try:
        assert sum(1 for _ in Stream(found, "page_view", events_max=300, seconds_max=30)) == 300
    finally:
        found.close()


def test_texts_of_quarantine_are_those_refused_for_one_of_the_codes(warehouse):
    found = [*quarantined_texts(warehouse, "b", ("TYPE_MISMATCH",), 1000, 30)]
    assert found == [str(seq) for seq in range(50, 0, -2)]
    assert len([*quarantined_texts(warehouse, "b", ("TYPE_MISMATCH",), 10, 30)]) == 5
