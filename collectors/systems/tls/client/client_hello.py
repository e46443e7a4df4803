"""The first message of a TLS handshake, written by hand: whether a server still speaks what OpenSSL can no longer offer.

A ClientHello is sent and the answer to it read; then the connection is dropped. Nothing secret is sent, nothing is negotiated.
Everything but the offer itself is what a current client sends, so that a refusal is about the offer: servers refuse hellos without
extended master secret (RFC 7627), and fronts drop those with very many suites.
Formats: RFC 6101 (SSL 3), RFC 5246 §7.4.1 (to TLS 1.2), RFC 8446 §4.1 (TLS 1.3).
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from collectors.systems.tls.client.tcp import connected
from collectors.systems.tls.model.addresses import Address, is_ip
from collectors.systems.tls.model.cipher_suites import SUITES
from collectors.systems.tls.model.hello import Accepted, Answer, Flight, Refused, Version
from collectors.systems.tls.model.starttls import StartTls
from exporter.verdict import ProbeError, Reason
from exporter.words import os_reason

__all__ = [
    "ALL_SIGNATURES",
    "EDDSA",
    "client_hello",
    "first_flight",
    "offer",
    "read_answer",
    "read_flight",
    "suites_for",
]


T = TypeVar("T")

_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO, _CERTIFICATE, _KEY_EXCHANGE, _HELLO_DONE = 2, 11, 12, 14
_MAX_RECORD = 2**14 + 2048
_MAX_ANSWER = 2**16  # a ServerHello with the certificates behind it, generously
_MAX_FLIGHT = 2**18
#: Most suites in one hello. Browsers send about 20, and some fronts drop hellos with more than 128.
_MOST_SUITES = 100
_SERVER_NAME, _GROUPS, _POINT_FORMATS, _SIGNATURES, _MASTER_SECRET, _VERSIONS, _KEY_SHARE = 0, 10, 11, 13, 23, 43, 51
_SECURE_RENEGOTIATION = 0x00FF  # a pseudo suite; some servers talk to nobody who does not offer it (RFC 5746)
_X25519 = 0x001D
_CURVES = "001d 0017 0018 0019 001e"  # X25519, the NIST curves, X448
_OLD_CURVES = "001a 001b 001c 0016 0015 0013"  # Brainpool's, secp256k1, P-224 and P-192
#: ML-KEM with X25519, P-256 or P-384: current clients offer it, and some servers take nothing else.
_HYBRIDS = "11ec 11eb 11ed"
#: Groups of finite field Diffie-Hellman. Before TLS 1.3 a server would use them instead of a weak group of its own (RFC 7919).
_FFDHE = "0100 0101 0102"
_WARNING, _FATAL = 1, 2
# Alerts, RFC 8446 §6.2
_CLOSE_NOTIFY, _HANDSHAKE_FAILURE, _PROTOCOL_VERSION, _INSUFFICIENT_SECURITY, _INTERNAL_ERROR = 0, 40, 70, 71, 80
_UNRECOGNIZED_NAME = 112
#: Alerts that turn down an offer. OpenSSL 3 says "internal error" when its security level forbids a version that is configured.
_REFUSALS = (_CLOSE_NOTIFY, _HANDSHAKE_FAILURE, _PROTOCOL_VERSION, _INSUFFICIENT_SECURITY, _INTERNAL_ERROR)
_TLS_1_3_ONLY = frozenset((0x1301, 0x1302, 0x1303, 0x1304, 0x1305, 0xC0B4, 0xC0B5))
_OLD_HASHES = ("_SHA", "_MD5")
#: From ECDSA, Ed25519 and Ed448 through RSA-PSS (with either kind of RSA key) and PKCS#1 down to SHA-1 (RFC 8446 §4.2.3).
ALL_SIGNATURES = "0403 0503 0603 0807 0808 0804 0805 0806 0809 080a 080b 0401 0501 0601 0303 0301 0203 0201 0202"
#: Ed25519 and Ed448 alone: what a client must offer to see a certificate with such a key beside others.
EDDSA = "0807 0808"


def suites_for(version: Version) -> tuple[int, ...]:
    """Every known suite that can be negotiated in this version, weak ones too, so that none decides against the version."""
    if version is Version.TLS_1_3:
        return tuple(sorted(_TLS_1_3_ONLY))
    return tuple(
        number
        for number, name in SUITES.items()
        if number not in _TLS_1_3_ONLY and (version is Version.TLS_1_2 or name.endswith(_OLD_HASHES))
    )


def client_hello(version: Version, suites: Iterable[int], server_name: str, signatures: str = ALL_SIGNATURES) -> bytes:
    """A ClientHello, as one record, that offers `version` at most and these cipher suites and signature algorithms (hexadecimal).

    An IP address is not sent as a name.
    """
    offered = struct.pack(">H", _SECURE_RENEGOTIATION) + b"".join(struct.pack(">H", suite) for suite in suites)
    hello = struct.pack(">H", min(version, Version.TLS_1_2)) + os.urandom(32)
    hello += _sized(1, os.urandom(32) if version is Version.TLS_1_3 else b"")
    hello += _sized(2, offered) + _sized(1, b"\0")
    if version > Version.SSL_3:
        hello += _sized(2, b"".join(_extensions(version, server_name, signatures)))
    message = b"\x01" + _sized(3, hello)
    return struct.pack(">BH", _HANDSHAKE, min(version, Version.TLS_1_0)) + _sized(2, message)


def _extensions(version: Version, server_name: str, signatures: str) -> Iterator[bytes]:
    if not is_ip(server_name):
        yield _extension(_SERVER_NAME, _sized(2, b"\0" + _sized(2, server_name.encode("ascii"))))
    yield _extension(
        _GROUPS, _sized(2, bytes.fromhex(_CURVES + (_HYBRIDS + _FFDHE if version is Version.TLS_1_3 else _OLD_CURVES)))
    )
    yield _extension(_POINT_FORMATS, _sized(1, b"\0"))
    if version < Version.TLS_1_3:
        yield _extension(_MASTER_SECRET, b"")
    if version >= Version.TLS_1_2:
        yield _extension(_SIGNATURES, _sized(2, bytes.fromhex(signatures)))
    if version is Version.TLS_1_3:
        yield _extension(_VERSIONS, _sized(1, struct.pack(">H", version)))
        key = struct.pack(">H", _X25519) + _sized(2, os.urandom(32))  # any 32 bytes are a public key of X25519
        yield _extension(_KEY_SHARE, _sized(2, key))


def _extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">H", kind) + _sized(2, content)


def _sized(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width, "big") + content


def read_answer(data: bytes, version: Version, suites: Iterable[int], *, ended: bool) -> Answer | None:
    """What the bytes received so far answer to a ClientHello that offered this; None while they are too few.

    `ended` says that no more will come. Raises ValueError, with a clause that completes "The server …", for whatever is neither an
    answer to this offer nor its refusal: garbage is never taken for a refusal.
    """
    handshake = b""
    for kind, content in _records(data):
        if kind == _ALERT:
            if (refused := _read_alert(content)) is not None:
                return refused
        else:
            handshake += content
            if (hello := _read_message(handshake)) is not None:
                return _read_server_hello(hello, version, frozenset(suites))
    if not ended:
        return None
    if data:
        raise ValueError("closed the connection in the middle of its answer")
    return Refused(None)


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole records at the beginning of `data`. Raises ValueError as soon as it cannot be the beginning of TLS."""
    position = 0
    while position < len(data):
        header = data[position : position + 5]
        if header[0] not in (_ALERT, _HANDSHAKE) or header[1:2] not in (b"", b"\3"):
            raise ValueError("answered something that is not TLS")
        if len(header) < 5:
            return
        kind, _, length = struct.unpack(">BHH", header)
        if not 0 < length <= _MAX_RECORD:
            raise ValueError("answered something that is not TLS")
        position += 5 + length
        if position > len(data):
            return
        yield kind, data[position - length : position]


