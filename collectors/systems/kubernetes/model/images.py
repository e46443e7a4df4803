"""The images that pods run, by the digests that their nodes pulled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from msgspec import field

from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind

__all__ = ["RUNNING", "Running", "RunningContainer"]


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
        """The digest of the image, such as `sha256:…`; empty where the node has told none."""
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
