"""The addresses of a name: each of them may be another server, in another state."""

from __future__ import annotations

import asyncio
import socket

from exporter.verdict import ProbeError, Reason
from exporter.words import os_reason

__all__ = ["address_and_port", "resolve"]


async def resolve(host: str, port: int) -> list[str]:
    """Every IP address that a name has, without brackets. Raises ProbeError when it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProbeError(f"The name {host} cannot be resolved: {os_reason(error)}.", Reason.UNREACHABLE) from None
    except UnicodeError:  # no name that DNS could have
        raise ProbeError(f"The name {host} cannot be resolved: it is no valid host name.", Reason.UNREACHABLE) from None
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


def address_and_port(address: str, port: int) -> str:
    """`10.0.0.7:443`, or `[2001:db8::7]:443`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
