"""The plug-in in `examples/` works as it stands: its own tests pass, and the exporter finds it once it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "plugin"

FOUND = """
from exporter.catalogue import Catalogue

catalogue = Catalogue.load()
print(dict(catalogue.broken), *sorted(entry.verified_by for entry in catalogue.section("search_index")))
"""


def test_its_own_tests_pass() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "--rootdir",
        ".",
        "tests",
    ]
    done = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_exporter_finds_it(tmp_path: Path) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "checklist_search_index-1.0.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: checklist-search-index\nVersion: 1.0.0\n")
    [(group, points)] = project["entry-points"].items()
    text = "\n".join(f"{name} = {value}" for name, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{text}\n")
    path = os.pathsep.join((str(EXAMPLE / "src"), str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-c", FOUND],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [
        "{}",
        "search_index.SearchIndex.index_fresh",
        "search_index.SearchIndex.shards_assigned",
    ]
