"""Prometheus for tests: its programs, the rules of deploy/prometheus/, a server that scrapes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from metrics import METRICS
from tests.rig import wait_until
from tests.servers import free_port

RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
_NAME = re.compile(r"\b(kinewax[a-z0-9_:]*)")
_LIMIT = re.compile(r"^(.*?)\s*(?:>|<)\s*([0-9.]+)\s*$", re.DOTALL)
_TEXT = re.compile(r'"[^"]*"')


def program(name: str) -> str:
    """Return where a program is; without it the test is skipped, but never in CI."""
    found = shutil.which(name)
    if found is None:
        msg = f"no {name} here: `apt-get install prometheus`"
        if os.environ.get("CI"):
            pytest.fail(msg)
        pytest.skip(msg)
    return found


# ---- rules --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alert:
    """An alert rule.

    Attributes:
        measured: The left side of its expression: what is compared with the limit.
    """

    name: str
    expression: str
    measured: str
    severity: str
    runbook: str


def _rules(file: str) -> list[dict[str, Any]]:
    content = yaml.safe_load((RULES / file).read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def alerts() -> list[Alert]:
    found = []
    for rule in _rules("alerts.yml"):
        parts = _LIMIT.match(rule["expr"])
        assert parts, f"{rule['alert']} is no measured value and a limit: {rule['expr']}"
        found.append(
            Alert(
                rule["alert"],
                rule["expr"],
                parts[1],
                rule["labels"]["severity"],
                rule["annotations"]["runbook"],
            )
        )
    return found


def recorded() -> dict[str, str]:
    """Return each recorded series' expression by its name."""
    return {rule["record"]: rule["expr"] for rule in _rules("recording.yml")}


def series_named(expression: str) -> set[str]:
    """Return all series of ours that an expression reads."""
    return set(_NAME.findall(_TEXT.sub('""', expression)))


def filled_in(expression: str) -> str:
    """Return a board's expression as Grafana asks it, of all jobs, over a short while."""
    for variable, value in {"$__rate_interval": "20s", "$__range": "10m", "$job": ".+"}.items():
        expression = expression.replace(variable, value)
    return expression


def scraped_names() -> set[str]:
    """Return every name under which a declared metric is scraped."""
    names = set()
    for metric in METRICS:
        for family in metric.collect():
            if family.type == "histogram":
                names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
            else:
                names.add(family.name + ("_total" if family.type == "counter" else ""))
    return names


# ---- the server ---------------------------------------------------------------------------------


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query, each with `metric` and `value`."""
        body = urllib.parse.urlencode({"query": expression}).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/query", body, timeout=10) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success", answer
        return [
            {"metric": one["metric"], "value": float(one["value"][1])}
            for one in answer["data"]["result"]
        ]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as reply:
            return json.load(reply)["data"]


@contextmanager
def prometheus_server(folder: Path, targets: Sequence[tuple[str, str]]) -> Iterator[Prometheus]:
    """Run a Prometheus with our rules that scrapes each (job, address) every second."""
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    rules = folder / "rules"
    rules.mkdir()
    for name in config["rule_files"]:
        # The server's clock can't be hurried, so its groups are evaluated each second.
        content = yaml.safe_load((RULES / name).read_text())
        for group in content["groups"]:
            group.pop("interval", None)
        (rules / name).write_text(yaml.safe_dump(content))
    config["rule_files"] = [str(rules / name) for name in config["rule_files"]]
    config["scrape_configs"] = [
        {**config["scrape_configs"][0], "job_name": job, "static_configs": [{"targets": [address]}]}
        for job, address in targets
    ]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Prometheus(f"http://{address}")
        wait_until(lambda: _ready(server, process), "Prometheus is ready")
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _ready(server: Prometheus, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Prometheus ended at its start"
    try:
        with urllib.request.urlopen(f"{server.url}/-/ready", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
