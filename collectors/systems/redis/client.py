"""One question to one Redis or Sentinel: connect, authenticate, ask, close; on time, within a size, nothing kept or retried.

redis-py speaks the protocol; its pools, retries and health checks are left out, so that a run owns what it opens.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from collectors.shared.addresses import resolve
from collectors.systems.redis.model import Answers, Handshake, Look, NodeAddress, Unseen, Untrusted, each_once
from exporter.http import Trust
from exporter.options import format_duration
from exporter.trace import traced
from exporter.verdict import ProbeError, Reason
from exporter.words import counted, listed, os_reason

if TYPE_CHECKING:
    from redis.asyncio import Connection

__all__ = ["Full", "Login", "addresses_of", "answers_plaintext", "ask", "each_server", "greet_each", "look"]

#: Most bytes that are read from one server in one run: INFO is 6 kB, CLUSTER NODES of 1,000 nodes 150 kB.
MAX_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Login:
    """How to be let in, and how long one server may take for everything it is asked."""

    username: str | None
    password: SecretStr | None
    tls: Trust | None
    timeout: timedelta


class Refused(ProbeError):
    """Nothing listens there."""


class NoRoute(ProbeError):
    """This machine cannot reach such an address."""


class Full(ProbeError):
    """The server has as many clients as it takes."""


async def look(address: NodeAddress, login: Login, commands: Sequence[str]) -> Answers | Unseen:
    """As `ask`, with a server that could not be asked as a value."""
    try:
        return await ask(address, login, commands)
    except ProbeError as why:
        return Unseen(address, why)


async def addresses_of(address: NodeAddress, timeout: timedelta) -> list[NodeAddress]:
    """Each address of a name that has several, as that of a headless service does; else what was given."""
    hosts = await _hosts(address, timeout)
    return [address._replace(ip=host) for host in hosts] if len(hosts) > 1 else [address]


def each_server(address: NodeAddress, found: Sequence[Look]) -> tuple[Look, ...]:
    """What was `found` at the addresses of a name, each server once.

    Where one answers, those are left out that lead nowhere from here, and those of this machine where nobody listens.
    """
    if len(found) > 1 and any(isinstance(node, Answers) for node in found):
        found = [node for node in found if not (isinstance(node, Unseen) and _leads_nowhere(node))]
    distinct = each_once(found)
    if len(distinct) == 1 and isinstance(distinct[0], Answers):
        return (replace(distinct[0], address=address),)
    return distinct


def _leads_nowhere(node: Unseen) -> bool:
    here = ip_address(node.address.ip.partition("%")[0]).is_loopback
    return isinstance(node.why, NoRoute) or (here and isinstance(node.why, Refused))


async def _hosts(address: NodeAddress, timeout: timedelta) -> list[str]:
    """The IP addresses of a name; none where it cannot be resolved in time, which whoever asks it reports."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            return await resolve(address.host, address.port)
    except (TimeoutError, ProbeError):
        return []


@traced(lambda address, _, commands: f"Redis {address}: {', '.join(commands)}", lambda told: _in_words(told))
async def ask(address: NodeAddress, login: Login, commands: Sequence[str]) -> Answers:
    """Ask one server these commands, in one go, over a connection that is closed again.

    Error replies are part of the answer. Raises ProbeError when there is no connection, login or whole answer within
    `login.timeout`: Untrusted when its certificate is not accepted, Full when it takes no more clients.
    """
    from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError

    try:
        async with asyncio.timeout(login.timeout.total_seconds()), _connected(address, login) as (connection, secure):
            replies = await _replies(connection, commands)
    except TimeoutError:
        limit = format_duration(login.timeout)
        raise ProbeError(f"{address} did not answer within {limit}.", Reason.TIMEOUT) from None
    except AuthenticationError as error:
        if login.password is None:
            raise ProbeError(f"{address} wants a password, and none is configured.", Reason.DENIED) from None
        raise ProbeError(f"{address} does not accept the password: {str(error).rstrip('.?')}.", Reason.DENIED) from None
    except ResponseError:  # its text may repeat what was sent, and the password with it
        raise ProbeError(
            f"{address} refuses AUTH (the command is renamed there, or forbidden), so nothing was asked.", Reason.DENIED
        ) from None
    except (InvalidResponse, ValueError, RecursionError):  # what redis-py makes of bytes that are not its protocol
        raise ProbeError(f"{address} answered with something else than Redis does.", Reason.MALFORMED) from None
    except (RedisError, OSError) as error:
        if "max number of clients" in str(error):
            raise Full(f"{address} refuses more clients: maxclients is reached.", Reason.LIMIT) from None
        # With TLS 1.3 a missing client certificate is reported only after the handshake.
        alert = next((cause for cause in (error, error.__context__) if isinstance(cause, ssl.SSLError)), None)
        why = f": {_alert(alert)}" if alert else ""
        raise ProbeError(
            f"{address} ended the connection before it had answered{why}.",
            Reason.REFUSED if alert else Reason.UNREACHABLE,
        ) from None
    return Answers(
        address,
        secure.version() if secure else None,
        dict(zip(commands, replies, strict=True)),
        _expiry(secure) if secure else None,
    )


