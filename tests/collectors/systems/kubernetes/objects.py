"""Kubernetes objects for tests, written as the API gives them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from collectors.systems.kubernetes.model.pods import PodCompactor, PodGroup, PodItem, pod_groups

__all__ = ["NOW", "ago", "compacted", "decoded", "pod", "pods", "wire_pod"]

T = TypeVar("T")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def ago(**length: float) -> str:
    """A moment before NOW, as the API writes it."""
    return (NOW - timedelta(**length)).isoformat().replace("+00:00", "Z")


def decoded(kind: type[T], path: str, **parts: Any) -> T:
    """An object `namespace/name` (or `name`) of this type. `labels` and `generation` are metadata, all else its own parts."""
    namespace, _, name = path.rpartition("/")
    metadata = {"name": name, "namespace": namespace} | parts.pop("metadata", {})
    metadata |= {key: parts.pop(key) for key in ("labels", "generation", "annotations") if key in parts}
    return msgspec.json.decode(msgspec.json.encode({"metadata": metadata} | parts), type=kind)


def wire_pod(path: str, *, labels: Mapping[str, str] | None = None, owner: str = "", **parts: Any) -> dict[str, Any]:
    """A healthy pod as JSON; `owner` is `Kind/name`, `spec`, `status` and `metadata` replace what is there by default."""
    namespace, _, name = path.rpartition("/")
    kind, _, owned_by = owner.partition("/")
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    metadata["creationTimestamp"] = ago(hours=1)
    if owner:
        metadata["ownerReferences"] = [{"kind": kind, "name": owned_by, "controller": True}]
    spec = {"containers": [{"name": "main"}]} | parts.get("spec", {})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]} | parts.get("status", {})
    return {"metadata": metadata | parts.get("metadata", {}), "spec": spec, "status": status}


def compacted(*wire: Mapping[str, Any]) -> list[PodGroup]:
    """Pods as a snapshot holds them."""
    return pod_groups(PodCompactor()(msgspec.json.decode(msgspec.json.encode(wire), type=list[PodItem])))


def pod(path: str, **parts: Any) -> PodGroup:
    """One pod, see `wire_pod`."""
    return compacted(wire_pod(path, **parts))[0]


def pods(*paths: str, **parts: Any) -> list[PodGroup]:
    """Several pods that differ in nothing but their names."""
    return compacted(*(wire_pod(path, **parts) for path in paths))
