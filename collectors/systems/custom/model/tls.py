"""TLS: the certificates that a server presents, and what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import Field

from collectors.shared.cel import Facts, Language
from collectors.systems.custom.model.probe import Demand, Observed, Probe
from collectors.systems.custom.model.tcp import Addresses
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.certificates import (
    Roots,
    Served,
    Untrusted,
    kind_of_key,
    matches,
    unfit_for_servers,
)
from collectors.systems.tls.model.options import AddressFamily, Host
from collectors.systems.tls.model.starttls import StartTls
from exporter.collector import Target
from exporter.options import Duration
from exporter.verdict import Reason
from exporter.words import listed

__all__ = ["Tls", "observed"]

_CERTIFICATE = Language(
    remaining="duration",
    matches="bool",
    trusted="bool",
    names="list(string)",
    subject="string",
    issuer="string",
    key="string",
    key_bits="int",
    chain="list(string)",
)
Condition = Annotated[str, _CERTIFICATE.condition]


class Tls(Probe):
    """Servers that must present a good certificate."""

    language: ClassVar[Language] = _CERTIFICATE
    demands: ClassVar = {
        "matches": Demand("matches", Reason.MISCONFIGURED, "presents a certificate that is not for its name"),
        "trusted": Demand("trusted", Reason.MISCONFIGURED, "presents a certificate that is not trusted"),
        "remaining": Demand('remaining > duration("0s")', Reason.EXPIRED, "presents a certificate that has expired"),
    }

    endpoints: Addresses = Field(
        min_length=1,
        max_length=100,
        description="`host:port` of each server. Every address that a name resolves to is asked.",
    )
    server_name: Host | None = Field(
        None, description="Name to ask for (SNI) and to expect in the certificate; the endpoint's host by default."
    )
    starttls: StartTls | None = Field(
        None,
        description="Protocol in which TLS is asked for, where it does not begin at once: smtp, imap, pop3, ftp, ldap, postgres, "
        "mysql or xmpp.",
    )
    ca_file: Path | None = Field(
        None, description="PEM file of the root certificates to trust instead of the public ones."
    )
    address_family: AddressFamily = Field(
        AddressFamily.ANY, description="Which addresses of a name are asked: `any` (all), `ipv4` or `ipv6`."
    )
    looks: int = Field(
        3, ge=1, le=20, description="How often each address is asked: behind a balancer one backend may differ."
    )
    timeout: Duration = Field(timedelta(seconds=3), gt=timedelta(0), description="How long one handshake may take.")
    conditions: tuple[Condition, ...] = Field(
        (),
        description="What must be true, in CEL: `remaining` (until the first certificate of the chain expires), `matches` (the "
        "certificate is for the name), `trusted` (the chain leads to a trusted root), `names`, `subject`, `issuer`, `key` (RSA, "
        "ECDSA, …), `key_bits`, `chain` (the subjects). Unless a condition names them, `matches` and `trusted` must be true and "
        "`remaining` must be positive.",
    )
    warn_unless: tuple[Condition, ...] = Field((), description="Conditions without which the line is a `warning`.")

    @property
    def parts(self) -> tuple[Target, ...]:
        """The endpoints."""
        return tuple(Target(name=endpoint) for endpoint in self.endpoints)

    @property
    def longest(self) -> timedelta:
        """How long one endpoint may take: all looks, one after the other."""
        return self.timeout * (self.looks + 1)

    @property
    def subject(self) -> str:
        """What is checked."""
        return f"{listed(self.endpoints)} {'presents' if len(self.endpoints) == 1 else 'present'} a certificate"


def observed(address: Address, served: Served, roots: Roots, name: str, now: datetime) -> Observed:
    """The facts on what a server presented at an address to a client that wants `name`."""
    leaf = served.leaf
    why = ""
    try:
        path = roots.path(served.sent)
        why = next((reason for _, reason in unfit_for_servers(path)), "")
    except Untrusted as error:
        path, why = (leaf,), str(error)
    begin = max(certificate.not_valid_before_utc for certificate in path)
    remaining = min(certificate.not_valid_after_utc for certificate in path) - now
    if begin > now:
        why = why or f"it is not valid before {begin:%Y-%m-%d %H:%M} UTC"
    facts = Facts(
        remaining=remaining,
        matches=matches(leaf, name),
        trusted=not why,
        names=list(_names(leaf)),
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        key=kind_of_key(leaf),
        key_bits=_bits(leaf),
        chain=[certificate.subject.rfc4514_string() for certificate in served.sent],
    )
    notes = {
        "matches": f"it is for {listed(facts['names']) if facts['names'] else 'no name'}, not for {name}",
        "trusted": why,
    }
    return Observed(
        str(address), facts, measurements={"certificate_expiry_seconds": remaining.total_seconds()}, notes=notes
    )


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from names.get_values_for_type(x509.DNSName)
    yield from map(str, names.get_values_for_type(x509.IPAddress))


def _bits(certificate: x509.Certificate) -> int:
    key = certificate.public_key()
    return key.key_size if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else 256
