"""What Neo4j's servers say of themselves, of their databases and doors, and what of them is saved: pure judgements."""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from collectors.shared.copies import size_problems
from collectors.shared.re2 import anchored
from collectors.shared.verdicts import collected
from collectors.systems.neo4j.model import (
    DEFAULT_PASSWORDS,
    DEFAULT_USER,
    PAUSE,
    Artefact,
    Doors,
    Entry,
    Knock,
    Look,
    Neo4jLimits,
    Refusing,
    Tried,
)
from exporter.options import format_duration, format_seconds
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted, listed

__all__ = [
    "artefact_problems",
    "database_problems",
    "default_refused",
    "door_problems",
    "holds",
    "index_problems",
    "is_of",
    "lock_problems",
    "needless",
    "saved_problems",
    "server_problems",
    "silence_problem",
    "unwise",
    "wrong_passwords",
]


_SKEW = timedelta(minutes=5)
_SUFFIX = r"(-\d{4}-\d{2}-\d{2}.*)?\.(dump|backup)(\.(gz|xz|zst|age|gpg))*"


# -- servers and databases


def server_problems(look: Look, limits: Neo4jLimits) -> Iterator[Result]:
    """What is wrong with one server, as far as it answers itself."""
    address = look.address
    if isinstance(look.latency, ProbeError):
        yield silence_problem(look.latency)
    elif look.latency > (limit := limits.max_latency.total_seconds()):
        yield failed(
            f"Neo4j {address} took {look.latency:.3g} s for RETURN 1 (limit {limit:g} s).", reason=Reason.LIMIT
        )
    elif isinstance(look.routed, ProbeError):
        yield failed(
            f"Clients that ask {address} for a route (neo4j://) do not reach a writer. {look.routed}",
            reason=Reason.DOWN,
        )
    if isinstance(look.http, ProbeError):
        yield unobserved(look.http)


def silence_problem(why: ProbeError) -> Result:
    """What it means that a statement was not answered: a server that refuses anybody's was observed."""
    return failed(str(why), reason=why.reason) if isinstance(why, Refusing) else unobserved(why)


def database_problems(look: Look, limits: Neo4jLimits) -> Iterator[Result]:
    """What is wrong with the databases and servers that one server knows of: all of its cluster's."""
    yield from collected(_databases(look, limits))
    yield from collected(_servers(look))


def _databases(look: Look, limits: Neo4jLimits) -> Iterator[Result]:
    writers: dict[str, int] = {}
    copies: dict[str, Iterator[Result]] = {}
    for row in _shown(look):
        name, where = row["name"], row.get("address") or look.address
        status, requested = row.get("currentStatus"), row.get("requestedStatus")
        if status != "online" or requested != "online":
            why = f": {message}" if (message := str(row.get("statusMessage") or "").strip().rstrip(".")) else ""
            yield failed(
                f"Database {name} is {status} on {where} (wanted online, requested {requested}){why}.",
                reason=Reason.DOWN,
            )
        elif row.get("type") == "composite":
            continue  # it has no store of its own: what it accesses takes writes or not
        elif row.get("access") == "read-only" and name not in limits.read_only:
            yield failed(
                f"Database {name} takes no writes on {where}: its access is read-only (wanted read-write).",
                reason=Reason.MISCONFIGURED,
            )
        if row.get("type") != "composite":
            writers[name] = writers.get(name, 0) + bool(row.get("writer", row.get("role") == "leader"))
            copies[name] = _copy_problems(name, row)
    for name, count in writers.items():
        if count != 1:
            yield failed(f"Database {name} has {counted(count, 'writer')} (wanted one).", reason=Reason.DOWN)
    for problems in copies.values():
        yield from problems


def _copy_problems(name: str, row: Mapping[str, Any]) -> Iterator[Result]:
    """Whether a database has as many copies as its topology asks for; a server alone shows none that are wanted."""
    for one, many in (("primary", "Primaries"), ("secondary", "Secondaries")):
        has, wanted = row.get(f"current{many}Count"), row.get(f"requested{many}Count")
        if not isinstance(has, int) or not isinstance(wanted, int) or has >= wanted:
            continue
        sentence = f"Database {name} has {has} of {counted(wanted, one, many.lower())}."
        yield failed(sentence, reason=Reason.MISSING) if one == "primary" else warning(sentence)


