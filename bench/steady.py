"""Does a figure stay the same? A slope that a few outliers, as seals and jobs make them, do not bend."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

AFTER_SHARE = 1 / 3
"""Of the run: caches fill until then."""


@dataclass(frozen=True)
class Steady:
    """A figure over the last two thirds of a run."""

    name: str
    unit: str
    slope_per_hour: float
    bound_per_hour: float
    median: float
    peak: float

    @property
    def holds(self) -> bool:
        return self.slope_per_hour <= self.bound_per_hour

    def __str__(self) -> str:
        word = "flat" if self.holds else "NOT FLAT"
        told = f"{self.slope_per_hour:+.1f} {self.unit} an hour (at most {self.bound_per_hour:+.0f})"
        return f"{self.name}: {word}, {told}; median {self.median:.0f}, peak {self.peak:.0f} {self.unit}"


def steady(name: str, unit: str, seconds: Sequence[float], values: Sequence[float], bound_per_hour: float) -> Steady:
    begin = seconds[0] + (seconds[-1] - seconds[0]) * AFTER_SHARE
    late = [(x, y) for x, y in zip(seconds, values, strict=True) if x >= begin]
    ys = [y for _, y in late]
    slope = 3600 * theil_sen([x for x, _ in late], ys)
    return Steady(name, unit, slope, bound_per_hour, statistics.median(ys), max(values))


def theil_sen(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Median of the slopes of all pairs, O(n² log n): up to 29 % of the values may be anything. `xs` ascending.

    Sen (1968), Estimates of the regression coefficient based on Kendall's tau.
    """
    points = zip(xs, ys, strict=True)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0
