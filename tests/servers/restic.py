"""restic 0.19 from Debian sid: a repository in a folder, of a folder of files."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.servers.packages import debian

PASSWORD = "canary-of-restic-4e1a"
_SECONDS = 120


class Repository:
    """A repository of `source`; `options` are those that reach it."""

    def __init__(self, directory: Path) -> None:
        self.program = debian("restic", suite="sid") / "usr/bin/restic"
        self.path = directory / "repository"
        self.source = directory / "source"
        self.source.mkdir()
        self.run("init")

    @property
    def options(self) -> dict[str, Any]:
        """The options that reach it, with everything read at each check."""
        return {
            "repository": str(self.path),
            "password": PASSWORD,
            "command": [str(self.program)],
            "host": "db-0",
            "paths": [str(self.source)],
            "read_data": "100%",
        }

    def run(self, *arguments: str, succeeds: bool = True) -> str:
        """Run a command; its output."""
        done = subprocess.run(
            [self.program, "--no-cache", *arguments],
            env={**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(self.path)},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert (done.returncode == 0) is succeeds, done.stderr
        return done.stdout

    def back_up(self, at: datetime, host: str = "db-0") -> None:
        """Make a snapshot that is dated so."""
        self.run(
            "backup", "--quiet", "--host", host, "--time", f"{at.astimezone():%Y-%m-%d %H:%M:%S}", str(self.source)
        )

    def errors(self, *arguments: str) -> int:
        """How many errors restic itself finds."""
        done = self.run("check", "--json", *arguments, succeeds=True)
        return int(json.loads(done.splitlines()[-1])["num_errors"])

    def pack(self) -> Path:
        """The largest file of data."""
        return max(
            (path for path in (self.path / "data").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
        )
