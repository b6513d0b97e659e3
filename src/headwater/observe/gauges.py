"""Our own numbers for `/metrics`: counters, gauges and histograms that cost the hot path one addition.

    ACCEPTED = counter("headwater_accepted_events_total", "Events made durable.").of()
    ACCEPTED.add(n)
    REFUSED = counter("headwater_refused_requests_total", "Requests refused, by reason.", ("reason",))
    REFUSED.of("RATE").add()

One registry a process; asking for the same name again gives the same family. Names are `headwater_…` and end in a unit
of UNITS (counters: then `_total`). Label values are bounded: beyond LABEL_SETS_MAX they count under `(other)`.
`add` and `observe` lose nothing when several threads call them: an addition to an attribute has no point at which
CPython (3.10 on, with its GIL) changes threads. Reading while they write may see a histogram one call apart.
"""

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any, ClassVar, Generic, TypeVar, cast

LABEL_SETS_MAX = 200
OTHER = "(other)"
UNITS = (
    *("batches", "bytes", "connections", "entries", "errors", "events", "files", "frames", "handles", "info", "lines"),
    *("projects", "queries", "ratio", "requests", "restarts", "rows", "runs", "seconds", "segments", "seq", "series"),
    *("state", "threads"),
)

_NAME = re.compile(rf"headwater_[a-z0-9_]*(?:{'|'.join(UNITS)})(?:_total)?")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds for latencies."""


class Counter:
    """Only rises."""

    kind: ClassVar = "counter"
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, n: float = 1) -> None:
        self.value += n

    def read(self) -> float:
        return self.value


class Gauge:
    """Goes up and down."""

    kind: ClassVar = "gauge"
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def set(self, value: float) -> None:
        self.value = value

    def add(self, n: float) -> None:
        self.value += n

    def read(self) -> float:
        return self.value


class Histogram:
    """Counts by upper bound, and the sum."""

    kind: ClassVar = "histogram"
    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


Child = TypeVar("Child", Counter, Gauge, Histogram)


class Family(Generic[Child]):
    """One name, with a child per set of label values. Keep the child where the values are known beforehand."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...], make: Callable[[], Child]) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self.children: dict[tuple[str, ...], Child] = {}
        self._make: Callable[[], Child] = make
        self._lock = threading.Lock()

    def of(self, *values: str) -> Child:
        """The child of these label values, in the order of `labels`."""
        child = self.children.get(values)
        return child if child is not None else self._new(values)

    def _new(self, values: tuple[str, ...]) -> Child:
        assert len(values) == len(self.labels), f"{self.name}: labels {self.labels}, got {values}"
        with self._lock:
            if values not in self.children and len(self.children) >= LABEL_SETS_MAX:
                values = (OTHER,) * len(values)
            return self.children.setdefault(values, self._make())


Read = Callable[[], float | Mapping[tuple[str, ...], float]]
"""A number, or numbers by label values."""


class ReadFamily:
    """One name whose values are asked for when somebody looks. May raise: then it is left out and counted."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...], kind: str, read: Read) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self.kind = kind
        self.read = read


class Registry:
    def __init__(self) -> None:
        self._families: dict[str, Family[Any] | ReadFamily] = {}
        self._lock = threading.Lock()
        self._failed = self.counter(
            "headwater_gauges_unread_errors_total", "Gauges that could not be read.", ("gauge",)
        )

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Family[Counter]:
        assert name.endswith("_total"), f"{name}: a counter ends in _total"
        return cast(Family[Counter], self._family(name, help_text, labels, Counter))

    def gauge(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Family[Gauge]:
        assert not name.endswith("_total"), f"{name}: only a counter ends in _total"
        return cast(Family[Gauge], self._family(name, help_text, labels, Gauge))

    def histogram(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), bounds: tuple[float, ...] = SECONDS
    ) -> Family[Histogram]:
        assert not name.endswith("_total"), f"{name}: only a counter ends in _total"
        assert list(bounds) == sorted(set(bounds)), f"{name}: bounds must ascend"
        return cast(Family[Histogram], self._family(name, help_text, labels, lambda: Histogram(bounds)))

    def reading(self, name: str, help_text: str, read: Read, labels: tuple[str, ...] = ()) -> None:
        """A gauge (a counter where the name ends in `_total`) read at each look; a later call replaces the reader."""
        _check_name(name, help_text)
        kind = "counter" if name.endswith("_total") else "gauge"
        with self._lock:
            present = self._families.get(name)
            assert present is None or isinstance(present, ReadFamily), f"{name} is written, not read"
            self._families[name] = ReadFamily(name, help_text, labels, kind, read)

    def exposition(self) -> bytes:
        """All families in Prometheus text format 0.0.4."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        with self._lock:
            families = sorted(self._families.values(), key=lambda family: family.name)
        for family in families:
            values = self._values(family)
            if not values:
                continue
            shown: Any
            kind = values[0][1].kind if isinstance(family, Family) else family.kind
            if kind == "histogram":
                shown = HistogramMetricFamily(family.name, family.help, labels=family.labels)
                for labels, child in values:
                    shown.add_metric(labels, *_cumulated(child))
            else:
                shape = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
                shown = shape(family.name, family.help, labels=family.labels)
                for labels, child in values:
                    shown.add_metric(labels, child.read() if isinstance(family, Family) else child)
            yield shown

    def _values(self, family: Family[Any] | ReadFamily) -> list[tuple[tuple[str, ...], Any]]:
        if isinstance(family, Family):
            return list(family.children.items())
        try:
            found = family.read()
        except Exception:  # one broken reader must not blind us to the rest
            self._failed.of(family.name).add()
            return []
        return [((), found)] if not isinstance(found, Mapping) else _bounded(found)

    def _family(self, name: str, help_text: str, labels: tuple[str, ...], make: Callable[[], Any]) -> Family[Any]:
        _check_name(name, help_text)
        with self._lock:
            family = self._families.get(name)
            if family is None:
                family = self._families[name] = Family(name, help_text, labels, make)
                if not labels:
                    family.of()
        assert isinstance(family, Family) and family.labels == labels, f"{name} is registered differently"
        return family


def _cumulated(child: Histogram) -> tuple[list[tuple[str, float]], float]:
    uppers = [*(repr(float(bound)) for bound in child.bounds), "+Inf"]
    return list(zip(uppers, accumulate(child.counts), strict=True)), child.sum


def _bounded(found: Mapping[tuple[str, ...], float]) -> list[tuple[tuple[str, ...], float]]:
    items = list(found.items())
    if len(items) <= LABEL_SETS_MAX:
        return items
    rest = sum(value for _, value in items[LABEL_SETS_MAX:])
    return [*items[:LABEL_SETS_MAX], ((OTHER,) * len(items[0][0]), rest)]


def _check_name(name: str, help_text: str) -> None:
    assert _NAME.fullmatch(name), f"{name}: expected headwater_… ending in a unit of {UNITS}, counters then _total"
    assert help_text.endswith("."), f"{name}: its help is a sentence"


REGISTRY = Registry()
"""The process's own."""

counter = REGISTRY.counter
gauge = REGISTRY.gauge
histogram = REGISTRY.histogram
reading = REGISTRY.reading
exposition = REGISTRY.exposition
