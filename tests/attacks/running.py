"""A running exporter that is attacked, and what it shows."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.servers.process import Server, free_port

PLUGIN = "hostile_checks"


class Attacked(Server):
    """A `serve` process with this configuration; `plugin` is the source of a section that another package brings."""

    def __init__(
        self,
        folder: Path,
        configuration: str,
        *,
        plugin: str = "",
        flags: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        name: str = "exporter",
    ) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.config.write_text(configuration)
        self.port = free_port()
        program = Path(sys.executable).with_name("checklist-exporter")
        command: list[str | Path] = [program, "serve", f"--config.file={self.config}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-lifecycle", *flags]
        if plugin:
            env = {**(env or {}), "PYTHONPATH": str(_installed(folder / "packages", plugin))}
        super().__init__(name, command, directory=folder, ready=lambda: self.get("/-/ready"), env=env)

    def get(self, path: str, method: str = "GET", timeout: float = 5) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return reply.read().decode()  # type: ignore[no-any-return]

    def reload(self, timeout: float = 60) -> int:
        """Ask for a reload; the status that it is answered with."""
        try:
            self.get("/-/reload", "POST", timeout)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def item(self, section: str, item: str) -> dict[str, Any]:
        return json.loads(self.get(f"/api/v1/items/{section}/{item}"))  # type: ignore[no-any-return]

    def metric(self, sample: str) -> float | None:
        """The value of a sample, named with its labels as the exposition writes them; None where there is none."""
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return float(found[1]) if found else None

    def ok(self, section: str, item: str) -> float | None:
        return self.metric(f'checklist_item_ok{{item="{item}",section="{section}"}}')

    def logged(self) -> str:
        with suppress(FileNotFoundError):
            return self.log.read_text()
        return ""


def _installed(folder: Path, source: str) -> Path:
    """A folder for PYTHONPATH in which a package brings the collector in `source`."""
    metadata = folder / f"{PLUGIN}-1.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[checklist_exporter.collectors]\nhostile = {PLUGIN}\n")
    (folder / f"{PLUGIN}.py").write_text(source)
    return folder


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
