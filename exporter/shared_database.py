"""The history in a PostgreSQL database, for several exporters of which one writes.

The one that writes has the newest term: taking over begins a new one, and each write names its own, so that whatever an exporter
that was deposed still sends is refused. Each write has a revision, by which the others find what is new.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from exporter.observations import Observation, Remembered, Transition
from exporter.sessions import Session, Transaction, Unusable, parse_dsn, place_of
from exporter.storage import BAD, Deposed, Key, moment_of, observation_of, row_of, text_of
from exporter.verdict import Status
from exporter.words import counted, listed

__all__ = ["SCHEMA", "SharedDatabase"]

log = logging.getLogger(__name__)

_FORMAT = 1
SCHEMA = """\
create table if not exists checklist_writer (
    one_row boolean primary key default true check (one_row),
    format integer not null default 1, term bigint not null default 0, revision bigint not null default 0,
    holder text not null default '', since timestamptz not null default now());
insert into checklist_writer default values on conflict do nothing;
create table if not exists checklist_transitions (
    id bigint generated always as identity primary key, at timestamptz not null, section text not null, item text not null,
    from_status text, to_status text not null, why text not null, unique (section, item, at));
create index if not exists checklist_transitions_at on checklist_transitions (at);
create table if not exists checklist_items (
    section text not null, item text not null, status text not null, since timestamptz not null, last_ok timestamptz,
    revision bigint not null, primary key (section, item));
create index if not exists checklist_items_revision on checklist_items (revision);
create table if not exists checklist_observations (
    section text not null, item text not null, target text not null, status text not null, summary text not null,
    measurements text not null, valid_until timestamptz, at timestamptz not null, duration double precision not null,
    error boolean not null, reason text, fingerprint text,
    revision bigint not null, primary key (section, item, target));
