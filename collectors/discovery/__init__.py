"""A first configuration: from what a cluster and a Prometheus show, and what a person answers.

`exporter.catalogue` finds it by its name.
"""

from __future__ import annotations

from collectors.discovery.cluster import see_cluster
from collectors.discovery.metrics import see_metrics
from collectors.discovery.proposals import configuration
from collectors.discovery.questions import answered

__all__ = ["answered", "configuration", "see_cluster", "see_metrics"]
