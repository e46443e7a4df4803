"""Whether Alertmanager gets alerts and delivers them: the one that always fires, its other members, what it failed to send."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from collectors.systems.alertmanager.model.alerts import HeldAlert, MemberStatus
from collectors.systems.prometheus.model.answers import Sample
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning

__all__ = ["failing_notifications", "split_problems", "watchdog_problems"]


def watchdog_problems(
    where: str, names: Sequence[str], held: Iterable[HeldAlert], max_age: timedelta, now: datetime
) -> Iterator[Result]:
    """What is wrong with the alert that always fires, by whichever of these names one Alertmanager has it."""
    found = [alert for alert in held if alert.labels.get("alertname") in names]
    if not found:
        yield failed(
            f"Alertmanager {where} has no alert {' or '.join(names)}, which has to fire all the time.",
            reason=Reason.MISSING,
        )
        return
    alert = max(found, key=lambda alert: alert.updated_at)
    name = alert.labels["alertname"]
    if (age := now - alert.updated_at) > max_age:
        ago = format_duration(timedelta(seconds=int(age.total_seconds())))
        yield failed(
            f"Alertmanager {where} got {name} last {ago} ago (limit {format_duration(max_age)}).", reason=Reason.STALE
        )
    elif alert.status.state == "unprocessed":
        yield unknown(f"Alertmanager {where} has not yet routed {name}.", reason=Reason.PENDING)
    elif alert.status.state != "active":
        yield failed(
            f"{name} is {alert.status.state} on Alertmanager {where}: it does not show that alerts are routed."
        )
    elif not alert.receivers:
        yield failed(f"Alertmanager {where} routes {name} to no receiver.", reason=Reason.MISCONFIGURED)


def split_problems(members: Mapping[str, MemberStatus]) -> Iterator[Result]:
    """Whether members, by their addresses, are no cluster: each notifies by itself then, and has silences of its own.

    Several addresses may lead to one member.
    """
    names = {status.name for status in members.values() if status.name}
    for where, status in members.items():
        if not status.name and len(members) > 1:
            yield warning(f"Alertmanager {where} is in no cluster: it notifies by itself, and has silences of its own.")
        elif unseen := names - status.seen - {status.name}:
            yield warning(
                f"Alertmanager {where} does not see {len(unseen)} of the {len(names)} members of its cluster: it notifies by "
                "itself, and has silences of its own."
            )


def failing_notifications(
    total: Iterable[Sample], lost: Iterable[Sample], wanted: Collection[str], limit: float, what: str, window: timedelta
) -> Iterator[Result]:
    """Integrations whose share of failed notifications (or requests: notifications that are retried) is above the limit.

    `total` and `lost` are increases within the window, by `integration`.
    """
    tried = {sample.labels.get("integration", ""): sample.value for sample in total}
    for sample in lost:
        name = sample.labels.get("integration", "")
        if name in wanted and sample.value > 0 and sample.value > limit * tried.get(name, 0):
            yield failed(
                f"{_count(sample.value)} of {_count(max(tried.get(name, 0), sample.value))} {what} to {name} failed in the last "
                f"{format_duration(window)} (limit {limit:.0%}).",
                reason=Reason.LIMIT,
            )


def _count(increase: float) -> int:
    """A number for a sentence: an increase is extrapolated, so one event may be 0.4."""
    return max(1, round(increase))
