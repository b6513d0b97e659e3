"""What was tried, what it met and what became of it: counted over all runs of a test session."""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SEED = "HEADWATER_FAULT_SEED"
FIGURES = "HEADWATER_FAULT_FIGURES"


class Tally:
    """Figures by kind of run. Those of several test processes are added up."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.faults: dict[str, Counter[str]] = defaultdict(Counter)
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def run(self, seed: str) -> Iterator["Tally"]:
        """One run. Where it fails, the command that repeats it stands with the error."""
        kind = seed.partition("/")[0]
        began = time.perf_counter()
        try:
            yield self
        except Exception as error:
            error.add_note(f"repeat it with: {SEED}={seed} pytest tests/faults/test_repeat.py")
            raise
        finally:
            self.runs[kind] += 1
            self.seconds[kind] += time.perf_counter() - began

    def fault(self, seed: str, name: str, n: int = 1) -> None:
        self.faults[seed.partition("/")[0]][name] += n

    def outcome(self, seed: str, name: str, n: int = 1) -> None:
        self.outcomes[seed.partition("/")[0]][name] += n

    def as_data(self) -> dict[str, Any]:
        return {
            kind: {
                "runs": n,
                "faults": dict(self.faults[kind].most_common()),
                "outcomes": dict(self.outcomes[kind].most_common()),
                "seconds": round(self.seconds[kind], 1),
            }
            for kind, n in sorted(self.runs.items())
        }

    def add(self, data: dict[str, Any]) -> None:
        for kind, figures in data.items():
            self.runs[kind] += figures["runs"]
            self.faults[kind].update(figures["faults"])
            self.outcomes[kind].update(figures["outcomes"])
            self.seconds[kind] += figures["seconds"]


TALLY = Tally()


def table_of(data: dict[str, Any]) -> list[str]:
    """For people."""

    def words(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "-"

    lines = []
    for kind, figures in data.items():
        lines.append(f"{kind:<16} {figures['runs']:>7,} runs  {figures['seconds']:>7.1f} s")
        lines.append(f"{'':<16} faults:   {words(figures['faults'])}")
        lines.append(f"{'':<16} outcomes: {words(figures['outcomes'])}")
    runs, seconds = sum(each["runs"] for each in data.values()), sum(each["seconds"] for each in data.values())
    faults = sum(n for each in data.values() for n in each["faults"].values())
    lines.append(f"{'sum':<16} {runs:>7,} runs  {seconds:>7.1f} s  {faults:,} faults")
    return lines


def write_figures(data: dict[str, Any]) -> None:
    """Where `HEADWATER_FAULT_FIGURES` names a file."""
    if target := os.environ.get(FIGURES):
        Path(target).write_text(json.dumps(data, indent=2) + "\n")
