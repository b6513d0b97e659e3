"""The ledger joins three records; it balances while segments go, and shows it when something is missing."""

import threading
from collections import Counter
from pathlib import Path

import pytest
from frames import RECEIVED_US, batch_of, entry_of, event
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.events import minute_of
from headwater.process.ledger import OUTCOMES, Received, balanced_view, received_of
from headwater.storage.catalog import open_catalog
from headwater.storage.catalog.base import Catalog
from headwater.storage.log import open_log_writer
from headwater.storage.log.base import LogReader, LogWriter, Position
from headwater.storage.warehouse.base import LedgerPage, LedgerRow

MINUTE = minute_of(RECEIVED_US)
ALL = (0, 10**9)
keys = st.tuples(st.integers(10, 14), st.sampled_from(["web", "ios", "(other)"]))
outcomes = st.lists(st.tuples(keys, st.sampled_from([*OUTCOMES, "in_flight"])), max_size=60)


def page_of(counts: Counter[tuple[tuple[int, str], str]], seq: int = 0) -> LedgerPage:
    rows = {
        key: LedgerRow(*key, **{name: counts[key, name] for name in OUTCOMES}) for key in {key for key, _ in counts}
    }
    totals = LedgerRow(0, "", **{name: sum(getattr(row, name) for row in rows.values()) for name in OUTCOMES})
    return LedgerPage(Position(b"L" * 16, seq) if seq else None, list(rows.values()), totals)


@given(outcomes)
def test_what_is_all_accounted_for_balances_in_every_row_and_in_all(events):
    counts = Counter(events)
    received = Counter(key for key, _ in events)
    flying = Counter(key for key, outcome in events if outcome == "in_flight")
    ledger = balanced_view(page_of(counts), Received(received, flying), {}, *ALL)
    assert all(row.balanced for row in ledger.rows) and ledger.totals.balanced
    assert ledger.totals.received == len(events)
    assert [(row.minute, row.source) for row in ledger.rows] == sorted(received)


@given(outcomes.filter(bool), st.data())
def test_one_event_too_few_or_too_many_shows_in_its_row_and_in_the_totals(events, data):
    (key, outcome) = data.draw(st.sampled_from(events))
    counts = Counter(events)
    more = data.draw(st.sampled_from([-1, 1]))
    counts[key, outcome] += more
    received = Counter(key for key, _ in events)
    flying = Counter({k: n for (k, name), n in counts.items() if name == "in_flight"})
    ledger = balanced_view(page_of(counts), Received(received, flying), {}, *ALL)
    assert [(row.minute, row.source) for row in ledger.rows if not row.balanced] == [key]
    assert (ledger.totals.balanced, ledger.totals.difference) == (False, -more)


def test_refused_events_stand_beside_the_balance():
    ledger = balanced_view(page_of(Counter()), Received({}, {}), {(12, "web"): 5}, *ALL)
    assert [(row.minute, row.refused, row.received, row.balanced) for row in ledger.rows] == [(12, 5, 0, True)]


def test_rows_are_of_the_range_and_source_asked_for_and_totals_of_everything():
    received = {(10, "web"): 1, (11, "web"): 2, (11, "ios"): 4, (12, "web"): 8}
    ledger = balanced_view(page_of(Counter()), Received(received, received), {}, 11, 12, "web")
    assert [(row.minute, row.source, row.in_flight) for row in ledger.rows] == [(11, "web", 2)]
    assert ledger.totals.received == 15 and ledger.totals.balanced


@pytest.fixture
def log(tmp_path: Path):
    """A log of many small segments: eight appends of three events."""
    settled = threading.Semaphore(0)
    writer = open_log_writer(
        f"file://{tmp_path}/log", lambda outcomes: settled.release(), segment_bytes=1, age_hours_max=0
    )
    for k in range(8):
        batch = batch_of([event(10 * k + i) for i in range(3)])
        writer.append(entry_of(batch, {"web": 2, "ios": 1}), k)
        assert settled.acquire(timeout=20)
    yield writer
    writer.close()


@pytest.fixture
def catalog(tmp_path: Path):
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    yield catalog
    catalog.close()


def loaded(reader: LogReader, seq: int) -> LedgerPage:
    done = Counter({((MINUTE, "web"), "stored"): seq // 3 * 2, ((MINUTE, "ios"), "stored"): seq // 3})
    page = page_of(done, seq)
    return LedgerPage(Position(reader.log_id, seq), page.rows, page.totals)


def trim(writer: LogWriter, catalog: Catalog, seq: int) -> int:
    reader = writer.reader()
    for consumer in ("process", "lake"):
        reader.report(consumer, seq)
    reader.close()
    return writer.trim(lambda counts: catalog.add_trimmed("default", counts))


@pytest.mark.parametrize("seq", [0, 3, 12, 24])
def test_received_is_the_same_before_and_after_a_trim(log, catalog, seq):
    reader = log.reader()
    page = loaded(reader, seq)
    for _ in range(2):
        received = received_of(page, reader, lambda: catalog.trimmed("default"))
        assert received is not None
        assert received.total == {(MINUTE, "web"): 16, (MINUTE, "ios"): 8}
        assert sum(received.in_flight.values()) == 24 - seq
        assert balanced_view(page, received, {}, *ALL).totals.balanced
        assert (trim(log, catalog, seq) > 0) == (seq > 3) or seq == 3 or reader.first_seq() > 1
    reader.close()


def test_a_segment_that_goes_between_the_two_readings_is_counted_once(log, catalog):
    reader = log.reader()
    page = loaded(reader, 12)

    def trimmed_meanwhile():
        assert trim(log, catalog, 12) > 0
        return catalog.trimmed("default")

    received = received_of(page, reader, trimmed_meanwhile)
    assert received is not None and sum(received.total.values()) == 24 and sum(received.in_flight.values()) == 12
    reader.close()


def test_segments_past_the_page_that_went_meanwhile_are_in_flight_as_of_that_page(log, catalog):
    reader = log.reader()
    page = loaded(reader, 3)
    assert trim(log, catalog, 24) > 2
    received = received_of(page, reader, lambda: catalog.trimmed("default"))
    assert received is not None and sum(received.in_flight.values()) == 21
    assert balanced_view(page, received, {}, *ALL).totals.balanced
    reader.close()


def test_a_reading_that_an_append_comes_into_is_not_taken(log, catalog):
    reader = log.reader()
    page = loaded(reader, 12)
    settled = threading.Event()
    headers = reader.headers

    def headers_then_append(after_seq: int = 0):
        found = headers(after_seq)
        log.append(entry_of(batch_of([event(900)]), {"web": 1}), "late")
        while log.durable_seq() == 24:
            settled.wait(0.001)
        reader.headers = headers
        return found

    reader.headers = headers_then_append
    assert received_of(page, reader, lambda: catalog.trimmed("default")) is None
    received = received_of(page, reader, lambda: catalog.trimmed("default"))
    assert received is not None and sum(received.total.values()) == 25
    assert balanced_view(page, received, {}, *ALL).totals.balanced
    reader.close()
