"""HTTP/1.1 over asyncio, parsed by llhttp: what `exporter.http` sends its requests by.

httpx's own client takes four times the CPU: it parses in Python, and goes through several layers for each read.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import zip_longest
from typing import Any, Protocol

import httptools
import httpx

__all__ = ["Answer", "Wire"]

_MAX_HEAD = 100 * 1024
_MAX_WAITING = 256 * 1024  # bytes of a body that were received and not yet read, before the server has to wait
_KEPT_FOR = 30.0  # seconds
_HEAD_START = 0.25  # seconds
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
_REPEATABLE = ("GET", "HEAD", "OPTIONS")


class Wire:
    """Connections to one server: at most `connections` at a time, kept for the next request."""

    def __init__(self, context: ssl.SSLContext | None, *, connections: int, connect_timeout: float) -> None:
        self._context = context
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])
        self._connect_timeout = connect_timeout
        self._turns = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    @asynccontextmanager
    async def answer(self, request: httpx.Request, server_name: str | None = None) -> AsyncIterator[Answer]:
        """The answer to one request, whose host may have another `server_name` in its certificate.

        Raises httpx's errors: ConnectTimeout and ConnectError where no connection was made, ReadError and RemoteProtocolError
        where there was no whole answer, LocalProtocolError for headers that HTTP does not allow. How long an answer may take, and
        how large its body may be, is the caller's to limit: a server waits while its answer is not read.
        """
        message = _head(request) + request.content
        async with self._turns:
            connection = None
            try:
                connection = await self._sent(request, message, server_name)
                yield connection
            finally:
                if connection is not None:
                    self._release(connection)

    async def _sent(self, request: httpx.Request, message: bytes, server_name: str | None) -> _Connection:
        """A connection on which the request was sent, once the headers of its answer are there."""
        while (kept := self._kept()) is not None:
            try:
                return await self._exchange(kept, request, message)
            except (httpx.ReadError, httpx.RemoteProtocolError):
                # Servers close connections that nobody uses, and one of them may just have done so.
                if kept.begun or request.method not in _REPEATABLE:
                    raise
        return await self._exchange(await self._connect(request, server_name), request, message)

    async def _exchange(self, connection: _Connection, request: httpx.Request, message: bytes) -> _Connection:
        self._busy.add(connection)
        try:
            await connection.send(message, bodiless=request.method == "HEAD")
        except BaseException:
            self._busy.discard(connection)
            connection.abort()
            raise
        return connection

    def _kept(self) -> _Connection | None:
        """An idle connection that the server has not closed, that which was used last."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable and now - connection.idle_since < _KEPT_FOR:
                return connection
            connection.abort()
        return None

    async def _connect(self, request: httpx.Request, server_name: str | None) -> _Connection:
        host, port = request.url.raw_host.decode("ascii"), request.url.port
        tls: dict[str, Any] = {}
        if request.url.scheme == "https":
            tls = {"ssl": self._context, "server_hostname": server_name or host}
        try:
            async with asyncio.timeout(self._connect_timeout):
                opened = await _connected(host, port or (443 if tls else 80))
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(_Connection, sock=opened, **tls)
        except TimeoutError as error:
            # The kernel's own timeout is one too, with an errno.
            raise (httpx.ConnectError(str(error)) if error.errno else httpx.ConnectTimeout("")) from error
        except UnicodeError:  # of Python's resolver, before it asks anybody
            raise httpx.ConnectError("DNS has no names like that of its host") from None
        except OSError as error:
            raise httpx.ConnectError(_why(error)) from error
        return connection

    def _release(self, connection: _Connection) -> None:
        """Keep the connection for the next request, where the last answer was read to its end; else close it."""
        self._busy.discard(connection)
        if connection.is_reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    async def close(self) -> None:
        """Close every connection."""
        for connection in (*self._idle, *self._busy):
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # a turn of the loop, in which their sockets are closed


class Answer(Protocol):
    """What was received of an answer. `certificate` is the server's in DER; none where the connection is not encrypted."""

    status: int
    headers: list[tuple[bytes, bytes]]
    certificate: bytes

    async def more(self) -> bytes:
        """The next bytes of the body, as they were sent; none at its end. Raises ReadError and RemoteProtocolError."""


