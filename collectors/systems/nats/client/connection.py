"""One connection to NATS for one run: it never reconnects, and what the server refuses is reported as what it is."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collectors.shared.lean_imports import without
from collectors.shared.tasks import started
from exporter.files import TooLarge, read_file
from exporter.http import Trust
from exporter.logs import hide
from exporter.options import Secret, format_duration
from exporter.trace import traced
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line, os_reason

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats

__all__ = ["Connection", "Full", "Login", "connected"]

#: What one connection may receive in all; a stream takes about 1.5 kB of an answer.
_MAX_BYTES = 32 * 2**20
_MAX_CREDENTIALS = 2**16
_INBOX = "_INBOX_checklist"
_CREDENTIAL = re.compile(r"^[\w.-]*\w{20}[\w.-]*$", re.MULTILINE)
"""A token or a seed: a line of nothing else."""
_VIOLATION = re.compile(r"permissions violation for (publish|subscription) to \"?([^\"\s]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Login:
    """How a client proves who it is, and how long everything may take.

    `tls_first`: the server says nothing before TLS (`handshake_first`).
    """

    username: str | None
    password: Secret | None
    token: Secret | None
    nkey_seed: Secret | None
    credentials_file: Path | None
    tls: Trust | None
    timeout: timedelta
    tls_first: bool = False

    def options(self) -> dict[str, Any]:
        """As `nats.connect` wants it."""
        found: dict[str, Any] = {
            "user": self.username,
            "password": self.password and self.password.get_secret_value(),
            "token": self.token and self.token.get_secret_value(),
            "nkeys_seed_str": self.nkey_seed and self.nkey_seed.get_secret_value(),
            "user_credentials": self.credentials_file and str(self.credentials_file),
        }
        if self.tls:
            found |= {
                "tls": self.tls.context,
                "tls_hostname": self.tls.server_name,
                "tls_handshake_first": self.tls_first,
            }
        return {name: value for name, value in found.items() if value is not None}

    def secrets(self) -> Iterator[str]:
        """What of `credentials_file` nobody is to see, as a server may repeat what it was sent; nothing if it cannot be read."""
        if self.credentials_file:
            with suppress(OSError, TooLarge):  # reported when nats-py opens it
                yield from _CREDENTIAL.findall(
                    read_file(self.credentials_file, _MAX_CREDENTIALS).decode(errors="replace")
                )


class Full(ProbeError):
    """A server or an account has as many connections as it takes: a fact about it, not about us."""


class TooMuchError(OSError):
    """A server has sent more than is read."""


class Connection:
    """An open connection to the server at `address`."""

    def __init__(self, client: Nats, address: str, timeout: timedelta) -> None:
        self._client = client
        self.address = address
        self._timeout = timeout
        self._broken: asyncio.Future[tuple[str, Reason]] = asyncio.get_running_loop().create_future()
        self.last_error: Exception | None = None

    def heard(self, error: Exception) -> None:
        """Note what came beside the replies: there the server reports a missing right, and nats-py why it cannot connect."""
        self.last_error = error
        if found := _VIOLATION.search(str(error)):
            what = "publish to" if found[1] == "publish" else "subscribe to"
            self._break(f"does not let this user {what} {found[2]}", Reason.DENIED)
        elif isinstance(error, TooMuchError):
            self._break(str(error), Reason.MALFORMED)

    def lost(self) -> None:
        """Note that the connection has ended."""
        self._break("ended the connection before it had answered", Reason.UNREACHABLE)

    def _break(self, why: str, reason: Reason) -> None:
        if not self._broken.done():
            self._broken.set_result((why, reason))

    @property
    def server_id(self) -> str:
        """Which server let us in: behind a service's address it may be any."""
        return str(self._client._server_info.get("server_id", ""))

    @property
    def client_id(self) -> int | None:
        """The number by which the server lists this connection."""
        return self._client._server_info.get("client_id")

    @traced(
        lambda self, subject, *_, **__: f"NATS {self.address}: {subject}",
        lambda reply: "nobody is there" if reply is None else "a reply",
    )
    async def request(
        self, subject: str, body: object = None, *, patience: timedelta = timedelta(0), message: bool = False
    ) -> dict[str, Any] | None:
        """The JSON reply to a request of JetStream's API, None when the server says that nobody is there to answer.

        `patience` is how long the server itself may wait for others. With `message` the reply is a message of a stream, which
        comes under its own subject and is told from others by an inbox of its own.

        Raises ProbeError without a reply: in time, allowed, and a JSON object. A right that is missing looks like silence to who
        asks, and so does a connection that ended: what is heard meanwhile counts.
        """
        data = json.dumps(body).encode() if body is not None else b""
        asking = started(self._ask(subject, data, self._timeout + patience, message))
        try:
            either: set[asyncio.Future[Any]] = {asking, self._broken}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                why, reason = self._broken.result()
                for name in (subject, _INBOX):  # nats-py has them in lower case
                    why = why.replace(name.lower(), name)
                raise ProbeError(f"NATS {self.address} {why}.", reason)
            found = asking.result()
        finally:
            asking.cancel()
        if found is None:
            return None
        try:
            reply = json.loads(found)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            raise ProbeError(f"NATS {self.address} answered {subject} with what is no JSON object.", Reason.MALFORMED)
        return reply

    async def _ask(self, subject: str, data: bytes, timeout: timedelta, own_inbox: bool) -> bytes | None:
        from nats import errors

        try:
            message = await self._client.request(subject, data, timeout=timeout.total_seconds(), old_style=own_inbox)
        except errors.NoRespondersError:
            return None
        except (errors.TimeoutError, TimeoutError):
            limit = format_duration(timeout)
            raise ProbeError(f"NATS {self.address} did not answer {subject} within {limit}.", Reason.TIMEOUT) from None
        except errors.Error as error:
            raise ProbeError(
                f"NATS {self.address} did not answer {subject}: {_cause(error)}.", _reason(error)
            ) from None
        return message.data

    async def ping(self) -> float:
        """Seconds until the server answers PING; raises ProbeError when it does not in time."""
        from nats import errors

        try:
            return await self._client.rtt(timeout=self._timeout.total_seconds())  # type: ignore[arg-type]  # seconds, whole or not
        except (errors.TimeoutError, TimeoutError):
            limit = format_duration(self._timeout)
            raise ProbeError(f"NATS {self.address} did not answer PING within {limit}.", Reason.TIMEOUT) from None
        except (errors.Error, OSError) as error:
            raise ProbeError(f"NATS {self.address} did not answer PING: {_cause(error)}.", _reason(error)) from None


