"""The pods' half of a server's health, and its CronJobs, on a real control plane."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collectors.systems.kubernetes.check.pods import CronJobOptions, PodOptions, with_cron_job, with_pods
from collectors.systems.kubernetes.model.kinds import DAEMON_SETS, DEPLOYMENTS, PODS, STATEFUL_SETS
from exporter.collector import Collector, SectionSettings, Target, item
from exporter.verdict import CRITICAL, ProbeError, Result, Status, failed, ok
from tests.collectors.systems.kubernetes.clusters import asking, cron_job, daemon_set, listing, manifest
from tests.servers.kubernetes import ControlPlane, pod_spec, workload
from tests.support import Run, make_context, sees, verify

BY_PROTOCOL = ok("It answers.")


class CacheTarget(Target, PodOptions, CronJobOptions):
    """A server that may run in Kubernetes."""


class Cache(Collector[SectionSettings, CacheTarget]):
    """A section about servers that may run in Kubernetes."""

    Target = CacheTarget

    async def _asked(self) -> Result:
        answer: Result | ProbeError = self.context.memory.get("answer", BY_PROTOCOL)
        if isinstance(answer, ProbeError):
            raise answer
        return answer

    @item("Pods are healthy", severity=CRITICAL)
    async def pods_healthy(self) -> Result:
        """As the stores have it."""
        return await with_pods(self, self.target.pods, self._asked())

    @item("Backups are scheduled", severity=CRITICAL)
    async def backup_tested(self) -> Result:
        """As the stores have it."""
        return await with_cron_job(self, self.target.cronjob, self._asked())


def run(
    cluster: ControlPlane, item: str, *, protocol: Result | ProbeError = BY_PROTOCOL, client: Any = None, **options: Any
) -> Run:
    """One run of an item with these options of the target."""
    context = make_context(memory={"answer": protocol})
    target = {"name": "cache", **options}
    return Run(
        Cache,
        [item],
        target=CacheTarget.model_validate(target),
        clients=asking(cluster, **(client or {})),
        context=context,
    )


see = sees(run)


# Pods


async def test_without_the_option_no_pod_is_looked_at() -> None:
    target = CacheTarget(name="cache")
    seen = await verify(Cache, SectionSettings(), target)
    assert [one.result for one in seen.values()] == [BY_PROTOCOL, BY_PROTOCOL]


@pytest.mark.parametrize("option", ["pods", "cronjob"])
async def test_the_option_takes_a_client(option: str) -> None:
    named: dict[str, dict[str, Any]] = {
        "pods": {"namespace": "shop"},
        "cronjob": {"namespace": "shop", "name": "backup"},
    }
    target = CacheTarget.model_validate({"name": "cache", option: named[option]})
    item = "pods_healthy" if option == "pods" else "backup_tested"
    seen = await verify(Cache, SectionSettings(), target, items=(item,))
    assert seen[item].result.status is Status.UNKNOWN
    assert seen[item].result.summary == "clients.kubernetes is not configured, so it was not queried."


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_ready_pods_are_healthy(control_plane: ControlPlane, kind: str) -> None:
    namespace = control_plane.namespace()
    server = workload(namespace, "redis", kind=kind, replicas=2)
    control_plane.apply(server)
    control_plane.wait_ready(server)
    result = await see(control_plane, "pods_healthy", pods={"namespace": namespace, "selector": "app=redis"})
    assert (result.status, result.summary) == (
        Status.OK,
        f"It answers. All 2 pods of app=redis in {namespace} are Ready.",
    )
    assert result.measurements["pods_ready"] == 2


async def test_what_the_client_leaves_out_is_told(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    seen, hidden = workload(namespace, "redis"), workload(namespace, "other", replicas=2)
    control_plane.apply(seen, hidden)
    control_plane.wait_ready(seen, hidden)
    client = {"selectors": {"pods": "app=redis"}}
    result = await see(control_plane, "pods_healthy", client=client, pods={"namespace": namespace})
    assert (result.status, result.summary) == (
        Status.OK,
        f"It answers. The pod of {namespace} is Ready. Checked only: pods (app=redis).",
    )


async def test_a_daemon_set_has_its_pods_on_every_node(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    agent = daemon_set(namespace, "agent")
    control_plane.apply(agent)
    control_plane.wait(control_plane.path(agent), lambda found: found["status"].get("numberReady") == 3, "three pods")
    result = await see(control_plane, "pods_healthy", pods={"namespace": namespace, "selector": "app=agent"})
    assert "All 3 pods of app=agent" in result.summary


async def test_pods_that_are_declared_and_not_there(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    result = await see(control_plane, "pods_healthy", pods={"namespace": namespace, "selector": "app=redis"})
    assert result.status is Status.FAILED
    assert result.summary == f"No pod is there that app=redis in {namespace} selects (wanted at least 1)."


async def test_a_crashing_pod_tells_why_the_server_does_not_answer(control_plane: ControlPlane) -> None:
    """What was seen to be false outweighs what could not be seen."""
    namespace = control_plane.namespace()
    server = workload(namespace, "redis", kind="StatefulSet")
    control_plane.apply(server)
    control_plane.wait_ready(server)
    control_plane.crash(control_plane.pods(namespace)[0])
    control_plane.wait(control_plane.path(server), lambda found: not found["status"].get("readyReplicas"), "0 ready")
    result = await see(
        control_plane,
        "pods_healthy",
        protocol=ProbeError("127.0.0.1:6379 refuses the connection."),
        pods={"namespace": namespace, "selector": "app=redis"},
    )
    assert result.status is Status.FAILED
    assert f"StatefulSet {namespace}/redis has 0 of 1 replica ready." in result.summary
    assert f"Pod {namespace}/redis-0 is not Ready since" in result.summary
    assert "CrashLoopBackOff (last exit 137, OOMKilled)" in result.summary


async def test_a_workload_whose_controller_has_not_seen_its_change_is_unknown(control_plane: ControlPlane) -> None:
    """A trap: the counts in its status are those of the old generation."""
    namespace = control_plane.namespace()
    server = workload(namespace, "redis")
    control_plane.apply(server)
    control_plane.wait_ready(server)
    control_plane.controller_manager.pause()
    try:
        control_plane.apply(workload(namespace, "redis", spec=pod_spec(hostname="changed")))
        result = await see(control_plane, "pods_healthy", pods={"namespace": namespace, "selector": "app=redis"})
    finally:
        control_plane.controller_manager.resume()
    assert result.status is Status.UNKNOWN
    assert "was changed and its controller has not seen that yet (generation 2, seen 1)" in result.summary


async def test_replicas_of_a_bare_replica_set_that_cannot_be_made_are_missed(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    few = manifest("v1", "ResourceQuota", "few", namespace, spec={"hard": {"pods": "1"}})
    control_plane.apply(few)
    control_plane.wait(control_plane.path(few), lambda found: "hard" in found.get("status", {}), "the quota to hold")
    bare = workload(namespace, "redis", replicas=2) | {"kind": "ReplicaSet"}
    control_plane.apply(bare)
    control_plane.wait(
        control_plane.path(bare),
        lambda found: found["status"].get("readyReplicas") == 1 and found["status"].get("conditions"),
        "one pod, and why there is no other",
    )
    result = await see(control_plane, "pods_healthy", pods={"namespace": namespace, "selector": "app=redis"})
    assert result.status is Status.FAILED
    assert result.summary.startswith(f"ReplicaSet {namespace}/redis has 1 of 2 replicas ready: FailedCreate (pods ")
    assert "exceeded quota: few" in result.summary


@pytest.mark.parametrize("option", ["pods", "cronjob"])
async def test_a_namespace_that_the_client_leaves_out_was_not_seen(control_plane: ControlPlane, option: str) -> None:
    named: dict[str, Any] = {"namespace": "shop"} | ({"name": "backup"} if option == "cronjob" else {})
    item = "pods_healthy" if option == "pods" else "backup_tested"
    options: dict[str, Any] = {option: named}
    result = await see(control_plane, item, client={"namespaces": ("default",)}, **options)
    assert result.status is Status.UNKNOWN
    assert result.summary == "Namespace shop is not among clients.kubernetes.namespaces, so it was not checked."


@pytest.mark.parametrize("missing", ["pods", "deployments", "statefulsets", "daemonsets"])
async def test_each_missing_right_is_named(control_plane: ControlPlane, missing: str) -> None:
    kinds = (PODS, DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
    config = listing(control_plane, *(kind for kind in kinds if kind.plural != missing))
    result = await see(control_plane, "pods_healthy", client={"kubeconfig": config}, pods={"namespace": "default"})
    assert result.status is Status.UNKNOWN
    assert f"The exporter cannot list {missing}" in result.summary
    assert "in all namespaces" in result.summary


# CronJobs


def _at(age: timedelta) -> str:
    return (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ")


async def see_backup(cluster: ControlPlane, namespace: str, name: str = "backup") -> Result:
    return await see(cluster, "backup_tested", cronjob={"namespace": namespace, "name": name})


async def test_a_cron_job_that_succeeds_on_time(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    backup = cron_job(namespace, "backup")
    control_plane.apply(backup)
    control_plane.patch_status(backup, lastSuccessfulTime=_at(timedelta(hours=20)))
    result = await see_backup(control_plane, namespace)
    assert (result.status, result.summary) == (
        Status.OK,
        f"It answers. CronJob {namespace}/backup last succeeded 20 hours ago (limit 1d12h, schedule 0 3 * * *).",
    )


@pytest.mark.parametrize(
    ("spec", "age", "told"),
    [
        ({}, timedelta(hours=40), "last succeeded 1 day ago"),
        ({"suspend": True}, timedelta(hours=1), "is suspended"),
    ],
    ids=["late", "suspended"],
)
async def test_a_cron_job_that_does_not(
    control_plane: ControlPlane, spec: dict[str, Any], age: timedelta, told: str
) -> None:
    namespace = control_plane.namespace()
    backup = cron_job(namespace, "backup", **spec)
    control_plane.apply(backup)
    control_plane.patch_status(backup, lastSuccessfulTime=_at(age))
    result = await see_backup(control_plane, namespace)
    assert result.status is Status.FAILED
    assert f"CronJob {namespace}/backup {told}" in result.summary


async def test_a_cron_job_that_is_not_there(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    result = await see_backup(control_plane, namespace)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"CronJob {namespace}/backup, which takes the backups, does not exist.",
    )


async def test_a_failed_protocol_is_told_beside_a_good_schedule(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    backup = cron_job(namespace, "backup")
    control_plane.apply(backup)
    control_plane.patch_status(backup, lastSuccessfulTime=_at(timedelta(hours=1)))
    result = await see(
        control_plane,
        "backup_tested",
        protocol=failed("The newest dump is 40 days old."),
        cronjob={"namespace": namespace, "name": "backup"},
    )
    assert (result.status, result.summary) == (Status.FAILED, "The newest dump is 40 days old.")


def test_a_selector_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a label selector"):
        CacheTarget.model_validate({"name": "cache", "pods": {"namespace": "shop", "selector": "app in redis"}})
