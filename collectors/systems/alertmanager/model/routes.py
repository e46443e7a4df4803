"""Where an alert goes: Alertmanager's configuration, its routing tree, its inhibition rules and its time intervals."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from collectors.systems.alertmanager.model.matchers import Matcher, all_match, parse_matchers
from exporter.options import parse_duration
from exporter.positioned_yaml import YamlError, load_yaml
from exporter.verdict import ProbeError, Reason

__all__ = [
    "MUTED_HOURS",
    "Configuration",
    "InhibitRule",
    "Interval",
    "Route",
    "Source",
    "ends",
    "hours_of",
    "label_names",
    "parse_configuration",
    "reachable",
    "walk",
]

T = TypeVar("T", bound=Hashable)

_MOST_ENDS = 256
MUTED_HOURS = 17.0
"""Hours of a week for which a route may be muted: more than maintenance takes, and less than nights and weekends are."""
_DAYS = {
    name: number
    for number, name in enumerate(("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"))
}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
         "december"),
        1,
    )
}  # fmt: skip
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A node of the routing tree, with the receiver that it has or inherits.

    `wait` is how long the first notification of a group waits, `interval` how long an alert does that joins a group later.
    """

    receiver: str
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False
    routes: tuple[Route, ...] = ()
    mute: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    wait: timedelta = timedelta(seconds=30)
    interval: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Source:
    """What inhibits: an alert that fulfils the matchers and has the same values of the labels in `equal` as its target."""

    matchers: tuple[Matcher, ...]
    equal: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """Alerts that fulfil `target` are not notified while there is an alert of each of the sources."""

    target: tuple[Matcher, ...]
    sources: tuple[Source, ...]

    def inhibits(self, labels: Mapping[str, str], alerts: Iterable[Mapping[str, str]]) -> bool:
        """Whether an alert with these labels is inhibited while there are these alerts."""
        if not all_match(self.target, labels):
            return False
        alerts = list(alerts)
        return all(self._inhibits(source, labels, alerts) for source in self.sources)

    def _inhibits(self, source: Source, labels: Mapping[str, str], alerts: list[Mapping[str, str]]) -> bool:
        # An alert that is both source and target is not inhibited by others of which the same is true, itself among them.
        both = all_match(source.matchers, labels)
        return any(
            all_match(source.matchers, other)
            and all(other.get(name, "") == labels.get(name, "") for name in source.equal)
            and not (both and all_match(self.target, other))
            for other in alerts
        )


@dataclass(frozen=True, slots=True)
class Interval:
    """Times in which something holds: in every field that is given one of the ranges (all inclusive but minutes' end)."""

    minutes: tuple[tuple[int, int], ...] = ()
    weekdays: tuple[tuple[int, int], ...] = ()
    days: tuple[tuple[int, int], ...] = ()
    months: tuple[tuple[int, int], ...] = ()
    years: tuple[tuple[int, int], ...] = ()
    zone: tzinfo = UTC

    def contains(self, moment: datetime) -> bool:
        """Whether the moment, which has a zone, is in the interval."""
        local = moment.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return (
            (not self.minutes or any(start <= minute < end for start, end in self.minutes))
            and _within(self.weekdays, (local.weekday() + 1) % 7)
            and (not self.days or any(first <= local.day <= last for first, last in self._days(local)))
            and _within(self.months, local.month)
            and _within(self.years, local.year)
        )

    def _days(self, local: datetime) -> Iterator[tuple[int, int]]:
        """The ranges of days in this month; negative ones count from its end."""
        length = ((local.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)).day
        for begin, end in self.days:
            first = begin if begin > 0 else length + begin + 1
            if first <= length:
                yield first, min(end if end > 0 else length + end + 1, length)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What of Alertmanager's configuration decides who is notified. `receivers` maps names to their integrations (`slack`)."""

    route: Route
    receivers: Mapping[str, frozenset[str]]
    inhibit_rules: tuple[InhibitRule, ...] = ()
    intervals: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    unfamiliar: frozenset[str] = frozenset()
    """Fields of routes, inhibition rules and intervals that are not known here, as of later versions: they were ignored."""

    def integrations(self, route: Route) -> frozenset[str]:
        """What a route's receiver notifies through: `email`, `slack`, `pagerduty`, `webhook` …"""
        return self.receivers[route.receiver]

    def muted(self, route: Route, now: datetime) -> bool:
        """Whether nothing is notified through the route at this moment."""
        return _muted(*self._intervals(route), now)

    def muted_for_a_year(self, route: Route, now: datetime) -> bool:
        """Whether the route's time intervals leave no minute of the coming year in which it notifies."""
        return self.muted(route, now) and _always_muted(*self._intervals(route), now.replace(second=0, microsecond=0))

    def muted_quarters(self, route: Route, now: datetime) -> int:
        """The quarters of an hour of the coming week in which the route's time intervals mute it, each as one bit."""
        return _muted_quarters(*self._intervals(route), now.replace(minute=0, second=0, microsecond=0))

    def _intervals(self, route: Route) -> tuple[tuple[Interval, ...], tuple[Interval, ...] | None]:
        """The intervals in which the route is muted, and those in which alone it is active, if there are such."""
        mute, active = (
            tuple(one for name in names for one in self.intervals[name]) for names in (route.mute, route.active)
        )
        return mute, active if route.active else None


