"""Requests to a Kubernetes API server, blocking: bounded in time and size, as gentle as it asks for, refused in one sentence.

The official client gives what is hard to get right (kubeconfig, contexts, exec plugins, tokens that rotate) and the transport. Its
typed calls are not used: decoding a list into its models costs a hundred times what reading it costs.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from collectors.shared.decoding import UNDECODABLE
from exporter.kubernetes_client import configured, source
from exporter.logs import hide
from exporter.options import format_duration
from exporter.trace import step
from exporter.verdict import ProbeError, Reason
from exporter.words import format_size, one_line

__all__ = ["Api", "Busy", "Forbidden", "Gone", "NotFound", "NotServed", "Reply", "TooLarge"]

_CHUNK = 2**18
_MAX_ERROR_BYTES = 2**16
_USER_AGENT = "checklist-exporter"
_SECRETS = re.compile(r"//[^/]*@")
"""What an address may have in front of its host, and is never shown."""
_CONFIGURED_WITHIN = timedelta(seconds=20)
_AUTHORIZED_FOR = 1.0
_MOST_PATIENCE = 60.0
"""Longest that a 429 is heeded: one that asks for more is a mistake and must not keep us away for ever."""


class Forbidden(ProbeError):
    """The account has no right to it (403)."""


class Busy(ProbeError):
    """The server asks to come later (429)."""


class NotFound(ProbeError):
    """There is no such object, or no such kind (404)."""


class Gone(ProbeError):
    """The place to continue from has been forgotten by the server (410)."""


class NotServed(ProbeError):
    """The cluster does not have this kind of object, in any version: its CustomResourceDefinition is not installed."""


class TooLarge(ProbeError):
    """The reply is larger than what is read."""


class _Status(msgspec.Struct, frozen=True, gc=False):
    """What an API server answers in place of an object."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `at` is the moment of it by the server's own clock (ours, when it does not report it)."""

    where: str
    status: int
    body: bytes | bytearray
    at: datetime

    @property
    def text(self) -> str:
        """The body as UTF-8, with what is no UTF-8 replaced."""
        return self.body.decode("utf-8", "replace")


