"""`headwater quarantine`: what was refused and why, and to send it again, mended."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from headwater.cli.door import Door, open_door, reaching
from headwater.cli.jobs import follow
from headwater.cli.show import show_json, show_table
from headwater.domain.errors import BadInput

GROUPS = "code,source,name"
LEDGER = ("stored", "duplicate", "removed", "quarantined")
WORDS = ("code", "source", "name", "step")


def choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which events are meant."""
    for option in (
        click.option("--end", help="Received before this instant."),
        click.option("--start", help="Received from this instant on (RFC 3339)."),
        *(click.option(f"--{word}", help=f"Only of this {word}.") for word in reversed(WORDS)),
    ):
        command = option(command)
    return command


class GroupsFirst(click.Group):
    """Without a word that names another command, `groups` is meant, or with --all `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        if not named:
            word = "list" if "--all" in args else "groups"
            args = [word, *(each for each in args if each != "--all")]
        return super().parse_args(ctx, args)


@click.group(cls=GroupsFirst)
def quarantine_command() -> None:
    """What was refused, and why; and to send it again. Without a word more: groups; with --all: list."""


@quarantine_command.command("groups")
@reaching
@choosing
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
def groups(data: Path, url: str | None, project: str | None, as_json: bool, limit: int, **asked: str | None) -> None:
    """How many for each cause, with an example."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/quarantine", limit=limit, groupBy=GROUPS, **conditions(asked))
    if as_json:
        show_json(found)
        return
    rows = [
        (i["code"], i["source"], i["name"], i["count"], i["lastReceivedAt"], i["exampleSeq"], i["exampleDetail"])
        for i in found["items"]
    ]
    columns = ("code", "source", "name", "events", "last", "example (its number)", "and its detail")
    show_table(columns, rows, empty="quarantine is empty")


