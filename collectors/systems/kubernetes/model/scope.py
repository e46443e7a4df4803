"""Which namespaces and workloads of a cluster are judged, and which are exempt and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Annotated, Protocol, TypeVar

from pydantic import AfterValidator, Field

from collectors.systems.kubernetes.model.objects import Namespace
from collectors.systems.kubernetes.model.pods import Replicas
from exporter.options import Options
from exporter.verdict import ProbeError, Result, failed
from exporter.words import listed

__all__ = ["Part", "Scope"]

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


@dataclass(frozen=True, slots=True)
class Part:
    """The namespaces that are judged, by name, and verdicts on those that are named and not there."""

    namespaces: Mapping[str, Namespace]
    missing: Sequence[Result]

    def within(self, objects: Iterable[ObjectT]) -> list[ObjectT]:
        """Those of the objects that are in these namespaces."""
        return [found for found in objects if found.namespace in self.namespaces]


class Scope(Options):
    """Which part of a cluster is judged."""

    namespaces: tuple[str, ...] = Field(
        (),
        description="Namespaces of applications; `*` stands for any letters. All that are not exempt by default. One that is named "
        "has to be there.",
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

    def exempts(self, pods: Replicas) -> bool:
        """Whether it is accepted what these pods do, as their workload is exempt."""
        return bool(self.exempt_workloads) and f"{pods.namespace}/{pods.workload[1]}" in self.exempt_workloads

    def judges(self, workload: tuple[str, str, str]) -> bool:
        """Whether what scales a workload (namespace, kind, name) is judged: not where the workload is exempt."""
        namespace, _, name = workload
        return f"{namespace}/{name}" not in self.exempt_workloads

    def of(self, namespaces: Iterable[Namespace], looked_at: Sequence[str] = ()) -> Part:
        """The namespaces that are judged, of all that there are.

        One that is being deleted is not. `looked_at` are those that the client is narrowed to, if it is. Raises ProbeError when it
        leaves out one that is named, and when no namespace is left.
        """
        found = list(namespaces)
        living = {namespace.name: namespace for namespace in found if namespace.metadata.deletion_timestamp is None}
        chosen = {
            name: namespace
            for name, namespace in living.items()
            if self.includes(name) and (not looked_at or name in looked_at)
        }
        if looked_at and (unseen := [name for name in self.namespaces if "*" not in name and name not in looked_at]):
            raise ProbeError(f"{listed(unseen)} is not among clients.kubernetes.namespaces, so nothing was seen in it.")
        absent = [pattern for pattern in self.namespaces if not any(fnmatchcase(name, pattern) for name in living)]
        unmet = [name for name in looked_at if name not in living and name not in absent and self.includes(name)]
        missing = [
            *(_missing(pattern, found, "where applications were to run") for pattern in absent),
            *(_missing(name, found, "which clients.kubernetes.namespaces names") for name in unmet),
        ]
        if not chosen:
            why = missing[0].summary if missing else "The cluster has no namespace that is to be judged."
            raise ProbeError(f"{why.removesuffix('.')}, so nothing was seen.")
        return Part(chosen, missing)

    def told(self, result: Result) -> Result:
        """The verdict, with what is exempt from it and why."""
        exempt = {**self.exempt_namespaces, **self.exempt_workloads}
        if not exempt:
            return result
        reasons = (f"{name} ({reason.strip().rstrip('.')})" for name, reason in sorted(exempt.items()))
        return replace(result, summary=f"{result.summary} Exempt: {listed(reasons)}.")


def _missing(pattern: str, found: Iterable[Namespace], why: str) -> Result:
    """That a namespace is not there, or leaves."""
    leaves = any(fnmatchcase(namespace.name, pattern) for namespace in found)
    return failed(
        f"Namespace {pattern} is being deleted, {why}." if leaves else f"There is no namespace {pattern}, {why}."
    )
