"""Which pods network policies cover, in which direction, and what the policies allow.

A pod that no policy selects for a direction is open in it; one that some policy selects is closed but for what the policies that
select it allow. https://kubernetes.io/docs/concepts/services-networking/network-policies/ says so. Whether the cluster's network
enforces any of it cannot be seen in these objects.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import chain, pairwise

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
from exporter.verdict import ProbeError, Reason, Result, Status, failed, ok, warning
from exporter.words import counted, listed

__all__ = ["Direction", "NetworkPolicyOptions", "covered", "directions", "judge_network_policies"]


_PORTS = 1, 65535
_MOST = 0.99
"""Share of all ports from which those that are left out do not matter."""
_SMALL = 2**-8
"""Share of all addresses below which those that are left out do not matter: 10.0.0.0/8, where pods often are, does."""


class Direction(StrEnum):
    """A direction of traffic, as seen from a pod."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


class NetworkPolicyOptions(Options):
    """What is required of network policies."""

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
    default_denied_by: dict[str, str] = Field(
        default_factory=dict,
        description="Namespace (or pattern) to what denies by default in it other than a NetworkPolicy, such as a "
        "GlobalNetworkPolicy of Calico; its pods then count as covered.",
    )
    other_policies_accepted: str | None = Field(
        None,
        description="Why network policies of other kinds (Cilium, Calico, AdminNetworkPolicy …) do not matter that are neither "
        "default denies nor only deny, and are not judged; without it the line is unknown where there are any.",
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

    What they select depends on the labels that they mention alone, so pods that are the same in those are checked once.
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
        self.together: dict[tuple[str, ...], list[NetworkPolicy]] = {}

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
        candidates = chain(self._others, *(self._demanding.get(pair, ()) for pair in labels.items()))
        found = [policy for policy in candidates if matches(policy.spec.pod_selector, labels)]
        paths = tuple(policy.path for policy in found)
        self.selecting.update(paths)
        self.together[paths] = found
        return frozenset(side for policy in found for side in directions(policy))


def _demanded(selector: Selector) -> list[tuple[str, str]]:
    """Labels of which every pod that is selected has one; empty when there are none such."""
    if selector.match_labels:
        return [next(iter(selector.match_labels.items()))]
    among = next((found for found in selector.match_expressions if found.operator == "In"), None)
    return [(among.key, value) for value in dict.fromkeys(among.values)] if among else []


@dataclass(frozen=True, slots=True)
class _Observed:
    """What was observed in one namespace: its pods, those that are open in each direction, and the policies that select none.

    `together` are the policies that select the same pods.
    """

    pods: int
    labels: Sequence[Mapping[str, str]]
    bare: Mapping[Direction, Sequence[PodGroup]]
    idle: Sequence[NetworkPolicy]
    together: Sequence[Sequence[NetworkPolicy]]


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
    whole: Iterable[Namespace] | None = None,
    everywhere: Iterable[PodGroup] = (),
    others: Mapping[str, int] | None = None,
    closing: Mapping[str, int] | None = None,
    leaving: Mapping[str, Mapping[str, str]] | None = None,
    exempt: Callable[[PodGroup], bool] = lambda pods: False,
) -> Result:
    """Whether in every namespace that is given nothing is open that no policy opened.

    `pods` are those of these namespaces, with those that there would be. `whole` are all namespaces of the cluster and `everywhere`
    all its pods, which peers may select; by default those that are judged. Pods that use the host's network, that have ended, or
    that are `exempt` do not count. `others` are the kinds of policies that are not judged, with how many there are: they may forbid
    or allow what these do not; those of `closing` only forbid. `leaving` has the paths of default denies that leave something open,
    by direction. Raises ProbeError without any namespace, and where there is no pod and none needs a default.
    """
    judged, pods = list(namespaces), list(pods)
    if not (names := [namespace.name for namespace in judged]):
        raise ProbeError("Every namespace is exempt, so nothing was checked.", Reason.NOT_CONFIGURED)
    of_namespace = _by_namespace(policies)
    seen = _look(names, pods, of_namespace, exempt)
    selectable: dict[str, list[Mapping[str, str]]] = {}
    for found in chain(pods, everywhere):
        if found.state.is_live:
            selectable.setdefault(found.namespace, []).append(found.labels)
    all_there = _Whole({one.name: one.metadata.labels for one in (judged if whole is None else whole)}, selectable)
    parts = [
        list(_judge_namespace(name, of_namespace.get(name, ()), seen[name], options, all_there, leaving or {}))
        for name in names
    ]
    # What is open in one namespace comes before what policies of another do not cover.
    problems = [problem for part in parts for problem in part if problem.status is Status.FAILED]
    problems += [problem for part in parts for problem in part if problem.status is not Status.FAILED]
    if not problems and not options.default_deny and not any(found.pods for found in seen.values()):
        raise ProbeError("No pod runs that counts, so what network policies cover was not checked.")
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
    if not there and result.status is Status.FAILED:  # they may close what is open
        there = dict(closing or {})
    if not there:
        return result
    kinds = listed(f"{number} {kind}" for kind, number in there.items())
    if options.other_policies_accepted is not None:
        summary = f"{result.summary} Not judged: {kinds} ({options.other_policies_accepted.rstrip('.')})."
        return Result(result.status, summary, result.measurements, reason=result.reason)
    so_far = "" if result.status is Status.OK else f" NetworkPolicies alone: {result.summary}"
    return Result(
        Status.UNKNOWN,
        f"What is open also depends on {kinds}, which are not judged.{so_far}",
        result.measurements,
        reason=Reason.NOT_CONFIGURED,
    )


