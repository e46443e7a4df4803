"""Pods one by one, for sections that judge what is beside the application in each of them, or how each is reached."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from collectors.systems.kubernetes.model.base import Condition, OwnerReference, Struct

__all__ = ["Container", "ContainerPort", "Metadata", "Object", "Pod"]

_BEGINNING = ("", "ContainerCreating", "PodInitializing")
_EPOCH = datetime.fromtimestamp(0, UTC)


class Metadata(Struct, frozen=True):
    """An object's metadata."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class Object(Struct, frozen=True):
    """Anything that has metadata."""

    metadata: Metadata = Metadata()

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        return self.metadata.namespace

    @property
    def path(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def age_order(self) -> tuple[datetime, str]:
        """The oldest first: of several policies for the same, that one applies."""
        return self.metadata.creation_timestamp or _EPOCH, self.metadata.name


class ContainerPort(Struct, frozen=True):
    """A port that a container declares; without `host_ip`, a host port is open at all addresses of the node."""

    container_port: int = 0
    name: str = ""
    host_port: int = 0
    host_ip: str = msgspec.field(default="", name="hostIP")


class Container(Struct, frozen=True):
    """A container. `restart_policy` is `Always` for an init container that keeps running."""

    name: str = ""
    image: str = ""
    restart_policy: str = ""
    ports: tuple[ContainerPort, ...] | None = ()


class _PodSpec(Struct, frozen=True):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    host_network: bool = False
    node_name: str = ""


class _Waiting(Struct, frozen=True):
    reason: str = ""


class _State(Struct, frozen=True):
    waiting: _Waiting | None = None


class _ContainerStatus(Struct, frozen=True):
    name: str = ""
    state: _State = _State()


class _PodStatus(Struct, frozen=True):
    phase: str = "Unknown"
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()
    init_container_statuses: tuple[_ContainerStatus, ...] = ()


class Pod(Object, frozen=True):
    """A pod."""

    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()

    @property
    def runs(self) -> bool:
        """Whether it has not ended, and is not being deleted."""
        return self.status.phase not in ("Succeeded", "Failed") and self.metadata.deletion_timestamp is None

    @property
    def is_ready(self) -> bool:
        """Whether its condition Ready is true."""
        return self.runs and any(found.type == "Ready" and found.status == "True" for found in self.status.conditions)

    def waits(self, container: str) -> str:
        """Why a container does not run though it was tried: such as CrashLoopBackOff; empty where it runs or begins."""
        for found in (*self.status.container_statuses, *self.status.init_container_statuses):
            waiting = found.state.waiting if found.name == container else None
            if waiting and waiting.reason not in _BEGINNING:
                return waiting.reason
        return ""

    @property
    def workload(self) -> str:
        """`namespace/name` of what made it: of a Deployment, not its ReplicaSet; else its own."""
        owner = next((found for found in self.metadata.owner_references if found.controller), None)
        if owner is None:
            return self.path
        template = self.metadata.labels.get("pod-template-hash")
        name = owner.name.removesuffix(f"-{template}") if template else owner.name
        return f"{self.namespace}/{name}"

    @property
    def lasting(self) -> tuple[Container, ...]:
        """Its containers, and the init containers that keep running beside them."""
        return (*self.spec.containers, *(one for one in self.spec.init_containers if one.restart_policy == "Always"))
