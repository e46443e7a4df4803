"""Which pods network policies cover, in which direction, and what the policies allow.

A pod that no policy selects for a direction is open in it; one that some policy selects is closed but for what the policies that
select it allow. https://kubernetes.io/docs/concepts/services-networking/network-policies/ says so. Whether the cluster's network
enforces any of it cannot be seen in these objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import collapse_addresses, ip_network
from itertools import chain
from typing import Any

from pydantic import Field

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.model.objects import (
    EgressRule,
    IngressRule,
    Namespace,
    NetworkPolicy,
    Peer,
    PolicyPort,
    Selector,
)
from collectors.systems.kubernetes.model.pods import PodGroup, PodTemplate, pods_in
from collectors.systems.kubernetes.model.selectors import matches, selects_all
from exporter.options import Options
from exporter.verdict import ProbeError, Result, Status, failed, ok, warning
from exporter.words import counted, listed

__all__ = ["Direction", "NetworkPolicyOptions", "covered", "directions", "judge_network_policies"]


_PORTS = 1, 65535


class Direction(StrEnum):
    """A direction of traffic, as seen from a pod."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


class NetworkPolicyOptions(Options):
    """What is wanted of network policies."""

    directions: tuple[Direction, ...] = Field(
        tuple(Direction), min_length=1, description="Directions that policies have to cover: Ingress, Egress."
    )
    default_deny: bool = Field(
        True, description="Whether every namespace needs a policy that selects all pods and allows nothing."
    )
    may_allow_all: dict[str, str] = Field(
        default_factory=dict,
        description="Policies (namespace/name) that may allow everything, or every pod of the cluster, each with the reason.",
    )
    other_policies_accepted: str | None = Field(
        None,
        description="Why policies of Cilium, Calico or AdminNetworkPolicy, which are not judged, do not matter; without it the "
        "line is unknown where there are any.",
    )


def directions(policy: NetworkPolicy) -> frozenset[str]:
    """The directions that a policy is about: `Ingress` when nothing is said, `Egress` too when it has rules for it."""
    if policy.spec.policy_types:
        return frozenset(policy.spec.policy_types)
    return frozenset(Direction) if policy.spec.egress else frozenset({Direction.INGRESS})


def _rules(policy: NetworkPolicy, direction: Direction) -> Sequence[IngressRule | EgressRule]:
    return (policy.spec.ingress if direction is Direction.INGRESS else policy.spec.egress) or ()


class _Coverage:
    """The policies of one namespace, found by a label that they demand where there is one.

    What they select depends on the labels that they mention alone, so pods alike in those are looked at once.
    """

    def __init__(self, policies: Iterable[NetworkPolicy]) -> None:
        self._demanding: dict[tuple[str, str], list[NetworkPolicy]] = {}
        self._others: list[NetworkPolicy] = []
        mentioned: set[str] = set()
        for policy in policies:
            selector = policy.spec.pod_selector
            mentioned.update(selector.match_labels, (found.key for found in selector.match_expressions))
            for pair in (demanded := _demanded(selector)):
                self._demanding.setdefault(pair, []).append(policy)
            if not demanded:
                self._others.append(policy)
        self._mentioned = sorted(mentioned)
        self._by_labels: dict[tuple[str | None, ...], frozenset[str]] = {}
        self._by_template: dict[PodTemplate, frozenset[str]] = {}
        self.selecting: set[str] = set()

    def of(self, pods: PodGroup) -> frozenset[str]:
        """The directions in which some policy selects the pods."""
        template = pods.template
        if (found := self._by_template.get(template)) is not None:
            return found
        labels = pods.labels
        key = tuple(labels.get(label) for label in self._mentioned)
        if (found := self._by_labels.get(key)) is None:
            found = self._by_labels[key] = self._selected(labels)
        if not any(label in self._mentioned for label, _ in template.own_labels):
            self._by_template[template] = found
        return found

    def _selected(self, labels: Mapping[str, str]) -> frozenset[str]:
        selected: set[str] = set()
        for policy in chain(self._others, *(self._demanding.get(pair, ()) for pair in labels.items())):
            if matches(policy.spec.pod_selector, labels):
                selected |= directions(policy)
                self.selecting.add(policy.path)
        return frozenset(selected)