def _look(
    names: Sequence[str],
    pods: Iterable[PodGroup],
    of_namespace: Mapping[str, Sequence[NetworkPolicy]],
    exempt: Callable[[PodGroup], bool],
) -> dict[str, _Observed]:
    bare: dict[str, dict[Direction, list[PodGroup]]] = {name: {side: [] for side in Direction} for name in names}
    coverages = {name: _Coverage(of_namespace.get(name, ())) for name in names}
    count = dict.fromkeys(names, 0)
    labels: dict[str, list[Mapping[str, str]]] = {name: [] for name in names}
    for found in pods:
        template, state = found.template, found.state
        namespace = template.namespace
        if (coverage := coverages.get(namespace)) is None or template.spec.host_network:
            continue
        sides = coverage.of(found)  # of those that do not count too: a policy for them is not idle
        if not state.is_live:
            continue
        labels[namespace].append(found.labels)
        if exempt(found):
            continue
        count[namespace] += len(found)
        for side in Direction:
            if side not in sides:
                bare[namespace][side].append(found)
    return {
        name: _Observed(
            count[name],
            labels[name],
            bare[name],
            [policy for policy in of_namespace.get(name, ()) if policy.path not in coverages[name].selecting],
            list(coverages[name].together.values()),
        )
        for name in names
    }


