"""Events on their way to the collector: in order of arrival, with everything that goes wrong on the way."""

import random

from headwater.demo import facts
from headwater.domain.events import DAY_US, datetime_of

_STAMPS = tuple(f"{second // 60:02d}:{second % 60:02d}" for second in range(3600))


class Outbox:
    """Buckets of finished events by the tick in which they arrive. Nothing at or past `end_us` is kept."""

    def __init__(self, rng: random.Random, start_us: int, end_us: int, tick_us: int) -> None:
        self.events = 0
        """Taken so far, repeats included."""
        self.is_faulty = False
        """Is some client broken at present."""
        self.late = self.duplicates = self.broken = 0
        self._draw = rng.random
        self._rng = rng
        self._start_us = start_us
        self._end_us = end_us
        self._tick_us = tick_us
        self._buckets: dict[int, list[tuple[int, str]]] = {}

    def put(self, at_us: int, text: str, on_phone: bool = False) -> None:
        """Send an event that happened at `at_us`; what phones send may wait for a network for days."""
        if self.is_faulty and self._draw() < facts.BROKEN_RATE:
            self.put_broken(at_us, broken(self._rng, text))
            return
        draw = self._draw()
        if draw < facts.DUPLICATE_RATE:
            # Half of the repeats are retries within seconds, the rest phones that send a stored queue again.
            again_us = at_us + int(self._draw() * (20_000_000 if self._draw() < 0.5 else DAY_US))
            self.duplicates += self._add(again_us, text)
        elif on_phone and draw > 1.0 - facts.LATE_RATE:
            arrives_us = at_us + int(facts.LATE_DAYS_MAX * DAY_US * self._draw() ** 3)
            self.late += self._add(arrives_us, text)
            return
        self._add(at_us, text)

    def put_broken(self, at_us: int, text: str) -> None:
        """An event that is broken as it is."""
        self.broken += self._add(at_us, text)

    def take(self, tick: int) -> list[tuple[int, str]]:
        """What arrives in a tick, in order: (microseconds, JSON text)."""
        arrived = self._buckets.pop(tick, [])
        arrived.sort()
        self.events += len(arrived)
        return arrived

    def _add(self, at_us: int, text: str) -> bool:
        if at_us >= self._end_us or at_us < self._start_us:
            return False
        tick = (at_us - self._start_us) // self._tick_us
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [(at_us, text)]
        else:
            bucket.append((at_us, text))
        return True


class Clock:
    """Microseconds to RFC 3339 text, remembering the hours it has met."""

    def __init__(self) -> None:
        self._hours: dict[int, str] = {}

    def stamp(self, at_us: int) -> str:
        hour, rest = divmod(at_us, facts.HOUR_US)
        prefix = self._hours.get(hour)
        if prefix is None:
            if len(self._hours) > 1000:
                self._hours.clear()
            days, hour_of_day = divmod(hour, 24)
            prefix = self._hours[hour] = f"{datetime_of(days * DAY_US):%Y-%m-%d}T{hour_of_day:02d}:"
        second, micros = divmod(rest, 1_000_000)
        return f"{prefix}{_STAMPS[second]}.{micros // 1000:03d}Z"


def broken(rng: random.Random, text: str) -> str:
    """A good event, damaged in one of the ways that clients really find."""
    kind = int(rng.random() * len(BREAKS))
    return BREAKS[kind](text)


def _between(text: str, before: str, after: str, value: str) -> str:
    start = text.index(before) + len(before)
    return text[:start] + value + text[text.index(after, start) :]


BREAKS = (
    lambda text: _between(text, '"type":', ",", '"CLICK"'),
    lambda text: _between(text, '"name":', ",", "null"),
    lambda text: _between(text, '"timestamp":', ',"data"', '"yesterday"'),
    lambda text: _between(text, '"timestamp":', ',"data"', '"2025-02-30T10:00:00Z"'),
    lambda text: _between(text, '"timestamp":', ',"data"', '"2025-03-04 11:22:33"'),
    lambda text: _between(text, '"timestamp":', ',"data"', '"2999-01-01T00:00:00Z"'),
    lambda text: _between(text, '"id":', ",", '"42"'),
    lambda text: _between(text, '"source":', ",", "17"),
    lambda text: _between(text, '"version":', "}", "2"),
    lambda text: _between(text, '"attributes":', ',"metadata"', "[]"),
)
"""Unknown type, null name, no time, a day that is none, a naive time, a time ahead, no UUID, wrong JSON types."""
