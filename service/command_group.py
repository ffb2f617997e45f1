"""The commands of `kinewax`, each loaded when it is called.

Most need numpy, boto3 and the engine, which takes a second of a core. A probe asks `kinewax health`
twice a minute and more, and who wants help doesn't want to wait: the line of a command in the list
of all is read from its file without running it.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

PACKAGE = "service.commands"
FILES = {
    "version": "version",
    "run": "run",
    "replay": "replay",
    "convert": "convert",
    "check": "check",
    "health": "health",
    "produce": "produce",
    "demo": "demo",
    "insights": "insights",
    "rollout": "rollout",
    "scale": "rollout",
    "positions": "positions",
    "snapshots": "snapshots",
}
"""The file of each command, in the order of help. The command is what the file calls `app`, where
it has commands of its own, else the function of its name."""

# Contexts, commands and formatters are of Typer's own copy of Click, which has no public types.
Click = Any


class _Commands(Mapping[str, Click]):
    def __getitem__(self, name: str) -> Click:
        module = importlib.import_module(f"{PACKAGE}.{FILES[name]}")
        app = getattr(module, "app", None)
        if app is None:
            app = typer.Typer(add_completion=False)
            app.command()(getattr(module, name))
        command = get_command(app)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(FILES)

    def __len__(self) -> int:
        return len(FILES)


class CommandGroup(TyperGroup):
    """The group of all commands."""

    _for_the_list = False

    @property
    def commands(self) -> Click:
        """All commands by name, each loaded when it is looked up."""
        return _Commands()

    @commands.setter
    def commands(self, _: Click) -> None:
        """Leave them to `FILES`: Typer knows none."""

    def list_commands(self, _: Click) -> list[str]:
        """Return their names, in the order of help."""
        return list(FILES)

    def get_command(self, _: Click, cmd_name: str) -> Click:
        """Return a command; None where there is none of this name."""
        if cmd_name not in FILES:
            return None
        if self._for_the_list:
            return TyperCommand(cmd_name, help=summary(cmd_name))
        return self.commands[cmd_name]

    def format_help(self, ctx: Click, formatter: Click) -> None:
        """Write the help of all, without loading any."""
        self._for_the_list = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._for_the_list = False


def summary(name: str) -> str:
    """Return what a command is for, in a line, without running its file."""
    spec = find_spec(f"{PACKAGE}.{FILES[name]}")
    assert spec is not None, "FILES names files"
    assert spec.origin is not None, "they are files"
    for statement in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        match statement:
            case ast.FunctionDef() if statement.name == name:
                return (ast.get_docstring(statement) or "").partition("\n\n")[0]
            case ast.Assign(targets=[ast.Name("app")], value=ast.Call(keywords=keywords)):
                texts = (one.value for one in keywords if one.arg == "help")
                return "".join(str(ast.literal_eval(text)) for text in texts)
    return ""
