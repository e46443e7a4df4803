"""Sections recognise that they are configured with the same store, and depend on each other then."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from collectors.shared import stores
from exporter.config import load

STORES = """
clients: {kubernetes: {context: in-cluster}}
sections:
  kubernetes: {targets: [{name: all}]}
  redis: {targets: [{name: cache, nodes: ["Redis-0.cache.:6379"]}, {name: sessions, nodes: ["redis-1:6379"]}]}
  postgresql: {targets: [{name: orders, dsn: "postgresql://u@db-0,db-1/orders"}]}
  nats: {targets: [{name: queue, nodes: [{server: "nats-0:4222", monitoring: {url: "http://nats-0:8222"}}]}]}
"""
DEPENDENTS = """
  smoke_tests:
    targets:
      - name: shop
        cache: {address: "redis-0.cache:6379"}
        database: {dsn: "postgresql://canary@db-0:5432/orders"}
        queue: {address: "nats-0:4222"}
      - {name: blog, cache: {address: "redis-0.cache:6380"}}
  data_service:
    targets:
      - name: billing
        url: http://billing
        database_clients: {client_name: billing, dsn: "host=db-1 user=u"}
        cache_clients: {client_name: billing, redis: "redis-1:6379"}
        queue_clients: {client_name: billing, monitoring: {url: "http://nats-0:8222/"}}
"""


def causes(folder: Path, text: str) -> dict[str, dict[str, tuple[tuple[str, str], ...]]]:
    """Of each line that depends on stores those with the pairs of targets."""
    file = folder / "config.yaml"
    file.write_text(text)
    return {
        line.id: {".".join(cause.key): cause.targets for cause in line.causes if not cause.unseen}
        for line in load(file).plan.items
        if any(not cause.unseen for cause in line.causes)
    }


def test_lines_depend_on_the_store_that_the_configuration_names(tmp_path: Path) -> None:
    assert causes(tmp_path, STORES + DEPENDENTS) == {
        "smoke_tests.database_read_write": {"postgresql.pods_healthy": (("shop", "orders"),)},
        "smoke_tests.cache_read_write": {"redis.pods_healthy": (("shop", "cache"),)},
        "smoke_tests.message_queue_publish_consume": {"nats.pods_healthy": (("shop", "queue"),)},
        "data_service.database_connected": {"postgresql.pods_healthy": (("billing", "orders"),)},
        "data_service.cache_connected": {"redis.pods_healthy": (("billing", "sessions"),)},
        "data_service.message_queue_connected": {"nats.pods_healthy": (("billing", "queue"),)},
    }


def test_without_the_stores_nothing_depends_on_them(tmp_path: Path) -> None:
    assert causes(tmp_path, "sections:" + DEPENDENTS) == {}


def test_what_reads_the_cluster_depends_on_its_api_server(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    pods = "api_service: {targets: [{name: api, url: 'http://api', pods: {namespace: shop}}]}"
    file.write_text(f"{STORES}  {pods}\n")
    unseen = {line.id for line in load(file).plan.items if any(cause.unseen for cause in line.causes)}
    assert {"api_service.pods_healthy", "kubernetes.quotas_and_limits_set"} <= unseen
    assert not unseen & {
        "kubernetes.nodes_ready",
        "api_service.health_endpoint_responds",
        "redis.persistence_configured",
    }


@pytest.mark.parametrize(
    ("dsn", "names"),
    [
        ("host=DB-0. dbname=a", ["postgresql db-0 5432"]),
        ("postgresql://u:p@db-0,db-1:6432/a", ["postgresql db-0 5432", "postgresql db-1 6432"]),
        ("postgresql://u@[::1]:5433/a", ["postgresql ::1 5433"]),
        ("host=/var/run/postgresql dbname=a", []),
        ("dbname=a", []),
    ],
)
def test_databases_are_named_by_host_and_port_without_secrets(dsn: str, names: list[str]) -> None:
    assert stores.postgresql(SecretStr(dsn)) == names


def test_other_stores_are_named_by_host_and_port() -> None:
    assert stores.redis(["Cache.:6379", "[::1]:6379"]) == ["redis cache 6379", "redis ::1 6379"]
    assert stores.nats_monitoring(["http://nats-0:8222/x", "https://nats-1"]) == ["nats nats-0 8222", "nats nats-1 443"]
