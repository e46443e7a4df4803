"""Whether an alert, should it fire, would be notified: its way through the routing tree, silences, inhibition."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.systems.alertmanager.model.alerts import HeldAlert, Silence, SilenceMatcher
from collectors.systems.alertmanager.model.matchers import Matcher, all_match
from collectors.systems.alertmanager.model.routes import (
    MUTED_HOURS,
    Configuration,
    InhibitRule,
    Route,
    ends,
    hours_of,
    reachable,
    walk,
)
from exporter.options import format_duration
from exporter.verdict import Reason, Result, Status, failed, unknown, warning
from exporter.words import format_length, listed

__all__ = [
    "inhibition_problems",
    "late",
    "quiet_hours",
    "routing_problems",
    "silence_problems",
    "together",
    "unnotified",
]

_WORST_FIRST = (Status.FAILED, Status.UNKNOWN, Status.WARNING)


@dataclass(frozen=True, slots=True)
class _End:
    """What one route counts for: whether it notifies, and when. `quiet_quarters` are those of the coming week, each as one bit."""

    notifies: bool
    quiet_for_ever: bool
    quiet_now: bool
    quiet_quarters: int = 0
    wait: timedelta = timedelta()
    interval: timedelta = timedelta()

    @property
    def good(self) -> bool:
        return self.notifies and not self.quiet_for_ever


def together(
    found: Collection[tuple[Mapping[str, str], Collection[Result]]], common: Mapping[str, str]
) -> list[Result]:
    """What is wrong with the alerts of a rule, worst first, of what is wrong with those that have each set of labels.

    Where those of some sets are notified, that others are not is a warning: a test environment may be silent on purpose. `common`
    are the labels that all of them have.
    """
    reaching = any(all(problem.status is Status.WARNING for problem in problems) for _, problems in found)
    seen: dict[str, Result] = {}
    for labels, problems in found:
        for problem in problems:
            if reaching and problem.status is not Status.WARNING:
                own = [f"{name}={value}" for name, value in sorted(labels.items()) if value and name not in common]
                problem = warning(f"{problem.summary} So it is for {listed(own)} alone." if own else problem.summary)
            seen.setdefault(problem.summary, problem)
    return sorted(seen.values(), key=lambda problem: _WORST_FIRST.index(problem.status))


def routing_problems(
    name: str,
    labels: Mapping[str, str],
    configuration: Configuration,
    integrations: Collection[str],
    now: datetime,
    longest_wait: timedelta = timedelta.max,
) -> Iterator[Result]:
    """What is wrong with where an alert goes of which these labels are known, if anything is.

    It has to reach a receiver that has one of the integrations, whatever its other labels are, and is not to be gathered there for
    longer than `longest_wait`. Raises ProbeError where the ways through the routing tree are too many to follow.
    """

    @functools.cache
    def tell(route: Route) -> _End:
        return _End(
            not configuration.integrations(route).isdisjoint(integrations),
            configuration.muted_for_a_year(route, now),
            configuration.muted(route, now),
            configuration.muted_quarters(route, now),
            route.wait,
            route.interval,
        )

    ways = ends(configuration.route, labels, tell)
    if bad := [way for way in ways if not any(end.good for end in way)]:
        lost = [route for route in reachable(configuration.route, labels) if not tell(route).good]
        yield _lost(name, lost, tell, configuration, integrations, certain=len(bad) == len(ways))
        return
    if (wait := max(min(end.wait for end in way if end.good) for way in ways)) > longest_wait:
        yield failed(
            f"Alert {name} is held for {format_duration(wait)} before the first notification: group_wait of its route (limit "
            f"{format_duration(longest_wait)}).",
            reason=Reason.LIMIT,
        )
    if (interval := max(min(end.interval for end in way if end.good) for way in ways)) > longest_wait:
        yield warning(
            f"Alert {name} may be held for {format_duration(interval)} where others of its group fire already: group_interval of "
            f"its route (limit {format_duration(longest_wait)})."
        )
    if any(all(end.quiet_now for end in way if end.good) for way in ways):
        yield warning(f"Alert {name} would not be notified now: time intervals mute its route.")
    elif (quiet := max(hours_of(end.quiet_quarters for end in way if end.good) for way in ways)) > MUTED_HOURS:
        yield warning(
            f"Alert {name} is not notified at all times: time intervals mute its route for {quiet:.0f} of the 168 hours "
            "of the coming week."
        )
    if configuration.unfamiliar:
        yield warning(
            f"Alert {name} reaches a receiver, as far as is known: Alertmanager's configuration has "
            f"{listed(sorted(configuration.unfamiliar))}, which is not followed here."
        )


def _lost(
    name: str,
    lost: Iterable[Route],
    tell: Callable[[Route], _End],
    configuration: Configuration,
    integrations: Collection[str],
    *,
    certain: bool,
) -> Result:
    """The verdict on an alert that ends, or may end, in routes that do not notify."""
    lost = list(lost)
    wanted = " or ".join(sorted(integrations))
    silent = [route for route in lost if not tell(route).notifies]
    unheard = f"{_receivers(silent)}, which is not notified by {wanted}"
    others = sorted({one for route in silent for one in configuration.integrations(route)} - set(integrations))
    hint = (
        f" It notifies by {listed(others)}: add that to option integrations if it counts." if others and certain else ""
    )
    if muted := _receivers(route for route in lost if tell(route).notifies):
        muted += ", but time intervals mute that route at all times"
    if not certain:
        return unknown(
            f"Alert {name} may be routed to {unheard if silent else muted}, depending on labels that are not known: give them "
            "in alert_labels.",
            reason=Reason.NOT_CONFIGURED,
        )
    return failed(f"Alert {name} is routed to {muted or unheard}.{hint}", reason=Reason.MISCONFIGURED)


def _receivers(routes: Iterable[Route]) -> str:
    names = sorted({route.receiver for route in routes})
    return listed(names) if names else ""


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


_SEAMLESS = timedelta(minutes=5)
"""The longest pause between silences that are one: an alert waits longer before anybody is notified."""


def silence_problems(
    name: str, labels: Mapping[str, str], silences: Iterable[Silence], longest: timedelta, now: datetime
) -> Iterator[Result]:
    """The silences that hide an alert with these labels for longer than planned work takes.

    One that is extended day by day keeps its beginning, and those that follow each other are one. One to come hides nothing yet.
    """
    hiding = [
        silence
        for silence in silences
        if (silence.state != "expired" or silence.ends_at <= now)
        and all(matcher.name in labels for matcher in silence.matchers)
        and all_match(map(_matcher, silence.matchers), labels)
    ]
    long = [[silence] for silence in hiding if silence.ends_at - silence.starts_at > longest and silence.ends_at > now]
    for row in long or _in_a_row(hiding):
        begins, ends_at = row[0].starts_at, max(silence.ends_at for silence in row)
        if ends_at <= now or ends_at - begins <= longest:
            continue
        whole, limit = format_length(ends_at - begins), format_duration(longest)
        if begins > now:
            since = f"from {begins:%Y-%m-%d %H:%M} UTC on"
            yield warning(f"Alert {name} will be silenced for {whole} by silence {row[0].id}, {since} (limit {limit}).")
            continue
        last = max(row, key=lambda silence: silence.ends_at).id
        by = f"silence {last}" if len(row) == 1 else f"{len(row)} silences in a row, the last of them {last}"
        yield failed(
            f"Alert {name} is silenced for {whole} by {by}, which ends in {format_length(ends_at - now)} (limit {limit}).",
            reason=Reason.MISCONFIGURED,
        )


def _in_a_row(silences: Iterable[Silence]) -> Iterator[list[Silence]]:
    """Silences that leave no pause between them, together."""
    row: list[Silence] = []
    for silence in sorted(silences, key=lambda silence: silence.starts_at):
        if row and silence.starts_at > max(one.ends_at for one in row) + _SEAMLESS:
            yield row
            row = []
        row.append(silence)
    if row:
        yield row


def _matcher(matcher: SilenceMatcher) -> Matcher:
    operator = {(True, False): "=", (False, False): "!=", (True, True): "=~", (False, True): "!~"}
    return Matcher.of(matcher.name, operator[matcher.is_equal, matcher.is_regex], matcher.value)


def inhibition_problems(
    name: str,
    labels: Mapping[str, str],
    rules: Iterable[InhibitRule],
    held: Iterable[HeldAlert],
    longest: timedelta,
    now: datetime,
) -> Iterator[Result]:
    """What inhibits an alert with these labels for longer than an incident takes, if anything does.

    Seen where the alert fires and is inhibited; foreseen where alerts that fire all the time (a Watchdog) would inhibit it.
    """
    held = list(held)
    lasting = {alert.fingerprint: alert for alert in held if now - alert.starts_at > longest}
    own = [alert for alert in held if alert.labels.get("alertname") == name]
    if own and all(
        alert.fingerprint in lasting and not lasting.keys().isdisjoint(alert.status.inhibited_by) for alert in own
    ):
        since = format_duration(timedelta(seconds=int((now - own[0].starts_at).total_seconds())))
        source = next(lasting[other] for other in own[0].status.inhibited_by if other in lasting)
        by = source.labels.get("alertname", source.fingerprint)
        yield failed(
            f"Alert {name} fires since {since} and is inhibited by {by} (limit {format_duration(longest)}).",
            reason=Reason.MISCONFIGURED,
        )
    for rule in rules:
        certain = {matcher.name for matcher in rule.target} | {name for source in rule.sources for name in source.equal}
        if certain <= labels.keys() and rule.inhibits(labels, [alert.labels for alert in lasting.values()]):
            sources = sorted({alert.labels.get("alertname", "?") for alert in lasting.values()
                              if any(all_match(source.matchers, alert.labels) for source in rule.sources)})  # fmt: skip
            yield failed(
                f"Alert {name} would be inhibited by {', '.join(sources)}, which fires for longer than {format_duration(longest)}.",
                reason=Reason.MISCONFIGURED,
            )
