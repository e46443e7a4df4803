"""A first configuration from what is there: what a cluster and a Prometheus show, and the sections that can verify it.

`exporter.catalogue` finds it by its name.
"""

from __future__ import annotations

from collectors.discovery.cluster import see_cluster
from collectors.discovery.metrics import see_metrics
from collectors.discovery.proposals import configuration

__all__ = ["configuration", "see_cluster", "see_metrics"]