def _shown(look: Look) -> Sequence[Mapping[str, Any]]:
    """The rows of SHOW DATABASES. Raises ProbeError without any: Enterprise hides the databases that a user has no access to."""
    if isinstance(look.databases, ProbeError):
        raise look.databases
    if not look.databases:
        raise ProbeError(
            f"Neo4j {look.address} shows this user no database (privilege ACCESS ON DATABASE *).", Reason.DENIED
        )
    return look.databases


def _servers(look: Look) -> Iterator[Result]:
    """Enterprise alone has SHOW SERVERS."""
    if isinstance(look.servers, ProbeError):
        raise look.servers
    for row in look.servers:
        if row.get("state") != "Enabled" or row.get("health") != "Available":
            state = f"{row.get('state')} and {row.get('health')} (wanted Enabled and Available)"
            yield failed(
                f"Server {row.get('address') or row.get('name')} of the cluster is {state}.", reason=Reason.DOWN
            )


def index_problems(looks: Sequence[Look]) -> Iterator[Result]:
    """What is wrong with the indexes of each database, by any server that shows them: each has its own copy."""
    for name in sorted({name for look in looks for name in look.indexes}):
        shown = [(look, look.indexes[name]) for look in looks if name in look.indexes]
        answers = [(look.address, rows) for look, rows in shown if not isinstance(rows, ProbeError)]
        if not answers:
            yield from (unobserved(why) for _, why in shown if isinstance(why, ProbeError))
        for address, rows in answers:
            for row in rows:
                yield from _index_problem(name, address, row)


def _index_problem(database: str, address: str, row: Mapping[str, Any]) -> Iterator[Result]:
    index, state, constraint = row.get("name"), row.get("state"), row.get("owningConstraint")
    if state == "ONLINE":
        return
    what = f"Index {index} of database {database} is {state} on {address}"
    if state == "FAILED":
        lost = f"constraint {constraint} refuses writes" if constraint else "no query uses it"
        yield failed(f"{what}: {lost}, until it is dropped and created again.", reason=Reason.DOWN)
    elif constraint:
        yield failed(f"{what}, so constraint {constraint} refuses writes until it is done.", reason=Reason.DOWN)
    else:
        yield warning(f"{what}, {float(row.get('populationPercent') or 0):.0f}% done: no query uses it until then.")


_BLOCKED = re.compile(r"Blocked by: \[([^\]]*)\]")


def lock_problems(look: Look, limits: Neo4jLimits) -> Iterator[Result]:
    """The transactions of one server that have waited too long for locks, the longest first: what they write hangs.

    By default Neo4j lets them wait for ever. Where a user may not see the transactions of others there are none to judge.
    """
    if isinstance(look.transactions, ProbeError):
        yield unobserved(look.transactions)
        return
    known = {str(row.get("transactionId")): row for row in look.transactions}
    waiting = [
        (waited, row, blocked)
        for row in look.transactions
        if (blocked := _BLOCKED.match(str(row.get("status")))) and (waited := _waited(row)) > limits.max_lock_wait
    ]
    for waited, row, blocked in sorted(waiting, key=lambda found: found[0], reverse=True):
        holders = [_holder(name, known.get(name)) for name in blocked[1].replace(" ", "").split(",")]
        yield failed(
            f"Transaction {row.get('transactionId')} on {look.address} has waited {format_seconds(waited)} for a lock of "
            f"{listed(holders, most=2)} (limit {format_duration(limits.max_lock_wait)}): what it writes hangs.",
            reason=Reason.LIMIT,
        )


def _waited(row: Mapping[str, Any]) -> timedelta:
    """How long a transaction has waited for its present lock; `waitTime` has those that it got before as well."""
    resource = row.get("resourceInformation")
    waited = resource.get("waitTimeMillis") if isinstance(resource, Mapping) else None
    return timedelta(milliseconds=waited if isinstance(waited, int) else 0)


def _holder(name: str, row: Mapping[str, Any] | None) -> str:
    """A transaction that holds a lock, with whose it is and for how long it has been open."""
    elapsed = row.get("elapsedTime") if row is not None else None
    if row is None or not isinstance(elapsed, timedelta):
        return name
    return f"{name} (of user {row.get('username') or 'unknown'}, open for {format_seconds(elapsed)})"


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


