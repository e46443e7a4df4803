"""Which connections of a service a server lists, and the options that say whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field

from exporter.options import Duration, Options

__all__ = ["Connected", "Whose", "idle_clients"]


class Whose(Options):
    """The name that a service gives its connections, and what shows that they live."""

    client_name: str = Field(
        pattern=r"^[!-~](?:[ -~]{0,61}[!-~])?$",
        description="Name that the service gives its connections: `application_name`, `CLIENT SETNAME`, or the NATS client's name.",
    )
    active_within: Duration = Field(
        timedelta(minutes=10), gt=timedelta(0), description="How recently a connection must have been used to count."
    )


@dataclass(frozen=True, slots=True)
class Connected:
    """A server's connections of one service: those that were used lately, and those that were not or whose use is not shown."""

    where: str
    active: int
    other: int = 0


def idle_clients(clients: str, name: str) -> list[timedelta]:
    """For how long each client of this name in Redis's CLIENT LIST has been silent."""
    found = []
    for line in clients.splitlines():
        fields = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        if fields.get("name") == name and fields.get("idle", "").isdigit():
            found.append(timedelta(seconds=int(fields["idle"])))
    return found