@quarantine_command.command("list")
@reaching
@choosing
@click.option("--state", type=click.Choice(("open", "replayed", "all")), default="open", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
def list_events(
    data: Path, url: str | None, project: str | None, as_json: bool, state: str, limit: int, **asked: str | None
) -> None:
    """Each event, newest first."""
    with open_door(data, url, project) as door:
        found = door.get("/api/v1/quarantine", limit=limit, state=state, **conditions(asked))
    if as_json:
        show_json(found)
        return
    rows = [
        (i["receivedAt"], i["seq"], i["id"], i["source"], i["name"], i["code"], i.get("outcome", "-"), i["detail"])
        for i in found["items"]
    ]
    columns = ("received", "number", "id", "source", "name", "code", "replayed", "detail")
    show_table(columns, rows, empty="quarantine is empty")


@quarantine_command.command("show")
@reaching
@click.argument("item", metavar="NUMBER|ID")
def show(data: Path, url: str | None, project: str | None, as_json: bool, item: str) -> None:
    """One event as it came, and what is wrong with it."""
    with open_door(data, url, project) as door:
        found = door.get(f"/api/v1/quarantine/{quote(item, safe='')}")
    if as_json:
        show_json(found)
        return
    event = found.pop("event")
    show_table(("", ""), [(name, str(value)) for name, value in found.items() if value is not None], empty="")
    click.echo(event if isinstance(event, str) else json.dumps(event, indent=2, ensure_ascii=False))


def patching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that make operations, kept in the order in which they are given."""

    def keep(make: Callable[[str], dict[str, Any]]) -> Callable[[click.Context, click.Parameter, Any], None]:
        def callback(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> None:
            ctx.meta.setdefault("patch", []).extend(make(value) for value in values)

        return callback

    for name, metavar, help_text, make in reversed(OPERATIONS):
        option = click.option(
            name, metavar=metavar, multiple=True, help=help_text, expose_value=False, callback=keep(make)
        )
        command = option(command)
    return command


def pair(text: str) -> tuple[str, str]:
    """FIELD=REST, at the first sign: a field with one in its name needs --patch."""
    field, sign, rest = text.partition("=")
    if not sign:
        raise click.UsageError(f"{text!r}: expected FIELD=…, such as attributes.price=…")
    return field, rest


def rename(text: str) -> dict[str, Any]:
    field, to = pair(text)
    return {"op": "rename", "field": field, "to": to}


def cast(text: str) -> dict[str, Any]:
    field, kind = pair(text)
    return {"op": "cast", "field": field, "type": kind}


def set_to(text: str) -> dict[str, Any]:
    """JSON where it is some, else the text itself."""
    field, value = pair(text)
    try:
        return {"op": "set", "field": field, "value": json.loads(value)}
    except json.JSONDecodeError:
        return {"op": "set", "field": field, "value": value}


def drop(field: str) -> dict[str, Any]:
    return {"op": "drop", "field": field}


def add_time(field: str) -> dict[str, Any]:
    return {"op": "addTime"} | ({} if field == "received" else {"field": field})


OPERATIONS = (
    ("--rename", "FIELD=TO", "Move a value.", rename),
    ("--cast", "FIELD=TYPE", "To string, number, integer or boolean.", cast),
    ("--set", "FIELD=VALUE", "VALUE is JSON, else a text.", set_to),
    ("--drop", "FIELD", "Leave a field out.", drop),
    ("--add-time", "FIELD|received", "Where no time is usable: that in FIELD, or that of receipt.", add_time),
)


@quarantine_command.command("replay")
@reaching
@choosing
@click.option("--seq", "seqs", type=click.IntRange(1), multiple=True, help="Only these numbers.")
@click.option("--id", "ids", multiple=True, help="Only events of these ids.")
@click.option("--last", help="Received in the last such time: 7d, 12h.")
@patching
@click.option("--patch", "patch_file", type=click.File(), help="A JSON list of operations, done before the options'.")
@click.option("--yes", is_flag=True, help="Do it; without this it is only said what would be done.")
def replay(
    data: Path,
    url: str | None,
    project: str | None,
    as_json: bool,
    seqs: tuple[int, ...],
    ids: tuple[str, ...],
    last: str | None,
    patch_file: Any,
    yes: bool,
    **asked: str | None,
) -> None:
    """Judge events in quarantine again, changed by a patch, and store what passes.

    \b
      headwater quarantine replay --code TYPE_MISMATCH --cast attributes.price=number
    says how many would be stored and why the rest would not; with --yes it is done. Operations of one kind stand
    together where the first of them stands. Exits 3 where some stay in quarantine.
    """
    span = {name: value for name, value in (("start", asked["start"]), ("end", asked["end"]), ("last", last)) if value}
    chosen: dict[str, Any] = {word: asked[word] for word in WORDS if asked[word] is not None}
    chosen |= {name: list(values) for name, values in (("seq", seqs), ("id", ids)) if values}
    if span:
        chosen["timeRange"] = span
    patch = [*operations_in(patch_file), *click.get_current_context().meta.get("patch", [])]
    body = {"filter": chosen, "patch": patch, "dryRun": not yes}
    with open_door(data, url, project) as door:
        if not yes:
            tell_dry(door.post("/api/v1/quarantine/replay", body), as_json)
            return
        before = totals(door)
        job = follow(door, door.post("/api/v1/quarantine/replay", body)["jobId"])
        after = totals(door)
    if as_json:
        show_json({"job": job, "ledger": {"before": before, "after": after}})
    else:
        tell_done(job, before, after)
    if job["state"] != "succeeded":
        sys.exit(1)
    if job["result"]["stillBad"]:
        sys.exit(3)


def operations_in(file: Any) -> list[Any]:
    if file is None:
        return []
    try:
        found = json.load(file)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file.name}: not JSON: {error}", code="BAD_FILE", path=file.name) from None
    if not isinstance(found, list):
        raise BadInput(f"{file.name}: expected a list of operations", code="BAD_FILE", path=file.name)
    return found


def conditions(asked: Mapping[str, str | None]) -> dict[str, str | None]:
    """As parameters of the address."""
    return {f"timeRange[{name}]" if name in ("start", "end") else name: value for name, value in asked.items()}


def totals(door: Door) -> dict[str, int]:
    found: dict[str, int] = door.get("/api/v1/ledger")["totals"]
    return found


def tell_dry(dry: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(dry)
        return
    part = "" if dry["complete"] else f" ({dry['judged']:,} of them were judged before the time was over)"
    click.echo(f"{dry['selected']:,} selected{part}: {dry['wouldStore']:,} would be stored")
    if dry["unchanged"]:
        click.echo(f"{dry['unchanged']:,} are not changed by the patch")
    tell_bad(dry["stillBad"])
    if dry["wouldStore"]:
        click.echo("nothing was done; the same with --yes does it")


def tell_done(job: Mapping[str, Any], before: Mapping[str, int], after: Mapping[str, int]) -> None:
    if job["result"] is None:
        error = job["error"] or {"detail": job["state"], "code": "JOB_FAILED"}
        click.echo(f"headwater: the replay ended: {error['detail']} [{error['code']}]", err=True)
        return
    result = job["result"]
    click.echo(
        f"{result['selected']:,} selected: {result['stored']:,} stored, {result['duplicate']:,} were stored already, "
        f"{result['quarantined']:,} refused again"
    )
    if result["removed"]:
        click.echo(f"{result['removed']:,} happened before what retention keeps, and are removed")
    tell_bad(result["stillBad"])
    shown = [name for name in LEDGER if before[name] or after[name]]
    rows = [(name, before[name], after[name], f"{after[name] - before[name]:+,}") for name in shown]
    show_table(("ledger", "before", "after", ""), rows, empty="")
    click.echo(f"balanced: {'yes' if after['balanced'] else 'NO'}")


def tell_bad(still_bad: list[Mapping[str, Any]]) -> None:
    rows = [(i["code"], i["count"], i["example"]["seq"], i["example"]["detail"]) for i in still_bad]
    if rows:
        show_table(("still bad", "events", "example (its number)", "and why"), rows, empty="")
