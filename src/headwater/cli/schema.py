"""`headwater schema`: the declared shapes of events, made from what is stored and tried on it."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import click

from headwater.cli.door import open_door, reaching
from headwater.cli.files import json_of
from headwater.cli.show import show_json, show_table, shown

DEFAULTS = {"version": "1", "mode": "enforce", "unknownFields": "allow"}
VALUES_SHOWN = 6


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
@click.option("--version", help="The events' version that it is for; default: as in FILE, else 1.")
@click.option("--mode", type=click.Choice(["off", "warn", "enforce"]), help="Default: as in FILE, else enforce.")
@click.option(
    "--unknown-fields", type=click.Choice(["allow", "warn", "quarantine"]), help="Default: as in FILE, else allow."
)
@reaching
def put(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    name: str,
    file: IO[str],
    version: str | None,
    mode: str | None,
    unknown_fields: str | None,
) -> None:
    """Declare the attributes of NAME by FILE (`-` for standard input).

    FILE holds a JSON Schema, or a whole document as `infer` writes it.
    """
    body = document_of(file, name, {"version": version, "mode": mode, "unknownFields": unknown_fields})
    item = f"/api/v1/schemas/{quote(name + '@' + body['version'], safe='')}"
    with open_door(data, url, project, make=True) as door:
        made = door.call("PUT", item, json.dumps(body).encode())
    if as_json:
        show_json(made)
    else:
        click.echo(f"schema {name} version {made['version']} is in force ({made['mode']})")


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


@schema_command.command("infer")
@click.argument("name")
@click.option("--version", help="The events' version; default: the one that most of those read have.")
@click.option("--last", help="Only events of the last 30m, 12h, 7d, 1mo, …")
@click.option("--start", help="Only events from this instant on (RFC 3339); with --end.")
@click.option("--end", help="Only events before this instant.")
@click.option("--limit", type=int, default=10_000, show_default=True, help="Events read, the newest; at most 100,000.")
@click.option("--output", type=click.File("w", lazy=True), help="Write the proposal here, for `check` and `put`.")
@reaching
def infer(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    name: str,
    version: str | None,
    last: str | None,
    start: str | None,
    end: str | None,
    limit: int,
    output: IO[str] | None,
) -> None:
    """Propose a schema for NAME from the events that are stored. Nothing is declared by this."""
    span = {field: value for field, value in (("last", last), ("start", start), ("end", end)) if value is not None}
    asked = {"name": name, "version": version, "timeRange": span or None, "limit": limit}
    with open_door(data, url, project) as door:
        found = door.post("/api/v1/schemas/infer", asked)
    if output is not None:
        output.write(json.dumps(found["schema"], indent=2, ensure_ascii=False) + "\n")
    if as_json:
        show_json(found)
    else:
        show_evidence(found["schema"], found["evidence"])


@schema_command.command("check")
@click.argument("file", type=click.File())
@click.option("--name", help="The events' name, where FILE holds a JSON Schema alone.")
@click.option("--version", help="The events' version; default: as in FILE, else 1.")
@click.option(
    "--last-events", type=int, default=10_000, show_default=True, help="Stored events to try it on; at most 100,000."
)
@reaching
def check(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    file: IO[str],
    name: str | None,
    version: str | None,
    last_events: int,
) -> None:
    """Tell what the schema in FILE would change. Nothing is declared by this.

    Exits 1 where a change is breaking, or a stored event would fail.
    """
    body = document_of(file, name, {"version": version})
    with open_door(data, url, project) as door:
        found = door.post("/api/v1/schemas/check", {**body, "lastEvents": last_events})
    if as_json:
        show_json(found)
    else:
        show_check(body, found)
    if not found["compatible"] or found["wouldFail"]:
        sys.exit(1)


@schema_command.command("history")
@click.argument("name")
@click.option("--version", help="Of the events; then also of a schema that was removed.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@reaching
def history(
    data: Path, url: str | None, project: str | None, as_json: bool, name: str, version: str | None, limit: int
) -> None:
    """Tell how the schemas of NAME have changed, newest first."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/schemas/history", name=name, version=version, limit=limit)
    if as_json:
        show_json(found)
        return
    rows = []
    for item in found["items"]:
        fixed = (item["changedAt"][:19] + "Z", item["version"], item["objectVersion"], item["inForce"])
        told = [(each["path"], each["change"], each["breaking"], each["detail"]) for each in item["changes"]]
        begin = (None, "declared" if item["objectVersion"] == 1 else "no change of rules", None, item["schema"]["mode"])
        told = told or [begin]
        rows += [(*fixed, *told[0]), *(("", "", "", "", *each) for each in told[1:])]
    columns = ("when", "version", "change no.", "in force", "path", "change", "breaking", "detail")
    show_table(columns, rows, empty="")


