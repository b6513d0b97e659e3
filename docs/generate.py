"""Writes docs/reference from the code: settings, problem codes, API, command line, gauges. `make docs` runs it."""

import json
from pathlib import Path

import click

FOLDER = Path(__file__).parent / "reference"


def settings_page() -> str:
    from headwater import config

    lines = [
        "# Settings",
        "Later wins: default < TOML file (`<data>/headwater.toml`, or `--config FILE`) < environment",
        "`HEADWATER_<ROOM>__<KEY>` < command line. Sizes may be written as `10 MiB`. `headwater config` shows what is",
        "in force and where it came from.",
        "",
        "| setting | default | |",
        "|---|---|---|",
    ]
    for row in config.load(environ={}, file=Path("/dev/null")).describe():
        value = json.dumps(row.value) if not isinstance(row.value, tuple) else json.dumps(list(row.value))
        lines.append(f"| `{row.name}` | `{value}` | {row.doc} |")
    return "\n".join(lines) + "\n"


def codes_page() -> str:
    from headwater.domain.problems import EVENT_CODES, OPERATOR_CODES, REQUEST_CODES

    tables = (
        ("events", "An event with one of these is kept in quarantine, or stored with a warning.", EVENT_CODES),
        ("requests", "`code` of a problem document (RFC 9457). Nothing of the request was stored.", REQUEST_CODES),
        ("running it", "At start, in commands, in the journal, and as reasons of `/health/ready`.", OPERATOR_CODES),
    )
    lines = ["# Codes", "Stable: programs may rely on them."]
    for what, says, codes in tables:
        lines += ["", f"## Of {what}", "", says, "", "| code | |", "|---|---|"]
        lines += [f"| `{code}` | {text} |" for code, text in codes.items()]
    return "\n".join(lines) + "\n"


def api_page() -> str:
    from headwater.api.openapi import document

    described = json.loads(document())
    lines = [
        "# API",
        "The whole document is at `/openapi.json`. Keys go into `Authorization: Bearer …`; `X-Headwater-Project` names",
        "the project.",
        "",
        "| | | scope | |",
        "|---|---|---|---|",
    ]
    for path, methods in sorted(described["paths"].items()):
        for method, operation in methods.items():
            scopes = [scope for each in operation.get("security", []) for scope in each["key"]]
            scope = f"`{scopes[0]}`" if scopes else "public"
            lines.append(f"| {method.upper()} | `{path}` | {scope} | {operation.get('summary', '')} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    from headwater.cli.main import COMMANDS, root

    lines = ["# Command line", "Exit codes: 0 done, 1 failed, 2 wrong use, 3 partly done.", ""]
    context = click.Context(root, info_name="headwater", terminal_width=100, max_content_width=100)
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        lines += help_of(command, context, name)
        if isinstance(command, click.Group):
            inner = click.Context(command, parent=context, info_name=name, terminal_width=100, max_content_width=100)
            for each in command.list_commands(inner):
                part = command.get_command(inner, each)
                assert part is not None
                lines += help_of(part, inner, each)
    return "\n".join(lines)


def help_of(command: click.Command, parent: click.Context, name: str) -> list[str]:
    context = click.Context(command, parent=parent, info_name=name, terminal_width=100, max_content_width=100)
    return [f"## {context.command_path}", "```", command.get_help(context), "```", ""]


def index_page() -> str:
    return (
        "# Reference\nMade from the code by `make docs`.\n\n- [Settings](settings.md)\n- [API](api.md)\n"
        "- [Command line](cli.md)\n- [Codes](codes.md)\n"
    )


PAGES = {
    "README.md": index_page,
    "settings.md": settings_page,
    "codes.md": codes_page,
    "api.md": api_page,
    "cli.md": cli_page,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, page in PAGES.items():
        (FOLDER / file).write_text(page())
