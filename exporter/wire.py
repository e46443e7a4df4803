"""HTTP/1.1 by aiohttp: what `exporter.http` sends its requests by.

The transport that httpx brings takes more than twice the CPU, as it parses in Python.
"""

from __future__ import annotations

import asyncio
import errno
import math
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import aiohttp
import httpx
from yarl import URL

__all__ = ["Answer", "Wire"]

_MAX_HEAD = 100 * 1024
_KEPT_FOR = 30.0  # seconds
_CUT_OFF = (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)
#: What aiohttp would add to each request by itself.
_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class _Response(aiohttp.ClientResponse):
    """A response that remembers the server's certificate: a short one has no connection any more once it is there."""

    certificate = b""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        tls = connection.transport.get_extra_info("ssl_object") if connection.transport else None
        if tls is not None:
            self.certificate = tls.getpeercert(binary_form=True) or b""
        return await super().start(connection)


class Answer:
    """What was received of an answer. `certificate` is the server's in DER; none where the connection is not encrypted."""

    def __init__(self, response: _Response) -> None:
        self._response = response
        self.status = response.status
        self.headers = list(response.raw_headers)
        self.certificate = response.certificate

    async def more(self) -> bytes:
        """The next bytes of the body, as they were sent; none at its end. Raises ReadError and RemoteProtocolError."""
        with _as_httpx():
            return await self._response.content.readany()


class Wire:
    """Connections to one server: at most `connections` at a time, kept for the next request."""

    def __init__(self, context: ssl.SSLContext | None, *, connections: int, connect_timeout: float) -> None:
        self._context = context
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, ceil_threshold=math.inf)
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections,
                ssl=True if self._context is None else self._context,
                keepalive_timeout=_KEPT_FOR,
                use_dns_cache=False,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=_Response,
                skip_auto_headers=_ADDED,
                max_line_size=_MAX_HEAD,
                max_field_size=_MAX_HEAD,
                trust_env=False,
            )
        return self._session

    @asynccontextmanager
    async def answer(self, request: httpx.Request, server_name: str | None = None) -> AsyncIterator[Answer]:
        """The answer to one request, whose host may have another `server_name` in its certificate.

        Raises httpx's errors: ConnectTimeout and ConnectError where no connection was made, ReadError and RemoteProtocolError
        where there was no whole answer, LocalProtocolError for headers that HTTP does not allow. How long an answer may take, and
        how large its body may be, is the caller's to limit: a server waits while its answer is not read.
        """
        with _as_httpx():
            response = await self._open().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode("ascii"), value.decode("utf-8")) for name, value in request.headers.raw],
                data=request.content or None,
                allow_redirects=False,
                server_hostname=server_name,
            )
        async with response:
            answer = Answer(cast("_Response", response))
            coding = response.headers.get("Transfer-Encoding", "chunked")
            if answer.status < 200 or coding.strip().lower() != "chunked":
                raise httpx.RemoteProtocolError("an answer that was not asked for")
            yield answer

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # a turn of the loop, in which their sockets are closed


@contextmanager
def _as_httpx() -> Iterator[None]:
    """aiohttp's errors as those of httpx, with what the system said as their cause."""
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raised, cause = _translated(error)
        raise raised from cause


def _translated(error: Exception) -> tuple[httpx.TransportError, Exception | None]:
    if isinstance(error, aiohttp.ServerTimeoutError):
        return httpx.ConnectTimeout(""), None
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return httpx.ConnectError(""), error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError("none of its addresses accepts connections"), error.os_error
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        return httpx.RemoteProtocolError("no HTTP, or not all of it"), None
    if isinstance(error, UnicodeError):  # of Python's resolver, before it asks anybody
        return httpx.ConnectError("DNS has no names like that of its host"), None
    if isinstance(error, OSError) and error.errno in _CUT_OFF:
        # Whether a server that hangs up is seen to close or to reset depends on which bytes were under way.
        return httpx.RemoteProtocolError("the server closed the connection"), None
    if isinstance(error, OSError):
        return httpx.ReadError(str(error)), error
    if isinstance(error, ValueError):
        return httpx.LocalProtocolError("illegal header"), None
    return httpx.TransportError(str(error)), None
