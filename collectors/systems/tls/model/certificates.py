"""What a server presents: its certificates, whether they lead to trusted roots, and for which names they are."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID
from OpenSSL import crypto

from collectors.systems.tls.model.addresses import is_ip
from exporter.verdict import ProbeError

__all__ = [
    "Keys",
    "Presented",
    "Roots",
    "Served",
    "Untrusted",
    "is_authority",
    "kind_of_key",
    "lacks_signatures",
    "matches",
    "same_authority",
    "unfit_for_servers",
]

#: X509_V_ERR_…: no issuer found (2, 20, 21), one of its name with another key (7), self-signed (18, 19), not trusted (27),
#: rejected (28).
_NO_ROOT = (2, 7, 18, 19, 20, 21, 27, 28)
#: Server gated cryptography of Microsoft and Netscape, which OpenSSL takes for TLS servers.
_GATED_CRYPTO = frozenset(map(x509.ObjectIdentifier, ("1.3.6.1.4.1.311.10.3.3", "2.16.840.1.113730.4.1")))
_NETSCAPE_TYPE = x509.ObjectIdentifier("2.16.840.1.113730.1.1")
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


class Keys(StrEnum):
    """Which certificate to ask a server for: it may have one per kind of key, and shows each only to clients that take no other.

    EdDSA is asked for by signatures alone.
    """

    ANY = "ALL"
    RSA = "aRSA"
    ECDSA = "aECDSA"
    EDDSA = "aEdDSA"


_KINDS = {PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5: Keys.RSA, PublicKeyAlgorithmOID.EC_PUBLIC_KEY: Keys.ECDSA}
_NAMES = {
    PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5: "RSA",
    PublicKeyAlgorithmOID.RSASSA_PSS: "RSA-PSS",
    PublicKeyAlgorithmOID.EC_PUBLIC_KEY: "ECDSA",
    PublicKeyAlgorithmOID.ED25519: "Ed25519",
    PublicKeyAlgorithmOID.ED448: "Ed448",
}


def kind_of_key(certificate: x509.Certificate) -> str:
    """The kind of key that a certificate is for, as people call it: RSA, RSA-PSS, ECDSA, Ed25519, Ed448 or an OID."""
    oid = certificate.public_key_algorithm_oid
    return _NAMES.get(oid, oid.dotted_string)


@dataclass(frozen=True, slots=True)
class Served:
    """What one handshake showed: the certificates as sent, the server's own first, the stapled OCSP response (DER), and whether the
    server spoke TLS 1.3."""

    sent: tuple[x509.Certificate, ...]
    staple: bytes
    tls_1_3: bool = False

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return self.sent[0]

    @property
    def other_keys(self) -> tuple[Keys, ...]:
        """What to ask for to see a certificate with a key of another kind, if the server has one."""
        own = _KINDS.get(self.leaf.public_key_algorithm_oid)
        return tuple(kind for kind in (Keys.RSA, Keys.ECDSA) if kind is not own)


@dataclass(frozen=True, slots=True)
class Presented:
    """The distinct chains that one address presented, and what kept further looks from showing theirs."""

    chains: tuple[Served, ...]
    unseen: ProbeError | None = None


class Untrusted(Exception):
    """The certificates as sent are not trusted; its text is OpenSSL's reason.

    `incomplete` says that no trusted root is reached. Otherwise one is, and something else is wrong on the way: a name or length
    that a certificate above forbids, a certificate that is not one of an authority.
    """

    def __init__(self, reason: str, *, incomplete: bool) -> None:
        super().__init__(reason)
        self.incomplete = incomplete


class Roots:
    """Trusted roots. A path to them is built from the certificates that a server sent and from nothing else."""

    def __init__(self, dated: crypto.X509Store, undated: crypto.X509Store) -> None:
        self._dated = dated
        self._undated = undated

    def path(self, sent: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
        """From the server's own certificate to the root. Raises Untrusted when there is no such path.

        Dates are left to the caller, except that a path that is valid now is preferred.
        """
        try:
            return self._path(self._dated, sent)
        except crypto.X509StoreContextError as error:
            if error.errors[0] not in (_NOT_YET_VALID, _EXPIRED):
                raise _untrusted(error) from None
        try:
            return self._path(self._undated, sent)
        except crypto.X509StoreContextError as error:
            raise _untrusted(error) from None

    @staticmethod
    def _path(store: crypto.X509Store, sent: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
        leaf, *others = (crypto.X509.from_cryptography(certificate) for certificate in sent)
        chain = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
        return tuple(certificate.to_cryptography() for certificate in chain)


def _untrusted(error: crypto.X509StoreContextError) -> Untrusted:
    return Untrusted(str(error), incomplete=error.errors[0] in _NO_ROOT)


def unfit_for_servers(path: Sequence[x509.Certificate]) -> Iterator[tuple[x509.Certificate, str]]:
    """The certificates of a path, the server's own first, that TLS clients do not accept for a server, and why.

    The rules are those of OpenSSL's purpose sslserver, by which Python, Node.js, curl and others judge: an extended key usage, on
    whichever certificate of the path, must name TLS servers (anyExtendedKeyUsage does not), and a key usage of the server's own
    must allow signatures, key encipherment or key agreement, as must its Netscape certificate type, if it has one.
    """
    for place, certificate in enumerate(path):
        usages = _extension(certificate, x509.ExtendedKeyUsage)
        if usages is not None and not {ExtendedKeyUsageOID.SERVER_AUTH, *_GATED_CRYPTO} & set(usages):
            yield certificate, "its extended key usage does not include TLS servers"
        usage = _extension(certificate, x509.KeyUsage)
        if place == 0 and usage and not (usage.digital_signature or usage.key_encipherment or usage.key_agreement):
            yield certificate, "its key usage allows neither signatures nor key exchange"
        if place == 0 and not _netscape_server(certificate):
            yield certificate, "its Netscape certificate type does not include TLS servers"


def lacks_signatures(certificate: x509.Certificate) -> bool:
    """Whether a server's own certificate has a key usage that leaves out digital signatures (RFC 8446 §4.4.2.2)."""
    usage = _extension(certificate, x509.KeyUsage)
    return usage is not None and not usage.digital_signature


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that it is one of an authority, which may sign others."""
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _netscape_server(certificate: x509.Certificate) -> bool:
    """Whether the old extension nsCertType, a bit string whose second bit is for servers, is absent or allows servers."""
    try:
        value = certificate.extensions.get_extension_for_oid(_NETSCAPE_TYPE).value
    except x509.ExtensionNotFound:
        return True
    return isinstance(value, x509.UnrecognizedExtension) and bool(value.value[3:4] and value.value[3] & 0x40)


def _extension(certificate: x509.Certificate, kind: type[ExtensionT]) -> ExtensionT | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def same_authority(one: x509.Certificate, other: x509.Certificate) -> bool:
    """Whether two certificates are of one authority: the same name and key, as a root and its cross-signed form."""
    return one.subject == other.subject and one.public_key() == other.public_key()


def matches(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate is for a host, by its subject alternative names alone (RFC 9525 §6: never by the common name)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    if is_ip(host):
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    return any(_same_host(name, host) for name in names.get_values_for_type(x509.DNSName))


def _same_host(pattern: str, host: str) -> bool:
    """A wildcard stands for exactly one whole label, the first, and not above a top-level domain."""
    pattern, host = pattern.lower(), host.lower().rstrip(".")  # a name that ends in a dot is for no client
    label, dot, domain = pattern.partition(".")
    if label == "*" and "." in domain:
        return host.partition(".")[1:] == (dot, domain) and host.partition(".")[0] != ""
    return pattern == host
