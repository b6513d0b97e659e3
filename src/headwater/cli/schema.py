"""`headwater schema`: the declared shapes of events."""

import json
from pathlib import Path
from typing import IO
from urllib.parse import quote

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.files import json_of
from headwater.cli.show import show_json, show_table


@click.group()
def schema_command() -> None:
    """Declare the shapes of events."""


@schema_command.command("list")
@reaching
def list_schemas(data: Path, url: str | None, project: str | None, as_json: bool) -> None:
    """List the declared schemas."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/schemas", limit=1000)
    if as_json:
        show_json(found)
        return
    rows = [(item["name"], item["version"], item["mode"], item["unknownFields"]) for item in found["items"]]
    show_table(
        ("event", "version", "mode", "unknown fields"), rows, empty="no schemas: every event is taken as it comes"
    )


@schema_command.command("put")
@click.argument("name")
@click.argument("file", type=click.File())
@click.option("--version", default="1", show_default=True, help="The events' version that it is for.")
@click.option("--mode", type=click.Choice(["off", "warn", "enforce"]), default="enforce", show_default=True)
@click.option(
    "--unknown-fields", type=click.Choice(["allow", "warn", "quarantine"]), default="allow", show_default=True
)
@reaching
def put(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    name: str,
    file: IO[str],
    version: str,
    mode: str,
    unknown_fields: str,
) -> None:
    """Declare the attributes of NAME by the JSON Schema in FILE (`-` for standard input)."""
    body = {
        "name": name,
        "version": version,
        "jsonSchema": json_of(file),
        "mode": mode,
        "unknownFields": unknown_fields,
    }
    item = f"/api/v1/schemas/{quote(f'{name}@{version}', safe='')}"
    with open_door(data, url, project, make=True) as door:
        made = door.call("PUT", item, json.dumps(body).encode())
    if as_json:
        show_json(made)
    else:
        click.echo(f"schema {name} version {version} is in force ({mode})")


@schema_command.command("delete")
@click.argument("name")
@click.option("--version", default="1", show_default=True)
@reaching
def delete(data: Path, url: str | None, project: str | None, as_json: bool, name: str, version: str) -> None:
    """Take a schema back; its versions stay readable."""
    with open_door(data, url, project) as door:
        door.call("DELETE", f"/api/v1/schemas/{quote(f'{name}@{version}', safe='')}")
    if as_json:
        show_json({"name": name, "version": version, "deleted": True})
    else:
        click.echo(f"schema {name} version {version} is gone")