def _read_alert(content: bytes, *, about_offer: bool = True) -> Refused | None:
    """What an alert means; None for a warning about the name alone, after which servers go on.

    `about_offer` says that only an alert that turns down an offer will do.
    """
    if len(content) != 2 or content[0] not in (_WARNING, _FATAL):
        raise ValueError("answered with a malformed alert")
    level, alert = content
    if level == _WARNING and alert == _UNRECOGNIZED_NAME:
        return None
    if about_offer and alert not in _REFUSALS:
        hint = " with the name: see the option server_name" if alert == _UNRECOGNIZED_NAME else ""
        raise ValueError(
            f"answered with alert {alert}, which does not refuse the offer but says that something else was wrong{hint}"
        )
    return Refused(alert)


def _read_message(handshake: bytes) -> bytes | None:
    """The body of the first handshake message, which must be a ServerHello; None while it is not whole."""
    if handshake[0] != _SERVER_HELLO:
        raise ValueError(f"answered with handshake message {handshake[0]}, where a ServerHello was expected")
    if len(handshake) < 4:
        return None
    length = int.from_bytes(handshake[1:4], "big")
    if length > _MAX_ANSWER:
        raise ValueError("answered with a malformed ServerHello")
    return handshake[4 : 4 + length] if len(handshake) >= 4 + length else None


