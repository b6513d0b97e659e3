"""`headwater metric`: what to count, and how."""

import json
from pathlib import Path
from typing import IO
from urllib.parse import quote

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.files import json_of
from headwater.cli.show import show_json, show_table


@click.group()
def metric_command() -> None:
    """Define metrics."""


@metric_command.command("list")
@reaching
def list_metrics(data: Path, url: str | None, project: str | None, as_json: bool) -> None:
    """List the built-in metrics and the project's own."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/metric-definitions", limit=1000)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            item["name"],
            item.get("aggregation"),
            item.get("field"),
            ", ".join(item.get("events") or []),
            item.get("unit"),
        )
        for item in found["items"]
    ]
    show_table(("metric", "aggregation", "field", "events", "unit"), rows, empty="no metrics")


@metric_command.command("put")
@click.argument("file", type=click.File())
@reaching
def put(data: Path, url: str | None, project: str | None, as_json: bool, file: IO[str]) -> None:
    """Define the metric in FILE (JSON: name, aggregation, events, field, filters, …; `-` for standard input)."""
    body = json_of(file)
    with open_door(data, url, project, make=True) as door:
        name = quote(str(body.get("name", "")), safe="")
        made = door.call("PUT", f"/api/v1/metric-definitions/{name}", json.dumps(body).encode())
    if as_json:
        show_json(made)
    else:
        click.echo(f"metric {made['name']} is defined, version {made['definitionVersion']}")
