"""`headwater lake`: look into the lake, as of now or before; care for it; make the warehouse again from it."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from headwater.cli.door import SOCKET_NAME, answers, open_door, reaching
from headwater.cli.jobs import follow, tell
from headwater.cli.show import show_json, show_table


@click.group()
def lake_command() -> None:
    """Look into the lake, as of now or before; care for it; make the warehouse again from it."""


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
    """The versions, newest first, and by how much each changed rows, bytes and files."""
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


@lake_command.command("count")
@click.option("--version", type=click.IntRange(0), help="As of this version.")
@click.option("--as-of", help="As of the version of this time (RFC 3339).")
@click.option("--by", default="day", show_default=True, help="Some of day,source,name,code, with commas.")
@click.option("--first-day", help="Received on this UTC day or later.")
@click.option("--last-day", help="Received on this UTC day or before.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Groups.")
@reaching
def count(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    version: int | None,
    as_of: str | None,
    by: str,
    first_day: str | None,
    last_day: str | None,
    limit: int,
) -> None:
    """Count the events that had come by a version, now or before; repeats and refused ones among them."""
    asked = {"version": version, "asOf": as_of, "by": by, "firstDay": first_day, "lastDay": last_day, "limit": limit}
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/lake/count", **asked)
    if as_json:
        show_json(found)
        return
    about = found["version"]
    click.echo(
        f"version {about['version']} ({about['operation']}, {about['committedAt'] or 'time unknown'}): up to number "
        f"{about['seq']:,}, {found['rows']:,} rows in {found['files']:,} files, {found['bytes'] / 1e6:,.1f} MB"
    )
    show_table((*found["by"], "events"), found["items"], empty="no events")
    if found["others"]:
        click.echo(f"and {found['others']:,} events in groups beyond --limit")


def caring(command: Callable[..., None]) -> Callable[..., None]:
    """The options of what changes the lake."""
    for option in (
        click.option("--yes", is_flag=True, help="Do it."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done; so it is without --yes, too."),
    ):
        command = option(command)
    return reaching(command)


@lake_command.command("compact")
@click.option("--dry-run", is_flag=True, help="Only say what would be merged.")
@reaching
def compact(data: Path, url: str | None, project: str | None, as_json: bool, dry_run: bool) -> None:
    """Merge small files into large ones, beside the events that come in. It is done by itself, too.

    Exits 1 unless it succeeds.
    """
    care(data, url, project, as_json, "compact", yes=not dry_run)


@lake_command.command("expire")
@caring
def expire(data: Path, url: str | None, project: str | None, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Say which days are older than the project keeps in its lake; with --yes remove them.

    Only days that the warehouse has removed already. The same is done every night. How long the lake keeps events
    stands in the project's settings: headwater project set --lake-retention 2y.
    """
    care(data, url, project, as_json, "expire", yes=yes and not dry_run)


@lake_command.command("vacuum")
@click.option("--older-than-days", type=click.FloatRange(0), help="Instead of lake.history_days.")
@caring
def vacuum(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    dry_run: bool,
    yes: bool,
    older_than_days: float | None,
) -> None:
    """Say which files no version of the last days needs; with --yes delete them.

    Older versions can't be asked any more then. The same is done every night.
    """
    care(data, url, project, as_json, "vacuum", yes=yes and not dry_run, olderThanDays=older_than_days)


def care(
    data: Path, url: str | None, project: str | None, as_json: bool, what: str, *, yes: bool, **asked: float | None
) -> None:
    given = {name: value for name, value in asked.items() if value is not None}
    with open_door(data, url, project) as door:
        found = door.post(f"/api/v1/lake/{what}", {"dryRun": not yes, **given})
        job = follow(door, found["jobId"]) if yes else None
    if job is not None:
        tell(job, as_json)
        if job["state"] != "succeeded":
            sys.exit(1)
    elif as_json:
        show_json(found)
    else:
        tell_dry(found, what)


def tell_dry(found: Mapping[str, Any], what: str) -> None:
    if "before" in found:
        click.echo(f"before: {found['before'] or 'nothing is over'}")
    rows = [(part["day"], part["files"], part["rows"], part["bytes"]) for part in found.get("parts", ())]
    if rows:
        show_table(("day", "files", "rows", "bytes"), rows, empty="")
    for name in found.get("names", ()):
        click.echo(name)
    click.echo(f"{found['files']:,} files, {found['bytes'] / 1e6:,.1f} MB")
    if found["files"]:
        again = "the same without --dry-run" if what == "compact" else "the same with --yes"
        click.echo(f"nothing was done; {again} does it")
