"""Tests of `collectors.systems.kubernetes.model.other_policies`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collectors.systems.kubernetes.model.objects import Metadata, Namespace, OtherPolicy
from collectors.systems.kubernetes.model.other_policies import (
    DefaultDeny,
    default_denies,
    enforces_nothing,
    opens_nothing,
)

CILIUM, CALICO, ANTREA = "cilium.io", "projectcalico.org", "crd.antrea.io"
ADMIN, AWS = "policy.networking.k8s.io", "networking.k8s.aws"
BOTH: dict[str, Any] = {"ingress": [{}], "egress": [{}]}
NAMESPACES = [Namespace(metadata=Metadata(name=name, labels={"name": name})) for name in ("shop", "bank")]


def denies(group: str, spec: dict[str, Any], namespace: str = "", **also: Any) -> list[DefaultDeny]:
    """The default denies that a policy is in the namespaces `shop` and `bank`, which have a label `name`."""
    given = {"metadata": {"name": "deny", "namespace": namespace}, "spec": spec, **also}
    return list(default_denies(group, msgspec.convert(given, OtherPolicy), NAMESPACES))


def denied(group: str, spec: dict[str, Any], namespace: str = "", **also: Any) -> dict[str, tuple[str, ...] | None]:
    """The directions that a policy denies by default in each of these namespaces."""
    found = (one.policy for one in denies(group, spec, namespace, **also))
    return {one.namespace: one.spec.policy_types for one in found}


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
        (CALICO, {"serviceAccountSelector": "role == 'web'", "types": ["Ingress"]}),
        (ANTREA, {"appliedTo": [{"namespaceSelector": {}}], "ingress": [{"action": "Pass"}]}),
        (ANTREA, {"appliedTo": [{"namespaceSelector": {}}], "ingress": [{"action": "Drop", "ports": [{"port": 22}]}]}),
        (
            ANTREA,
            {"appliedTo": [{"namespaceSelector": {}}], "ingress": [{"action": "Drop", "from": [{"podSelector": {}}]}]},
        ),
        (ANTREA, {"appliedTo": [{"namespaceSelector": {}}], "ingress": [{"action": "Allow"}, {"action": "Drop"}]}),
        (ANTREA, {"appliedTo": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ingress": [{"action": "Drop"}]}),
        (ANTREA, {"appliedTo": [{"group": "all"}], "ingress": [{"action": "Drop"}]}),
        (ANTREA, {"appliedTo": [{}], "ingress": [{"action": "Drop"}]}),
        (ANTREA, {"appliedTo": [{"podSelector": []}], "ingress": [{"action": "Drop"}]}),
        (ADMIN, {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}),
        (ADMIN, {"subject": {"namespaces": {}}, "ingress": [{"action": "Pass", "from": [{"namespaces": {}}]}]}),
        (ADMIN, {"subject": {"namespaces": {}}, "egress": [{"action": "Deny", "to": [{"namespaces": {}}]}]}),
        (ADMIN, {"subject": {"namespaces": {}}, "egress": [{"action": "Deny", "to": [{"networks": ["10.0.0.0/8"]}]}]}),
        (ADMIN, {"subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": [{}]}]}),
        (
            ADMIN,
            {
                "subject": {"namespaces": {}},
                "ingress": [{"action": "Deny", "from": [{"namespaces": {"matchLabels": {"name": "bank"}}}]}],
            },
        ),
        (AWS, {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}),
        (AWS, {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"domainNames": ["*.example.com"]}]}]}),
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


EVERYONE = {"action": "Deny", "from": [{"namespaces": {}}]}
ANYWHERE = {"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]}


@pytest.mark.parametrize("action", ["Drop", "Reject"])
def test_antrea_denies_by_a_rule_without_peers(action: str) -> None:
    rules = {"ingress": [{"action": action, "enableLogging": True}], "egress": [{"action": action, "name": "nothing"}]}
    spec = {"tier": "baseline", "priority": 1, **rules}
    chosen = {"namespaceSelector": {"matchLabels": {"name": "shop"}}}
    assert denied(ANTREA, spec | {"appliedTo": [chosen]}) == {"shop": ("Ingress", "Egress")}
    assert denied(ANTREA, spec | {"appliedTo": [{"podSelector": {}}]}, "bank") == {"bank": ("Ingress", "Egress")}
    assert denied(ANTREA, spec | {"appliedTo": [chosen]}, "shop") == {}  # one namespace's policy selects no namespaces


@pytest.mark.parametrize(
    "subject",
    [
        {"namespaces": {"matchLabels": {"name": "shop"}}},
        {"pods": {"namespaceSelector": {"matchLabels": {"name": "shop"}}, "podSelector": {}}},
    ],
)
@pytest.mark.parametrize("group", [ADMIN, AWS])
def test_administrators_policies_deny_what_their_api_knows(group: str, subject: dict[str, Any]) -> None:
    (found,) = denies(group, {"subject": subject, "priority": 5, "ingress": [EVERYONE], "egress": [ANYWHERE]})
    assert (found.policy.namespace, found.policy.spec.policy_types) == ("shop", ("Ingress", "Egress"))
    assert found.leaves == {"Ingress": "from outside the cluster"}
    (found,) = denies(group, {"subject": subject, "egress": [{"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}]})
    assert found.leaves == {"Egress": "over IPv6"}
    allowing = [{"action": "Accept", "to": [{"networks": ["10.0.0.0/8"]}]}, ANYWHERE]
    assert denies(group, {"subject": subject, "egress": allowing}) == []


def test_a_policy_of_aws_for_applications_denies_as_a_network_policy_does() -> None:
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert denied(AWS, spec, "shop") == {"shop": ("Ingress", "Egress")}


@pytest.mark.parametrize(
    ("group", "rules", "nothing"),
    [
        (ADMIN, [EVERYONE], True),
        (ANTREA, [{"action": "Drop", "from": [{"podSelector": {}}]}], True),
        (CALICO, [{"action": "Deny", "source": {"nets": ["192.0.2.0/24"]}}], True),
        (CALICO, [{"action": "Deny"}, {"action": "Allow"}], False),
        (ADMIN, [{"action": "Pass", "from": [{"namespaces": {}}]}], False),
        (ANTREA, [], False),
        (CILIUM, [{"action": "Deny"}], False),
    ],
)
def test_policies_that_only_deny_open_nothing(group: str, rules: list[Any], nothing: bool) -> None:
    assert opens_nothing(group, OtherPolicy(spec={"ingress": rules})) is nothing


def test_what_only_looks_like_policies_enforces_nothing() -> None:
    assert enforces_nothing("projectcalico.org", "stagedglobalnetworkpolicies")
    assert enforces_nothing("stats.antrea.io", "networkpolicystats")
    assert enforces_nothing("controlplane.antrea.io", "networkpolicies")
    assert not enforces_nothing("crd.antrea.io", "networkpolicies")