@asynccontextmanager
async def connected(address: str, login: Login) -> AsyncIterator[Connection]:
    """A connection to `host:port`, closed at the end whatever happens. Raises ProbeError when there is none in time."""
    client = _client()()
    connection = Connection(client, address, login.timeout)

    async def error_cb(error: Exception) -> None:
        connection.heard(error)

    async def lost() -> None:
        connection.lost()

    try:
        await _connect(client, connection, login, error_cb=error_cb, disconnected_cb=lost, closed_cb=lost)
        yield connection
    finally:
        await _close(client)


@functools.cache
def _client() -> type[Nats]:
    """nats-py's client, silent (whoever asks gets the exception), and with two things that it has no public place for.

    It reads without a limit: a server that never ends takes memory as fast as the network gives. And where the server offers no
    TLS it sends the credentials in plain text, although TLS is wanted.
    """
    with without("aiohttp"):  # for websockets; 9 MB
        from nats import errors
        from nats.aio.client import Client

    logging.getLogger("nats").setLevel(logging.CRITICAL + 1)

    class Bounded(Client):
        async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
            if initial_connection:  # the server's first line, before anything is sent
                if self.options.get("tls") and not info.get("tls_required"):
                    raise errors.Error("it offers no TLS, so no credentials were sent")
                self._limit_reading()
            await super()._process_info(info, initial_connection)

        def _limit_reading(self) -> None:
            transport: Any = self._transport
            read, received = transport.read, 0

            async def limited(size: int) -> bytes:
                nonlocal received
                data: bytes = await read(size)
                received += len(data)
                if received > _MAX_BYTES:
                    error = TooMuchError(f"answered more than {_MAX_BYTES} bytes, which were not read")
                    await self._error_cb(error)
                    raise error
                return data

            transport.read = limited

    return Bounded


#: How a server refuses a client when it, or the account, has all the connections that it takes.
_LIMIT = re.compile(r"maximum (account active )?connections exceeded")


async def _connect(client: Nats, connection: Connection, login: Login, **callbacks: Any) -> None:
    from nats import errors
    from nkeys import NkeysError

    timeout = login.timeout.total_seconds()
    hide(login.secrets())
    try:
        async with asyncio.timeout(timeout):
            await client.connect(
                servers=[f"{'tls' if login.tls else 'nats'}://{connection.address}"],
                name="checklist-exporter",
                inbox_prefix=_INBOX,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # fewer would mean for ever
                reconnect_time_wait=0,
                connect_timeout=timeout,  # type: ignore[arg-type]  # seconds, whole or not
                **callbacks,
                **login.options(),
            )
    except TimeoutError:
        limit = format_duration(login.timeout)
        raise ProbeError(f"NATS {connection.address} did not answer within {limit}.", Reason.TIMEOUT) from None
    except NkeysError as error:
        raise ProbeError(
            f"NATS {connection.address} cannot be used: the key is none ({_cause(error)}).", Reason.MISCONFIGURED
        ) from None
    except (AttributeError, TypeError):  # what nats-py makes of a first line that is no object
        raise ProbeError(
            f"NATS {connection.address} cannot be used: its reply does not follow the protocol.", Reason.MALFORMED
        ) from None
    except (errors.Error, OSError, ValueError, LookupError, EOFError) as error:
        why = connection.last_error if isinstance(error, errors.NoServersError) else None
        why = why or error
        if _LIMIT.search(_cause(why)):
            raise Full(f"NATS {connection.address} takes no more clients: {_cause(why)}.", Reason.LIMIT) from None
        raise ProbeError(f"NATS {connection.address} cannot be used: {_cause(why)}.", _reason(why)) from None


async def _close(client: Nats) -> None:
    """End the connection at once, also one that was never whole; a server that is mute must not hold it up."""
    for name in ("_io_writer", "_bare_io_writer"):
        if (writer := getattr(client._transport, name, None)) is not None:
            writer.transport.abort()
    with suppress(TimeoutError, AssertionError):  # nats-py asserts that it had begun to connect
        async with asyncio.timeout(1):
            await client.close()


def _cause(error: BaseException) -> str:
    """What went wrong, without a full stop."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted ({error.verify_message or error.reason})"
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed ({error.reason or error})"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, OSError) and not isinstance(error, TooMuchError):
        return os_reason(error)
    return one_line(error).removeprefix("nats: ").strip("'") or type(error).__name__


def _reason(error: BaseException) -> Reason:
    """Why nothing could be observed."""
    import ssl

    text = str(error).lower()
    if "authorization" in text or "authentication" in text or "permissions" in text:
        return Reason.DENIED
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):  # of credentials_file
        return Reason.MISCONFIGURED
    if isinstance(error, TooMuchError | ValueError | LookupError):
        return Reason.MALFORMED
    if isinstance(error, ssl.SSLError) or "maximum" in text or "tls" in text:
        return Reason.REFUSED
    return Reason.UNREACHABLE
