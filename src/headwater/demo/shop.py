"""The demo shop: from a seed number and an end, a stream of events in the order in which a collector meets them.

Pure: the same seed, end and number of events give the same bytes. Memory is flat: people are bounded by
`facts.PEOPLE_MAX`, and of the events only what is still to arrive is held.
"""

import random
from collections.abc import Iterator

from headwater.demo import facts, mailing, servers
from headwater.demo.outbox import Clock, Outbox
from headwater.demo.people import VISITOR, Person, campaign_of, founding_standing
from headwater.demo.rhythm import cumulated_crowd, hourly_shares, poisson
from headwater.demo.visits import Visit
from headwater.domain.events import DAY_US


class Shop:
    """A shop from `start_us` to `end_us`, moved on tick by tick. `history_end_us` fixes versions and campaigns."""

    def __init__(
        self,
        seed: int,
        start_us: int,
        end_us: int,
        *,
        tick_us: int,
        history_end_us: int,
        founders: int,
        first_number: int = 0,
    ) -> None:
        self.rng = random.Random(f"{seed}/{start_us}/{end_us}")  # noqa: S311 - a repeatable stream is the point
        self.clock = Clock()
        self.outbox = Outbox(self.rng, start_us, end_us, tick_us)
        self.incident = facts.incident_of(history_end_us)
        self.end_us = history_end_us
        self.start_us = start_us
        self.tick_us = tick_us
        self.people: list[list[Person]] = [[] for _ in facts.COUNTRIES]
        self.population = 0
        self.number = first_number
        self._hour = -1
        self._crowd: list[float] = []
        self._found(seed, founders)

    def advance(self, tick: int, visits: float) -> list[tuple[int, str]]:
        """Let about `visits` visits begin in the tick; return what arrives in it: (microseconds, JSON text)."""
        at_us = self.start_us + tick * self.tick_us
        hour = at_us // facts.HOUR_US
        if hour != self._hour:
            self._hour = hour
            self._crowd = cumulated_crowd(at_us)
            self.outbox.is_faulty = self.rng.random() < facts.FAULTY_HOURS
            if at_us == hour * facts.HOUR_US:
                mailing.send_out(self, self.people, at_us)
        draw, tick_us = self.rng.random, self.tick_us
        countries = self.rng.choices(range(len(self._crowd)), cum_weights=self._crowd, k=poisson(self.rng, visits))
        for country in countries:
            began_us = at_us + int(draw() * tick_us)
            Visit(self, self._visitor(country, began_us), began_us).run()
        return self.outbox.take(tick)

    def _visitor(self, country: int, at_us: int) -> Person:
        known = self.people[country]
        draw = self.rng.random
        if known and draw() < facts.RETURNING_RATE:
            # Squared: the newest people come back most.
            return known[-1 - int(draw() ** 2 * len(known))]
        person = Person(self.rng, self.number, country, campaign_of(self.rng, at_us, self.end_us), VISITOR)
        self.number += 1
        if self.population >= facts.PEOPLE_MAX and known:
            known[int(draw() * len(known))] = person
        else:
            known.append(person)
            self.population += 1
        return person

    def _found(self, seed: int, founders: int) -> None:
        """The customers of the first day. They depend on the seed alone, so the live trickle knows them too."""
        rng = random.Random(f"{seed}/founders")  # noqa: S311
        for number in range(founders):
            country = rng.choices(range(len(facts.COUNTRIES)), weights=[c.share for c in facts.COUNTRIES])[0]
            self.people[country].append(Person(rng, number, country, "(none)", founding_standing(rng)))
        self.population = founders
        self.number = max(self.number, founders)


def history(seed: int, end_us: int, events: int = facts.EVENTS) -> Iterator[list[tuple[int, str]]]:
    """Ninety days that end at `end_us` (a whole hour), hour by hour, of about `events` events."""
    shop = Shop(
        seed,
        end_us - facts.DAYS * DAY_US,
        end_us,
        tick_us=facts.HOUR_US,
        history_end_us=end_us,
        founders=founders_of(events),
    )
    return hours_of(shop, events)


def founders_of(events: int) -> int:
    return max(50, round(facts.FOUNDERS_PER_EVENT * events))


def hours_of(shop: Shop, events: int) -> Iterator[list[tuple[int, str]]]:
    shares = hourly_shares(shop.rng, shop.start_us, shop.end_us)
    every_us = servers.interval_us(events, shop.start_us, shop.end_us)
    rounds = (shop.end_us - shop.start_us) // every_us
    visits = (events - rounds * len(servers.HOSTS) * servers.MEASURES) / facts.EVENTS_PER_VISIT
    expected = 0.0
    for tick, share in enumerate(shares):
        at_us = shop.start_us + tick * facts.HOUR_US
        for round_us in range(at_us, at_us + facts.HOUR_US, every_us):
            servers.measure(shop, round_us)
        # A day's worth of events too many or too few is made up for within some days; unseen beside NOISE.
        pace = 1.0 + (expected - shop.outbox.events) / (events / 20)
        yield shop.advance(tick, visits * share * min(1.5, max(0.5, pace)))
        expected += share * events


def bodies(seed: int, end_us: int, events: int = facts.EVENTS, per_body: int = 1000) -> Iterator[tuple[int, bytes]]:
    """The history as request bodies, JSON arrays: (events in it, body)."""
    waiting: list[str] = []
    for hour in history(seed, end_us, events):
        waiting.extend(text for _, text in hour)
        while len(waiting) >= per_body:
            yield per_body, body_of(waiting[:per_body])
            del waiting[:per_body]
    if waiting:
        yield len(waiting), body_of(waiting)


def body_of(texts: list[str]) -> bytes:
    return f"[{','.join(texts)}]".encode()
