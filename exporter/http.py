"""Bounded HTTP: whatever a server does, a request ends on time, reads at most so much, and says in one sentence what went wrong."""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import ssl
import zlib
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx
from pydantic import AfterValidator, Field, SecretStr, field_validator

from exporter.files import TooLarge, read_file
from exporter.options import Duration, Options, Secret, Size, format_duration
from exporter.reply import Reply
from exporter.trace import traced
from exporter.verdict import ProbeError, Reason
from exporter.words import format_size, os_reason

if TYPE_CHECKING:
    from exporter.wire import Wire

__all__ = [
    "UNUSABLE_LOCATION",
    "BaseUrl",
    "Http",
    "HttpSettings",
    "Oversized",
    "Trust",
    "Unanswered",
    "Unreachable",
    "drop_unusable_location",
    "failure",
    "tls_context",
]

#: The header that has the location of a redirect where that leads nowhere.
UNUSABLE_LOCATION = "unusable-location"
# What a header may hold (RFC 9110): visible characters, and spaces between them.
_FIELD_VALUE = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?")


class Unreachable(ProbeError):
    """No connection could be made: nothing is known of the server."""


class Unanswered(ProbeError):
    """The connection was accepted, and there was no whole answer: the server does not respond."""


class Oversized(ProbeError):
    """The answer was larger than the limit, and was not read to its end."""


class Trust(Options):
    """TLS: which authorities to trust, and which client certificate to present.

    Certificates are verified as curl, kubectl and Go programs do, on every version of Python: an Authority Key Identifier may be
    missing, and `ca_file` may hold an intermediate instead of its root.
    """

    ca_file: Path | None = Field(None, description="PEM file of the authorities to trust; the system's by default.")
    cert_file: Path | None = Field(None, description="PEM file of the client certificate.")
    key_file: Path | None = Field(None, description="PEM file of the client certificate's key.")
    server_name: str | None = Field(None, description="Name to expect in the certificate, where it is not the host's.")
    insecure_skip_verify: bool = Field(False, description="Do not verify the server's certificate.")

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context for this trust configuration, made once until one of its files changes.

        Raises ProbeError when a file cannot be read or is no PEM file.
        """
        return tls_context(self.ca_file, self.cert_file, self.key_file, verify=not self.insecure_skip_verify)

    def own_context(self) -> ssl.SSLContext:
        """The same for a caller that changes it, such as its ALPN protocols: nobody else uses it."""
        return _new_context(self.ca_file, self.cert_file, self.key_file, not self.insecure_skip_verify)


def tls_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, *, verify: bool) -> ssl.SSLContext:
    """One TLS client context per trust configuration: building one costs as much as a hundred requests.

    Raises ProbeError when a file cannot be read or is no PEM file.
    """
    stamps = tuple(_stamp(path) for path in (ca_file, cert_file, key_file))
    return _tls_context(ca_file, cert_file, key_file, verify, stamps)


def _stamp(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        stat = path.stat()
    except OSError as error:
        raise ProbeError(f"TLS file {path} cannot be read: {error.strerror}.") from None
    return stat.st_mtime_ns, stat.st_size


_MAX_PEM = 2**20


@functools.lru_cache(maxsize=64)
def _tls_context(
    ca_file: Path | None, cert_file: Path | None, key_file: Path | None, verify: bool, _stamps: tuple[object, ...]
) -> ssl.SSLContext:
    return _new_context(ca_file, cert_file, key_file, verify)


def _new_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, verify: bool) -> ssl.SSLContext:
    try:
        for path in filter(None, (ca_file, cert_file, key_file)):
            read_file(path, _MAX_PEM)  # OpenSSL would wait for a pipe or a disk as long as that takes
        context = ssl.create_default_context(cafile=ca_file)
        # Python 3.13 sets both, earlier versions set neither.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if cert_file is not None:
            # A key with a passphrase must not make OpenSSL ask on the terminal.
            context.load_cert_chain(cert_file, key_file, password=lambda: b"")
    except TooLarge:
        raise ProbeError(f"TLS files are read up to {_MAX_PEM} bytes, one of those configured has more.") from None
    except OSError as error:  # ssl.SSLError is one
        names = ", ".join(str(path) for path in (ca_file, cert_file, key_file) if path)
        raise ProbeError(f"TLS files {names} cannot be used: {error.strerror or error}.") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _asked(http: Http, method: str, path: str = "", *, params: Mapping[str, str] | None = None, **_: object) -> str:
    query = "&".join(f"{name}={value}" for name, value in (params or {}).items())
    return f"{method} {_plain_url(http.settings.url + path)}{'?' * bool(query)}{query}"


def _answered(reply: Reply) -> str:
    kind = reply.headers.get("content-type", "").partition(";")[0].strip()
    return f"{reply.status}, {format_size(len(reply.body))}{' of ' * bool(kind)}{kind}"


class HttpSettings(Options):
    """How to reach an HTTP API."""

    url: str = Field(description="Base URL, with the path prefix if there is one, without credentials.")
    username: str | None = Field(None, description="User for basic authentication.")
    password: Secret | None = Field(None, description="Password for basic authentication.")
    bearer_token: Secret | None = Field(None, description="Token sent as `Authorization: Bearer`.")
    headers: dict[str, Secret] = Field(default_factory=dict, description="Headers to send, such as X-Scope-OrgID.")
    tls: Trust = Field(Trust(), description="TLS: trusted authorities and client certificate.")
    timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0), description="Timeout of one request in total.")
    max_bytes: Size = Field(16 * 2**20, gt=0, description="Maximum size of a response.")

    @field_validator("bearer_token", "headers")
    @classmethod
    def _one_line(cls, value: SecretStr | dict[str, SecretStr] | None) -> SecretStr | dict[str, SecretStr] | None:
        secrets = value.values() if isinstance(value, dict) else [value] if value else []
        if any(not _FIELD_VALUE.fullmatch(secret.get_secret_value()) for secret in secrets):
            raise ValueError("expected one line, without spaces around it and without control characters")
        return value

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address that starts with http:// or https:// and names a host")
        if parts.username or parts.password:
            raise ValueError("expected no credentials in the address; use username and password")
        if parts.query or parts.fragment:
            raise ValueError("expected an address without query and fragment")
        return url.rstrip("/")


def _base_url(text: str) -> str:
    return HttpSettings(url=text).url


BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""The base URL of an HTTP API, as in `HttpSettings`."""


