"""What holds of every node, and which of the replicas could take over."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from collectors.shared.verdicts import collected
from collectors.systems.redis.model import (
    Answers,
    Look,
    RedisLimits,
    Unseen,
)
from exporter.verdict import Result, unobserved

__all__ = ["of_each", "why_unfit"]


def of_each(looks: Iterable[Look], judge: Callable[[Answers], Iterable[Result]]) -> list[Result]:
    """What is wrong with any of the nodes; one that could not be asked, or did not answer what is judged, is `unknown`."""
    return [
        problem
        for node in looks
        for problem in ([unobserved(node.why)] if isinstance(node, Unseen) else collected(judge(node)))
    ]


def why_unfit(replica: Answers, master: Answers | None, limits: RedisLimits, *, cluster: bool) -> str | None:
    """Why a replica could not take over, by its own answers; None where it could.

    A master that has just started is given the time in which its replicas come back.
    """
    where = replica.address
    if replica.number("loading"):
        return f"{where} is loading its data"
    if replica.info.get("role") == "master":
        return f"{where} answers as a master"
    if not cluster and replica.number("slave_priority") == 0:
        return f"the replica-priority of {where} is 0"
    if cluster and replica.setting("cluster-replica-no-failover") == "yes":
        return f"cluster-replica-no-failover of {where} is yes"
    if replica.info.get("master_link_status", "up") != "up":
        fresh = master is not None and master.number("uptime_in_seconds") <= limits.replica_grace.total_seconds()
        if not fresh or replica.number("master_link_down_since_seconds") < 0:
            return f"the link of {where} to its master is down"
    return None
