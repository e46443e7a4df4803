"""Network policies of other makers: default denies as the NetworkPolicies of the same effect, and those that open nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from collectors.systems.kubernetes.model.objects import (
    Metadata,
    Namespace,
    NetworkPolicy,
    NetworkPolicySpec,
    OtherPolicy,
    Selector,
    condition,
)
from collectors.systems.kubernetes.model.selectors import matches, selects_all

__all__ = ["DefaultDeny", "default_denies", "enforces_nothing", "opens_nothing"]

_CILIUM = "cilium.io"
_CALICO = frozenset({"crd.projectcalico.org", "projectcalico.org"})
_ANTREA = "crd.antrea.io"
_AWS = "networking.k8s.aws"
_ADMIN = "policy.networking.k8s.io"
_NO_POLICIES = frozenset({"controlplane.antrea.io", "stats.antrea.io"})
"""Groups in which a maker computes from policies: what its agents get, and statistics."""

_ALL = frozenset({"", "all()"})
_SIDES = "Ingress", "Egress"
_DENIALS = frozenset({"Deny", "Drop", "Reject"})
_OUTSIDE = "from outside the cluster"
_IPV6 = "over IPv6"

_Spec: TypeAlias = Mapping[str, Any]
_Denied: TypeAlias = Iterable[tuple[str, str]]
"""Directions that are denied, each with what is left open in it: nothing, where that is empty."""


@dataclass(frozen=True, slots=True)
class DefaultDeny:
    """A default deny in one namespace, as a NetworkPolicy; `leaves` says of a direction what it does not deny."""

    policy: NetworkPolicy
    leaves: Mapping[str, str] = field(default_factory=dict)


def enforces_nothing(group: str, plural: str) -> bool:
    """Whether a kind only looks like network policies: Calico's staged ones, and what Antrea computes from policies."""
    return group in _NO_POLICIES or (group in _CALICO and plural.startswith("staged"))


def opens_nothing(group: str, policy: OtherPolicy) -> bool:
    """Whether a policy does nothing but deny, so that whatever it selects, no more is open with it than without."""
    if group not in {_ANTREA, _AWS, _ADMIN, *_CALICO}:
        return False
    rules = [rule for side in _SIDES for rule in _rules(policy.spec or {}, side)]
    return bool(rules) and all(rule.get("action") in _DENIALS for rule in rules)


def default_denies(group: str, policy: OtherPolicy, namespaces: Iterable[Namespace]) -> Sequence[DefaultDeny]:
    """A default deny, one in each namespace where it applies; `namespaces` are those that a cluster-wide one may select.

    Empty for any policy that selects only some pods, allows anything, has a field whose effect is not known here, or is of
    another maker.
    """
    spec = policy.spec or {}
    found = []
    for namespace in namespaces:
        if policy.namespace not in ("", namespace.name):
            continue
        try:
            denied = dict(_denied(group, policy, spec, namespace.metadata.labels))
        except msgspec.ValidationError:  # a selector of another shape
            continue
        if denied:
            # A name that no NetworkPolicy has.
            metadata = Metadata(name=f"{group}/{policy.name}", namespace=namespace.name)
            equal = NetworkPolicy(metadata=metadata, spec=NetworkPolicySpec(policy_types=tuple(denied)))
            found.append(DefaultDeny(equal, {side: left for side, left in denied.items() if left}))
    return found


def _denied(group: str, policy: OtherPolicy, spec: _Spec, labels: Mapping[str, str]) -> _Denied:
    if group == _CILIUM:
        return _denied_by_cilium(policy, spec)
    if group in _CALICO:
        return _denied_by_calico(spec)
    if group == _ANTREA:
        return _denied_by_antrea(spec, labels, in_cluster=not policy.namespace)
    if group == _ADMIN or (group == _AWS and not policy.namespace):
        return _denied_by_admin(spec, labels)
    return _denied_by_aws(spec) if group == _AWS else ()


def _rules(spec: _Spec, side: str) -> Sequence[_Spec]:
    return [rule for rule in spec.get(side.lower()) or () if isinstance(rule, dict)]


def _denied_by_cilium(policy: OtherPolicy, spec: _Spec) -> _Denied:
    """The directions that a policy of Cilium denies by default: an empty rule selects no peer, while no rule denies nothing."""
    if policy.specs or not spec.keys() <= {"endpointSelector", "ingress", "egress", "description"}:
        return
    valid = condition(policy.status.conditions, "Valid") if policy.status else None
    if spec.get("endpointSelector") != {} or (valid is not None and valid.status != "True"):
        return
    rules = {side: spec.get(side.lower()) for side in _SIDES}
    if all(rule in (None, [{}]) for rule in rules.values()):
        yield from ((side, "") for side, rule in rules.items() if rule)


