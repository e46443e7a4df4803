"""Whether every pool finds connections when all are full."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.instance import ConnectionLimit, Connections, Door, Instance
from collectors.systems.postgresql.model.options import ClusterLimits, Pool
from collectors.systems.postgresql.model.pgbouncer import Demand, Pooler
from collectors.systems.postgresql.model.settings import Settings, milliseconds
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_length, listed

__all__ = [
    "IDLE",
    "Capacity",
    "judge_churn",
    "judge_connections",
    "judge_idle_sessions",
    "judge_pools",
    "judge_waits",
]

#: What ends the connections that pools hold (since 14).
IDLE = "idle_session_timeout"
_SHORTEST_IDLE = 60_000
"""In milliseconds."""


def judge_connections(
    where: str,
    connections: Connections,
    bounds: Sequence[ConnectionLimit],
    limits: ClusterLimits,
    roles: Collection[str] = (),
) -> Result:
    """Whether max_connections is as wanted and enough connections are free, also those of databases and roles that have limits.

    A limit of 0 keeps everybody out on purpose; that of a role in `roles`, which applications use, does not.
    """
    bounds = [bound for bound in bounds if bound.most or (bound.kind == "role" and bound.name in roles)]
    good = ok(
        f"{where} uses {connections.used} of {connections.max_connections} connections.",
        connections_used=float(connections.used),
        connections_max=float(connections.max_connections),
    )
    return verdict(_connection_problems(where, connections, bounds, limits), good)


def _connection_problems(
    where: str, connections: Connections, bounds: Sequence[ConnectionLimit], limits: ClusterLimits
) -> Iterator[Result]:
    wanted = limits.max_connections
    least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    kept = f"max_connections {connections.max_connections}, {connections.reserved} reserved"
    seen = f"{where} uses {connections.used} of the {connections.available} connections that applications can get"
    if connections.used >= connections.available:
        yield failed(f"{seen} ({kept}), so applications get no more.", reason=Reason.LIMIT)
    if not least <= connections.max_connections <= most:
        text = f"{least}" if least == most else f"{least} to {most}"
        yield failed(
            f"max_connections of {where} is {connections.max_connections} (wanted {text}).", reason=Reason.MISCONFIGURED
        )
    for bound in bounds:
        if bound.used >= bound.most:
            yield failed(
                f"{bound.kind.capitalize()} {bound.name} of {where} has {bound.used} of {counted(bound.most, 'connection')} in use "
                "(its CONNECTION LIMIT).",
                reason=Reason.LIMIT,
            )
    ratio = limits.connections_warning_ratio
    if ratio * connections.available < connections.used < connections.available:
        yield warning(f"{seen} (limit {ratio:.0%}; {kept}).")
    for bound in bounds:
        if ratio * bound.most < bound.used < bound.most:
            yield warning(
                f"{bound.kind.capitalize()} {bound.name} of {where} has {bound.used} of {counted(bound.most, 'connection')} in use "
                f"(limit {ratio:.0%} of its CONNECTION LIMIT)."
            )


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one instance has for pools."""

    instance: Instance
    connections: Connections


def judge_pools(
    pools: Sequence[Pool],
    poolers: Sequence[Pooler],
    capacities: Sequence[Capacity],
    bounds: Sequence[ConnectionLimit],
    limits: ClusterLimits,
    *,
    database: str,
    processes: int | None = None,
    doors: Sequence[Door] = (),
) -> Result:
    """Whether all pools may be full at once, and clients of PgBouncer get in and on.

    The first of `capacities` is the primary's. `bounds` are the primary's limits for databases and roles, `doors` the databases and
    roles that pools name, `database` the one that pools connect to unless they name another, `processes` how many PgBouncers
    share a port.
    """
    demands = [demand for pooler in poolers for demand in pooler.demands for _ in range(processes or 1)]
    further = sum(pooler.further or 0 for pooler in poolers) * (processes or 1)
    direct = sum(pool.size * pool.replicas for pool in pools)
    primary, *others = capacities
    to_others = {id(other): _sum(demands, other, capacities) for other in others}
    unplaced = [demand for demand in demands if not any(_reaches(demand, capacity) for capacity in capacities)]
    total = direct + further + _sum(demands, primary, capacities) + sum(demand.connections for demand in unplaced)
    good = ok(
        f"The pools may reach {total} of {counted(primary.connections.available, 'connection')}"
        f"{_beside(others, to_others)}.",
        pool_connections=float(total),
    )
    places = len({endpoint.keys for demand in unplaced for endpoint in demand.endpoints})
    problems = _pool_problems(total, further, unplaced if places > 1 or len(unplaced) < len(demands) else [], primary)
    return verdict(
        [
            *problems,
            *_other_problems(others, to_others),
            *_bound_problems(pools, demands, bounds, database),
            *_door_problems(doors),
            *_pooler_problems(poolers, limits, processes),
        ],
        good,
    )


