"""What a server presents: its certificates, whether they lead to trusted roots, and for which names they are."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.x509.oid import PublicKeyAlgorithmOID
from OpenSSL import crypto

from collectors.systems.tls.model.addresses import is_ip

__all__ = ["Keys", "Roots", "Served", "Untrusted", "matches"]

_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


class Keys(StrEnum):
    """Which certificate to ask a server for: it may have one per kind of key, and shows each only to clients that take no other."""

    ANY = "ALL"
    RSA = "aRSA"
    ECDSA = "aECDSA"


@dataclass(frozen=True, slots=True)
class Served:
    """What one handshake showed: the certificates as sent, the server's own first, and the stapled OCSP response (DER)."""

    sent: tuple[x509.Certificate, ...]
    staple: bytes

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return self.sent[0]

    @property
    def other_keys(self) -> Keys:
        """What to ask for to see a certificate with a key of the other kind, if the server has one."""
        is_rsa = self.leaf.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5
        return Keys.ECDSA if is_rsa else Keys.RSA


class Untrusted(Exception):
    """The certificates as sent lead to no trusted root; its text is OpenSSL's reason."""


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
                raise Untrusted(str(error)) from None
        try:
            return self._path(self._undated, sent)
        except crypto.X509StoreContextError as error:
            raise Untrusted(str(error)) from None

    @staticmethod
    def _path(store: crypto.X509Store, sent: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
        leaf, *others = (crypto.X509.from_cryptography(certificate) for certificate in sent)
        chain = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
        return tuple(certificate.to_cryptography() for certificate in chain)


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
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    label, dot, domain = pattern.partition(".")
    if label == "*" and "." in domain:
        return host.partition(".")[1:] == (dot, domain) and host.partition(".")[0] != ""
    return pattern == host
