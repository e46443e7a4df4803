"""Requests that show how a reply came: its HTTP version, its encoding as sent, and the connection it used."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from collectors.shared.addresses import address_and_port, resolve
from collectors.systems.delivery.client.site import Site
from collectors.systems.delivery.model import Delivered, Http3
from exporter.http import drop_unusable_location, failure
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import os_reason

__all__ = ["Connection", "addresses_of", "negotiated", "request_http3"]

#: More of a body is not needed to judge how it was sent.
MAX_BODY = 256 * 1024


class Connection:
    """One kept connection to a site. Redirects are not followed: what answers at the address is judged."""

    def __init__(self, site: Site, client: httpx.AsyncClient, address: str | None) -> None:
        self._site = site
        self._client = client
        self._address = address

    @classmethod
    @asynccontextmanager
    async def open(cls, site: Site, *, http2: bool, address: str | None = None) -> AsyncIterator[Connection]:
        """A client that speaks HTTP/1.1 alone, or HTTP/2 where the site does; at one `address` of several.

        Raises ProbeError for TLS files that are none.
        """
        headers = {"User-Agent": "checklist-exporter"}
        headers |= {name: value.get_secret_value() for name, value in site.headers.items()}
        if site.bearer_token:
            headers["Authorization"] = f"Bearer {site.bearer_token.get_secret_value()}"
        auth = None
        if site.username is not None:
            auth = httpx.BasicAuth(site.username, site.password.get_secret_value() if site.password else "")
        async with httpx.AsyncClient(
            auth=auth,
            headers=httpx.Headers(headers, encoding="utf-8"),
            verify=site.tls.context if site.url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            http2=http2,
            event_hooks={"response": [drop_unusable_location]},
            trust_env=False,
            timeout=None,  # noqa: S113  # one deadline for a whole request is below
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60),
        ) as client:
            yield cls(site, client, address)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Delivered:
        """GET a path. Raises ProbeError when there is no reply in time."""
        where = f"GET {self._site.url}{path}" + (f" at {self._address}" if self._address else "")
        url = httpx.URL(self._site.url + path)
        name = self._site.tls.server_name or (url.host if self._address else None)
        request = self._client.build_request(
            "GET", url, headers=headers, extensions={"sni_hostname": name} if name else {}
        )
        if self._address:  # its Host stays the site's
            request.url = url.copy_with(host=self._address)
        try:
            async with asyncio.timeout(self._site.timeout.total_seconds()):
                response = await self._client.send(request, stream=True)
                try:
                    return await _read(where, response)
                finally:
                    await response.aclose()
        except TimeoutError:
            limit = format_duration(self._site.timeout)
            raise ProbeError(f"{where} did not answer within {limit}.", Reason.TIMEOUT) from None
        except httpx.HTTPError as error:
            raise ProbeError(failure(where, error), Reason.UNREACHABLE) from None


async def _read(where: str, response: httpx.Response) -> Delivered:
    stream = response.extensions.get("network_stream")
    address = stream.get_extra_info("client_addr") if stream is not None else None
    body = bytearray()
    whole = True
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY:
            whole = False
            break
    return Delivered(
        where,
        response.status_code,
        response.headers,
        response.http_version,
        bytes(body),
        whole,
        address[1] if address else None,
    )


async def addresses_of(site: Site) -> list[str]:
    """Every address of a site's host. Raises ProbeError when it has none."""
    parts = urlsplit(site.url)
    return await resolve(str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80))


async def negotiated(site: Site) -> dict[str, str | None]:
    """The protocol that each address of a site's host chooses for a client that speaks HTTP/2, by address.

    Raises ProbeError when the host has no address, or one of them does not complete a TLS handshake in time.
    """
    parts = urlsplit(site.url)
    host, port = str(parts.hostname), parts.port or 443
    addresses = await resolve(host, port)
    chosen = await asyncio.gather(*(_negotiate(site, address, host, port) for address in addresses))
    return dict(zip(addresses, chosen, strict=True))


async def _negotiate(site: Site, address: str, host: str, port: int) -> str | None:
    context = site.tls.own_context()  # others set the protocols of the shared one
    where = f"{host} at {address_and_port(address, port)}"
    try:
        async with asyncio.timeout(site.timeout.total_seconds()):
            context.set_alpn_protocols(["h2", "http/1.1"])
            _, writer = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=site.tls.server_name or host
            )
    except TimeoutError:
        limit = format_duration(site.timeout)
        raise ProbeError(f"{where} did not complete a TLS handshake within {limit}.", Reason.TIMEOUT) from None
    except ssl.SSLCertVerificationError as error:
        raise ProbeError(
            f"The certificate of {where} is not accepted: {error.verify_message}.", Reason.REFUSED
        ) from None
    except ssl.SSLError as error:
        raise ProbeError(f"The TLS handshake with {where} failed ({error.reason}).", Reason.REFUSED) from None
    except OSError as error:
        raise ProbeError(f"{where} cannot be reached: {os_reason(error)}.", Reason.UNREACHABLE) from None
    secure = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return secure.selected_alpn_protocol() if isinstance(secure, ssl.SSLObject) else None


async def request_http3(site: Site, path: str) -> Http3:
    """What a GET by HTTP/3 is answered. Raises ProbeError where the extra `http3` is not installed."""
    try:
        from collectors.systems.delivery.client.http3 import get
    except ImportError:
        raise ProbeError(
            "HTTP/3 was not requested: checklist-exporter[http3] is not installed.", Reason.NOT_CONFIGURED
        ) from None
    return await get(site, path)
