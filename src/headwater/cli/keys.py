"""`headwater keys`: who may send and ask."""

from pathlib import Path
from urllib.parse import quote

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.show import show_json, show_table


@click.group()
def keys_command() -> None:
    """Create, list and revoke API keys."""


@keys_command.command("create")
@click.argument("name")
@click.option("--kind", type=click.Choice(["in", "sk"]), default="sk", help="in: ingest only; sk: secret, with scopes.")
@click.option("--scope", "scopes", multiple=True, help="A scope of an sk key; may be repeated.")
@click.option("--source", "sources", multiple=True, help="A source that an in key may send as; may be repeated.")
@click.option("--origin", "origins", multiple=True, help="A web origin that an in key may be used from.")
@click.option("--events-per-second", type=float, help="Its own rate limit.")
@click.option("--events-burst", type=int, help="Its own burst.")
@reaching
def create(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    name: str,
    kind: str,
    scopes: tuple[str, ...],
    sources: tuple[str, ...],
    origins: tuple[str, ...],
    events_per_second: float | None,
    events_burst: int | None,
) -> None:
    """Create a key. The secret of an sk key is shown this once."""
    asked = {
        "name": name,
        "kind": kind,
        "scopes": list(scopes) or None,
        "sources": list(sources) or None,
        "origins": list(origins) or None,
        "eventsPerSecond": events_per_second,
        "eventsBurst": events_burst,
    }
    with open_door(data, url, project, make=True) as door:
        made = door.post("/api/v1/keys", {field: value for field, value in asked.items() if value is not None})
    if as_json:
        show_json(made)
        return
    click.echo(made["secret"])
    click.echo(f"key {made['name']} ({made['id']}), scopes: {', '.join(made['scopes'])}", err=True)


@keys_command.command("list")
@reaching
def list_keys(data: Path, url: str | None, project: str | None, as_json: bool) -> None:
    """List the keys of the project, revoked ones included."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/keys", limit=1000)
    if as_json:
        show_json(found)
        return
    rows = [
        (item["id"], item["name"], item["kind"], ", ".join(item["scopes"]), item["createdAt"], item["revokedAt"])
        for item in found["items"]
    ]
    show_table(("id", "name", "kind", "scopes", "created", "revoked"), rows, empty="no keys")


@keys_command.command("revoke")
@click.argument("key_id")
@reaching
def revoke(data: Path, url: str | None, project: str | None, as_json: bool, key_id: str) -> None:
    """Revoke a key: it is refused within a second."""
    with open_door(data, url, project) as door:
        door.call("DELETE", f"/api/v1/keys/{quote(key_id, safe='')}")
    if as_json:
        show_json({"id": key_id, "revoked": True})
    else:
        click.echo(f"key {key_id} is revoked")
