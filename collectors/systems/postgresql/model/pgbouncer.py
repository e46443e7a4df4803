"""What PgBouncer reports of its pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Demand", "Endpoint", "Pooler"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server as PgBouncer is configured to reach it, and the addresses of that name; without a host a local socket."""

    host: str
    port: int
    addresses: frozenset[str] = frozenset()

    @property
    def keys(self) -> frozenset[tuple[str, int]]:
        """By which two endpoints are known to be one server."""
        return frozenset((name, self.port) for name in (self.host, *self.addresses))


@dataclass(frozen=True, slots=True)
class Demand:
    """What PgBouncer may open at most for one of its databases: to any of `endpoints`, in all and by role."""

    name: str
    database: str
    endpoints: tuple[Endpoint, ...]
    connections: int
    roles: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Pooler:
    """What one PgBouncer may open to its servers at most, and how its clients fare.

    `demands` count every pool (one per database and user seen since it started) at its full size. `further` is the size of the
    pool that it would open for any other database (`*`), None where it would not or that is not known. `stopped` are the databases
    that are paused or disabled. `shared_port` when other processes may serve the same port. `unserved` are how many clients wait in
    pools without any connection to a server; `unused` are pools that somebody tried, of databases of which no query was served.
    `perhaps` are addresses at which it may have been asked again.
    """

    where: str
    demands: tuple[Demand, ...]
    clients_waiting: int
    longest_wait: float
    clients: int = 0
    most_clients: int | None = None
    further: int | None = None
    stopped: tuple[str, ...] = ()
    shared_port: bool = False
    unserved: Mapping[str, int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
