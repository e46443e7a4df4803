"""Sentinels: whether they would fail over, and agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from collectors.systems.redis.judge.nodes import why_unfit
from collectors.systems.redis.model import (
    Answers,
    Look,
    NodeAddress,
    RedisLimits,
    Watch,
    each_once,
    quorum,
    role,
    seen,
    watch,
)
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, listed

__all__ = [
    "agreement_problems",
    "detection_problems",
    "electorate_problems",
    "named_master_problems",
    "sentinel_problems",
    "timeout_problems",
]

#: How long one attempt at a failover may take: Sentinel tries again after twice as long.
_ATTEMPT = timedelta(minutes=30)


def sentinel_problems(
    sentinel: Answers, name: str, limits: RedisLimits, wanted_replicas: int, nodes: Sequence[Look] = ()
) -> Iterator[Result]:
    """A Sentinel reaches enough others to decide and to act, takes the master for well, and has a replica that it may promote.

    CKQUORUM counts the Sentinels that it reaches; those that it knows of may long be gone.
    """
    where, known = sentinel.address, watch(sentinel, name)
    able, said, usable = quorum(sentinel, name)
    many = counted(known.sentinels, "Sentinel")
    if not able:
        yield failed(f"Sentinel {where} says {said}: {name} would not fail over.", reason=Reason.LIMIT)
    elif usable < limits.min_sentinels:
        yield failed(
            f"Sentinel {where} reaches {usable} of {many} (wanted {limits.min_sentinels}).", reason=Reason.LIMIT
        )
    if known.down:
        yield failed(f"Sentinel {where} holds the master {known.master} for down.", reason=Reason.DOWN)
    answered = {node.address: node for node in seen(nodes)}
    unfit = [
        why for why in (_passed_over(watched, answered, known, limits) for watched in known.replicas) if why is not None
    ]
    up = len(known.replicas) - len(unfit)
    if up < wanted_replicas:
        because = f": {listed(reasons, most=3)}" if (reasons := [why for why in unfit if why]) else ""
        yield failed(
            f"Sentinel {where} sees {counted(up, 'replica')} that could take over (wanted {wanted_replicas}){because}.",
            reason=Reason.MISSING,
        )
    if able and usable < known.sentinels:
        yield warning(
            f"Sentinel {where} reaches {usable} of {many}: start the others, or let SENTINEL RESET {name} forget them."
        )
    if able and usable - 1 < known.needed:
        yield warning(
            f"Sentinel {where} needs {known.needed} of {many} for a failover (quorum {known.quorum}) and reaches {usable}: "
            "without one more of them nothing fails over."
        )


def _passed_over(
    replica: NodeAddress, answered: Mapping[NodeAddress, Answers], known: Watch, limits: RedisLimits
) -> str | None:
    """Why a Sentinel would not promote a replica: empty where it takes it for down, None where it would promote it."""
    standby, node = known.replicas[replica], answered.get(replica)
    if standby.down:
        return ""
    if standby.priority == 0:
        return f"the replica-priority of {replica} is 0"
    if node is not None:
        return why_unfit(node, answered.get(known.master), limits, cluster=False)
    return None if standby.linked else f"the link of {replica} to its master is down"


def electorate_problems(
    sentinels: Collection[Look], watches: Collection[Watch], limits: RedisLimits
) -> Iterator[Result]:
    """As many Sentinels were asked as there have to be, each under one address, and enough of them act: in TILT they only watch."""
    answered = seen(each_once(sentinels))
    found = len({sentinel.text("run_id") for sentinel in answered})
    tilted = [str(sentinel.address) for sentinel in answered if sentinel.info.get("sentinel_tilt", "0") == "1"]
    needed = max((watch.needed for watch in watches), default=0)
    if tilted:
        left = found - len(tilted)
        verb = "is" if len(tilted) == 1 else "are"
        sentence = (
            f"{len(tilted)} of {counted(found, 'Sentinel')} ({listed(tilted, most=3)}) {verb} in TILT and would start no "
            f"failover, which needs {needed}."
        )
        yield failed(sentence, reason=Reason.DOWN) if left < needed else warning(sentence)
    if found < limits.min_sentinels and all(isinstance(sentinel, Answers) for sentinel in sentinels):
        yield unknown(
            f"`sentinels` leads to {found} distinct {'Sentinel' if found == 1 else 'Sentinels'} "
            f"(wanted {limits.min_sentinels}): name each.",
            reason=Reason.NOT_CONFIGURED,
        )


def detection_problems(watches: Collection[Watch], name: str, limits: RedisLimits) -> Iterator[Result]:
    """A master that is gone is soon held for down, by as many Sentinels as have to agree."""
    if not watches:
        return
    quorum = min(max(watch.quorum for watch in watches), len(watches))
    after = sorted(watch.down_after for watch in watches)[max(quorum, 1) - 1]
    if after > limits.max_detection:
        yield failed(
            f"{name} would have to be gone for {format_duration(after)} before {counted(quorum, 'Sentinel')} "
            f"{'takes' if quorum == 1 else 'take'} it for down (down-after-milliseconds, limit "
            f"{format_duration(limits.max_detection)}).",
            reason=Reason.MISCONFIGURED,
        )
    attempt = max(watch.failover_timeout for watch in watches)
    if attempt > _ATTEMPT:
        yield warning(
            f"A failover of {name} that did not succeed is tried again only after {format_duration(2 * attempt)} "
            f"(failover-timeout is {format_duration(attempt)}, limit {format_duration(_ATTEMPT)})."
        )


def timeout_problems(node: Answers, limits: RedisLimits) -> Iterator[Result]:
    """A node of a cluster soon notices that another one is gone, which CONFIG alone shows."""
    value = node.setting("cluster-node-timeout") or ""
    after = timedelta(milliseconds=int(value) if value.isdecimal() else 0)
    if after > limits.max_detection:
        yield failed(
            f"{node.address} takes a node for down only after {format_duration(after)} (cluster-node-timeout, limit "
            f"{format_duration(limits.max_detection)}).",
            reason=Reason.MISCONFIGURED,
        )


def agreement_problems(watches: Iterable[Watch], name: str) -> Iterator[Result]:
    """All Sentinels name the same master."""
    if len(masters := sorted({watch.master for watch in watches})) > 1:
        yield failed(
            f"The Sentinels disagree on the master of {name}: {' and '.join(map(str, masters))}.",
            reason=Reason.CONTRADICTED,
        )


def named_master_problems(node: Answers) -> Iterator[Result]:
    """The node that the Sentinels name as the master is one."""
    if not role(node).master:
        yield failed(
            f"The Sentinels name {node.address} as the master, but it answers ROLE as a replica.",
            reason=Reason.CONTRADICTED,
        )
