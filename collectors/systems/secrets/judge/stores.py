"""Whether secrets come from Kubernetes Secrets or a store, and whether what writes those works."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from collectors.systems.kubernetes.model.base import Condition
from collectors.systems.secrets.model.options import SettingsOptions
from collectors.systems.secrets.model.rules import Sort
from collectors.systems.secrets.model.stores import ExternalSecret, Stores
from collectors.systems.secrets.model.workloads import Workload
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import one_line

__all__ = ["managed_problems", "references"]

_CLOCKS = timedelta(minutes=5)


def references(workloads: Iterable[Workload]) -> set[tuple[str, str]]:
    """The Secrets, as namespace and name, that workloads refer to."""
    found = {(one.namespace, source.name) for one in workloads for _, source in one.sources if source.kind == "Secret"}
    return found | {(one.namespace, name) for one in workloads for name in one.secrets}


def managed_problems(
    workloads: Sequence[Workload], stores: Stores, options: SettingsOptions, now: datetime
) -> Iterator[Result]:
    """Secrets that are literal values, and objects that fail to write Secrets."""
    for workload in workloads:
        for container in workload.containers:
            found = [one for setting in container.settings for one in setting.findings]
            for finding in (*found, *container.findings):
                if finding.sort is Sort.SECRET and not options.allows(workload.namespace, workload.name, finding.name):
                    yield failed(
                        f"{finding.name} of container {container.name} of {workload.path} is a literal value and comes from no "
                        "Secret.",
                        reason=Reason.MISCONFIGURED,
                    )
    for external in stores.external:
        yield from _external_problems(external, stores, now)
    for sealed in stores.sealed:
        condition = sealed.status.condition("Synced")
        if problem := _unmet(f"SealedSecret {sealed.path}", condition, "decrypted", "controller"):
            yield problem
        elif (sealed.status.observed_generation or 0) < sealed.metadata.generation:
            yield unknown(
                f"SealedSecret {sealed.path} was changed, and its status is that of before.", reason=Reason.PENDING
            )


def _unmet(what: str, condition: Condition | None, wanted: str, by: str) -> Result | None:
    """Why an object is not as its condition says when all is well; None when it is."""
    if condition is None:
        return unknown(f"{what} has no status: no {by} has processed it yet.", reason=Reason.PENDING)
    if condition.status != "True":
        return failed(f"{what} is not {wanted}: {one_line(condition.reason or 'no reason given')}.", reason=Reason.DOWN)
    return None


def _external_problems(external: ExternalSecret, stores: Stores, now: datetime) -> Iterator[Result]:
    path = external.path
    if problem := _unmet(f"ExternalSecret {path}", external.status.condition("Ready"), "Ready", "operator"):
        yield problem
    elif external.was_changed:
        yield unknown(f"ExternalSecret {path} was changed, and not read from its store since.", reason=Reason.PENDING)
    else:
        yield from _refresh_problems(external, now)
    reference = external.spec.secret_store_ref
    if reference is None:
        return
    store = stores.store_of(external)
    if store is None:
        yield failed(
            f"ExternalSecret {path} names {reference.kind} {reference.name}, which does not exist.",
            reason=Reason.MISSING,
        )
        return
    if problem := _unmet(f"{reference.kind} {store.path}", store.status.condition("Ready"), "Ready", "operator"):
        yield problem


def _refresh_problems(external: ExternalSecret, now: datetime) -> Iterator[Result]:
    interval, refreshed = external.refreshes_every, external.status.refresh_time
    if interval is None:
        return
    if refreshed is None:
        yield unknown(
            f"ExternalSecret {external.path} does not say when it was last read from its store.",
            reason=Reason.NOT_VERIFIED,
        )
    elif refreshed > now + _CLOCKS:
        yield unknown(
            f"ExternalSecret {external.path} was last read from its store in the future, by its status.",
            reason=Reason.NOT_VERIFIED,
        )
    elif now - refreshed > 2 * interval:
        yield failed(
            f"ExternalSecret {external.path} is Ready, but was not read from its store since {refreshed:%Y-%m-%d %H:%M} UTC (every "
            f"{format_duration(interval)}).",
            reason=Reason.STALE,
        )
