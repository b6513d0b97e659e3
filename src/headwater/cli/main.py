"""The `headwater` command: names, one line of help each, and the module that is imported only when one is called."""

import importlib
import os
import sys
from typing import Any

import click

COMMANDS = {
    "serve": ("serve", "Run the service."),
    "demo": ("demo", "Run the service on a believable shop's data."),
    "import": ("importing", "Bring in files: web logs, NDJSON, JSON, CSV."),
    "query": ("query", "Ask for metrics."),
    "ledger": ("ledger", "Show that nothing was lost; exit 1 if it does not balance."),
    "receipt": ("ledger", "Tell where one event is."),
    "quarantine": ("quarantine", "List what was refused, and why; send it again, mended."),
    "schema": ("schema", "Declare the shapes of events."),
    "metric": ("metric", "Define metrics."),
    "project": ("project", "Create and list projects."),
    "keys": ("keys", "Create, list and revoke API keys."),
    "lake": ("lake", "Look into the lake; make the warehouse again from it."),
    "retention": ("retention", "Say what is older than a project keeps; remove it."),
    "warehouse": ("retention", "Show sizes and free space of the warehouse; give space back."),
    "doctor": ("doctor", "Look whether all is well, and say what mends what is not."),
    "jobs": ("jobs", "Look at jobs: what is queued, running, done; cancel one."),
    "config": ("config", "Show every setting, its value and where it came from."),
    "openapi": ("openapi", "Print the OpenAPI document."),
}


class LazyGroup(click.Group):
    """`--help` lists the commands without importing any of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        found: click.Command = getattr(importlib.import_module(f"headwater.cli.{module}"), f"{cmd_name}_command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from headwater.domain.reading import did_you_mean

            ctx.fail(f"no such command {args[0]!r}; {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headwater", prog_name="headwater")
def root() -> None:
    """Headwater: self-hosted, real-time analytics. Nothing acknowledged is ever lost or counted twice."""


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 wrong use, 3 partly done."""
    from headwater.domain.errors import BadInput, HeadwaterError

    try:
        # Not root.main(): that takes a reader who went away (`| head`) for a failure, and exits 1.
        with root.make_context("headwater", sys.argv[1:]) as context:
            root.invoke(context)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # What is still in the buffer has nowhere to go; the interpreter would complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except HeadwaterError as error:
        say_error(error)
        # What the server finds wrong comes here as the same error: then the question was wrong, too.
        sys.exit(2 if type(error) is BadInput else 1)


def say_error(error: Any) -> None:
    click.echo(f"headwater: {error.detail} [{error.code}]", err=True)
    if error.hint and error.hint not in error.detail:
        click.echo(f"  {error.hint}", err=True)
