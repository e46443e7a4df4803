"""TLS handshakes that look at what a server presents instead of judging it, and the roots that its certificates are traced to.

pyOpenSSL speaks through memory, the event loop moves the bytes: no thread, and a deadline that holds at every step.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import PublicKeyAlgorithmOID
from OpenSSL import SSL, crypto

from collectors.systems.tls.client.tcp import Address, connected, is_ip
from exporter.verdict import ProbeError

__all__ = ["PUBLIC_ROOTS", "Keys", "NotServed", "Roots", "Served", "Untrusted", "handshake", "matches", "roots"]

#: The roots that browsers trust (Mozilla's), whatever the machine that the exporter runs on has been told to trust.
PUBLIC_ROOTS = Path(certifi.where())

_MAX_BYTES = 2**18  # OpenSSL itself takes at most 100 KiB of certificates
_CHUNK = 2**16
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, to which pyOpenSSL gives no name
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


_ABOUT_THE_OFFER = ("handshake failure", "protocol version", "insufficient security")


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


class NotServed(ProbeError):
    """The server was there and did not agree to a handshake: it sent an alert, or closed the connection.

    `explicit` says that the alert was about what it was offered: a server in trouble, too, closes connections.
    """

    explicit = False


@functools.cache
def _client_context(keys: Keys) -> SSL.Context:
    """A context that refuses nothing by itself, so that what is wrong with a server can be seen."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    if keys is not Keys.ANY:  # from TLS 1.3 on, suites no longer say which kind of certificate is wanted
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(f"{keys}:!aNULL:!eNULL:@SECLEVEL=0".encode())
    context.set_ocsp_client_callback(_keep_staple)
    return context


def _keep_staple(connection: SSL.Connection, staple: bytes, _data: None) -> bool:
    connection.set_app_data(staple)
    return True


async def handshake(address: Address, server_name: str, *, timeout: float, keys: Keys = Keys.ANY) -> Served:
    """What the server at an address presents to a client that asks for `server_name`, within `timeout` seconds.

    Nothing is verified. Raises NotServed when the server does not agree to a handshake, ProbeError when it is unreachable, silent
    or answers something else.
    """
    connection = SSL.Connection(_client_context(keys))
    connection.set_connect_state()
    connection.request_ocsp()
    if not is_ip(server_name):
        connection.set_tlsext_host_name(server_name.encode("ascii"))
    try:
        async with asyncio.timeout(timeout):
            await _shake_hands(connection, address)
    except TimeoutError:
        raise ProbeError(f"{address} did not complete a TLS handshake within {timeout:g} s.") from None
    except SSL.Error as error:
        raise _handshake_error(address, error) from None
    except OSError as error:
        raise NotServed(f"{address} broke off the TLS handshake: {error.strerror or error}.") from None
    return Served(_certificates(connection, address), connection.get_app_data() or b"")


async def _shake_hands(connection: SSL.Connection, address: Address) -> None:
    loop = asyncio.get_running_loop()
    received = 0
    async with connected(address) as sock:
        while True:
            try:
                connection.do_handshake()
                done = True
            except SSL.WantReadError:
                done = False
            await loop.sock_sendall(sock, _to_send(connection))
            if done:
                return
            data = await loop.sock_recv(sock, _CHUNK)
            if not data:
                raise NotServed(f"{address} closed the connection during the TLS handshake.")
            received += len(data)
            if received > _MAX_BYTES:
                raise ProbeError(f"{address} sent more than {_MAX_BYTES} bytes without completing a TLS handshake.")
            connection.bio_write(data)


def _certificates(connection: SSL.Connection, address: Address) -> tuple[x509.Certificate, ...]:
    """The certificates as sent, each of which can be read in all its parts."""
    try:
        sent = connection.get_peer_cert_chain(as_cryptography=True) or []
        for certificate in sent:
            _ = certificate.extensions, certificate.public_key(), certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ProbeError(f"{address} presents a certificate that cannot be read: {error}.") from None
    if not sent:
        raise ProbeError(f"{address} presents no certificate.")
    return tuple(sent)


def _to_send(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(_CHUNK)
    except SSL.WantReadError:
        return b""


def _handshake_error(address: Address, error: SSL.Error) -> ProbeError:
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reason = str(reasons[0][-1]) if reasons else "no reason given"
    if "alert" in reason:  # it is the peer's
        refused = NotServed(f"{address} refused the TLS handshake: {reason}.")
        refused.explicit = reason.endswith(_ABOUT_THE_OFFER)
        return refused
    return ProbeError(f"{address} did not complete a TLS handshake: {reason}.")


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


def roots(file: Path | None) -> Roots:
    """The roots in a PEM file (by default those that browsers trust), read once until the file changes.

    Intermediates in the file are left out: they would hide that a server does not send them. Raises ProbeError when the file
    cannot be read or has no root in it.
    """
    file = file or PUBLIC_ROOTS
    try:
        stat = file.stat()
        return _roots(file, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ProbeError(f"CA file {file} cannot be read: {error.strerror}.") from None


@functools.lru_cache(maxsize=64)
def _roots(file: Path, _modified: int, _size: int) -> Roots:
    if file == PUBLIC_ROOTS:  # roots only; some too old for the parser below
        return Roots(*(_public_store(flags) for flags in (0, _NO_CHECK_TIME)))
    try:
        found = [crypto.X509.from_cryptography(one) for one in x509.load_pem_x509_certificates(file.read_bytes())]
    except ValueError:
        raise ProbeError(f"CA file {file} is not a PEM file of certificates.") from None
    trusted = [certificate for certificate in found if _is_root(certificate)]
    if not trusted:
        count = f"{len(found)} certificate{'s' if len(found) != 1 else ''}"
        raise ProbeError(f"CA file {file} has {count} and no root among them.")
    return Roots(*(_store(trusted, flags) for flags in (0, _NO_CHECK_TIME)))


def _store(certificates: Iterable[crypto.X509], flags: int) -> crypto.X509Store:
    store = crypto.X509Store()
    store.set_flags(flags)
    for certificate in certificates:
        store.add_cert(certificate)
    return store


def _public_store(flags: int) -> crypto.X509Store:
    store = _store((), flags)
    store.load_locations(str(PUBLIC_ROOTS))
    return store


def _is_root(certificate: crypto.X509) -> bool:
    """Whether OpenSSL takes it for the end of a chain: a self-issued certificate under an old key is none."""
    try:
        crypto.X509StoreContext(_store((certificate,), _NO_CHECK_TIME), certificate).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


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
