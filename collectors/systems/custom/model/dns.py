"""DNS: the records of a name, as resolvers answer."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from collectors.shared.cel import Language
from collectors.shared.host_port import split_host_port
from collectors.systems.custom.model.probe import Demand, Probe, named_once
from collectors.systems.tls.model.options import Host
from exporter.collector import Target
from exporter.options import Duration
from exporter.verdict import Reason
from exporter.words import listed

__all__ = ["Dns", "resolver_address"]

_ANSWER = Language(
    records="list(string)",
    ttl="duration",
    rcode="string",
    authentic="bool",
    latency="duration",
)
Condition = Annotated[str, _ANSWER.condition]
_PORT = 53


def resolver_address(text: str) -> tuple[str, int]:
    """The address and port of `10.0.0.53`, `10.0.0.53:5353`, `2001:db8::53` or `[2001:db8::53]:5353`. Raises ValueError."""
    try:
        return str(ip_address(text)), _PORT
    except ValueError:
        host, port = split_host_port(text)
        return str(ip_address(host)), port


def _resolver(text: str) -> str:
    try:
        resolver_address(text)
    except ValueError:
        raise ValueError("expected the IP address of a resolver, such as 10.0.0.53 or [2001:db8::53]:5353") from None
    return text


class Dns(Probe):
    """Names that must have records."""

    language: ClassVar[Language] = _ANSWER
    demands: ClassVar = {
        "rcode": Demand('rcode == "NOERROR"', Reason.MISSING, "does not exist"),
        "records": Demand('rcode != "NOERROR" || size(records) > 0', Reason.MISSING, "has no such records"),
    }

    names: Annotated[tuple[Annotated[Host, Field(max_length=128)], ...], AfterValidator(named_once)] = Field(
        min_length=1, max_length=100, description="Names to look up, in full: no search domain is added."
    )
    type: Literal["A", "AAAA", "CAA", "CNAME", "DS", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TLSA", "TXT"] = Field(
        "A", description="Type of the records."
    )
    resolvers: tuple[Annotated[str, AfterValidator(_resolver)], ...] = Field(
        (),
        max_length=20,
        description="Resolvers to ask, each of which must answer as wanted. By default those of the system, of which the first "
        "that answers counts.",
    )
    timeout: Duration = Field(
        timedelta(seconds=3), gt=timedelta(0), description="How long one resolver may take to answer."
    )
    conditions: tuple[Condition, ...] = Field(
        (),
        description="What must be true, in CEL: `records` (texts, without the dot at the end), `ttl` (of the one that expires "
        "first), `rcode` (NOERROR, NXDOMAIN, SERVFAIL, …), `authentic` (validated by the resolver, DNSSEC), `latency`. Unless a "
        "condition names them, `rcode` must be NOERROR and there must be records.",
    )
    warn_unless: tuple[Condition, ...] = Field((), description="Conditions without which the line is a `warning`.")

    @property
    def parts(self) -> tuple[Target, ...]:
        """The names."""
        return tuple(Target(name=name) for name in self.names)

    @property
    def longest(self) -> timedelta:
        """How long one name may take: the system has up to three resolvers, asked one after the other."""
        return self.timeout * 4

    @property
    def subject(self) -> str:
        """What is checked."""
        return f"{listed(self.names)} {'has' if len(self.names) == 1 else 'have'} {self.type} records"