def _read_server_hello(hello: bytes, offered: Version, suites: frozenset[int]) -> Accepted:
    try:
        number, id_length = struct.unpack_from(">H32xB", hello)
        suite, _compression = struct.unpack_from(">HB", hello, 35 + id_length)
        for kind, content in _server_extensions(hello[38 + id_length :]):
            if kind == _VERSIONS:
                (number,) = struct.unpack(">H", content)
        version = Version(number)
    except (struct.error, ValueError):
        raise ValueError("answered with a malformed ServerHello") from None
    if version > offered or suite not in suites:
        raise ValueError(f"chose {version} with cipher suite 0x{suite:04X}, which it was not offered")
    return Accepted(version, suite)


def _server_extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The extensions of a ServerHello. Raises struct.error or ValueError when they are malformed."""
    if not data:
        return
    (length,) = struct.unpack_from(">H", data)
    if length != len(data) - 2:
        raise ValueError("the extensions are cut off")
    position = 2
    while position < len(data):
        kind, length = struct.unpack_from(">HH", data, position)
        position += 4 + length
        if position > len(data):
            raise ValueError("an extension is cut off")
        yield kind, data[position - length : position]


def read_flight(data: bytes, *, ended: bool) -> Flight | Refused | None:
    """What a server says in clear after a ClientHello of TLS 1.2 or before; None while it has not said all.

    An alert after the certificates (about a client certificate that is missing, say) ends the flight and is no refusal; an alert
    before them is one, whatever its number. Raises ValueError, with a clause that completes "The server …", for what is not TLS.
    """
    handshake = b""
    certificates: tuple[bytes, ...] = ()
    bits, alert, complete = None, None, False
    for kind, content in _records(data):
        if kind != _ALERT:
            handshake += content
        elif alert := _read_alert(content, about_offer=False):
            break  # what some servers say afterwards is in clear
    try:
        for kind, body in _messages(handshake):
            if kind == _CERTIFICATE:
                certificates = tuple(_certificates(body))
            elif kind == _KEY_EXCHANGE:
                bits = _dh_bits(body)
            elif kind == _HELLO_DONE:
                complete = True
    except (struct.error, ValueError):
        raise ValueError("answered with malformed handshake messages") from None
    if complete or (certificates and (ended or alert)):
        return Flight(certificates, bits)
    if alert or (ended and not data):
        return alert or Refused(None)
    if ended:
        raise ValueError("closed the connection in the middle of its answer")
    return None


def _messages(handshake: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole handshake messages at the beginning of `handshake`, by type."""
    position = 0
    while len(handshake) >= position + 4:
        end = position + 4 + int.from_bytes(handshake[position + 1 : position + 4], "big")
        if end > len(handshake):
            return
        yield handshake[position], handshake[position + 4 : end]
        position = end


def _certificates(body: bytes) -> Iterator[bytes]:
    """The certificates of a Certificate message (RFC 5246 §7.4.2)."""
    if int.from_bytes(body[:3], "big") != len(body) - 3:
        raise ValueError("the list is cut off")
    position = 3
    while position < len(body):
        end = position + 3 + int.from_bytes(body[position : position + 3], "big")
        if end > len(body):
            raise ValueError("a certificate is cut off")
        yield body[position + 3 : end]
        position = end


