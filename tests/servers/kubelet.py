"""A node whose kubelet serves the logs of its containers: KWOK's server, which reads files as container runtimes write them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.servers.kubernetes import ControlPlane, Json, is_ready, node
from tests.servers.process import LOOPBACK, Server, free_port, listening

NODE = "logging"
_MANAGED = {"tests/logs": "yes", "node.alpha.kubernetes.io/ttl": "0"}


class LoggingNode:
    """A node of a cluster, for bare pods of the given names (`nodeName: logging`); `write` is what their processes print."""

    def __init__(self, cluster: ControlPlane, directory: Path, pods: Sequence[str]) -> None:
        self.port = free_port()
        self.files = {name: directory / f"{name}.log" for name in pods}
        for file in self.files.values():
            file.touch()
        self.kubelet = Server(
            "kwok",
            [
                cluster.program("kwok"),
                "kwok",
                f"--kubeconfig={cluster.kubeconfigs['kwok']}",
                f"--config={self._configure(cluster, directory)}",
                "--manage-all-nodes=false",
                "--manage-nodes-with-annotation-selector=tests/logs=yes",
                "--cidr=10.245.0.0/16",
                f"--node-ip={LOOPBACK}",
                f"--node-port={self.port}",
                f"--server-address={LOOPBACK}:{self.port}",
                f"--tls-cert-file={cluster.directory / 'server.pem'}",
                f"--tls-private-key-file={cluster.directory / 'server.key'}",
                "--node-lease-duration-seconds=40",
            ],
            directory=directory,
            ready=lambda: listening(self.port),
            deadline=120,
            env={"KWOK_WORKDIR": str(directory / "kwok-logs")},
        )

    def _configure(self, cluster: ControlPlane, directory: Path) -> Path:
        logs: list[Json] = [
            {
                "apiVersion": "kwok.x-k8s.io/v1alpha1",
                "kind": "ClusterLogs",
                "metadata": {"name": name},
                "spec": {"selector": {"matchNames": [name]}, "logs": [{"logsFile": str(file)}]},
            }
            for name, file in self.files.items()
        ]
        configuration = directory / "kubelet.yaml"
        stages = (cluster.directory / "stages.yaml").read_text()
        configuration.write_text("\n---\n".join([stages, *map(json.dumps, logs)]))
        return configuration

    def write(self, pod: str, line: str) -> None:
        """Have a container print a line now."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        with self.files[pod].open("a") as file:
            file.write(f"{now} stdout F {line}\n")


@contextmanager
def logging_node(cluster: ControlPlane, directory: Path, *pods: str) -> Iterator[LoggingNode]:
    """Have such a node in a cluster for a while."""
    made = node(NODE, kwok=False)
    made["metadata"]["annotations"] = _MANAGED
    started = LoggingNode(cluster, directory, pods)
    with started.kubelet:
        cluster.apply(made)
        try:
            cluster.wait(cluster.path(made), is_ready, "the node with logs to be ready")
            yield started
        finally:
            cluster.delete(made)
