"""`headwater serve`."""

import sys
from pathlib import Path
from typing import Any

import click

SERVE_OPTIONS = (
    click.option("--data", type=click.Path(file_okay=False), help="Data folder (default ./headwater-data)."),
    click.option("--host", help="Address to listen on (default 127.0.0.1)."),
    click.option("--port", type=int, help="Port to listen on (default 8080; 0 finds a free one)."),
    click.option("--role", type=click.Choice(["all", "collect", "process,api"]), help="What this process does."),
    click.option("--decode-workers", type=click.IntRange(0, 64), help="Child processes that decode (default 0)."),
    click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="A TOML file."),
    click.option("--lake-gap", is_flag=True, help="Go on where lake and log both lack some events; says how many."),
    click.option("--new-log", is_flag=True, help="Begin a new log where the old one is gone; says what that loses."),
)


def serving(command: Any) -> Any:
    for option in reversed(SERVE_OPTIONS):
        command = option(command)
    return command


def flags_of(**given: Any) -> dict[str, Any]:
    """Command line options as settings; what was not given stays out."""
    return {f"server.{name}": value for name, value in given.items() if value is not None and value is not False}


@click.command()
@serving
@click.option("--open", "open_to_all", is_flag=True, help="Ask for no credentials; loopback addresses only.")
def serve_command(config_file: Path | None, open_to_all: bool, **given: Any) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from headwater import config
    from headwater.boot.serve import run

    settings = config.load(flags=flags_of(open=open_to_all, **given), file=config_file)
    run(settings, on_ready=say_ready)


def say_ready(address: str, house: Any) -> None:
    """Keys are shown on a terminal at the first start, never in a journal."""
    click.echo(f"headwater is ready at {address}", err=True)
    if house.first_keys and sys.stderr.isatty():
        click.echo(
            "\nFirst start. These keys are shown once; the file first-keys in the data folder has them too:", err=True
        )
        for name, secret in house.first_keys.items():
            click.echo(f"  {name:8} {secret}", err=True)
