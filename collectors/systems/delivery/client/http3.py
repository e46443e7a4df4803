"""One GET by HTTP/3, through aioquic: an Alt-Svc header only claims that somebody listens on UDP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent

from collectors.systems.delivery.client.site import Site
from collectors.systems.delivery.model import Http3
from exporter.options import format_duration

__all__ = ["get"]


class _Client(QuicConnectionProtocol):
    """Sends one request and keeps the status of its answer."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._http = H3Connection(self._quic)
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def ask(self, authority: str, path: str) -> None:
        """Send the request."""
        headers = {":method": "GET", ":scheme": "https", ":authority": authority, ":path": path}
        headers["user-agent"] = "checklist-exporter"
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._http.send_headers(self._quic.get_next_available_stream_id(), encoded, end_stream=True)
        self.transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take the status from the first headers; a connection that ends before has none."""
        if isinstance(event, ConnectionTerminated) and not self.status.done():
            self.status.set_exception(ConnectionError(event.reason_phrase or "the server ended the connection"))
        for received in self._http.handle_event(event):
            if isinstance(received, HeadersReceived) and not self.status.done():
                self.status.set_result(int(dict(received.headers)[b":status"]))


async def get(site: Site, path: str) -> Http3:
    """GET a path of the site, at the port of its address, and say what came of it."""
    parts = urlsplit(site.url)
    host = str(parts.hostname)
    trust = site.tls
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=trust.server_name or host)
    if trust.insecure_skip_verify:
        configuration.verify_mode = ssl.CERT_NONE
    if trust.ca_file is not None:
        configuration.load_verify_locations(cafile=str(trust.ca_file))
    make: Callable[..., QuicConnectionProtocol] = _Client
    try:
        async with (
            asyncio.timeout(site.timeout.total_seconds()),
            connect(host, parts.port or 443, configuration=configuration, create_protocol=make) as client,
        ):
            assert isinstance(client, _Client)
            client.ask(parts.netloc, parts.path + path)
            return Http3(await client.status)
    except TimeoutError:
        return Http3(None, f"nothing answered within {format_duration(site.timeout)}")
    except (OSError, ConnectionError) as error:
        return Http3(None, str(error).rstrip(".") or "the connection ended")
