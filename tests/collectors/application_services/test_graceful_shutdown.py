"""How the pods of an API shut down, on a real control plane, with records of drills."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from pydantic import ValidationError

from exporter.evidence.validity import Evidence
from exporter.verdict import Reason, Result, Status
from tests.collectors.application_services import services
from tests.collectors.application_services.services import see
from tests.collectors.evidence import attested
from tests.collectors.systems.kubernetes.clusters import asking, container, manifest
from tests.servers.kubernetes import ControlPlane, pod_spec, workload
from tests.support import Run, sees

LINE = "graceful_shutdown_configured"
PROBE = {"httpGet": {"path": "/health", "port": 3000}}
SERVING: dict[str, Any] = {"ports": [{"containerPort": 3000}], "readinessProbe": PROBE}


def run_api(cluster: ControlPlane, namespace: str, evidence: Evidence | None, **options: Any) -> Run:
    pods = {"namespace": namespace, "selector": "app=api"}
    return services.run(
        "api_service", LINE, "http://api", clients=asking(cluster), evidence=evidence, pods=pods, **options
    )


look = sees(run_api)


def run(cluster: ControlPlane, *containers: dict[str, Any], grace: int = 30) -> str:
    namespace = cluster.namespace("api")
    spec = pod_spec(containers=list(containers), terminationGracePeriodSeconds=grace)
    api = workload(namespace, "api", spec=spec)
    cluster.apply(api)
    cluster.wait_ready(api)
    return namespace


@pytest.mark.verifies("api_service.graceful_shutdown_configured", "ok")
@pytest.mark.verifies("api_service.graceful_shutdown_configured", "failed")
async def test_what_pods_are_given(control_plane: ControlPlane, tmp_path: Path) -> None:
    tried = attested(tmp_path / "new", f"api_service.{LINE}")
    hook: dict[str, Any] = {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
    namespace = run(control_plane, container(**SERVING, **hook), container("shipper"))
    good = await look(control_plane, namespace, tried)
    assert good.status is Status.OK, good.summary
    assert "have at least 30s to shut down, a readiness probe and a preStop hook" in good.summary
    assert good.evidence
    short = await look(control_plane, namespace, tried, min_grace_period="1m")
    assert (short.status, short.reason) == (Status.FAILED, Reason.LIMIT)
    assert "has 30 s to shut down (terminationGracePeriodSeconds), less than 1m." in short.summary
    assert (await look(control_plane, namespace, None)).status is not Status.OK
    assert (
        await look(control_plane, namespace, attested(tmp_path / "old", f"api_service.{LINE}", days_ago=91))
    ).status is Status.FAILED


async def test_what_keeps_pods_from_ending_well(control_plane: ControlPlane, tmp_path: Path) -> None:
    tried = attested(tmp_path / "new", f"api_service.{LINE}")
    ports: dict[str, Any] = {"ports": [{"containerPort": 3000}]}
    beside = run(control_plane, container(**ports), container("proxy", **SERVING))
    found = await look(control_plane, beside, tried)
    assert (found.status, "has no readiness probe of main, so" in found.summary) == (Status.FAILED, True)
    asleep = run(control_plane, container(**SERVING, lifecycle={"preStop": {"sleep": {"seconds": 30}}}))
    found = await look(control_plane, asleep, tried)
    assert (found.status, "which sleeps 30 s." in found.summary) == (Status.FAILED, True)
    # The template is what the next pods are made of.
    namespace = run(control_plane, container(**SERVING))
    spec = pod_spec(containers=[container(**SERVING)], terminationGracePeriodSeconds=1)
    changed = workload(namespace, "api", spec=spec)
    changed["spec"]["paused"] = True
    control_plane.apply(changed)
    found = await look(control_plane, namespace, tried)
    assert found.summary.startswith(f"Deployment {namespace}/api has 1 s to shut down")
    none = await look(control_plane, control_plane.namespace("api"), tried)
    assert (none.status, none.reason) == (Status.FAILED, Reason.MISSING)


@pytest.mark.verifies("api_service.graceful_shutdown_configured", "unknown")
async def test_containers_that_were_killed(control_plane: ControlPlane, tmp_path: Path) -> None:
    tried = attested(tmp_path / "new", f"api_service.{LINE}")
    namespace = run(control_plane, container(**SERVING))
    [made] = control_plane.pods(namespace)
    control_plane.crash(made)
    assert (await look(control_plane, namespace, tried)).status is Status.OK  # out of memory
    control_plane.crash(made, reason="Error")
    killed = await look(control_plane, namespace, tried)
    assert (killed.status, killed.reason) == (Status.UNKNOWN, Reason.CONTRADICTED)
    assert "(exit code 137, not OOMKilled)" in killed.summary
    assert (await see("api_service", LINE, "http://api", evidence=tried)).reason is Reason.NOT_CONFIGURED


async def test_a_pod_that_was_killed_at_the_end_of_its_grace_period(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    namespace = control_plane.namespace("api")
    meta = {"labels": {"app": "api"}, "finalizers": ["example.com/kept"]}
    spec = pod_spec(containers=[container(**SERVING)], terminationGracePeriodSeconds=30)
    pod = manifest("v1", "Pod", "api", namespace, metadata=meta, spec=spec)
    control_plane.apply(pod)
    control_plane.wait(control_plane.path(pod), lambda one: one["status"].get("startTime"), "the pod to run")
    control_plane.call("DELETE", control_plane.path(pod))
    found = control_plane.get(control_plane.path(pod))
    end = {"exitCode": 137, "reason": "Error", "startedAt": found["metadata"]["creationTimestamp"]}
    end["finishedAt"] = (datetime.now(UTC) + timedelta(seconds=31)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    control_plane.patch_status(pod, containerStatuses=[status | {"state": {"terminated": end}}])
    try:
        result = await look(control_plane, namespace, attested(tmp_path / "new", f"api_service.{LINE}"))
        assert (result.status, "did not stop when it was asked to." in result.summary) == (Status.FAILED, True)
    finally:
        content = "application/merge-patch+json"
        control_plane.call("PATCH", control_plane.path(pod), {"metadata": {"finalizers": None}}, content=content)


def shut_down(cluster: ControlPlane, pod: dict[str, Any], exit_code: int, after: int) -> None:
    """Delete a pod as a kubelet does whose container ends `after` seconds: it reports the end, and then leaves no grace.

    kwok takes the grace away; who keeps the pod is this test alone.
    """
    path = cluster.path(pod)
    cluster.call("DELETE", path)
    found = cluster.get(path)["metadata"]
    asked = datetime.fromisoformat(found["deletionTimestamp"]) - timedelta(seconds=found["deletionGracePeriodSeconds"])
    ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed"}
    ended |= {name: (asked + timedelta(seconds=after)).isoformat() for name in ("startedAt", "finishedAt")}
    status = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    cluster.patch_status(
        pod,
        phase="Failed" if exit_code else "Succeeded",
        containerStatuses=[status | {"state": {"terminated": ended}}],
    )
    content = "application/merge-patch+json"
    cluster.wait(path, lambda one: one["metadata"]["deletionGracePeriodSeconds"] == 0, "the grace to be taken away")
    cluster.call("PATCH", path, {"metadata": {"finalizers": None}}, content=content)


async def test_pods_that_were_killed_and_are_gone(control_plane: ControlPlane, tmp_path: Path) -> None:
    """What is the first process in a container, and swallows SIGTERM, shows when pods are replaced."""
    tried = attested(tmp_path / "new", f"api_service.{LINE}")
    namespace = control_plane.namespace("api")

    def made(name: str, revision: str) -> dict[str, Any]:
        labels = {"app": "api", "pod-template-hash": revision}
        meta = {"labels": labels, "finalizers": ["example.com/kept"]}  # so that nobody else deletes it before its end
        spec = pod_spec(containers=[container(**SERVING)], terminationGracePeriodSeconds=30)
        pod = manifest("v1", "Pod", name, namespace, metadata=meta, spec=spec)
        control_plane.apply(pod)
        control_plane.wait(control_plane.path(pod), lambda one: one["status"].get("startTime"), "the pod to run")
        return pod

    pods = {name: made(name, revision) for name, revision in (("a", "old"), ("b", "old"), ("c", "old"), ("d", "old"))}
    try:
        async with asking(control_plane, watch=True) as clients:

            async def verdict() -> Result:
                pods = {"namespace": namespace, "selector": "app=api"}
                return await see("api_service", LINE, "http://api", clients=clients, evidence=tried, pods=pods)

            async def becomes(status: Status, part: str) -> None:
                async with asyncio.timeout(60):
                    while (seen := await verdict()).status is not status or part not in seen.summary:
                        await asyncio.sleep(0.2)

            assert (await verdict()).status is Status.OK
            shut_down(control_plane, pods["a"], 143, 1)
            shut_down(control_plane, pods["b"], 137, 3)  # sooner: by somebody else
            await becomes(Status.UNKNOWN, f"Container main of pod {namespace}/b was killed")
            shut_down(control_plane, pods["c"], 137, 30)
            await becomes(Status.FAILED, f"Container main of pod {namespace}/c was killed")
            assert "at the end of its grace period" in (await verdict()).summary
            # A new revision, of which nothing is known yet, and one of whose pods then ends well.
            pods |= {name: made(name, "new") for name in ("e", "f")}
            shut_down(control_plane, pods["d"], 137, 30)
            await becomes(Status.FAILED, f"{namespace}/c was killed")
            shut_down(control_plane, pods["e"], 0, 2)
            await becomes(Status.OK, "none was seen killed")
            shut_down(control_plane, pods["f"], 137, 30)
            await becomes(Status.FAILED, "")
    finally:
        for pod in pods.values():
            with suppress(HTTPError):  # it is gone
                content = "application/merge-patch+json"
                control_plane.call(
                    "PATCH", control_plane.path(pod), {"metadata": {"finalizers": None}}, content=content
                )


@pytest.mark.parametrize("options", [{"min_grace_period": "0s"}, {"kill_window": "soon"}])
async def test_bad_limits_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await see("api_service", LINE, "http://api", **options)
