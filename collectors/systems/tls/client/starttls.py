"""Asking for TLS in protocols that begin in clear, up to the byte where the handshake begins."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping

from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.starttls import NotOffered, StartTls
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["ask_for_tls"]

_MAX_BYTES = 2**16
_NAME = "checklist-exporter"
_LDAP_BUSY = 51
_MYSQL_ERROR, _MYSQL_VERSION = b"\xff", b"\x0a"


async def ask_for_tls(sock: socket.socket, address: Address, protocol: StartTls, server_name: str) -> None:
    """Bring a fresh connection to the point where the client sends its ClientHello.

    Raises NotOffered when the server speaks the protocol and does not offer TLS, ProbeError when it answers something else,
    serves nobody at the moment, or closes the connection.
    """
    await _PROTOCOLS[protocol](_Wire(sock, address, protocol), server_name)


class _Wire:
    """A conversation on one connection, bounded; deadlines are the caller's."""

    def __init__(self, sock: socket.socket, address: Address, protocol: StartTls) -> None:
        self.address, self.protocol = address, protocol
        self._sock = sock
        self._data = b""

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def until(self, pattern: bytes) -> bytes:
        """What was received up to the end of the pattern. More than that is never there: the server waits for the client."""
        while (found := re.search(pattern, self._data, re.DOTALL | re.MULTILINE)) is None:
            await self._more()
        text, self._data = self._data[: found.end()], self._data[found.end() :]
        return text

    async def exactly(self, count: int) -> bytes:
        while len(self._data) < count:
            await self._more()
        text, self._data = self._data[:count], self._data[count:]
        return text

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._sock, 4096)
        if not data:
            raise ProbeError(f"{self.address} closed the connection before TLS was asked for.", Reason.REFUSED)
        self._data += data
        if len(self._data) > _MAX_BYTES:
            raise self.strange(self._data)

    def strange(self, answer: bytes) -> ProbeError:
        """The error for an answer that is none of this protocol."""
        text = one_line(answer[:80].decode("latin-1"))
        return ProbeError(f"{self.address} answered “{text}”, which is not {self.protocol}.", Reason.MALFORMED)

    def turned_away(self, answer: bytes) -> ProbeError:
        """The error for a server that serves nobody at the moment."""
        text = one_line(answer[:80].decode("latin-1"))
        return ProbeError(
            f"{self.address} turned the exporter away before TLS was asked for: “{text}”.", Reason.REFUSED
        )

    def refused(self, answer: bytes) -> NotOffered:
        """The error for a server that does not offer TLS."""
        text = one_line(answer[-80:].decode("latin-1"))
        return NotOffered(f"{self.address} does not offer TLS in {self.protocol}: “{text}”.")


def _expect(wire: _Wire, greeting: bytes, good: bytes, *, busy: bytes) -> None:
    """Raise ProbeError unless a greeting begins as it should; `busy` is how it begins when the server serves nobody."""
    if re.match(good, greeting, re.IGNORECASE):
        return
    raise wire.turned_away(greeting) if re.match(busy, greeting, re.IGNORECASE) else wire.strange(greeting)


async def _smtp(wire: _Wire, _: str) -> None:
    reply = rb"\A(\d{3}-[^\n]*\n)*\d{3}( [^\n]*)?\n"
    _expect(wire, await wire.until(reply), b"220", busy=rb"[45]\d\d")
    await wire.send(f"EHLO {_NAME}\r\n".encode())
    features = await wire.until(reply)
    if re.search(rb"^250[- ]STARTTLS\s*$", features, re.MULTILINE | re.IGNORECASE) is None:
        raise wire.refused(features)
    await wire.send(b"STARTTLS\r\n")
    if not (answer := await wire.until(reply)).startswith(b"220"):
        raise wire.refused(answer)


async def _imap(wire: _Wire, _: str) -> None:
    _expect(wire, await wire.until(rb"\n"), rb"\* (OK|PREAUTH)", busy=rb"\* BYE")
    await wire.send(b"a STARTTLS\r\n")
    answer = (await wire.until(rb"^a [^\n]*\n")).splitlines()[-1]
    if not answer.upper().startswith(b"A OK"):
        raise wire.refused(answer)


async def _pop3(wire: _Wire, _: str) -> None:
    _expect(wire, await wire.until(rb"\n"), rb"\+OK", busy=b"-ERR")
    await wire.send(b"STLS\r\n")
    if not (answer := await wire.until(rb"\n")).startswith(b"+OK"):
        raise wire.refused(answer)


