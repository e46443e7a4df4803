"""A real Temporal server that keeps everything in memory, built from source, and workers by its Python SDK."""

import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.packages import go_program, python_packages
from tests.servers.process import LOOPBACK, Server, answers, free_port
from tests.servers.sharing import shared

_SOURCES = Path(__file__).parent / "temporal_server"
_WORKER = Path(__file__).parent / "applications/temporal/worker.py"
_READY_SECONDS = 120.0


def temporal_program() -> Path:
    """Return the path of the server."""
    return go_program(_SOURCES)


def build() -> None:
    """Build the server, so that tests find it."""
    temporal_program()


class Temporal(Server):
    """A Temporal server; ``url`` is that of its HTTP API, ``address`` that of its gRPC API for workers."""

    def __init__(self, directory: Path, *namespaces: str) -> None:
        grpc, http = free_port(), free_port()
        self.url, self.address = f"http://{LOOPBACK}:{http}", f"{LOOPBACK}:{grpc}"
        super().__init__(
            "temporal",
            [temporal_program(), str(grpc), str(http), str(free_port()), *namespaces],
            directory=directory,
            ready=lambda: answers(f"{self.url}/api/v1/namespaces/{namespaces[0]}"),
            deadline=_READY_SECONDS,
        )

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask its HTTP API."""
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method, data=content, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read() or b"null")

    def start_workflow(self, namespace: str, workflow: str, queue: str, kind: str = "Greet") -> None:
        """Start a workflow on a task queue, as a client does, whether or not anybody polls it."""
        body = {"workflowType": {"name": kind}, "taskQueue": {"name": queue}}
        self.ask("POST", f"/namespaces/{namespace}/workflows/{workflow}", body)

    def status(self, namespace: str, workflow: str) -> str:
        """Return what the engine says of a workflow."""
        found = self.ask("GET", f"/namespaces/{namespace}/workflows/{workflow}")
        return str(found["workflowExecutionInfo"]["status"])

    @contextmanager
    def worker(self, namespace: str, queue: str, kind: str = "both") -> Iterator[Server]:
        """Run a worker of a task queue that runs workflows, activities or ``both``."""
        directory = self.directory / f"worker-of-{namespace}-{queue}-{kind}"
        directory.mkdir()
        worker = Server(
            "temporal-worker",
            [sys.executable, _WORKER, self.address, namespace, queue, kind],
            directory=directory,
            env={"PYTHONPATH": str(python_packages("temporalio==1.35.0")), "PYTHONDONTWRITEBYTECODE": "1"},
            ready=lambda: "polling" in worker.log.read_text(errors="replace"),
            deadline=_READY_SECONDS,
        )
        with worker:
            yield worker


@pytest.fixture(scope="session")
@shared
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Temporal]:
    """A Temporal server with namespaces of several tests."""
    with Temporal(
        tmp_path_factory.mktemp("temporal"), "orders", "lonely", "failing", "stuck", "trying", "planned"
    ) as server:
        yield server
