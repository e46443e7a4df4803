"""What the pods of a service wrote lately, read from their nodes by way of the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.judge.workloads import PodSelection
from collectors.systems.kubernetes.model.kinds import PODS
from collectors.systems.kubernetes.model.rbac import may_read_logs
from exporter.verdict import ProbeError, Reason
from exporter.words import counted

__all__ = ["LOG_RIGHTS", "Container", "PodLogs"]

LOG_RIGHTS = may_read_logs(PODS, "request_log.container")
"""What an item needs that looks for a request in the logs of pods."""
_MOST_PODS = 50


@dataclass(frozen=True, slots=True)
class Container:
    """One life of a container: another start has a log of its own."""

    namespace: str
    pod: str
    uid: str
    restarts: int
    started: bool


@dataclass(frozen=True, slots=True)
class PodLogs:
    """The logs of one container of the pods that are meant, as they are now."""

    client: Kubernetes
    pods: PodSelection
    container: str

    def __str__(self) -> str:
        """As sentences name it."""
        return f"container {self.container} of pods {self.pods}"

    async def containers(self) -> Sequence[Container]:
        """The containers, listed now. Raises ProbeError where there are none, or more than are read."""
        found = await self.client.objects("v1", "Pod", namespaces=(self.pods.namespace,), selector=self.pods.selector)
        lives = [self._life(pod) for pod in found if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
        if not any(life.started for life in lives):
            raise ProbeError(f"No {self} runs, so no log of it was read.", Reason.MISSING)
        if len(lives) > _MOST_PODS:
            raise ProbeError(
                f"{self.pods} selects {counted(len(lives), 'pod')}, more than the {_MOST_PODS} whose logs are read.",
                Reason.LIMIT,
            )
        return lives

    def _life(self, pod: Mapping[str, Any]) -> Container:
        metadata, status = pod["metadata"], pod.get("status", {})
        of_ours = [one for one in status.get("containerStatuses") or () if one.get("name") == self.container]
        return Container(
            metadata["namespace"],
            metadata["name"],
            metadata.get("uid", ""),
            sum(one.get("restartCount", 0) for one in of_ours),
            any({"running", "terminated"} & (one.get("state") or {}).keys() for one in of_ours),
        )

    async def lines(self, lives: Sequence[Container], since: timedelta) -> list[str]:
        """What these containers wrote within the time `since`, by the clocks of their nodes.

        Raises ProbeError where one of the logs cannot be read, or is too large.
        """
        found: list[str] = []
        for life in lives:
            if life.started:
                found += await self.client.log(life.pod, life.namespace, self.container, since=since)
        return found

    async def wrote_before(self, lives: Sequence[Container]) -> bool:
        """Whether any of these containers has ever written a line."""
        for life in lives:
            if life.started and await self.client.log(life.pod, life.namespace, self.container, last=1):
                return True
        return False