async def drop_unusable_location(response: httpx.Response) -> None:
    """Rename the location of a redirect that leads nowhere (`https:///x`, `javascript:…`) to `UNUSABLE_LOCATION`.

    A hook for clients of httpx, which fails at some of them.
    """
    _drop_unusable_location(response.headers, response.url)


def _drop_unusable_location(headers: httpx.Headers, asked: httpx.URL) -> None:
    location = headers.get("location")
    if location is None:
        return
    try:
        to, parts = httpx.URL(location), urlsplit(urljoin(str(asked), location))
        usable = bool(parts.hostname and (to.host or not to.scheme)) and (parts.port or 0) >= 0
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:
        del headers["location"]
        headers[UNUSABLE_LOCATION] = location


class Http:
    """One API's connections: at most four at a time, kept for the next request.

    Redirects are followed on the same host only, at most three. Nothing outside `HttpSettings` (proxy variables, netrc) is used.
    """

    def __init__(self, settings: HttpSettings, *, connections: int = 4) -> None:
        self.settings = settings
        self._connections = connections
        self._wire: Wire | None = None
        self._context: ssl.SSLContext | None = None
        self._retiring: dict[asyncio.Task[None], Wire] = {}
        self._headers, self._authorization = _own_headers(settings)
        self._cookies = httpx.Cookies()

    def _open(self) -> Wire:
        from exporter.wire import Wire  # most commands send no request, and aiohttp takes 0.1 s to import

        settings = self.settings
        context = settings.tls.context if settings.url.startswith("https:") else None
        if self._wire is None or context is not self._context:
            if self._wire is not None:
                retiring = asyncio.create_task(self._retire(self._wire))
                self._retiring[retiring] = self._wire
                retiring.add_done_callback(self._retiring.pop)
            self._context = context
            # One deadline for the whole request is below. Connecting ends a little before it, to be distinguished.
            connect_timeout = 0.9 * settings.timeout.total_seconds()
            self._wire = Wire(context, connections=self._connections, connect_timeout=connect_timeout)
        return self._wire

    async def _retire(self, wire: Wire) -> None:
        """Close the connections under a certificate that was replaced, once their last request must have ended."""
        await asyncio.sleep(self.settings.timeout.total_seconds())
        await wire.close()

    async def get(
        self,
        path: str = "",
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int] | None = (200,),
        max_bytes: int | None = None,
    ) -> Reply:
        """GET; see `request`."""
        return await self.request("GET", path, params=params, headers=headers, expect=expect, max_bytes=max_bytes)

    @traced(_asked, _answered)
    async def request(
        self,
        method: str,
        path: str = "",
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        content: bytes | None = None,
        expect: Collection[int] | None = (200,),
        max_bytes: int | None = None,
    ) -> Reply:
        """The reply to one request to `url` + `path`.

        Raises Unreachable when no connection could be made, Unanswered when one was accepted and there was no whole reply in time;
        Oversized when it was too large; ProbeError when it was redirected to another host, or had a status that is not in `expect`
        (None expects any, and follows no redirect).
        """
        url = self.settings.url + path
        where = f"{method} {_plain_url(url)}"
        timeout = self.settings.timeout.total_seconds()
        limit = max_bytes or self.settings.max_bytes
        wire = self._open()
        try:
            async with asyncio.timeout(timeout):
                for _ in range(4):
                    request = self._request(method, url, params, headers, json, content)
                    reply = await self._exchange(wire, request, where, limit)
                    if reply.status not in (301, 302, 303, 307, 308) or "location" not in reply.headers:
                        break
                    if expect is None or reply.status in expect:
                        break
                    url, params = self._redirected(request.url, reply, where), None
                else:
                    raise ProbeError(f"{where} was redirected more than three times.")
        except httpx.ConnectTimeout:
            raise Unreachable(
                f"{where} did not answer within {format_duration(self.settings.timeout)}.", Reason.TIMEOUT
            ) from None
        except TimeoutError:  # connecting ends earlier
            raise Unanswered(
                f"{where} did not answer within {format_duration(self.settings.timeout)}.", Reason.TIMEOUT
            ) from None
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            raise Unanswered(failure(where, error), Reason.MALFORMED) from None
        except httpx.ConnectError as error:
            raise Unreachable(failure(where, error), Reason.UNREACHABLE) from None
        except httpx.HTTPError as error:
            raise ProbeError(failure(where, error)) from None
        if expect is not None and reply.status not in expect:
            raise ProbeError(_refusal(where, reply, expect))
        return reply

    def _request(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        json: object,
        content: bytes | None,
    ) -> httpx.Request:
        sent = self._headers.copy()
        sent.update(headers)
        if self._authorization:
            sent["Authorization"] = self._authorization
        request = httpx.Request(method, url, params=params, headers=sent, json=json, content=content)
        if self._cookies.jar:
            self._cookies.set_cookie_header(request)
        return request

    async def _exchange(self, wire: Wire, request: httpx.Request, where: str, limit: int) -> Reply:
        async with wire.answer(request, self.settings.tls.server_name) as answer:
            headers = httpx.Headers(answer.headers)
            _drop_unusable_location(headers, request.url)
            if "set-cookie" in headers:
                self._cookies.extract_cookies(httpx.Response(answer.status, headers=headers, request=request))
            body = bytearray()
            unpacking = _Unpacking(headers.get("content-encoding", ""), where)
            while chunk := await answer.more():
                body += unpacking.more(chunk, limit + 1 - len(body))
                if len(body) > limit:
                    raise Oversized(f"{where} answered more than {limit} bytes (limit {limit}), which was not read.")
            unpacking.end()
        return Reply(where, answer.status, headers, bytes(body), answer.certificate)

    @staticmethod
    def _redirected(asked: httpx.URL, reply: Reply, where: str) -> str:
        to = asked.join(reply.headers["location"])
        if (to.host, to.port, to.scheme) != (asked.host, asked.port, asked.scheme):
            raise ProbeError(
                f"{where} was redirected to another host ({to.scheme}://{to.host}), which was not followed."
            )
        return str(to)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        for wire in retiring.values():
            await wire.close()
        if self._wire is not None:
            wire, self._wire = self._wire, None
            await wire.close()


