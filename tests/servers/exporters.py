"""Exporters of the Prometheus world from Debian, and a page of metrics that a test writes itself."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.servers.packages import debian
from tests.servers.process import LOOPBACK, Server, answers, free_port
from tests.servers.prometheus import OLD
from tests.servers.web import Handler, Site


class Exporter(Server):
    """An exporter that serves /metrics on ``port``."""

    def __init__(
        self, name: str, directory: Path, *arguments: str, release: str = OLD, env: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        program = debian(name, suite=release) / "usr/bin" / name
        argv: list[str | Path] = [program, f"--web.listen-address={LOOPBACK}:{self.port}", *arguments]
        super().__init__(name, argv, directory=directory, env=env, ready=lambda: answers(f"{self.url}/metrics"))


def node_exporter(directory: Path, *, release: str = OLD) -> Exporter:
    """Give node_exporter, which tells of this machine."""
    return Exporter("prometheus-node-exporter", directory, release=release)


def redis_exporter(directory: Path, redis_url: str, *, password: str = "", release: str = OLD) -> Exporter:
    """Give redis_exporter for a Redis such as ``redis://127.0.0.1:6379``."""
    env = {"REDIS_ADDR": redis_url, "REDIS_PASSWORD": password}
    return Exporter("prometheus-redis-exporter", directory, release=release, env=env)


def postgres_exporter(directory: Path, dsn: str, *arguments: str, release: str = OLD) -> Exporter:
    """Give postgres_exporter for a data source such as ``postgresql://user:password@127.0.0.1:5432/postgres?sslmode=disable``."""
    environment = {"DATA_SOURCE_NAME": dsn}
    return Exporter("prometheus-postgres-exporter", directory, *arguments, release=release, env=environment)


def blackbox_exporter(directory: Path, modules: Mapping[str, object], *, release: str = OLD) -> Exporter:
    """Give blackbox_exporter with these modules; it probes what ``/probe?target=…&module=…`` names."""
    configuration = directory / "blackbox.yaml"
    configuration.write_text(json.dumps({"modules": modules}))
    return Exporter("prometheus-blackbox-exporter", directory, f"--config.file={configuration}", release=release)


class Exposition(Site):
    """A page of metrics in Prometheus's text format: what ``text`` holds, or gives, when it is scraped.

    For exporters that cannot be had, and for series that no real server would show on demand.
    """

    def __init__(self, text: str | Callable[[], str] = "") -> None:
        self.text = text
        exposition = self

        class Page(Handler):
            def do_GET(self) -> None:
                text = exposition.text if isinstance(exposition.text, str) else exposition.text()
                self.reply(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4"})

        super().__init__(Page)
