"""Whether each service signs in to a database as itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from collectors.systems.secrets.model.databases import Client, owners_by_address, service_of, with_credentials
from collectors.systems.secrets.model.stores import Stores
from collectors.systems.secrets.model.workloads import Workload
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import listed

__all__ = ["role_problems", "seen_services", "shared_key_problems", "unseen_problems"]

Services = Mapping[str, tuple[str, ...]]


def shared_key_problems(workloads: Iterable[Workload], services: Services, stores: Stores) -> Iterator[Result]:
    """Keys of Secrets that several services sign in to a database by, and different ones that come from one place of a store."""
    users: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for workload, source in with_credentials(workloads, of_any_store=True):
        users[workload.namespace, source.name, source.key].add(service_of(workload, services))
    origins: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for place, single in users.items():
        if len(single) == 1 and (origin := stores.origin(*place)):
            origins[origin] |= single
    for (kind, _, store, remote, _), several in sorted(origins.items()):
        if len(several) > 1:
            yield failed(
                f"{listed(sorted(several))} sign in to a database by Secrets that are read from the same {remote} of {kind} "
                f"{store}."
            )
    for (namespace, secret, key), found in sorted(users.items()):
        if len(found) > 1:
            yield failed(
                f"{listed(sorted(found))} sign in to a database by the same key {key} of Secret {namespace}/{secret}."
            )


def seen_services(
    clients: Iterable[Client], workloads: Sequence[Workload], services: Services
) -> tuple[dict[str, set[str]], list[Result]]:
    """The services that each role was used by, and what is wrong with single sessions."""
    owners = owners_by_address(workloads)
    used: dict[str, set[str]] = defaultdict(set)
    problems = []
    for client in clients:
        found = {service_of(workload, services) for workload in owners.get(client.address, ())}
        if not found:
            where = f"address {client.address}" if client.address else "a local socket"
            problems.append(
                unknown(
                    f"Role {client.role} is used from {where}, which is that of no pod that was read: a pooler there hides whose "
                    "sessions they are.",
                    reason=Reason.NOT_VERIFIED,
                )
            )
        elif len(found) > 1:
            problems.append(
                unknown(
                    f"Role {client.role} is used from address {client.address}, which {listed(sorted(found))} share.",
                    reason=Reason.NOT_VERIFIED,
                )
            )
        else:
            used[client.role] |= found
            if client.power:
                problems.append(_power_problem(listed(found), client))
            elif client.attributes:
                problems.append(_attribute_problem(listed(found), client))
    return dict(used), problems


def _power_problem(service: str, client: Client) -> Result:
    if client.power == client.role:
        words = f"is connected as the superuser {client.role}"
    elif client.power.startswith("pg_"):
        words = f"is connected as {client.role}, which is a member of {client.power}, as good as a superuser"
    else:
        words = f"is connected as {client.role}, which can become the superuser {client.power}"
    return failed(f"{service} {words}.", reason=Reason.MISCONFIGURED)


_MEANS = {
    "BYPASSRLS": "reads the rows of all tenants",
    "CREATEROLE": "makes roles and changes their passwords",
    "REPLICATION": "copies the entire server",
}


def _attribute_problem(service: str, client: Client) -> Result:
    attributes = client.attributes.split()
    means = listed(f"{_MEANS[one]} ({one})" for one in attributes)
    return failed(
        f"{service} is connected as {client.role}, which {means}, itself or as a role that it can become.",
        reason=Reason.MISCONFIGURED,
    )


def role_problems(database: str, used: Mapping[str, Collection[str]]) -> Iterator[Result]:
    """Roles that several services were seen to use."""
    for role, services in sorted(used.items()):
        if len(services) > 1:
            yield failed(f"{listed(sorted(services))} use the same role {role} of database {database}.")


def unseen_problems(workloads: Iterable[Workload], services: Services, seen: Collection[str]) -> Iterator[Result]:
    """Services that have credentials of a database and were seen on none."""
    wanted = {service_of(workload, services) for workload, _ in with_credentials(workloads)}
    for service in sorted(wanted - set(seen)):
        yield unknown(
            f"{service} has credentials of a database, and was not seen connected to any of `databases`.",
            reason=Reason.PENDING,
        )