def _dh_bits(body: bytes) -> int | None:
    """The size of the group in a ServerKeyExchange of DHE, which begins with its prime (RFC 5246 §7.4.3)."""
    (length,) = struct.unpack_from(">H", body)
    prime = body[2 : 2 + length]
    return int.from_bytes(prime, "big").bit_length() if len(prime) == length else None


async def offer(
    address: Address,
    version: Version,
    suites: Iterable[int],
    *,
    server_name: str,
    timeout: float,
    starttls: StartTls | None = None,
) -> Answer:
    """What the server at an address answers to ClientHellos that offer these suites, each within `timeout` seconds.

    More suites than a current client would send go into several hellos, one after the other, until one is accepted. Raises
    ProbeError when the server is unreachable, silent, or answers neither yes nor no.
    """
    left = tuple(suites)
    refusals: list[Refused] = []
    while left:
        some, left = left[:_MOST_SUITES], left[_MOST_SUITES:]
        found = await _answer(address, version, some, server_name, timeout, starttls)
        if isinstance(found, Accepted):
            return found
        refusals.append(found)
    # As certain as the least certain: a connection that was closed may have been the one whose suites it accepts.
    return next((one for one in refusals if not one.explicit), refusals[0] if refusals else Refused(None))


async def _answer(
    address: Address,
    version: Version,
    suites: tuple[int, ...],
    server_name: str,
    timeout: float,
    starttls: StartTls | None,
) -> Answer:
    def read(data: bytes, ended: bool) -> Answer | None:
        if len(data) > _MAX_ANSWER:
            raise ValueError(f"answered more than {_MAX_ANSWER} bytes without a ServerHello")
        return read_answer(data, version, suites, ended=ended)

    hello = client_hello(version, suites, server_name)
    return await _ask(connected(address, starttls, server_name), address, version, hello, timeout, read)


async def first_flight(
    address: Address,
    version: Version,
    suites: Iterable[int],
    *,
    server_name: str,
    timeout: float,
    signatures: str = ALL_SIGNATURES,
    starttls: StartTls | None = None,
) -> Flight | Refused:
    """What the server says in clear after a ClientHello of TLS 1.2 or before; raises ProbeError as `offer` does."""

    def read(data: bytes, ended: bool) -> Flight | Refused | None:
        if len(data) > _MAX_FLIGHT:
            raise ValueError(f"answered more than {_MAX_FLIGHT} bytes to a ClientHello")
        return read_flight(data, ended=ended)

    hello = client_hello(version, suites, server_name, signatures)
    return await _ask(connected(address, starttls, server_name), address, version, hello, timeout, read)


async def _ask(
    connection: AbstractAsyncContextManager[socket.socket],
    address: Address,
    version: Version,
    hello: bytes,
    timeout: float,
    read: Callable[[bytes, bool], T | None],
) -> T | Refused:
    """What `read` makes of the answer to a hello. Raises ProbeError."""
    data = b""
    try:
        async with asyncio.timeout(timeout), connection as sock:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, hello)
            ended = False
            while (answer := read(data, ended)) is None:
                more = await loop.sock_recv(sock, _MAX_ANSWER)
                data, ended = data + more, not more
            return answer
    except TimeoutError:
        raise ProbeError(
            f"{address} did not answer a ClientHello of {version} within {timeout:g} s.", Reason.TIMEOUT
        ) from None
    except ConnectionError:  # reset after it was made: the rude way of closing
        if data:
            raise ProbeError(
                f"{address} reset the connection in the middle of its answer to a ClientHello of {version}.",
                Reason.REFUSED,
            ) from None
        return Refused(None)
    except OSError as error:
        raise ProbeError(f"{address} could not be asked: {os_reason(error)}.", Reason.UNREACHABLE) from None
    except ValueError as error:
        raise ProbeError(f"{address} {error} (to a ClientHello of {version}).", Reason.MALFORMED) from None
