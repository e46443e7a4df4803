"""Grafana's HTTP API: its health, the dashboards that an account sees, the health of data sources."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec

from collectors.shared.decoding import decode
from collectors.systems.grafana.model import (
    Dashboard,
    Frames,
    Health,
    Opened,
    Panel,
    Variable,
    Variables,
    from_library,
    panels_in,
    panels_of,
)
from exporter.collector import Client
from exporter.http import Http, HttpSettings
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["Grafana", "GrafanaSettings"]

_PAGE = 1000
_PAGES = 50
#: What Grafana answers where there is no such data source: by 404, or in versions before 12 by 500.
_NO_SOURCE = re.compile(r"data ?source not found|load datasource metadata", re.IGNORECASE)
_ELSEWHERE = re.compile(r"/apis/dashboard\.grafana\.app/v2\w{0,20}/namespaces/[\w.-]{1,100}(?=/dashboards/)")


class GrafanaSettings(HttpSettings):
    """How to reach Grafana: `bearer_token` is that of a service account with the role Viewer. A path prefix belongs to `url`."""


class _Checked(msgspec.Struct, frozen=True):
    status: str = ""
    message: str = ""


class _Whole(msgspec.Struct, frozen=True):
    dashboard: Opened


class _Elements(msgspec.Struct, frozen=True):
    elements: dict[str, Any] = {}
    variables: list[dict[str, Any]] = []


class _V2(msgspec.Struct, frozen=True):
    spec: _Elements


class _Queried(msgspec.Struct, frozen=True):
    results: dict[str, Frames] | None = None


class Grafana(Client[GrafanaSettings]):
    """Asks Grafana. Everything raises ProbeError when there is no complete answer, or the account has no right to it."""

    name = "grafana"
    Settings = GrafanaSettings

    def __init__(self, settings: GrafanaSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        self._http = Http(settings)

    async def health(self) -> Health:
        """Whether Grafana reaches its own database; answered without an account."""
        return decode(await self._http.get("/api/health", expect=(200, 503)), Health)

    async def dashboards(self) -> list[Dashboard]:
        """All dashboards that the account may see. Raises ProbeError when they cannot all be read."""
        found: dict[str, Dashboard] = {}
        for page in range(1, _PAGES + 1):
            params = {"type": "dash-db", "limit": str(_PAGE), "page": str(page)}
            reply = await self._http.get("/api/search", params=params)
            part = decode(reply, list[Dashboard])
            found |= {dashboard.uid: dashboard for dashboard in part if dashboard.type == "dash-db"}
            if len(part) < _PAGE:
                return list(found.values())
        raise ProbeError(
            f"{reply.where} lists more than {_PAGE * _PAGES} dashboards, which were not all read.", Reason.LIMIT
        )

    async def datasource_problem(self, uid: str) -> str | None:
        """What is wrong with a data source, in Grafana's words; None when its health check is passed.

        Raises ProbeError where its plugin has no health check, or the check itself does not know.
        """
        reply = await self._http.get(f"/api/datasources/uid/{quote(uid, safe='')}/health", expect=(200, 400, 404, 500))
        checked = decode(reply, _Checked)
        if reply.status in (404, 500) and _NO_SOURCE.search(checked.message):
            return f"{one_line(checked.message)} (there is none with this uid)"
        if reply.status == 500:
            raise ProbeError(
                f"{reply.where} answered 500: {one_line(checked.message) or 'no reason given'}.", Reason.REFUSED
            )
        if reply.status == 404:
            detail = one_line(checked.message) or "not found"
            raise ProbeError(
                f"Grafana cannot check data source {uid}: {detail} (its plugin has no check, or there is none).",
                Reason.MISSING,
            )
        if checked.status.upper() not in ("OK", "ERROR"):
            raise ProbeError(
                f"Grafana's check of data source {uid} answered {reply.status} without saying OK or ERROR.",
                Reason.MALFORMED,
            )
        return None if checked.status.upper() == "OK" else one_line(checked.message) or "the check gave no reason"

    async def opened(self, uid: str) -> Opened | None:
        """A dashboard; None where there is no such dashboard.

        One of schema v2 Grafana shows elsewhere: it answers 406, and where. Raises ProbeError where the account may not see it.
        """
        reply = await self._http.get(f"/api/dashboards/uid/{quote(uid, safe='')}", expect=(200, 404, 406))
        if reply.status == 200:
            return decode(reply, _Whole).dashboard
        if reply.status == 404:
            return None
        if (place := _ELSEWHERE.search(decode(reply, _Checked).message)) is None:
            raise ProbeError(f"{reply.where} answered 406 without saying where the dashboard is.", Reason.MALFORMED)
        reply = await self._http.get(f"{place[0]}/dashboards/{quote(uid, safe='')}")
        spec = decode(reply, _V2).spec
        names = [Variable(str((variable.get("spec") or {}).get("name", ""))) for variable in spec.variables]
        return Opened(panels_in(spec.elements), templating=Variables(names))

    async def panels(self, uid: str) -> list[Panel] | None:
        """The panels of a dashboard that have queries; None where there is no such dashboard.

        Raises ProbeError where all of them are kept in library panels, which are not read.
        """
        if (opened := await self.opened(uid)) is None:
            return None
        panels = opened.parts
        if not (found := list(panels_of(panels))) and from_library(panels):
            raise ProbeError(
                f"Grafana's dashboard {uid} has its queries in library panels, which are not read.", Reason.NOT_VERIFIED
            )
        return found

    async def query(self, queries: list[dict[str, Any]]) -> dict[str, Frames]:
        """What the queries of a panel return for the last hour, by their refId. Reads only.

        Raises ProbeError when no result is returned.
        """
        body = {"queries": queries, "from": "now-1h", "to": "now"}
        reply = await self._http.request("POST", "/api/ds/query", json=body, expect=(200, 207, 400, 404, 500))
        if reply.status in (200, 207, 400) and (results := decode(reply, _Queried).results):
            return results
        if reply.status != 200 and _NO_SOURCE.search(message := one_line(decode(reply, _Checked).message)):
            return {str(query.get("refId", "")): Frames(error=message, status=reply.status) for query in queries}
        raise ProbeError(f"{reply.where} answered {reply.status} without results.", Reason.MALFORMED)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
