"""Whether requests are found in the logs of pods, which a real API server reads from a node."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.systems.kubernetes.check.logs import LOG_RIGHTS
from collectors.systems.kubernetes.model.kinds import PODS
from collectors.systems.kubernetes.model.rbac import may_list, roles
from exporter.verdict import Reason, Status
from tests.collectors.application_services.services import run, see
from tests.collectors.systems.kubernetes.clusters import asking, pod, reader
from tests.servers.applications.programs import Application, nest
from tests.servers.kubelet import NODE, LoggingNode, logging_node
from tests.servers.kubernetes import ControlPlane, pod_spec
from tests.servers.process import call, wait_until
from tests.support import Run, sees

LINE = "request_logging_enabled"
PODS_OF_API = ("api-0", "api-1")


class Service:
    """A real application as the container of one of two pods. `change` may alter its lines, or drop them (None)."""

    def __init__(self, cluster: ControlPlane, node: LoggingNode, application: Application) -> None:
        self.change: Callable[[str], str | None] = lambda line: line
        self.cluster, self.node, self.url = cluster, node, application.url
        self.namespace = cluster.namespace("api")
        self.pods = {"namespace": self.namespace, "selector": "app=api"}
        self._application, self._ended = application, Event()

    def start(self, name: str) -> None:
        """Run a pod."""
        made = pod(name, self.namespace, pod_spec(nodeName=NODE), app="api")
        self.cluster.apply(made)
        path = self.cluster.path(made)
        self.cluster.wait(path, lambda one: one["status"].get("phase") == "Running", "the pod to run")

    def _follow(self) -> None:
        with self._application.log.open() as file:
            while not self._ended.wait(0.05):
                for line in file.readlines():
                    if (changed := self.change(line.rstrip("\n"))) is not None:
                        self.node.write("api-1", changed)

    @contextmanager
    def writing(self) -> Iterator[Service]:
        """While its pods run, and the second one's log is the application's."""
        follower = Thread(target=self._follow)
        for name in PODS_OF_API:
            self.start(name)
        follower.start()
        try:
            yield self
        finally:
            self._ended.set()
            follower.join()


@pytest.fixture
def service(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Service]:
    with (
        nest(tmp_path) as api,
        logging_node(control_plane, tmp_path, *PODS_OF_API) as node,
        Service(control_plane, node, api).writing() as service,
    ):
        yield service


def run_api(service: Service, memory: dict[str, Any] | None = None, **options: Any) -> Run:
    log = {"path": "/items?page=1", "container": "main", "within": "1m"} | options.pop("log", {})
    clients = options.pop("clients", None) or asking(service.cluster)
    options = {"pods": service.pods} | options
    return run("api_service", LINE, service.url, clients=clients, memory=memory, request_log=log, **options)


look = sees(run_api)


@pytest.mark.verifies("api_service.request_logging_enabled", "ok")
@pytest.mark.verifies("api_service.request_logging_enabled", "failed")
@pytest.mark.verifies("api_service.request_logging_enabled", "unknown")
async def test_the_logs_of_pods(service: Service) -> None:
    good = await look(service)
    assert good.status is Status.OK, good
    assert good.summary.endswith(") with its method, path, status and duration.")
    # Proved by the API server: the line is in the log of the second pod.
    path = f"/api/v1/namespaces/{service.namespace}/pods/api-1/log"
    assert "/items" in str(service.cluster.get(path))
    assert service.cluster.get(path.replace("api-1", "api-0")) == ""
    service.change = lambda line: json.dumps({name: value for name, value in json.loads(line).items() if name != "ms"})
    lacking = await look(service, log={"within": "1s"})
    assert (lacking.status, lacking.summary.endswith(" without its duration.")) == (Status.FAILED, True), lacking
    # No trace id in the line, and then nothing at all.
    service.change = lambda line: json.dumps({**json.loads(line), "traceparent": None})
    unrecognized = await look(service, log={"within": "3s"})
    assert (unrecognized.status, unrecognized.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED), unrecognized
    assert f"of container main of pods app=api in {service.namespace} with the path of GET" in unrecognized.summary
    service.change = lambda _: None
    wait_until(lambda: _recent(service) == "", "the lines to be older than the look")
    silent = await look(service, log={"within": "1s"})
    assert (silent.status, silent.reason) == (Status.FAILED, Reason.MISSING), silent
    assert silent.summary.endswith(" within 1s, and nothing else was, though there are older lines.")
    service.change = lambda line: None if "checklist-exporter" in line else line
    done = Event()

    def chat() -> None:
        while not done.wait(0.2):
            call(f"{service.url}/health")

    chatter = Thread(target=chat)
    chatter.start()
    try:
        dropped = await look(service, log={"within": "3s"})
    finally:
        done.set()
        chatter.join()
    assert (dropped.status, dropped.reason) == (Status.FAILED, Reason.MISSING), dropped
    assert "though Kubernetes has " in dropped.summary


def _recent(service: Service) -> str:
    path = f"/api/v1/namespaces/{service.namespace}/pods/api-1/log"
    return str(service.cluster.get(path, sinceSeconds="8"))


async def test_logs_that_cannot_be_read(service: Service) -> None:
    service.change = lambda _: None
    silent = await look(service, log={"within": "1s"})
    assert (silent.status, silent.reason) == (Status.UNKNOWN, Reason.MISSING), silent
    assert "Kubernetes has no line of container main" in silent.summary
    # A pod that was replaced had a log of its own.
    memory: dict[str, Any] = {}
    waiting = await look(service, memory, log={"within": "1h"}, timeout="5s")
    assert (waiting.status, waiting.reason) == (Status.UNKNOWN, Reason.PENDING), waiting
    gone = pod("api-1", service.namespace, pod_spec(nodeName=NODE), app="api")
    service.cluster.delete(gone)
    wait_until(lambda: len(service.cluster.pods(service.namespace)) == 1, "the pod to be gone")
    service.start("api-1")
    replaced = await look(service, memory, log={"within": "1h"}, later=timedelta(hours=2))
    assert (replaced.status, replaced.reason) == (Status.UNKNOWN, Reason.PENDING), replaced
    assert "were replaced or restarted while the request was looked for" in replaced.summary
    # Rights: to list pods is not to read their logs.
    kubeconfig = reader(service.cluster, roles([may_list(PODS)], (), watch=False))
    denied = await look(service, clients=asking(service.cluster, kubeconfig))
    assert (denied.status, denied.reason) == (Status.UNKNOWN, Reason.DENIED), denied
    assert f"cannot get pods/log in {service.namespace}" in denied.summary
    service.change = lambda line: line
    allowed = reader(service.cluster, roles([may_list(PODS), LOG_RIGHTS], (), watch=False))
    assert (await look(service, clients=asking(service.cluster, allowed))).status is Status.OK
    other = await look(service, log={"container": "proxy"})
    assert (other.status, other.reason) == (Status.UNKNOWN, Reason.MISSING), other
    assert f"No container proxy of pods app=api in {service.namespace} runs" in other.summary
    assert (await look(service, pods=None)).reason is Reason.NOT_CONFIGURED
    service.change = lambda _: None
    service.node.write("api-0", "unable to retrieve container logs for containerd://0123456789abcdef")
    instead = await look(service)
    assert instead.summary == f"The kubelet has no log of container main of pod {service.namespace}/api-0."
    service.node.kubelet.kill()
    unreachable = await look(service)
    assert unreachable.status is Status.UNKNOWN, unreachable
    assert "connection refused" in unreachable.summary


@pytest.mark.parametrize(
    "log",
    [
        {"path": "/"},
        {"path": "/", "container": "main", "selector": '{app="a"}'},
        {"path": "/", "container": "Main"},
        {"path": "/", "container": ""},
    ],
)
async def test_bad_options_are_refused(log: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await see("api_service", LINE, "http://api", request_log=log)
