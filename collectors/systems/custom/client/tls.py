"""Asks a server for its certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from cryptography import x509

from collectors.shared.host_port import split_host_port
from collectors.systems.custom.client.tcp import resolved
from collectors.systems.custom.model.probe import OwnThreads, Refuted, Seen
from collectors.systems.custom.model.tls import Tls, observed
from collectors.systems.tls.client.handshake import handshake, roots
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.certificates import Roots
from collectors.systems.tls.model.starttls import NotOffered
from exporter.verdict import ProbeError

__all__ = ["look"]


async def look(probe: Tls, endpoint: str, threads: OwnThreads, now: Callable[[], datetime]) -> list[Seen]:
    """What every address of an endpoint presents, each distinct chain once."""
    host, _ = split_host_port(endpoint)
    name = (probe.server_name or host).rstrip(".")
    try:
        trusted = await threads(lambda: roots(probe.ca_file))
        addresses = await resolved(endpoint, probe.address_family, probe.timeout, threads)
    except ProbeError as error:
        return [error]
    seen = await asyncio.gather(*(_chains(probe, address, name, trusted, now) for address in addresses))
    return [one for chains in seen for one in chains]


async def _chains(probe: Tls, address: Address, name: str, trusted: Roots, now: Callable[[], datetime]) -> list[Seen]:
    """The distinct chains that one address presents: behind a balancer one backend may differ."""
    seen: dict[tuple[x509.Certificate, ...], Seen] = {}
    seconds = probe.timeout.total_seconds()
    try:
        for _ in range(probe.looks):
            served = await handshake(address, name, timeout=seconds, starttls=probe.starttls)
            seen[served.sent] = observed(address, served, trusted, name, now())
    except NotOffered as error:
        return [*seen.values(), Refuted(str(error), error.reason)]
    except ProbeError as error:
        return [*seen.values(), error]
    return list(seen.values())
