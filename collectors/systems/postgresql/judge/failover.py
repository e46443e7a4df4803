"""Whether somebody would take over from the primary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.patroni import LEADERS, Member, MemberStatus, PatroniCluster, Report
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_length, listed

__all__ = ["judge_patroni"]


#: Of a member that was not asked.
_ANSWERED = Report(MemberStatus())
#: How long Patroni lets a leader try to start its PostgreSQL by default.
_START = timedelta(minutes=5)


def judge_patroni(
    cluster: PatroniCluster, system_identifier: str, max_lag: int, max_detection: timedelta = timedelta(minutes=2)
) -> Result:
    """Whether Patroni would fail this cluster over by itself, to a standby at most `max_lag` bytes behind, soon enough."""
    leaders = [member for member in cluster.members if member.leads]
    most = min(max_lag, cluster.maximum_lag)
    leader = leaders[0] if leaders else None
    candidates = [member for member in cluster.members if cluster.obstacle(member, leader, most) is None]
    measured: dict[str, Any] = {"failover_candidates": float(len(candidates))}
    good = ok(
        f"Patroni shows leader {leaders[0].name if leaders else 'none'} and {counted(len(candidates), 'standby', 'standbys')} that "
        "could take over.",
        **measured,
    )
    problems = [
        *_problems(cluster, system_identifier, leaders, candidates, most),
        *_delay_problems(cluster, max_detection),
        *_mute_problems(cluster, candidates),
    ]
    return verdict(problems, good)


def _mute_problems(cluster: PatroniCluster, candidates: Sequence[Member]) -> Iterator[Result]:
    """Whether one of those that could take over answers: the consensus store remembers a member that is gone for its `ttl`."""
    mute = [member for member in candidates if cluster.reports.get(member.name, _ANSWERED).status is None]
    if mute and len(mute) == len(candidates):
        names = listed(f"{member.name} ({member.api_url[:100]})" for member in mute)
        yield warning(
            f"Patroni of {names} does not answer: that it could take over is what the consensus store remembers of it."
        )


def _delay_problems(cluster: PatroniCluster, limit: timedelta) -> Iterator[Result]:
    if (ttl := timedelta(seconds=cluster.ttl)) > limit:
        yield failed(
            f"A leader that is gone keeps Patroni's lock for {format_length(ttl)} (ttl, limit {format_duration(limit)}).",
            reason=Reason.MISCONFIGURED,
        )
    if (start := timedelta(seconds=cluster.start_timeout)) > max(limit, _START):
        yield warning(
            f"A leader whose PostgreSQL is gone may try to start it for {format_length(start)} before another one takes over "
            f"(primary_start_timeout, limit {format_duration(max(limit, _START))})."
        )


def _problems(
    cluster: PatroniCluster,
    system_identifier: str,
    leaders: Sequence[Member],
    candidates: Sequence[Member],
    max_lag: int,
) -> Iterator[Result]:
    if cluster.system_identifier != system_identifier:
        yield failed(
            f"Patroni reports cluster {cluster.system_identifier or 'without an identifier'}, not {system_identifier}.",
            reason=Reason.CONTRADICTED,
        )
        return
    if cluster.silence is not None and cluster.silence > cluster.patience:
        yield failed(
            f"Patroni last reached its consensus store {format_length(timedelta(seconds=cluster.silence))} ago "
            f"(limit {cluster.patience:g} seconds): nobody can take over.",
            reason=Reason.DOWN,
        )
        return
    asked = cluster.asked
    if asked.failsafe_mode_is_active:
        yield failed(
            "Patroni is in failsafe mode: its consensus store is not reached, so nobody can take over.",
            reason=Reason.DOWN,
        )
        if not cluster.members:
            return
    elif asked.cluster_unlocked and not cluster.pause:
        yield failed("Nobody holds Patroni's leader lock.", reason=Reason.DOWN)
    for shown in leaders:
        if asked.patroni.name == shown.name and asked.role and asked.role not in LEADERS:
            yield failed(
                f"Patroni shows leader {shown.name}, which reports itself as {asked.role}: the consensus store has no quorum.",
                reason=Reason.CONTRADICTED,
            )
    if cluster.pause:
        yield failed("Patroni is paused: nobody takes over when the leader is lost.", reason=Reason.MISCONFIGURED)
    if not leaders and (standing := [member for member in cluster.members if member.leads_standbys]):
        yield unknown(
            f"Patroni runs a standby cluster here, with standby leader {standing[0].name}: whether the cluster that it follows "
            "would fail over was not checked (option patroni names a member of that one)."
        )
        return
    if len(leaders) != 1:
        yield failed(f"Patroni shows {counted(len(leaders), 'running leader')} (wanted 1).", reason=Reason.DOWN)
    if not candidates:
        needed = "synchronous standby" if cluster.synchronous else "standby"
        leader = leaders[0] if leaders else None
        others = (
            f"{member.name} {cluster.obstacle(member, leader, max_lag)}"
            for member in cluster.members
            if not member.leads
        )
        why = "; ".join(list(others)[:3])
        yield failed(f"Patroni shows no {needed} that could take over{f': {why}' if why else ''}.", reason=Reason.DOWN)
