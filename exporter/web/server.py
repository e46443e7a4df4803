"""Listens: uvicorn on any number of addresses, with TLS that follows its files, ended gracefully when cancelled."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeAlias, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from exporter.web.connections import Connection, Connections, limit_of_process
from exporter.words import os_reason

__all__ = ["CurrentTls", "ListenError", "bind", "serve"]

#: Seconds that requests under way may take when the server is told to end.
GRACE = 2
#: Seconds that an idle connection is kept: longer than usual scrape intervals, so that a scraper connects once.
KEEP_ALIVE = 75
BACKLOG = 2048
#: Connections accepted at once, before others are read.
ACCEPTED = 64
#: Bytes that address and headers of a request may have, and seconds until they are complete: nobody has proved yet who asks.
MAX_HEAD = 64 * 1024
HEAD_SECONDS = 30.0
#: Seconds for a TLS handshake, and for reading on where a client reads an answer more slowly than it is written.
HANDSHAKE_SECONDS = 10
READ_SECONDS = 60.0

_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")


class ListenError(Exception):
    """An address cannot be listened on; its text is a full sentence."""


def bind(addresses: Iterable[str]) -> list[socket.socket]:
    """Sockets on these addresses: `:9876` (every interface), `127.0.0.1:9876`, `[::1]:9876`, `localhost:9876`.

    Raises ListenError for the first that cannot be had; none stays open then.
    """
    with ExitStack() as opened:
        sockets = [opened.enter_context(_bind(address)) for address in addresses]
        opened.pop_all()
    return sockets


def _bind(address: str) -> socket.socket:
    match = _ADDRESS.fullmatch(address)
    if not match or int(match["port"]) > 65535:
        raise ListenError(f"{address!r} is not an address such as :9876, 127.0.0.1:9876 or [::1]:9876.")
    host, port = match["v6"] or match["host"], int(match["port"])
    try:
        if not host and socket.has_dualstack_ipv6():
            opened = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        else:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, where = found[0]
            opened = socket.create_server(where, family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(f"{address} cannot be listened on: {os_reason(error)}.") from None
    # asyncio does so only for sockets that it made; without, the end of an answer waits 40 ms for the client's ACK.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


class _Protocol(HttpToolsProtocol):
    """uvicorn's, where the head of a request could be endless, in size and in time, and so could reading an answer."""

    connection: Connection | None = None
    _head = 0  # bytes of a head that is not complete
    _patience: asyncio.TimerHandle | None = None
    _reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as there
        super().connection_made(transport)
        self._patience = self._limited()

    def _limited(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(HEAD_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The cycle, None at first, is made of the head as soon as that is complete.
        if self.cycle is not None and self.cycle.scope is self.scope:  # type: ignore[redundant-expr]
            if self._patience is not None:
                self._enough()
                if self.connection is not None:
                    self.connection.busy()
            return
        self._head += len(data)
        if self._patience is None:
            self._patience = self._limited()
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        idle = self.cycle.response_complete  # not so, where the client has sent another request already
        if self.connection is not None and idle and not self.transport.is_closing():
            self.connection.quiet()

    def _enough(self) -> None:
        self._head = 0
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader = asyncio.get_running_loop().call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read()

    def _read(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._enough()
        self._read()
        if self.connection is not None:
            self.connection.lost()
        super().connection_lost(exc)


class _Plain(_Protocol):
    """HTTP without TLS."""

    def __init__(self, connections: Connections, **more: Any) -> None:
        super().__init__(**more)
        self._connections = connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as there
        self.connection = self._connections.made(transport)
        super().connection_made(transport)


class _Tls(SSLProtocol):
    """asyncio's, with a buffer that fits requests: theirs has 256 KiB for each connection, from before the handshake on."""

    max_size = 16 * 1024
    lost: Connection | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.lost is not None:  # also where the handshake failed, of which HTTP never hears
            self.lost.lost()
        super().connection_lost(exc)


def _retrieve(shaken: asyncio.Future[None]) -> None:
    """A handshake that failed is the client's affair, not an error that nobody checked."""
    if not shaken.cancelled():
        shaken.exception()


class _Door(asyncio.Protocol):
    """A connection before TLS: what costs memory begins with the client's first bytes, with the certificate in force by then."""

    def __init__(self, connections: Connections, tls: CurrentTls, make: Callable[[], _Protocol]) -> None:
        self._connections = connections
        self._tls = tls
        self._make = make
        self._connection: Connection | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes."""
        self._transport = cast("asyncio.Transport", transport)
        self._connection = self._connections.made(self._transport)
        self._patience = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Begin TLS."""
        if self._opening is None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._opening = asyncio.create_task(self._open(data))

    async def _open(self, data: bytes) -> None:
        context = await self._tls()
        if self._transport.is_closing():
            return
        if self._patience is not None:
            self._patience.cancel()
        inner = self._make()
        inner.connection = self._connection
        loop = asyncio.get_running_loop()
        shaken: asyncio.Future[None] = loop.create_future()
        shaken.add_done_callback(_retrieve)
        outer = _Tls(loop, inner, context, shaken, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS)
        outer.lost = self._connection
        self._transport.set_protocol(outer)
        outer.connection_made(self._transport)
        for start in range(0, len(data), _Tls.max_size):
            part = data[start : start + _Tls.max_size]
            if self._transport.is_closing():
                return
            outer.get_buffer(len(part))[: len(part)] = part
            outer.buffer_updated(len(part))
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left before TLS began."""
        if self._patience is not None:
            self._patience.cancel()
        if self._connection is not None:
            self._connection.lost()


class _Server(uvicorn.Server):
    """uvicorn, which leaves the process's signals alone, and accepts few connections between two looks at the others."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for opened in sockets or ():
            opened.listen(BACKLOG)  # asyncio has one number for this and for how many it accepts at once


CurrentTls: TypeAlias = Callable[[], Awaitable[ssl.SSLContext]]


async def serve(
    app: ASGIApp,
    sockets: Sequence[socket.socket],
    *,
    tls: CurrentTls | None = None,
    connections: Connections | None = None,
) -> None:
    """Serve `app` until cancelled; requests under way then get GRACE seconds. Closes the sockets.

    `tls` gives the TLS of each new connection; plain HTTP without it. `connections` limits how many there are.
    """
    limited = connections or Connections(limit_of_process())

    def protocol(**more: Any) -> asyncio.Protocol:
        return _Door(limited, tls, partial(_Protocol, **more)) if tls else _Plain(limited, **more)

    config = uvicorn.Config(
        app,
        http=cast("Any", protocol),
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        backlog=ACCEPTED,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=cast("list[socket.socket]", sockets)), name="web server")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