async def _ftp(wire: _Wire, _: str) -> None:
    reply = rb"^\d{3} [^\n]*\n"
    _expect(wire, await wire.until(reply), b"220", busy=rb"[45]\d\d")
    await wire.send(b"AUTH TLS\r\n")
    if not (answer := await wire.until(reply)).startswith(b"234"):
        raise wire.refused(answer)


async def _ldap(wire: _Wire, _: str) -> None:
    """An extended request with the OID of StartTLS (RFC 4511 §4.14); the answer's result code 0 is success."""
    oid = b"1.3.6.1.4.1.1466.20037"
    request = b"\x02\x01\x01" + bytes((0x77, len(oid) + 2, 0x80, len(oid))) + oid
    await wire.send(bytes((0x30, len(request))) + request)
    head = await wire.exactly(2)
    if head[0] != 0x30:
        raise wire.strange(head)
    length = head[1]
    if length & 0x80:
        length = int.from_bytes(await wire.exactly(length & 0x7F), "big")
    if length > _MAX_BYTES:
        raise wire.strange(head)
    result = re.search(rb"\x0a\x01(.)", answer := await wire.exactly(length), re.DOTALL)
    if result is None:
        raise wire.strange(answer)
    if result[1][0] == _LDAP_BUSY:
        raise ProbeError(
            f"{wire.address} is too busy to answer a request for TLS (ldap, result code 51).", Reason.REFUSED
        )
    if result[1] != b"\0":
        raise NotOffered(f"{wire.address} does not offer TLS in ldap: it answers with result code {result[1][0]}.")


async def _postgres(wire: _Wire, _: str) -> None:
    await wire.send(bytes.fromhex("00000008 04d2162f"))  # SSLRequest
    answer = await wire.exactly(1)
    if answer == b"N":
        raise wire.refused(answer)
    if answer == b"E":  # such as a pooler without a server
        length = int.from_bytes(await wire.exactly(4), "big") - 4
        message = re.search(rb"\0M([^\0]*)", error := await wire.exactly(min(max(0, length), _MAX_BYTES)))
        raise wire.turned_away(message[1]) if message else wire.strange(error)
    if answer != b"S":
        raise wire.strange(answer)


async def _mysql(wire: _Wire, _: str) -> None:
    """An SSLRequest in answer to the server's greeting, whose capabilities say whether it takes one."""
    head = await wire.exactly(4)
    greeting = await wire.exactly(int.from_bytes(head[:3], "little"))
    if greeting[:1] == _MYSQL_ERROR:  # too many connections, a blocked host
        raise wire.turned_away(greeting[3:])
    after_version = greeting.find(b"\0") + 1
    capabilities = greeting[after_version + 13 : after_version + 15]
    if greeting[:1] != _MYSQL_VERSION or not after_version or len(capabilities) < 2:
        raise wire.strange(greeting)
    tls, protocol_41, secure_connection = 0x0800, 0x0200, 0x8000
    if not int.from_bytes(capabilities, "little") & tls:
        raise NotOffered(f"{wire.address} does not offer TLS in mysql: its greeting lacks the capability.")
    flags = (tls | protocol_41 | secure_connection).to_bytes(4, "little")
    await wire.send(b"\x20\0\0\x01" + flags + (2**24).to_bytes(4, "little") + b"\x21" + bytes(23))


async def _xmpp(wire: _Wire, server_name: str) -> None:
    stream = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'"
    await wire.send(f"<?xml version='1.0'?>{stream} to='{server_name}'>".encode())
    features = await wire.until(rb"</stream:features>|<stream:features/>|</stream:stream>|\A[^<]")
    if b"stream" not in features:
        raise wire.strange(features)
    if b"urn:ietf:params:xml:ns:xmpp-tls" not in features:
        raise wire.refused(features)
    await wire.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    if b"<proceed" not in (answer := await wire.until(rb"<(proceed|failure)[^>]*>")):
        raise wire.refused(answer)


_PROTOCOLS: Mapping[StartTls, Callable[[_Wire, str], Awaitable[None]]] = {
    StartTls.SMTP: _smtp,
    StartTls.IMAP: _imap,
    StartTls.POP3: _pop3,
    StartTls.FTP: _ftp,
    StartTls.LDAP: _ldap,
    StartTls.POSTGRES: _postgres,
    StartTls.MYSQL: _mysql,
    StartTls.XMPP: _xmpp,
}
