"""The history's SQLite file: opened with distrust, read row by row, set aside where it is damaged. For one thread at a time.

A path in a configuration may lead to a file of another program, one that a disk damaged, one that was exchanged while it was open,
or one that another exporter writes. Each of these is noticed here; `exporter.history` decides when to try again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from exporter.observations import Observation, Remembered, Transition
from exporter.storage import BAD, InUse, Key, moment_of, observation_of, row_of, text_of
from exporter.verdict import Status
from exporter.words import counted, listed

__all__ = ["Database", "Lock", "NotOurs"]

log = logging.getLogger(__name__)

#: What the header of our files says, for `file` and for us: "chkl".
APPLICATION_ID = 0x63686B6C
_VERSION = 3
_SCHEMA = """
create table transitions (
    id integer primary key, at text not null, section text not null, item text not null,
    from_status text, to_status text not null, why text not null);
create index transitions_of_item on transitions (section, item, id);
create index transitions_at on transitions (at);
create table items (
    section text not null, item text not null, status text not null, since text not null, last_ok text,
    primary key (section, item)) without rowid;
create table observations (
    section text not null, item text not null, target text not null, status text not null, summary text not null,
    measurements text not null, valid_until text, at text not null, duration real not null, error integer not null,
    reason text, fingerprint text,
    primary key (section, item, target)) without rowid;
create table set_aside (at text not null, origin text not null, row text not null);
"""
#: What each format lacks of the next one.
_FROM = {
    1: """