def _own_headers(settings: HttpSettings) -> tuple[httpx.Headers, str]:
    """What each request has, and the authorization by user and password, which goes before any other."""
    headers = {
        "Accept": "*/*",
        "Accept-Encoding": "gzip",
        "Connection": "keep-alive",
        "User-Agent": "checklist-exporter",
    }
    headers |= {name: value.get_secret_value() for name, value in settings.headers.items()}
    if settings.bearer_token:
        headers["Authorization"] = f"Bearer {settings.bearer_token.get_secret_value()}"
    basic = ""
    if settings.username is not None:
        password = settings.password.get_secret_value() if settings.password else ""
        basic = f"Basic {base64.b64encode(f'{settings.username}:{password}'.encode()).decode()}"
    return httpx.Headers(headers, encoding="utf-8"), basic


class _Unpacking:
    """Makes of a reply's bytes, as they were sent, those that were meant. Raises ProbeError for what cannot be unpacked.

    httpx would unpack a few hundred bytes to gigabytes before it gives them away, and take half of them for all.
    """

    def __init__(self, encoding: str, where: str) -> None:
        self._encoding = encoding.strip().lower()
        self._where = where
        if self._encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ProbeError(f"{where} answered in the encoding {encoding[:40]!r}, which was not requested.")
        packed = self._encoding not in ("", "identity")
        self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if packed else None  # gzip or zlib, as it begins
        self._begun = False

    def more(self, chunk: bytes, room: int) -> bytes:
        """What the next bytes are, at most `room` of them."""
        if self._stream is None:
            return chunk
        self._begun = True
        try:
            return self._stream.decompress(chunk, room)
        except zlib.error:
            raise ProbeError(
                f"{self._where} answered in the encoding {self._encoding}, but that cannot be unpacked.",
                Reason.MALFORMED,
            ) from None

    def end(self) -> None:
        """Take note that there are no more bytes."""
        if self._stream is not None and self._begun and not self._stream.eof:
            raise ProbeError(f"{self._where} answered in the encoding {self._encoding}, but broke off in the middle.")