def _in_words(told: Answers) -> str:
    refused = [command for command, reply in told.replies.items() if isinstance(reply, Exception)]
    errors = f", {counted(len(refused), 'error')} among them ({listed(refused, 5)})" if refused else ""
    return f"{counted(len(told.replies), 'reply', 'replies')}{errors}"


def _expiry(secure: ssl.SSLObject) -> datetime | None:
    """When the server's certificate expires; None where it was not verified, as Python does not read it then."""
    ends = (secure.getpeercert() or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if isinstance(ends, str) else None


async def _replies(connection: Connection, commands: Sequence[str]) -> list[object]:
    from redis.exceptions import BusyLoadingError, ResponseError

    await connection.send_packed_command(connection.pack_commands([command.split() for command in commands]))
    replies: list[object] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
        except BusyLoadingError as error:  # redis-py disconnects on this one
            replies += [error] * (len(commands) - len(replies))
            break
    return replies


@asynccontextmanager
async def _connected(address: NodeAddress, login: Login) -> AsyncIterator[tuple[Connection, ssl.SSLObject | None]]:
    async with _streams(address, login.tls) as (reader, writer):
        password = login.password.get_secret_value() if login.password else None
        connection = _connection_type()(reader, writer, address, login.username, password)
        try:
            await connection.connect()
            yield connection, writer.get_extra_info("ssl_object")
        finally:
            await connection.disconnect(nowait=True)


@functools.cache
def _connection_type() -> type[Any]:
    """redis-py's connection over streams that are open already; made when first needed, as importing redis takes 20 MB."""
    from redis.asyncio import Connection

    class Opened(Connection):
        def __init__(
            self,
            reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            address: NodeAddress,
            username: str | None,
            password: str | None,
        ) -> None:
            # RESP2 and no driver_info: HELLO and CLIENT SETINFO take rights that a probe needs for nothing else.
            super().__init__(
                host=address.host,
                port=address.port,
                username=username,
                password=password,
                protocol=2,
                driver_info=None,
                socket_timeout=None,
                socket_connect_timeout=None,
                decode_responses=True,
                encoding_errors="replace",
            )
            self._opened = reader, writer

        async def _connect(self) -> None:
            self._reader, self._writer = self._opened

    return Opened


class _Bounded(asyncio.StreamReader):
    """A stream that gives up after `MAX_BYTES`, whatever its reader asks for."""

    def __init__(self, address: NodeAddress) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._address = address
        self._left = MAX_BYTES

    def feed_data(self, data: Any) -> None:
        self._left -= len(data)
        if self._left >= 0:
            super().feed_data(data)
        elif self.exception() is None:
            self.set_exception(
                ProbeError(
                    f"{self._address} answered more than {MAX_BYTES} bytes, which was not read.", Reason.MALFORMED
                )
            )


#: What this machine says of an address of a family that it does not speak.
_NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@asynccontextmanager
async def _streams(address: NodeAddress, tls: Trust | None) -> AsyncIterator[tuple[_Bounded, asyncio.StreamWriter]]:
    """An open connection to the first of the name's addresses that takes one, aborted at the end: a peer that hangs must not
    hold up closing. Raises ProbeError when there is none.
    """
    failures: list[OSError] = []
    for host in [address.ip] if address.ip else await resolve(address.host, address.port):
        try:
            reader, writer = await _opened(host, address, tls, str(address))
            break
        except OSError as error:
            failures.append(error)
    else:
        if all(isinstance(error, ConnectionRefusedError) for error in failures):
            raise Refused(f"{address} refuses the connection.", Reason.UNREACHABLE)
        why = next(error for error in failures if not isinstance(error, ConnectionRefusedError))
        kind = NoRoute if why.errno in _NO_ROUTE else ProbeError
        raise kind(f"{address} cannot be reached: {os_reason(why)}.", Reason.UNREACHABLE)
    try:
        yield reader, writer
    finally:
        await _aborted(writer)


async def _opened(
    host: str, address: NodeAddress, tls: Trust | None, where: str
) -> tuple[_Bounded, asyncio.StreamWriter]:
    """A connection to one IP address of a name, which a certificate has to be for; `where` names it in sentences.

    Raises OSError when there is none, Untrusted when the certificate is not accepted, and ProbeError when TLS fails otherwise.
    """
    loop = asyncio.get_running_loop()
    reader = _Bounded(address)
    try:
        transport, protocol = await loop.create_connection(
            functools.partial(asyncio.StreamReaderProtocol, reader, loop=loop),
            host,
            address.port,
            ssl=tls.context if tls else None,
            server_hostname=(tls.server_name or address.host) if tls else None,
        )
    except ssl.SSLCertVerificationError as error:
        expired = error.verify_code == _HAS_EXPIRED
        raise Untrusted(
            f"The certificate of {where} is not accepted: {error.verify_message.rstrip('.')}.",
            Reason.EXPIRED if expired else Reason.REFUSED,
        ) from None
    except ssl.SSLError as error:
        raise ProbeError(f"The TLS handshake with {where} failed: {_alert(error)}.", Reason.REFUSED) from None
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _aborted(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def greet_each(address: NodeAddress, login: Login) -> tuple[Handshake, ...]:
    """How each address of a name with several greets a TLS client. Those where nobody listens are left out, as clients go on to
    the next; so is a name with one address, or one address of it, whose certificate is part of what `ask` gives.
    """
    hosts = [] if address.ip else await _hosts(address, login.timeout)
    if len(hosts) < 2:
        return ()
    greetings = await asyncio.gather(*(_greeting(host, address, login) for host in hosts))
    return tuple(greeting for greeting in greetings if greeting is not None)


async def _greeting(host: str, address: NodeAddress, login: Login) -> Handshake | None:
    where = f"{address} ({host})"
    try:
        async with asyncio.timeout(login.timeout.total_seconds()):
            _, writer = await _opened(host, address, login.tls, where)
    except TimeoutError:
        late = f"{where} did not complete a TLS handshake within {format_duration(login.timeout)}."
        return Handshake(where, why=ProbeError(late, Reason.TIMEOUT))
    except ProbeError as why:
        return Handshake(where, why=why)
    except OSError:
        return None
    try:
        secure = writer.get_extra_info("ssl_object")
        return Handshake(where, secure.version(), _expiry(secure))
    finally:
        await _aborted(writer)


#: X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL.
_HAS_EXPIRED = 10


def _alert(error: ssl.SSLError) -> str:
    """What TLS reports, in small words."""
    return (error.reason or str(error)).replace("_", " ").lower()


async def answers_plaintext(door: NodeAddress, timeout: timedelta) -> NodeAddress | None:
    """Where a Redis answers an unencrypted PING behind this door, be it with an error: a name is tried at each of its addresses.

    None when all are closed or hang up. Raises ProbeError when none answers, and one neither answers nor refuses within `timeout`.
    """
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            hosts = await resolve(door.host, door.port)
    except TimeoutError:
        raise ProbeError(
            f"The name {door.host} was not resolved within {format_duration(timeout)}.", Reason.TIMEOUT
        ) from None
    doors = [door] if len(hosts) == 1 else [NodeAddress(host, door.port) for host in hosts]
    answered = await asyncio.gather(*(_knock(one, timeout) for one in doors), return_exceptions=True)
    for one, answer in zip(doors, answered, strict=True):
        if answer is True:
            return one
    for answer in answered:
        if isinstance(answer, BaseException):
            raise answer
    return None


async def _knock(door: NodeAddress, timeout: timedelta) -> bool:
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            try:
                async with _streams(door, None) as (reader, writer):
                    writer.write(b"PING\r\n")
                    return (await reader.read(64))[:1] in (b"+", b"-")
            except (Refused, OSError):  # an OSError here is a reset: it hung up on us
                return False
    except TimeoutError:
        limit = format_duration(timeout)
        raise ProbeError(
            f"{door} neither answered a plaintext PING nor refused it within {limit}.", Reason.TIMEOUT
        ) from None
