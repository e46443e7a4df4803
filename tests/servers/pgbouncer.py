"""PgBouncer from Debian, in front of a PostgreSQL."""

from pathlib import Path

import psycopg

from tests.servers.packages import debian, library_environment
from tests.servers.postgresql import MONITOR, PASSWORD, Postgres
from tests.servers.process import LOOPBACK, Server, free_port, listening, unprivileged

APPLICATION = "application"
"""The role that connects to PostgreSQL through it; its password is its name."""


class PgBouncer(Server):
    """Pools connections to database `orders`, which it calls `name` (`*` is any); the collector's role is in `stats_users`."""

    def __init__(
        self, behind: Postgres, directory: Path, *, name: str = "orders", pool_size: int = 20, **database: int
    ) -> None:
        root = debian("pgbouncer", "libevent-2.1-7", "libc-ares2")
        self.port = free_port()
        options = "".join(f" {key}={value}" for key, value in {"pool_size": pool_size, **database}.items())
        users = directory / "users.txt"
        escaped = PASSWORD.replace('"', '""')
        users.write_text(f'"{MONITOR}" "{escaped}"\n"{APPLICATION}" "{APPLICATION}"\n"nobody" "nobody"\n')
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n{name} = host={LOOPBACK} port={behind.port} dbname=orders{options}\n"
            f"[pgbouncer]\nlisten_addr = {LOOPBACK}\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\nstats_users = {MONITOR}\npool_mode = transaction\n"
        )
        super().__init__(
            "pgbouncer",
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

    def client(self) -> psycopg.Connection[tuple[object, ...]]:
        """Connect as an application does, through a pool."""
        return psycopg.connect(self.dsn(APPLICATION, APPLICATION, "orders"), connect_timeout=5)