def _plain_url(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def failure(where: str, error: httpx.HTTPError) -> str:
    """What went wrong, in one sentence, from the exceptions behind httpx's."""
    if isinstance(error, httpx.RemoteProtocolError):
        return f"{where} failed: the reply is not HTTP or ended too early."
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{where} failed: the certificate was not accepted ({cause.verify_message or cause.reason})."
        if isinstance(cause, ssl.SSLError):
            return f"{where} failed: the TLS handshake failed ({cause.reason or cause})."
        if isinstance(cause, ConnectionRefusedError):
            return f"{where} failed: the connection was refused."
        if isinstance(cause, OSError) and cause.strerror:
            return f"{where} failed: {os_reason(cause)}."
    if isinstance(error, httpx.LocalProtocolError):  # its text quotes the header, which may be a secret
        return f"{where} was not sent: a header has characters that HTTP does not allow."
    return f"{where} failed: {str(error).rstrip('.') or type(error).__name__}."


def _refusal(where: str, reply: Reply, expect: Collection[int]) -> str:
    wanted = " or ".join(str(status) for status in expect)
    if reply.status == 401:
        return f"{where} answered 401: the credentials were not accepted."
    if reply.status == 403:
        return f"{where} answered 403: the credentials have no right to it."
    if reply.status == 429:
        retry = reply.headers.get("retry-after", "")
        return f"{where} answered 429: too many requests{f' (retry after {retry[:40]} s)' if retry.isdigit() else ''}."
    return (
        f"{where} answered {reply.status} with {reply.kind if reply.status < 300 else 'an error'} (expected {wanted})."
    )
