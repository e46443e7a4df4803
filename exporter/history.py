"""Transitions and last observations on disk (SQLite, write-ahead log), so that a restart loses nothing that was shown."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exporter.state import Observation, Remembered, Transition
from exporter.threads import Stuck, Threads
from exporter.verdict import Result, Status

__all__ = ["History"]

log = logging.getLogger(__name__)

_VERSION = 1
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
    primary key (section, item, target)) without rowid;
"""
#: Waiting longer than this for a disk holds up verification.
_PATIENCE_SECONDS = 5.0
#: Transitions kept in memory while the disk refuses them; about a day of an unstable environment.
_PENDING_LIMIT = 10_000
_PRUNE_EVERY = timedelta(hours=1)

Seen = dict[tuple[str, str], Remembered]


class History:
    """An archive for State, in a SQLite file (in memory when `path` is None).

    Trouble with the disk is logged once, told by `trouble`, and never stops verification: what could not be written is
    kept (bounded) and written as soon as it can be. A file that is no sound database is set aside beside itself.
    Transitions and items older than `keep` are forgotten.
    """

    def __init__(self, path: Path | None, *, keep: timedelta = timedelta(days=90), now: Callable[[], datetime]) -> None:
        self._path = path
        self._keep = keep
        self._now = now
        self._threads = Threads(places=1)
        self._lock = asyncio.Lock()
        self._database: sqlite3.Connection | None = None
        self._pending: list[Transition] = []
        self._unsaved: Seen = {}
        self._pruned_at: datetime | None = None
        self.trouble: str | None = None

    @property
    def lasts(self) -> bool:
        """Whether it outlives the process."""
        return self._path is not None

    # -- opening

    def _connect(self) -> sqlite3.Connection:
        """The open database; raises sqlite3.Error or OSError when it cannot be used."""
        if self._database is not None:
            return self._database
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = self._open()
        except sqlite3.OperationalError:
            raise  # locked, forbidden, read-only: the file itself may be sound
        except sqlite3.DatabaseError as error:
            if self._path is None:
                raise
            self._set_aside(self._path, error)
            self._database = self._open()
        return self._database

    def _set_aside(self, path: Path, error: Exception) -> None:
        """Keep a damaged file under another name, for somebody to look at."""
        aside = path.with_name(f"{path.name}.corrupt-{self._now():%Y%m%dT%H%M%S}")
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        log.error("History file %s is damaged (%s): it was set aside as %s.", path, error, aside.name)

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path or ":memory:", timeout=1, isolation_level=None, check_same_thread=False)
        try:
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = normal")  # survives SIGKILL; a power cut may cost the last moments
            version = database.execute("pragma user_version").fetchone()[0]
            if version > _VERSION:
                raise sqlite3.OperationalError(
                    f"it was written by a newer version (format {version}, known {_VERSION})"
                )
            if version == 0:
                with _transaction(database):
                    for statement in _SCHEMA.split(";"):
                        database.execute(statement)
                    database.execute(f"pragma user_version = {_VERSION}")
            elif (found := database.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(found)
        except BaseException:
            database.close()
            raise
        return database

    def _report(self, doing: str, error: Exception) -> None:
        reason = str(error).rstrip(".") or "the disk did not answer in time"
        message = f"History file {self._path} cannot be {doing}: {reason}."
        if message != self.trouble:
            log.error("%s Verification goes on, history is kept in memory.", message)
        self.trouble = message

    def _recovered(self) -> None:
        if self.trouble is not None:
            log.info("History file %s can be used again.", self._path)
        self.trouble = None

    # -- reading

    def load(self) -> Mapping[tuple[str, str], Remembered]:
        """What was known of every item when the file was last written; nothing when it cannot be read."""
        try:
            try:
                return _load(self._connect())
            except ValueError as error:  # sound as a database, but what stands in it was never written by us
                self._close()
                if self._path is not None:
                    self._set_aside(self._path, error)
                return _load(self._connect())
        except (sqlite3.Error, OSError) as error:
            self._report("read", error)
            return {}

    async def transitions(
        self, *, section: str | None = None, item: str | None = None, limit: int = 100
    ) -> list[Transition]:
        """The newest transitions, newest first, of all items or those of one section or item."""
        pending = [
            transition
            for transition in reversed(self._pending)
            if section in (None, transition.section) and item in (None, transition.item)
        ]
        found: list[Transition] = []
        async with self._lock:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    found = await self._threads.run("history", lambda: _newest(self._connect(), section, item, limit))
            except (sqlite3.Error, OSError, ValueError, Stuck) as error:  # TimeoutError is an OSError
                self._report("read", error)
        return (pending + found)[:limit]

    # -- writing

    async def write(self, transitions: Sequence[Transition], seen: Iterable[tuple[str, str, Remembered]]) -> None:
        """Keep these: on disk when it returns, unless there is trouble with the disk."""
        self._pending.extend(transitions)
        self._unsaved.update({(section, item): remembered for section, item, remembered in seen})
        if not self._pending and not self._unsaved:
            return
        async with self._lock:
            pending, unsaved, loop = list(self._pending), dict(self._unsaved), asyncio.get_running_loop()
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._threads.run("history", lambda: self._saved(pending, unsaved, loop))
            except (sqlite3.Error, OSError, Stuck) as error:
                self._report("written", error)
                del self._pending[:-_PENDING_LIMIT]
                return
            self._recovered()

    def _saved(self, pending: list[Transition], unsaved: Seen, loop: asyncio.AbstractEventLoop) -> None:
        """Save these, and have them forgotten here also when nobody waits for it any more: they are not to be saved twice."""
        try:
            self._save(pending, unsaved)
        except sqlite3.Error as error:
            if _outlives_its_cause(error):
                self._close()
            raise
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._forget, pending, unsaved)

    def _forget(self, pending: list[Transition], unsaved: Seen) -> None:
        saved = set(map(id, pending))
        self._pending = [transition for transition in self._pending if id(transition) not in saved]
        for key, remembered in unsaved.items():
            if self._unsaved.get(key) is remembered:
                del self._unsaved[key]

    def _save(self, pending: list[Transition], unsaved: Seen) -> None:
        database = self._connect()
        with _transaction(database):
            database.executemany(
                "insert into transitions (at, section, item, from_status, to_status, why) values (?, ?, ?, ?, ?, ?)",
                [(_text(t.at), t.section, t.item, t.from_status, t.to_status, t.why) for t in pending],
            )
            for (section, item), known in unsaved.items():
                database.execute(
                    "insert or replace into items values (?, ?, ?, ?, ?)",
                    (section, item, known.status, _text(known.since), _text(known.last_ok)),
                )
                database.execute("delete from observations where section = ? and item = ?", (section, item))
                database.executemany(
                    "insert into observations values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [_row(section, item, target, seen) for target, seen in known.observations.items()],
                )
            self._prune(database)

    def _prune(self, database: sqlite3.Connection) -> None:
        now = self._now()
        if self._pruned_at is not None and now - self._pruned_at < _PRUNE_EVERY:
            return
        self._pruned_at = now
        oldest = _text(now - self._keep)
        database.execute("delete from transitions where at < ?", (oldest,))
        database.execute("delete from observations where at < ?", (oldest,))
        database.execute(
            "delete from items where not exists (select 1 from observations as o"
            " where o.section = items.section and o.item = items.item)"
        )

    async def close(self) -> None:
        """Write what is left and close the file; a disk that does not answer is left to the end of the process."""
        await self.write((), ())
        with suppress(sqlite3.Error, OSError, Stuck):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._threads.run("history", self._close)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


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


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("begin immediate")
    try:
        yield
        database.execute("commit")
    except BaseException:
        if database.in_transaction:
            database.execute("rollback")
        raise


