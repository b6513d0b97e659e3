"""`headwater demo`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from headwater.cli.serve import flags_of, serving


@click.command()
@serving
@click.option("--events", type=click.IntRange(1000, 100_000_000), default=1_000_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Another number is another shop.")
@click.option("--no-live", is_flag=True, help="Only the history; no events afterwards.")
def demo_command(config_file: Path | None, events: int, seed: int, no_live: bool, **given: Any) -> None:
    """Run the service on a believable shop's data: 90 days, then a live trickle. No credentials; this machine only."""
    from headwater.demo.run import run_demo

    flags = {"observe.level": "warning", **flags_of(**given)}
    run_demo(flags, config_file, seed=seed, events=events, live=not no_live, shown=Screen(), declare=declare)


def declare(address: str, path: str, body: Any) -> None:
    from headwater.cli.door import Door, tcp_connection

    Door(lambda: tcp_connection(address), {}).call("PUT", path, json.dumps(body).encode())


class Screen:
    """A progress bar on a terminal; at the end, in any case, the address and what to paste."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.task: Any = None

    def loading(self, totals: Any, events: int) -> None:
        if not sys.stderr.isatty():
            return
        if self.bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("loading"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("events"),
                TimeElapsedColumn(),
            )
            self.bar = Progress(*columns, console=Console(stderr=True))
            self.task = self.bar.add_task("loading", total=events)
            self.bar.start()
        self.bar.update(self.task, completed=min(totals.sent, events))

    def loaded(self, totals: Any, seconds: float, address: str, lines: list[str]) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=self.bar.tasks[0].total)
            self.bar.stop()
        if totals is None:
            click.echo("the shop's history is in this folder already")
        else:
            told = f"{totals.sent:,} events in {seconds:.0f} s: {totals.accepted:,} accepted"
            click.echo(f"{told}, {totals.quarantined:,} quarantined; the ledger has the rest")
        click.echo(f"\nheadwater is at {address}   Paste these into another terminal:\n")
        for line in lines:
            click.echo(f"{line}\n")
        click.echo("Ctrl-C stops it; the data stays.")

    def failed(self, error: Any) -> None:
        if self.bar is not None:
            self.bar.stop()
        click.echo(f"the demo's data could not be loaded: {error.detail} [{error.code}]", err=True)
