"""`kinewax health`: whether a service that runs on this machine is well, for probes and people."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from typing import Annotated

import orjson
import typer

from errors import SettingsError
from service import settings

_TIMEOUT_SECONDS = 5.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def health(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it reads and doesn't drain, too.")
    ] = False,
    url: Annotated[
        str | None, typer.Option(help="Its admin address. [what KINEWAX_ADMIN__* say]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Ask a running service whether it is well; the exit code is 0 when it is, else 1.

    Example: kinewax health --ready --url http://127.0.0.1:8080
    """
    failing = _ask((url or _own_url()).rstrip("/"), "readyz" if ready else "livez")
    if as_json:
        answer = {"ok": not failing, "failing": failing}
        sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
    else:
        for check, why in failing.items():
            typer.echo(f"{check}: {why}", err=True)
        if not failing:
            typer.echo("ok")
    if failing:
        raise typer.Exit(1)


def _own_url() -> str:
    admin = settings.load(environment=os.environ).settings.admin
    if not admin.port:
        msg = "the admin port of the service isn't known: it takes a free one"
        raise SettingsError(msg, hint="name it: --url, or KINEWAX_ADMIN__PORT for both")
    host = _ANYWHERE.get(admin.host, f"[{admin.host}]" if ":" in admin.host else admin.host)
    return f"http://{host}:{admin.port}"


def _ask(url: str, probe: str) -> dict[str, str]:
    """Return what fails by check; empty when nothing does."""
    try:
        with urllib.request.urlopen(f"{url}/{probe}", timeout=_TIMEOUT_SECONDS):
            return {}
    except urllib.error.HTTPError as error:
        if error.code != 503:
            return {"answering": f"{url} isn't kinewax: it answers {error.code}"}
        found: dict[str, str] = json.loads(error.read())["failing"]
        return found
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return {"answering": f"nothing answers at {url}: {reason}"}
