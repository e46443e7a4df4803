"""Whether a pod that is evicted answers the request that it has: real processes as its container, on a real control plane."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError

import pytest
from pydantic import ValidationError

from collectors.application_services.api_service import ApiService
from collectors.systems.http.check.drill import DRILL_RIGHTS
from collectors.systems.kubernetes.check.pods import POD_RIGHTS
from collectors.systems.kubernetes.model.rbac import Right, roles
from exporter.runner import utc_now
from exporter.verdict import Reason, Result, Status
from tests.collectors.application_services.services import see
from tests.collectors.systems.kubernetes.clusters import asking, container, manifest, pod, reader
from tests.servers.applications.programs import Application, nest
from tests.servers.kubernetes import ControlPlane, node, pod_spec
from tests.servers.process import wait_until
from tests.support import Run, make_context, sees

LINE = "graceful_shutdown_configured"
SERVING: dict[str, Any] = {
    "ports": [{"containerPort": 3000}],
    "readinessProbe": {"httpGet": {"path": "/health", "port": 3000}},
}
LATER = timedelta(minutes=6)


class Api:
    """Two pods whose container is one real process. Who asks it to stop when one of them is deleted stands in for a kubelet."""

    def __init__(self, cluster: ControlPlane, application: Application, grace: int = 30, **lifecycle: Any) -> None:
        self.cluster, self.application, self._ended = cluster, application, Event()
        self.deaf = False  # whether its first process swallows SIGTERM
        self.grace = grace
        self.namespace = cluster.namespace("api")
        hooks: dict[str, Any] = {"lifecycle": {"preStop": lifecycle}} if lifecycle else {}
        serving = container(**SERVING, **hooks)
        self.node = node(f"drained-{self.namespace}", kwok=False)
        name = self.node["metadata"]["name"]
        spec = pod_spec(nodeName=name, containers=[serving], terminationGracePeriodSeconds=grace)
        self.pods = [pod(name, self.namespace, spec, app="api") for name in ("a", "b")]
        cluster.apply(self.node, *self.pods)
        for one in self.pods:
            self.becomes(one, ready=True)

    def becomes(self, one: dict[str, Any], *, ready: bool) -> None:
        """Report a pod as its kubelet would."""
        state = {"name": "main", "image": "x", "imageID": "", "ready": ready, "restartCount": 0}
        conditions = [{"type": name, "status": str(ready)} for name in ("Ready", "ContainersReady")]
        self.cluster.patch_status(
            one,
            phase="Running",
            podIP="127.0.0.1",
            podIPs=[{"ip": "127.0.0.1"}],
            conditions=conditions,
            containerStatuses=[state | {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
        )

    @property
    def left(self) -> list[str]:
        """The pods that nobody has asked to stop."""
        found = self.cluster.pods(self.namespace)
        return [one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]]

    def _kubelet(self) -> None:
        while not self._ended.wait(0.1):
            found = self.cluster.pods(self.namespace)
            for one in (one for one in found if "deletionTimestamp" in one["metadata"]):
                end = time.monotonic() + self.grace
                if not self.deaf:
                    self.application.signal(signal.SIGTERM)
                while self.application.running and time.monotonic() < end and not self._ended.wait(0.05):
                    pass
                with suppress(HTTPError):
                    self.cluster.delete({"apiVersion": "v1", "kind": "Pod", **one})

    @contextmanager
    def running(self) -> Iterator[Api]:
        """While its pods run."""
        kubelet = Thread(target=self._kubelet)
        kubelet.start()
        try:
            yield self
        finally:
            self._ended.set()
            kubelet.join()
            left = [one for one in self.pods if one["metadata"]["name"] in self.left]
            self.cluster.delete(*left, self.node)  # others of the same cluster see each node


@contextmanager
def running(cluster: ControlPlane, directory: Path, slow: int = 6000, **lifecycle: Any) -> Iterator[Api]:
    with nest(directory, SLOW_MS=str(slow)) as application, Api(cluster, application, **lifecycle).running() as api:
        yield api


def run_drill(
    api: Api,
    memory: dict[str, Any],
    *,
    later: timedelta = LATER,
    recalled: dict[str, float] | None = None,
    kubeconfig: Path | None = None,
    patience: str = "10s",
    **options: Any,
) -> Run:
    context = make_context(memory=memory, now=lambda: utc_now() + later, recall=lambda _: recalled or {})
    target = {
        "name": "api",
        "url": api.application.url,
        "pods": {"namespace": api.namespace, "selector": "app=api"},
        "allow_intrusive": True,
        "drill": {"path": "/slow", "port": api.application.port},
        **options,
    }
    clients = asking(api.cluster, kubeconfig, timeout=patience)
    return Run(ApiService, [LINE], settings={"timeout": "1m"}, target=target, clients=clients, context=context)


drill = sees(run_drill)


async def due(api: Api, memory: dict[str, Any], **options: Any) -> Result:
    """The verdict of the first run in which a pod may be evicted."""
    waiting = await drill(api, memory, later=timedelta(0), **options)
    assert (waiting.status, waiting.reason) == (Status.UNKNOWN, Reason.PENDING), waiting
    assert "is due to be evicted" in waiting.summary
    return await drill(api, memory, **options)


@pytest.mark.verifies("api_service.graceful_shutdown_configured", "ok")
async def test_a_pod_that_finishes_its_request(control_plane: ControlPlane, tmp_path: Path) -> None:
    with running(control_plane, tmp_path) as api:
        memory: dict[str, Any] = {}
        rights = [right for right in (*POD_RIGHTS, DRILL_RIGHTS) if isinstance(right, Right)]
        good = await due(api, memory, kubeconfig=reader(api.cluster, roles(rights, (), watch=False)))
        assert good.status is Status.OK, good
        assert "was evicted, answered the request that it had" in good.summary
        assert not api.application.running
        assert len(api.left) == 1
        # Not again before its time, nor after a restart of the exporter.
        again = await drill(api, memory, later=timedelta(days=29))
        assert (again.status, again.measurements) == (Status.OK, good.measurements)
        restarted = await drill(api, {}, later=timedelta(days=29), recalled=dict(good.measurements))
        assert (restarted.status, "A pod was last evicted on" in restarted.summary) == (Status.OK, True), restarted
        # One pod is left, which is not evicted, and the failure of the past is not forgotten.
        alone = await due_later(api, good)
        assert (alone.status, alone.reason) == (Status.UNKNOWN, Reason.PENDING), alone
        assert "one is evicted only where there are two or more" in alone.summary
        assert len(api.left) == 1
        failing = {**good.measurements, "last_drill_passed": 0.0, "last_drill_failed": 1.0}
        assert (await drill(api, {}, later=timedelta(days=1), recalled=failing)).status is Status.FAILED
        unclear = {**failing, "last_drill_failed": 0.0}
        assert (await drill(api, {}, later=timedelta(days=1), recalled=unclear)).status is Status.UNKNOWN


async def due_later(api: Api, before: Result) -> Result:
    """The verdict when the next drill is due."""
    memory: dict[str, Any] = {}
    for minutes in (0, 6):
        later = timedelta(days=31, minutes=minutes)
        seen = await drill(api, memory, later=later, recalled=dict(before.measurements))
    return seen


@pytest.mark.verifies("api_service.graceful_shutdown_configured", "failed")
async def test_a_pod_that_breaks_its_request(control_plane: ControlPlane, tmp_path: Path) -> None:
    with (
        nest(tmp_path, SLOW_MS="6000", SHUTDOWN_HOOKS="0") as application,
        Api(control_plane, application).running() as api,
    ):
        broken = await due(api, {})
        assert broken.status is Status.FAILED, broken
        assert "did not finish the request that it had when it was evicted: " in broken.summary
        assert broken.measurements["last_drill_failed"] == 1
        wait_until(lambda: not application.running, "the process to end")


async def test_a_pod_that_does_not_stop(control_plane: ControlPlane, tmp_path: Path) -> None:
    with nest(tmp_path, SLOW_MS="6000") as application, Api(control_plane, application, grace=12).running() as api:
        api.deaf = True
        killed = await due(api, {}, min_grace_period="5s")
        assert killed.status is Status.FAILED, killed
        assert "ended only when its 12 s were over: it did not stop when it was asked to." in killed.summary


@pytest.mark.verifies("api_service.graceful_shutdown_configured", "unknown")
async def test_pods_that_are_left_alone(control_plane: ControlPlane, tmp_path: Path) -> None:
    with running(control_plane, tmp_path, 1000, exec={"command": ["sleep", "5"]}) as api:
        for options, part in (
            ({}, "drill.hook has to state how long it takes."),
            ({"drill": {"path": "/slow", "port": api.application.port, "hook": "5s"}}, "2xx after 8.5 s or more."),
            ({"drill": {"path": "/nothing", "port": api.application.port, "hook": "0s"}}, "answered 404 to /nothing"),
        ):
            seen = await due(api, {}, **options)
            assert (seen.status, seen.reason, part in seen.summary) == (Status.UNKNOWN, Reason.NOT_CONFIGURED, True), (
                seen
            )
        not_allowed = await drill(api, {}, allow_intrusive=False)
        assert (not_allowed.status, not_allowed.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
        assert "drill needs `allow_intrusive: true`" in not_allowed.summary
        forgetful = await see(
            "api_service", LINE, "http://api", clients=asking(api.cluster), allow_intrusive=True,
            pods={"namespace": api.namespace, "selector": "app=api"}, drill={"path": "/slow", "port": 3000},
        )  # fmt: skip
        assert (forgetful.status, "state.file is not configured" in forgetful.summary) == (Status.UNKNOWN, True)
        api.becomes(api.pods[0], ready=False)
        rollout = await due(api, {})
        assert "1 of 2 pods of app=api" in rollout.summary
        assert api.left == ["a", "b"]


async def test_pods_that_may_not_be_evicted(control_plane: ControlPlane, tmp_path: Path) -> None:
    with running(control_plane, tmp_path, 4000) as api:
        rights = [right for right in POD_RIGHTS if isinstance(right, Right)]
        denied = await due(api, {}, kubeconfig=reader(api.cluster, roles(rights, (), watch=False)))
        assert (denied.status, denied.reason) == (Status.UNKNOWN, Reason.DENIED), denied
        assert f"cannot create pods/eviction in {api.namespace}" in denied.summary
        spec = {"selector": {"matchLabels": {"app": "api"}}, "maxUnavailable": 0}
        budget = manifest("policy/v1", "PodDisruptionBudget", "api", api.namespace, spec=spec)
        control_plane.apply(budget)
        control_plane.wait(
            control_plane.path(budget),
            lambda one: one.get("status", {}).get("observedGeneration"),
            "the budget to be known",
        )
        memory: dict[str, Any] = {}
        budgeted = await due(api, memory, patience="2s")
        assert (budgeted.status, budgeted.reason) == (Status.UNKNOWN, Reason.REFUSED), budgeted
        assert "its PodDisruptionBudget does not allow it now" in budgeted.summary
        assert (memory["drill made"], api.left) == (None, ["a", "b"])


@pytest.mark.parametrize(
    "options",
    [
        {"path": "/slow"},
        {"path": "slow", "port": 3000},
        {"path": "/slow", "port": 0},
        {"path": "/slow", "port": 3000, "every": "1h"},
        {"path": "/slow", "port": 3000, "hook": "-1s"},
    ],
)
async def test_bad_drills_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await see("api_service", LINE, "http://api", drill=options)
