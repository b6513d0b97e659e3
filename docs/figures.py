"""Writes the figures of the last runs into docs/reliability.md, from docs/reliability/*.json. `make docs` runs it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "reliability.md"
BEGIN, END = "<!-- figures: made by docs/figures.py -->", "<!-- end of figures -->"

TRIED = {
    "crash-log": "log: a crash at every operation",
    "fault-log": "log: an operation fails, then a crash",
    "rot-log": "log: files damaged or gone",
    "crash-lake": "lake: a crash at any operation",
    "fault-lake": "lake: an operation fails, then a crash",
    "rot-lake": "lake: files damaged or gone",
    "crash-house": "all stores together: a crash at any operation",
    "fault-house": "all stores together: an operation fails",
}
BOOKKEEPING = ("inFlight", "refused", "removed")
"""Of a ledger's sums those that say nothing here."""


def block(folder: Path) -> str:
    """All figures that there are files for."""
    parts = {"faults": faults, "kills": kills, "soak": soak, "restart": restart}
    lines: list[str] = []
    for name, part in parts.items():
        path = folder / f"{name}.json"
        if path.exists():
            lines += [*part(json.loads(path.read_text())), ""]
    return "\n".join(lines).strip() or "None yet: `make figures` makes them."


def faults(data: dict[str, Any]) -> Iterator[str]:
    runs = sum(each["runs"] for each in data.values())
    met = sum(n for each in data.values() for n in each["faults"].values())
    yield f"**Simulated faults** (`tests/faults`): {runs:,} runs, {met:,} faults; a broken promise is a failed test."
    yield ""
    yield "| what was tried | runs | faults | how it ended |"
    yield "|---|--:|--:|---|"
    for kind, each in data.items():
        ended = ", ".join(f"{name} {n:,}" for name, n in each["outcomes"].items() if name not in BOOKKEEPING)
        yield f"| {TRIED.get(kind, kind)} | {each['runs']:,} | {sum(each['faults'].values()):,} | {ended} |"


def kills(data: dict[str, Any]) -> Iterator[str]:
    files = {name: each for name, each in data["files"].items() if not each["failed"]}
    killed, looked = (sum(each[what] for each in files.values()) for what in ("kills", "events"))
    failed = data["tests"]["failed"] + data["tests"]["error"]
    yield f"**Kills** (`kill -9` of a real process, {on(data)}): {killed:,} kills; of {looked:,} acknowledged events"
    tests = data["tests"]["passed"] + failed
    yield f"none was lost and none stood twice. Of the {tests:,} tests of that run, faults included, {failed} failed."
    yield ""
    yield "| where | kills | acknowledged events looked for |"
    yield "|---|--:|--:|"
    for name, each in sorted(data["files"].items()):
        found = f"{each['events']:,}" if not each["failed"] else "FAILED"
        yield f"| `{name}` | {each['kills']:,} | {found} |"


def soak(data: dict[str, Any]) -> Iterator[str]:
    yield f"**Soak** ({on(data)}):"
    yield ""
    yield from (f"- {line}" for line in data["says"])
    yield ""
    yield "![memory, rate, delays, lag, handles and sizes over the run](reliability/soak.svg)"
    yield ""
    yield "The samples: [soak.csv](reliability/soak.csv); all sums: [soak.json](reliability/soak.json)."


def restart(data: dict[str, Any]) -> Iterator[str]:
    yield f"**Restart** ({on(data)}): after {data['kills']} times kill -9 under load, the slowest start answered after"
    yield f"{data['seconds']:.1f} s; of {data['events']:,} acknowledged events {data['lost']} were lost,"
    yield f"{data['doubled']} doubled."


def on(data: dict[str, Any]) -> str:
    """When, and on what."""
    machine = data["machine"]
    return f"{data['date']}, revision {data['revision']}, {machine['cores']} cores"


def restart_of(results: Path) -> dict[str, Any] | None:
    """The newest full run of bench/restart.py."""
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    rows = [row for row in rows if row["bench"] == "restart" and not row["quick"] and row["measured"] is not None]
    if not rows:
        return None
    newest = [row for row in rows if row["date"] == rows[-1]["date"]]
    measured = {row["what"]: row["measured"] for row in newest}
    whole = newest[0]
    return {
        "date": whole["date"][:10],
        "revision": whole["revision"],
        "machine": whole["machine"],
        "seconds": whole["measured"],
        "kills": whole["absolute"]["kills"],
        "events": whole["absolute"]["events"],
        "lost": measured["acknowledged and lost"],
        "doubled": measured["doubled"],
    }


def filled(page: str, figures: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{figures}\n{END}{after}"


if __name__ == "__main__":
    newest = restart_of(DOCS.parent / "bench" / "results.jsonl")
    if newest is not None:
        (DOCS / "reliability" / "restart.json").write_text(json.dumps(newest, indent=2) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), block(DOCS / "reliability")))
