"""Prometheus 2.42 and 3.x, from Debian."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests.servers.packages import debian
from tests.servers.process import LOOPBACK, Server, answers, call, free_port, wait_until
from tests.servers.sharing import shared

OLD, NEW = "bookworm", "sid"
"""The Debian suites whose Prometheus are the oldest supported (2.42) and a new one (3.x)."""

Json = dict[str, Any]


def prometheus_program(release: str = OLD) -> Path:
    """Return the path of ``prometheus``."""
    return _programs(release) / "prometheus"


def promtool(release: str = OLD) -> Path:
    """Return the path of ``promtool``."""
    return _programs(release) / "promtool"


def _programs(release: str) -> Path:
    packages = ["prometheus"] if release == OLD else ["prometheus", "promtool"]  # bookworm has both in one package
    return debian(*packages, suite=release) / "usr/bin"


def scrape(job: str, *ports: int, **settings: object) -> Json:
    """Return a scrape configuration for loopback ports; ``settings`` such as ``metrics_path`` or ``params`` add to it."""
    return {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{port}" for port in ports]}], **settings}


class Prometheus(Server):
    """One Prometheus that scrapes and evaluates five times a second; without ``scrapes`` it scrapes itself, as ``prometheus``.

    What it discovers (targets, Alertmanagers) is seen some 5 s after the start, and after each ``configure``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        release: str = OLD,
        scrapes: Sequence[Json] | None = None,
        rules: Sequence[Json] = (),
        alertmanagers: Sequence[int] = (),
        extra: Mapping[str, object] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.configuration = directory / "prometheus.yaml"
        argv: list[str | Path] = [
            prometheus_program(release),
            f"--config.file={self.configuration}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--web.enable-lifecycle",
            *flags,
        ]
        super().__init__("prometheus", argv, directory=directory, ready=lambda: answers(f"{self.url}/-/ready"))
        self.configure(scrapes=scrapes, rules=rules, alertmanagers=alertmanagers, extra=extra)

    def configure(
        self,
        *,
        scrapes: Sequence[Json] | None = None,
        rules: Sequence[Json] = (),
        alertmanagers: Sequence[int] = (),
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Replace the whole configuration (rule groups, ports of Alertmanagers), and load it if running; see ``reload``."""
        rule_file = self.directory / "rules.yaml"
        rule_file.write_text(json.dumps({"groups": rules}))
        managers = {"targets": [f"{LOOPBACK}:{port}" for port in alertmanagers]}
        configuration = {
            "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
            "scrape_configs": [scrape("prometheus", self.port)] if scrapes is None else scrapes,
            "rule_files": [str(rule_file)],
            "alerting": {"alertmanagers": [{"static_configs": [managers]}] if alertmanagers else []},
            **(extra or {}),
        }
        self.configuration.write_text(json.dumps(configuration))
        if self.running:
            self.reload()

    def reload(self) -> None:
        """Load the configuration file again; raises HTTPError when it is refused."""
        urlopen(Request(f"{self.url}/-/reload", method="POST"), timeout=10).close()

    def query(self, promql: str) -> list[Json]:
        """Return the vector that an instant query gives."""
        reply = call(f"{self.url}/api/v1/query?query={quote(promql)}")
        vector: list[Json] = reply["data"]["result"]
        return vector

    def wait_for(self, promql: str, deadline: float = 30.0) -> list[Json]:
        """Wait until an instant query gives something, and return that."""
        return wait_until(lambda: self.query(promql), f"Prometheus to know {promql}", deadline)


#: A scrape that takes longer than the interval makes its series vanish, which a busy machine must not do.
_PATIENT = {"global": {"scrape_interval": "3s"}}


@pytest.fixture(scope="session", params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
@shared
def any_prometheus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The old and then the new Prometheus, each scraping itself: for reading only."""
    with Prometheus(tmp_path_factory.mktemp("prometheus"), release=request.param, extra=_PATIENT) as server:
        server.wait_for("up == 1")
        yield server


@pytest.fixture(scope="session")
@shared
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The old Prometheus, scraping itself: for reading only."""
    with Prometheus(tmp_path_factory.mktemp("prometheus"), extra=_PATIENT) as server:
        server.wait_for("up == 1")
        yield server
