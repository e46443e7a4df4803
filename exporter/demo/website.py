"""A small HTTPS site of the demo's own, with a certificate chain made for it."""

from __future__ import annotations

import asyncio
import contextlib
import html
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from exporter.demo.certificates import Authority, Issued
from exporter.demo.service import Fault, Place, Service, write_private

__all__ = ["Website"]

_HSTS = "Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n"
_PAGE = "<!doctype html><title>{0}</title><h1>{0}</h1><p>A page of the site that the demo verifies.\n"


class Website(Service):
    """https://localhost with HSTS, TLS 1.2 and later, a leaf below an intermediate below a root of its own."""

    name: ClassVar[str] = "HTTPS site with its own certificate chain"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._root = Authority.root("Demo root")
        self._intermediate = self._root.intermediate("Demo intermediate")
        self._leaf = self._intermediate.leaf("localhost", days=80)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self._hsts = True
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self.ca_file.write_text(self._root.pem)
        await self._present(self._leaf, self._intermediate)
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._tls)

    async def stop(self) -> None:
        """Stop listening; a connection under way ends with the process."""
        if self._server:
            self._server.close()

    @property
    def url(self) -> str:
        """Its address."""
        assert self._server is not None
        return f"https://localhost:{self._server.sockets[0].getsockname()[1]}"

    def config(self) -> Mapping[str, Any]:
        """The site as the one target of section `tls_certificates`."""
        endpoint = self.url.removeprefix("https://")
        target = {"name": "orders", "endpoint": endpoint, "address_family": "ipv4", "ca_file": str(self.ca_file)}
        return {"sections": {"tls_certificates": {"every": "5s", "timeout": "4s", "targets": [target]}}}

    def faults(self) -> Sequence[Fault]:
        """Present an expired certificate, leave the intermediate out, leave HSTS out."""
        expired = self._intermediate.leaf("localhost", days=-3)

        async def use_hsts(value: bool) -> None:
            self._hsts = value

        def whole() -> Any:
            return self._present(self._leaf, self._intermediate)

        return (
            Fault(
                "certificate",
                "The site presents a certificate that expired three days ago: "
                "“SSL certificates are valid and not expired” fails.",
                lambda: self._present(expired, self._intermediate),
                whole,
            ),
            Fault(
                "chain",
                "The site leaves the intermediate certificate out: “Certificate chain is complete” fails.",
                lambda: self._present(self._leaf),
                whole,
            ),
            Fault(
                "hsts",
                "The site no longer sends Strict-Transport-Security: “HSTS headers are configured” fails.",
                lambda: use_hsts(False),
                lambda: use_hsts(True),
            ),
        )

    @property
    def ca_file(self) -> Path:
        """The root that it is to be trusted by."""
        return self.place.directory / "ca.pem"

    async def _present(self, leaf: Issued, *chain: Issued) -> None:
        """Use this certificate and chain for the connections to come. OpenSSL takes them from a file only."""
        pem = leaf.key_pem + leaf.pem + "".join(issued.pem for issued in chain)
        self._tls.load_cert_chain(write_private(self.place.directory / "site.pem", pem))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one reply: `/` and what is below `/handbook/` are pages, everything else is 404."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
            async with asyncio.timeout(10):
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode(errors="replace")
                title = {"/": "Orders"}.get(path) or html.escape(path.partition("/handbook/")[2].capitalize())
                status, body = ("200 OK", _PAGE.format(title).encode()) if title else ("404 Not Found", b"")
                head = f"HTTP/1.1 {status}\r\n{_HSTS if self._hsts else ''}Content-Type: text/html; charset=utf-8\r\n"
                writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()
