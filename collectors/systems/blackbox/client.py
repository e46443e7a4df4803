"""Asks blackbox_exporter to connect to a port."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from urllib.parse import urlencode

from pydantic import Field

from collectors.systems.blackbox.model import Knock, Tried, parse_canary, parse_probe
from exporter.collector import Client
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason

__all__ = ["Blackbox", "BlackboxSettings", "ask_canary", "knock"]

_AT_A_TIME = 4


class BlackboxSettings(HttpSettings):
    """How to reach a blackbox_exporter that runs outside."""

    timeout: Duration = Field(
        timedelta(seconds=15), gt=timedelta(0), description="Timeout of one request; longer than the module's own."
    )


class Blackbox(Client[BlackboxSettings]):
    """The vantage outside."""

    name = "blackbox"
    Settings = BlackboxSettings

    def __init__(self, settings: BlackboxSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        self._http = Http(settings)
        self._places = asyncio.Semaphore(_AT_A_TIME)

    async def knock(self, target: str, module: str) -> Knock:
        """What became of a connection from there to `host:port`. Raises ProbeError when the exporter does not say."""
        async with self._places:
            return await knock(self._http, target, module)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()


async def ask_canary(url: str) -> Tried:
    """What the canary pod at an address shows. Raises ProbeError where it shows nothing."""
    async with Http(HttpSettings(url=url, timeout=timedelta(seconds=35))) as http:
        reply = await http.get("/metrics", max_bytes=2**20)
    tried = parse_canary(reply.text)
    if not tried.open and not tried.closed:
        raise ProbeError(f"{url} shows no connections of a canary (checklist_canary_connection).", Reason.MALFORMED)
    return tried


async def knock(http: Http, target: str, module: str) -> Knock:
    """What became of a connection to `host:port`. Raises ProbeError when the exporter does not say."""
    query = urlencode({"target": target, "module": module, "debug": "true"})
    limit = max(
        1.0, http.settings.timeout.total_seconds() - 2
    )  # else a dropped packet takes as long as the module allows
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": f"{limit:g}"}
    reply = await http.get(f"/probe?{query}", headers=headers, expect=(200, 400))
    if reply.status == 400:
        raise ProbeError(f"{reply.where} answered 400: it has no module {module}.", Reason.MISCONFIGURED)
    return parse_probe(target, reply.text)
