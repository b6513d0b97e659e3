"""`headwater config`: every setting, its value, and where it came from."""

import json
from pathlib import Path

import click

from headwater.cli.show import show_json, show_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="A TOML file.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder.")
def config_command(as_json: bool, config_file: Path | None, data: Path | None) -> None:
    """Show every setting, its value and where it came from. Secrets show as ***."""
    from headwater import config

    flags = {"server.data": str(data)} if data else {}
    rows = config.load(flags=flags, file=config_file).describe()
    if as_json:
        show_json([{"name": row.name, "value": row.value, "origin": row.origin, "doc": row.doc} for row in rows])
    else:
        show_table(
            ("setting", "value", "origin"), [(row.name, json.dumps(row.value), row.origin) for row in rows], empty=""
        )
