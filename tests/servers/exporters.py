"""Exporters of the Prometheus world from Debian, and a page of metrics that a test writes itself."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.packages import debian
from tests.servers.process import LOOPBACK, Server, answers, free_port
from tests.servers.prometheus import OLD


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


class Exposition:
    """A page of metrics in Prometheus's text format: what ``text`` holds when it is scraped.

    For exporters that cannot be had, and for series that no real server would show on demand.
    """

    def __init__(self, text: str = "") -> None:
        self.text = text
        exposition = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exposition.text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Page)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