def _judge_namespace(
    name: str,
    policies: Sequence[NetworkPolicy],
    seen: _Observed,
    options: NetworkPolicyOptions,
    whole: _Whole,
    leaving: Mapping[str, Mapping[str, str]],
) -> Iterator[Result]:
    for policy in policies:
        for side in options.directions:
            if side in directions(policy) and policy.path not in options.may_allow_all:
                for what in _opened([policy], side, whole):
                    yield failed(f"NetworkPolicy {policy.path} allows {what}.", reason=Reason.MISCONFIGURED)
    for side in options.directions:
        yield from _opened_together(seen.together, side, options, whole)
    denying = {
        side: [policy.path for policy in policies if _denies(policy, side, seen.labels, whole)]
        for side in options.directions
    }
    open_sides = [side.lower() for side, found in denying.items() if not found]
    denied = any(fnmatchcase(name, pattern) for pattern in options.default_denied_by)
    if options.default_deny and open_sides and not denied:
        yield failed(
            f"Namespace {name} has no network policy that denies {' and '.join(open_sides)} by default.",
            reason=Reason.MISSING,
        )
    for side in options.directions if not denied else ():
        if found := seen.bare[side]:
            workloads = dict.fromkeys("{} {}".format(*alike.workload) for alike in found)
            yield failed(
                f"No network policy covers {side.lower()} of {pods_in(found)} of {counted(seen.pods, 'pod')} in {name}: "
                f"{listed(workloads, 3)}.",
                reason=Reason.MISSING,
            )
    for side, paths in denying.items() if options.default_deny and not denied else ():
        if paths and all(left := [leaving.get(path, {}).get(side) for path in paths]):
            yield warning(f"Namespace {name} denies {side.lower()} by default, but not {left[0]}.")
    if idle := [policy.path for policy in seen.idle if not selects_all(policy.spec.pod_selector)]:
        yield warning(
            f"{counted(len(idle), 'NetworkPolicy', 'NetworkPolicies')} in {name} {'selects' if len(idle) == 1 else 'select'} no "
            f"pod: {listed(idle, 3)}."
        )


def _opened_together(
    sets: Iterable[Sequence[NetworkPolicy]], side: Direction, options: NetworkPolicyOptions, whole: _Whole
) -> Iterator[Result]:
    """Policies none of which opens everything, while all that select the same pods do."""
    reported: set[tuple[str, ...]] = set()
    for found in sets:
        together = [
            policy
            for policy in found
            if side in directions(policy)
            and _rules(policy, side)
            and policy.path not in options.may_allow_all
            and not any(_opened([policy], side, whole))
        ]
        if len(together) < 2 or not any(_opened(together, side, whole)):
            continue
        for policy in tuple(together):  # those that do not matter are not named
            without = [one for one in together if one is not policy]
            if any(_opened(without, side, whole)):
                together = without
        paths = tuple(sorted(policy.path for policy in together))
        if paths not in reported:
            reported.add(paths)
            for what in _opened(together, side, whole):
                yield failed(
                    f"NetworkPolicies {listed(paths)} select the same pods and together allow {what}.",
                    reason=Reason.MISCONFIGURED,
                )


def _denies(policy: NetworkPolicy, side: Direction, labels: Sequence[Mapping[str, str]], whole: _Whole) -> bool:
    """Whether a policy selects all pods, and opens only some of the traffic in this direction, also within the namespace."""
    for rule in _rules(policy, side):
        own = (peer for peer in rule.peers if peer.namespace_selector is None and peer.ip_block is None)
        if not rule.ports and any(_selects_everything(peer.pod_selector or Selector(), labels) for peer in own):
            return False
    return (
        side in directions(policy)
        and _selects_everything(policy.spec.pod_selector, labels)
        and not any(_opened([policy], side, whole))
    )


@dataclass(frozen=True, slots=True)
class _Whole:
    """All that a peer may select: the labels of every namespace, and of the pods of each."""

    namespaces: Mapping[str, Mapping[str, str]]
    pods: Mapping[str, Sequence[Mapping[str, str]]]


def _selects_everything(selector: Selector | None, labels: Iterable[Mapping[str, str]]) -> bool:
    """Whether a selector selects all that there is and whatever comes: an object without labels too."""
    return matches(selector, {}) and all(matches(selector, one) for one in labels)


def _opened(policies: Sequence[NetworkPolicy], side: Direction, whole: _Whole) -> Iterator[str]:
    """What policies of one namespace leave open together: everyone, or every pod of the cluster, on all ports of a protocol."""
    rules = [rule for policy in policies if side in directions(policy) for rule in _rules(policy, side)]
    if not rules:
        return

    def peers(chosen: frozenset[int]) -> list[Peer] | None:
        if any(not rules[number].peers for number in chosen):
            return None
        return [peer for number in sorted(chosen) for peer in rules[number].peers]

    @functools.cache
    def is_everyone(chosen: frozenset[int]) -> bool:
        found = peers(chosen)
        return found is None or _is_everywhere(policies[0], found)

    @functools.cache
    def is_every_pod(chosen: frozenset[int]) -> bool:
        found = peers(chosen)
        return is_everyone(chosen) or (found is not None and _is_every_pod(policies[0], found, whole))

    ports = [tuple(rule.ports or ()) for rule in rules]
    reported: set[str] = set()
    for traffic in _all_traffic(ports, is_everyone):
        reported.add(traffic)
        yield f"all {traffic}{side.lower()}"
    for traffic in _all_traffic(ports, is_every_pod):
        if traffic not in reported and "" not in reported:
            yield f"all {traffic}{side.lower()} {'from' if side is Direction.INGRESS else 'to'} every pod of the cluster"


