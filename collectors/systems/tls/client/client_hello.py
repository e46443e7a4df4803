"""The first message of a TLS handshake, written by hand: whether a server still speaks what OpenSSL can no longer offer.

One ClientHello is sent and the answer to it read; then the connection is dropped. Nothing secret is sent, nothing is negotiated.
Formats: RFC 6101 (SSL 3), RFC 5246 §7.4.1 (to TLS 1.2), RFC 8446 §4.1 (TLS 1.3).
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterable, Iterator

from collectors.systems.tls.client.tcp import connected
from collectors.systems.tls.model.addresses import Address, is_ip
from collectors.systems.tls.model.cipher_suites import SUITES
from collectors.systems.tls.model.hello import Accepted, Answer, Refused, Version
from exporter.verdict import ProbeError

__all__ = ["client_hello", "offer", "read_answer", "suites_for"]


_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO = 2
_MAX_RECORD = 2**14 + 2048
_MAX_ANSWER = 2**16  # a ServerHello with the certificates behind it, generously
_SERVER_NAME, _GROUPS, _POINT_FORMATS, _SIGNATURES, _VERSIONS, _KEY_SHARE = 0, 10, 11, 13, 43, 51
_SECURE_RENEGOTIATION = 0x00FF  # a pseudo suite; some servers talk to nobody who does not offer it (RFC 5746)
_X25519 = 0x001D
_WARNING, _FATAL = 1, 2
# Alerts, RFC 8446 §6.2
_CLOSE_NOTIFY, _HANDSHAKE_FAILURE, _PROTOCOL_VERSION, _INSUFFICIENT_SECURITY, _INTERNAL_ERROR = 0, 40, 70, 71, 80
_UNRECOGNIZED_NAME = 112
#: Alerts that turn down an offer. OpenSSL 3 says "internal error" when its security level forbids a version that is configured.
_REFUSALS = (_CLOSE_NOTIFY, _HANDSHAKE_FAILURE, _PROTOCOL_VERSION, _INSUFFICIENT_SECURITY, _INTERNAL_ERROR)
_TLS_1_3_ONLY = frozenset((0x1301, 0x1302, 0x1303, 0x1304, 0x1305, 0xC0B4, 0xC0B5))
_OLD_HASHES = ("_SHA", "_MD5")


def suites_for(version: Version) -> tuple[int, ...]:
    """Every known suite that can be negotiated in this version, weak ones too, so that none decides against the version."""
    if version is Version.TLS_1_3:
        return tuple(sorted(_TLS_1_3_ONLY))
    return tuple(
        number
        for number, name in SUITES.items()
        if number not in _TLS_1_3_ONLY and (version is Version.TLS_1_2 or name.endswith(_OLD_HASHES))
    )


def client_hello(version: Version, suites: Iterable[int], server_name: str) -> bytes:
    """A ClientHello, as one record, that offers `version` at most and these cipher suites. An IP address is not sent as a name."""
    offered = struct.pack(">H", _SECURE_RENEGOTIATION) + b"".join(struct.pack(">H", suite) for suite in suites)
    hello = struct.pack(">H", min(version, Version.TLS_1_2)) + os.urandom(32)
    hello += _sized(1, os.urandom(32) if version is Version.TLS_1_3 else b"")
    hello += _sized(2, offered) + _sized(1, b"\0")
    if version > Version.SSL_3:
        hello += _sized(2, b"".join(_extensions(version, server_name)))
    message = b"\x01" + _sized(3, hello)
    return struct.pack(">BH", _HANDSHAKE, min(version, Version.TLS_1_0)) + _sized(2, message)


def _extensions(version: Version, server_name: str) -> Iterator[bytes]:
    if not is_ip(server_name):
        yield _extension(_SERVER_NAME, _sized(2, b"\0" + _sized(2, server_name.encode("ascii"))))
    yield _extension(_GROUPS, _sized(2, bytes.fromhex("001d 0017 0018 0019")))  # x25519 and the NIST curves
    yield _extension(_POINT_FORMATS, _sized(1, b"\0"))
    if version >= Version.TLS_1_2:  # from ECDSA and Ed25519 through RSA-PSS and PKCS#1 down to SHA-1
        algorithms = "0403 0503 0603 0807 0808 0804 0805 0806 0401 0501 0601 0203 0201 0202"
        yield _extension(_SIGNATURES, _sized(2, bytes.fromhex(algorithms)))
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


def _read_alert(content: bytes) -> Refused | None:
    """What an alert means; None for a warning about the name alone, after which servers go on."""
    if len(content) != 2 or content[0] not in (_WARNING, _FATAL):
        raise ValueError("answered with a malformed alert")
    level, alert = content
    if level == _WARNING and alert == _UNRECOGNIZED_NAME:
        return None
    if alert not in _REFUSALS:
        raise ValueError(
            f"answered with alert {alert}, which does not refuse the offer but says that something else was wrong"
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


async def offer(
    address: Address, version: Version, suites: Iterable[int], *, server_name: str, timeout: float
) -> Answer:
    """What the server at an address answers to a ClientHello, within `timeout` seconds.

    Raises ProbeError when it is unreachable, silent, or answers neither yes nor no.
    """
    suites, data = tuple(suites), b""
    try:
        async with asyncio.timeout(timeout), connected(address) as sock:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, client_hello(version, suites, server_name))
            ended = False
            while (answer := read_answer(data, version, suites, ended=ended)) is None:
                if len(data) > _MAX_ANSWER:
                    raise ValueError(f"answered more than {_MAX_ANSWER} bytes without a ServerHello")
                more = await loop.sock_recv(sock, _MAX_ANSWER)
                data, ended = data + more, not more
            return answer
    except TimeoutError:
        raise ProbeError(f"{address} did not answer a ClientHello of {version} within {timeout:g} s.") from None
    except ConnectionError:  # reset after it was made: the rude way of closing
        if data:
            raise ProbeError(
                f"{address} reset the connection in the middle of its answer to a ClientHello of {version}."
            ) from None
        return Refused(None)
    except OSError as error:
        raise ProbeError(f"{address} could not be asked: {error.strerror or error}.") from None
    except ValueError as error:
        raise ProbeError(f"{address} {error} (to a ClientHello of {version}).") from None
