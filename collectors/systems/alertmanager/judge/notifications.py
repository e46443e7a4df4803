"""Whether alerts reach their receivers: what Alertmanager holds, where it routes, and what its integrations failed to send."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from collectors.systems.alertmanager.model.alerts import HeldAlert, MemberStatus
from collectors.systems.alertmanager.model.routes import MUTED_HOURS, Configuration, hours_of, walk
from collectors.systems.prometheus.model.answers import (
    Sample,
)
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import listed

__all__ = ["failing_notifications", "late", "quiet_hours", "split_problems", "unnotified", "watchdog_problems"]


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


def unnotified(
    configuration: Configuration, labels: Mapping[str, str], wanted: Collection[str], now: datetime
) -> Iterator[Result]:
    """Which integrations an alert with these labels does not reach."""
    routes = walk(configuration.route, labels)
    heard = [route for route in routes if not configuration.muted_for_a_year(route, now)]
    reached = {name for route in heard for name in configuration.integrations(route)}
    shown = ", ".join(f"{name}={value}" for name, value in labels.items())
    receivers = ", ".join(dict.fromkeys(route.receiver for route in routes))
    if missing := sorted(set(wanted) - reached):
        if len(heard) < len(routes):
            receivers += " (muted at all times by time intervals)" if not heard else " (some muted at all times)"
        others = sorted(reached - set(wanted))
        hint = (
            f" It notifies through {listed(others)}: name those in required_integrations that count." if others else ""
        )
        yield failed(
            f"An alert with {shown} goes to receiver {receivers}, which does not notify through {' and '.join(missing)}.{hint}",
            reason=Reason.MISCONFIGURED,
        )


def late(
    configuration: Configuration, labels: Mapping[str, str], wanted: Collection[str], longest: timedelta
) -> Iterator[Result]:
    """Which integrations an alert with these labels reaches only after it was gathered for longer than `longest`."""
    routes = walk(configuration.route, labels)
    shown = ", ".join(f"{name}={value}" for name, value in labels.items())
    for name in sorted(wanted):
        reaching = [route for route in routes if name in configuration.integrations(route)]
        waits = [route.wait for route in reaching]
        if waits and min(waits) > longest:
            yield failed(
                f"An alert with {shown} is held for {format_duration(min(waits))} before {name} is notified: group_wait of its "
                f"route (limit {format_duration(longest)}).",
                reason=Reason.LIMIT,
            )
        elif reaching and (interval := min(route.interval for route in reaching)) > longest:
            yield warning(
                f"An alert with {shown} may be held for {format_duration(interval)} before {name} is notified where others of its "
                f"group fire already: group_interval of its route (limit {format_duration(longest)})."
            )


def quiet_hours(configuration: Configuration, labels: Mapping[str, str], now: datetime) -> Iterator[Result]:
    """Whether time intervals mute every route of an alert with these labels for much of the week."""
    routes = walk(configuration.route, labels)
    hours = hours_of(configuration.muted_quarters(route, now) for route in routes)
    if hours > MUTED_HOURS:
        shown = ", ".join(f"{name}={value}" for name, value in labels.items())
        yield warning(
            f"An alert with {shown} is not notified at all times: time intervals mute its routes for {hours:.0f} of the 168 hours "
            "of the coming week."
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
