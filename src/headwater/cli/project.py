"""`headwater project`: the units of isolation."""

import json
from pathlib import Path

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.show import show_json, show_table


@click.group()
def project_command() -> None:
    """Create, list and change projects. Each has its own keys, log, lake and warehouse."""


@project_command.command("create")
@click.argument("name")
@click.option("--time-zone", default="UTC", show_default=True, help="Zone of its days, an IANA name.")
@reaching
def create(data: Path, url: str | None, project: str | None, as_json: bool, name: str, time_zone: str) -> None:
    """Create a project and its first two keys; the secret one is shown this once."""
    with open_door(data, url, project, make=True) as door:
        made = door.post("/api/v1/projects", {"name": name, "timeZone": time_zone})
    if as_json:
        show_json(made)
        return
    click.echo(f"project {made['name']} is ready")
    show_table(("key", "kind", "secret"), [(key["name"], key["kind"], key["secret"]) for key in made["keys"]], empty="")


@project_command.command("list")
@reaching
def list_projects(data: Path, url: str | None, project: str | None, as_json: bool) -> None:
    """List the projects."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/projects", limit=1000)
    if as_json:
        show_json(found)
        return
    rows = [(item["name"], item["timeZone"], item["retention"], item["createdAt"]) for item in found["items"]]
    show_table(("project", "time zone", "retention", "created"), rows, empty="no projects yet")


@project_command.command("set")
@click.option("--retention", help="How long events stay in the warehouse: forever, 90d, 2y.")
@click.option("--quarantine-retention", help="How long refused events stay; without it as long as events do.")
@click.option("--lake-retention", help="How long events stay in the lake as they came; never shorter than the others.")
@reaching
def set_settings(data: Path, url: str | None, project: str | None, as_json: bool, **asked: str | None) -> None:
    """Change what a project keeps; what is not named stays as it is. Without any, show the settings."""
    words = {"retention": "retention", "quarantine_retention": "quarantineRetention", "lake_retention": "lakeRetention"}
    changes = {words[name]: value for name, value in asked.items() if value is not None}
    with open_door(data, url, project) as door:
        path = "/api/v1/settings"
        found = door.call("PUT", path, json.dumps(changes).encode()) if changes else door.get(path)
    if as_json:
        show_json(found)
    else:
        show_table(("setting", "value"), list(found.items()), empty="")