def _all_traffic(rules: Sequence[tuple[PolicyPort, ...]], is_open: Callable[[frozenset[int]], bool]) -> Iterator[str]:
    """Nothing where all traffic is meant, and the protocols of which all ports are open, or all but a few.

    `rules` are the ports of each rule, none for all; `is_open` says whether the peers of some rules, by number, are all there are.
    """
    always = frozenset(number for number, ports in enumerate(rules) if not ports)
    if always and is_open(always):
        yield ""
        return
    ranges: dict[str, list[tuple[int, int, int]]] = {}
    for number, ports in enumerate(rules):
        for port in ports:
            first, last = _PORTS if port.port is None else (port.port, port.end_port or port.port)
            if isinstance(first, int) and isinstance(last, int):
                ranges.setdefault(port.protocol or "TCP", []).append((first, last, number))
    for protocol, found in ranges.items():
        open_ports = 0
        borders = sorted({border for first, last, _ in found for border in (first, last + 1)})
        for one, beyond in pairwise(borders):
            covering = always | {number for first, last, number in found if first <= one <= last}
            if covering != always and is_open(covering):
                open_ports += beyond - one
        if open_ports >= _MOST * _PORTS[1]:
            yield f"{protocol} "


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of whole numbers (first and last) that together are the same, and do not overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def _is_everywhere(policy: NetworkPolicy, peers: Iterable[Peer]) -> bool:
    """Whether ranges of addresses together are all of IPv4 or of IPv6, or all but less than a /8 of them."""
    ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for block in (peer.ip_block for peer in peers if peer.ip_block):
        network = _network(policy, block.cidr)
        left = [(int(network.network_address), int(network.broadcast_address))]
        for cidr in block.except_:
            taken = _network(policy, cidr)
            first, last = int(taken.network_address), int(taken.broadcast_address)
            left = [
                part
                for one, other in left
                for part in ((one, min(other, first - 1)), (max(one, last + 1), other))
                if part[0] <= part[1]
            ]
        ranges[network.version] += left
    return any(
        sum(last - first + 1 for first, last in _merged(ranges[version])) > (1 - _SMALL) * 2**bits
        for version, bits in ((4, 32), (6, 128))
    )


def _network(policy: NetworkPolicy, cidr: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(cidr, strict=False)
    except ValueError:
        raise ProbeError(
            f"NetworkPolicy {policy.path} names {cidr}, which is no range of addresses.", Reason.MALFORMED
        ) from None


def _is_every_pod(policy: NetworkPolicy, peers: Iterable[Peer], whole: _Whole) -> bool:
    """Whether peers together are all pods of all namespaces, of those that exist now.

    A namespace selector that is not set stands for the policy's own namespace, a pod selector for all pods.
    """
    peers = list(peers)
    if not any(peer.namespace_selector for peer in peers):
        return False  # the policy's own namespace is never all of a cluster
    left = set(whole.namespaces)
    for peer in peers:
        if peer.ip_block is not None:
            continue
        selected = (
            {policy.namespace}
            if peer.namespace_selector is None
            else {name for name in left if matches(peer.namespace_selector, whole.namespaces[name])}
        )
        if peer.pod_selector is not None:
            selected = {name for name in selected if _selects_everything(peer.pod_selector, whole.pods.get(name, ()))}
        left -= selected
    return not left
