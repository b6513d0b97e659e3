"""`headwater quarantine`: what was refused, and why."""

from pathlib import Path

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.show import show_json, show_table


@click.command()
@reaching
@click.option("--all", "every", is_flag=True, help="Each event, newest first, instead of groups.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
def quarantine_command(
    data: Path, url: str | None, project: str | None, as_json: bool, every: bool, limit: int
) -> None:
    """List what was refused: grouped by cause, or each event."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/quarantine", limit=limit, groupBy=None if every else "code,source,name")
    if as_json:
        show_json(found)
    elif every:
        rows = [(i["receivedAt"], i["id"], i["source"], i["name"], i["code"], i["detail"]) for i in found["items"]]
        show_table(("received", "id", "source", "name", "code", "detail"), rows, empty="quarantine is empty")
    else:
        rows = [
            (i["code"], i["source"], i["name"], i["count"], i["lastReceivedAt"], i["exampleSeq"])
            for i in found["items"]
        ]
        show_table(
            ("code", "source", "name", "events", "last", "example (its number)"), rows, empty="quarantine is empty"
        )
