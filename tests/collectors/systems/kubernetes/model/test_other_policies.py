"""Tests of `collectors.systems.kubernetes.model.other_policies`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collectors.systems.kubernetes.model.objects import OtherPolicy
from collectors.systems.kubernetes.model.other_policies import default_denies

CILIUM, CALICO = "cilium.io", "projectcalico.org"
BOTH: dict[str, Any] = {"ingress": [{}], "egress": [{}]}


def denied(group: str, spec: dict[str, Any], namespace: str = "", **also: Any) -> dict[str, tuple[str, ...] | None]:
    """The directions that a policy denies by default in each of the namespaces `shop` and `bank`."""
    given = {"metadata": {"name": "deny", "namespace": namespace}, "spec": spec, **also}
    policy = msgspec.convert(given, OtherPolicy)
    return {one.namespace: one.spec.policy_types for one in default_denies(group, policy, ["shop", "bank"])}


@pytest.mark.parametrize(
    ("group", "spec", "sides"),
    [
        (CILIUM, {"endpointSelector": {}, **BOTH}, ("Ingress", "Egress")),
        (CILIUM, {"endpointSelector": {}, "egress": [{}], "description": "Nothing leaves."}, ("Egress",)),
        (CALICO, {"selector": "all()", "types": ["Ingress", "Egress"], "order": 2000}, ("Ingress", "Egress")),
        ("crd.projectcalico.org", {"namespaceSelector": "all()", "tier": "default"}, ("Ingress",)),
        (CALICO, {"types": ["Egress"], "egress": []}, ("Egress",)),
    ],
)
def test_default_denies(group: str, spec: dict[str, Any], sides: tuple[str, ...]) -> None:
    assert denied(group, spec) == {"shop": sides, "bank": sides}
    assert denied(group, spec, "shop") == {"shop": sides}


@pytest.mark.parametrize(
    ("group", "spec"),
    [
        (CILIUM, {}),
        (CILIUM, BOTH),
        (CILIUM, {"nodeSelector": {}, **BOTH}),
        (CILIUM, {"endpointSelector": {}, "ingress": []}),
        (CILIUM, {"endpointSelector": {"matchLabels": {"app": "web"}}, **BOTH}),
        (CILIUM, {"endpointSelector": {}, "ingress": [{}], "egress": [{"toEntities": ["all"]}]}),
        (CILIUM, {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}]}),
        (CILIUM, {"endpointSelector": {}, "ingress": [{}, {"fromEntities": ["world"]}]}),
        (CILIUM, {"endpointSelector": {}, "ingressDeny": [{"fromEntities": ["world"]}]}),
        (CILIUM, {"endpointSelector": {}, **BOTH, "enableDefaultDeny": {"ingress": False}}),
        (CALICO, {"tier": "platform"}),  # its defaultAction may be Pass
        (CALICO, {"selector": "app == 'web'"}),
        (CALICO, {"namespaceSelector": "projectcalico.org/name != 'shop'"}),
        (CALICO, {"ingress": [{"action": "Allow"}]}),
        (CALICO, {"types": ["Ingress"], "egress": [{"action": "Pass"}]}),
        (CALICO, {"preDNAT": True, "applyOnForward": True}),
        (CALICO, {"serviceAccountSelector": "role == 'web'"}),
        ("crd.antrea.io", {"appliedTo": [{"podSelector": {}}], "ingress": [{"action": "Drop"}]}),
    ],
)
def test_policies_that_are_no_default_deny_or_not_surely_one(group: str, spec: dict[str, Any]) -> None:
    assert denied(group, spec) == {}


@pytest.mark.parametrize(("valid", "denies"), [("True", True), ("False", False), ("Unknown", False)])
def test_a_policy_that_cilium_refused_denies_nothing(valid: str, denies: bool) -> None:
    status = {"conditions": [{"type": "Valid", "status": valid}]}
    assert bool(denied(CILIUM, {"endpointSelector": {}, **BOTH}, "shop", status=status)) is denies


def test_a_policy_of_several_specs_is_not_read() -> None:
    assert denied(CILIUM, {"endpointSelector": {}, **BOTH}, "shop", specs=[{"endpointSelector": {}}]) == {}
