"""What keys and accounts may do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACTS", "Act", "Answers"]


@dataclass(frozen=True, slots=True)
class Answers:
    """HTTP statuses: of the allowed path without a key and with it, and of the forbidden path with it."""

    stranger: int
    allowed: int
    forbidden: int


@dataclass(frozen=True, slots=True)
class Act:
    """Something that no account of an application needs. `words` says what it may."""

    verb: str
    resource: str
    group: str
    words: str


ACTS = (
    Act("*", "*", "*", "do everything in the whole cluster, as cluster-admin"),
    Act("list", "secrets", "", "read the Secrets of all namespaces"),
    Act("escalate", "clusterroles", "rbac.authorization.k8s.io", "give itself any right (escalate)"),
    Act("impersonate", "users", "", "act as any user (impersonate)"),
)
"""The worst first: who may do the first may do the others too."""
