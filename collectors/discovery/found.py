"""What was found, as far as a configuration needs it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cluster", "Service", "Store", "Workload"]


@dataclass(frozen=True, slots=True)
class Store:
    """A data store: its `kind` (a section), where it runs, and the host of each member, or that of its Service."""

    kind: str
    workload: str
    hosts: tuple[str, ...]
    image: str

    @property
    def namespace(self) -> str:
        """Where it runs; empty where a person named it."""
        namespace, slash, _ = self.workload.partition("/")
        return namespace if slash else ""


@dataclass(frozen=True, slots=True)
class Service:
    """A Service that speaks HTTP: `namespace/name`, its address in the cluster, and the labels of its pods."""

    path: str
    url: str
    selector: tuple[tuple[str, str], ...]

    @property
    def namespace(self) -> str:
        """Where it is."""
        return self.path.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Workload:
    """A part of the monitoring: what it is (`prometheus`), and the addresses of its Services."""

    kind: str
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a cluster shows. `groups` are those of its API, by which custom resources are known.

    `unseen` says, in full sentences, what could not be read: nothing follows from that.
    """

    namespaces: tuple[str, ...] = ()
    stores: tuple[Store, ...] = ()
    services: tuple[Service, ...] = ()
    monitoring: tuple[Workload, ...] = ()
    hosts: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    unseen: tuple[str, ...] = ()
