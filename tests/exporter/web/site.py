"""The web application on a real uvicorn, on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from exporter.exposition import Exposition
from exporter.health import Health
from exporter.state import State
from exporter.web import Options, bind, create_app, serve
from exporter.web.access import AccessFile
from tests.exporter.samples import Transitions
from tests.servers.process import eventually
from tests.support import Clock


@dataclass
class Site:
    """A running site and what is behind it. `reloaded` is what the next reload answers, unless `slow` answers instead."""

    state: State
    clock: Clock
    health: Health
    history: Transitions
    addresses: list[tuple[str, int]] = field(default_factory=list)
    reloads: int = 0
    reloaded: str | None = None
    slow: Callable[[], Awaitable[str | None]] | None = None
    task: asyncio.Task[None] = field(init=False)

    @property
    def port(self) -> int:
        return self.addresses[0][1]

    async def reload(self) -> str | None:
        if self.slow:
            return await self.slow()
        self.reloads += 1
        return self.reloaded

    def client(self, *, verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
        """A client of its own connections."""
        scheme = "https" if verify else "http"
        return httpx.AsyncClient(base_url=f"{scheme}://127.0.0.1:{self.port}", verify=verify or False, trust_env=False)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """One request on a connection of its own."""
        async with self.client() as client:
            return await client.get(path, headers=headers)


@asynccontextmanager
async def running(
    state: State,
    clock: Clock,
    *,
    options: Options | None = None,
    web_config: Path | None = None,
    history: Transitions | None = None,
    health: Health | None = None,
    addresses: Sequence[str] = ("127.0.0.1:0",),
) -> AsyncIterator[Site]:
    """Serve a state until the block ends."""
    site = Site(state, clock, health or Health("1.2.3", ready=True), history or Transitions())
    exposition = Exposition(state, site.health)
    access = AccessFile(web_config)
    app = create_app(
        state,
        exposition,
        site.health,
        history=site.history,
        reload=site.reload,
        now=clock,
        options=options or Options(),
        access=access.fresh,
    )
    sockets = bind(addresses)
    site.addresses = [opened.getsockname()[:2] for opened in sockets]

    async def tls() -> ssl.SSLContext:
        found = (await access.fresh()).tls
        assert found is not None
        return found

    site.task = asyncio.create_task(serve(app, sockets, tls=tls if access.tls else None))
    rendering = asyncio.create_task(exposition.run())
    try:
        await eventually(lambda: exposition.trouble() is None, "the first rendering")
        yield site
    finally:
        for task in (rendering, site.task):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