class _Connection(asyncio.Protocol):
    """One connection, and what was received of the answer to its last request."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        self.is_open = False
        self.idle_since = 0.0
        self.certificate = b""
        self._expect(bodiless=False)

    def _expect(self, *, bodiless: bool) -> None:
        """Be ready for the next answer."""
        self._parser = httptools.HttpResponseParser(self)
        # As browsers, curl and Go do: lines may end without a carriage return, and what follows the last answer is ignored.
        self._parser.set_dangerous_leniencies(
            lenient_data_after_close=True, lenient_optional_cr_before_lf=True, lenient_optional_lf_after_cr=False
        )
        self._bodiless = bodiless
        self._head_bytes = 0
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._paused = False
        self._error: httpx.TransportError | None = None
        self._headed = self._complete = self._keep_alive = self._ends_with_connection = False
        self.begun = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    async def send(self, message: bytes, *, bodiless: bool) -> None:
        """Send a request, and wait for the headers of its answer. A `bodiless` one has none, whatever its headers are."""
        self._expect(bodiless=bodiless)
        if self._transport is None or not self.is_open:
            raise self._end()
        self._transport.write(message)
        while not self._headed:
            if self._error:
                raise self._error
            await self._wait()

    async def more(self) -> bytes:
        while not self._chunks:
            if self._complete:
                return b""
            if self._error:
                raise self._error
            await self._wait()
        body = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return body

    @property
    def is_reusable(self) -> bool:
        """Whether the last answer was received to its end, and the server waits for another request."""
        return self.is_open and self._complete and self._keep_alive and not self._chunks and not self._paused

    def abort(self) -> None:
        """Close it, whatever has yet to come."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: httpx.TransportError) -> None:
        if self._error is None and not self._complete:
            self._error = error
        self._keep_alive = False
        self._wake()

    def _end(self) -> httpx.TransportError:
        """What the end of the connection means before that of the answer."""
        # Whether a server that hangs up is seen to close or to reset depends on which bytes were under way.
        if self._lost is not None and not isinstance(self._lost, ConnectionError):
            error = httpx.ReadError(str(self._lost))
            error.__cause__ = self._lost
            return error
        return httpx.RemoteProtocolError("the server closed the connection")

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self.certificate = tls.getpeercert(binary_form=True) or b""
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self.begun = True
        if self._complete or self._error:  # nobody asked for more
            self._keep_alive = False
            return
        if not self._headed:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx.RemoteProtocolError(str(error)))
        else:
            if not self._headed and self._head_bytes > _MAX_HEAD:
                self._fail(httpx.RemoteProtocolError("the headers are too long"))
        if self._waiting > _MAX_WAITING and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        if self._headed and self._ends_with_connection:
            self._complete = True
        self._closed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc
        if exc is None and self._headed and self._ends_with_connection:
            self._complete = True
        self._closed()

    def _closed(self) -> None:
        self.is_open = False
        self._fail(self._end())

    # -- httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # those after the body are not used
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:  # another one follows
            if self.status < 100:
                self._fail(httpx.RemoteProtocolError("the status is none"))
            return
        fields = {name.lower(): value.lower().strip() for name, value in self.headers}
        coding = fields.get(b"transfer-encoding")
        if coding not in (None, b"chunked"):
            self._fail(httpx.RemoteProtocolError("the transfer encoding is not known"))
            return
        empty = self._bodiless or self.status in (204, 304)
        stays = self._parser.get_http_version() == "1.1" and b"close" not in fields.get(b"connection", b"")
        self._keep_alive = self._parser.should_keep_alive() or (self._bodiless and stays)
        self._ends_with_connection = not empty and coding is None and b"content-length" not in fields
        self._headed = True
        self._complete = self._bodiless

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._chunks.append(body)
            self._waiting += len(body)

    def on_message_complete(self) -> None:
        if self.status < 200:
            self.headers = []
            return
        self._complete = self._headed


def _head(request: httpx.Request) -> bytes:
    """The request line and the headers. Raises httpx.LocalProtocolError for what HTTP does not allow."""
    lines = [request.method.encode("ascii") + b" " + request.url.raw_path + b" HTTP/1.1"]
    for name, value in request.headers.raw:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise httpx.LocalProtocolError("illegal header")
        lines.append(name + b": " + value)
    return b"\r\n".join((*lines, b"", b""))


async def _connected(host: str, port: int) -> socket.socket:
    """A socket that is connected to one of the host's addresses, IPv6 and IPv4 in turns: the first that accepts within its time.

    As `loop.create_connection` with `happy_eyeballs_delay`, which leaves sockets open where it is cancelled. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if len(found) == 1:
        return await _opened(found[0][0], found[0][4])
    left = _in_turns(found)
    racing: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    winner = None
    try:
        while left or racing:
            if left:
                family, address = left.pop(0)
                racing.add(asyncio.create_task(_opened(family, address)))
            done, _ = await asyncio.wait(
                racing, timeout=_HEAD_START if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    winner = task
                    return task.result()
                racing.discard(task)
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        for task in racing - {winner}:
            task.cancel()
            task.add_done_callback(_close)
    raise errors[0] if len({error.errno for error in errors}) == 1 else OSError()


def _in_turns(found: Sequence[tuple[Any, ...]]) -> list[tuple[int, Any]]:
    """Addresses with their families, of which the one that comes first and the others take turns."""
    known = [(family, address) for family, _, _, _, address in found]
    first = [one for one in known if one[0] == known[0][0]]
    others = [one for one in known if one[0] != known[0][0]]
    return [one for pair in zip_longest(first, others) for one in pair if one is not None]


async def _opened(family: int, address: Any) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, address)
    except BaseException:
        opened.close()
        raise
    return opened


def _close(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _why(error: OSError) -> str:
    """What goes into a sentence where the system gives no reason, such as where addresses failed for several."""
    if isinstance(error, ConnectionError):
        return "the connection was closed during the TLS handshake"
    return "none of its addresses accepts connections"
