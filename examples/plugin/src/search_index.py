"""Search Index"""
# The docstring above is the heading of the section, and the name of this module is its `section` label: search_index.

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from pydantic import Field

from exporter.collector import Collector, SectionSettings, Target, fetched, item
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, unknown, warning


class SearchTarget(HttpSettings, Target):
    """One search cluster: its address, and how to reach it."""

    max_age: Duration = Field(timedelta(hours=1), description="Longest time since the index was updated.")


class SearchSettings(SectionSettings):
    """Options of the section, in the configuration under `sections.search_index`."""

    targets: tuple[SearchTarget, ...] = Field(min_length=1, description="Clusters to verify.")


class SearchIndex(Collector[SearchSettings, SearchTarget]):
    """Verifies the index of a search cluster."""

    Settings = SearchSettings
    Target = SearchTarget
    rights = "A user that may read GET /status."

    async def open(self) -> None:
        """Connect when asked, and close whatever happens."""
        self.http = Http(self.target)
        self.resources.push_async_callback(self.http.close)

    @fetched
    async def status(self) -> dict[str, Any]:
        """What the cluster says of itself, asked once a run. Raises ProbeError when it does not answer, or not in JSON."""
        reply = await self.http.get("/status")
        try:
            found = json.loads(reply.body)
        except ValueError:
            raise ProbeError(f"{reply.where} answered no JSON.", Reason.MALFORMED) from None
        if not isinstance(found, dict):
            raise ProbeError(f"{reply.where} answered no status.", Reason.MALFORMED)
        return found

    @item("Index is fresh", severity=CRITICAL)
    async def index_fresh(self) -> Result:
        """Stale results mislead customers.

        Verified by the time of the last update that the cluster reports, compared with the cluster's own clock.

        Fix: look into the log of the indexer.
        """
        status = await self.status()
        updated, now = status.get("updated"), status.get("now")
        if not isinstance(updated, int | float) or not isinstance(now, int | float):
            return unknown("The cluster reports no time of its last update.", reason=Reason.MALFORMED)
        age = now - updated
        limit = self.target.max_age.total_seconds()
        if age < 0:
            return failed(f"The index was updated {-age:.0f} s in the future.", reason=Reason.CONTRADICTED)
        if age > limit:
            return failed(
                f"The index was updated {age:.0f} s ago (limit {limit:.0f} s).", reason=Reason.LIMIT, age_seconds=age
            )
        return ok(f"The index was updated {age:.0f} s ago (limit {limit:.0f} s).", age_seconds=age)

    @item("No shard is unassigned", severity=WARNING)
    async def shards_assigned(self) -> Result:
        """What an unassigned shard holds is not found.

        Verified by the counts of shards that the cluster reports.

        Fix: add a node, or raise the disk watermark.
        """
        shards = (await self.status()).get("shards")
        if not isinstance(shards, dict) or not shards.get("total"):
            return unknown("The cluster reports no shards.", reason=Reason.MISSING)
        unassigned = int(shards.get("unassigned", 0))
        if unassigned:
            return failed(f"{unassigned} of {shards['total']} shards are unassigned.", reason=Reason.DOWN)
        if shards.get("relocating"):
            return warning(f"All {shards['total']} shards are assigned, and {shards['relocating']} are relocating.")
        return ok(f"All {shards['total']} shards are assigned.")
