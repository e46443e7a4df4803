"""The stores' pods and the CronJobs of their backups: what Kubernetes tells counts where the servers themselves do not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from collectors.infrastructure.nats import Nats, NatsSettings, NatsTarget
from collectors.infrastructure.neo4j import Neo4j, Neo4jSettings, Neo4jTarget
from collectors.infrastructure.postgresql import PostgreSQL, PostgreSQLSettings, PostgreSQLTarget
from collectors.infrastructure.qdrant import Qdrant, QdrantSettings, QdrantTarget
from collectors.infrastructure.redis import Redis, RedisSettings, RedisTarget
from exporter.verdict import Result, Status
from tests.collectors.systems.kubernetes.clusters import asking, merged, quota
from tests.servers.faults import refused
from tests.servers.kubernetes import ControlPlane, is_ready, workload
from tests.servers.process import eventually
from tests.servers.redis import Node
from tests.support import Run, sees

#: Each store, with the options of a target whose server is at an address; and the item about its backups.
STORES: dict[str, tuple[Any, Any, Any, Callable[[str], dict[str, Any]], str]] = {
    "postgresql": (
        PostgreSQL,
        PostgreSQLSettings,
        PostgreSQLTarget,
        lambda at: {"dsn": f"postgresql://checklist@{at}/orders"},
        "backups_enabled_and_tested",
    ),
    "redis": (Redis, RedisSettings, RedisTarget, lambda at: {"nodes": [at]}, ""),
    "neo4j": (Neo4j, Neo4jSettings, Neo4jTarget, lambda at: {"servers": [{"bolt": at}]}, "backup_tested"),
    "qdrant": (
        Qdrant,
        QdrantSettings,
        QdrantTarget,
        lambda at: {"nodes": [{"url": f"http://{at}"}]},
        "collection_backups_enabled",
    ),
    "nats": (
        Nats,
        NatsSettings,
        NatsTarget,
        lambda at: {"nodes": [{"server": at, "monitoring": {"url": f"http://{at}"}}]},
        "",
    ),
}
WITH_BACKUPS = [store for store, (*_, backup) in STORES.items() if backup]


def run(cluster: ControlPlane, store: str, item: str, address: str, **options: Any) -> Run:
    """One run of an item of a store whose server is at this address."""
    collector, *_, place, _ = STORES[store]
    return Run(collector, [item], target={"name": "orders", **place(address), **options}, clients=asking(cluster))


see = sees(run)


@pytest.mark.parametrize("store", STORES)
async def test_pods_that_are_not_there(control_plane: ControlPlane, store: str) -> None:
    namespace = control_plane.namespace()
    async with refused() as (host, port):
        result = await see(
            control_plane,
            store,
            "pods_healthy",
            f"{host}:{port}",
            pods={"namespace": namespace, "selector": f"app={store}"},
        )
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"No pod is there that app={store} in {namespace} selects (wanted at least 1).",
    )


@pytest.mark.parametrize("store", STORES)
async def test_a_server_that_does_not_answer_is_unknown_without_its_pods(
    control_plane: ControlPlane, store: str
) -> None:
    async with refused() as (host, port):
        result = await see(control_plane, store, "pods_healthy", f"{host}:{port}")
    assert result.status is Status.UNKNOWN


@pytest.mark.parametrize("store", WITH_BACKUPS)
async def test_a_cron_job_that_is_not_there(control_plane: ControlPlane, store: str) -> None:
    namespace = control_plane.namespace()
    async with refused() as (host, port):
        result = await see(
            control_plane,
            store,
            STORES[store][-1],
            f"{host}:{port}",
            cronjob={"namespace": namespace, "name": "backup"},
        )
    assert result.status is Status.FAILED
    assert f"CronJob {namespace}/backup, which takes the backups, does not exist." in result.summary


async def test_a_rollout_that_a_quota_keeps_from_its_pods(control_plane: ControlPlane, any_redis: Node) -> None:
    """A trap: all replicas are ready, of the form that was to be replaced, and no pod of the new one is there to be red."""
    namespace = control_plane.namespace()
    careful = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    cache = merged(
        workload(namespace, "cache", replicas=2), {"spec": {"progressDeadlineSeconds": 1, "strategy": careful}}
    )
    control_plane.apply(cache)
    control_plane.wait_ready(cache)
    changed = {"spec": {"template": {"metadata": {"annotations": {"release": "2"}}}}}
    control_plane.apply(quota(namespace, hard={"pods": "2"}), merged(cache, changed))

    async def told() -> Result | None:
        pods = {"namespace": namespace, "selector": "app=cache"}
        seen = await see(control_plane, "redis", "pods_healthy", any_redis.address, pods=pods)
        return seen if "could not be replaced" in seen.summary else None

    result = await eventually(told, "the rollout to be given up")
    assert result is not None
    assert result.status is Status.FAILED
    assert (
        f"Deployment {namespace}/cache has all of its replicas ready, but they could not be replaced" in result.summary
    )
    assert all(map(is_ready, control_plane.pods(namespace)))


async def test_redis_and_its_pods_are_told_together(control_plane: ControlPlane, any_redis: Node) -> None:
    namespace = control_plane.namespace()
    cache = workload(namespace, "cache", kind="StatefulSet")
    control_plane.apply(cache)
    control_plane.wait_ready(cache)
    pods = {"namespace": namespace, "selector": "app=cache"}
    result = await see(control_plane, "redis", "pods_healthy", any_redis.address, pods=pods)
    assert result.status is Status.OK
    assert result.summary == (
        f"{any_redis.address} answers PING with the data loaded and replication up, by protocol. "
        f"The pod of app=cache in {namespace} is Ready."
    )
