"""Addresses as `host:port`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

__all__ = ["HostPort", "split_host_port"]


def split_host_port(text: str) -> tuple[str, int]:
    """Host, without brackets, and port of `cache-1:6379`, `10.0.0.7:6379` or `[::1]:6379`. Raises ValueError for anything else."""
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ValueError("expected host:port, such as cache-1:6379")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _understood(text: str) -> str:
    split_host_port(text)
    return text


HostPort = Annotated[str, AfterValidator(_understood)]
"""An option that is `host:port`."""
