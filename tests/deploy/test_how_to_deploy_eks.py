"""Every command of docs/how-to/deploy-eks.md: run here, or marked as needing an AWS account."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service import settings
from tests.deploy.manifests import K8S, ROOT, container_of, kubectl, only
from tests.deploy.test_k8s import environment_of, invalid
from tests.fakes.kubernetes import Kubernetes, serving

pytestmark = pytest.mark.deploy

PAGE = (ROOT / "docs/how-to/deploy-eks.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
RUN = [block for block in BLOCKS if not block.startswith("# AWS\n")]
NAMESPACE = "kinewax-ecommerce"


class Pods:
    """Pods that start and stop at once."""

    def start(self, index: int, template: dict[str, Any]) -> None:
        """Start at once."""

    def stop(self, index: int) -> None:
        """Stop at once."""

    def ready(self, index: int) -> bool:
        return True


def shell(block: str, checkout: Path) -> str:
    """Run a block where `deploy/` is, with kubectl and kinewax on the path."""
    path = f"{Path(sys.executable).parent}:{Path(kubectl()).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-eu", "-c", block],
        check=False,
        cwd=checkout,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    for source in K8S.rglob("*.*"):
        target = tmp_path / "deploy" / "k8s" / source.relative_to(K8S)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            target.write_bytes(source.read_bytes())
    return tmp_path


def test_what_is_yours_is_built_as_the_page_says(checkout: Path) -> None:
    (block,) = (one for one in RUN if "kustomization.yaml" in one)
    found = list(yaml.safe_load_all(shell(block, checkout)))
    loaded = settings.load(environment=environment_of(found)).settings

    assert [line for one in found if one["kind"] != "PodMonitor" for line in invalid(one)] == []
    container = container_of(only(found, "StatefulSet"))
    assert container["image"].startswith("123456789012.dkr.ecr.eu-west-1.amazonaws.com/kinewax:")
    (role,) = only(found, "ServiceAccount")["metadata"]["annotations"].values()
    assert role.endswith("role/the-run-role")
    assert (loaded.aws.region, loaded.source.start) == ("eu-central-1", "TRIM_HORIZON")


@pytest.mark.parametrize("block", [one for one in RUN if one.startswith("kubectl")])
def test_what_is_built_for_a_cluster_is_built(block: str, checkout: Path) -> None:
    assert "kind: " in shell(block, checkout)


@pytest.mark.parametrize("block", [one for one in RUN if one.startswith("kinewax")])
def test_what_is_rolled_out_and_scaled_is(block: str, checkout: Path) -> None:
    (overlay,) = (one for one in RUN if "kustomization.yaml" in one)
    built = only(list(yaml.safe_load_all(shell(overlay, checkout))), "StatefulSet")
    kubernetes = Kubernetes(built, Pods(), NAMESPACE)
    with serving(kubernetes) as url:
        said = shell(block.replace("http://127.0.0.1:8001", url), checkout)

    assert "ready" in said
    assert len(kubernetes.made) > 3


def test_every_block_is_run_or_marked() -> None:
    run = [one for one in RUN if "kustomization.yaml" in one]
    run += [one for one in RUN if one.startswith(("kubectl kustomize", "kinewax "))]

    assert len(BLOCKS) >= 10
    assert sorted(run) == sorted(RUN)
    assert all(
        line.split()[0] in ("kubectl", "kinewax")
        for one in run
        if "END" not in one
        for line in one.splitlines()
    )


def test_every_file_that_a_command_names_exists() -> None:
    named = set(re.findall(r"\b(?:deploy|tests|docs)/[\w./-]+\w", PAGE))

    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert len(named) > 10
