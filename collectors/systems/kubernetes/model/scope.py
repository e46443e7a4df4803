"""Which namespaces and workloads of a cluster are judged, and which are exempt and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, NamedTuple, Protocol, TypeVar

from pydantic import AfterValidator, Field

from collectors.systems.kubernetes.model.objects import Namespace
from collectors.systems.kubernetes.model.pods import PodGroup
from exporter.options import Options

__all__ = ["AbsentNamespace", "NamespaceScope", "Scope"]

#: Namespaces that every cluster has for itself. They are judged only where they are named.
_OWN = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def _reasoned(exempt: dict[str, str]) -> dict[str, str]:
    if without := next((name for name, reason in exempt.items() if not reason.strip()), None):
        raise ValueError(f"expected a reason why {without} is exempt")
    return exempt


def _workloads(exempt: dict[str, str]) -> dict[str, str]:
    for path in exempt:
        if path.count("/") != 1 or path.startswith("/") or path.endswith("/"):
            raise ValueError(f"expected namespace/name of a workload, not {path}")
    return exempt


Exempt = Annotated[dict[str, str], AfterValidator(_reasoned)]


class _Namespaced(Protocol):
    @property
    def namespace(self) -> str: ...


ObjectT = TypeVar("ObjectT", bound=_Namespaced)


class AbsentNamespace(NamedTuple):
    """A namespace (or pattern) that is configured and does not exist, or is being deleted.

    `by_client` says that the client's `namespaces` name it, not the section's.
    """

    pattern: str
    is_leaving: bool
    by_client: bool


@dataclass(frozen=True, slots=True)
class NamespaceScope:
    """The namespaces that are judged, by name; those that are configured and absent; and those that the client leaves out."""

    namespaces: Mapping[str, Namespace]
    absent: Sequence[AbsentNamespace] = ()
    not_read: Sequence[str] = ()

    def within(self, objects: Iterable[ObjectT]) -> list[ObjectT]:
        """Those of the objects that are in these namespaces."""
        return [found for found in objects if found.namespace in self.namespaces]


class Scope(Options):
    """Which part of a cluster is judged."""

    namespaces: tuple[str, ...] = Field(
        (),
        description="Namespaces of applications; `*` matches any characters. All that are not exempt by default. A "
        "namespace that is named must exist.",
    )
    exempt_namespaces: Exempt = Field(
        default_factory=dict,
        description="Namespace (or pattern) to the reason why it is not judged. kube-system, kube-public and kube-node-lease never "
        "are, unless `namespaces` names them.",
    )
    exempt_workloads: Annotated[Exempt, AfterValidator(_workloads)] = Field(
        default_factory=dict, description="Workload, as namespace/name, to the reason why its pods are not judged."
    )

    def includes(self, namespace: str) -> bool:
        """Whether what is in a namespace is judged."""
        if any(fnmatchcase(namespace, pattern) for pattern in self.exempt_namespaces):
            return False
        if not self.namespaces:
            return namespace not in _OWN
        return any(
            namespace == pattern or (namespace not in _OWN and fnmatchcase(namespace, pattern))
            for pattern in self.namespaces
        )

    def exempts(self, pods: PodGroup) -> bool:
        """Whether the workload of these pods, or one that owns it, is exempt."""
        if not self.exempt_workloads:
            return False
        return any(f"{pods.namespace}/{name}" in self.exempt_workloads for _, name in pods.workloads)

    def judges(self, workload: tuple[str, str, str]) -> bool:
        """Whether what scales a workload (namespace, kind, name) is judged: not where the workload is exempt."""
        namespace, _, name = workload
        return f"{namespace}/{name}" not in self.exempt_workloads

    def of(self, namespaces: Iterable[Namespace], read: Sequence[str] = ()) -> NamespaceScope:
        """The namespaces that are judged, of all that exist.

        One that is being deleted is not. `read` are those that the client is limited to, if it is.
        """
        found = list(namespaces)
        living = {namespace.name: namespace for namespace in found if namespace.metadata.deletion_timestamp is None}
        chosen = {
            name: namespace for name, namespace in living.items() if self.includes(name) and (not read or name in read)
        }
        not_read = [name for name in self.namespaces if "*" not in name and name not in read] if read else []
        absent = [pattern for pattern in self.namespaces if not any(fnmatchcase(name, pattern) for name in living)]
        of_client = [name for name in read if name not in living and name not in absent and self.includes(name)]

        def is_leaving(pattern: str) -> bool:
            return any(fnmatchcase(namespace.name, pattern) for namespace in found)

        missing = [
            *(AbsentNamespace(pattern, is_leaving(pattern), by_client=False) for pattern in absent),
            *(AbsentNamespace(name, is_leaving(name), by_client=True) for name in of_client),
        ]
        return NamespaceScope(chosen, missing, not_read)
