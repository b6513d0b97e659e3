"""`headwater jobs`: what is queued, what runs and how far it is; cancel one, or watch it."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from headwater.cli.door import Door, open_door, reaching
from headwater.cli.progress import progress_bar
from headwater.cli.show import show_json, show_table

STATES = ("queued", "running", "succeeded", "failed", "cancelled")
LOOK_SECONDS = 0.5


class ListFirst(click.Group):
    """Without a word that names another command, `first` is meant."""

    first = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [self.first, *args])


@click.group(cls=ListFirst)
def jobs_command() -> None:
    """Look at jobs; cancel one. Without a word more: list."""


@jobs_command.command("list")
@reaching
@click.option("--state", type=click.Choice(STATES), help="Only these.")
@click.option("--kind", help="Only of this kind.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
def list_jobs(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    state: str | None,
    kind: str | None,
    limit: int,
) -> None:
    """Newest first."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/jobs", state=state, kind=kind, limit=limit)
    if as_json:
        show_json(found)
        return
    rows = [
        (job["id"], job["kind"], job["state"], progress_of(job), job["attempts"], job["createdAt"], note_of(job))
        for job in found["items"]
    ]
    show_table(("id", "kind", "state", "progress", "attempts", "created", "note"), rows, empty="there are no jobs")


@jobs_command.command("show")
@reaching
@click.argument("job_id", metavar="ID")
def show_job(data: Path, url: str | None, project: str | None, as_json: bool, job_id: str) -> None:
    """One job, with its error and result."""
    with open_door(data, url, project) as door:
        tell(door.get(address(job_id)), as_json)


@jobs_command.command("cancel")
@reaching
@click.argument("job_id", metavar="ID")
def cancel_job(data: Path, url: str | None, project: str | None, as_json: bool, job_id: str) -> None:
    """Cancel a queued job at once; a running one ends where it next looks. What it did stays done."""
    with open_door(data, url, project) as door:
        job = door.call("DELETE", address(job_id))
    if as_json:
        show_json(job)
    else:
        click.echo("cancelled" if job["state"] == "cancelled" else "it is told to stop; headwater jobs watch " + job_id)


@jobs_command.command("watch")
@reaching
@click.argument("job_id", metavar="ID")
def watch_job(data: Path, url: str | None, project: str | None, as_json: bool, job_id: str) -> None:
    """Follow a job to its end; exit 1 unless it succeeds. Ctrl-C leaves the job running."""
    with open_door(data, url, project) as door:
        job = follow(door, job_id)
    tell(job, as_json)
    if job["state"] != "succeeded":
        sys.exit(1)


def follow(door: Door, job_id: str) -> Mapping[str, Any]:
    """The job as it is at its end, with a progress bar until then."""
    job: Mapping[str, Any] = door.get(address(job_id))
    with progress_bar(job["progress"]["unit"] or job["kind"]) as advance:
        while job["finishedAt"] is None:
            advance(job["progress"]["done"], job["progress"]["total"])
            time.sleep(LOOK_SECONDS)
            job = door.get(address(job_id))
        advance(job["progress"]["done"], job["progress"]["total"])
    return job


def tell(job: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(job)
        return
    facts = {**job, "progress": progress_of(job), "note": job["progress"]["note"] or None}
    error, result = facts.pop("error"), facts.pop("result") or {}
    if error:
        facts["error"] = f"{error['detail']} [{error['code']}]"
    facts |= {f"result: {name}": value for name, value in result.items()}
    show_table(("", ""), [(name, str(value)) for name, value in facts.items() if value is not None], empty="")


def progress_of(job: Mapping[str, Any]) -> str:
    done, total, unit = (job["progress"][name] for name in ("done", "total", "unit"))
    if not done and total is None:
        return "-"
    of = "" if total is None else f" of {total:,.0f}"
    percent = f" ({100 * done / total:.0f} %)" if total else ""
    return f"{done:,.0f}{of}{' ' + unit if unit else ''}{percent}"


def note_of(job: Mapping[str, Any]) -> str:
    if job["error"]:
        return f"{job['error']['detail']} [{job['error']['code']}]"
    return job["progress"]["note"] or "-"


def address(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='')}"
