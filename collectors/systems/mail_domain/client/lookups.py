"""DNS by dnspython: that there is no record is a fact, that nobody answered is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from collectors.systems.mail_domain.model import MailDomain
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason

if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.nameserver

__all__ = ["Lookups"]


class Lookups:
    """Lookups of one run; each name is asked for once. Everything raises ProbeError where there was no answer."""

    def __init__(self, settings: MailDomain) -> None:
        self._settings = settings
        self._asked: dict[tuple[str, str], list[str]] = {}

    async def texts(self, name: str) -> list[str]:
        """The TXT records of a name, the strings of each joined; empty where it has none."""
        return await self._records(name, "TXT")

    async def addresses(self, name: str, *, version: int) -> list[str]:
        """The addresses of a name, of IPv4 or IPv6."""
        return await self._records(name, "A" if version == 4 else "AAAA")

    async def exchangers(self, name: str) -> list[str]:
        """The names of the servers that take the mail of a domain."""
        return await self._records(name, "MX")

    async def _records(self, name: str, kind: str) -> list[str]:
        key = (name.lower().rstrip("."), kind)
        if key not in self._asked:
            self._asked[key] = await self._ask(*key)
        return self._asked[key]

    async def _ask(self, name: str, kind: str) -> list[str]:
        import dns.exception
        import dns.resolver

        where = f"The {kind} records of {name}"
        try:
            resolver = self._resolver()
            async with asyncio.timeout(self._settings.timeout.total_seconds() + 1):  # its own deadline comes first
                answer = await resolver.resolve(f"{name}.", kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.Timeout, TimeoutError):
            raise ProbeError(
                f"{where} were not received within {format_duration(self._settings.timeout)}.", Reason.TIMEOUT
            ) from None
        except (dns.resolver.NoNameservers, OSError):
            raise ProbeError(f"{where} were not received: no resolver answers or knows them.", Reason.REFUSED) from None
        except (dns.exception.DNSException, UnicodeError, ValueError):
            raise ProbeError(f"{where} cannot be looked up: it is no valid name.", Reason.INVALID) from None
        return [_text(record, kind) for record in answer]

    def _resolver(self) -> dns.asyncresolver.Resolver:
        import dns.asyncresolver
        import dns.nameserver

        servers = self._settings.servers
        resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            nameservers: Sequence[str | dns.nameserver.Nameserver] = [
                dns.nameserver.Do53Nameserver(*each) for each in servers
            ]
            resolver.nameservers = nameservers
        resolver.lifetime = self._settings.timeout.total_seconds()
        return resolver


def _text(record: object, kind: str) -> str:
    if kind == "TXT":
        strings: Sequence[bytes] = record.strings  # type: ignore[attr-defined]
        return b"".join(strings).decode("utf-8", "replace")
    if kind == "MX":
        return str(record.exchange).rstrip(".")  # type: ignore[attr-defined]
    return str(ip_address(record.address))  # type: ignore[attr-defined]
