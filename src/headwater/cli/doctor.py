"""`headwater doctor`: is all well, and which command mends what is not."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from headwater.cli.door import SOCKET_NAME, answers, open_door, reaching
from headwater.cli.jobs import follow, tell
from headwater.cli.progress import progress_bar
from headwater.cli.show import show_json

SIGNS = {"ok": "ok    ", "warn": "WARN  ", "broken": "BROKEN", "skipped": "-     "}


@click.command()
@reaching
@click.option("--deep", is_flag=True, help="Read all that is stored: log, lake and warehouse, every byte.")
def doctor_command(data: Path, url: str | None, project: str | None, as_json: bool, deep: bool) -> None:
    """Look whether all is well: counts, positions, checksums, disk, clock, versions; and say what mends what is not.

    Of a service that runs, or of a data folder that nobody serves: there nothing is changed. Exits 1 when something is
    broken; a warning alone exits 0.
    """
    if url or answers(data / SOCKET_NAME):
        found = ask(data, url, project, deep)
    else:
        from headwater.boot.doctor import examine_folder
        from headwater.domain.findings import facts_of

        with progress_bar("parts") as advance:
            found = facts_of(examine_folder(data, project or "default", deep=deep, advance=advance), deep=deep)
    if as_json:
        show_json(found)
    else:
        show(found)
    if not found["healthy"]:
        sys.exit(1)


def ask(data: Path, url: str | None, project: str | None, deep: bool) -> Mapping[str, Any]:
    with open_door(data, url, project) as door:
        if not deep:
            answer: Mapping[str, Any] = door.get("/api/v1/doctor")
            return answer
        job = follow(door, door.post("/api/v1/doctor", {})["id"])
    if job["state"] != "succeeded":
        tell(job, False)
        sys.exit(1)
    result: Mapping[str, Any] = job["result"]
    return result


def show(found: Mapping[str, Any]) -> None:
    width = max(len(check["name"]) for check in found["checks"])
    for check in found["checks"]:
        click.echo(f"{SIGNS[check['result']]} {check['name']:<{width}}  {check['found']}")
        if check["cure"] and check["result"] != "ok":
            click.echo(f"{'':>7}{'':<{width}}  -> {check['cure']}")
    counts = {result: sum(check["result"] == result for check in found["checks"]) for result in SIGNS}
    said = ", ".join(f"{n} {result}" for result, n in counts.items() if n)
    click.echo(f"{'healthy' if found['healthy'] else 'NOT HEALTHY'}: {said}")
