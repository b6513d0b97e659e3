"""`headwater query`: ask for metrics."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.files import json_of
from headwater.cli.show import show_json, show_table


@click.command()
@reaching
@click.argument("metrics", nargs=-1)
@click.option("--last", default="24h", show_default=True, help="Back from now: 30m, 24h, 7d, 1mo, …")
@click.option("--start", help="From this instant on (RFC 3339), instead of --last.")
@click.option("--end", help="Up to this instant, with --start; default: now.")
@click.option("--interval", help="Size of a bucket: 1m 5m 15m 1h 1d 1w 1mo 1q 1y auto.")
@click.option("--by", "dimensions", multiple=True, help="A dimension, for example name or attributes.country.")
@click.option("--time-zone", help="IANA name; default UTC.")
@click.option("--limit", type=click.IntRange(1, 10_000), help="Only the top N dimension values.")
@click.option("--body", type=click.File(), help="A whole question as JSON, instead of the options.")
def query_command(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    metrics: tuple[str, ...],
    last: str,
    start: str | None,
    end: str | None,
    interval: str | None,
    dimensions: tuple[str, ...],
    time_zone: str | None,
    limit: int | None,
    body: Any,
) -> None:
    """Ask for METRICS (default: events)."""
    if end and not start:
        raise click.UsageError("--end needs --start; without them it is --last")
    if body is not None:
        question = json_of(body)
    else:
        now = datetime.now(UTC).isoformat()
        time_range: dict[str, str] = {"start": start, "end": end or now} if start else {"last": last}
        if interval:
            time_range["interval"] = interval
        question = {"metrics": list(metrics) or ["events"], "timeRange": time_range}
        if time_zone:
            question["timeZone"] = time_zone
        if dimensions:
            question["dimensions"] = list(dimensions)
        if limit:
            question["limit"] = limit
    with open_door(data, url, project) as door:
        answer = door.post("/api/v1/query", question)
    if as_json:
        show_json(answer)
        return
    show_table([column["name"] for column in answer["columns"]], answer["rows"], empty="no events in that range")
    stand = f"as of {answer['asOf']}" if answer["asOf"] else "nothing is stored yet"
    if body is None and not start:
        stand = f"the last {last}, {stand}"
    facts = f"{stand}; {answer['rowsRead']:,} rows read in {answer['elapsedMs']:.0f} ms, tier {answer['tier']}"
    if answer["unfinished"]:
        facts += "; unfinished: " + (", ".join(answer["unfinished"]) if time_is_shown(answer) else "the range")
    if answer["truncated"]:
        facts += "; there are more groups: --limit shows others"
    click.echo(facts, err=True)
    for warning in answer["warnings"]:
        click.echo(f"warning: {warning}", err=True)


def time_is_shown(answer: Any) -> bool:
    return any(column["type"] == "time" for column in answer["columns"])