def _reaches(demand: Demand, capacity: Capacity) -> bool:
    return any(endpoint.keys & capacity.instance.endpoints for endpoint in demand.endpoints)


def _sum(demands: Sequence[Demand], capacity: Capacity, capacities: Sequence[Capacity]) -> int:
    return sum(demand.connections for demand in demands if _reaches(demand, capacity))


def _beside(others: Sequence[Capacity], demanded: Mapping[int, int]) -> str:
    used = [
        f"{demanded[id(other)]} of {other.connections.available} of {other.instance.where}"
        for other in others
        if demanded[id(other)]
    ]
    return f", and {listed(used)}" if used else ""


def _pool_problems(total: int, further: int, unplaced: Sequence[Demand], primary: Capacity) -> Iterator[Result]:
    available = primary.connections.available
    if total <= available:
        return
    text = (
        f"The pools may reach {total} connections, but PostgreSQL has {available} for them (max_connections "
        f"{primary.connections.max_connections}, {primary.connections.reserved} kept back)"
    )
    elsewhere = sum(demand.connections for demand in unplaced)
    if elsewhere and total - elsewhere <= available:
        hosts = listed(sorted({endpoint.host for demand in unplaced for endpoint in demand.endpoints}))
        yield unknown(
            f"{text}, if {hosts} leads to the primary: list every instance in the connection string to have that checked."
        )
        return
    yield failed(f"{text}{f'; {further} of them by *' if further else ''}.", reason=Reason.LIMIT)


def _other_problems(others: Sequence[Capacity], demanded: Mapping[int, int]) -> Iterator[Result]:
    for other in others:
        if (wanted := demanded[id(other)]) > other.connections.available:
            yield failed(
                f"The pools to {other.instance.where} may reach {wanted} connections, but it has "
                f"{other.connections.available} for them.",
                reason=Reason.LIMIT,
            )


def _bound_problems(
    pools: Sequence[Pool], demands: Sequence[Demand], bounds: Sequence[ConnectionLimit], database: str
) -> Iterator[Result]:
    for bound in bounds:
        if bound.kind == "database":
            direct = [pool for pool in pools if (pool.database or database) == bound.name]
            wanted = sum(demand.connections for demand in demands if demand.database == bound.name)
        else:
            direct = [pool for pool in pools if pool.role == bound.name]
            wanted = sum(demand.roles.get(bound.name, 0) for demand in demands)
        wanted += sum(pool.size * pool.replicas for pool in direct)
        if wanted > bound.most:
            yield failed(
                f"The pools of {bound.kind} {bound.name} may reach {wanted} connections, but its CONNECTION LIMIT is {bound.most}.",
                reason=Reason.LIMIT,
            )


def _door_problems(doors: Sequence[Door]) -> Iterator[Result]:
    """Pools that get in nowhere fit everywhere, and a name that is misspelled has no limit."""
    for door in doors:
        if not door.opens:
            yield failed(f"Pools use {door.kind} {door.name}, which accepts no connections.", reason=Reason.DOWN)
    for door in doors:
        if not door.known:
            yield unknown(
                f"There is no {door.kind} {door.name}, which pools use, so its CONNECTION LIMIT was not checked.",
                reason=Reason.MISCONFIGURED,
            )
    for door in doors:
        if door.expired:
            yield warning(
                f"The password of role {door.name} has expired: its pools keep the connections that they have, and get no others "
                "by password."
            )


def _pooler_problems(poolers: Sequence[Pooler], limits: ClusterLimits, processes: int | None) -> Iterator[Result]:
    for pooler in sorted(poolers, key=lambda pooler: -pooler.longest_wait):
        if pooler.longest_wait >= 1:
            yield failed(
                f"A client of PgBouncer at {pooler.where} has waited {pooler.longest_wait:.1f} s for a connection "
                f"(limit 1 s).",
                reason=Reason.LIMIT,
            )
    for pooler in poolers:
        yield from _refusal_problems(pooler)
    for pooler in poolers:
        yield from _unseen_problems(pooler, processes)
    for pooler in poolers:
        yield from _doubtful_problems(pooler, limits)
    if waiting := sum(pooler.clients_waiting for pooler in poolers):
        yield warning(f"{counted(waiting, 'client waits', 'clients wait')} in PgBouncer for a connection.")