def _text(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _row(section: str, item: str, target: str, seen: Observation) -> tuple[object, ...]:
    result = seen.result
    measurements = json.dumps(dict(result.measurements))
    valid_until, at = _text(result.valid_until), _text(seen.at)
    return (
        section,
        item,
        target,
        result.status,
        result.summary,
        measurements,
        valid_until,
        at,
        seen.duration,
        seen.error,
    )


def _load(database: sqlite3.Connection) -> Seen:
    observations: dict[tuple[str, str], dict[str, Observation]] = {}
    with closing(database.execute("select * from observations")) as rows:
        for section, item, target, status, summary, measurements, valid_until, at, duration, error in rows:
            result = Result(
                Status(status), summary, json.loads(measurements), _moment(valid_until) if valid_until else None
            )
            seen = Observation(result, _moment(at), duration, bool(error))
            observations.setdefault((section, item), {})[target] = seen
    with closing(database.execute("select section, item, status, since, last_ok from items")) as rows:
        return {
            (section, item): Remembered(
                Status(status),
                _moment(since),
                _moment(last_ok) if last_ok else None,
                observations.get((section, item), {}),
            )
            for section, item, status, since, last_ok in rows
        }


def _newest(database: sqlite3.Connection, section: str | None, item: str | None, limit: int) -> list[Transition]:
    with closing(
        database.execute(
            "select section, item, from_status, to_status, at, why from transitions"
            " where (?1 is null or section = ?1) and (?2 is null or item = ?2) order by id desc limit ?3",
            (section, item, limit),
        )
    ) as rows:
        return [
            Transition(section, item, Status(before) if before else None, Status(after), _moment(at), why)
            for section, item, before, after, at, why in rows
        ]
