"""`headwater import`."""

import sys
from pathlib import Path
from typing import Any

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.progress import progress_bar
from headwater.cli.show import show_json, show_table

FORMATS = ("combined", "ndjson", "json", "csv")


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

    with open_door(data, url, project) as door, progress_bar("bytes") as advance:

        def send(body: bytes, headers: Any) -> Any:
            status, answer, answered = door.exchange("POST", "/api/v1/events", body, headers)
            return answer_of(status, answer, answered.get("retry-after"))

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
    if as_json:
        show_json(report.as_json())
    else:
        show_table(
            ("file", "lines", "accepted", "known already", "quarantined", "error"),
            [(f.path, f.lines, f.accepted, f.duplicate, f.quarantined, f.error) for f in report.files],
            empty="",
        )
        for one in report.rejected:
            click.echo(f"{one.file}:{one.line}: {one.detail} [{one.code}]", err=True)
    sys.exit(report.exit_code)
