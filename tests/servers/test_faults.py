"""Each fault is what it says, and leaves nothing behind."""

import asyncio
from contextlib import suppress

import pytest

from tests.servers import faults
from tests.servers.faults import Address, Proxy, serving
from tests.servers.process import eventually

pytestmark = pytest.mark.usefixtures("no_leftovers")


async def connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.wait_for(asyncio.open_connection(*address), 1)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_refused() -> None:
    async with faults.refused() as address:
        with pytest.raises(ConnectionRefusedError):
            await connect(address)


async def test_unroutable() -> None:
    async with faults.unroutable() as address:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.open_connection(*address), 0.3)


async def test_mute() -> None:
    async with faults.mute() as address:
        reader, writer = await connect(address)
        writer.write(b"hello\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        await close(writer)


async def test_hanging_up() -> None:
    async with faults.hanging_up() as address:
        reader, writer = await connect(address)
        assert await reader.read() == b""
        await close(writer)


async def test_half_reply() -> None:
    async with faults.half_reply(b"HTTP/1.1 200 OK\r\n") as address:
        reader, writer = await connect(address)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(17) == b"HTTP/1.1 200 OK\r\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        await close(writer)


async def test_garbage_is_the_same_each_time() -> None:
    async with faults.garbage(size=100) as address:
        seen = []
        for _ in range(2):
            reader, writer = await connect(address)
            seen.append(await reader.read())
            await close(writer)
    assert len(seen[0]) == 100
    assert seen[0] == seen[1]


async def test_endless() -> None:
    async with faults.endless(b"begin") as address:
        reader, writer = await connect(address)
        writer.write(b"go")
        assert await reader.readexactly(5) == b"begin"
        await reader.readexactly(1_000_000)
        await close(writer)


async def test_a_proxy_passes_pauses_and_is_cut() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)

    async with serving(echo) as upstream, Proxy(*upstream) as proxy:
        reader, writer = await connect(proxy.address)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        assert (proxy.open, proxy.accepted) == (1, 1)

        proxy.pause()
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(3), 0.1)
        proxy.resume()
        assert await asyncio.wait_for(reader.readexactly(3), 5) == b"two"

        proxy.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        await close(writer)
        await eventually(lambda: proxy.open == 0, "the proxy to let go", 5)
        reader, writer = await connect(proxy.address)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        await close(writer)

        proxy.resume()
        reader, writer = await connect(proxy.address)
        writer.write(b"three")
        assert await reader.readexactly(5) == b"three"
        await close(writer)
        assert proxy.accepted == 3


async def test_a_proxy_without_a_server_behind_it_hangs_up() -> None:
    async with faults.refused() as upstream, Proxy(*upstream) as proxy:
        reader, writer = await connect(proxy.address)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await close(writer)
