"""When people come: by the hour of their day, the day of their week, growth, and what campaigns run."""

import random
from collections.abc import Sequence
from itertools import accumulate

from headwater.demo.facts import CAMPAIGNS, COUNTRIES, DAYS, HOUR_US
from headwater.domain.events import DAY_US

GROWTH = 2.1
"""Visits on the last day against those on the first."""
NOISE = 0.07
"""Standard deviation of an hour around its expectation, as a share of it."""

_HOURS = (
    0.30, 0.18, 0.12, 0.10, 0.12, 0.22, 0.45, 0.75, 0.95, 1.05, 1.10, 1.15,
    1.20, 1.15, 1.05, 1.05, 1.10, 1.25, 1.45, 1.70, 1.85, 1.70, 1.20, 0.70,
)  # fmt: skip
_WEEK = (1.02, 0.97, 0.95, 0.98, 0.96, 1.02, 1.16)
"""Monday first: Sunday evening is when people shop for coffee."""


def local(at_us: int, country: int) -> tuple[int, int]:
    """(weekday with Monday = 0, hour) on the clocks of a country."""
    hours = at_us // HOUR_US + COUNTRIES[country].utc_offset_hours
    return (hours // 24 + 3) % 7, hours % 24


def crowd(at_us: int) -> list[float]:
    """How many come to the shop from each country, relative to each other and to other hours."""
    weights = []
    for number, country in enumerate(COUNTRIES):
        weekday, hour = local(at_us, number)
        weights.append(country.share * _WEEK[weekday] * _HOURS[hour])
    return weights


def cumulated_crowd(at_us: int) -> list[float]:
    return list(accumulate(crowd(at_us)))


def busy(at_us: int, end_us: int) -> float:
    """Expected visits at an instant of the history that ends at `end_us`, without noise; 1 is about an average hour."""
    days_before_end = (end_us - at_us) / DAY_US
    growth = float(GROWTH ** (-days_before_end / DAYS))
    pull = 1.0
    for campaign in CAMPAIGNS:
        if campaign.days_before_end_to < days_before_end <= campaign.days_before_end_from:
            pull = campaign.pull
    return sum(crowd(at_us)) * growth * pull


def hourly_shares(rng: random.Random, start_us: int, end_us: int) -> Sequence[float]:
    """The share of all visits that falls into each hour of [start, end); sums up to 1."""
    weights = [busy(at_us, end_us) * max(0.5, rng.gauss(1.0, NOISE)) for at_us in range(start_us, end_us, HOUR_US)]
    total = sum(weights)
    return [weight / total for weight in weights]


def poisson(rng: random.Random, mean: float) -> int:
    """A count around `mean`; above 30 by its normal likeness, which costs the same for any mean."""
    if mean > 30:
        return max(0, round(rng.gauss(mean, mean**0.5)))
    count, left = 0, rng.random()
    floor = 2.718281828459045**-mean
    while left > floor:
        count += 1
        left *= rng.random()
    return count
