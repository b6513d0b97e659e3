"""Rates, quotas and what is in flight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.collect.limit import KEYS_MAX, Bucket, InFlight, Quota, Rates, allowance, take_bytes, take_events
from headwater.domain.errors import Overloaded
from headwater.domain.events import DAY_US


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(rate=10, burst=100, now=0)
    assert bucket.take(100, 0) == 0
    assert bucket.take(1, 0) == pytest.approx(0.1)
    assert bucket.take(5, 0.5) == 0
    assert bucket.take(100, 20.0) == 0


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 120)), max_size=50))
def test_no_more_ever_passes_than_burst_plus_rate_times_time(steps: list[tuple[float, int]]) -> None:
    bucket = Bucket(rate=10, burst=100, now=0)
    now, passed = 0.0, 0
    for pause, n in steps:
        now += pause
        wait = bucket.take(n, now)
        passed += n if wait == 0 else 0
    assert passed <= 100 + 10 * now + 1e-6


def test_a_refusal_tells_rate_rest_and_when_to_come_again() -> None:
    bucket = Bucket(rate=10, burst=100, now=0)
    take_events(bucket, 95, 0)
    with pytest.raises(Overloaded) as raised:
        take_events(bucket, 25, 0)
    assert raised.value.code == "RATE_LIMITED"
    assert raised.value.retry_after_seconds == pytest.approx(2.0)
    assert raised.value.detail.startswith("25 events, and 5 of 100 are left at 10 events/s")
    assert allowance(bucket) == (100, 5, 10)


def test_bytes_have_a_code_of_their_own() -> None:
    with pytest.raises(Overloaded) as raised:
        take_bytes(Bucket(rate=10, burst=100, now=0), 101, 0)
    assert raised.value.code == "BYTES_RATE_LIMITED"


def test_a_burst_is_never_below_a_batch() -> None:
    rates = Rates(events_per_second=5, events_burst=10, in_bytes_per_second=5, batch_events_max=1000)
    assert rates.events_of("k", None, None, 0).burst == 1000
    assert rates.events_of("k", None, 7, 0).burst == 1000
    assert rates.bytes_of("k", 10_000, 0).burst == 10_000


def test_a_keys_own_rate_goes_before_the_setting_and_takes_effect_at_once() -> None:
    rates = Rates(100, 100, 1, 10)
    bucket = rates.events_of("k", None, None, 0)
    bucket.take(100, 0)
    changed = rates.events_of("k", 1, 50, 0)
    assert changed is bucket
    assert (changed.rate, changed.burst, changed.take(1, 0)) == (1, 50, 1)


def test_keys_do_not_share_a_bucket_and_full_ones_are_forgotten() -> None:
    rates = Rates(100, 100, 1, 10)
    rates.events_of("busy", None, None, 0).take(100, 0)
    for number in range(KEYS_MAX - 1):
        rates.events_of(f"idle {number}", None, None, 0)
    rates.events_of("new", None, None, 0)
    assert len(rates._events) == 2
    assert rates.events_of("busy", None, None, 0).tokens == 0


def test_what_is_in_flight_is_bounded() -> None:
    in_flight = InFlight(100)
    in_flight.add(60)
    with pytest.raises(Overloaded) as raised:
        in_flight.add(41)
    assert raised.value.code == "TOO_MUCH_IN_FLIGHT"
    in_flight.remove(60)
    in_flight.add(100)
    assert in_flight.bytes == 100


def test_a_quota_is_per_key_and_day() -> None:
    quota = Quota(events_per_day=10)
    assert [quota.take("a", 7, 0), quota.take("a", 7, 0), quota.take("a", 1, DAY_US - 1)] == [7, 3, 0]
    assert quota.take("b", 11, 0) == 10
    assert quota.take("a", 7, DAY_US) == 7
