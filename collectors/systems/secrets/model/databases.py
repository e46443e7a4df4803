"""Sessions on a database, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collectors.systems.secrets.model.rules import is_credential
from collectors.systems.secrets.model.workloads import Source, Workload

__all__ = ["Client", "owners_by_address", "service_of", "with_credentials"]

_OTHER_STORES = ("REDIS", "MONGO", "NEO4J", "MYSQL", "MARIADB", "NATS", "RABBIT", "QDRANT")


@dataclass(frozen=True, slots=True)
class Client:
    """Sessions of one role from one address; an empty one is a local socket.

    `power` is the superuser that the role is or can become, or a role of PostgreSQL's own that counts for as much; empty for none.
    `attributes` are those of the role, or of one that it can become, that are worth more than rights to tables.
    """

    role: str
    address: str
    power: str
    attributes: str = ""


def owners_by_address(workloads: Iterable[Workload]) -> Mapping[str, tuple[Workload, ...]]:
    """The workloads that have a pod at each address: several where pods share the network of their node."""
    found: dict[str, tuple[Workload, ...]] = {}
    for workload in workloads:
        for address in workload.addresses:
            found[address] = (*found.get(address, ()), workload)
    return found


def service_of(workload: Workload, services: Mapping[str, tuple[str, ...]]) -> str:
    """The service that a workload is part of: itself unless `services` says otherwise."""
    path = f"{workload.namespace}/{workload.name}"
    return next((name for name, members in services.items() if path in members), workload.path)


def with_credentials(workloads: Iterable[Workload], *, of_any_store: bool = False) -> list[tuple[Workload, Source]]:
    """The workloads that sign in to a database (that may be PostgreSQL), each with the key of a Secret that it does so by."""
    return [
        (workload, source)
        for workload in workloads
        for name, source in workload.sources
        if source.kind == "Secret"
        and is_credential(name)
        and (of_any_store or not any(store in name.upper() for store in _OTHER_STORES))
    ]
