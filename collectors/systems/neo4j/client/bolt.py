"""Connections to one Neo4j server for one run: the driver's pool, retries and background work are kept to what a run needs."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from collectors.shared.lean_imports import without
from collectors.systems.neo4j.model import Entry, Refusing
from exporter.http import Trust
from exporter.options import Secret, format_duration
from exporter.trace import traced
from exporter.verdict import ProbeError, Reason
from exporter.words import counted, one_line, os_reason

if TYPE_CHECKING:
    from neo4j import AsyncDriver, Auth

__all__ = ["Connection", "Login", "connected", "knock"]

#: What one connection may receive in all.
_MAX_BYTES = 16 * 2**20
_SECURITY = "Neo.ClientError.Security."


class TooMuchError(OSError):
    """A server has sent more than is read."""


_ENTRIES = {
    f"{_SECURITY}Unauthorized": Entry.REFUSED,
    f"{_SECURITY}AuthenticationRateLimit": Entry.LOCKED,
    f"{_SECURITY}CredentialsExpired": Entry.EXPIRED,
}
#: What a server says against a statement of somebody whom it has let in, such as that the database is stopped.
_LET_IN = ("Neo.ClientError.Database.", "Neo.ClientError.Statement.", "Neo.TransientError.", f"{_SECURITY}Forbidden")


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks, over which transport, and how long all requests of a connection may take. Without a user the scheme is `none`."""

    username: str | None
    password: Secret | None
    tls: Trust | None
    timeout: timedelta

    def auth(self) -> Auth:
        """As the driver wants it."""
        from neo4j import Auth, basic_auth

        if self.username is None:
            return Auth("none", "", "")
        return basic_auth(self.username, self.password.get_secret_value() if self.password else "")


