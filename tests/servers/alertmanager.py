"""Alertmanager 0.25 and a newer one, from Debian."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.servers.packages import debian
from tests.servers.process import LOOPBACK, Server, answers, call, free_port
from tests.servers.prometheus import OLD

Json = dict[str, Any]

_TEMPLATES = b"/usr/share/prometheus/alertmanager"


def amtool(release: str = OLD) -> Path:
    """Return the path of ``amtool``."""
    return _package(release) / "usr/bin/amtool"


def _package(release: str) -> Path:
    return debian("prometheus-alertmanager", suite=release)


def _program(directory: Path, release: str) -> Path:
    """Return the path of a copy that takes its templates from ``directory``: Debian's insists on a system folder."""
    package = _package(release)
    (directory / "template").symlink_to(package / _TEMPLATES.decode().lstrip("/"))
    here = b"template".rjust(len(_TEMPLATES), b"\0").replace(b"\0\0", b"./")
    program = directory / "alertmanager"
    program.write_bytes((package / "usr/bin/prometheus-alertmanager").read_bytes().replace(_TEMPLATES, here))
    program.chmod(0o755)
    return program


class Alertmanager(Server):
    """One Alertmanager; without ``configuration`` it routes everything to a receiver that does nothing."""

    def __init__(
        self, directory: Path, configuration: Mapping[str, object] | None = None, *, release: str = OLD
    ) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.configuration = directory / "alertmanager.yaml"
        self.configuration.write_text(
            json.dumps(configuration or {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]})
        )
        argv: list[str | Path] = [
            _program(directory, release),
            f"--config.file={self.configuration}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--cluster.listen-address=",
        ]
        super().__init__("alertmanager", argv, directory=directory, ready=lambda: answers(f"{self.url}/-/ready"))

    def configure(self, configuration: Mapping[str, object]) -> None:
        """Replace the configuration and load it; raises HTTPError when it is refused."""
        self.configuration.write_text(json.dumps(configuration))
        urlopen(Request(f"{self.url}/-/reload", method="POST"), timeout=10).close()

    def alert(self, **labels: str) -> None:
        """Send an alert with these labels."""
        call(f"{self.url}/api/v2/alerts", [{"labels": labels, "startsAt": datetime.now(UTC).isoformat()}])

    def alerts(self) -> list[Json]:
        """Return the alerts that it holds."""
        held: list[Json] = call(f"{self.url}/api/v2/alerts")
        return held

    def silence(self, minutes: float = 60, **labels: str) -> str:
        """Silence alerts that have these labels, and return the silence's id."""
        now = datetime.now(UTC)
        silence = {
            "matchers": [{"name": name, "value": value, "isRegex": False} for name, value in labels.items()],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(minutes=minutes)).isoformat(),
            "createdBy": "tests",
            "comment": "Planned work.",
        }
        made: Json = call(f"{self.url}/api/v2/silences", silence)
        return str(made["silenceID"])


@pytest.fixture(scope="session")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """The old Alertmanager, which notifies nobody."""
    with Alertmanager(tmp_path_factory.mktemp("alertmanager")) as server:
        yield server
