"""How the pods of an API shut down, on a real control plane, with records of drills."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.evidence.validity import Evidence
from exporter.verdict import Reason, Status
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
    control_plane.call("DELETE", control_plane.path(pod), {"gracePeriodSeconds": 1})
    found = control_plane.get(control_plane.path(pod))
    end = {"exitCode": 137, "reason": "Error", "startedAt": found["metadata"]["creationTimestamp"]}
    end["finishedAt"] = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    control_plane.patch_status(pod, containerStatuses=[status | {"state": {"terminated": end}}])
    try:
        result = await look(control_plane, namespace, attested(tmp_path / "new", f"api_service.{LINE}"))
        assert (result.status, "did not stop when it was asked to." in result.summary) == (Status.FAILED, True)
    finally:
        content = "application/merge-patch+json"
        control_plane.call("PATCH", control_plane.path(pod), {"metadata": {"finalizers": None}}, content=content)


@pytest.mark.parametrize("options", [{"min_grace_period": "0s"}, {"kill_window": "soon"}])
async def test_bad_limits_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await see("api_service", LINE, "http://api", **options)
