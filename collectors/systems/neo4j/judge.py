"""What Neo4j's servers say of themselves, of their databases and doors, and what of them is saved: pure judgements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from collectors.shared.verdicts import collected
from collectors.systems.neo4j.model import (
    DEFAULT_PASSWORD,
    DEFAULT_USER,
    PAUSE,
    Artefact,
    Doors,
    Entry,
    Look,
    Neo4jLimits,
    Tried,
)
from exporter.options import format_duration
from exporter.verdict import ProbeError, Result, failed, unknown, unobserved

__all__ = ["counted", "databases", "default_refused", "doors", "holds", "needless", "saved", "server", "unwise"]


_SKEW = timedelta(minutes=5)
_SUFFIX = r"(-\d{4}-\d{2}-\d{2}.*)?\.(dump|backup)(\.(gz|xz|zst|age|gpg))*"


# -- servers and databases


def server(look: Look, limits: Neo4jLimits) -> Iterator[Result]:
    """What is wrong with one server, as far as it answers itself."""
    address = look.address
    if isinstance(look.latency, ProbeError):
        yield unobserved(look.latency)
    elif look.latency > (limit := limits.max_latency.total_seconds()):
        yield failed(f"Neo4j {address} took {look.latency:.3g} s for RETURN 1 (limit {limit:g} s).")
    elif isinstance(look.routed, ProbeError):
        yield failed(f"Clients that ask {address} for a route (neo4j://) do not reach a writer. {look.routed}")
    if isinstance(look.http, ProbeError):
        yield unobserved(look.http)


def databases(look: Look) -> Iterator[Result]:
    """What is wrong with the databases and servers that one server knows of: all of its cluster's."""
    yield from collected(_databases(look))
    yield from collected(_servers(look))


def _databases(look: Look) -> Iterator[Result]:
    writers: dict[str, int] = {}
    for row in _shown(look):
        name, where = row["name"], row.get("address") or look.address
        status, requested = row.get("currentStatus"), row.get("requestedStatus")
        if status != "online" or requested != "online":
            why = f": {message}" if (message := str(row.get("statusMessage") or "").strip().rstrip(".")) else ""
            yield failed(f"Database {name} is {status} on {where} (wanted online, requested {requested}){why}.")
        if row.get("type") != "composite":  # it has no store of its own to write to
            writers[name] = writers.get(name, 0) + bool(row.get("writer", row.get("role") == "leader"))
    for name, count in writers.items():
        if count != 1:
            yield failed(f"Database {name} has {count} writers (wanted one).")


def _shown(look: Look) -> Sequence[Mapping[str, Any]]:
    """The rows of SHOW DATABASES. Raises ProbeError without any: Enterprise hides the databases that a user has no access to."""
    if isinstance(look.databases, ProbeError):
        raise look.databases
    if not look.databases:
        raise ProbeError(f"Neo4j {look.address} shows this user no database (privilege ACCESS ON DATABASE *).")
    return look.databases


def _servers(look: Look) -> Iterator[Result]:
    """Enterprise alone has SHOW SERVERS."""
    if isinstance(look.servers, ProbeError):
        raise look.servers
    for row in look.servers:
        if row.get("state") != "Enabled" or row.get("health") != "Available":
            told = f"{row.get('state')} and {row.get('health')} (wanted Enabled and Available)"
            yield failed(f"Server {row.get('address') or row.get('name')} of the cluster is {told}.")


# -- authentication


def _restarted(look: Look, tried: Tried) -> bool:
    """Whether the server started again after the try, which makes it forget wrong passwords, and perhaps everything."""
    if look.started is None or tried.at is None:
        return False
    return look.started != tried.started if tried.started else look.started > tried.at


def _initial(look: Look) -> bool:
    """Whether the server says that the password of the user neo4j must be changed, as it does of the default one."""
    return (
        not isinstance(look.user, ProbeError)
        and look.user is not None
        and bool(look.user.get("passwordChangeRequired"))
    )


def holds(look: Look, tried: Tried) -> bool:
    """Whether the default password that was refused still is: the server has not started anew, nor says that it must be changed."""
    again = tried.started is None and _initial(look)  # told from before this process: it may be another server by now
    return tried.entry is Entry.REFUSED and not _restarted(look, tried) and not again


def counted(look: Look, tried: Tried | None, username: str | None) -> int:
    """How many wrong passwords of ours count against the user neo4j.

    They do not lapse with time: three in three days lock the user as three in a row do. The server forgets them when it starts,
    and when the user is let in, as it just was when it is ours.
    """
    return 0 if tried is None or username == DEFAULT_USER or _restarted(look, tried) else tried.wrong