def _refusal_problems(pooler: Pooler) -> Iterator[Result]:
    """Whether clients get in, and on to a server."""
    for pool, waiting in pooler.unserved.items():
        yield failed(
            f"{counted(waiting, 'client waits', 'clients wait')} at PgBouncer at {pooler.where} for {pool}, to which it has no "
            "connection: its login is refused, or the server is not reached.",
            reason=Reason.DOWN,
        )
    if pooler.stopped:
        yield failed(
            f"PgBouncer at {pooler.where} has paused or disabled {listed(pooler.stopped)}: its clients wait.",
            reason=Reason.DOWN,
        )
    if pooler.most_clients is not None and pooler.clients >= pooler.most_clients:
        yield failed(
            f"PgBouncer at {pooler.where} has {pooler.clients} clients and takes no more (max_client_conn "
            f"{pooler.most_clients}).",
            reason=Reason.LIMIT,
        )


def _unseen_problems(pooler: Pooler, processes: int | None) -> Iterator[Result]:
    """Whether all PgBouncers were asked, each once."""
    if pooler.shared_port and processes is None:
        yield unknown(
            f"PgBouncer at {pooler.where} shares its port with others (so_reuseport), of which one was asked: set option "
            "pgbouncer_processes to how many there are.",
            reason=Reason.NOT_CONFIGURED,
        )
    if pooler.perhaps:
        yield unknown(
            f"PgBouncer at {pooler.where} and at {listed(pooler.perhaps)} may be one or several, as no console lists the exporter "
            "by its own port: one was counted; name each by an address of its own.",
            reason=Reason.CONTRADICTED,
        )


def _doubtful_problems(pooler: Pooler, limits: ClusterLimits) -> Iterator[Result]:
    for pool in pooler.unused:
        yield warning(
            f"PgBouncer at {pooler.where} has served no query of {pool} since it started, though somebody tried: its log shows "
            "whether the server refuses its login."
        )
    ratio, most = limits.connections_warning_ratio, pooler.most_clients
    if most is not None and ratio * most < pooler.clients < most:
        yield warning(
            f"PgBouncer at {pooler.where} has {counted(pooler.clients, 'client')} "
            f"(limit {ratio:.0%} of max_client_conn {most})."
        )


def judge_waits(waits: Mapping[str, float], most: float) -> Result:
    """Whether clients of PgBouncer get a connection at once: `waits` are mean seconds by database, `most` the limit."""
    problems = (
        failed(
            f"Clients of {where} waited {seconds * 1000:.0f} ms on average for a connection (limit {most * 1000:.0f} ms).",
            reason=Reason.LIMIT,
        )
        for where, seconds in sorted(waits.items(), key=lambda wait: -wait[1])
        if seconds > most
    )
    longest = max(waits.values(), default=0.0)
    return verdict(problems, ok("Clients of PgBouncer get a connection at once.", pool_wait_seconds=longest))


#: Fewer new sessions are no sign of anything.
_MIN_SESSIONS = 100
#: Transactions for which a kept connection should be opened once, at the least.
_TRANSACTIONS = 2


def judge_idle_sessions(where: str, settings: Settings) -> Result:
    """Whether the server leaves pools the connections that they hold."""
    problems = (
        warning(
            f"{where} closes connections of {setting.scope('everybody')} that are idle for "
            f"{format_length(timedelta(milliseconds=limit))} ({IDLE}): pools keep them longer."
        )
        for setting in settings.everywhere(IDLE)
        if 0 < (limit := milliseconds(setting.value)) < _SHORTEST_IDLE
    )
    return verdict(problems, ok(f"{where} keeps idle connections."))


def judge_churn(where: str, sessions: float, transactions: float, seconds: float) -> Result:
    """Whether clients keep their connections: `sessions` begun and `transactions` ended within so many seconds."""
    own = max(0.0, transactions - sessions)  # connecting is a transaction, too
    seen = f"Clients of {where} opened {sessions:,.0f} connections for {own:,.0f} transactions"
    if sessions >= _MIN_SESSIONS and sessions * _TRANSACTIONS > own:
        return failed(
            f"{seen} within {format_length(timedelta(seconds=seconds))} (wanted at least {_TRANSACTIONS} transactions for each).",
            reason=Reason.LIMIT,
        )
    return ok(f"{seen}.")
