"""Asks; gives no verdicts."""

from collectors.systems.kubernetes.client.cluster import Kubernetes

__all__ = ["Kubernetes"]