def _demanded(selector: Selector) -> list[tuple[str, str]]:
    """Labels of which every pod that is selected has one; empty when there are none such."""
    if selector.match_labels:
        return [next(iter(selector.match_labels.items()))]
    among = next((found for found in selector.match_expressions if found.operator == "In"), None)
    return [(among.key, value) for value in dict.fromkeys(among.values)] if among else []


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen in one namespace: its pods, those that are open in each direction, and the policies that select none."""

    pods: int
    bare: Mapping[Direction, Sequence[PodGroup]]
    idle: Sequence[NetworkPolicy]


def covered(pods: Iterable[PodGroup], policies: Iterable[NetworkPolicy]) -> Iterator[tuple[PodGroup, frozenset[str]]]:
    """The pods with the directions in which some policy of their namespace selects them."""
    of_namespace = {name: _Coverage(found) for name, found in _by_namespace(policies).items()}
    nothing: frozenset[str] = frozenset()
    for found in pods:
        coverage = of_namespace.get(found.namespace)
        yield found, coverage.of(found) if coverage else nothing


def _by_namespace(policies: Iterable[NetworkPolicy]) -> dict[str, list[NetworkPolicy]]:
    found: dict[str, list[NetworkPolicy]] = {}
    for policy in policies:
        found.setdefault(policy.namespace, []).append(policy)
    return found


def judge_network_policies(
    namespaces: Iterable[Namespace],
    pods: Iterable[PodGroup],
    policies: Iterable[NetworkPolicy],
    options: NetworkPolicyOptions,
    *,
    others: Mapping[str, int] | None = None,
    exempt: Callable[[PodGroup], bool] = lambda pods: False,
) -> Result:
    """Whether in every namespace that is given nothing is open that no policy opened.

    Pods that use the host's network, that have ended, or that are `exempt` do not count. `others` are the kinds of policies that
    are not judged, with how many there are: they may forbid or allow what these do not. Raises ProbeError without any namespace,
    and where there is no pod and none needs a default.
    """
    if not (names := [namespace.name for namespace in namespaces]):
        raise ProbeError("No namespace is there that is not exempt, so nothing was seen.")
    of_namespace = _by_namespace(policies)
    seen = _look(names, pods, of_namespace, exempt)
    problems: list[Result] = []
    for name in names:
        problems += _judge_namespace(name, of_namespace.get(name, ()), seen[name], options)
    if not problems and not options.default_deny and not any(found.pods for found in seen.values()):
        raise ProbeError("No pod runs that counts, so nothing was seen of what network policies cover.")
    bare = {alike for found in seen.values() for side in options.directions for alike in found.bare[side]}
    total = sum(found.pods for found in seen.values())
    sides = " and ".join(side.lower() for side in options.directions)
    good = ok(
        f"Network policies cover {sides} of every pod ({total}) in {counted(len(names), 'namespace')}"
        f"{' and deny by default' if options.default_deny else ''}.",
        pods_judged=total,
        pods_uncovered=pods_in(bare),
    )
    result = verdict(problems, good)
    there = {kind: number for kind, number in (others or {}).items() if number}
    if not there:
        return result
    told = listed(f"{number} {kind}" for kind, number in there.items())
    if options.other_policies_accepted is not None:
        summary = f"{result.summary} Not judged: {told} ({options.other_policies_accepted.rstrip('.')})."
        return Result(result.status, summary, result.measurements)
    seen_so_far = "" if result.status is Status.OK else f" NetworkPolicies alone: {result.summary}"
    return Result(
        Status.UNKNOWN,
        f"What is open depends also on {told}, whose meaning is not judged.{seen_so_far}",
        result.measurements,
    )


def _look(
    names: Sequence[str],
    pods: Iterable[PodGroup],
    of_namespace: Mapping[str, Sequence[NetworkPolicy]],
    exempt: Callable[[PodGroup], bool],
) -> dict[str, _Seen]:
    bare: dict[str, dict[Direction, list[PodGroup]]] = {name: {side: [] for side in Direction} for name in names}
    coverages = {name: _Coverage(of_namespace.get(name, ())) for name in names}
    count = dict.fromkeys(names, 0)
    for found in pods:
        template, state = found.template, found.state
        namespace = template.namespace
        if (coverage := coverages.get(namespace)) is None or template.spec.host_network:
            continue
        sides = coverage.of(found)  # of those that do not count too: a policy for them is not idle
        if not state.is_live or exempt(found):
            continue
        count[namespace] += len(found)
        for side in Direction:
            if side not in sides:
                bare[namespace][side].append(found)
    return {
        name: _Seen(
            count[name],
            bare[name],
            [policy for policy in of_namespace.get(name, ()) if policy.path not in coverages[name].selecting],
        )
        for name in names
    }


def _judge_namespace(
    name: str, policies: Sequence[NetworkPolicy], seen: _Seen, options: NetworkPolicyOptions
) -> Iterator[Result]:
    open_sides = [side.lower() for side in options.directions if not any(_denies(policy, side) for policy in policies)]
    if options.default_deny and open_sides:
        yield failed(f"Namespace {name} has no network policy that denies {' and '.join(open_sides)} by default.")
    for side in options.directions:
        if found := seen.bare[side]:
            workloads = dict.fromkeys("{} {}".format(*alike.workload) for alike in found)
            yield failed(
                f"No network policy covers {side.lower()} of {pods_in(found)} of {counted(seen.pods, 'pod')} in {name}: "
                f"{listed(workloads, 3)}."
            )
        for policy in policies:
            if side in directions(policy) and policy.path not in options.may_allow_all:
                yield from (failed(f"NetworkPolicy {policy.path} allows {what}.") for what in _opened(policy, side))
    if idle := [policy.path for policy in seen.idle if not selects_all(policy.spec.pod_selector)]:
        yield warning(
            f"{counted(len(idle), 'NetworkPolicy', 'NetworkPolicies')} in {name} select no pod: {listed(idle, 3)}."
        )


def _denies(policy: NetworkPolicy, side: Direction) -> bool:
    """Whether a policy selects all pods and allows nothing in this direction."""
    return side in directions(policy) and selects_all(policy.spec.pod_selector) and not _rules(policy, side)


def _opened(policy: NetworkPolicy, side: Direction) -> Iterator[str]:
    """What the rules of a policy leave open: where one names neither whom nor which ports, or all of them."""
    for rule in _rules(policy, side):
        for traffic in _all_traffic(rule.ports or ()):
            what = f"all {traffic}{side.lower()}"
            if not rule.peers or _everywhere(policy, rule.peers):
                yield what
            elif any(map(_is_every_pod, rule.peers)):
                yield f"{what} {'from' if side is Direction.INGRESS else 'to'} every pod of the cluster"


def _all_traffic(ports: Sequence[PolicyPort]) -> Iterator[str]:
    """Nothing where all traffic is meant, and the protocols of which every port is."""
    if not ports:
        yield ""
    for port in ports:
        if port.port is None or (port.port == _PORTS[0] and port.end_port == _PORTS[1]):
            yield f"{port.protocol or 'TCP'} "


def _everywhere(policy: NetworkPolicy, peers: Iterable[Peer]) -> bool:
    """Whether ranges of addresses together are all that there are, of IPv4 or of IPv6."""
    ranges: dict[int, list[Any]] = {4: [], 6: []}
    for block in (peer.ip_block for peer in peers if peer.ip_block and not peer.ip_block.except_):
        try:
            network = ip_network(block.cidr, strict=False)
        except ValueError:
            raise ProbeError(
                f"NetworkPolicy {policy.path} names {block.cidr}, which is no range of addresses."
            ) from None
        ranges[network.version].append(network)
    return any(network.prefixlen == 0 for found in ranges.values() for network in collapse_addresses(found))


def _is_every_pod(peer: Peer) -> bool:
    """Whether a peer is all pods of all namespaces. A selector that is not set selects all pods of those, or this namespace."""
    return (
        peer.namespace_selector is not None
        and selects_all(peer.namespace_selector)
        and (peer.pod_selector is None or selects_all(peer.pod_selector))
    )
