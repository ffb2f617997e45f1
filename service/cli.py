"""`kinewax`: the command line. Each command is a file in `commands/`; `command_group` has them all.

An error is one line and a hint on standard error, and the exit code of its class in `errors.py`. A
traceback appears with `-v` only.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer
from rich.console import Console
from typer.exceptions import TyperException

from errors import KinewaxError, SettingsError
from service.command_group import FILES, CommandGroup
from service.setting_values import redact_addresses

_COMMON = ("-v", "--verbose", "-q", "--quiet")
_INTERRUPTED = 130

app = typer.Typer(
    name="kinewax",
    cls=CommandGroup,
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


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are printed, not raised."""
    # -v and -q may stand anywhere on the line, though they are declared once.
    common = [argument for argument in arguments if argument in _COMMON]
    rest = [argument for argument in arguments if argument not in _COMMON]
    console = Console(stderr=True, highlight=False, no_color="NO_COLOR" in os.environ)
    try:
        result = app(args=[*common, *(rest or ["--help"])], standalone_mode=False)
    except KinewaxError as error:
        shown: KinewaxError = error
        failed: Exception = error
    except TyperException as error:
        shown, failed = SettingsError(error.format_message(), hint=_help_of(rest)), error
    except typer.Abort:
        console.print("stopped", soft_wrap=True)
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        hint = "this is a bug in kinewax; -v shows where"
        shown, failed = KinewaxError(f"{type(error).__name__}: {first}", hint=hint), error
    else:
        return result if isinstance(result, int) else 0
    _show(console, shown)
    if {"-v", "--verbose"} & {*common}:
        console.print(redact_addresses("".join(traceback.format_exception(failed))), markup=False)
    return shown.exit_code


def _help_of(arguments: list[str]) -> str:
    command = next((f" {argument}" for argument in arguments if argument in FILES), "")
    return f"see kinewax{command} --help"


def _show(console: Console, error: KinewaxError) -> None:
    problems = error.problems if isinstance(error, SettingsError) else (str(error),)
    for problem in problems:
        console.print("error: ", style="red", end="", soft_wrap=True)
        console.print(redact_addresses(problem), markup=False, soft_wrap=True)
    if error.hint:
        console.print(f"hint: {redact_addresses(error.hint)}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
