"""Reads the objects of one kind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from collectors.shared.cel import Facts
from collectors.systems.custom.model.kubernetes import KubernetesObjects
from collectors.systems.custom.model.probe import Observed, Refuted, Seen
from collectors.systems.kubernetes.client.cluster import Kubernetes
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import counted

__all__ = ["look"]


async def look(probe: KubernetesObjects, cluster: Kubernetes) -> list[Seen]:
    """The list of the objects, and each of them."""
    try:
        async with asyncio.timeout(probe.timeout.total_seconds()):
            found = await cluster.objects(
                probe.api_version, probe.kind, namespaces=probe.namespaces, selector=probe.selector or ""
            )
    except TimeoutError:
        limit = format_duration(probe.timeout)
        return [ProbeError(f"The {probe.kind} objects were not read within {limit}.", Reason.TIMEOUT)]
    except ProbeError as error:
        return [error]
    return _facts(probe, found)


def _facts(probe: KubernetesObjects, found: Sequence[dict[str, Any]]) -> list[Seen]:
    staying = found if probe.counts_deleted else [one for one in found if not _metadata(one).get("deletionTimestamp")]
    which = f" with `{probe.selector}`" if probe.selector else ""
    where = f" in {' and '.join(probe.namespaces)}" if probe.namespaces else ""
    leaving = f", and {len(found) - len(staying)} being deleted" if len(staying) < len(found) else ""
    if len(staying) < probe.min_objects:
        number = counted(len(staying), f"{probe.kind} object")
        return [
            Refuted(
                f"There {'is' if len(staying) == 1 else 'are'} {number}{which}{where}{leaving}; expected at least "
                f"{probe.min_objects}.",
                Reason.MISSING,
            )
        ]
    all_of_them = Observed(
        f"The list of {counted(len(staying), f'{probe.kind} object')}{which}{where}",
        Facts(objects=staying),
        measurements={"objects": float(len(staying))},
    )
    return [all_of_them, *(Observed(_name(probe, one), Facts(object=one)) for one in staying)]


def _metadata(one: dict[str, Any]) -> dict[str, Any]:
    metadata = one.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _name(probe: KubernetesObjects, one: dict[str, Any]) -> str:
    metadata = _metadata(one)
    return f"{probe.kind} {'/'.join(filter(None, (metadata.get('namespace'), metadata.get('name'))))}"
