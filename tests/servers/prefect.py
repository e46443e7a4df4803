"""A real Prefect server with a SQLite database of its own, and workers of the same folder of packages."""

import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.servers.packages import python_packages
from tests.servers.process import LOOPBACK, Server, answers, free_port, listening, wait_until
from tests.servers.sharing import shared

_VERSION = "3.9.1"
#: It prepares its database for so long on a busy machine; a quiet one takes 15 s.
_READY_SECONDS = 300.0
#: SQLite serves one writer at a time: those that no test needs are left out, and the others may wait.
_IDLE = (
    "SCHEDULER",
    "TRIGGERS",
    "EVENT_PERSISTER",
    "EVENT_LOGGER",
    "TASK_RUN_RECORDER",
    "CANCELLATION_CLEANUP",
    "PAUSE_EXPIRATIONS",
)
_ENVIRONMENT = {
    **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _IDLE},
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "2",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PYTHONDONTWRITEBYTECODE": "1",
    "NO_COLOR": "1",
}


class Prefect(Server):
    """A Prefect server; ``url`` is that of its API."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}/api"
        self.environment = {
            **_ENVIRONMENT,
            "PYTHONPATH": str(python_packages(f"prefect=={_VERSION}")),
            "PREFECT_HOME": str(directory / "home"),
        }
        super().__init__(
            "prefect",
            [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--host", LOOPBACK, "--port", str(port)],
            directory=directory,
            env={
                **self.environment,
                "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{directory}/prefect.db",
            },
            ready=lambda: listening(port) and answers(f"{self.url}/health"),
            deadline=_READY_SECONDS,
        )

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask its API, as its own client does."""
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", method=method, data=content, headers=headers)
        found: list[Any] = []

        def answered() -> bool:
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    found.append(json.loads(reply.read() or b"null"))
            except HTTPError as error:
                if error.code != 503:  # its database is busy
                    raise
            return bool(found)

        wait_until(answered, f"{method} {path} to be answered by Prefect", 120)
        return found[0]

    def pool(self, name: str, kind: str = "process", **options: Any) -> str:
        """Make a work pool; return its name."""
        self.ask("POST", "/work_pools/", {"name": name, "type": kind, **options})
        return name

    def deploy(self, pool: str) -> str:
        """Deploy a flow to a pool; return the deployment's id."""
        flow = self.ask("POST", "/flows/", {"name": f"flow-of-{pool}"})["id"]
        body = {"name": "deployed", "flow_id": flow, "work_pool_name": pool}
        return str(self.ask("POST", "/deployments/", body)["id"])

    def run(self, deployment: str, *states: str) -> str:
        """Have a run of a deployment go through states, as workers report them; return its id."""
        run = str(self.ask("POST", f"/deployments/{deployment}/create_flow_run", {})["id"])
        for state in states:
            self.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
        return run

    @contextmanager
    def worker(self, pool: str) -> Iterator[Server]:
        """Run a real worker of a pool, which takes runs and reports every other second."""
        directory = self.directory / f"worker-of-{pool}"
        directory.mkdir()
        worker = Server(
            "prefect-worker",
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", "w", "--type", "process"],
            directory=directory,
            env={**self.environment, "PREFECT_API_URL": self.url},
            ready=lambda: bool(self.ask("POST", f"/work_pools/{pool}/workers/filter", {})),
            deadline=_READY_SECONDS,
        )
        with worker:
            yield worker


@pytest.fixture(scope="session")
@shared
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """A Prefect server; each test has work pools of its own."""
    with Prefect(tmp_path_factory.mktemp("prefect")) as server:
        yield server
