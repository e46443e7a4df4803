"""gitleaks, which looks for secrets in files, built from the Go module proxy."""

import json
import subprocess
from pathlib import Path

from tests.servers.packages import go_binary

VERSION = "v8.30.1"


def build() -> Path:
    """Return the program. Skips where it is not in the cache: building it takes minutes."""
    return go_binary("github.com/zricethezav/gitleaks/v8", VERSION).with_name("gitleaks")


def findings(folder: Path) -> set[str]:
    """Return the names of the files of a folder in which gitleaks finds a secret by its own rules, binary encodings included."""
    report = folder.parent / f"{folder.name}.json"
    options = ["--no-banner", "--log-level", "error", "--max-decode-depth", "2", "--exit-code", "0"]
    argv: list[str | Path] = [build(), "dir", folder, *options, "--report-format", "json", "--report-path", report]
    subprocess.run(argv, check=True, capture_output=True, text=True, timeout=300)
    return {Path(found["File"]).name for found in json.loads(report.read_text())}