class Connection:
    """Requests to the server at `address`, which has `timeout` for all of them; the first one connects."""

    def __init__(self, driver: AsyncDriver, address: str, timeout: timedelta) -> None:
        self._driver = driver
        self.address = address
        self._timeout = timeout
        self._deadline: float | None = None

    def _ends(self) -> float:
        """When the time is over, by the loop's clock; it began with the first request."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._timeout.total_seconds()
        return self._deadline

    async def rows(self, statement: str, database: str | None = None) -> list[dict[str, Any]]:
        """What a statement gives on a database (the user's home one by default). Raises ProbeError without an answer in time."""
        from neo4j.exceptions import Neo4jError

        try:
            return await self.run(statement, database)
        except Neo4jError as error:
            raise _refusal(self.address, error) from None

    @traced(
        lambda self, statement, *_: f"Neo4j {self.address}: {one_line(statement)}",
        lambda rows: counted(len(rows), "row"),
    )
    async def run(self, statement: str, database: str | None = None) -> list[dict[str, Any]]:
        """As `rows`, but what the server itself says against it is raised as the driver's Neo4jError.

        Raises ProbeError when there is no answer in time.
        """
        from neo4j._exceptions import BoltError
        from neo4j.exceptions import DriverError

        try:
            async with within(self._ends()), self._driver.session(database=database) as session:
                result = await session.run(statement)
                return [{name: _native(value) for name, value in record.data().items()} async for record in result]
        except TimeoutError:
            limit = format_duration(self._timeout)
            raise ProbeError(f"Neo4j {self.address} did not answer within {limit}.", Reason.TIMEOUT) from None
        except (DriverError, OSError) as error:
            raise ProbeError(f"Neo4j {self.address} cannot be used: {_cause(error)}.", _reason(error)) from None
        except (
            BoltError,
            ValueError,
            TypeError,
            AttributeError,
            LookupError,
        ):  # what the driver makes of a malformed reply
            raise ProbeError(
                f"Neo4j {self.address} cannot be used: its reply does not follow Bolt.", Reason.MALFORMED
            ) from None


def _native(value: Any) -> Any:
    """A value of a row, with moments and lengths of time (which have no months here) as Python has them."""
    from neo4j.time import DateTime, Duration

    if isinstance(value, Duration):
        return timedelta(value.days, value.seconds, value.nanoseconds // 1000)
    return value.to_native() if isinstance(value, DateTime) else value


@asynccontextmanager
async def connected(address: str, login: Login, *, routed: bool = False) -> AsyncIterator[Connection]:
    """A connection to `host:port`, or, `routed`, to the server that its routing table names for writing.

    It is closed at the end whatever happens. Raises ProbeError when the TLS configuration cannot be used.
    """
    seconds = login.timeout.total_seconds()
    driver = _library().AsyncGraphDatabase.driver(
        f"{'neo4j' if routed else 'bolt'}://{address}",
        auth=login.auth(),
        max_connection_pool_size=1,
        # It ends a little before the deadline of `run`, as the driver closes the socket when connecting took too long, but not
        # when it was cancelled.
        connection_timeout=0.9 * seconds,
        connection_acquisition_timeout=seconds,
        max_transaction_retry_time=0,
        telemetry_disabled=True,
        user_agent="checklist-exporter",
        **({"ssl_context": login.tls.context} if login.tls else {}),
    )
    try:
        yield Connection(driver, address, login.timeout)
    finally:
        with suppress(TimeoutError):
            async with within(asyncio.get_running_loop().time() + 1):  # a server that is mute must not hold up the end
                await driver.close()


@asynccontextmanager
async def within(end: float) -> AsyncIterator[None]:
    """Raise TimeoutError at `end`, by the loop's clock, whatever the driver does until then.

    `asyncio.timeout_at` alone does not: where its cancellation comes while the driver gives a socket a last chance, the driver
    cancels the task once more, to pass it on, and that second one is nobody's.
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    cancelled = task.cancelling()
    limit = asyncio.timeout_at(end)
    try:
        async with limit:
            yield
    finally:
        if limit.expired() and task.cancelling() > cancelled:
            with suppress(asyncio.CancelledError):  # which may not have arrived yet
                await asyncio.sleep(0)
            while task.cancelling() > cancelled:
                task.uncancel()
            raise TimeoutError


@functools.cache
def _library() -> ModuleType:
    """The driver's library, silent: whoever asks gets the exception."""
    with without("numpy", "pandas", "pyarrow"):  # for vectors and data frames; numpy takes 13 MB
        import neo4j

    logging.getLogger("neo4j").setLevel(logging.CRITICAL + 1)
    _own_sockets()
    _compute_tables()
    return neo4j


def _own_sockets() -> None:
    """Give the driver's sockets what they lack and there is no public place for; the names are those that it has had since 5.26.

    A limit to what they receive: a server that speaks the beginning of Bolt and then never ends takes memory as fast as the network
    gives. And an end where connecting is cancelled, which leaves them to the garbage collector.
    """
    network: Any = importlib.import_module("neo4j._async_compat.network._bolt_socket")
    kind: Any = getattr(network, "AsyncBoltSocketBase", None) or network.AsyncBoltSocket
    receive, connect = kind.recv_into, kind._connect_secure.__func__
    opened: ContextVar[list[socket.socket] | None] = ContextVar("opened", default=None)

    class Noted(socket.socket):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if (sockets := opened.get()) is not None:
                sockets.append(self)

    async def recv_into(self: Any, buffer: Any, nbytes: int) -> int:
        count: int = await receive(self, buffer, nbytes)
        self.received = getattr(self, "received", 0) + count
        if self.received > _MAX_BYTES:
            raise TooMuchError(f"it answered more than {_MAX_BYTES} bytes, which were not read")
        return count

    async def connect_secure(cls: Any, *arguments: Any, **options: Any) -> Any:
        sockets: list[socket.socket] = []
        opened.set(sockets)
        try:
            return await connect(cls, *arguments, **options)
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # the loop lets go of them first
            for one in sockets:
                one.close()
            raise

    network.socket = Noted
    kind.recv_into, kind._connect_secure = recv_into, classmethod(connect_secure)


class _Computed(dict[Any, Any]):
    """A table whose entries are computed when they are looked up."""

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, key: Any) -> Any:
        return self._compute(key)


def _compute_tables() -> None:
    """Replace the driver's largest tables, 28 MB in all: every 16-bit number packed and unpacked, and the months of 9999 years."""
    short = struct.Struct(">H")
    for version in ("v1", "v2"):
        codec: Any = importlib.import_module(f"neo4j._codec.packstream.{version}")
        codec.PACKED_UINT_16 = _Computed(short.pack)
        codec.UNPACKED_UINT_16 = _Computed(lambda packed: short.unpack(packed)[0])
    time: Any = importlib.import_module("neo4j.time")
    time._DAYS_IN_MONTH = _Computed(lambda month: time._days_in_month(*month))


async def knock(address: str, login: Login) -> Entry:
    """Whether the server lets these credentials in. Raises ProbeError when it does not say."""
    from neo4j.exceptions import Neo4jError

    async with connected(address, login) as connection:
        try:
            await connection.run("RETURN 1")
        except Neo4jError as error:
            code = error.code or ""
            if (refused := _ENTRIES.get(code)) is not None:
                return refused
            if not code.startswith(_LET_IN):
                raise _refusal(address, error) from None
        return Entry.ACCEPTED


#: Codes of errors that say of the server that it takes no more, whoever asks.
#: What a database answers that could not write its log, for want of room among others, until it is started again.
_FAILED = "Neo.DatabaseError.Transaction."
_OVERLOADED = {
    f"Neo.TransientError.{what}"
    for what in (
        "Transaction.MaximumTransactionLimitReached",
        "General.MemoryPoolOutOfMemoryError",
        "General.OutOfMemoryError",
        "Request.NoThreadsAvailable",
    )
}


def _refusal(address: str, error: Any) -> ProbeError:
    """What the server said, in one sentence."""
    known = {
        "Unauthorized": "did not accept the credentials",
        "CredentialsExpired": "lets this user do nothing before its password is changed",
        "AuthenticationRateLimit": "has locked this user for some seconds, as wrong passwords were given too often",
    }
    code = str(error.code or "")
    reason = Reason.DENIED if code.startswith(_SECURITY) else Reason.REFUSED
    if code in _OVERLOADED or code.startswith(_FAILED):
        lines = str(error.message or code).strip().splitlines() or [""]
        why = Reason.LIMIT if code in _OVERLOADED else Reason.DOWN
        return Refusing(f"Neo4j {address} refuses statements of anybody: {one_line(lines[0]).rstrip('.')}.", why)
    if (what := known.get(code.removeprefix(_SECURITY))) is not None:
        return ProbeError(f"Neo4j {address} {what}.", reason)
    lines = str(error.message or code).strip().splitlines() or [""]
    what = "has no right for it" if code == f"{_SECURITY}Forbidden" else "refused the statement"
    return ProbeError(f"Neo4j {address} {what}: {one_line(lines[0])}.", reason)


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and those behind it."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _cause(error: BaseException) -> str:
    """What went wrong, without a full stop, from the exceptions behind the driver's."""
    chain = _chain(error)
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate was not accepted ({cause.verify_message or cause.reason})"
        if isinstance(cause, ssl.SSLError):
            return f"the TLS handshake failed ({cause.reason or cause})"
        if isinstance(cause, TooMuchError):
            return str(cause)
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
    if _is_hung_up(error):
        return "the server closed the connection"
    last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    if _is_no_bolt(error):
        return "what answers there does not speak Bolt"
    if last.startswith("Timed out trying to establish"):
        return "no connection was made in time"
    for cause in chain:
        if isinstance(cause, OSError) and (cause.errno or isinstance(cause, socket.gaierror)):
            return os_reason(cause)
    return one_line(last)


def _is_hung_up(error: BaseException) -> bool:
    """Whether the server closed the connection; which error shows it depends on Python's version."""
    return "closed with incomplete handshake" in str(error) or any(
        isinstance(cause, ConnectionResetError) for cause in _chain(error)
    )


def _is_no_bolt(error: BaseException) -> bool:
    last = (str(error).strip().splitlines() or [""])[-1]
    if _is_hung_up(error):
        return False
    return type(error).__name__ == "UnsupportedServerProduct" or "Bolt handshake" in last or "Bolt service" in last


def _reason(error: BaseException) -> Reason:
    """Why nothing could be observed."""
    chain = _chain(error)
    if any(isinstance(cause, ssl.SSLError) for cause in chain):
        return Reason.REFUSED
    if any(isinstance(cause, TooMuchError) for cause in chain) or _is_no_bolt(error):
        return Reason.MALFORMED
    if "Timed out trying" in str(error):
        return Reason.TIMEOUT
    return Reason.UNREACHABLE
