"""Names of stores by host and port, as they are written: by them sections recognise that they are configured with the same one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from pydantic import SecretStr

from collectors.shared.dsn import parse_dsn
from collectors.shared.host_port import split_host_port

__all__ = ["nats", "nats_monitoring", "postgresql", "redis"]


def redis(addresses: Iterable[str]) -> list[str]:
    """A name for each `host:port` of a Redis."""
    return [_name("redis", *split_host_port(address)) for address in addresses]


def nats(addresses: Iterable[str]) -> list[str]:
    """A name for each `host:port` of a NATS."""
    return [_name("nats", *split_host_port(address)) for address in addresses]


def nats_monitoring(urls: Iterable[str]) -> list[str]:
    """A name for each monitoring endpoint of a NATS."""
    found = [urlsplit(url) for url in urls]
    return [_name("nats", url.hostname or "", url.port or {"https": 443}.get(url.scheme, 80)) for url in found]


def postgresql(*dsns: SecretStr) -> list[str]:
    """A name for each host of connection strings; none for sockets, which are another server on another machine."""
    return list(dict.fromkeys(name for dsn in dsns for name in _hosts(dsn)))


def _hosts(dsn: SecretStr) -> Iterator[str]:
    for parameters in parse_dsn(dsn):
        host = parameters.get("host") or parameters.get("hostaddr") or ""
        if host and not host.startswith(("/", "@")):
            yield _name("postgresql", host, int(parameters.get("port") or 5432))


def _name(kind: str, host: str, port: int) -> str:
    return f"{kind} {host.lower().rstrip('.')} {port}"
