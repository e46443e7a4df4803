"""The exporter itself, served as users run it."""

import json
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.servers.process import LOOPBACK, Server, answers, call, free_port

Json = dict[str, Any]

JOB = "checklist-exporter"


class Checklist(Server):
    """``serve`` with this configuration, its history and a folder of evidence in ``directory``."""

    def __init__(self, directory: Path, configuration: Mapping[str, object], *, flags: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.evidence = directory / "evidence"
        self.evidence.mkdir()
        self.configuration = directory / "config.yaml"
        own = {"environment": "staging", "state": {"file": str(directory / "history.db")}}
        own["evidence"] = str(self.evidence)
        self.configuration.write_text(json.dumps({**own, **configuration}))
        command: list[str | Path] = [Path(sys.executable).with_name("checklist-exporter"), "serve"]
        command += [f"--config.file={self.configuration}", f"--web.listen-address={LOOPBACK}:{self.port}", *flags]
        super().__init__(
            "checklist",
            command,
            directory=directory,
            ready=lambda: answers(f"{self.url}/-/ready"),
            deadline=90,  # a second or two of computing, of which a busy machine makes many
        )

    def attest(self, item: str, age: int = 1, **more: object) -> Path:
        """Write a record, ``age`` days old, that an item passed, and return its file."""
        file = self.evidence / f"{item}.yaml"
        day = datetime.now(UTC).date() - timedelta(days=age)
        record = {"item": item, "result": "passed", "by": "team@example.com", "on": str(day), **more}
        file.write_text(json.dumps(record))
        return file

    def item(self, section: str, item: str) -> Json:
        """Return what ``/api/v1/items/<section>/<item>`` answers."""
        found: Json = call(f"{self.url}/api/v1/items/{section}/{item}")
        return found

    def page(self, path: str) -> str:
        """Return a page as text."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as reply:
            return str(reply.read().decode())
