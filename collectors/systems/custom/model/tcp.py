"""TCP: what listens at an address, and what it says."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from collectors.shared.cel import Language
from collectors.shared.host_port import HostPort
from collectors.systems.custom.model.probe import Probe, named_once
from collectors.systems.tls.model.options import AddressFamily
from exporter.collector import Target
from exporter.options import Size
from exporter.words import listed

__all__ = ["Address", "Addresses", "Tcp"]

_CONNECTION = Language(latency="duration", text="string")
Condition = Annotated[str, _CONNECTION.condition]
Address = Annotated[HostPort, Field(max_length=128)]
Addresses = Annotated[tuple[Address, ...], AfterValidator(named_once)]


class Tcp(Probe):
    """Addresses that must accept connections."""

    language: ClassVar[Language] = _CONNECTION

    addresses: Addresses = Field(
        min_length=1,
        max_length=100,
        description="`host:port` of each server. Every address that a name resolves to is tried.",
    )
    address_family: AddressFamily = Field(
        AddressFamily.ANY, description="Which addresses of a name are tried: `any` (all), `ipv4` or `ipv6`."
    )
    send: str | None = Field(
        None, min_length=1, max_length=4096, description='Text to send first, such as `"PING\\r\\n"`.'
    )
    until: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Text with which an answer ends; the end of its first line by default.",
    )
    max_bytes: Size = Field(64 * 2**10, gt=0, le=2**20, description="Maximum size of an answer.")
    conditions: tuple[Condition, ...] = Field(
        (),
        description="What must be true, in CEL: `latency` (of the connection) and `text` (what the server says until `until`; "
        "read where a condition names it).",
    )
    warn_unless: tuple[Condition, ...] = Field((), description="Conditions without which the line is a `warning`.")

    @property
    def reads(self) -> bool:
        """Whether the server has to say something."""
        return "text" in self.named

    @property
    def parts(self) -> tuple[Target, ...]:
        """The addresses."""
        return tuple(Target(name=address) for address in self.addresses)

    @property
    def subject(self) -> str:
        """What is checked."""
        return f"{listed(self.addresses)} {'accepts' if len(self.addresses) == 1 else 'accept'} connections"
