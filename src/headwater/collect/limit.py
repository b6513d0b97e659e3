"""What a key may send: events and bytes per second, quarantined events per day; and what is on its way at once."""

import math
from typing import NamedTuple

from headwater.domain.errors import Overloaded
from headwater.domain.events import DAY_US

KEYS_MAX = 10_000
"""Buckets kept. Beyond, the ones that have refilled are forgotten, and if none has, all: an address under --open is a
key too, and whoever has so many addresses is not stopped by a rate."""


class Bucket:
    """A token bucket: `rate` tokens a second, at most `burst` of them. Seconds are those of a monotonic clock."""

    __slots__ = ("at", "burst", "rate", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.at = now

    def refill(self, now: float) -> float:
        tokens = self.tokens + (now - self.at) * self.rate
        self.tokens = tokens = tokens if tokens < self.burst else self.burst
        self.at = now
        return tokens

    def take(self, n: float, now: float) -> float:
        """Take n tokens and return 0, or take none and return the seconds until there are n."""
        if self.refill(now) >= n:
            self.tokens -= n
            return 0.0
        return (n - self.tokens) / self.rate if self.rate > 0 else math.inf


class Allowance(NamedTuple):
    """What is left, as the RateLimit headers tell it."""

    limit: int
    remaining: int
    reset_seconds: int
    """Until all of `limit` is there again."""


class Rates:
    """Token buckets of all keys of this process. Not durable: a restart fills them."""

    def __init__(
        self, events_per_second: float, events_burst: int, in_bytes_per_second: float, batch_events_max: int
    ) -> None:
        self._rate = events_per_second
        self._burst = events_burst
        self._burst_min = batch_events_max
        self._bytes_rate = in_bytes_per_second
        self._events: dict[str, Bucket] = {}
        self._bytes: dict[str, Bucket] = {}

    def events_of(self, key: str, rate: float | None, burst: int | None, now: float) -> Bucket:
        """The bucket of a key; `rate` and `burst` are its own, where it has some.

        The burst is never below a batch, so that every batch that is allowed can pass.
        """
        rate = self._rate if rate is None else rate
        size = max(self._burst if burst is None else burst, self._burst_min)
        return _bucket(self._events, key, rate, size, now)

    def bytes_of(self, key: str, body_bytes_max: int, now: float) -> Bucket:
        """The bucket of bytes of an ingest key; as with events, the largest body can pass."""
        return _bucket(self._bytes, key, self._bytes_rate, max(self._bytes_rate, body_bytes_max), now)


def allowance(bucket: Bucket) -> Allowance:
    missing = bucket.burst - bucket.tokens
    reset = math.ceil(missing / bucket.rate) if bucket.rate > 0 else 0
    return Allowance(int(bucket.burst), max(0, int(bucket.tokens)), reset)


def take_events(bucket: Bucket, n: int, now: float) -> None:
    """Raises Overloaded (RATE_LIMITED) with the seconds to wait."""
    wait = bucket.take(n, now)
    if wait > 0:
        raise Overloaded(
            f"{n} events, and {int(bucket.tokens)} of {int(bucket.burst)} are left at {bucket.rate:g} events/s for "
            f"this key; send it again in {_seconds(wait)}",
            code="RATE_LIMITED",
            limit=bucket.rate,
            retry_after_seconds=wait,
        )


def take_bytes(bucket: Bucket, n: int, now: float) -> None:
    """Raises Overloaded (BYTES_RATE_LIMITED) with the seconds to wait."""
    wait = bucket.take(n, now)
    if wait > 0:
        raise Overloaded(
            f"{n} bytes, and {int(bucket.tokens)} are left at {bucket.rate:g} bytes/s for this ingest key; send it "
            f"again in {_seconds(wait)}",
            code="BYTES_RATE_LIMITED",
            limit=bucket.rate,
            retry_after_seconds=wait,
        )


class InFlight:
    """Bytes of bodies that are being received, judged or written, all connections together."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0

    def add(self, n: int) -> None:
        """Raises Overloaded (TOO_MUCH_IN_FLIGHT); then nothing was added."""
        if self.bytes + n > self.bytes_max:
            raise Overloaded(
                f"{self.bytes} bytes are on their way already, of at most {self.bytes_max}; send it again in a second",
                code="TOO_MUCH_IN_FLIGHT",
                limit=self.bytes_max,
                retry_after_seconds=1,
            )
        self.bytes += n

    def remove(self, n: int) -> None:
        self.bytes -= n


class Quota:
    """Events that a key may put into quarantine per UTC day; those beyond are suppressed: counted, kept in the lake."""

    def __init__(self, events_per_day: int) -> None:
        self.events_per_day = events_per_day
        self._day = 0
        self._used: dict[str, int] = {}

    def take(self, key: str, n: int, now_us: int) -> int:
        """How many of n may still be quarantined."""
        day = now_us // DAY_US
        if day != self._day:
            self._day = day
            self._used.clear()
        used = self._used.get(key, 0)
        granted = min(n, max(0, self.events_per_day - used))
        self._used[key] = used + granted
        return granted


def _bucket(buckets: dict[str, Bucket], key: str, rate: float, burst: float, now: float) -> Bucket:
    bucket = buckets.get(key)
    if bucket is None:
        if len(buckets) >= KEYS_MAX:
            _forget(buckets, now)
        bucket = buckets[key] = Bucket(rate, burst, now)
    elif bucket.rate != rate or bucket.burst != burst:
        bucket.refill(now)
        bucket.rate, bucket.burst = rate, burst
    return bucket


def _forget(buckets: dict[str, Bucket], now: float) -> None:
    for key in [key for key, bucket in buckets.items() if bucket.refill(now) >= bucket.burst]:
        del buckets[key]
    if len(buckets) >= KEYS_MAX:
        buckets.clear()


def _seconds(wait: float) -> str:
    return f"{max(1, math.ceil(wait))} s" if wait < math.inf else "vain: its rate is 0"