def holds(look: Look, tried: Tried, user: str = DEFAULT_USER) -> bool:
    """Whether a default password that was refused still is: the server has not restarted, nor says that it must be changed."""
    # A try from before this process: it may be another server by now.
    again = tried.started is None and user == DEFAULT_USER and _initial(look)
    return tried.entry is Entry.REFUSED and not _restarted(look, tried) and not again


def wrong_passwords(look: Look, tried: Tried | None, username: str | None, user: str = DEFAULT_USER) -> int:
    """How many wrong passwords of ours count against the user.

    They do not lapse with time: three in three days lock the user as three in a row do. The server forgets them when it starts,
    and when the user is let in, as it just was when it is ours.
    """
    return 0 if tried is None or username == user or _restarted(look, tried) else tried.wrong


def unwise(
    look: Look, tried: Tried | None, wrong: int, now: datetime, *, remembers: bool, user: str = DEFAULT_USER
) -> str | None:
    """Why a default password must not be tried now: a wrong one must never be the one that locks the user. None where it may be.

    `remembers` says whether tries are known after a restart of the exporter.
    """
    if isinstance(look.settings, ProbeError):
        return str(look.settings)
    attempts = look.settings.get("dbms.security.auth_max_failed_attempts")
    if attempts is None:
        return (
            f"Neo4j {look.address} does not show dbms.security.auth_max_failed_attempts (privilege SHOW SETTING), so the "
            "default password was not tried: that might lock the user."
        )
    if 0 < (limit := int(attempts)) <= wrong + 1:
        of = "" if user == DEFAULT_USER else f" of user {user}"
        given = f", of which {min(wrong, limit)} were given" if wrong else ""
        return (
            f"Neo4j {look.address} locks a user after {counted(limit, 'wrong password')}{given}, so the default one{of} "
            "was not tried."
        )
    if user == DEFAULT_USER and _initial(look):
        return None  # it may well be the default one, and then it is not counted
    if tried is not None and tried.entry is Entry.REFUSED and tried.at is not None and now < tried.at + PAUSE:
        return f"Neo4j {look.address} was restarted after it had refused the default password, which is tried at most once a day."
    if not remembers:
        return (
            f"The default password was not tried on Neo4j {look.address}: without state.file nobody remembers that, and "
            "tries of several starts would lock the user. The privilege SHOW USER shows whether it was changed."
        )
    return None


def needless(look: Look, user: str = DEFAULT_USER) -> bool:
    """Whether the server's own word rules a default password out.

    There is no user neo4j, or its first password was changed, and none as short as the default one is allowed.
    """
    if isinstance(look.user, ProbeError) or isinstance(look.settings, ProbeError):
        return False
    if user == DEFAULT_USER and (look.user is None or _initial(look)):
        return look.user is None
    shortest = int(look.settings.get("dbms.security.auth_minimum_password_length", 0))
    return shortest > len(DEFAULT_PASSWORDS[user])


def default_refused(found: Sequence[Doors]) -> str:
    """How it is known that the default password opens no door."""
    moments = [door.default.at for door in found if isinstance(door.default, Tried)]
    tried = [moment for moment in moments if moment is not None]
    if len(tried) < len(moments) or not tried:
        return "by the server's own word the default password was changed"
    return f"the default password is refused (last tried on {min(tried):%Y-%m-%d})"


def door_problems(
    address: str, settings: Mapping[str, str] | ProbeError, found: Doors, names: Sequence[str] = ("neo4j", "system")
) -> Iterator[Result]:
    """What is wrong with the doors of a server: each has to be closed to who has no credentials, or default ones.

    `names` are its databases.
    """
    if isinstance(found.bolt, ProbeError):
        yield unobserved(found.bolt)
    elif found.bolt is Entry.ACCEPTED:
        yield failed(
            f"Neo4j {address} runs statements of anybody: Bolt without credentials is accepted.",
            reason=Reason.MISCONFIGURED,
        )
    elif found.bolt is not Entry.REFUSED:
        yield unknown(f"Neo4j {address} did not say whether it takes Bolt without credentials: they are {found.bolt}.")
    yield from _http_door(address, settings, found.http)
    yield from _default_password(address, DEFAULT_USER, found.default)
    for user, tried in found.others.items():
        yield from _default_password(address, user, tried)
    if isinstance(settings, ProbeError):
        yield unobserved(settings)
    elif settings.get("dbms.security.auth_enabled") == "false":
        yield failed(f"Neo4j {address} has dbms.security.auth_enabled set to false.", reason=Reason.MISCONFIGURED)
    else:
        yield from _allowlist_problems(address, settings, names)


