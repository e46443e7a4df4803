"""How answers are received, by servers that send bytes of their own choice."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest

from exporter.http import Http, HttpSettings, Unanswered, Unreachable
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason
from exporter.wire import Wire
from tests.servers import faults
from tests.servers.faults import Address
from tests.servers.process import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def sending(*answers: bytes, close: bool = False) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """Give each request the next of `answers`, counted from the first in each connection, and list what was asked by connection."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(b"")
        place = len(asked) - 1
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            asked[place] += head + await reader.readexactly(int(length[1]) if length else 0)
            writer.write(answer)
            await writer.drain()
        if close:
            writer.write_eof()
        await reader.read()

    async with faults.serving(serve) as address:
        yield address, asked


def http(address: Address, timeout: str = "20s", connections: int = 1) -> Http:
    url = f"http://{address[0]}:{address[1]}"
    return Http(HttpSettings.model_validate({"url": url, "timeout": timeout}), connections=connections)


async def ask(raw: bytes, method: str = "GET", *, close: bool = False) -> Reply:
    async with sending(raw, close=close) as (address, _), http(address) as client:
        return await client.request(method, "/", expect=None)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n",
            b"abcde",
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok\r\n\r\n", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 20\r\n\r\n", b""),
    ],
    ids=["chunks", "interim", "no phrase", "bare line feeds", "1.0", "more after close", "204", "304"],
)
async def test_answers_are_read_to_their_own_end(raw: bytes, body: bytes) -> None:
    reply = await ask(raw)
    assert reply.body == body
    assert "link" not in reply.headers
    assert "x-sum" not in reply.headers


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_answers_without_a_length_end_with_the_connection(version: bytes) -> None:
    reply = await ask(b"HTTP/" + version + b" 200 OK\r\nServer: a\r\nSERVER: b\r\n\r\nok", close=True)
    assert (reply.body, reply.headers.get_list("server")) == (b"ok", ["a", "b"])


async def test_answers_to_head_have_no_body() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"
    async with sending(raw, OK) as (address, asked), http(address) as client:
        reply = await client.request("HEAD", "/")
        assert (reply.body, reply.headers["content-length"]) == (b"", "2000")
        assert (await client.get("/")).body == b"ok"
    assert len(asked) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 020 OK\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nX-Long: "
        + b"x" * 60_000
        + b"\r\n\r\nHTTP/1.1 100 Continue\r\nX-Long: "
        + b"x" * 60_000,
        OK + b"and what nobody asked for",
        b"<html>no status line</html>",
        b"",
    ],
    ids=[
        "short",
        "half a chunk",
        "no chunk",
        "unknown coding",
        "two lengths",
        "half a header",
        "upgrade",
        "no status",
        "long header",
        "many interim ones",
        "more than announced",
        "0.9",
        "nothing",
    ],
)
async def test_what_is_no_whole_answer_is_none(raw: bytes) -> None:
    with pytest.raises(Unanswered) as raised:
        await ask(raw, close=True)
    assert raised.value.reason is Reason.MALFORMED
    assert str(raised.value).endswith("failed: the reply is not HTTP or ended too early.")


async def test_a_connection_is_used_again_while_it_is_open() -> None:
    async with sending(OK, OK, close=True) as (address, asked), http(address) as client:
        for _ in range(5):
            assert (await client.get("/")).body == b"ok"
            assert (await client.request("POST", "/", content=b"body")).body == b"ok"
    assert [one.count(b"HTTP/1.1") for one in asked] == [2] * 5


async def test_a_connection_that_is_closed_as_it_is_asked_is_replaced_for_what_may_be_sent_twice() -> None:
    """Servers close idle connections, and the client may send in that very moment."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for once in (True, False):
            asked.append((await reader.readuntil(b"\r\n\r\n")).split()[0])
            if not once:
                return
            writer.write(OK)

    async with faults.serving(serve) as address, http(address) as client:
        await client.get("/")
        await client.get("/")
        assert asked == [b"GET"] * 3
        with pytest.raises(Unanswered):
            await client.request("POST", "/", content=b"")
        assert asked == [b"GET"] * 3 + [b"POST"]


async def test_a_server_waits_while_its_answer_is_not_read() -> None:
    """Nothing is received at the expense of memory which the caller would refuse."""
    sent = 0

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with faults.serving(serve) as (host, port):
        wire = Wire(None, connections=1, connect_timeout=20)
        async with wire.answer(httpx.Request("GET", f"http://{host}:{port}/")) as answer:
            before = 0

            async def stands() -> bool:
                nonlocal before
                before, last = sent, before
                return last == before > 0

            async with asyncio.timeout(30):
                while not await stands():
                    await asyncio.sleep(0.2)
            async with asyncio.timeout(30):
                while sent == before:
                    assert 0 < len(await answer.more()) < 1_000_000
        await wire.close()


async def test_what_was_given_up_leaves_nothing_behind() -> None:
    """Neither a turn, so that others wait for ever, nor a socket."""
    before = psutil.Process().num_fds()
    async with faults.mute() as address, http(address, "30s", connections=2) as client:
        for _ in range(3):
            tasks = [asyncio.create_task(client.get("/")) for _ in range(6)]
            await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        waiting = asyncio.create_task(client.get("/"))
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(ProbeError):
            await waiting
    await eventually(lambda: psutil.Process().num_fds() <= before, "the sockets to be closed")


async def test_each_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sending(OK) as (address, _), faults.refused() as closed, faults.unroutable() as silent:
        known = {
            "both.example": [closed, address],
            "slow.example": [silent, address],
            "none.example": [closed, (closed[0], 0)],
            "gone.example": [closed, closed],
        }

        async def resolve(host: str, _port: int, **_: object) -> list[tuple[object, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in known[host]]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        for name in ("both.example", "slow.example"):
            async with Http(HttpSettings(url=f"http://{name}")) as client:
                assert (await client.get("/")).body == b"ok"
        for name in ("none.example", "gone.example"):
            async with Http(HttpSettings(url=f"http://{name}")) as client:
                with pytest.raises(Unreachable, match=r"failed: the connection was refused\.$"):
                    await client.get("/")
        known["none.example"] = [closed, ("255.255.255.255", 1)]
        async with Http(HttpSettings(url="http://none.example")) as client:
            with pytest.raises(Unreachable, match=r"failed: Network is unreachable\.$"):
                await client.get("/")


async def test_a_host_that_cannot_be_a_name_is_unreachable() -> None:
    async with Http(HttpSettings(url="http://shop..example")) as client:
        with pytest.raises(Unreachable, match=r"failed: DNS has no names like that of its host\.$"):
            await client.get("/")


async def test_a_server_that_closes_during_the_handshake_is_unreachable() -> None:
    async with faults.hanging_up() as address, Http(HttpSettings(url=f"https://{address[0]}:{address[1]}")) as client:
        with pytest.raises(Unreachable, match="failed: "):
            await client.get("/")