def document_of(file: IO[str], name: str | None, given: Mapping[str, str | None]) -> dict[str, Any]:
    """A schema with its frame: from the file, where it holds one, else as given. A name in the file is never changed.

    Raises BadInput (BAD_FILE) and UsageError.
    """
    found = json_of(file)
    whole = found if "jsonSchema" in found else {"jsonSchema": found}
    named = {**DEFAULTS, **({} if name is None else {"name": name}), **whole}
    if "name" not in named:
        raise click.UsageError(f"{file.name} holds a JSON Schema alone; say whose it is with --name")
    named |= {field: value for field, value in given.items() if value is not None}
    return {**named, "version": str(named["version"])}


def show_evidence(schema: Mapping[str, Any], evidence: Mapping[str, Any]) -> None:
    rows = [
        (each["path"].removeprefix("attributes."), types_of(each), share_of(each), each["required"], rule_of(each))
        for each in evidence["paths"]
    ]
    show_table(("attribute", "types", "present", "required", "rule, or what was seen"), rows, empty="no attributes")
    span = f"{evidence['firstAt'][:19]}Z to {evidence['lastAt'][:19]}Z"
    click.echo(f"\n{evidence['events']:,} events {schema['name']} of version {schema['version']}, {span}")
    others = [f"{each['version']} ({each['events']:,})" for each in evidence["versions"][1:]]
    if others:
        click.echo(f"other versions: {', '.join(others)}; see them with --version")
    if evidence["unreadable"]:
        click.echo(f"{evidence['unreadable']:,} events hold numbers that can't be read")
    if evidence["limits"]:
        click.echo(f"limits reached: {', '.join(evidence['limits'])}")


def types_of(evidence: Mapping[str, Any]) -> str:
    """The one type, or each with its count."""
    types = evidence["types"]
    return ", ".join(types) if len(types) == 1 else ", ".join(f"{kind} {n:,}" for kind, n in types.items())


def share_of(evidence: Mapping[str, Any]) -> str:
    present, of = evidence["present"], evidence["of"]
    if present == of:
        return "all"
    return f"{min(99.9, 100 * present / of):.1f} %"


def rule_of(evidence: Mapping[str, Any]) -> str:
    if "enum" in evidence:
        return f"one of {listed(evidence['enum'])}"
    if "format" in evidence:
        return str(evidence["format"])
    seen = []
    if "minimum" in evidence:
        seen.append(f"({shown(evidence['minimum'])} to {shown(evidence['maximum'])})")
    if "lengthMax" in evidence:
        seen.append(f"(up to {evidence['lengthMax']:,} characters)")
    return " ".join(seen)


def listed(values: Sequence[str]) -> str:
    more = f" and {len(values) - VALUES_SHOWN} more" if len(values) > VALUES_SHOWN else ""
    return ", ".join(values[:VALUES_SHOWN]) + more


def show_check(schema: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    before = found["comparedWith"]
    if before is None:
        click.echo(f"no schema of {schema['name']} is declared yet")
    else:
        changes = [(each["path"], each["change"], each["breaking"], each["detail"]) for each in found["changes"]]
        same = f"no change against version {before['version']} as declared"
        show_table(("path", "change", "breaking", "detail"), changes, empty=same)
    if found["failures"]:
        click.echo()
        failures = [
            (each["count"], each["code"], each["path"], each["example"]["detail"], each["example"]["id"])
            for each in found["failures"]
        ]
        show_table(("events", "code", "path", "for example", "its id"), failures, empty="")
    which = "" if found["eventVersion"] is None else f" of version {found['eventVersion']}"
    click.echo(f"\ncompatible: {'yes' if found['compatible'] else 'NO'}")
    click.echo(f"of the last {found['checked']:,} events{which}, {found['wouldFail']:,} would fail")
    if found["wouldWarn"]:
        click.echo(f"{found['wouldWarn']:,} would be told of fields without a name")
    if found["wouldRescue"]:
        click.echo(f"{found['wouldRescue']:,} in quarantine would be let in")
    if set(found["limits"]) - {"events"}:
        click.echo(f"limits reached: {', '.join(found['limits'])}")