_CONNECTORS = ("server.http.enabled", "server.https.enabled")
_ALLOWLIST = "dbms.security.http_auth_allowlist"


def _allowlist_problems(address: str, settings: Mapping[str, str], names: Sequence[str]) -> Iterator[Result]:
    """Whether the setting that opens paths to anybody opens those of statements. It is read only when the server starts."""
    if all(settings.get(name) == "false" for name in _CONNECTORS):
        return
    for entry in filter(None, map(str.strip, settings.get(_ALLOWLIST, "").split(","))):
        try:
            matches = anchored(entry)
        except ValueError:
            yield unknown(
                f"Neo4j {address} has {entry} in {_ALLOWLIST}, which cannot be understood.", reason=Reason.MALFORMED
            )
            continue
        # The name of a database leads to it in any case, and a path is matched as it is written.
        spelled = [name for known in names for name in (known, *re.findall(re.escape(known), entry, re.IGNORECASE))]
        paths = [f"/db/{name}/{path}" for name in spelled for path in ("tx/commit", "tx", "tx/1", "tx/1/commit")]
        if opened := [path for path in paths if matches(path)]:
            yield failed(
                f"Neo4j {address} runs statements of anybody at {opened[0]}: {_ALLOWLIST} has {entry}.",
                reason=Reason.MISCONFIGURED,
            )
        elif entry.startswith("/db"):
            yield warning(f"Neo4j {address} asks for no credentials at {entry} ({_ALLOWLIST}).")


def _http_door(
    address: str, settings: Mapping[str, str] | ProbeError, knocks: Sequence[Knock] | ProbeError | None
) -> Iterator[Result]:
    if isinstance(knocks, ProbeError):
        yield unobserved(knocks)
        return
    if knocks is None:
        if not isinstance(settings, ProbeError) and any(settings.get(name) == "true" for name in _CONNECTORS):
            yield unknown(
                f"Neo4j {address} serves HTTP, but its address is not configured, so nobody knocked there.",
                reason=Reason.NOT_CONFIGURED,
            )
        return
    if opened := [knock for knock in knocks if knock.entry is Entry.ACCEPTED]:
        where = listed(knock.path for knock in opened)
        status = opened[0].status
        yield failed(
            f"Neo4j {address} runs statements of anybody: HTTP without credentials is answered {status} at {where}.",
            reason=Reason.MISCONFIGURED,
        )
    for knock in knocks:
        if knock.entry is None:
            yield unknown(
                f"Neo4j {address} answers {knock.status} to HTTP without credentials at {knock.path} (wanted 401).",
                reason=Reason.MALFORMED,
            )


def _default_password(address: str, user: str, tried: Tried | ProbeError | None) -> Iterator[Result]:
    if isinstance(tried, ProbeError):
        yield unobserved(tried)
    elif tried is None:
        return
    elif tried.entry is Entry.EXPIRED:
        yield failed(
            f"Neo4j {address} still has the default password of the user {user}, which the first login must change.",
            reason=Reason.MISCONFIGURED,
        )
    elif tried.entry is Entry.ACCEPTED:
        yield failed(
            f"Neo4j {address} lets in the user {user} with the password {DEFAULT_PASSWORDS[user]}.",
            reason=Reason.MISCONFIGURED,
        )


# -- backups


