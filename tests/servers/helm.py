"""Helm 3, which renders the chart."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.packages import go_binary

VERSION = "v3.22.0"

Json = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]


def build() -> None:
    """Build Helm, so that tests find it."""
    _program()


def _program() -> Path:
    return go_binary("helm.sh/helm/v3/cmd/helm", VERSION)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Run Helm with these arguments, away from any cluster and from the user's own settings; `values` are given as a file."""
    program, folder = _program(), tmp_path_factory.mktemp("helm")
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "KUBECONFIG": str(folder / "none")}

    def run(*arguments: str | Path, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        given: list[str | Path] = []
        if values is not None:
            file = folder / "values.yaml"
            file.write_text(json.dumps(values))
            given = ["--values", file]
        return subprocess.run(
            [program, *arguments, *given], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def manifests(rendered: str) -> list[Json]:
    """The objects that were rendered."""
    return [manifest for manifest in yaml.safe_load_all(rendered) if manifest]
