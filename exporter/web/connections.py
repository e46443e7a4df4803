"""How many connections there may be, and which gives way: idle strangers cost nobody else an answer."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator

from exporter.web.guard import network

__all__ = ["Connection", "Connections", "limit_of_process"]

#: Connections without a request under way that one address may have, and all of them; the oldest gives way to a new one.
QUIET_PER_ADDRESS = 256
QUIET = 1024
#: Seconds for which a connection is spared while others can give way: its first bytes may be under way.
SPARED = 1.0
#: Most connections in all; fewer where the process may open fewer files.
MAX = 16_384
#: File descriptors that are left to verification, history and the rest of the process.
RESERVED = 256


def limit_of_process() -> int:
    """How many connections the limit of open files allows (`ulimit -n`, raised as far as it may be)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX + RESERVED
    if hard == resource.RLIM_INFINITY or hard > soft:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, max(soft, wanted))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(16, min(MAX, soft - max(RESERVED // 4, min(RESERVED, soft // 4))))


class Connection:
    """A client's connection: busy while a request is answered, quiet before and after."""

    def __init__(self, connections: Connections, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        self.address = network(peer[0]) if isinstance(peer, tuple) else ""
        self.transport = transport
        self.since = 0.0
        self._connections = connections

    def busy(self) -> None:
        """A request has come whole."""
        self._connections.busy(self)

    def quiet(self) -> None:
        """The request is answered."""
        self._connections.quiet(self, proved=True)

    def lost(self) -> None:
        """The connection is closed."""
        self._connections.lost(self)


class Connections:
    """All connections of the server.

    What gives way when there are too many: of one address's quiet ones the oldest that never sent a request, then the oldest;
    of all, one of the address that has most.
    """

    def __init__(self, limit: int = MAX) -> None:
        self.limit = limit
        self._all: dict[Connection, None] = {}
        self._quiet: dict[
            str, tuple[dict[Connection, None], dict[Connection, None]]
        ] = {}  # without a request yet, and with
        self._quiet_count = 0

    def __len__(self) -> int:
        return len(self._all)

    def made(self, transport: asyncio.Transport) -> Connection | None:
        """A new connection; None when there is no place for it (the transport is closed then)."""
        connection = Connection(self, transport)
        if len(self._all) >= self.limit and not self._give_way(spare=False):
            transport.abort()
            return None
        self._all[connection] = None
        self.quiet(connection, proved=False)
        return connection

    def quiet(self, connection: Connection, *, proved: bool) -> None:
        """The connection waits for a request; `proved` when it has sent one before."""
        if connection not in self._all:
            return
        self.busy(connection)
        connection.since = asyncio.get_running_loop().time()
        queues = self._quiet.setdefault(connection.address, ({}, {}))
        queues[proved][connection] = None
        self._quiet_count += 1
        if sum(map(len, queues)) > QUIET_PER_ADDRESS:
            self._drop(self._oldest(connection.address), spare=True)
        elif self._quiet_count > QUIET:
            self._give_way(spare=True)

    def busy(self, connection: Connection) -> None:
        """The connection no longer waits."""
        queues = self._quiet.get(connection.address)
        for queue in queues or ():
            if connection in queue:
                del queue[connection]
                self._quiet_count -= 1
        if queues and not any(queues):
            del self._quiet[connection.address]

    def lost(self, connection: Connection) -> None:
        """The connection is closed."""
        self.busy(connection)
        self._all.pop(connection, None)

    def _oldest(self, address: str) -> Connection:
        return next(connection for queue in self._quiet[address] for connection in queue)

    def _give_way(self, *, spare: bool) -> bool:
        """Close a quiet connection of the address that has most, if there is one."""
        if not self._quiet:
            return False
        return self._drop(self._oldest(max(self._quiet, key=self._size)), spare=spare)

    def _size(self, address: str) -> int:
        return sum(map(len, self._quiet[address]))

    def _drop(self, connection: Connection, *, spare: bool) -> bool:
        if spare and asyncio.get_running_loop().time() - connection.since < SPARED:
            return False
        self.lost(connection)
        connection.transport.abort()
        return True

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._all))
