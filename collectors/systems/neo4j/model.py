"""What a Neo4j server answers, what its answers mean, and the limits that are put on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field

from exporter.options import Duration, Options
from exporter.verdict import ProbeError

__all__ = ["DEFAULT_PASSWORD", "DEFAULT_USER", "PAUSE", "Artefact", "Doors", "Entry", "Look", "Neo4jLimits", "Tried"]

#: How long nobody tries the default password again after it was refused.
PAUSE = timedelta(days=1)


DEFAULT_USER = DEFAULT_PASSWORD = "neo4j"  # noqa: S105  # which the documentation names


class Neo4jLimits(Options):
    """Limits of the section."""

    max_latency: Duration = Field(
        timedelta(seconds=1), gt=timedelta(0), description="How long `RETURN 1` may take, without connecting."
    )
    max_backup_age: Duration = Field(
        timedelta(hours=26), gt=timedelta(0), description="How old the newest dump or backup of a database may be."
    )
    without_backup: dict[str, str] = Field(
        default_factory=dict, description="Databases that need no backup, each with the reason."
    )


@dataclass(frozen=True, slots=True)
class Look:
    """What one server tells; ProbeError where it does not.

    `latency` is of a statement on the home database, `routed` of one that a routing table led to (None when that is not looked
    at), `databases` and `servers` are the rows of SHOW DATABASES and SHOW SERVERS (none on Community), `user` that of the user
    neo4j in SHOW USERS (None when there is none), `http` the version that the HTTP API names (None when its address is not
    configured).
    """

    address: str
    edition: str
    latency: float | ProbeError
    routed: float | ProbeError | None
    databases: Sequence[Mapping[str, Any]] | ProbeError
    servers: Sequence[Mapping[str, Any]] | ProbeError
    settings: Mapping[str, str] | ProbeError
    user: Mapping[str, Any] | ProbeError | None
    http: str | ProbeError | None

    @property
    def started(self) -> datetime | None:
        """When the server started, by its own clock, as its database system tells; of a cluster the server that did so first."""
        if isinstance(self.databases, ProbeError):
            return None
        moments = [row.get("lastStartTime") for row in self.databases if row["name"] == "system"]
        return min((moment for moment in moments if isinstance(moment, datetime)), default=None)


@dataclass(frozen=True, slots=True)
class Tried:
    """The last try of the default password.

    `at` is None where it was needless, as the server's own word rules that password out. `wrong` are the wrong ones that count
    against the user since, `started` is when the server did (None when that is not known).
    """

    entry: Entry
    at: datetime | None = None
    wrong: int = 0
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class Doors:
    """What became of who came without credentials, by Bolt and by HTTP, and with the default ones; None where nobody knocked."""

    bolt: Entry | ProbeError
    http: int | ProbeError | None
    default: Tried | ProbeError | None


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file in the folder of backups: its name, when it was last written, and its size in bytes."""

    name: str
    written: datetime
    size: int


class Entry(StrEnum):
    """What became of credentials."""

    ACCEPTED = "accepted"
    EXPIRED = "expired"
    """They are right, and must be changed before anything else can be done."""
    REFUSED = "refused"
    LOCKED = "locked"
    """They were not looked at: wrong ones were given too often."""