create index if not exists checklist_observations_revision on checklist_observations (revision);
"""
"""The tables, in whichever schema is first in the search_path. May be run again."""
_MIGRATIONS: Mapping[int, str] = {}
"""What each format lacks of the next one."""
#: Among advisory locks, the one under which tables are made.
_MAKING = 0x63686B6C
_PRUNE_EVERY = timedelta(hours=1)
#: As in `exporter.database`: a time that is further ahead was never observed.
_AHEAD = timedelta(days=36_525)
_NOT_ALLOWED, _UNDEFINED_TABLE = "42501", "42P01"
_OBSERVED = (
    "section, item, target, status, summary, measurements, valid_until::text, at::text, duration, error, reason, "
    "fingerprint"
)


class SharedDatabase:
    """The database that `dsn` leads to: a Storage. Transitions and items older than `keep` are forgotten; `now` gives the time.

    `may_lead` says whether this exporter may begin a term: always where it is None, for there is one exporter then; the last one
    to start writes.
    """

    troubles: tuple[type[Exception], ...] = (Unusable, ValueError, OverflowError)
    pace = 0.25

    def __init__(
        self,
        dsn: str,
        *,
        keep: timedelta = timedelta(days=90),
        now: Callable[[], datetime],
        holder: str = "",
        may_lead: Callable[[], bool] | None = None,
    ) -> None:
        parameters = parse_dsn(dsn)
        self.title = f"State database {place_of(parameters)}"
        self.fresh = False
        self.notice: Callable[[str], None] = log.error
        self._keep = keep
        self._now = now
        self._holder = holder or socket.gethostname()
        self._may_lead = may_lead
        self._writing = Session(parameters, begin="begin isolation level read committed read write")
        self._reading = Session(parameters, begin="begin isolation level repeatable read read only")
        self._claiming = threading.Lock()
        self._term: int | None = None
        self._misunderstood: frozenset[str] = frozenset()
        self._pruned_at: datetime | None = None

    def use(self, dsn: str) -> bool:
        """Connect as another role, or with another password, from the next connection on; returns False for another place."""
        parameters = parse_dsn(dsn)
        own = {"user", "password", "passfile"}
        known = self._writing.parameters
        if {name: value for name, value in parameters.items() if name not in own} != {
            name: value for name, value in known.items() if name not in own
        }:
            return False
        self._writing.parameters = self._reading.parameters = parameters
        return True

    # -- who writes

    def open(self, patience: float) -> None:
        """Begin a term, where there is one exporter alone. Raises Unusable where that is not possible now: `save` does it then."""
        if self._may_lead is None:
            self.claim()

    def claim(self) -> None:
        """Begin a new term: from now on, writes of any other exporter are refused. Raises Unusable, or Deposed where it may not."""
        with self._claiming:
            if self._may_lead is not None and not self._may_lead():
                raise Deposed("this exporter is not the leader")
            self._term = self._begin_term()

    def resign(self) -> None:
        """Write no more."""
        self._term = None

    def _begin_term(self) -> int:
        try:
            with self._writing.transaction() as database:
                _make_tables(database)
            with self._writing.transaction() as database:
                (found,) = database.run("select format from checklist_writer for update")
                if found[0] > _FORMAT:
                    raise _newer(found[0])
                for known in range(found[0], _FORMAT):
                    database.run(_MIGRATIONS[known])
                ((term,),) = database.run(
                    "update checklist_writer set format = %s, term = term + 1, revision = revision + 1, holder = %s, since = now()"
                    " returning term",
                    (_FORMAT, self._holder),
                )
                return int(term)
        except Unusable as error:
            if error.code == _NOT_ALLOWED:
                why = f"{error}; make its tables, with the rights to them, as docs/high-availability.md shows"
                raise Unusable(why, error.code) from None
            raise

    def _revision(self, database: Transaction) -> int:
        """The next revision; from here on no other exporter writes until the transaction has ended."""
        found = database.run(
            "update checklist_writer set revision = revision + 1 where term = %s and format = %s returning revision",
            (self._term, _FORMAT),
        )
        if found:
            return int(found[0][0])
        ((holder, since, form),) = database.run("select holder, since::text, format from checklist_writer")
        if form > _FORMAT:
            raise _newer(form)
        raise Deposed(f"another exporter ({holder}) has written it since {since}")

    # -- writing

    def check(self) -> None:
        """Raise Unusable where it can no longer be written, Deposed where another exporter writes."""
        if self._term is None:
            if self._may_lead is None:
                self.claim()
                self.fresh = True  # what was observed before could not be written
            return
        with self._writing.transaction() as database:
            found = database.run("select holder, since::text from checklist_writer where term <> %s", (self._term,))
        if found and self._may_lead is None:
            raise Deposed(f"another exporter ({found[0][0]}) has written it since {found[0][1]}")

    def save(self, transitions: Sequence[Transition], kept: Mapping[Key, Remembered], bad: Iterable[Any]) -> None:
        """Write these in one transaction. Raises Unusable, and Deposed where another exporter has begun a newer term."""
        if self._term is None:
            self.claim()
            self.fresh = True  # what was observed before could not be written
        try:
            self._save(transitions, kept)
        except Deposed:
            if self._may_lead is None or not self._may_lead():
                raise
            # Elected all the same: the other one was deposed between its election and its claim.
            self.claim()
            self.fresh = True
            self._save(transitions, kept)
        except Unusable as error:
            if error.code == _UNDEFINED_TABLE:  # they were dropped: the next term makes them again
                self._term = None
            raise
        self._prune()

    def _save(self, transitions: Sequence[Transition], kept: Mapping[Key, Remembered]) -> None:
        with self._writing.transaction() as database:
            revision = self._revision(database)
            database.run_each(
                "insert into checklist_transitions (at, section, item, from_status, to_status, why) values (%s, %s, %s, %s, %s, %s)"
                " on conflict do nothing",  # the answer to an earlier attempt may have been lost
                [
                    (t.at, *_clean(t.section, t.item, t.from_status and t.from_status.value, t.to_status.value, t.why))
                    for t in transitions
                ],
            )
            # Where it could not be read at the start, it still knows when an item was last ok.
            database.run_each(
                "insert into checklist_items as known values (%s, %s, %s, %s, %s, %s) on conflict (section, item) do update set"
                " status = excluded.status, since = excluded.since, last_ok = coalesce(excluded.last_ok, known.last_ok),"
                " revision = excluded.revision",
                [(*_clean(*key), one.status.value, one.since, one.last_ok, revision) for key, one in kept.items()],
            )
            database.run_each(
                "insert into checklist_observations values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " on conflict (section, item, target) do update set status = excluded.status, summary = excluded.summary,"
                " measurements = excluded.measurements, valid_until = excluded.valid_until, at = excluded.at,"
                " duration = excluded.duration, error = excluded.error, reason = excluded.reason,"
                " fingerprint = excluded.fingerprint, revision = excluded.revision",
                [
                    (*_clean(*key, target, *row_of(seen)), revision)
                    for key, one in kept.items()
                    for target, seen in one.observations.items()
                ],
            )

    def _prune(self) -> None:
        now = self._now()
        if self._pruned_at is not None and _PRUNE_EVERY > now - self._pruned_at > -_PRUNE_EVERY:
            return
        self._pruned_at = now
        oldest = now - self._keep
        try:
            with self._writing.transaction() as database:
                self._revision(database)
                database.run("delete from checklist_transitions where at < %s", (oldest,))
                database.run("delete from checklist_observations where at < %s", (oldest,))
                database.run(
                    "delete from checklist_items as i where not exists (select from checklist_observations as o"
                    " where o.section = i.section and o.item = i.item)"
                )
        except (Unusable, Deposed) as error:  # what was saved is saved
            log.warning("%s: what is older than %s was not removed: %s.", self.title, self._keep, error)

    # -- reading

    def load(self) -> dict[Key, Remembered]:
        """What was known of every item when it was last written. Rows that make no sense are left out, and reported."""
        return self.since(-1)[1]

    def since(self, known: int) -> tuple[int, dict[Key, Remembered]]:
        """The newest revision, and what was written after the one that is `known`: of each item the targets that were.

        Everything, where the newest is not newer than `known`, but another one: the database is not the same. Raises Unusable.
        """
        with self._reading.transaction() as database:
            if not database.run("select true where to_regclass('checklist_observations') is not null"):
                if known >= 0:
                    raise Unusable("its tables are gone")
                return -1, {}  # no exporter has written yet
            ((revision, form),) = database.run("select revision, format from checklist_writer")
            if form > _FORMAT:
                raise _newer(form)
            if revision == known:
                return revision, {}
            after = known if revision > known else -1
            items = database.run(
                "select section, item, status, since::text, last_ok::text from checklist_items where revision > %s",
                (after,),
            )
            observed = database.run(f"select {_OBSERVED} from checklist_observations where revision > %s", (after,))  # noqa: S608  # columns of ours
        return int(revision), self._understood(items, observed)

    def _understood(
        self, items: Iterable[tuple[Any, ...]], observed: Iterable[tuple[Any, ...]]
    ) -> dict[Key, Remembered]:
        latest = self._now() + _AHEAD
        bad: list[str] = []
        observations: dict[Key, dict[str, Observation]] = {}
        known: dict[Key, Remembered] = {}
        for row in observed:
            try:
                observations.setdefault((row[0], row[1]), {})[text_of(row[2])] = observation_of(row[3:], latest)
            except BAD:
                bad.append(f"checklist_observations {'.'.join(row[:3])[:100]}")
        for section, item, status, since, last_ok in items:
            try:
                times = moment_of(since, latest), moment_of(last_ok, latest) if last_ok else None
                known[section, item] = Remembered(Status(status), *times, observations.get((section, item), {}))
            except BAD:
                bad.append(f"checklist_items {section}.{item}"[:100])
        if bad and (new := frozenset(bad) - self._misunderstood):
            self._misunderstood |= new
            are = "is" if len(bad) == 1 else "are"
            self.notice(
                f"{counted(len(bad), 'row')} of {self.title} {are} not understood and {are} ignored: {listed(bad)}."
            )
        return known

    def newest(self, section: str | None, item: str | None, limit: int) -> tuple[list[Transition], list[Any]]:
        """The newest transitions, newest first; those that make no sense are left out. Raises Unusable."""
        with self._reading.transaction() as database:
            if not database.run("select true where to_regclass('checklist_transitions') is not null"):
                return [], []
            rows = database.run(
                "select section, item, from_status, to_status, at::text, why from checklist_transitions"
                " where (%(section)s::text is null or section = %(section)s) and (%(item)s::text is null or item = %(item)s)"
                " order by id desc limit %(limit)s",
                {"section": section, "item": item, "limit": limit},
            )
        found: list[Transition] = []
        for of_section, of_item, before, after, at, why in rows:
            try:
                statuses = Status(before) if before else None, Status(after)
                found.append(Transition(of_section, of_item, *statuses, moment_of(at, None), text_of(why)))
            except BAD:
                log.debug("A transition of %s.%s makes no sense.", of_section, of_item)
        return found, []

    def failed(self, error: Exception) -> None:
        """Nothing: a connection is made again after every error."""

    def close(self) -> None:
        """Let go of the connections."""
        self._writing.close()
        self._reading.close()


def _make_tables(database: Transaction) -> None:
    if database.run("select true where to_regclass('checklist_observations') is not null"):
        return
    database.run("select pg_advisory_xact_lock(%s)", (_MAKING,))
    for statement in filter(str.strip, SCHEMA.split(";\n")):
        database.run(statement)


def _newer(form: int) -> Unusable:
    return Unusable(f"it was written by a newer version (format {form}, known {_FORMAT})")


def _clean(*values: Any) -> tuple[Any, ...]:
    """The values, without the characters that PostgreSQL has no place for: zero, and half characters."""
    return tuple(
        value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        if isinstance(value, str)
        else value
        for value in values
    )
