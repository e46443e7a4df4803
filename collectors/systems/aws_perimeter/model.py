"""Security groups and protections, as AWS describes them."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from collectors.systems.blackbox.model import CLOSED_PORTS, Ports
from exporter.options import Options

__all__ = ["Group", "Protection", "Rule", "SecurityGroups", "WebAcl", "wide_open"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_INTERNAL = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "fe80::/10")))
_WIDE = {4: 8, 6: 16}
"""The longest prefix, by version, of a network that is as good as the internet."""


def _reasoned(allowed: dict[str, str]) -> dict[str, str]:
    for path, reason in allowed.items():
        group, _, port = path.partition("/")
        if not group or not port.isdecimal() or not reason.strip():
            raise ValueError(f"expected group/port and a reason, not {path}")
    return allowed


class SecurityGroups(Options):
    """Security groups of a region of AWS, which must not let the internet in on these ports."""

    vpcs: tuple[str, ...] = Field((), description="Ids of VPCs; all of the region by default.")
    ports: Ports = Field(
        CLOSED_PORTS, min_length=1, description="Ports, of TCP, that must not be open to the internet."
    )
    allowed: Annotated[dict[str, str], AfterValidator(_reasoned)] = Field(
        default_factory=dict, description="What may be open nevertheless, as group/port, to the reason."
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """Which ports of TCP a rule opens, and to which networks."""

    first: int
    last: int
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A security group; `used` is whether a network interface has it."""

    id: str
    name: str
    used: bool
    rules: tuple[Rule, ...]

    def networks(self, port: int) -> Iterator[str]:
        """The networks that it lets in on a port."""
        for rule in self.rules:
            if rule.first <= port <= rule.last:
                yield from rule.networks


@dataclass(frozen=True, slots=True)
class WebAcl:
    """A web ACL, and by which of its rules it limits who sends too much: those that block, and those that it is not known of."""

    name: str
    blocking: tuple[str, ...] = ()
    counting: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    """Those that block only who sends more than anybody can take."""


@dataclass(frozen=True, slots=True)
class Protection:
    """What protects a resource. `shielded` is whether Shield Advanced does, and `until` when the subscription to it ends."""

    resource: str
    acl: WebAcl | None = None
    shielded: bool = False
    until: datetime | None = None


_MANY = 2 ** (32 - _WIDE[4])


def wide_open(networks: Collection[str]) -> str | None:
    """What is as good as the internet, of these networks taken together: the widest, or all of them; None where nothing is."""
    parsed = [ipaddress.ip_network(one, strict=False) for one in networks]
    merged: list[Network] = [
        *ipaddress.collapse_addresses(one for one in parsed if isinstance(one, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(one for one in parsed if isinstance(one, ipaddress.IPv6Network)),
    ]
    wide = [one for one in merged if one.prefixlen <= _WIDE[one.version] and not _within(one, _INTERNAL)]
    if wide:
        return str(min(wide, key=lambda one: one.prefixlen))
    public = [one for one in merged if one.version == 4 and not one.is_private]
    if sum(one.num_addresses for one in public) >= _MANY:
        return f"{len(public)} networks from {public[0]} to {public[-1]}, which are more than a /{_WIDE[4]} together,"
    return None


def _within(network: Network, others: Iterable[Network]) -> bool:
    return any(
        one.version == network.version and one.prefixlen <= network.prefixlen and network.network_address in one
        for one in others
    )
