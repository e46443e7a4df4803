"""Cluster: slots, votes, and who would succeed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from collectors.systems.redis.judge.nodes import why_unfit
from collectors.systems.redis.model import (
    SLOTS,
    Answers,
    ClusterNode,
    Look,
    RedisLimits,
    by_id,
    cluster_nodes,
    owners,
    seen,
    view,
)
from exporter.verdict import ProbeError, Reason, Result, failed, warning
from exporter.words import counted, listed

__all__ = ["cluster_problems", "member_problems", "ownership_problems", "successor_problems"]


def cluster_problems(node: Answers, wanted_replicas: int) -> Iterator[Result]:
    """As this node sees it, every slot is served, every master that serves some has replicas, and enough masters could vote.

    cluster_state alone says ok with slots failed where cluster-require-full-coverage is no.
    Raises ProbeError for a reply that is not of Redis.
    """
    lines = (line.partition(":") for line in node.reply("CLUSTER INFO", str).splitlines())
    fields = {name: value for name, _, value in lines}
    state, served, lost = (fields.get(name, "") for name in ("cluster_state", "cluster_slots_ok", "cluster_slots_fail"))
    if not state or not served.isdecimal() or not lost.isdecimal():
        raise ProbeError(f"{node.address} answered CLUSTER INFO with something else than Redis does.", Reason.MALFORMED)
    if state != "ok":
        yield failed(f"cluster_state is {state[:20]} on {node.address}.", reason=Reason.DOWN)
    if int(served) != SLOTS or int(lost):
        yield failed(
            f"{node.address} sees {served} of {SLOTS} slots served and {lost} failed, with cluster_state {state[:20]}.",
            reason=Reason.DOWN,
        )
    nodes = cluster_nodes(node)
    replicas = Counter(other.master for other in nodes if other.master and not other.dead)
    for master in (other for other in nodes if other.slots and replicas[other.id] < wanted_replicas):
        has = counted(replicas[master.id], "replica")
        yield failed(
            f"Master {master.address} of the cluster has {has} (wanted {wanted_replicas}).", reason=Reason.MISSING
        )
    yield from _vote_problems(nodes, wanted_replicas)
    for other in nodes:
        if not other.joined:
            yield failed(
                f"{node.address} has not completed its handshake with {other.address or 'a node without an address'}, which "
                "is no member of the cluster.",
                reason=Reason.DOWN,
            )
    if moving := [slot for other in nodes for slot in other.moving]:
        yield warning(
            f"{node.address} has {counted(len(moving), 'slot')} that {'is' if len(moving) == 1 else 'are'} migrating or "
            f"importing ({listed(moving)}): finish that, or CLUSTER SETSLOT … STABLE."
        )


def _vote_problems(nodes: Collection[ClusterNode], wanted_replicas: int) -> Iterator[Result]:
    """Masters with slots vote on a promotion, and the majority of all of them has to be there after one has died."""
    voters = [node for node in nodes if node.slots]
    needed, able = len(voters) // 2 + 1, sum(not node.dead for node in voters)
    if wanted_replicas and voters and able - 1 < needed:
        yield failed(
            f"The cluster has {counted(able, 'master')} that {'votes' if able == 1 else 'vote'} of {len(voters)}: when one dies, "
            f"the others are fewer than the {needed} that have to agree before a replica is promoted.",
            reason=Reason.LIMIT,
        )


def ownership_problems(nodes: Collection[Look]) -> Iterator[Result]:
    """All nodes name the same master for each slot: a client is sent from one to the other otherwise."""
    views = [(node, slots) for node in seen(nodes) if (slots := owners(node))]
    named = {other.id: str(other.address) for node, _ in views for other in view(node) if other.address}
    if not views or all(slots == views[0][1] for _, slots in views):
        return
    [(first, whole), *others] = [(node, _by_slot(slots)) for node, slots in views]
    for node, owned in others:
        if differing := [slot for slot in range(SLOTS) if whole[slot] != owned[slot]]:
            slot = differing[0]
            yield failed(
                f"{first.address} and {node.address} disagree on who serves {counted(len(differing), 'slot')}: slot {slot} is "
                f"{_owner(named, whole[slot])} for the one, {_owner(named, owned[slot])} for the other.",
                reason=Reason.CONTRADICTED,
            )


def member_problems(nodes: Collection[Look]) -> Iterator[Result]:
    """All nodes know the same members: one that was forgotten by some, or met by some alone, takes no part in what they decide."""
    known = {node.address: {other.id for other in view(node) if other.joined} for node in seen(nodes)}
    named = {other.id: other for node in seen(nodes) for other in view(node) if other.joined and not other.dead}
    for identity, other in named.items():
        if lacking := [str(address) for address, members in known.items() if members and identity not in members]:
            yield warning(
                f"{listed(lacking, most=3)} {'does' if len(lacking) == 1 else 'do'} not know {other.address}, which "
                "other nodes take for a member of the cluster."
            )


def _by_slot(slots: Mapping[tuple[int, int], str]) -> list[str]:
    found = [""] * SLOTS
    for (first, last), owner in slots.items():
        found[max(first, 0) : last + 1] = [owner] * (min(last, SLOTS - 1) - max(first, 0) + 1)
    return found[:SLOTS]


def _owner(named: Mapping[str, str], identity: str) -> str:
    return f"that of {named.get(identity, identity[:40])}" if identity else "nobody's"


def successor_problems(nodes: Collection[Look], limits: RedisLimits, wanted_replicas: int) -> Iterator[Result]:
    """Each master of the cluster has as many replicas as wanted that could be promoted, by their own answers."""
    answered = by_id(nodes)
    members = {other.id: other for node in seen(nodes) for other in view(node) if other.joined}
    for master in (other for other in members.values() if other.slots):
        replicas = [other for other in members.values() if other.master == master.id and not other.dead]
        reasons = [
            why_unfit(node, answered.get(master.id), limits, cluster=True)
            for other in replicas
            if (node := answered.get(other.id)) is not None
        ]
        unfit = [why for why in reasons if why is not None]
        if len(replicas) - len(unfit) < wanted_replicas <= len(replicas):
            could = counted(len(replicas) - len(unfit), "replica")
            yield failed(
                f"Master {master.address} of the cluster has {could} that could take over (wanted {wanted_replicas}): "
                f"{listed(unfit, most=3)}.",
                reason=Reason.MISSING,
            )
