"""Whether the configured part of a cluster exists, and what a verdict leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from collectors.systems.kubernetes.model.scope import AbsentNamespace, NamespaceScope, Scope
from exporter.verdict import ProbeError, Reason, Result, failed
from exporter.words import listed

__all__ = ["demand_namespaces", "scope_problems", "with_exemptions", "with_selectors"]


def scope_problems(scope: NamespaceScope) -> Iterator[Result]:
    """The configured namespaces that do not exist or are being deleted; each is `failed`."""
    for absent in scope.absent:
        yield failed(_absence(absent), reason=Reason.MISSING)


def _absence(absent: AbsentNamespace) -> str:
    why = "which clients.kubernetes.namespaces names" if absent.by_client else "which `namespaces` of the section names"
    if absent.is_leaving:
        return f"Namespace {absent.pattern}, {why}, is being deleted."
    return f"Namespace {absent.pattern}, {why}, does not exist."


def demand_namespaces(scope: NamespaceScope) -> NamespaceScope:
    """The scope. Raises ProbeError where the client leaves out a namespace that is named, and where none is left to judge."""
    if scope.not_read:
        is_not, it_was = ("is not", "it was") if len(scope.not_read) == 1 else ("are not", "they were")
        raise ProbeError(
            f"{listed(scope.not_read)} {is_not} among clients.kubernetes.namespaces, so {it_was} not checked.",
            Reason.NOT_CONFIGURED,
        )
    if not scope.namespaces:
        if scope.absent:
            raise ProbeError(f"{_absence(scope.absent[0]).removesuffix('.')}, so nothing was checked.", Reason.MISSING)
        raise ProbeError(
            "Every namespace of the cluster is exempt or the cluster's own, so nothing was checked.",
            Reason.NOT_CONFIGURED,
        )
    return scope


def with_exemptions(result: Result, scope: Scope) -> Result:
    """The verdict, with what is exempt from it and why."""
    exempt = {**scope.exempt_namespaces, **scope.exempt_workloads}
    if not exempt:
        return result
    reasons = (f"{name} ({reason.strip().rstrip('.')})" for name, reason in sorted(exempt.items()))
    return replace(result, summary=f"{result.summary} Exempt: {listed(reasons)}.")


def with_selectors(result: Result, selectors: Mapping[str, str]) -> Result:
    """The verdict, with the label selectors of the client (by plural names of kinds) that left objects out."""
    if not selectors:
        return result
    limited = listed(f"{plural} ({selector})" for plural, selector in sorted(selectors.items()))
    return replace(result, summary=f"{result.summary} Checked only: {limited}.")
