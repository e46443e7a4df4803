"""Loki 1.6.1, built from source."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.servers.packages import go_binary
from tests.servers.process import LOOPBACK, Server, answers, free_port
from tests.servers.sharing import shared

VERSION = "1.6.1"

_NEWER = (  # than what Loki asks for, which panics in every query when a new Go has built it
    "github.com/modern-go/reflect2@v1.0.3-0.20250322232337-35a7c28c31ee",
    "github.com/json-iterator/go@v1.1.12",
)
_REPLACED = (  # as in Loki's own go.mod
    "github.com/hpcloud/tail=github.com/grafana/tail@v0.0.0-20191024143944-0b54ddf21fe7",
    "github.com/Azure/azure-sdk-for-go=github.com/Azure/azure-sdk-for-go@v36.2.0+incompatible",
    "k8s.io/client-go=k8s.io/client-go@v0.18.3",
    "github.com/satori/go.uuid=github.com/satori/go.uuid@v1.2.0",
    "github.com/gocql/gocql=github.com/grafana/gocql@v0.0.0-20200605141915-ba5dc39ece85",
    "google.golang.org/grpc=google.golang.org/grpc@v1.29.1",
)


def loki_program() -> Path:
    """Return the path of ``loki``."""
    return go_binary("github.com/grafana/loki/cmd/loki", f"v{VERSION}", requires=_NEWER, replaces=_REPLACED)


def build() -> None:
    """Build Loki, so that tests find it."""
    loki_program()


class Loki(Server):
    """One Loki, all of whose listeners are on loopback; ``extra`` replaces parts of its configuration.

    With ``tenants`` every request must name one. At the ``log_level`` info it logs each query.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tenants: bool = False,
        log_level: str = "warn",
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.configuration = directory / "loki.yaml"
        self.configuration.write_text(json.dumps(_basics(directory, self.port, tenants, log_level) | dict(extra or {})))
        argv: list[str | Path] = [loki_program(), f"-config.file={self.configuration}"]
        super().__init__("loki", argv, directory=directory, ready=lambda: answers(f"{self.url}/ready"))

    def push(self, labels: Mapping[str, str], *lines: str, ago: float = 0.0, tenant: str = "") -> None:
        """Push lines of one stream, as if written ``ago`` seconds ago, a millisecond apart. A stream never goes back in time."""
        end = time.time_ns() - int(ago * 1e9)
        entries = [[str(end - (len(lines) - number) * 1_000_000), line] for number, line in enumerate(lines)]
        body = json.dumps({"streams": [{"stream": dict(labels), "values": entries}]}).encode()
        headers = {"Content-Type": "application/json"} | ({"X-Scope-OrgID": tenant} if tenant else {})
        urlopen(Request(f"{self.url}/loki/api/v1/push", body, headers), timeout=10).close()


def _basics(directory: Path, port: int, tenants: bool, log_level: str) -> dict[str, object]:
    ring = {"kvstore": {"store": "inmemory"}}
    schema = {"from": "2020-01-01", "store": "boltdb", "object_store": "filesystem", "schema": "v11"}
    return {
        "auth_enabled": tenants,
        "server": {
            "http_listen_address": LOOPBACK,
            "http_listen_port": port,
            "grpc_listen_address": LOOPBACK,
            "grpc_listen_port": free_port(),
            "log_level": log_level,
        },
        "ingester": {
            "lifecycler": {
                "address": LOOPBACK,
                "ring": ring | {"replication_factor": 1},
                "min_ready_duration": "0s",
                "final_sleep": "0s",
            },
            "max_transfer_retries": 0,  # else it looks for another ingester when it is stopped
        },
        "schema_config": {"configs": [schema | {"index": {"prefix": "index_", "period": "168h"}}]},
        "storage_config": {
            "boltdb": {"directory": str(directory / "index")},
            "filesystem": {"directory": str(directory / "chunks")},
        },
        "limits_config": {"enforce_metric_name": False, "ingestion_rate_mb": 64, "ingestion_burst_size_mb": 64},
    }


@pytest.fixture(scope="session")
@shared
def loki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    """Loki 1.6.1 without tenants; each test uses labels of its own."""
    with Loki(tmp_path_factory.mktemp("loki")) as server:
        yield server
