"""Whether secrets were rotated, by dates that mean rotation and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from collectors.systems.secrets.model.aws import StoredSecret
from collectors.systems.secrets.model.stores import Certificate, ExternalSecret, Stores
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted

__all__ = ["certificate_problems", "is_rotated", "rotated_in_cluster", "stored_problems", "untouched_problems"]

_CLOCKS = timedelta(minutes=5)


def stored_problems(secrets: Iterable[StoredSecret], oldest: timedelta, now: datetime) -> Iterator[Result]:
    """Secrets of AWS that were not rotated in time, or not shown to be: that rotation is enabled shows nothing."""
    for one in secrets:
        name, limit = f"Secret {one.name} of AWS Secrets Manager", format_duration(oldest)
        if one.deleted:
            yield failed(f"{name} is deleted, or will be (since {one.deleted:%Y-%m-%d}).", reason=Reason.MISSING)
        elif one.rotated and one.rotated > now + _CLOCKS:
            yield unknown(f"{name} was last rotated in the future, by its date.", reason=Reason.NOT_VERIFIED)
        elif one.rotated and now - one.rotated > oldest:
            yield failed(
                f"{name} was last rotated {counted((now - one.rotated).days, 'day')} ago (limit {limit}).",
                reason=Reason.LIMIT,
            )
        elif one.rotated:
            continue
        elif one.created and now - one.created > oldest:
            age = counted((now - one.created).days, "day")
            yield failed(
                f"{name} was never rotated, and its value was stored {age} ago (limit {limit}).", reason=Reason.LIMIT
            )
        elif one.rotation:
            yield unknown(f"Rotation of {name} is enabled, but it was never rotated.", reason=Reason.PENDING)
        else:
            yield unknown(
                f"{name} was never rotated by AWS; that its value was stored lately does not show a new one.",
                reason=Reason.NOT_VERIFIED,
            )


def is_rotated(secret: StoredSecret, oldest: timedelta, now: datetime) -> bool:
    """Whether a secret of AWS is shown to have been rotated in time."""
    return not any(stored_problems((secret,), oldest, now))


def certificate_problems(certificates: Iterable[Certificate], oldest: timedelta, now: datetime) -> Iterator[Result]:
    """Certificates whose key is a new one at each renewal, and whose last renewal was too long ago."""
    for one in certificates:
        begun = one.status.not_before
        if one.rotates_key and begun and now - begun > oldest:
            age = counted((now - begun).days, "day")
            yield failed(
                f"The key of Certificate {one.path} is {age} old (limit {format_duration(oldest)}).",
                reason=Reason.LIMIT,
            )


def untouched_problems(
    used: Collection[tuple[str, str]], untouched: Collection[tuple[str, str]], oldest: timedelta
) -> Iterator[Result]:
    """Secrets that workloads use and that nothing has written to: their resourceVersion is what it was."""
    for namespace, name in sorted(set(used) & set(untouched)):
        yield failed(
            f"Secret {namespace}/{name} was not changed within {format_duration(oldest)}, by the metrics of kube-state-metrics.",
            reason=Reason.LIMIT,
        )


def rotated_in_cluster(
    stores: Stores, rotated: Mapping[str, datetime], oldest: timedelta, now: datetime
) -> set[tuple[str, str]]:
    """The Secrets, as namespace and name, that are shown to be rotated.

    Those of Certificates that make a new key at each renewal, and those of ExternalSecrets all of whose entries are the present
    values of secrets in AWS that are, and were read since. `rotated` has the names of these, and when.
    """
    found = {
        (one.namespace, one.spec.secret_name)
        for one in stores.certificates
        if one.rotates_key and one.status.not_before and timedelta(0) <= now - one.status.not_before <= oldest
    }
    for external in stores.external:
        store = stores.store_of(external)
        if store is not None and store.is_secrets_manager and _has_read(external, rotated):
            found.add((external.namespace, external.secret))
    return found


def _has_read(external: ExternalSecret, rotated: Mapping[str, datetime]) -> bool:
    """Whether all that it writes are present values of these secrets, read after the last of them was rotated."""
    entries = [entry.remote_ref for entry in external.spec.data or ()]
    ready = external.status.condition("Ready")
    if not entries or external.spec.data_from or ready is None or ready.status != "True" or external.was_changed:
        return False
    if not all(one.key in rotated and one.version in ("", "AWSCURRENT") for one in entries):
        return False
    read = external.status.refresh_time
    return read is not None and all(rotated[one.key] <= read for one in entries)
