"""Listens: uvicorn on any number of addresses, with TLS that follows its files, ended gracefully when cancelled."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["ListenError", "bind", "serve"]

#: Seconds that requests under way may take when the server is told to end.
GRACE = 2
#: Seconds that an idle connection is kept: longer than usual scrape intervals, so that a scraper connects once.
KEEP_ALIVE = 75
BACKLOG = 2048
#: Bytes that address and headers of a request may have, and seconds until they are complete: nobody has proved yet who asks.
MAX_HEAD = 64 * 1024
HEAD_SECONDS = 30.0

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
        raise ListenError(f"{address} cannot be listened on: {error.strerror or error}.") from None
    # asyncio does so only for sockets that it made; without, the end of an answer waits 40 ms for the client's ACK.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


class _CurrentTls(ssl.SSLContext):
    """Gives each new connection the TLS that holds by then."""

    current: Callable[[], ssl.SSLContext]

    @classmethod
    def following(cls, current: Callable[[], ssl.SSLContext]) -> Self:
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context.current = current
        return context

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.current().wrap_bio(*args, **kwargs)


class _Protocol(HttpToolsProtocol):
    """uvicorn's, for which the head of a request could otherwise be endless, in size and in time."""

    _head = 0  # bytes of a head that is not complete
    _patience: asyncio.TimerHandle | None = None

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
            return
        self._head += len(data)
        if self._patience is None:
            self._patience = self._limited()
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def _enough(self) -> None:
        self._head = 0
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._enough()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """uvicorn without hands of its own on the process's signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: ASGIApp, sockets: Sequence[socket.socket], *, tls: Callable[[], ssl.SSLContext] | None = None
) -> None:
    """Serve `app` until cancelled; requests under way then get GRACE seconds. Closes the sockets.

    `tls` gives the TLS of each new connection; plain HTTP without it.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        backlog=BACKLOG,
        ssl_context_factory=(lambda config, default: _CurrentTls.following(tls)) if tls else None,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=cast("list[socket.socket]", sockets)), name="web server")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
