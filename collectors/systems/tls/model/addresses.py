"""Where an endpoint listens."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

__all__ = ["Address", "is_ip"]


@dataclass(frozen=True, slots=True)
class Address:
    """One address of an endpoint, as the socket API wants it."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def host(self) -> str:
        """The IP address alone."""
        return str(self.sockaddr[0])

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.family == socket.AF_INET6 else self.host
        return f"{host}:{self.sockaddr[1]}"


def is_ip(host: str) -> bool:
    """Whether this is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
