"""Objects of a real control plane: by their kind's name, with the account's rights, and never none by accident."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.systems.custom.lines import line, seen
from tests.collectors.systems.kubernetes.clusters import asking, manifest, reader
from tests.servers.kubernetes import CRDS, ControlPlane, workload

OK, FAILED, UNKNOWN, WARNING = Status.OK, Status.FAILED, Status.UNKNOWN, Status.WARNING


FLAGS = {"api_version": "v1", "kind": "ConfigMap", "selector": "part"}
NOBODY = {"selector": "app=nobody"}


async def judged(cluster: ControlPlane, kubeconfig: Any = None, settings: Any = None, **options: Any) -> Result:
    given = {"api_version": "apps/v1", "kind": "Deployment", "timeout": "40s", **options}
    return await seen(kubernetes=given, clients=asking(cluster, kubeconfig, **(settings or {})))


@pytest.fixture(scope="module")
def space(control_plane: ControlPlane) -> str:
    """A namespace with two Deployments that run, of which one has a replica less."""
    space = control_plane.namespace("lines")
    api, web = workload(space, "api", replicas=2), workload(space, "web", replicas=1)
    control_plane.apply(
        api, web, manifest("v1", "ConfigMap", "flags", space, data={"mode": "live"}, metadata={"labels": {"part": "x"}})
    )
    control_plane.wait_ready(api, web)
    return space


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"conditions": ["object.status.readyReplicas == object.spec.replicas"]}, OK, "Deployment objects in"),
        ({"conditions": ["object.spec.replicas >= 2"]}, FAILED, "web does not meet `object.spec.replicas >= 2`"),
        ({"conditions": ["objects.all(o, o.spec.replicas >= 2)"]}, FAILED, "it is not true of 1 of 2"),
        ({"conditions": ["size(objects) == 2"]}, OK, "are as wanted (1 condition)"),
        ({"conditions": ["object.spec.paused == true"]}, FAILED, "it has no key paused"),
        ({"warn_unless": ["object.spec.replicas >= 2"]}, WARNING, "web does not meet"),
        ({"conditions": ['age(object.metadata.creationTimestamp) < duration("24h")']}, OK, "as wanted"),
        (NOBODY, FAILED, "There are 0 Deployment objects with `app=nobody`"),
        ({**NOBODY, "min_objects": 0, "conditions": ["object.spec.replicas >= 2"]}, OK, "0 Deployment objects"),
        ({**NOBODY, "min_objects": 0, "conditions": ["objects.all(o, o.spec.replicas >= 2)"]}, FAILED, "an empty list"),
        ({"min_objects": 3}, FAILED, "There are 2 Deployment objects"),
        ({"namespaces": ["no-such-namespace"]}, FAILED, "There are 0 Deployment objects in no-such-namespace"),
        ({**FLAGS, "conditions": ['object.data.mode == "live"']}, OK, "as wanted"),
        ({"api_version": "v1", "kind": "Node", "namespaces": ["x"]}, UNKNOWN, "are in no namespace"),
        ({"api_version": "v1", "kind": "Deployment"}, UNKNOWN, "serves no Deployment objects in v1"),
        ({"api_version": "argoproj.io/v1alpha1", "kind": "Rollout"}, UNKNOWN, "serves no Rollout objects"),
        ({"kind": "Deploymant"}, UNKNOWN, "serves no Deploymant objects"),
    ],
)  # fmt: skip
async def test_the_objects_decide(
    control_plane: ControlPlane, space: str, options: dict[str, Any], status: Status, words: str
) -> None:
    result = await judged(control_plane, **{"namespaces": [space], **options})
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_cluster_wide_objects(control_plane: ControlPlane) -> None:
    result = await judged(
        control_plane,
        api_version="v1",
        kind="Node",
        conditions=['object.status.conditions.exists(c, c.type == "Ready" && c.status == "True")'],
    )
    assert (result.status, result.measurements["objects"]) == (OK, 3.0), result.summary


def _established(found: Any) -> bool:
    conditions = found["status"].get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


async def test_objects_of_definitions(control_plane: ControlPlane, space: str) -> None:
    for definition in CRDS["cert-manager"]:
        control_plane.apply(definition)
        control_plane.wait(
            control_plane.path(definition),
            _established,
            "the definition to be served",
        )  # fmt: skip
    control_plane.wait("/apis/cert-manager.io/v1", lambda found: len(found["resources"]) > 1, "the kinds")
    for name, ready in (("shop", "True"), ("api", "False")):
        certificate = manifest(
            "cert-manager.io/v1",
            "Certificate",
            name,
            space,
            status={"conditions": [{"type": "Ready", "status": ready}]},
        )
        control_plane.apply(certificate)
    ready = 'object.status.conditions.exists(c, c.type == "Ready" && c.status == "True")'
    result = await judged(
        control_plane, api_version="cert-manager.io/v1", kind="Certificate", namespaces=[space], conditions=[ready]
    )
    assert (result.status, f"Certificate {space}/api does not meet" in result.summary) == (FAILED, True), result.summary


async def test_an_object_that_is_being_deleted_does_not_count(control_plane: ControlPlane) -> None:
    """It is there, and has all that is wanted, until somebody takes its finalizer away."""
    space = control_plane.namespace("leaving")
    going = manifest(
        "v1", "ConfigMap", "going", space, metadata={"labels": {"part": "x"}, "finalizers": ["example.com/kept"]}
    )
    staying = manifest("v1", "ConfigMap", "staying", space, metadata={"labels": {"part": "x"}})
    control_plane.apply(going, staying)
    options = {"api_version": "v1", "kind": "ConfigMap", "namespaces": [space], "selector": "part=x"}
    assert (await judged(control_plane, min_objects=2, **options)).status is OK
    control_plane.delete(going)
    try:
        fewer = await judged(control_plane, min_objects=2, **options)
        left = await judged(control_plane, conditions=["size(objects) == 1"], **options)
        stuck = await judged(control_plane, conditions=["!has(object.metadata.deletionTimestamp)"], **options)
    finally:
        content = "application/merge-patch+json"
        control_plane.call("PATCH", control_plane.path(going), {"metadata": {"finalizers": None}}, content=content)
    assert (fewer.status, fewer.reason) == (FAILED, Reason.MISSING)
    assert "There is 1 ConfigMap object with `part=x`" in fewer.summary
    assert ", and 1 being deleted; expected at least 2." in fewer.summary
    assert (left.status, stuck.status) == (OK, FAILED), (left.summary, stuck.summary)


async def test_an_account_without_the_right_observed_nothing(control_plane: ControlPlane, space: str) -> None:
    kubeconfig = reader(control_plane, [])
    result = await judged(control_plane, kubeconfig, min_objects=0)
    assert (result.status, result.reason) == (UNKNOWN, Reason.DENIED)
    assert "cannot list deployments.apps in all namespaces: its account has no right to it" in result.summary


async def test_an_api_server_that_is_mute(control_plane: ControlPlane, space: str) -> None:
    control_plane.api_server.pause()
    try:
        result = await judged(control_plane, timeout="1s", settings={"timeout": "30s"}, min_objects=0)
    finally:
        control_plane.api_server.resume()
    assert (result.status, result.reason) == (UNKNOWN, Reason.TIMEOUT), result.summary


async def test_without_a_cluster_nothing_was_observed() -> None:
    result = await seen(kubernetes={"api_version": "v1", "kind": "Pod"})
    assert (result.status, result.reason) == (UNKNOWN, Reason.NOT_CONFIGURED)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "Secret"}, "found Secret, expected another kind: the exporter never reads Secrets"),
        ({"kind": "pods"}, "match pattern"),
        ({"api_version": "apps"}, "match pattern"),
        ({"api_version": "apps/v1/../../secrets"}, "match pattern"),
        ({"selector": "app = (x"}, "expected a label selector"),
        ({"namespaces": ["a/b"]}, "match pattern"),
        ({"conditions": ["size(objects) > object.spec.replicas"]}, "found object and objects in one condition"),
        ({"conditions": ["pod.status == 1"]}, "undeclared reference to 'pod.status'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        line(kubernetes={"api_version": "v1", "kind": "Pod", **options})


def test_a_line_on_objects_requires_a_cluster() -> None:
    own = line(kubernetes={"api_version": "v1", "kind": "Pod"})
    assert (own.requires, own.needs) == ({"kubernetes": "kubernetes"}, ("clients.kubernetes",))
