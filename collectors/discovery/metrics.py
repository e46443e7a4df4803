"""What a Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from exporter.threads import Threads

__all__ = ["see_metrics"]

_OWN = frozenset({"prometheus", "alertmanager", "checklist-exporter"})


async def see_metrics(options: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The jobs that the Prometheus scrapes, without the monitoring's own, and the addresses of its Alertmanagers.

    Raises ProbeError when it does not answer.
    """
    client = Prometheus(PrometheusSettings(**options), Threads())
    try:
        targets = await client.targets()
        alertmanagers = await client.alertmanagers()
    finally:
        await client.close()
    return sorted({target.labels.get("job", "") for target in targets} - _OWN - {""}), sorted(set(alertmanagers))
