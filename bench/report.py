"""A row of the table, the table, and the file that keeps the rows over time."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.jsonl")


@dataclass
class Row:
    """One promise. `measured` None: not measured, and `note` says why."""

    bench: str
    what: str
    measured: float | None
    unit: str
    """`D`, `N` and `V` are ratios to what was measured in the same run; ms, MB, s, B, events are absolute."""
    floor: float | None = None
    aim: float | None = None
    more_is_better: bool = True
    absolute: dict[str, float] = field(default_factory=dict)
    """What the measured value was made of."""
    note: str = ""

    @property
    def met(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.floor is None:
            return "-"
        if self.reaches(self.floor):
            return "aim" if self.aim is not None and self.reaches(self.aim) else "floor"
        return "MISSED"

    def reaches(self, bound: float) -> bool:
        assert self.measured is not None
        return self.measured >= bound if self.more_is_better else self.measured <= bound


def not_measured(bench: str, what: str, unit: str, why: str, floor: float | None = None) -> Row:
    return Row(bench, what, None, unit, floor, note=why)


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def revision() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=RESULTS.parent)
        return done.stdout.strip()

    head = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{head}+changes" if git("status", "--porcelain", "--", "src") else head


def append(rows: list[Row], quick: bool) -> None:
    """One JSON line a row. `load` is the machine's load average: above 1.5 others worked on it too."""
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "revision": revision(),
        "quick": quick,
        "machine": machine(),
        "load": round(os.getloadavg()[1], 1),
    }
    with RESULTS.open("a") as results:
        for row in rows:
            results.write(json.dumps({**facts, **asdict(row), "met": row.met}) + "\n")


def table(rows: list[Row]) -> str:
    lines = [("what", "measured", "floor", "aim", "met?", "from")]
    for row in rows:
        parts = ", ".join(f"{name} {number(value)}" for name, value in row.absolute.items())
        lines.append(
            (
                row.what,
                "-" if row.measured is None else f"{number(row.measured)} {row.unit}",
                number(row.floor),
                number(row.aim),
                row.met,
                "; ".join(text for text in (parts, row.note) if text),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    rows_out = []
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        rows_out.append(" | ".join([*cells, line[5]]).rstrip())
    return "\n".join([rows_out[0], "-" * len(rows_out[0]), *rows_out[1:]])


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
