"""`headwater import`."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from headwater.cli.door import Door, open_door, reaching
from headwater.cli.progress import progress_bar
from headwater.cli.show import show_json, show_table
from headwater.domain.errors import NotFound, Refused, Unavailable

FORMATS = ("combined", "ndjson", "json", "csv")
SETTLE_SECONDS_MAX = 60
LOOK_SECONDS = 0.1
OUTCOMES = ("stored", "duplicate", "quarantined", "suppressed")


@click.command()
@reaching
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "format_name", type=click.Choice(FORMATS), help="Default: by the file's name.")
@click.option("--source", help="Source of the events; default: the file's base name.")
@click.option("--time-zone", default="UTC", show_default=True, help="Zone of CSV times that name none.")
def import_command(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    files: tuple[Path, ...],
    format_name: str | None,
    source: str | None,
    time_zone: str,
) -> None:
    """Bring in FILES: good lines are stored, bad ones are kept in quarantine with file and line.

    The same file twice stores nothing twice. A killed import goes on where it was. Exits 3 if some lines are bad.
    """
    from headwater.collect.importing.answers import answer_of
    from headwater.collect.importing.csv_rows import BY_NAME
    from headwater.collect.importing.run import Progress, import_files

    with open_door(data, url, project, make=True) as door:

        def send(body: bytes, headers: Any) -> Any:
            status, answer, answered = door.exchange("POST", "/api/v1/events", body, headers)
            return answer_of(status, answer, answered.get("retry-after"))

        before = totals_of(door)
        with progress_bar("bytes") as advance:

            def on_progress(progress: Progress) -> None:
                advance(progress.bytes_done, progress.bytes_total)

            report = import_files(
                files,
                send,
                format_name=format_name,
                source=source,
                columns=BY_NAME._replace(time_zone=time_zone),
                state_folder=None if url else data / "imports",
                destination=f"{url or data.absolute()} {project or 'default'}",
                on_progress=on_progress,
            )
        became = outcome(door, before)
    if as_json:
        show_json({**report.as_json(), "ledger": became})
    else:
        rows = [(f.path, f.lines, f.accepted + f.duplicate, f.quarantined, f.bad_known) for f in report.files]
        show_table(("file", "lines", "sent good", "sent bad", "known bad"), rows, empty="")
        for one in report.rejected:
            click.echo(f"{one.file}:{one.line}: {one.detail} [{one.code}]", err=True)
        if became is not None:
            click.echo(
                f"the ledger since the start: {became['stored']:,} stored, {became['duplicate']:,} here already, "
                f"{became['quarantined']:,} to quarantine"
                + (f", {became['suppressed']:,} beyond its quota" if became["suppressed"] else "")
            )
    for file in report.files:
        if file.error is not None:
            click.echo(f"headwater: {file.path}: {file.error.detail} [{file.error.code}]", err=True)
    sys.exit(report.exit_code)


def totals_of(door: Door) -> dict[str, Any] | None:
    """The ledger's totals; None where the key may send and not read, and where another process has the ledger."""
    try:
        totals: dict[str, Any] = door.get("/api/v1/ledger", source="")["totals"]
    except (Refused, NotFound, Unavailable):
        return None
    return totals


def outcome(door: Door, before: dict[str, Any] | None) -> dict[str, int] | None:
    """What has become of the events since `before`, once all are processed; others' events are among them.

    None where that can't be known: the answers to what was sent do not tell repeats.
    """
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while before is not None and time.monotonic() < deadline:
        now = totals_of(door)
        if now is not None and now["inFlight"] == 0:
            return {name: now[name] - before[name] for name in OUTCOMES}
        time.sleep(LOOK_SECONDS)
    return None
