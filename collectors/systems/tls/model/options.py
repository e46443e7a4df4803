"""What may be asked of a TLS endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from collectors.systems.tls.model import cipher_suites
from collectors.systems.tls.model.addresses import is_ip
from collectors.systems.tls.model.starttls import StartTls
from exporter.collector import Options, Target
from exporter.options import Duration

__all__ = ["AddressFamily", "Host", "TlsLimits", "TlsPolicy", "TlsTarget"]


class TlsPolicy(StrEnum):
    """Which cipher suites are too weak."""

    INTERMEDIATE = "intermediate"
    STRICT = "strict"

    @property
    def families(self) -> Mapping[str, tuple[int, ...]]:
        """The families of suites that it bans, by name."""
        return cipher_suites.STRICT if self is TlsPolicy.STRICT else cipher_suites.INTERMEDIATE


class AddressFamily(StrEnum):
    """Which addresses of a name are checked."""

    ANY = "any"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


def _endpoint(text: str) -> str:
    """Check `host:port`; an IPv6 address is written `[::1]:443`."""
    try:
        parts = urlsplit(f"//{text}")
        valid = parts.port is not None and parts.port > 0 and _is_host(parts.hostname or "") and parts.netloc == text
    except ValueError:
        valid = False
    if not valid or parts.username is not None:
        raise ValueError("expected host:port, such as shop.example.com:443 or [2001:db8::1]:443")
    return text


def _host(text: str) -> str:
    if not _is_host(text):
        raise ValueError("expected a host name or an IP address; an international name in its xn-- form")
    return text


def _is_host(text: str) -> bool:
    name = re.fullmatch(r"[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63})*\.?", text)
    return is_ip(text) or (name is not None and len(text) < 254)


Host = Annotated[str, AfterValidator(_host)]


class TlsLimits(Options):
    """What may be given for the section and overridden for a target."""

    ca_file: Path | None = Field(
        None,
        description="PEM file of the root certificates to trust instead of the public ones. Intermediates in it are ignored.",
    )
    min_days: int = Field(
        21,
        ge=1,
        description="Days that a certificate must still be valid, else `warning`. Never more than a third of its lifetime.",
    )
    critical_days: int = Field(
        7,
        ge=0,
        description="Days that a certificate must still be valid, else `failed`. Never more than a ninth of its lifetime.",
    )
    tls_policy: TlsPolicy = Field(
        TlsPolicy.INTERMEDIATE,
        description="`intermediate` bans NULL, anonymous, EXPORT, RC4, DES and 3DES; `strict` also RSA key exchange and CBC-SHA1.",
    )
    hsts_min_age: Duration = Field(timedelta(days=365), gt=timedelta(0), description="Least max-age of HSTS.")
    hsts_include_subdomains: bool = Field(False, description="Whether HSTS must have includeSubDomains.")
    address_family: AddressFamily = Field(
        AddressFamily.ANY, description="Which addresses of the name are checked: `any` (all), `ipv4` or `ipv6`."
    )
    looks: int = Field(
        3,
        ge=1,
        le=20,
        description="How often each address is asked for its certificate, old versions, weak suites and pages in a run: behind a "
        "balancer one backend may differ.",
    )
    connection_timeout: Duration = Field(
        timedelta(seconds=3), gt=timedelta(0), description="How long one connection may take to answer."
    )


class TlsTarget(Target, TlsLimits):
    """A server that speaks TLS, from the first byte or when asked by `starttls`."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        description="Host and port, such as shop.example.com:443."
    )
    server_name: Host | None = Field(
        None, description="Name to ask for (SNI) and to expect in the certificate, where it is not the endpoint's host."
    )
    addresses: tuple[Host, ...] = Field(
        (),
        description="Check these hosts or addresses, such as every replica behind a balancer, instead of the endpoint's own.",
    )
    https: bool = Field(
        True, description="Whether it serves HTTP; false where no browser comes, so that HSTS has no meaning."
    )
    starttls: StartTls | None = Field(
        None,
        description="Protocol in which TLS is asked for, where it does not begin at once: smtp, imap, pop3, ftp, ldap, postgres, "
        "mysql or xmpp.",
    )
    http_port: int | None = Field(
        None, ge=1, le=65535, description="Port of plain HTTP that must redirect to https; not checked by default."
    )

    @property
    def serves_https(self) -> bool:
        """Whether browsers come, so that HSTS has a meaning."""
        return self.https and self.starttls is None

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return urlsplit(f"//{self.endpoint}").hostname or ""

    @property
    def port(self) -> int:
        """The endpoint's port."""
        return urlsplit(f"//{self.endpoint}").port or 0

    @property
    def expected_name(self) -> str:
        """The name that the certificate must be for; a dot at its end is for the resolver alone (RFC 6066 §3)."""
        return (self.server_name or self.host).rstrip(".")
