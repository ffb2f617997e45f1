"""`kinewax version`."""

from __future__ import annotations

import typer

from service.version import installed_version


def version() -> None:
    """Print the version."""
    typer.echo(installed_version())
