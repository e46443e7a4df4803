"""A small service of the demo's own, with a store behind it that may be gone or hang."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from exporter.demo.ports import free_port
from exporter.demo.service import Fault, Place, Service

__all__ = ["Shop"]

_NO_KUBERNETES = "The demo runs without Kubernetes."
_SMALL = "The demo's service is too small for it."


class Shop(Service):
    """`/health` asks its store each time, as services do without a timeout; `/account` wants the token that it has issued."""

    name: ClassVar[str] = "small service with a store"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._port, self._store_port = free_port(), free_port()
        self._token = secrets.token_urlsafe(18)
        self._verifies = True
        self._awake = asyncio.Event()
        self._requests = 0
        self._store: asyncio.Server | None = None
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen on free ports of 127.0.0.1."""
        self._awake.set()
        await self._open_store()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def stop(self) -> None:
        """Stop listening, and let what is being answered end."""
        for server in (self._server, self._store):
            if server:
                server.close()
        self._awake.set()
        await asyncio.gather(*self._answering, return_exceptions=True)

    def config(self) -> Mapping[str, Any]:
        """The service as the one target of sections `api_service` and `smoke_tests`."""
        url = f"http://127.0.0.1:{self._port}"
        often = {"every": "5s", "timeout": "4s"}
        service = {"name": "shop", "url": url, "request_timeout": "2s", "required_deps": ["store"]}
        service["required_metrics"] = ["shop_requests_total"]
        account = {"path": "/account", "conditions": ["status == 200", 'json.user == "demo"']}
        api = {"url": url, "bearer_token": self._token, "endpoints": [account]}
        return {
            "sections": {
                "api_service": {
                    **often,
                    "not_applicable": {
                        "pods_healthy": _NO_KUBERNETES,
                        "graceful_shutdown_configured": _NO_KUBERNETES,
                        "environment_variables_set": _NO_KUBERNETES,
                        "request_logging_enabled": _SMALL,
                        "rate_limiting_active": _SMALL,
                        "documentation_accessible": _SMALL,
                    },
                    "targets": [service],
                },
                "smoke_tests": {
                    **often,
                    "not_applicable": dict.fromkeys(
                        (
                            "database_read_write",
                            "cache_read_write",
                            "message_queue_publish_consume",
                            "authentication_flow_works",
                            "ai_pipeline_works",
                        ),
                        _SMALL,
                    ),
                    "targets": [{"name": "shop", "api": api}],
                },
            }
        }

    def faults(self) -> Sequence[Fault]:
        """Take the store away, let it hang, and forget the tokens."""

        async def gone() -> None:
            if self._store:
                self._store.close()

        async def hang() -> None:
            self._awake.clear()

        async def wake() -> None:
            self._awake.set()

        async def verify(value: bool) -> None:
            self._verifies = value

        return (
            Fault(
                "shop-store",
                "The store of the service is gone: “Health check endpoint responds (GET /health)” fails.",
                gone,
                self._open_store,
            ),
            Fault(
                "shop-hangs",
                "The store of the service accepts connections and answers none: "
                "“Health check endpoint responds (GET /health)” fails.",
                hang,
                wake,
            ),
            Fault(
                "shop-login",
                "The service can no longer verify the tokens that it has issued: "
                "“All critical API endpoints respond correctly” fails.",
                lambda: verify(False),
                lambda: verify(True),
            ),
        )

    async def _open_store(self) -> None:
        self._store = await asyncio.start_server(self._keep, "127.0.0.1", self._store_port)

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The store: says that it is there, unless it hangs."""
        self._hold()
        with contextlib.suppress(OSError):
            await self._awake.wait()
            writer.write(b"up\n")
            await writer.drain()
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one reply."""
        self._hold()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1")
            self._requests += 1
            status, kind, body = await self._answer(head.split(" ")[1], head.lower(), head)
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()

    def _hold(self) -> None:
        """Keep what answers: the loop itself would forget it while it waits."""
        if task := asyncio.current_task():
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, path: str, lowered: str, head: str) -> tuple[str, str, bytes]:
        if path == "/health":
            up = await self._asked()
            report = {"status": "ok" if up else "error", "details": {"store": {"status": "up" if up else "down"}}}
            return ("200 OK" if up else "503 Service Unavailable"), "application/json", json.dumps(report).encode()
        if path == "/metrics":
            text = f"# TYPE shop_requests counter\nshop_requests_total {self._requests}\n"
            return "200 OK", "text/plain; version=0.0.4", text.encode()
        if path == "/account":
            if not self._verifies:
                return "500 Internal Server Error", "application/json", b'{"error": "The sessions cannot be read."}'
            known = "\r\nauthorization: bearer " in lowered and self._token in head
            document = {"user": "demo"} if known else {"error": "Unauthorized"}
            return ("200 OK" if known else "401 Unauthorized"), "application/json", json.dumps(document).encode()
        return "404 Not Found", "application/json", b'{"error": "Not Found"}'

    async def _asked(self) -> bool:
        """Whether the store answers; for as long as that takes, as there is no timeout."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._store_port)
            try:
                return bool(await reader.readline())
            finally:
                writer.close()
        except OSError:
            return False
