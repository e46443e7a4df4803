"""What the client reads of one Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.answers import RuleGroup, RuntimeInfo, ScrapeTarget


@dataclass(frozen=True)
class Facts:
    """Targets, scrape configurations, rules, runtime information, and the Alertmanagers that alerts are sent to."""

    targets: list[ScrapeTarget]
    pools: list[str]
    rules: list[RuleGroup]
    runtime: RuntimeInfo
    alertmanagers: list[str]


async def facts(client: Prometheus) -> Facts:
    """All of it, targets in the order of their jobs."""
    targets = sorted(await client.targets(), key=lambda target: target.labels["job"])
    pools = sorted(await client.scrape_pools())
    return Facts(targets, pools, await client.rules(), await client.runtime_info(), await client.alertmanagers())
