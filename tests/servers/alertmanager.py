"""Alertmanager 0.25 and a newer one, from Debian."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.servers.packages import debian
from tests.servers.process import LOOPBACK, Server, answers, call, free_port, listening
from tests.servers.prometheus import NEW, OLD
from tests.servers.sharing import shared

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
    """One Alertmanager; without ``configuration`` it routes everything to a receiver that does nothing.

    ``prefix`` (such as ``/am``) is the path that it serves under. ``joins`` makes it a member of the cluster of these others.
    ``web`` is a web configuration: TLS, and users without whom the methods below do nothing.
    """

    def __init__(
        self,
        directory: Path,
        configuration: Mapping[str, object] | None = None,
        *,
        release: str = OLD,
        prefix: str = "",
        joins: Sequence["Alertmanager"] | None = None,
        web: Mapping[str, object] | None = None,
    ) -> None:
        self.port = free_port()
        self.cluster_port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}{prefix}"
        self.configuration = directory / "alertmanager.yaml"
        self.configuration.write_text(
            json.dumps(configuration or {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]})
        )
        argv: list[str | Path] = [
            _program(directory, release),
            f"--config.file={self.configuration}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            f"--web.route-prefix={prefix or '/'}",
            *self._cluster(joins),
        ]
        if web is not None:
            (directory / "web.yaml").write_text(json.dumps(web))
            argv.append(f"--web.config.file={directory / 'web.yaml'}")
            self.url = self.url.replace("http:", "https:") if "tls_server_config" in web else self.url
        super().__init__("alertmanager", argv, directory=directory, ready=self._answers)

    def _answers(self) -> bool:
        if "--web.config.file" in " ".join(self.argv):
            return listening(self.port)
        return answers(f"{self.url}/-/ready")

    def _cluster(self, others: Sequence["Alertmanager"] | None) -> list[str]:
        if others is None:
            return ["--cluster.listen-address="]
        here = f"{LOOPBACK}:{self.cluster_port}"
        peers = [f"--cluster.peer={LOOPBACK}:{other.cluster_port}" for other in others]
        return [f"--cluster.listen-address={here}", f"--cluster.advertise-address={here}", *peers]

    def configure(self, configuration: Mapping[str, object]) -> None:
        """Replace the configuration and load it; raises HTTPError when it is refused."""
        self.configuration.write_text(json.dumps(configuration))
        urlopen(Request(f"{self.url}/-/reload", method="POST"), timeout=10).close()

    def alert(self, **labels: str) -> None:
        """Send an alert with these labels."""
        self.send(labels)

    def send(self, labels: Mapping[str, str], *, started: timedelta = timedelta(0)) -> None:
        """Send an alert that began some time ago, and holds for five minutes unless it is sent again."""
        now = datetime.now(UTC)
        ends = (now + timedelta(minutes=5)).isoformat()
        call(f"{self.url}/api/v2/alerts", [{"labels": labels, "startsAt": (now - started).isoformat(), "endsAt": ends}])

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

    def extend(self, silence: str, minutes: float) -> str:
        """Let a silence end this long after its beginning, and return the id of the one that holds now."""
        held: Json = call(f"{self.url}/api/v2/silence/{silence}")
        ends = datetime.fromisoformat(held["startsAt"]) + timedelta(minutes=minutes)
        kept = {name: held[name] for name in ("id", "matchers", "startsAt", "createdBy", "comment")}
        made: Json = call(f"{self.url}/api/v2/silences", kept | {"endsAt": ends.isoformat()})
        return str(made["silenceID"])

    def unsilence(self, silence: str) -> None:
        """End a silence."""
        urlopen(Request(f"{self.url}/api/v2/silence/{silence}", method="DELETE"), timeout=10).close()


@pytest.fixture(scope="session", params=[OLD, NEW], ids=["alertmanager-0.25", "alertmanager-0.33"])
@shared
def any_alertmanager(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alertmanager]:
    """The old and then the new Alertmanager, which notify nobody: a test gives them the configuration that it needs."""
    with Alertmanager(tmp_path_factory.mktemp("alertmanager"), release=request.param) as server:
        yield server


@pytest.fixture(scope="session")
@shared
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """The old Alertmanager, which notifies nobody."""
    with Alertmanager(tmp_path_factory.mktemp("alertmanager")) as server:
        yield server