alter table observations add column reason text;
create table set_aside (at text not null, origin text not null, row text not null);
""",
    2: "alter table observations add column fingerprint text;",
}
_TABLES = {"transitions", "items", "observations"}
_PRUNE_EVERY = timedelta(hours=1)
#: A clock that was not set yet at the start may be decades behind; a time that is further ahead was never observed.
_AHEAD = timedelta(days=36_525)
_SET_ASIDE_LIMIT = 1000


class NotOurs(sqlite3.OperationalError):
    """The file belongs to another program, or to a newer exporter: it is not written."""


class Lock:
    """Says which exporter writes a history file, and keeps others from it. It is let go when the process ends, however it does."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._file: int | None = None

    def take(self, patience: float = 0.0) -> None:
        """Take it, or raise InUse with the holder after `patience` seconds; OSError where there cannot be one."""
        if self._file is not None:
            if _identity(self._path) == _identity(self._file):
                return
            self.release()
            log.warning("The lock of the history, %s, was deleted or replaced: it is taken again.", self._path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        end = time.monotonic() + patience
        while not self._taken():
            if time.monotonic() >= end:
                raise InUse(f"it is in use by another exporter ({self._holder()})")
            time.sleep(0.1)

    def _taken(self) -> bool:
        if self._path.is_symlink() or (self._path.exists() and not self._path.is_file()):
            raise NotOurs(f"its lock, {self._path.name}, is not a regular file")  # the holder's name is written into it
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        file = os.open(self._path, flags, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{socket.gethostname()} process {os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def _holder(self) -> str:
        with suppress(OSError):
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(file, "rb") as opened:
                return opened.read(200).decode(errors="replace").strip() or "unnamed"
        return "unnamed"

    def release(self) -> None:
        """Let it go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Database:
    """The file at `path`: a Storage. Transitions and items older than `keep` are forgotten; `now` gives the time."""

    troubles: tuple[type[Exception], ...] = (sqlite3.Error, OSError, InUse, ValueError, OverflowError)
    pace = 0.05

    def __init__(self, path: Path, *, keep: timedelta = timedelta(days=90), now: Callable[[], datetime]) -> None:
        self.path = path
        self.title = f"History file {path}"
        self.lock = Lock(path)
        self.fresh = False
        self.notice: Callable[[str], None] = log.error
        self._keep = keep
        self._now = now
        self._connection: sqlite3.Connection | None = None
        self._identity: object = None
        self._size = 0
        self._logs: set[object] = set()
        self._pruned_at: datetime | None = None

    # -- opening

    def open(self, patience: float) -> None:
        """Take the lock, or raise InUse with its holder after `patience` seconds; NotOurs where the lock is no file."""
        with suppress(OSError):  # connecting says what matters of it
            self.lock.take(patience)

    def connect(self) -> sqlite3.Connection:
        """The open file; raises sqlite3.Error, OSError or InUse when it cannot be used."""
        self._take_lock()
        if self._connection is not None:
            if _identity(self.path) == self._identity:
                size = self.path.stat().st_size
                if size >= self._size:  # it never shrinks by itself
                    self._size = size
                    return self._connection
                self._disconnect()
                self._set_aside(sqlite3.DatabaseError(f"it was cut off at {size} of {self._size} bytes"))
                return self.connect()
            # SQLite would take the log of the file that is gone for that of the file that stands there now.
            logs = {file: _identity(file) for file in self._beside()}
            self._disconnect()
            for file, known in logs.items():
                if known in self._logs and _identity(file) == known:
                    file.unlink(missing_ok=True)
            self.notice(
                f"History file {self.path} was deleted or replaced while it was open: a new one is written, "
                "and transitions up to now are lost where they were not copied."
            )
            self.fresh = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = self._open()
        except sqlite3.OperationalError:
            raise  # locked, forbidden, read-only, not ours: the file itself may be sound
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            self._connection = self._open()
        self._identity = _identity(self.path)
        self._size = 0
        self._logs = {_identity(file) for file in self._beside()} - {None}
        return self._connection

    def _beside(self) -> list[Path]:
        """The log of the file, and the log's index."""
        return [self.path.with_name(self.path.name + suffix) for suffix in ("-wal", "-shm")]

    def _take_lock(self) -> None:
        try:
            self.lock.take()
        except OSError as error:  # no folder, a file system without locks: opening the file says what matters of it
            log.debug("No lock for %s: %s.", self.path, error.strerror)

    def _set_aside(self, error: Exception) -> None:
        """Keep a damaged file under another name, for somebody to look at."""
        aside = self.path.with_name(f"{self.path.name}.corrupt-{self._now():%Y%m%dT%H%M%S}")
        self.path.rename(aside)
        for file in self._beside():
            file.unlink(missing_ok=True)
        self.fresh = True
        self.notice(f"History file {self.path} is damaged ({error}): it was set aside as {aside.name}.")

    def _open(self) -> sqlite3.Connection:
        if self.path.exists() and not self.path.is_file():
            raise NotOurs("it is not a regular file")
        if self.path.exists() and self.path.stat().st_size:
            self._recognise()
        database = sqlite3.connect(self.path, timeout=1, isolation_level=None, check_same_thread=False)
        try:
            database.text_factory = _decoded
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = normal")  # survives SIGKILL; a power cut may cost the last moments
            version = database.execute("pragma user_version").fetchone()[0]
            if version < _VERSION:
                with transaction(database):
                    missing = "".join(_FROM[known] for known in range(version, _VERSION)) if version else _SCHEMA
                    for statement in missing.split(";"):
                        database.execute(statement)
                    database.execute(f"pragma application_id = {APPLICATION_ID}")
                    database.execute(f"pragma user_version = {_VERSION}")
            if version:
                _check(database)
        except BaseException:
            database.close()
            raise
        return database

    def _recognise(self) -> None:
        """Raise NotOurs, before anything is written, for a file that another program or a newer exporter made."""
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as database:
            application = database.execute("pragma application_id").fetchone()[0]
            version = database.execute("pragma user_version").fetchone()[0]
            tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
        if application not in (0, APPLICATION_ID):
            raise NotOurs(f"it belongs to another program (application id {application:#x})")
        if version > _VERSION:
            raise NotOurs(f"it was written by a newer version (format {version}, known {_VERSION})")
        if tables and not (version and tables >= _TABLES):
            raise NotOurs("it is a database of another program")

    # -- reading

    def load(self) -> dict[Key, Remembered]:
        """What was known of every item when the file was last written. Rows that make no sense are set aside."""
        database = self.connect()
        latest = self._now() + _AHEAD
        observations: dict[Key, dict[str, Observation]] = {}
        items: dict[Key, Remembered] = {}
        bad: list[tuple[str, tuple[Any, ...]]] = []
        for row in _rows(database, "select * from observations"):
            try:
                section, item, target = map(text_of, row[:3])
                seen = observation_of(row[3:], latest)
            except BAD:
                bad.append(("observations", row))
            else:
                observations.setdefault((section, item), {})[target] = seen
        for row in _rows(database, "select section, item, status, since, last_ok from items"):
            try:
                section, item = map(text_of, row[:2])
                known = Status(row[2]), moment_of(row[3], latest), moment_of(row[4], latest) if row[4] else None
            except BAD:
                bad.append(("items", row))
            else:
                items[section, item] = Remembered(*known, observations.get((section, item), {}))
        self._set_rows_aside(database, bad)
        return items

    def _set_rows_aside(self, database: sqlite3.Connection, bad: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        if not bad:
            return
        keys = {"observations": ("section", "item", "target"), "items": ("section", "item"), "transitions": ("id",)}
        at = text_of_moment(self._now())
        with transaction(database):
            for origin, row in bad:
                names = keys[origin]
                where = " and ".join(f"{name} is ?" for name in names)
                database.execute(f"delete from {origin} where {where}", row[: len(names)])  # noqa: S608  # names of ours
                database.execute("insert into set_aside values (?, ?, ?)", (at, origin, repr(row)[:10_000]))
            database.execute(
                "delete from set_aside where rowid <= (select max(rowid) from set_aside) - ?", (_SET_ASIDE_LIMIT,)
            )
        places = listed(f"{origin} {'.'.join(map(str, row[: len(keys[origin])]))[:100]}" for origin, row in bad)
        self.notice(
            f"{counted(len(bad), 'row')} of history file {self.path} could not be understood and were moved to "
            f"its table set_aside: {places}."
        )

    def newest(self, section: str | None, item: str | None, limit: int) -> tuple[list[Transition], list[Any]]:
        """The newest transitions, newest first, and the ids of those that make no sense. May be called from any thread."""
        found: list[Transition] = []
        bad = []
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as database:
            database.text_factory = _decoded
            rows = database.execute(
                "select id, section, item, from_status, to_status, at, why from transitions"
                " where (:section is null or section = :section) and (:item is null or item = :item)"
                " order by id desc limit :limit",
                {"section": section, "item": item, "limit": limit},
            )
            for number, of_section, of_item, before, after, at, why in rows:
                try:
                    names = text_of(of_section), text_of(of_item)
                    statuses = Status(before) if before else None, Status(after)
                    found.append(Transition(*names, *statuses, moment_of(at, None), text_of(why)))
                except BAD:
                    bad.append(number)
        return found, bad

    # -- writing

    def save(self, transitions: Sequence[Transition], kept: Mapping[Key, Remembered], bad: Iterable[Any]) -> None:
        """Write these in one go: a row for each transition, for each item, and for each target that was checked."""
        database = self.connect()
        ids = list(dict.fromkeys(bad))
        rows = [row for number in ids for row in _rows(database, "select * from transitions where id is ?", (number,))]
        self._set_rows_aside(database, [("transitions", row) for row in rows])
        with transaction(database):
            database.executemany(
                "insert into transitions (at, section, item, from_status, to_status, why) values (?, ?, ?, ?, ?, ?)",
                [(text_of_moment(t.at), t.section, t.item, t.from_status, t.to_status, t.why) for t in transitions],
            )
            # Where the file could not be read at the start, it still knows when an item was last ok.
            database.executemany(
                "insert into items values (?, ?, ?, ?, ?) on conflict do update set status = excluded.status,"
                " since = excluded.since, last_ok = coalesce(excluded.last_ok, last_ok)",
                [
                    (*key, one.status, text_of_moment(one.since), text_of_moment(one.last_ok))
                    for key, one in kept.items()
                ],
            )
            database.executemany(
                "insert or replace into observations values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*key, target, *_row(seen)) for key, one in kept.items() for target, seen in one.observations.items()],
            )
            self._prune(database)

    def _prune(self, database: sqlite3.Connection) -> None:
        now = self._now()
        if self._pruned_at is not None and _PRUNE_EVERY > now - self._pruned_at > -_PRUNE_EVERY:
            return
        self._pruned_at = now
        _check(database)  # what a disk damages while it is open
        oldest = text_of_moment(now - self._keep)
        database.execute("delete from transitions where at < ?", (oldest,))
        database.execute("delete from observations where at < ?", (oldest,))
        database.execute(
            "delete from items where not exists (select 1 from observations as o"
            " where o.section = items.section and o.item = items.item)"
        )

    def check(self) -> None:
        """Look whether the file is still there, and ours. Raises InUse, NotOurs, and what SQLite and the system raise."""
        self.connect()

    def failed(self, error: Exception) -> None:
        """After an error: have the file opened again, and checked, where that may outlive the error's cause."""
        if _outlives_its_cause(error):
            self._disconnect()

    def close(self) -> None:
        """Close the file, for another exporter to have it."""
        self._disconnect()
        self.lock.release()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _outlives_its_cause(error: Exception) -> bool:
    """Whether the file has to be opened again: to check it and set it aside when it is damaged, to write when it was read-only.

    SQLite opens a file for reading alone where it cannot write it, and never tries again.
    """
    if not isinstance(error, sqlite3.OperationalError):
        return isinstance(error, sqlite3.DatabaseError)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
    )


def _check(database: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError where the file is damaged."""
    if (found := database.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(found)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    database.execute("begin immediate")
    try:
        yield
        database.execute("commit")
    except BaseException:
        if database.in_transaction:
            database.execute("rollback")
        raise


def _identity(file: Path | int) -> object:
    """What tells a file from another one at the same path; None when there is none."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _rows(database: sqlite3.Connection, select: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    with closing(database.execute(select, values)) as rows:
        yield from rows


def _decoded(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _row(seen: Observation) -> tuple[object, ...]:
    status, summary, measurements, valid_until, at, *rest = row_of(seen)
    return status, summary, measurements, text_of_moment(valid_until), text_of_moment(at), *rest


def text_of_moment(moment: datetime | None) -> str | None:
    """A time as the file has it, in an order that SQLite can compare."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else None
