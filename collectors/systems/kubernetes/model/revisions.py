"""What of Deployments and ReplicaSets says whether a Deployment can be rolled back."""

from __future__ import annotations

from datetime import datetime

from collectors.systems.kubernetes.model.base import OwnerReference, Struct
from collectors.systems.kubernetes.model.kind import Kind

__all__ = ["REVISED", "REVISIONS", "Revised"]

_REVISION = "deployment.kubernetes.io/revision"
_HELM = "meta.helm.sh/release-name"


class _Metadata(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    annotations: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class _Container(Struct, frozen=True):
    name: str = ""
    image: str = ""


class _PodSpec(Struct, frozen=True):
    init_containers: tuple[_Container, ...] | None = ()
    containers: tuple[_Container, ...] = ()


class _Template(Struct, frozen=True):
    spec: _PodSpec = _PodSpec()


class _Spec(Struct, frozen=True):
    paused: bool = False
    revision_history_limit: int | None = None
    template: _Template = _Template()


class Revised(Struct, frozen=True):
    """A Deployment, or a ReplicaSet that is one of its revisions."""

    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()

    @property
    def path(self) -> str:
        """Its namespace and name, as `shop/web`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def revision(self) -> int:
        """The number of the revision; 0 where it has none."""
        text = self.metadata.annotations.get(_REVISION, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

    @property
    def helm_release(self) -> str | None:
        """The name of the Helm release that it belongs to, None where it belongs to none."""
        return self.metadata.annotations.get(_HELM)

    @property
    def images(self) -> tuple[str, ...]:
        """The images of its containers, those that run before the others first."""
        pod = self.spec.template.spec
        return tuple(container.image for container in (*(pod.init_containers or ()), *pod.containers))

    def runs_the_same_as(self, other: Revised) -> bool:
        """Whether both have the same images, in whatever order their containers are."""
        return sorted(self.images) == sorted(other.images)

    def is_of(self, deployment: Revised) -> bool:
        """Whether it is a ReplicaSet of this Deployment."""
        return self.metadata.namespace == deployment.metadata.namespace and any(
            owner.controller and owner.kind == "Deployment" and owner.name == deployment.metadata.name
            for owner in self.metadata.owner_references
        )


REVISED: Kind[Revised] = Kind("deployments", Revised, "apps")
"""Deployments, with what a rollback needs."""
REVISIONS: Kind[Revised] = Kind("replicasets", Revised, "apps")
"""ReplicaSets, with what a rollback needs."""