def _muted(mute: tuple[Interval, ...], active: tuple[Interval, ...] | None, now: datetime) -> bool:
    if any(interval.contains(now) for interval in mute):
        return True
    return active is not None and not any(interval.contains(now) for interval in active)


@functools.lru_cache(maxsize=64)  # many routes name the same intervals, and each alert may come to all of them
def _always_muted(mute: tuple[Interval, ...], active: tuple[Interval, ...] | None, now: datetime) -> bool:
    return all(_muted(mute, active, moment) for moment in _changes((*mute, *(active or ())), now))


@functools.lru_cache(maxsize=256)
def _muted_quarters(mute: tuple[Interval, ...], active: tuple[Interval, ...] | None, now: datetime) -> int:
    if not mute and active is None:
        return 0
    step = timedelta(minutes=15)
    return sum(_muted(mute, active, now + number * step) << number for number in range(7 * 24 * 4))


def _changes(intervals: Sequence[Interval], now: datetime) -> Iterator[datetime]:
    """Every moment of the coming year at which one of the intervals may begin or end."""
    minutes = {0} | {minute % 1440 for interval in intervals for pair in interval.minutes for minute in pair}
    for day in range(367):
        for zone in {interval.zone for interval in intervals}:
            midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=day)
            moments = (midnight.replace(hour=minute // 60, minute=minute % 60) for minute in minutes)
            yield from (moment for moment in moments if moment >= now)


def _within(ranges: tuple[tuple[int, int], ...], value: int) -> bool:
    return not ranges or any(first <= value <= last for first, last in ranges)


def hours_of(quarters: Iterable[int]) -> float:
    """For how many hours of a week all routes are muted at once, by the quarters in which each is; none without any route."""
    together = functools.reduce(operator.and_, quarters, -1)
    return 0.0 if together < 0 else together.bit_count() / 4


def label_names(configuration: Configuration) -> frozenset[str]:
    """The labels that decide where an alert goes and what inhibits it."""
    names: set[str] = set()
    routes = [configuration.route]
    while routes:
        route = routes.pop()
        names |= {matcher.name for matcher in route.matchers}
        routes += route.routes
    for rule in configuration.inhibit_rules:
        names |= {matcher.name for matcher in rule.target}
        for source in rule.sources:
            names |= {matcher.name for matcher in source.matchers} | set(source.equal)
    return frozenset(names)


def walk(route: Route, labels: Mapping[str, str]) -> list[Route]:
    """The routes that an alert with exactly these labels ends in; none when it does not match the first."""
    if not all_match(route.matchers, labels):
        return []
    found: list[Route] = []
    for child in route.routes:
        matched = walk(child, labels)
        found += matched
        if matched and not child.goes_on:
            break
    return found or [route]


def reachable(route: Route, labels: Mapping[str, str]) -> list[Route]:
    """The routes that an alert may end in that has these labels, and others that are not known."""
    if not all_match(_known(route, labels), labels):
        return []
    found: list[Route] = []
    certain = False
    for child in route.routes:
        below = reachable(child, labels)
        found += below
        if below and len(_known(child, labels)) == len(child.matchers):
            certain = True
            if not child.goes_on:
                break
    return found if certain else [*found, route]


def _known(route: Route, labels: Mapping[str, str]) -> list[Matcher]:
    """The matchers of which it is known whether they are fulfilled."""
    return [matcher for matcher in route.matchers if matcher.name in labels]


def ends(route: Route, labels: Mapping[str, str], tell: Callable[[Route], T]) -> frozenset[frozenset[T]]:
    """Where an alert may end that has these labels, and others that are not known: each way as what `tell` says of its routes.

    A label whose value is not known may fulfil a matcher or not. Raises ProbeError when the ways are too many to follow.
    """
    return frozenset(end for end in _ends(route, labels, tell) if end)


def _ends(route: Route, labels: Mapping[str, str], tell: Callable[[Route], T]) -> set[frozenset[T]]:
    """The ways through a route; the empty one is that it does not match."""
    known = _known(route, labels)
    if not all_match(known, labels):
        return {frozenset()}
    done: set[frozenset[T]] = set() if len(known) == len(route.matchers) else {frozenset()}
    under_way: set[frozenset[T]] = {frozenset()}
    for child in route.routes:
        ways = _ends(child, labels, tell)
        following: set[frozenset[T]] = set()
        for before in under_way:
            for way in ways:
                (following if child.goes_on or not way else done).add(before | way)
        under_way = following
        if len(done) + len(under_way) > _MOST_ENDS:
            raise ProbeError(
                f"An alert may end in more than {_MOST_ENDS} ways in the routing tree, which were not followed."
            )
    return done | {way or frozenset([tell(route)]) for way in under_way}


class _Struct(msgspec.Struct, frozen=True):
    """The fields that decide where alerts go. What a later version adds must not blind every line: it is ignored."""


_Values = dict[str, str | int]


class _Source(_Struct, frozen=True):
    matchers: list[str]
    equal: list[str] = []


class _InhibitRule(_Struct, frozen=True):
    name: str = ""
    source_match: _Values = {}
    source_match_re: _Values = {}
    source_matchers: list[str] = []
    sources: list[_Source] = []
    target_match: _Values = {}
    target_match_re: _Values = {}
    target_matchers: list[str] = []
    equal: list[str] = []


class _Route(_Struct, frozen=True):
    receiver: str = ""
    match: _Values = {}
    match_re: _Values = {}
    matchers: list[str] = []
    goes_on: bool = msgspec.field(name="continue", default=False)
    routes: list[_Route] = []
    mute_time_intervals: list[str] = []
    active_time_intervals: list[str] = []
    group_wait: str = ""
    group_interval: str = ""


class _Times(_Struct, frozen=True):
    start_time: str
    end_time: str


class _Interval(_Struct, frozen=True):
    times: list[_Times] = []
    weekdays: list[str] = []
    days_of_month: list[str | int] = []
    months: list[str | int] = []
    years: list[str | int] = []
    location: str = "UTC"


class _Intervals(_Struct, frozen=True):
    name: str
    time_intervals: list[_Interval] = []


class _Configuration(msgspec.Struct, frozen=True):
    route: _Route
    receivers: list[dict[str, Any]]
    inhibit_rules: list[_InhibitRule] = []
    mute_time_intervals: list[_Intervals] = []
    time_intervals: list[_Intervals] = []


@functools.lru_cache(maxsize=8)
def parse_configuration(text: str) -> Configuration:
    """Read a configuration as Alertmanager's API shows it (its secrets may be masked), or as in its file.

    Raises ProbeError when it is not understood: then nobody can say where alerts go.
    """
    try:
        document = _without_nulls(load_yaml(text, "configuration").plain())
        raw = msgspec.convert(document, _Configuration)
        receivers = {str(receiver["name"]): _integrations(receiver) for receiver in raw.receivers}
        intervals = {
            named.name: tuple(map(_interval, named.time_intervals))
            for named in (*raw.mute_time_intervals, *raw.time_intervals)
        }
        configuration = Configuration(
            _route(raw.route, Route("")),
            receivers,
            tuple(map(_inhibit_rule, raw.inhibit_rules)),
            intervals,
            frozenset(_unfamiliar(document)),
        )
        _check(configuration, configuration.route)
    except (YamlError, msgspec.ValidationError, ValueError, KeyError) as error:
        raise ProbeError(
            f"Alertmanager's configuration was not understood: {_told(error)}.", Reason.MALFORMED
        ) from None
    return configuration


#: Fields that say how a group is notified, not who is.
_HARMLESS = frozenset({"group_by", "group_by_str", "repeat_interval", "labels", "annotations"})


def _unfamiliar(document: Mapping[str, Any]) -> Iterator[str]:
    """The fields that may decide where alerts go, and that are not known here."""
    routes = [document["route"]]
    while routes:
        route = routes.pop()
        yield from route.keys() - _fields(_Route) - _HARMLESS
        routes += route.get("routes", ())
    for rule in document.get("inhibit_rules", ()):
        yield from rule.keys() - _fields(_InhibitRule)
    for named in (*document.get("mute_time_intervals", ()), *document.get("time_intervals", ())):
        for interval in named.get("time_intervals", ()):
            yield from interval.keys() - _fields(_Interval)


def _fields(struct: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(struct))


def _told(error: Exception) -> str:
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return " ".join(text.split()).rstrip(".")


def _without_nulls(value: Any) -> Any:
    """The document without keys that have no value, which mean the same as none."""
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [_without_nulls(entry) for entry in value] if isinstance(value, list) else value


def _integrations(receiver: Mapping[str, Any]) -> frozenset[str]:
    named = ((key.removesuffix("_configs"), key, value) for key, value in receiver.items())
    return frozenset(name for name, key, value in named if name != key and value)


def _route(raw: _Route, parent: Route) -> Route:
    receiver = raw.receiver or parent.receiver
    wait = parse_duration(raw.group_wait) if raw.group_wait else parent.wait
    interval = parse_duration(raw.group_interval) if raw.group_interval else parent.interval
    own = Route(receiver, wait=wait, interval=interval)
    return Route(
        receiver,
        _matchers(raw.match, raw.match_re, raw.matchers),
        raw.goes_on,
        tuple(_route(child, own) for child in raw.routes),
        tuple(raw.mute_time_intervals),
        tuple(raw.active_time_intervals),
        wait,
        interval,
    )


def _check(configuration: Configuration, route: Route) -> None:
    """Raises KeyError with a receiver or an interval that a route names and nothing defines."""
    configuration.receivers[route.receiver]
    for name in (*route.mute, *route.active):
        configuration.intervals[name]
    for child in route.routes:
        _check(configuration, child)


def _matchers(equal: _Values, patterns: _Values, texts: Iterable[str]) -> tuple[Matcher, ...]:
    return (
        *(Matcher.of(name, "=", str(value)) for name, value in equal.items()),
        *(Matcher.of(name, "=~", str(value)) for name, value in patterns.items()),
        *(matcher for text in texts for matcher in parse_matchers(text)),
    )


def _inhibit_rule(raw: _InhibitRule) -> InhibitRule:
    sources = [Source(_matchers({}, {}, source.matchers), tuple(source.equal)) for source in raw.sources]
    if not sources:
        matchers = _matchers(raw.source_match, raw.source_match_re, raw.source_matchers)
        sources = [Source(matchers, tuple(raw.equal))]
    return InhibitRule(_matchers(raw.target_match, raw.target_match_re, raw.target_matchers), tuple(sources))


def _interval(raw: _Interval) -> Interval:
    try:
        zone: tzinfo = UTC if raw.location == "UTC" else ZoneInfo(raw.location)
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(f"the time zone {raw.location} is not known here") from None
    return Interval(
        tuple((_minute(times.start_time), _minute(times.end_time)) for times in raw.times),
        _ranges(raw.weekdays, _DAYS),
        _ranges(raw.days_of_month, {}),
        _ranges(raw.months, _MONTHS),
        _ranges(raw.years, {}),
        zone,
    )


def _minute(clock: str) -> int:
    if not (found := _CLOCK.fullmatch(clock)):
        raise ValueError(f"{clock} is no time of day")
    return int(found[1]) * 60 + int(found[2]) if found[1] else 1440


def _ranges(texts: Iterable[str | int], names: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
    """`monday:friday`, `1:5`, `-3:-1`, `2027` as first and last."""
    ranges = []
    for text in texts:
        first, _, last = str(text).lower().partition(":")
        begin, end = (names[word] if word in names else int(word) for word in (first, last or first))
        ranges.append((begin, end))
    return tuple(ranges)
