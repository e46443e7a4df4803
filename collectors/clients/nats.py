"""One connection to NATS for one run: it never reconnects, and what the server refuses is told as what it is."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.collector import Cannot
from exporter.http import Trust
from exporter.options import Secret, format_duration

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats

__all__ = ["Connection", "Login", "connected"]

_VIOLATION = re.compile(r"permissions violation for (publish|subscription) to \"?([^\"\s]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Login:
    """How a client proves who it is, and how long everything may take."""

    username: str | None
    password: Secret | None
    token: Secret | None
    nkey_seed: Secret | None
    credentials_file: Path | None
    tls: Trust | None
    timeout: timedelta

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
            found |= {"tls": self.tls.context, "tls_hostname": self.tls.server_name}
        return {name: value for name, value in found.items() if value is not None}


class Connection:
    """An open connection to the server at `address`."""

    def __init__(self, client: Nats, address: str, timeout: timedelta) -> None:
        self._client = client
        self.address = address
        self._timeout = timeout
        self._violated: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.last_error: Exception | None = None

    def heard(self, error: Exception) -> None:
        """Note what came beside the replies: that is where the server tells a missing right, and nats-py why it cannot connect."""
        self.last_error = error
        if (found := _VIOLATION.search(str(error))) and not self._violated.done():
            what = "publish to" if found[1] == "publish" else "subscribe to"
            self._violated.set_result(f"{what} {found[2]}")

    async def request(self, subject: str, body: object = None) -> dict[str, Any]:
        """The JSON reply to a request of JetStream's API.

        Raises Cannot without one: in time, allowed, and a JSON object. A right that is missing looks like silence to who asks, so
        what the server says meanwhile counts.
        """
        data = json.dumps(body).encode() if body is not None else b""
        asking = asyncio.create_task(self._ask(subject, data))
        try:
            either: set[asyncio.Future[Any]] = {asking, self._violated}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                what = self._violated.result().replace(subject.lower(), subject)  # nats-py tells it in lower case
                raise Cannot(f"NATS {self.address} does not let this user {what}.")
            found = asking.result()
        finally:
            asking.cancel()
        try:
            reply = json.loads(found)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            raise Cannot(f"NATS {self.address} answered {subject} with what is no JSON object.")
        return reply

    async def _ask(self, subject: str, data: bytes) -> bytes:
        from nats import errors

        try:
            message = await self._client.request(subject, data, timeout=self._timeout.total_seconds())
        except errors.NoRespondersError:
            raise Cannot(f"NATS {self.address} has nobody to answer {subject}: JetStream is not enabled.") from None
        except (errors.TimeoutError, TimeoutError):
            limit = format_duration(self._timeout)
            raise Cannot(f"NATS {self.address} did not answer {subject} within {limit}.") from None
        except errors.Error as error:
            raise Cannot(f"NATS {self.address} did not answer {subject}: {_told(error)}.") from None
        return message.data

    async def ping(self) -> float:
        """Seconds until the server answers PING; raises Cannot when it does not in time."""
        from nats import errors

        try:
            return await self._client.rtt(timeout=self._timeout.total_seconds())  # type: ignore[arg-type]  # seconds, whole or not
        except (errors.Error, TimeoutError, OSError) as error:
            raise Cannot(f"NATS {self.address} did not answer PING: {_told(error)}.") from None


@asynccontextmanager
async def connected(address: str, login: Login) -> AsyncIterator[Connection]:
    """A connection to `host:port`, closed at the end whatever happens. Raises Cannot when there is none in time."""
    from nats.aio.client import Client as Nats

    client = Nats()
    connection = Connection(client, address, login.timeout)

    async def error_cb(error: Exception) -> None:
        connection.heard(error)

    async def silent() -> None:
        """Say nothing: whoever uses the connection gets the exception."""

    try:
        await _connect(client, connection, login, error_cb=error_cb, disconnected_cb=silent, closed_cb=silent)
        yield connection
    finally:
        await _close(client)


async def _connect(client: Nats, connection: Connection, login: Login, **callbacks: Any) -> None:
    from nats import errors

    timeout = login.timeout.total_seconds()
    try:
        async with asyncio.timeout(timeout):
            await client.connect(
                servers=[f"{'tls' if login.tls else 'nats'}://{connection.address}"],
                name="checklist-exporter",
                inbox_prefix="_INBOX_checklist",
                allow_reconnect=False,
                max_reconnect_attempts=1,  # fewer would mean for ever
                reconnect_time_wait=0,
                connect_timeout=timeout,  # type: ignore[arg-type]  # seconds, whole or not
                **callbacks,
                **login.options(),
            )
    except TimeoutError:
        limit = format_duration(login.timeout)
        raise Cannot(f"NATS {connection.address} did not answer within {limit}.") from None
    except (errors.Error, OSError, ValueError, LookupError, EOFError) as error:
        why = connection.last_error if isinstance(error, errors.NoServersError) else None
        raise Cannot(f"NATS {connection.address} cannot be used: {_told(why or error)}.") from None


async def _close(client: Nats) -> None:
    """End the connection at once, also one that was never whole; a server that is mute must not hold it up."""
    for name in ("_io_writer", "_bare_io_writer"):
        if (writer := getattr(client._transport, name, None)) is not None:
            writer.transport.abort()
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await client.close()


def _told(error: BaseException) -> str:
    """What went wrong, without a full stop."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted ({error.verify_message or error.reason})"
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed ({error.reason or error})"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()).rstrip(".")
    return text.removeprefix("nats: ").strip("'") or type(error).__name__
