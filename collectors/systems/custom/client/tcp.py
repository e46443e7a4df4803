"""Connects to an address, and reads what is said there."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta

from collectors.shared.attempts import attempt
from collectors.shared.cel import Facts
from collectors.shared.host_port import split_host_port
from collectors.systems.custom.model.probe import Observed, OwnThreads, Refuted, Seen
from collectors.systems.custom.model.tcp import Tcp
from collectors.systems.tls.client.tcp import Refused, connected, resolve
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.options import AddressFamily
from exporter.options import format_duration
from exporter.trace import traced
from exporter.verdict import ProbeError, Reason
from exporter.words import counted, os_reason

__all__ = ["look", "resolved"]

_FAMILIES = {
    AddressFamily.ANY: socket.AF_UNSPEC,
    AddressFamily.IPV4: socket.AF_INET,
    AddressFamily.IPV6: socket.AF_INET6,
}


async def look(probe: Tcp, address: str, threads: OwnThreads) -> list[Seen]:
    """What is seen at every address that one of `probe` stands for."""
    try:
        addresses = await resolved(address, probe.address_family, probe.timeout, threads)
    except ProbeError as error:
        return [error]
    return await asyncio.gather(*(attempt(_observed(probe, one)) for one in addresses))


async def resolved(address: str, family: AddressFamily, timeout: timedelta, threads: OwnThreads) -> tuple[Address, ...]:
    """Every address that `host:port` stands for. Raises ProbeError where there is none within `timeout`."""
    host, port = split_host_port(address)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            return await threads(lambda: resolve(host, port, _FAMILIES[family]))
    except TimeoutError:
        raise ProbeError(
            f"The name {host} was not resolved within {format_duration(timeout)}.", Reason.TIMEOUT
        ) from None


@traced(lambda _, address: f"a TCP connection to {address}", lambda seen: ", ".join(sorted(seen.facts)))
async def _observed(probe: Tcp, address: Address) -> Observed:
    loop = asyncio.get_running_loop()
    facts = Facts()
    started = loop.time()
    received = bytearray()
    try:
        async with asyncio.timeout(probe.timeout.total_seconds()), connected(address) as sock:
            facts["latency"] = timedelta(seconds=loop.time() - started)
            if probe.send is not None:
                await loop.sock_sendall(sock, probe.send.encode())
            if probe.reads:
                await _read(probe, sock, received, address)
    except TimeoutError:
        limit = format_duration(probe.timeout)
        if "latency" not in facts:
            raise ProbeError(f"{address} did not accept a connection within {limit}.", Reason.TIMEOUT) from None
        said = counted(len(received), "byte") if received else "nothing"
        raise Refuted(
            f"{address} accepted the connection and sent {said} within {limit} (wanted the end of an answer).",
            Reason.DOWN,
        ) from None
    except Refused as error:
        raise Refuted(str(error), Reason.DOWN) from None
    except OSError as error:
        raise Refuted(f"{address} broke the connection: {os_reason(error)}.", Reason.DOWN) from None
    if probe.reads:
        facts["text"] = received.decode("utf-8", "replace")
    return Observed(str(address), facts, measurements={"seconds": facts["latency"].total_seconds()})


async def _read(probe: Tcp, sock: socket.socket, received: bytearray, address: Address) -> None:
    """Read what is said until the text that ends an answer, or the end of the connection."""
    end = (probe.until or "\n").encode()
    while (found := received.find(end)) < 0:
        data = await asyncio.get_running_loop().sock_recv(sock, 4096)
        if not data:
            return
        received += data
        if len(received) > probe.max_bytes:
            raise ProbeError(
                f"{address} sent more than {probe.max_bytes} bytes without the end of an answer.", Reason.LIMIT
            )
    del received[found + len(end) :]
