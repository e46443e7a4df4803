"""TLS handshakes that look at what a server presents instead of judging it, and the roots that its certificates are traced to.

pyOpenSSL speaks through memory, the event loop moves the bytes: no thread, and a deadline that holds at every step.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from OpenSSL import SSL, crypto

from collectors.systems.tls.client.tcp import connected
from collectors.systems.tls.model.addresses import Address, is_ip
from collectors.systems.tls.model.certificates import Keys, Roots, Served
from collectors.systems.tls.model.starttls import StartTls
from exporter.files import TooLarge, read_file
from exporter.trace import traced
from exporter.verdict import ProbeError, Reason
from exporter.words import counted, os_reason

__all__ = ["PUBLIC_ROOTS", "NotServed", "handshake", "roots"]

#: The roots that browsers trust (Mozilla's), whatever the machine that the exporter runs on has been told to trust.
PUBLIC_ROOTS = Path(certifi.where())

_MAX_BYTES = 2**18  # OpenSSL itself takes at most 100 KiB of certificates
_MAX_ROOTS = 2**22
_CHUNK = 2**16
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, to which pyOpenSSL gives no name


_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_ABOUT_THE_OFFER = ("handshake failure", "protocol version", "insufficient security")


class NotServed(ProbeError):
    """The server was there and did not agree to a handshake: it sent an alert, or closed the connection.

    `explicit` says that the alert was about what it was offered: a server in trouble, too, closes connections.
    """

    explicit = False


_SIGNATURES = {
    Keys.RSA: b"rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
    b"rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512",
    Keys.ECDSA: b"ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512",
    Keys.EDDSA: b"ed25519:ed448",
}


@functools.cache
def _client_context(keys: Keys, *, tls_1_3: bool = False) -> SSL.Context:
    """A context that refuses nothing by itself, so that what is wrong with a server can be seen.

    One for a kind of key is for TLS 1.2 at most, or for TLS 1.3 alone.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    if tls_1_3:  # from TLS 1.3 on, signatures and no longer suites say which kind of certificate is wanted
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        _offer_signatures(context, _SIGNATURES[keys])
    elif keys is not Keys.ANY:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(f"{Keys.ANY if tls_1_3 else keys}:!aNULL:!eNULL:@SECLEVEL=0".encode())
    context.set_options(SSL.OP_LEGACY_SERVER_CONNECT)  # browsers connect to servers without RFC 5746, too
    context.set_ocsp_client_callback(_keep_staple)
    return context


def _offer_signatures(context: SSL.Context, signatures: bytes) -> None:
    """Offer these signature algorithms alone, for which pyOpenSSL has no method of its own. Raises ProbeError where it cannot."""
    offer = getattr(SSL._lib, "SSL_CTX_set1_sigalgs_list", None)  # type: ignore[attr-defined]  # releases to come may lack it
    if offer is None or offer(context._context, signatures) != 1:
        raise ProbeError(f"OpenSSL knows none of the signatures {signatures.decode()}.", Reason.NOT_CONFIGURED)


def _keep_staple(connection: SSL.Connection, staple: bytes, _data: None) -> bool:
    connection.set_app_data(staple)
    return True


@traced(
    lambda address, server_name, **_: f"a TLS handshake with {address} for {server_name}",
    lambda served: counted(len(served.sent), "certificate"),
)
async def handshake(
    address: Address,
    server_name: str,
    *,
    timeout: float,
    keys: Keys = Keys.ANY,
    tls_1_3: bool = False,
    starttls: StartTls | None = None,
) -> Served:
    """What the server at an address presents to a client that asks for `server_name`, within `timeout` seconds.

    A client that takes one kind of `keys` speaks TLS 1.2 at most, or with `tls_1_3` that alone. Nothing is
    verified. Raises NotServed when the server does not agree to a handshake, ProbeError when it is unreachable, silent or answers
    something else.
    """
    connection = SSL.Connection(_client_context(keys, tls_1_3=tls_1_3))
    connection.set_connect_state()
    connection.request_ocsp()
    if not is_ip(server_name):
        connection.set_tlsext_host_name(server_name.encode("ascii"))
    try:
        async with asyncio.timeout(timeout):
            await _shake_hands(connection, address, connected(address, starttls, server_name))
    except TimeoutError:
        raise ProbeError(f"{address} did not complete a TLS handshake within {timeout:g} s.", Reason.TIMEOUT) from None
    except (SSL.Error, NotServed, OSError) as error:
        # An alert about a missing client certificate comes after the server's own: what it showed counts.
        if not connection.get_peer_cert_chain():
            raise _broken_off(address, error) from None
    spoke_1_3 = connection.get_protocol_version() == SSL.TLS1_3_VERSION
    return Served(_certificates(connection, address), connection.get_app_data() or b"", spoke_1_3)


