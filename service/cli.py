"""`kinewax`: the command line. Each command is a file in `commands/`; here they meet.

An error is one line and a hint on standard error, and the exit code of its class in `errors.py`. A
traceback appears with `-v` only.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import click
import typer
from rich.console import Console

from errors import KinewaxError, SettingsError
from service.admin import version as installed_version
from service.commands.check import check
from service.commands.demo import demo
from service.commands.produce import produce
from service.commands.run import run

app = typer.Typer(
    name="kinewax",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Event-time stream processing for Kinesis: windows, alerts and aggregates.\n\n"
    "Try it: kinewax demo",
)


@app.callback()
def _common(
    context: typer.Context,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="More logs, and tracebacks of errors.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    context.obj = 1 if verbose else -1 if quiet else 0


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(installed_version())


app.command()(run)
app.command()(check)
app.command()(produce)
app.command()(demo)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are printed, not raised."""
    verbose = any(argument in ("-v", "--verbose") for argument in arguments)
    console = Console(stderr=True, highlight=False, no_color="NO_COLOR" in os.environ)
    try:
        result = app(args=arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        console.print("stopped", soft_wrap=True)
        return 130
    except KinewaxError as error:
        _show(console, error)
        if verbose:
            traceback.print_exc()
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        lines = str(error).splitlines() or [""]
        console.print(
            f"[red]error:[/] {type(error).__name__}: {lines[0]}", soft_wrap=True, markup=True
        )
        console.print("this is a bug in kinewax; -v shows where", soft_wrap=True)
        if verbose:
            traceback.print_exc()
        return 1
    return result if isinstance(result, int) else 0


def _show(console: Console, error: KinewaxError) -> None:
    problems = error.problems if isinstance(error, SettingsError) else (str(error),)
    for problem in problems:
        console.print("error: ", style="red", end="", soft_wrap=True)
        console.print(problem, markup=False, soft_wrap=True)
    if error.hint:
        console.print(f"hint: {error.hint}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
