"""The environment variables of an API, on a real control plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Status
from tests.collectors.application_services import services
from tests.collectors.application_services.services import see
from tests.collectors.environment_and_secrets.shop import config, from_map, from_secret, literal, run
from tests.collectors.systems.kubernetes.clusters import asking, container
from tests.servers.kubernetes import ControlPlane, pod_spec, workload
from tests.support import Run, sees

LINE = "environment_variables_set"


def run_api(
    cluster: ControlPlane,
    required: Mapping[str, Sequence[str]],
    expected: Mapping[str, Mapping[str, str]] | None = None,
    **client: Any,
) -> Run:
    options: dict[str, Any] = {"required_variables": required, "expected_variables": expected or {}}
    return services.run("api_service", LINE, "http://service", clients=asking(cluster, **client), **options)


look = sees(run_api)


@pytest.mark.verifies("api_service.environment_variables_set", "ok")
@pytest.mark.verifies("api_service.environment_variables_set", "failed")
async def test_variables_of_a_running_service(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("api")
    control_plane.apply(config(namespace, LEVEL="canary-value", VOID=""))
    env = [*literal(PORT="3000", BLANK=""), from_secret("PASSWORD"), from_map("NONE", "settings", "VOID")]
    run(control_plane, env, name="api", namespace=namespace, envFrom=[{"configMapRef": {"name": "settings"}}])
    path = f"{namespace}/api"
    good = await look(control_plane, {path: ["PORT", "PASSWORD", "LEVEL"]})
    assert (good.status, good.measurements) == (Status.OK, {"required_variables": 3})
    assert good.summary == "3 required variables of 1 workload are set, in the template and in every running pod."
    for name in ("ABSENT", "BLANK", "NONE"):
        bad = await look(control_plane, {path: ["PORT", name]})
        assert (bad.status, name in bad.summary, "canary" in repr(bad)) == (Status.FAILED, True, False)
    assert (await look(control_plane, {f"{namespace}/other": ["PORT"]})).reason is Reason.MISSING
    control_plane.delete(config(namespace))
    gone = await look(control_plane, {path: ["PORT"]})
    assert (gone.status, "does not exist" in gone.summary) == (Status.FAILED, True)


async def test_a_variable_of_the_template_or_of_the_pods_alone_fails(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("api")
    run(control_plane, literal(OLD="1", SAME="1"), name="api", namespace=namespace)
    changed = workload(namespace, "api", spec=pod_spec(containers=[container(env=literal(NEW="1", SAME="1"))]))
    changed["spec"]["paused"] = True  # so that no pod is replaced
    control_plane.apply(changed)
    for name, status in (("SAME", Status.OK), ("OLD", Status.FAILED), ("NEW", Status.FAILED)):
        result = await look(control_plane, {f"{namespace}/api": [name]})
        assert result.status is status, result.summary
        assert status is Status.OK or result.summary == f"{name} is not set in Deployment {namespace}/api."


@pytest.mark.verifies("api_service.environment_variables_set", "unknown")
async def test_what_was_not_observed_is_unknown(control_plane: ControlPlane) -> None:
    namespace = run(control_plane, [from_secret("MAYBE", optional=True)], envFrom=[{"secretRef": {"name": "whole"}}])
    for name in ("MAYBE", "WHOLE"):
        result = await look(control_plane, {f"{namespace}/web": [name]})
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_VERIFIED)
    left_out = await look(control_plane, {f"{namespace}/web": ["MAYBE"]}, namespaces=("default",))
    assert (left_out.status, left_out.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    rules = [{"apiGroups": ["", "apps", "batch"], "resources": ["pods", "deployments"], "verbs": ["list"]}]
    denied = await look(control_plane, {f"{namespace}/web": ["MAYBE"]}, kubeconfig=control_plane.account(rules))
    assert (denied.status, denied.reason) == (Status.UNKNOWN, Reason.DENIED)
    assert (await look(control_plane, {})).reason is Reason.NOT_CONFIGURED
    without = await see("api_service", LINE, "http://service", required_variables={"shop/api": ["PORT"]})
    assert (without.status, without.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)


async def test_values_that_are_expected(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("api")
    control_plane.apply(
        config(namespace, LEVEL="info", MODE="canary-map", PORT="1"), config(namespace, "later", MODE="b")
    )
    env = [*literal(NODE_ENV="production", URL="http://$(NODE_ENV)", PORT="3000"), from_map("L", "settings", "LEVEL")]
    both = [{"configMapRef": {"name": "settings"}}, {"configMapRef": {"name": "later"}}]
    sidecar = container("proxy", env=literal(NODE_ENV="canary-development"))
    spec = pod_spec(containers=[container(env=[*env, from_secret("PASSWORD")], envFrom=both), sidecar])
    api = workload(namespace, "api", spec=spec)
    control_plane.apply(api)
    control_plane.wait_ready(api)
    main = f"{namespace}/api/main"

    async def of(path: str, **values: str) -> tuple[Status, str]:
        result = await look(control_plane, {}, {path: values})
        assert "canary" not in repr(result)
        return result.status, result.summary

    good = await of(main, NODE_ENV="production", L="info", LEVEL="info", PORT="3000", MODE="b")
    assert good == (
        Status.OK,
        "5 required variables of 1 workload are set, 5 of them to the expected value, in the template and in every running pod.",
    )
    # The last ConfigMap wins, and what is set by itself wins over all; each container that sets a variable is checked.
    for path, values in [
        (main, {"MODE": "canary-map"}),
        (main, {"PORT": "1"}),
        (main, {"NODE_ENV": "Production"}),
        (f"{namespace}/api", {"NODE_ENV": "production"}),
    ]:
        status, summary = await of(path, **values)
        assert (status, "has another value than `expected_variables` has." in summary) == (Status.FAILED, True)
    assert (await of(main, ABSENT="1"))[1] == f"ABSENT is not set in Deployment {namespace}/api."
    for name in ("URL", "PASSWORD"):
        assert (await of(main, **{name: "canary-value"}))[0] is Status.UNKNOWN
    # A container has what the ConfigMap held when it started.
    changed = config(namespace, LEVEL="debug", MODE="a", PORT="1")
    [pod] = control_plane.pods(namespace)
    started: dict[str, Any] = {"name": "main", "image": "x", "imageID": "", "ready": True, "restartCount": 0}
    started["state"] = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    control_plane.patch_status({**pod, "apiVersion": "v1", "kind": "Pod"}, containerStatuses=[started])
    control_plane.apply(changed)
    status, summary = await of(main, LEVEL="debug")
    assert (status, "which was changed after the container started" in summary) == (Status.UNKNOWN, True)
    assert (await of(main, LEVEL="info"))[0] is Status.FAILED


async def test_a_secret_that_may_have_the_variable_too_leaves_its_value_unknown(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("api")
    control_plane.apply(config(namespace, MODE="a"))
    both: list[dict[str, Any]] = [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "whole"}}]
    run(control_plane, [], name="api", namespace=namespace, envFrom=both)
    run(control_plane, [], name="other", namespace=namespace, envFrom=both[::-1])
    assert (await look(control_plane, {}, {f"{namespace}/api": {"MODE": "a"}})).reason is Reason.NOT_VERIFIED
    assert (await look(control_plane, {}, {f"{namespace}/other": {"MODE": "a"}})).status is Status.OK
    assert (await look(control_plane, {f"{namespace}/api": ["MODE"]})).status is Status.OK


@pytest.mark.parametrize("required", [{"api": ["A"]}, {"shop/api": []}, {"shop/": ["A"]}])
async def test_bad_workloads_are_refused(required: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        await see("api_service", LINE, "http://service", required_variables=required)
    expected = {path: dict.fromkeys(names, "1") for path, names in required.items()}
    with pytest.raises(ValidationError):
        await see("api_service", LINE, "http://service", expected_variables=expected)