def _denied_by_calico(spec: _Spec) -> _Denied:
    """The directions that a policy of Calico denies by default: it selects every workload, and has no rule.

    Only in the tier `default`: what no rule of another tier decides may pass on, by that tier's `defaultAction`.
    """
    known = {"selector", "namespaceSelector", "types", "ingress", "egress", "order", "tier"}
    if not spec.keys() <= known or spec.get("ingress") or spec.get("egress"):
        return
    if spec.get("tier") not in (None, "", "default"):
        return
    if {spec.get("selector") or "", spec.get("namespaceSelector") or ""} <= _ALL:
        yield from ((side, "") for side in _SIDES if side in (spec.get("types") or ("Ingress",)))


def _denied_by_antrea(spec: _Spec, labels: Mapping[str, str], *, in_cluster: bool) -> _Denied:
    """The directions in which a policy of Antrea drops all traffic of every pod: a rule without peers means everyone."""
    applied = [one for one in spec.get("appliedTo") or () if isinstance(one, dict)]
    if not any(_is_applied_to_all(one, labels, in_cluster=in_cluster) for one in applied):
        return
    yield from _denied_by_rules(spec, {"enableLogging", "logLabel"}, lambda side, rule: "" if _unpeered(rule) else None)


def _is_applied_to_all(applied: _Spec, labels: Mapping[str, str], *, in_cluster: bool) -> bool:
    selectors = {"podSelector", "namespaceSelector"} if in_cluster else {"podSelector"}
    if not applied or not applied.keys() <= selectors:
        return False
    return selects_all(_selector(applied.get("podSelector"))) and matches(
        _selector(applied.get("namespaceSelector")), labels
    )


def _unpeered(rule: _Spec) -> bool:
    return not rule.get("from") and not rule.get("to")


def _denied_by_admin(spec: _Spec, labels: Mapping[str, str]) -> _Denied:
    """The directions in which an administrator's policy denies all that its API knows to every pod of its subject.

    Peers of ingress are pods and nothing else. Those of egress are ranges of addresses, too.
    """
    subject = spec.get("subject") or {}
    if not subject or not _has_everyone(subject, labels):
        return
    yield from _denied_by_rules(spec, {"from", "to"}, _left_by_admin)


def _left_by_admin(side: str, rule: _Spec) -> str | None:
    peers = [peer for peer in rule.get("from" if side == "Ingress" else "to") or () if isinstance(peer, dict)]
    if side == "Ingress":
        return _OUTSIDE if any(_is_every_pod(peer) for peer in peers) else None
    networks = {network for peer in peers for network in peer.get("networks") or ()}
    if "0.0.0.0/0" not in networks:
        return None
    return "" if "::/0" in networks else _IPV6


def _is_every_pod(peer: _Spec) -> bool:
    selectors = [peer.get("namespaces"), *(peer.get("pods") or {}).values()]
    return bool(peer) and all(selects_all(_selector(selector)) for selector in selectors)


def _has_everyone(subject: _Spec, labels: Mapping[str, str]) -> bool:
    """Whether a subject has every pod of a namespace with these labels."""
    if (namespaces := subject.get("namespaces")) is not None:
        return matches(_selector(namespaces), labels)
    pods = subject.get("pods") or {}
    return (
        "podSelector" in pods
        and selects_all(_selector(pods["podSelector"]))
        and matches(_selector(pods.get("namespaceSelector")), labels)
    )


def _denied_by_rules(
    spec: _Spec, also_known: set[str], left_open: Callable[[str, _Spec], str | None]
) -> Iterator[tuple[str, str]]:
    """The directions in which one rule denies everything, of a policy that allows nothing.

    `left_open` is None for a rule that does not deny everything, else what it leaves open.
    """
    if any(rule.get("action") not in _DENIALS for side in _SIDES for rule in _rules(spec, side)):
        return
    for side in _SIDES:
        plain = [rule for rule in _rules(spec, side) if rule.keys() <= {"name", "action", *also_known}]
        left = [one for one in (left_open(side, rule) for rule in plain) if one is not None]
        if left:
            yield side, min(left, key=len)


def _denied_by_aws(spec: _Spec) -> _Denied:
    """The directions that an ApplicationNetworkPolicy denies by default: as a NetworkPolicy does, of which it has the form."""
    if (
        not spec.keys() <= {"podSelector", "policyTypes", "ingress", "egress"}
        or spec.get("ingress")
        or spec.get("egress")
    ):
        return
    if "podSelector" in spec and selects_all(_selector(spec["podSelector"])):
        yield from ((side, "") for side in _SIDES if side in (spec.get("policyTypes") or ()))


def _selector(written: object) -> Selector:
    """A selector as it was written; one that was not selects all. Raises ValidationError for another shape."""
    return msgspec.convert({} if written is None else written, Selector)
