"""Default denies of Cilium and Calico, as the NetworkPolicies of the same effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from collectors.systems.kubernetes.model.objects import (
    Metadata,
    NetworkPolicy,
    NetworkPolicySpec,
    OtherPolicy,
    condition,
)

__all__ = ["default_denies"]

_CILIUM = "cilium.io"
_CALICO = frozenset({"crd.projectcalico.org", "projectcalico.org"})
_ALL = frozenset({"", "all()"})
_SIDES = "Ingress", "Egress"


def default_denies(group: str, policy: OtherPolicy, namespaces: Iterable[str]) -> Sequence[NetworkPolicy]:
    """A default deny, as one NetworkPolicy in each namespace where it applies; `namespaces` are those of a cluster-wide one.

    Empty for any policy that selects only some pods, allows anything, has a field whose effect is not known here, or is of
    another maker.
    """
    if group == _CILIUM:
        sides = tuple(_denied_by_cilium(policy))
    elif group in _CALICO:
        sides = tuple(_denied_by_calico(policy.spec or {}))
    else:
        sides = ()
    if not sides:
        return ()
    spec = NetworkPolicySpec(policy_types=sides)
    return [
        NetworkPolicy(metadata=Metadata(name=policy.name, namespace=namespace), spec=spec)
        for namespace in ([policy.namespace] if policy.namespace else namespaces)
    ]


def _denied_by_cilium(policy: OtherPolicy) -> Iterator[str]:
    """The directions that a policy of Cilium denies by default: an empty rule selects no peer, while no rule denies nothing."""
    spec = policy.spec or {}
    if policy.specs or not spec.keys() <= {"endpointSelector", "ingress", "egress", "description"}:
        return
    valid = condition(policy.status.conditions, "Valid") if policy.status else None
    if spec.get("endpointSelector") != {} or (valid is not None and valid.status != "True"):
        return
    rules = {side: spec.get(side.lower()) for side in _SIDES}
    if all(rule in (None, [{}]) for rule in rules.values()):
        yield from (side for side, rule in rules.items() if rule)


def _denied_by_calico(spec: dict[str, Any]) -> Iterator[str]:
    """The directions that a policy of Calico denies by default: it selects every workload, and has no rule.

    Only in the tier `default`: what no rule of another tier decides may pass on, by that tier's `defaultAction`.
    """
    known = {"selector", "namespaceSelector", "types", "ingress", "egress", "order", "tier"}
    if not spec.keys() <= known or spec.get("ingress") or spec.get("egress"):
        return
    if spec.get("tier") not in (None, "", "default"):
        return
    if {spec.get("selector") or "", spec.get("namespaceSelector") or ""} <= _ALL:
        yield from (side for side in _SIDES if side in (spec.get("types") or ("Ingress",)))
