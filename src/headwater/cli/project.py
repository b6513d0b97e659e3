"""`headwater project`: the units of isolation."""

from pathlib import Path

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.show import show_json, show_table


@click.group()
def project_command() -> None:
    """Create and list projects. Each has its own keys, log, lake and warehouse."""


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
