"""Every instance that a connection string names, for one run."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from pydantic import SecretStr

from collectors.shared.dsn import Parameters, parse_dsn
from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.model.instance import names
from exporter.verdict import ProbeError, Reason

__all__ = ["Instances"]


@dataclass(frozen=True, slots=True)
class Instances:
    """Each instance that the connection string names, or why it could not be asked."""

    found: tuple[Session | ProbeError, ...]

    @classmethod
    async def open(cls, dsn: SecretStr, timeout: timedelta, resources: AsyncExitStack) -> Self:
        """Connect to all of them at once, each within `timeout`; `resources` closes the connections."""

        async def one(parameters: Parameters) -> Session | ProbeError:
            try:
                session = await Session.open(parameters, timeout)
            except ProbeError as error:
                return error
            resources.push_async_callback(session.close)
            return session

        return cls(tuple(await asyncio.gather(*map(one, parse_dsn(dsn)))))

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
