"""What a server answers to a client hello."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Accepted", "Answer", "Flight", "Refused", "Version"]


_HANDSHAKE_FAILURE, _PROTOCOL_VERSION, _INSUFFICIENT_SECURITY = 40, 70, 71  # RFC 8446 §6


class Version(IntEnum):
    """A version of the protocol, as it is written on the wire."""

    SSL_3 = 0x0300
    TLS_1_0 = 0x0301
    TLS_1_1 = 0x0302
    TLS_1_2 = 0x0303
    TLS_1_3 = 0x0304

    def __str__(self) -> str:
        return self.name.replace("_", " ", 1).replace("_", ".")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server would go on: a ServerHello with this version and this cipher suite."""

    version: Version
    suite: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The server would not: by the alert with this number, or by closing the connection without a word (None)."""

    alert: int | None

    @property
    def explicit(self) -> bool:
        """Whether the alert is about the offer. A server in trouble, too, closes connections or calls it an internal error."""
        return self.alert in (_HANDSHAKE_FAILURE, _PROTOCOL_VERSION, _INSUFFICIENT_SECURITY)


Answer = Accepted | Refused


@dataclass(frozen=True, slots=True)
class Flight:
    """What a server says in clear before TLS 1.3: its certificates (DER, its own first), the bits of its DH group."""

    certificates: tuple[bytes, ...]
    dh_bits: int | None = None
