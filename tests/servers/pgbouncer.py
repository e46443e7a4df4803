"""PgBouncer from Debian, in front of a PostgreSQL."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg

from tests.servers.packages import debian, library_environment
from tests.servers.postgresql import MONITOR, PASSWORD, Postgres
from tests.servers.process import LOOPBACK, Server, free_port, listening, unprivileged

APPLICATION = "application"
"""The role that connects to PostgreSQL through it; its password is its name."""


class PgBouncer(Server):
    """Pools connections to database `orders`, which it calls `name` (`*` is any); the collector's role is in `stats_users`.

    `databases` are further lines of its [databases], `settings` of its [pgbouncer]. With `port`, processes can share one.
    """

    def __init__(
        self,
        behind: Postgres,
        directory: Path,
        *,
        name: str = "orders",
        pool_size: int = 20,
        databases: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        port: int | None = None,
        **database: int,
    ) -> None:
        root = debian("pgbouncer", "libevent-2.1-7", "libc-ares2")
        self.port = port or free_port()
        options = "".join(f" {key}={value}" for key, value in {"pool_size": pool_size, **database}.items())
        users = directory / "users.txt"
        escaped = PASSWORD.replace('"', '""')
        users.write_text(f'"{MONITOR}" "{escaped}"\n"{APPLICATION}" "{APPLICATION}"\n"nobody" "nobody"\n')
        dbname = "" if name == "*" else " dbname=orders"
        lines = {name: f"host={LOOPBACK} port={behind.port}{dbname}{options}", **(databases or {})}
        values = {
            "listen_addr": LOOPBACK,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": users,
            "stats_users": MONITOR,
            "pool_mode": "transaction",
            **(settings or {}),
        }
        configuration = directory / f"pgbouncer-{len(list(directory.glob('pgbouncer-*.ini')))}.ini"
        configuration.write_text(
            "\n".join(["[databases]", *_lines(lines), "[pgbouncer]", *_lines(values)]) + "\n", encoding="utf-8"
        )
        super().__init__(
            configuration.stem,
            [root / "usr/sbin/pgbouncer", configuration],
            directory=directory,
            env=library_environment(root),
            ready=lambda: listening(self.port),
            user=unprivileged(),
        )

    def dsn(self, user: str = MONITOR, password: str = PASSWORD, dbname: str = "pgbouncer") -> str:
        """Return a connection string for the admin console, or for a database behind it."""
        return psycopg.conninfo.make_conninfo(
            "", host=LOOPBACK, port=self.port, user=user, password=password, dbname=dbname
        )

    def refuses(self) -> str:
        """Return the words in which it refuses a client; nothing when it lets one in."""
        try:
            self.client().close()
        except psycopg.OperationalError as error:
            return str(error)
        return ""

    def servers(self, user: str) -> list[tuple[object, ...]]:
        """Return its connections to PostgreSQL as this role, as its console lists them."""
        with psycopg.connect(self.dsn(), autocommit=True, cursor_factory=psycopg.ClientCursor) as console:
            cursor = console.execute("SHOW SERVERS")
            column = [described.name for described in cursor.description or ()].index("user")
            return [row for row in cursor if row[column] == user]

    def client(self) -> psycopg.Connection[tuple[object, ...]]:
        """Connect as an application does, through a pool."""
        return psycopg.connect(self.dsn(APPLICATION, APPLICATION, "orders"), connect_timeout=5)


def _lines(values: Mapping[str, object]) -> Iterator[str]:
    return (f"{key} = {value}" for key, value in values.items())
