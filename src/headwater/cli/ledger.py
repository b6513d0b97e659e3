"""`headwater ledger` and `headwater receipt`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.show import show_json, show_table

COLUMNS = ("received", "stored", "duplicate", "quarantined", "suppressed", "removed", "lost", "inFlight", "refused")

SIGNS = {
    "stored": "= stored",
    **{name: f"+ {name}" for name in ("duplicate", "quarantined", "suppressed", "removed", "lost")},
    "inFlight": "+ in flight",
    "refused": "refused (not in the sum)",
}


@click.command()
@reaching
@click.option("--start", help="Rows from this instant on (RFC 3339); default: 24 hours ago.")
@click.option("--end", help="Rows up to this instant.")
@click.option("--source", help="Rows of this source alone.")
@click.option(
    "--rows/--totals",
    default=None,
    help="Each source and minute as well, or the totals of all time alone; rows, where they are chosen.",
)
def ledger_command(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    start: str | None,
    end: str | None,
    source: str | None,
    rows: bool | None,
) -> None:
    """Show that nothing was lost.

    received = stored + duplicate + quarantined + suppressed + removed + lost + inFlight, for every source and minute.
    Exits 1 if it does not balance. Refused requests stored nothing; they stand apart.
    """
    with open_door(data, url, project) as door:
        asked = {"timeRange[start]": start, "timeRange[end]": end, "source": source}
        ledger = door.get("/api/v1/ledger", **asked)
    totals = ledger["totals"]
    if rows is None:
        rows = bool(start or end or source)
    unbalanced = [row for row in ledger["rows"] if not row["balanced"]]
    if as_json:
        show_json(ledger)
    else:
        if rows or unbalanced:
            show_rows(ledger["rows"] if rows else unbalanced)
        show_table(("", "events"), [(SIGNS.get(name, name), totals[name]) for name in COLUMNS], empty="")
        balanced = totals["balanced"] and not unbalanced
        click.echo(f"balanced: {'yes' if balanced else 'NO'}, up to {ledger['watermark'] or 'now'}")
    if unbalanced or not totals["balanced"]:
        sys.exit(1)


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line per minute and source; outcomes that none of them has are left out."""
    columns = [name for name in COLUMNS if name in ("received", "stored") or any(row[name] for row in rows)]
    named = ("minute", "source", *columns, "balanced")
    cells = [(row["minute"][:16] + "Z", *(row[name] for name in named[1:])) for row in rows]
    show_table(named, cells, empty="nothing was received in that time")
    click.echo()


@click.command()
@reaching
@click.argument("event_id")
@click.option("--source", help="Which source's event, where several sent the same id.")
def receipt_command(
    data: Path, url: str | None, project: str | None, as_json: bool, event_id: str, source: str | None
) -> None:
    """Tell where one event is: stored, duplicate, quarantined, suppressed, in flight, or unknown."""
    with open_door(data, url, project) as door:
        receipt = door.get(f"/api/v1/events/{quote(event_id, safe='')}/receipt", source=source)
    if as_json:
        show_json(receipt)
    else:
        show_table(("fact", "value"), [(name, value) for name, value in receipt.items()], empty="")
    if receipt["state"] == "unknown":
        sys.exit(1)