def unwise(look: Look, tried: Tried | None, wrong: int, now: datetime, *, remembers: bool) -> str | None:
    """Why the default password must not be tried now: a wrong one must never be the one that locks the user. None where it may be.

    `remembers` says whether tries are known after a restart of the exporter.
    """
    if isinstance(look.settings, ProbeError):
        return str(look.settings)
    told = look.settings.get("dbms.security.auth_max_failed_attempts")
    if told is None:
        return (
            f"Neo4j {look.address} does not tell dbms.security.auth_max_failed_attempts (privilege SHOW SETTING), so the "
            "default password was not tried: that might lock the user."
        )
    if 0 < (limit := int(told)) <= wrong + 1:
        plural = "s" if limit > 1 else ""
        given = f", of which {min(wrong, limit)} were given" if wrong else ""
        return f"Neo4j {look.address} locks a user after {limit} wrong password{plural}{given}, so the default one was not tried."
    if _initial(look):
        return None  # it may well be the default one, and then it is not counted
    if tried is not None and tried.entry is Entry.REFUSED and tried.at is not None and now < tried.at + PAUSE:
        return f"Neo4j {look.address} was restarted after it had refused the default password, which is tried at most once a day."
    if not remembers:
        return (
            f"The default password was not tried on Neo4j {look.address}: without state.file nobody remembers that, and "
            "tries of several starts would lock the user. The privilege SHOW USER tells whether it was changed."
        )
    return None


def needless(look: Look) -> bool:
    """Whether the server's own word rules the default password out.

    There is no user neo4j, or its first password was changed, and none as short as the default one is allowed.
    """
    if isinstance(look.user, ProbeError) or isinstance(look.settings, ProbeError) or _initial(look):
        return False
    shortest = int(look.settings.get("dbms.security.auth_minimum_password_length", 0))
    return look.user is None or shortest > len(DEFAULT_PASSWORD)


def default_refused(found: Sequence[Doors]) -> str:
    """How it is known that the default password opens no door."""
    moments = [door.default.at for door in found if isinstance(door.default, Tried)]
    tried = [moment for moment in moments if moment is not None]
    if len(tried) < len(moments) or not tried:
        return "by the server's own word the default password was changed"
    return f"the default password is refused (last tried on {min(tried):%Y-%m-%d})"


def doors(address: str, settings: Mapping[str, str] | ProbeError, found: Doors) -> Iterator[Result]:
    """What is wrong with the doors of a server: each has to be closed to who has no credentials, or default ones."""
    if isinstance(found.bolt, ProbeError):
        yield unobserved(found.bolt)
    elif found.bolt is Entry.ACCEPTED:
        yield failed(f"Neo4j {address} runs statements of anybody: Bolt without credentials is accepted.")
    elif found.bolt is not Entry.REFUSED:
        yield unknown(f"Neo4j {address} did not say whether it takes Bolt without credentials: they are {found.bolt}.")
    yield from _http_door(address, settings, found.http)
    yield from _default_password(address, found.default)
    if isinstance(settings, ProbeError):
        yield unobserved(settings)
    elif settings.get("dbms.security.auth_enabled") == "false":
        yield failed(f"Neo4j {address} has dbms.security.auth_enabled set to false.")


def _http_door(
    address: str, settings: Mapping[str, str] | ProbeError, status: int | ProbeError | None
) -> Iterator[Result]:
    if isinstance(status, ProbeError):
        yield unobserved(status)
    elif status is None:
        connectors = ("server.http.enabled", "server.https.enabled")
        if not isinstance(settings, ProbeError) and any(settings.get(name) == "true" for name in connectors):
            yield unknown(f"Neo4j {address} serves HTTP, but its address is not configured, so nobody knocked there.")
    elif status in (200, 201, 202, 400):
        yield failed(f"Neo4j {address} runs statements of anybody: HTTP without credentials is answered {status}.")
    elif status not in (401, 403):
        yield unknown(f"Neo4j {address} answers {status} to HTTP without credentials (wanted 401).")


def _default_password(address: str, tried: Tried | ProbeError | None) -> Iterator[Result]:
    if isinstance(tried, ProbeError):
        yield unobserved(tried)
    elif tried is None:
        return
    elif tried.entry is Entry.EXPIRED:
        yield failed(
            f"Neo4j {address} still has the default password of the user neo4j, which the first login must change."
        )
    elif tried.entry is Entry.ACCEPTED:
        yield failed(f"Neo4j {address} lets in the user neo4j with the password neo4j.")


# -- backups


def saved(looks: Sequence[Look], artefacts: Sequence[Artefact], limits: Neo4jLimits, now: datetime) -> Iterator[Result]:
    """The databases (system too: it holds users and rights) without a dump or backup that is recent and not empty."""
    names: set[str] = set()
    for look in looks:
        try:
            names |= {row["name"] for row in _shown(look) if row.get("type") != "composite"}
        except ProbeError as why:
            yield unobserved(why)
    for name in sorted(names - set(limits.without_backup)):
        yield from _saved(name, artefacts, limits.max_backup_age, now)


def _saved(name: str, artefacts: Sequence[Artefact], max_age: timedelta, now: datetime) -> Iterator[Result]:
    pattern = re.compile(re.escape(name) + _SUFFIX)
    newest = max(
        (artefact for artefact in artefacts if pattern.fullmatch(artefact.name)),
        key=lambda artefact: artefact.written,
        default=None,
    )
    if newest is None:
        yield failed(f"Database {name} has no dump or backup in the folder.")
        return
    age = now - newest.written
    if age > max_age:
        old = format_duration(timedelta(seconds=round(age.total_seconds())))
        yield failed(
            f"The newest backup of database {name} is {old} old (limit {format_duration(max_age)}): {newest.name}."
        )
    if age < -_SKEW:
        yield unknown(
            f"The newest backup of database {name} is dated {newest.written:%Y-%m-%d %H:%M} UTC, in the future."
        )
    if newest.size == 0:
        yield failed(f"The newest backup of database {name} is empty: {newest.name}.")
