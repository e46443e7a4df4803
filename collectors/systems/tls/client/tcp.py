"""TCP connections to one address, without threads: what a name stands for, and a socket that is closed whatever happens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collectors.systems.tls.client.starttls import ask_for_tls
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.starttls import StartTls
from exporter.verdict import ProbeError, Reason
from exporter.words import os_reason

__all__ = ["Refused", "connected", "resolve"]


class Refused(ProbeError):
    """The host answered, and nothing listens there."""


def resolve(host: str, port: int, family: int = socket.AF_UNSPEC) -> tuple[Address, ...]:
    """Every address of a host, IPv4 and IPv6 unless `family` says which. Blocks. Raises ProbeError when it has none."""
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ProbeError(f"The name {host} could not be resolved: {os_reason(error)}.", Reason.UNREACHABLE) from None
    return tuple(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))


@asynccontextmanager
async def connected(
    address: Address, starttls: StartTls | None = None, server_name: str = ""
) -> AsyncIterator[socket.socket]:
    """A connected non-blocking socket, for the `sock_…` calls of the event loop, ready for a ClientHello.

    Raises Refused when nothing listens there, ProbeError when there is no connection, NotOffered when the server does not offer
    TLS by `starttls`.
    """
    with socket.socket(address.family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
        except ConnectionRefusedError:
            raise Refused(f"{address} refused the connection.", Reason.UNREACHABLE) from None
        except OSError as error:
            raise ProbeError(f"{address} could not be reached: {os_reason(error)}.", Reason.UNREACHABLE) from None
        if starttls is not None:
            await ask_for_tls(sock, address, starttls, server_name)
        yield sock
