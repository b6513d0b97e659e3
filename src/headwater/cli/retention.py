"""`headwater retention`: what would be removed today; remove it. `headwater warehouse`: its sizes; reclaim space."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.jobs import ListFirst, follow, tell
from headwater.cli.show import show_json, show_table


@click.command()
@reaching
@click.option("--dry-run", is_flag=True, help="Only say what would be removed; so it is without --yes, too.")
@click.option("--yes", is_flag=True, help="Remove it.")
def retention_command(
    data: Path, url: str | None, project: str | None, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Say what is older than the project keeps; with --yes remove it from the warehouse.

    The same is done every night. What the project keeps stands in its settings: headwater project set --retention 90d.
    """
    with open_door(data, url, project) as door:
        if dry_run or not yes:
            tell_dry(door.get("/api/v1/retention"), as_json)
            return
        job = follow(door, door.post("/api/v1/retention/run", {"dryRun": False})["jobId"])
    tell_done(job, as_json)


class ShowFirst(ListFirst):
    first = "show"


@click.group(cls=ShowFirst)
def warehouse_command() -> None:
    """Sizes and free space of the warehouse; give space back. Without a word more: show."""


@warehouse_command.command("show")
@reaching
def show_warehouse(data: Path, url: str | None, project: str | None, as_json: bool) -> None:
    """How large it is, how much of that is free for new events, and the rest of its facts."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/warehouse")
    if as_json:
        show_json(found)
        return
    facts = {name: value for name, value in found.items() if name != "facts"} | found["facts"]
    show_table(("fact", "value"), list(facts.items()), empty="")


@warehouse_command.command("reclaim")
@reaching
def reclaim(data: Path, url: str | None, project: str | None, as_json: bool) -> None:
    """Give free space back to the disk, beside the events that come in. Exits 1 unless it succeeds."""
    with open_door(data, url, project) as door:
        job = follow(door, door.call("POST", "/api/v1/warehouse/reclaim")["jobId"])
    tell_done(job, as_json)


def tell_dry(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    removable = found["removable"]
    kept = f"{found['retention']} (quarantine {found['quarantineRetention']}, lake {found['lakeRetention']})"
    click.echo(f"kept: {kept}, by days of {found['timeZone']}")
    if found["before"] is None and found["quarantineBefore"] is None:
        click.echo("nothing is ever removed")
        return
    click.echo(f"events that occurred before: {found['before'] or '-'}")
    click.echo(f"refused events received before: {found['quarantineBefore'] or '-'}")
    click.echo(
        f"{removable['events']:,} events of {removable['days']:,} days and {removable['quarantined']:,} in quarantine "
        f"would be removed, about {removable['bytes'] / 1e6:,.1f} MB"
    )
    if removable["rows"]:
        click.echo("nothing was done; the same with --yes does it, and so does the coming night")


def tell_done(job: Mapping[str, Any], as_json: bool) -> None:
    tell(job, as_json)
    if job["state"] != "succeeded":
        sys.exit(1)