def saved_problems(
    looks: Sequence[Look], artefacts: Sequence[Artefact], limits: Neo4jLimits, now: datetime
) -> Iterator[Result]:
    """The databases (system too: it holds users and rights) without a dump or backup that is recent and not empty."""
    names: set[str] = set()
    for look in looks:
        try:
            names |= {row["name"] for row in _shown(look) if row.get("type") != "composite"}
        except ProbeError as why:
            yield unobserved(why)
    for name in sorted(names - set(limits.without_backup)):
        yield from artefact_problems(name, artefacts, limits.max_backup_age, now)
        ours = sorted(
            (artefact for artefact in artefacts if is_of(name, artefact.name)),
            key=lambda artefact: artefact.written,
            reverse=True,
        )
        if ours and ours[0].size and not _is_part(ours[0].name):
            kind = _kind(ours[0].name)
            before = [artefact.size for artefact in ours[1:] if _kind(artefact.name) == kind]
            yield from size_problems(f"The newest backup of database {name}", ours[0].size, before)


def _is_part(file: str) -> bool:
    """Whether a backup may hold only what has changed since the one before it: nothing in its name distinguishes these."""
    return ".backup" in PurePosixPath(file).suffixes


def _kind(file: str) -> str:
    """How a file is compressed and encrypted, by the end of its name: its size is compared with those of the same kind."""
    return "".join(re.findall(r"\.(?:dump|gz|xz|zst|age|gpg)(?=\.|$)", file))


def is_of(database: str, file: str) -> bool:
    """Whether a file has the name of a dump or backup of this database."""
    return re.fullmatch(re.escape(database) + _SUFFIX, file) is not None


def artefact_problems(name: str, artefacts: Sequence[Artefact], max_age: timedelta, now: datetime) -> Iterator[Result]:
    """The newest dump or backup of one database, where it is missing, too old, empty or dated in the future."""
    newest = max(
        (artefact for artefact in artefacts if is_of(name, artefact.name)),
        key=lambda artefact: artefact.written,
        default=None,
    )
    if newest is None:
        yield failed(f"Database {name} has no dump or backup in the folder.", reason=Reason.MISSING)
        return
    age = now - newest.written
    if age > max_age:
        old = format_duration(timedelta(minutes=round(age.total_seconds() / 60)))
        yield failed(
            f"The newest backup of database {name} is {old} old (limit {format_duration(max_age)}): {newest.name}.",
            reason=Reason.LIMIT,
        )
    if age < -_SKEW:
        yield unknown(
            f"The newest backup of database {name} is dated {newest.written:%Y-%m-%d %H:%M} UTC, in the future.",
            reason=Reason.CONTRADICTED,
        )
    if newest.size == 0:
        yield failed(f"The newest backup of database {name} is empty: {newest.name}.", reason=Reason.UNMET)
    elif newest.head and not _is_one(newest):
        yield failed(
            f"The newest backup of database {name} is none, by its first bytes: {newest.name}.", reason=Reason.INVALID
        )


#: How files begin, by the end of their names. Dumps are compressed by zstd or gzip; backups of Enterprise were not seen.
_BEGINNINGS: Mapping[str, tuple[bytes, ...]] = {
    ".dump": (b"DZV1", b"DGV1", b"\x1f\x8b"),
    ".gz": (b"\x1f\x8b",),
    ".xz": (b"\xfd7zXZ",),
    ".zst": (b"\x28\xb5\x2f\xfd",),
    ".age": (b"age-encr", b"-----BEG"),
    ".gpg": (b"-----BEG", *(bytes([first]) for first in range(0x80, 0x100))),
}


def _is_one(artefact: Artefact) -> bool:
    """Whether a file begins as its name promises, and so does what is compressed in it, as far as the first bytes show that."""
    path = PurePosixPath(artefact.name)
    beginnings = _BEGINNINGS.get(path.suffix)
    if not (any(artefact.head) if beginnings is None else artefact.head.startswith(beginnings)):
        return False
    inner = _unpacked(path.suffix, artefact.head)
    return inner is None or _is_one(replace(artefact, name=path.stem, head=inner))


def _unpacked(suffix: str, head: bytes) -> bytes | None:
    """What a compressed file begins with; None where that is not known, as of zstd."""
    if suffix not in (".gz", ".xz"):
        return None
    unpack = zlib.decompressobj(_GZIP) if suffix == ".gz" else lzma.LZMADecompressor()
    try:
        content = unpack.decompress(head, _FIRST)
    except (zlib.error, lzma.LZMAError):
        return None
    return content if content or unpack.eof else None


_GZIP, _FIRST = 31, 64
