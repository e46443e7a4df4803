"""Every instance that a connection string names, for one run."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Self

from pydantic import SecretStr

from collectors.shared.addresses import resolve
from collectors.shared.dsn import Parameters, parse_dsn
from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.model.instance import names
from exporter.verdict import ProbeError, Reason

__all__ = ["Instances", "addresses_of", "leads_nowhere"]


@dataclass(frozen=True, slots=True)
class Instances:
    """Each instance that the connection string names, or why it could not be asked."""

    found: tuple[Session | ProbeError, ...]

    @classmethod
    async def open(cls, dsn: SecretStr, timeout: timedelta, resources: AsyncExitStack) -> Self:
        """Connect to all of them at once, each within `timeout`; `resources` closes the connections.

        A name may lead to several instances, as that of a headless service does: each of its addresses is asked.
        """

        async def one(parameters: Parameters, address: str | None = None) -> Session | ProbeError:
            try:
                session = await Session.open(parameters, timeout, address)
            except ProbeError as error:
                return error
            resources.push_async_callback(session.close)
            return session

        async def named(parameters: Parameters) -> list[Session | ProbeError]:
            addresses = await addresses_of(parameters)
            if len(addresses) < 2:
                return [await one(parameters)]
            found = await asyncio.gather(*(one(parameters, address) for address in addresses))
            return _distinct(dict(zip(addresses, found, strict=True)))

        return cls(tuple(itertools.chain(*await asyncio.gather(*map(named, parse_dsn(dsn))))))

    @property
    def answering(self) -> list[Session]:
        """Those that answered."""
        return [session for session in self.found if isinstance(session, Session)]

    @property
    def unseen(self) -> list[ProbeError]:
        """Why some could not be asked."""
        return [error for error in self.found if isinstance(error, ProbeError)]

    def seen(self) -> list[Session]:
        """The instances that answered, to a role that sees their statistics.

        Raises ProbeError when none did, or when one hides its statistics: a role without the right gets NULL, not an error.
        """
        sessions = self.answering
        if not sessions:
            raise ProbeError(" ".join(map(str, self.unseen)), self.unseen[0].reason)
        for session in sessions:
            instance = session.instance
            if not instance.identity.may_monitor:
                raise ProbeError(
                    f"Role {instance.role} does not have the rights of pg_monitor on {instance.where}, which therefore hides "
                    f'its statistics: GRANT pg_monitor TO "{instance.role}".',
                    Reason.DENIED,
                )
        return sessions

    def primary(self) -> Session:
        """The primary. Raises ProbeError when none was observed, or more than one."""
        primaries = [session for session in self.seen() if not session.instance.identity.in_recovery]
        if not primaries:
            unseen = map(str, self.unseen)
            raise ProbeError(" ".join(["No primary was found among the instances of the connection string.", *unseen]))
        if len(primaries) > 1:
            where = names(session.instance for session in primaries)
            raise ProbeError(f"{where} are all primaries, so which one counts is not known.", Reason.CONTRADICTED)
        return primaries[0]


async def addresses_of(parameters: Parameters) -> list[str]:
    """Every IP address of the host that these parameters name, of which libpq would take the first that answers.

    None where they name one themselves, or no resolver knows it, which libpq will report.
    """
    host = parameters.get("host", "")
    if not host or host.startswith(("/", "@")) or "hostaddr" in parameters or "service" in parameters:
        return []
    try:
        return await resolve(host, int(parameters.get("port") or 5432))
    except (ProbeError, ValueError):
        return []


#: What this machine says of an address of a family that it does not speak.
_NO_ROUTE = re.compile(r"Network is unreachable|Cannot assign requested address|Address family not supported")


def _distinct(found: Mapping[str, Session | ProbeError]) -> list[Session | ProbeError]:
    """What was found at the addresses of one name, each server once.

    Where one answers, those are left out that lead nowhere from here, and those of this machine that nobody listens on.
    """
    instances: dict[tuple[str, datetime], Session] = {}
    errors: list[Session | ProbeError] = []
    for address, outcome in found.items():
        if isinstance(outcome, Session):
            identity = outcome.instance.identity
            instances.setdefault((identity.system_identifier, identity.started), outcome)
        elif not leads_nowhere(address, str(outcome)):
            errors.append(outcome)
    if not instances:
        return [next(outcome for outcome in found.values() if isinstance(outcome, ProbeError))]
    return [*instances.values(), *errors]


def leads_nowhere(address: str, why: str) -> bool:
    """Whether an address of a name cannot be meant, by why no connection was made: no route from here, or nobody listens here."""
    here = ip_address(address.partition("%")[0]).is_loopback
    return _NO_ROUTE.search(why) is not None or (here and "Connection refused" in why)