class Api:
    """One API server. Every call blocks, and belongs in a thread; `close` ends those that are under way.

    `kubeconfig` and `context` say where it is; with neither, the service account of the pod that this runs in does, or else the
    default kubeconfig. `rate` is the most requests a second. Configuration and credentials are read when first needed, and again
    when they were not accepted: tokens expire, authorities rotate.
    """

    def __init__(
        self, kubeconfig: os.PathLike[str] | None, context: str | None, timeout: timedelta, rate: float
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._timeout = timeout
        self._pause = 1 / rate
        self._lock = threading.Lock()
        self._client: Any = None
        self._authorized: tuple[Any, dict[str, str], float] = (None, {}, 0.0)
        self._configuring: Future[Any] | None = None
        self._configured_by = 0.0
        self._not_before = 0.0
        self._closed = threading.Event()
        self._replies: set[Any] = set()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until `close` is called."""
        self._closed.wait(seconds)

    def get(
        self, path: str, query: Mapping[str, Any] | None = None, *, max_bytes: int, any_status: bool = False
    ) -> Reply:
        """The reply to GET. Raises ProbeError when there is none in time, none that is whole, or none with a status below 300.

        With `any_status` everything but a refusal (401, 403) and haste (429) is a reply.
        """
        return self._request("GET", path, query, None, max_bytes, any_status)

    def post(self, path: str, body: bytes, *, max_bytes: int) -> Reply:
        """The reply to POST, for reviews, which create nothing, and for evictions. Raises as `get` does."""
        return self._request("POST", path, None, body, max_bytes, any_status=False)

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: bytes | None,
        max_bytes: int,
        any_status: bool,
    ) -> Reply:
        asked = f"the Kubernetes API: {method} {path}{'?' * bool(query)}{urlencode(query or {})}"
        deadline = time.monotonic() + self._timeout.total_seconds()
        with step(asked) as taken:
            with self._sent(method, path, query, body, self._timeout.total_seconds()) as (where, response):
                limit = max_bytes if response.status < 300 else _MAX_ERROR_BYTES
                found = self._read(where, response, limit, deadline)
                reply = Reply(where, response.status, found, _server_time(response))
            if reply.status in (401, 403) or (reply.status >= 300 and not any_status):
                raise _refusal(reply)
            taken.answered = f"{reply.status}, {format_size(len(reply.body))}"
        return reply

    @contextmanager
    def stream(
        self, path: str, query: Mapping[str, Any], silence: timedelta
    ) -> Iterator[tuple[Iterator[bytes], datetime]]:
        """The reply to GET in pieces, as they come, and the moment of its begin by the server's clock.

        It ends when the server ends it, is silent for too long, or `close` is called. Raises ProbeError as `get` does.
        """
        with self._sent("GET", path, query, None, silence.total_seconds()) as (where, response):
            at = _server_time(response)
            if response.status >= 300:
                deadline = time.monotonic() + self._timeout.total_seconds()
                body = self._read(where, response, _MAX_ERROR_BYTES, deadline)
                raise _refusal(Reply(where, response.status, body, at))
            with self._explained(where, silence):
                yield iter(lambda: response.read1(_CHUNK), b""), at

    @contextmanager
    def _sent(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: bytes | None, seconds: float
    ) -> Iterator[tuple[str, Any]]:
        """The response to a request, unread. Where we are not accepted, credentials are read again and it is asked once more."""
        for again in (True, False):
            client = self._configured()  # which has a limit of its own
            deadline = time.monotonic() + self._timeout.total_seconds()
            where = f"{method} {_SECRETS.sub('//', client.configuration.host)}{path}"
            try:
                with self._explained(where, self._timeout):
                    response = self._patiently(client, where, method, path, query, body, seconds, deadline)
            except _Untrusted:
                self._forget(client)
                if again:
                    continue
                raise
            if response.status == 401 and again:
                _let_go(response)
                self._forget(client)
                continue
            break
        self._replies.add(response)
        try:
            if self.closed:  # before `close` could know of it
                raise self._ended(where)
            yield where, response
        finally:
            self._replies.discard(response)
            _let_go(response)

    def _patiently(
        self,
        client: Any,
        where: str,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: bytes | None,
        seconds: float,
        deadline: float,
    ) -> Any:
        """The response, asked for again while the server says "later" (429) and there is time."""
        import urllib3

        url = f"{client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        while True:
            self._wait_for_turn(where, deadline)
            response = client.rest_client.pool_manager.request(
                method,
                url,
                body=body,
                headers=self._headers(client, body),
                timeout=urllib3.Timeout(connect=self._timeout.total_seconds(), read=seconds),
                retries=False,
                preload_content=False,
            )
            if response.status != 429:
                return response
            response.read(_MAX_ERROR_BYTES)
            _let_go(response)
            asked = response.headers.get("Retry-After", "")
            later = min(float(asked), _MOST_PATIENCE) if asked.isdecimal() else 1.0
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + later)
            if time.monotonic() + later > deadline:
                raise Busy(
                    f"{where} answered 429: the API server is overloaded and asks to retry in {later:g} s.",
                    Reason.REFUSED,
                )

    def _headers(self, client: Any, body: bytes | None) -> dict[str, str]:
        """The headers of a request, with credentials: those that expire are read again by the client."""
        headers = {"Accept": "application/json", "User-Agent": _USER_AGENT}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return headers | self._authorization(client)

    def _authorization(self, client: Any) -> dict[str, str]:
        """The credentials as they are now, or were a moment ago: one look at a cluster asks dozens of times."""
        from kubernetes.config import ConfigException

        known, headers, until = self._authorized
        if known is client and time.monotonic() < until:
            return headers
        headers = {}
        try:
            client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
            raise ProbeError(
                f"The credentials from {source(self._kubeconfig, self._context)[0]} could not be renewed: {one_line(error)}.",
                Reason.DENIED,
            ) from None
        # A file with a token often ends with a line break.
        headers = {name: value.strip() for name, value in headers.items()}
        hide(headers.get("authorization", "").split()[1:])  # a proxy's error page may send back what it was sent
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            # Else what the transport raises would quote it.
            raise ProbeError(
                f"The token from {source(self._kubeconfig, self._context)[0]} cannot be sent: it has characters that no token has.",
                Reason.DENIED,
            )
        self._authorized = client, headers, time.monotonic() + _AUTHORIZED_FOR
        return headers

    def _wait_for_turn(self, where: str, deadline: float) -> None:
        """Wait until the rate allows another request, and no 429 speaks against it."""
        with self._lock:
            turn = max(self._not_before, time.monotonic())
            if turn <= deadline:
                self._not_before = turn + self._pause
        if turn > deadline:
            raise ProbeError(
                f"{where} was not sent within {format_duration(self._timeout)}: the API server asked to wait (429).",
                Reason.REFUSED,
            )
        if self._closed.wait(max(0.0, turn - time.monotonic())) or self._closed.is_set():
            raise self._ended(where)

    @staticmethod
    def _ended(where: str) -> ProbeError:
        return ProbeError(
            f"{where} was canceled: the exporter is stopping or its configuration was reloaded.", Reason.PENDING
        )

    def _configured(self) -> Any:
        """The official client, configured: in a thread of its own, as the exec plugin of a kubeconfig may never end."""
        with self._lock:
            if self._client is not None:
                return self._client
            if self._configuring is None:
                self._configuring = Future()
                self._configured_by = time.monotonic() + _CONFIGURED_WITHIN.total_seconds()
                threading.Thread(target=self._settle, args=(self._configuring,), daemon=True).start()
            configuring, seconds = self._configuring, self._configured_by - time.monotonic()
        try:
            return configuring.result(max(0.0, seconds))
        except TimeoutError:
            named, _ = source(self._kubeconfig, self._context)
            raise ProbeError(
                f"The configuration from {named} was not read within {format_duration(_CONFIGURED_WITHIN)}: "
                "its exec plugin does not finish.",
                Reason.TIMEOUT,
            ) from None

    def _settle(self, configuring: Future[Any]) -> None:
        """Configure the client, for all that wait for it."""
        client, error = None, None
        try:
            client = configured(self._kubeconfig, self._context)
        except BaseException as raised:  # noqa: BLE001  # handed to those that wait, as it is
            error = raised
        with self._lock:
            self._client, self._configuring = client, None
        if error is None:
            configuring.set_result(client)
        else:
            configuring.set_exception(error)

    def _forget(self, client: Any) -> None:
        with self._lock:
            if self._client is client:
                self._client = None
                client.rest_client.pool_manager.clear()

    def _read(self, where: str, response: Any, limit: int, deadline: float) -> bytearray:
        """The whole body, within the limits."""
        body = bytearray()
        with self._explained(where, self._timeout):
            while piece := response.read1(_CHUNK):  # what there is: a server that trickles must not hold us up
                body += piece
                if len(body) > limit:
                    response.close()
                    raise TooLarge(f"{where} answered more than {limit} bytes, which were not read.", Reason.LIMIT)
                if time.monotonic() > deadline:
                    response.close()
                    raise ProbeError(
                        f"{where} had sent {len(body)} bytes after {format_duration(self._timeout)}, and not all.",
                        Reason.TIMEOUT,
                    )
        return body

    @contextmanager
    def _explained(self, where: str, silence: timedelta) -> Iterator[None]:
        """Turn what the transport raises into a sentence."""
        import urllib3.exceptions as transport

        try:
            yield
        except transport.HTTPError as error:
            if self._closed.is_set():
                raise self._ended(where) from None
            raise _failure(where, error, silence) from None
        except OSError as error:  # a file of the TLS configuration
            raise ProbeError(f"{where} failed: {error.strerror or one_line(error)}.", Reason.UNREACHABLE) from None

    def close(self) -> None:
        """End the requests that are under way, and close every connection."""
        self._closed.set()
        for response in tuple(self._replies):
            connection = response.connection
            if connection is not None and connection.sock is not None:
                with suppress(OSError):  # below TLS: the thread that reads sees the end
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
        with self._lock:
            if self._client is not None:
                self._client.rest_client.pool_manager.clear()


def _let_go(response: Any) -> None:
    """Give the connection back, or close it when not all was read: what is left is not worth reading."""
    if not response.closed:
        response.close()
    response.release_conn()


class _Untrusted(ProbeError):
    """The server's certificate was not accepted."""


def _failure(where: str, error: Exception, silence: timedelta) -> ProbeError:
    """What went wrong, in one sentence, from the exceptions behind urllib3's."""
    import urllib3.exceptions as transport

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _Untrusted(
                f"{where} failed: the certificate was not accepted ({cause.verify_message or cause.reason}).",
                Reason.REFUSED,
            )
        if isinstance(cause, ssl.SSLError):
            return _Untrusted(f"{where} failed: the TLS handshake failed ({cause.reason or cause}).", Reason.REFUSED)
        if isinstance(cause, transport.NameResolutionError):
            return ProbeError(f"{where} failed: the name of the API server could not be resolved.", Reason.UNREACHABLE)
        unconnected = isinstance(cause, transport.NewConnectionError)  # which counts as a timeout, whatever its cause
        if isinstance(cause, transport.TimeoutError | TimeoutError) and not unconnected:
            return ProbeError(f"{where} did not answer within {format_duration(silence)}.", Reason.TIMEOUT)
        if isinstance(cause, ConnectionRefusedError):
            return ProbeError(f"{where} failed: the connection was refused.", Reason.UNREACHABLE)
        if isinstance(cause, OSError) and cause.strerror:
            return ProbeError(f"{where} failed: {cause.strerror}.", Reason.UNREACHABLE)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, transport.ProtocolError):
        return ProbeError(f"{where} failed: the reply is not HTTP or ended too early.", Reason.MALFORMED)
    return ProbeError(f"{where} failed: {one_line(error)}.", Reason.UNREACHABLE)


def _refusal(reply: Reply) -> ProbeError:
    message = _message(reply.body)
    where, status = reply.where, reply.status
    match status:
        case 401:
            return ProbeError(
                f"{where} answered 401: the token or certificate was not accepted or has expired.", Reason.DENIED
            )
        case 403:
            return Forbidden(f"{where} answered 403: {message or 'the account has no right to it'}.", Reason.DENIED)
        case 404:
            return NotFound(f"{where} answered 404: {message or 'it does not exist'}.", Reason.MISSING)
        case 410:
            return Gone(f"{where} answered 410: {message or 'it is gone'}.")
    return ProbeError(f"{where} answered {status}: {message or 'an error without a message'}.", Reason.REFUSED)


def _message(body: bytes | bytearray) -> str:
    """The message of an API server's error; empty where there is none."""
    try:
        return one_line(msgspec.json.decode(body, type=_Status).message)
    except UNDECODABLE:
        return ""


def _server_time(response: Any) -> datetime:
    with suppress(ValueError):
        at = parsedate_to_datetime(response.headers.get("Date", ""))
        return at.astimezone(UTC)
    return datetime.now(UTC)
