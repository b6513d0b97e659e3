"""`headwater lake`: look into the lake; make the warehouse again from it."""

import sys
from pathlib import Path

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.show import show_json, show_table


@click.group()
def lake_command() -> None:
    """Look into the lake; make the warehouse again from it."""


@lake_command.command("ls")
@reaching
def ls(data: Path, url: str | None, project: str | None, as_json: bool) -> None:
    """Sizes: rows, files, bytes, and how far the log is sealed."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/lake", limit=1)
    found.pop("versions")
    if as_json:
        show_json(found)
    else:
        show_table(("fact", "value"), list(found.items()), empty="")


@lake_command.command("history")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@reaching
def history(data: Path, url: str | None, project: str | None, as_json: bool, limit: int) -> None:
    """The versions, newest first."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/lake", limit=limit)["versions"]
    if as_json:
        show_json(found)
        return
    columns = ("version", "committedAt", "operation", "rows", "bytes", "files", "seq")
    show_table(columns, [[one[column] for column in columns] for one in found], empty="nothing is sealed yet")


@lake_command.command("rebuild")
@click.option("--check", is_flag=True, help="Build and compare only; keep the present warehouse.")
@click.option("--lake-gap", is_flag=True, help="Go on where neither lake nor log has the events; says how many.")
@reaching
def rebuild(data: Path, url: str | None, project: str | None, as_json: bool, check: bool, lake_gap: bool) -> None:
    """Make a new warehouse from the lake and the rest of the log, compare, and put it in place.

    The service must be stopped. The old file is kept beside the new one. Exits 1 where the two differ.
    """
    if url:
        raise click.UsageError("rebuild works on a data folder, not through --url")
    from headwater.boot.rebuild import rebuild_project
    from headwater.cli.progress import progress_bar

    with progress_bar("events") as advance:
        report = rebuild_project(data, project or "default", keep_old=check, lake_gap=lake_gap, progress=advance)
    if as_json:
        show_json(report.facts())
    else:
        show_table(("fact", "value"), list(report.facts().items()), empty="")
        click.echo(report.sentence())
    if not report.equal:
        sys.exit(1)
