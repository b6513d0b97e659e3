"""Answers on a terminal: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

WIDTH = 1000
LONG = 40
"""Characters: what is longer may be folded, to no less than that; ids, times and numbers stay whole."""


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """A table as wide as it needs; numbers to the right. `empty` is said when there are no rows.

    On a terminal long texts are folded where there is room for that; else its lines run on, as they do elsewhere.
    """
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    lines = [[shown(value) for value in row] for row in rows]
    needed = 0
    for position, column in enumerate(columns):
        numeric = all(isinstance(row[position], int | float) or row[position] is None for row in rows)
        longest = max(len(column), *(len(line[position]) for line in lines))
        needed += min(longest, LONG) + 1
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=longest <= LONG)
    for line in lines:
        table.add_row(*map(Text, line))
    console = Console(highlight=False)
    # Elsewhere than on a terminal a row stays one line, however wide.
    if not sys.stdout.isatty() or needed > console.width:
        console = Console(highlight=False, width=WIDTH, soft_wrap=True)
    # By click: rich takes a reader who went away for a failure.
    with console.capture() as drawn:
        console.print(table)
    click.echo(drawn.get(), nl=False)


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.2f}"
    return str(value)
