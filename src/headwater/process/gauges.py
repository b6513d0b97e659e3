"""Plain counters of a stream, written by its thread alone. For /metrics."""

from bisect import bisect_left
from collections import Counter

from headwater.process.pipeline import StepStats
from headwater.storage.warehouse.base import Loaded

COMMIT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper edges of the histogram; one more bucket holds what took longer."""


class StreamGauges:
    def __init__(self) -> None:
        self.read_seq = 0
        self.loaded_seq = 0
        self.loads = 0
        self.events = 0
        self.batches = 0
        self.outcomes: Counter[str] = Counter()
        """Events by outcome: stored, duplicate, quarantined, suppressed, lost."""
        self.seconds: dict[str, float] = {}
        """Time by pipeline stage, and by phase of the load as `load.<phase>`."""
        self.rejects: Counter[tuple[str, str]] = Counter()
        """By (step, code)."""
        self.retries = 0
        """Loads tried again because the machine refused."""
        self.halved = 0
        """Times a block had to be searched for events that can't be stored."""
        self.commit_buckets = [0] * (len(COMMIT_SECONDS) + 1)
        self.commit_seconds = 0.0

    def decoded(self, stats: StepStats) -> None:
        self.events += stats.events
        self.batches += stats.batches
        for stage, seconds in stats.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.rejects.update(stats.rejects)

    def loaded(self, loaded: Loaded) -> None:
        self.loads += 1
        for outcome in ("stored", "duplicate", "quarantined", "suppressed", "lost"):
            self.outcomes[outcome] += getattr(loaded, outcome)
        for phase, seconds in loaded.seconds.items():
            self.seconds[f"load.{phase}"] = self.seconds.get(f"load.{phase}", 0.0) + seconds
        commit = loaded.seconds.get("commit", 0.0)
        self.commit_seconds += commit
        self.commit_buckets[bisect_left(COMMIT_SECONDS, commit)] += 1
