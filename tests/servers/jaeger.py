"""Jaeger 1.76 (its second generation), built from source."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.servers.packages import go_binary
from tests.servers.process import LOOPBACK, Server, answers, free_port
from tests.servers.sharing import shared

VERSION = "1.76.0"


def jaeger_program() -> Path:
    """Return the path of ``jaeger``."""
    return go_binary("github.com/jaegertracing/jaeger/cmd/jaeger", f"v{VERSION}")


def build() -> None:
    """Build Jaeger, so that tests find it."""
    jaeger_program()


class Jaeger(Server):
    """One Jaeger that keeps traces in memory: queried at ``url``, fed by OTLP/HTTP at ``otlp``."""

    def __init__(self, directory: Path, *, base_path: str = "", processors: Mapping[str, object] | None = None) -> None:
        query, grpc, otlp = free_port(), free_port(), free_port()
        self.url = f"http://{LOOPBACK}:{query}{base_path}"
        self.otlp = f"http://{LOOPBACK}:{otlp}"
        configuration = {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {
                    "traces": {
                        "receivers": ["otlp"],
                        "processors": [*(processors or ())],
                        "exporters": ["jaeger_storage_exporter"],
                    }
                },
                "telemetry": {"metrics": {"level": "none"}},  # else it listens on 8888
            },
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10_000}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": f"{LOOPBACK}:{query}"},
                    "grpc": {"endpoint": f"{LOOPBACK}:{grpc}"},
                    **({"base_path": base_path} if base_path else {}),
                },
            },
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{LOOPBACK}:{otlp}"}}}},
            "processors": dict(processors or {}),
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        }
        file = directory / "jaeger.yaml"
        file.write_text(json.dumps(configuration))
        argv: list[str | Path] = [jaeger_program(), "--config", file]
        env = {"OTEL_TRACES_SAMPLER": "always_off"}
        super().__init__(
            "jaeger", argv, directory=directory, env=env, ready=lambda: answers(f"{self.url}/api/v3/services")
        )


@pytest.fixture(scope="session")
@shared
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """Jaeger with an empty memory; each test uses services of its own."""
    with Jaeger(tmp_path_factory.mktemp("jaeger")) as server:
        yield server
