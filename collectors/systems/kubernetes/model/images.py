"""The images that pods run and nodes have, by the digests under which they were pulled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from msgspec import field

from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind

__all__ = ["PULLED", "RUNNING", "Puller", "Running", "RunningContainer"]


class _Metadata(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    deletion_timestamp: datetime | None = None


class RunningContainer(Struct, frozen=True):
    """The image of a container as the pod names it, and as the node knows it: empty until it was pulled."""

    name: str = ""
    image: str = ""
    image_id: str = field(name="imageID", default="")

    @property
    def digest(self) -> str:
        """The digest of the image, such as `sha256:…`; empty where the node has reported none."""
        found = self.image_id.rpartition("@")[2].rpartition("//")[2]
        return found if found.startswith("sha256:") else ""


class _Status(Struct, frozen=True):
    phase: str = ""
    container_statuses: tuple[RunningContainer, ...] = ()
    init_container_statuses: tuple[RunningContainer, ...] = ()


class Running(Struct, frozen=True):
    """A pod, with the images of its containers."""

    metadata: _Metadata = _Metadata()
    status: _Status = _Status()

    @property
    def containers(self) -> Iterator[RunningContainer]:
        """Its containers, those that run before the others too; none of a pod that has ended or is about to."""
        if self.status.phase not in ("Succeeded", "Failed") and self.metadata.deletion_timestamp is None:
            yield from chain(self.status.init_container_statuses, self.status.container_statuses)


RUNNING: Kind[Running] = Kind("pods", Running)
"""Pods, with the digests of their images alone."""


class _Image(Struct, frozen=True):
    names: tuple[str, ...] | None = ()


class _NodeInfo(Struct, frozen=True):
    architecture: str = ""
    operating_system: str = ""


class _NodeStatus(Struct, frozen=True):
    images: tuple[_Image, ...] | None = ()
    node_info: _NodeInfo = _NodeInfo()


class Puller(Struct, frozen=True):
    """A node, with the images that it has (of at most fifty that it reports) and the platform that it needs them for."""

    status: _NodeStatus = _NodeStatus()

    @property
    def platform(self) -> str:
        """Such as linux/amd64; empty where the kubelet has reported none."""
        info = self.status.node_info
        return f"{info.operating_system}/{info.architecture}" if info.operating_system and info.architecture else ""

    @property
    def images(self) -> Iterator[tuple[str, ...]]:
        """The names of each image: those with a tag and those with a digest (`registry.example.com/shop@sha256:…`)."""
        for image in self.status.images or ():
            yield image.names or ()


PULLED: Kind[Puller] = Kind("nodes", Puller, namespaced=False)
"""Nodes, with the names of their images alone."""
