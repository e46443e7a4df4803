"""Loopback servers that do what a server should not: each gives the ``(host, port)`` to connect to, and is gone on exit.

Those that answer wrongly do so on the running event loop, so clients that block belong in a thread.
"""

import asyncio
import json
import random
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.servers.process import LOOPBACK

Address = tuple[str, int]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(
    handler: Handler, tls: ssl.SSLContext | None = None, where: Address = (LOOPBACK, 0)
) -> AsyncIterator[Address]:
    """Serve connections with ``handler``; on exit those that are open are aborted."""
    tasks: dict[asyncio.Task[None], asyncio.WriteTransport] = {}

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(one(reader, writer))
        tasks[task] = writer.transport
        task.add_done_callback(tasks.pop)

    server = await asyncio.start_server(connected, *where, ssl=tls)
    try:
        yield _address(server.sockets[0])
    finally:
        for _ in range(
            9
        ):  # turns of the loop, in which what was accepted last becomes a task; a closed server would lose it
            await asyncio.sleep(0)
        server.close()
        for task, transport in tasks.items():
            task.cancel()
            transport.abort()  # a task that never began does not
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # a turn in which sockets are closed


@asynccontextmanager
async def refused() -> AsyncIterator[Address]:
    """Refuse every connection: the port is held, so that nothing else comes to listen there."""
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        yield _address(held)


@asynccontextmanager
async def unroutable() -> AsyncIterator[Address]:
    """Let attempts to connect vanish, as behind a firewall that drops: the queue of a listener that never accepts is full."""
    with socket.socket() as deaf:
        deaf.bind((LOOPBACK, 0))
        deaf.listen(0)
        fillers: list[socket.socket] = []
        try:
            while True:
                filler = socket.socket()
                fillers.append(filler)
                filler.setblocking(False)
                try:
                    await asyncio.wait_for(asyncio.get_running_loop().sock_connect(filler, _address(deaf)), 0.2)
                except TimeoutError:
                    break
            yield _address(deaf)
        finally:
            for filler in fillers:
                filler.close()


@asynccontextmanager
async def mute(tls: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    """Accept, read, and never answer."""
    async with serving(_read_to_end, tls) as address:
        yield address


@asynccontextmanager
async def hanging_up(tls: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    """Accept and close at once."""

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(close, tls) as address:
        yield address


@asynccontextmanager
async def half_reply(reply: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    """Answer the first bytes of a request with ``reply``, the beginning of an answer, and hang."""

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(reply)
        await _read_to_end(reader, writer)

    async with serving(begin, tls) as address:
        yield address


@asynccontextmanager
async def garbage(size: int = 4096, seed: int = 1, tls: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    """Send bytes without a meaning, the same ones each time, to everyone who connects, and then the end."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(random.Random(seed).randbytes(size))
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        await _read_to_end(reader, writer)

    async with serving(babble, tls) as address:
        yield address


@asynccontextmanager
async def endless(
    beginning: bytes, more: bytes = b"x" * 65_536, every: float = 0.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Address]:
    """Answer with a beginning and then with ``more`` for ever, as fast as it is read or once ``every`` so many seconds."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(beginning)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(every)

    async with serving(talk, tls) as address:
        yield address


@asynccontextmanager
async def answering(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Give every HTTP request this answer (bytes, or what becomes JSON); gives the URL and the list of requests that came."""
    requests: list[bytes] = []
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(content)), **(headers or {})}
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if length := re.search(rb"(?i)\r\ncontent-length: (\d+)", request):
                    request += await reader.readexactly(int(length[1]))
                requests.append(request)
                writer.write(head.encode() + b"\r\n" + content)
                await writer.drain()

    async with serving(answer, tls) as (host, port):
        yield f"{'https' if tls else 'http'}://{host}:{port}", requests


@asynccontextmanager
async def without_path(
    url: str, path: str, body: bytes, status: int = 200, *, times: int | None = None
) -> AsyncIterator[str]:
    """Stand before a real HTTP server as a proxy that answers paths which begin with ``path`` itself; gives its URL.

    With ``times`` it does so that often, and then leaves it to the server.
    """
    upstream, answered = urlsplit(url), 0
    own = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ")[1].startswith(path.encode()) and (times is None or answered < times):
            answered += 1
            writer.write(own)
        else:
            real_reader, real_writer = await asyncio.open_connection(upstream.hostname, upstream.port)
            real_writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            while data := await real_reader.read(65_536):
                writer.write(data)
            real_writer.close()
        writer.write_eof()
        await writer.drain()
        await _read_to_end(reader, writer)

    async with serving(answer) as (host, port):
        yield f"http://{host}:{port}"


class Proxy:
    """A TCP proxy in front of a real server, to be cut or paused in the middle of a run.

    ``address`` is where it listens (``where``); ``open`` counts the clients connected now, ``accepted`` all there were.
    """

    def __init__(self, host: str, port: int, where: Address = (LOOPBACK, 0)) -> None:
        self._upstream = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut = False
        self._clients: set[asyncio.StreamWriter] = set()
        self._serving = serving(self._client, where=where)
        self.accepted = 0
        self.address: Address = ("", 0)

    async def __aenter__(self) -> Self:
        self.address = await self._serving.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._serving.__aexit__(None, None, None)

    @property
    def open(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    def pause(self) -> None:
        """Hold back all bytes, in both directions, and answer no new client."""
        self._flowing.clear()

    def cut(self) -> None:
        """Reset all connections, and every new one, as if the server had died."""
        self._cut = True
        for writer in self._clients:
            writer.transport.abort()

    def resume(self) -> None:
        """Be an ordinary proxy again."""
        self._cut = False
        self._flowing.set()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._cut:
            return
        self._clients.add(writer)
        try:
            await self._flowing.wait()
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(reader, upstream_writer))
                    pumps.create_task(self._pump(upstream_reader, writer))
            finally:
                upstream_writer.transport.abort()
        except* OSError:
            pass  # either side is gone: `serving` closes the other
        finally:
            self._clients.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _read_to_end(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass


def _address(listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return host, port