async def _shake_hands(
    connection: SSL.Connection, address: Address, transport: AbstractAsyncContextManager[socket.socket]
) -> None:
    loop = asyncio.get_running_loop()
    received = 0
    async with transport as sock:
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
                raise NotServed(f"{address} closed the connection during the TLS handshake.", Reason.REFUSED)
            received += len(data)
            if received > _MAX_BYTES:
                raise ProbeError(
                    f"{address} sent more than {_MAX_BYTES} bytes without completing a TLS handshake.", Reason.MALFORMED
                )
            connection.bio_write(data)


def _certificates(connection: SSL.Connection, address: Address) -> tuple[x509.Certificate, ...]:
    """The certificates as sent, each of which can be read in all its parts."""
    try:
        sent = connection.get_peer_cert_chain(as_cryptography=True) or []
        _read_all(sent)
    except _UNREADABLE as error:
        raise ProbeError(f"{address} presents a certificate that cannot be read: {error}.", Reason.MALFORMED) from None
    if not sent:
        raise ProbeError(f"{address} presents no certificate.", Reason.MALFORMED)
    return tuple(sent)


def read_certificates(encoded: Iterable[bytes], address: Address) -> Served:
    """Certificates as another handshake showed them, in DER. Raises ProbeError when one cannot be read."""
    try:
        sent = tuple(map(x509.load_der_x509_certificate, encoded))
        _read_all(sent)
    except _UNREADABLE as error:
        raise ProbeError(f"{address} presents a certificate that cannot be read: {error}.", Reason.MALFORMED) from None
    return Served(sent, b"")


def _read_all(sent: Iterable[x509.Certificate]) -> None:
    """Read each certificate in all its parts, which are decoded only then."""
    for certificate in sent:
        _ = certificate.extensions, certificate.public_key(), certificate.signature_hash_algorithm


def _to_send(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(_CHUNK)
    except SSL.WantReadError:
        return b""


def _broken_off(address: Address, error: SSL.Error | NotServed | OSError) -> ProbeError:
    if isinstance(error, NotServed):
        return error
    if isinstance(error, OSError):
        return NotServed(f"{address} broke off the TLS handshake: {os_reason(error)}.", Reason.REFUSED)
    return _handshake_error(address, error)


def _handshake_error(address: Address, error: SSL.Error) -> ProbeError:
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reason = str(reasons[0][-1]) if reasons else "no reason given"
    if "alert" in reason or "unrecognized name" in reason:  # it is the peer's
        refused = NotServed(f"{address} refused the TLS handshake: {reason}{_hint(reason)}.", Reason.REFUSED)
        refused.explicit = reason.endswith(_ABOUT_THE_OFFER)
        return refused
    return ProbeError(f"{address} did not complete a TLS handshake: {reason}{_hint(reason)}.", Reason.MALFORMED)


def _hint(reason: str) -> str:
    """What is probably wrong with the configuration, where an error is a riddle."""
    if "wrong version number" in reason:
        return " (it does not speak TLS from the first byte: see the option starttls)"
    if "unrecognized name" in reason:
        return " (it does not know the name that was asked for: see the option server_name)"
    return ""


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
        raise ProbeError(f"CA file {file} cannot be read: {os_reason(error)}.", Reason.NOT_CONFIGURED) from None
    except TooLarge as error:
        raise ProbeError(f"CA file {file} cannot be read: {error}.", Reason.NOT_CONFIGURED) from None


@functools.lru_cache(maxsize=64)
def _roots(file: Path, _modified: int, _size: int) -> Roots:
    if file == PUBLIC_ROOTS:  # roots only; some too old for the parser below
        return Roots(*(_public_store(flags) for flags in (0, _NO_CHECK_TIME)))
    try:
        found = [
            crypto.X509.from_cryptography(one) for one in x509.load_pem_x509_certificates(read_file(file, _MAX_ROOTS))
        ]
    except ValueError:
        raise ProbeError(f"CA file {file} is not a PEM file of certificates.", Reason.NOT_CONFIGURED) from None
    trusted = [certificate for certificate in found if _is_root(certificate)]
    if not trusted:
        count = counted(len(found), "certificate")
        raise ProbeError(f"CA file {file} has {count} and no root among them.", Reason.NOT_CONFIGURED)
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
