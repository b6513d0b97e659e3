"""`headwater lake`: look into the lake; make the warehouse again from it."""

import sys
from pathlib import Path

import click

from headwater.cli.door import SOCKET_NAME, answers, open_door, reaching
from headwater.cli.jobs import follow, tell
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
@click.option("--check", is_flag=True, help="Build and compare only; keep the present warehouse. Of a stopped service.")
@click.option("--lake-gap", is_flag=True, help="Go on where neither lake nor log has the events. Of a stopped service.")
@click.option("--force", is_flag=True, help="Take the new one also where it differs. A stopped service always does.")
@click.option("--drop-old", is_flag=True, help="Remove the old file at the end, instead of after a week.")
@reaching
def rebuild(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    check: bool,
    lake_gap: bool,
    force: bool,
    drop_old: bool,
) -> None:
    """Make a new warehouse from the lake and the rest of the log, compare, and put it in place.

    A running service goes on working meanwhile, and takes the new one when it is equal. The old file is kept beside the
    new one for a week. Exits 1 where the two differ.
    """
    from headwater.cli.progress import progress_bar

    if url or answers(data / SOCKET_NAME):
        if check or lake_gap:
            raise click.UsageError("--check and --lake-gap are for a stopped service")
        with open_door(data, url, project) as door:
            job = door.post("/api/v1/warehouse/rebuild", {"force": force, "dropOld": drop_old})
            job = follow(door, job["id"])
        tell(job, as_json)
        if job["state"] != "succeeded":
            sys.exit(1)
        return
    from headwater.boot.rebuild import rebuild_project

    with progress_bar("events") as advance:
        report = rebuild_project(
            data, project or "default", keep_old=check, drop_old=drop_old, lake_gap=lake_gap, progress=advance
        )
    if as_json:
        show_json(report.facts())
    else:
        show_table(("fact", "value"), list(report.facts().items()), empty="")
        click.echo(report.sentence())
    if not report.equal:
        sys.exit(1)
