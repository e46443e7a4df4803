"""What a Neo4j server answers, what its answers mean, and the limits that are put on them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field

from exporter.options import Duration, Options
from exporter.verdict import ProbeError

__all__ = [
    "DEFAULT_PASSWORDS",
    "DEFAULT_USER",
    "PAUSE",
    "Artefact",
    "Doors",
    "Entry",
    "Knock",
    "Look",
    "Neo4jLimits",
    "Refusing",
    "Tried",
    "dated",
]


class Refusing(ProbeError):
    """A server refuses statements of anybody: it has as many transactions, threads or as much of their memory as it takes, or a
    database of it has failed.
    """


#: How long nobody tries the default password again after it was refused.
PAUSE = timedelta(days=1)


DEFAULT_USER = "neo4j"
#: Passwords that documentation and examples name. The first user is there from the beginning, others where SHOW USERS lists them.
DEFAULT_PASSWORDS = {DEFAULT_USER: "neo4j", "admin": "admin"}


class Neo4jLimits(Options):
    """Limits of the section."""

    max_latency: Duration = Field(
        timedelta(seconds=1), gt=timedelta(0), description="How long `RETURN 1` may take, without connecting."
    )
    max_lock_wait: Duration = Field(
        timedelta(minutes=1), gt=timedelta(0), description="How long a transaction may wait for locks of another one."
    )
    certificate_warn: Duration = Field(
        timedelta(days=14), description="Time before a certificate's expiry from which to warn."
    )
    max_backup_age: Duration = Field(
        timedelta(hours=26), gt=timedelta(0), description="How old the newest dump or backup of a database may be."
    )
    without_backup: dict[str, str] = Field(
        default_factory=dict, description="Databases that need no backup, each with the reason."
    )
    read_only: dict[str, str] = Field(
        default_factory=dict, description="Databases that take no writes on purpose, each with the reason."
    )


@dataclass(frozen=True, slots=True)
class Look:
    """What one server shows; ProbeError where it does not.

    `latency` is of a statement on the home database, `routed` of one that a routing table led to (None when that is not looked
    at), `databases` and `servers` are the rows of SHOW DATABASES and SHOW SERVERS (none on Community), `user` that of the user
    neo4j in SHOW USERS (None when there is none) and `others` the names of the other users, `http` the version that the HTTP API
    names (None when its address is not configured), `indexes` are the rows of SHOW INDEXES by database, `certificates` when those
    that it shows expire, by where they are shown, and `transactions` the rows of SHOW TRANSACTIONS.
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
    others: tuple[str, ...] = ()
    indexes: Mapping[str, Sequence[Mapping[str, Any]] | ProbeError] = field(default_factory=dict)
    certificates: Mapping[str, datetime | ProbeError | None] = field(default_factory=dict)
    transactions: Sequence[Mapping[str, Any]] | ProbeError = ()

    @property
    def populated(self) -> tuple[str, ...]:
        """The databases that have indexes of their own and are online, as the server lists them."""
        listed = () if isinstance(self.databases, ProbeError) else self.databases
        standard = (row for row in listed if row.get("type", "standard") == "standard" and row["name"] != "system")
        return tuple(sorted({row["name"] for row in standard if row.get("currentStatus") == "online"}))

    @property
    def names(self) -> tuple[str, ...]:
        """The databases that the server lists; those that each server has where it does not list them."""
        listed = () if isinstance(self.databases, ProbeError) else self.databases
        return tuple(sorted({row["name"] for row in listed} | {"neo4j", "system"}))

    @property
    def started(self) -> datetime | None:
        """When the server started, by its own clock, as its database system shows; of a cluster the server that did so first."""
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
    """What became of who came without credentials, by Bolt and by HTTP, and with default ones; None where nobody knocked.

    `default` is of the user neo4j, `others` are of other users.
    """

    bolt: Entry | ProbeError
    http: Sequence[Knock] | ProbeError | None
    default: Tried | ProbeError | None
    others: Mapping[str, Tried | ProbeError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Knock:
    """A statement that was sent by HTTP without credentials: where, the answer's status, and the server's code for an error."""

    path: str
    status: int
    code: str = ""

    @property
    def entry(self) -> Entry | None:
        """What became of it; None where the answer does not say. A path may be open and refuse the statement itself.

        Of the APIs one may be switched off: what nobody serves takes no statement, whether or not its path is open.
        """
        if self.status in (401, 403) or (self.code.startswith(_SECURITY) and self.code != f"{_SECURITY}Forbidden"):
            return Entry.REFUSED
        if self.status == 404 and self.code == "Neo.ClientError.Request.Invalid":
            return Entry.REFUSED
        if self.code.startswith("Neo.") or self.status in (200, 201, 202, 400):
            return Entry.ACCEPTED
        return None


_SECURITY = "Neo.ClientError.Security."
_DATE = re.compile(r"(\d{4})[-/._]?(\d{2})[-/._]?(\d{2})(?:[T_ -]?(\d{2})[-:.]?(\d{2})[-:.]?(\d{2}))?")


def dated(path: str, copied: datetime) -> datetime:
    """When a backup was taken: the date in its name or its folders (UTC), or `copied`, when the file was written, if earlier.

    A copy is younger than what it is a copy of. A date without a time is the end of its day.
    """
    moments = [copied]
    for found in _DATE.finditer(path):
        year, month, day, *time = (int(part) for part in found.groups(default="-1"))
        try:
            moment = datetime(year, month, day, tzinfo=UTC) + timedelta(days=1)
            if time[0] >= 0:
                moment = datetime(year, month, day, time[0], time[1], time[2], tzinfo=UTC)
            moments.append(moment)
        except ValueError:
            continue  # a number, but no date
    return min(moments)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file in the folder of backups: its name, when it was taken (`dated`), its size in bytes, and how it begins (where read)."""

    name: str
    written: datetime
    size: int
    head: bytes = b""


class Entry(StrEnum):
    """What became of credentials."""

    ACCEPTED = "accepted"
    EXPIRED = "expired"
    """They are right, and must be changed before anything else can be done."""
    REFUSED = "refused"
    LOCKED = "locked"
    """They were not looked at: wrong ones were given too often."""
