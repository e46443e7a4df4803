"""What hides alerts; the rest is seen on real servers by the section."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from collectors.systems.alertmanager.judge.routing import inhibition_problems, late, routing_problems, silence_problems
from collectors.systems.alertmanager.model.alerts import HeldAlert, HeldStatus, Silence, SilenceMatcher
from collectors.systems.alertmanager.model.alerts import SilenceState as State
from collectors.systems.alertmanager.model.matchers import Matcher
from collectors.systems.alertmanager.model.routes import InhibitRule, Source, parse_configuration
from exporter.verdict import Result, Status

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def first(problems: Callable[..., Iterator[Result]]) -> Callable[..., Result | None]:
    return lambda *given: next(problems(*given), None)


def silence(*matchers: SilenceMatcher, state: str = "active", days: float = 30, since: float = 0) -> Silence:
    return Silence("s1", list(matchers), NOW - timedelta(days=since), NOW + timedelta(days=days), State(state))


@pytest.mark.parametrize(
    ("silenced", "hides"),
    [
        (silence(SilenceMatcher("alertname", "A", is_regex=False)), True),
        (silence(SilenceMatcher("alertname", "A|B", is_regex=True)), True),
        (silence(SilenceMatcher("alertname", "B", is_regex=False, is_equal=False)), True),
        (silence(SilenceMatcher("alertname", "A.*", is_regex=True, is_equal=False)), False),
        (
            silence(SilenceMatcher("alertname", "A", is_regex=False), SilenceMatcher("instance", "x", is_regex=False)),
            False,
        ),
        (silence(SilenceMatcher("alertname", "A", is_regex=False), state="expired"), False),
        (silence(SilenceMatcher("alertname", "A", is_regex=False), days=6), False),
        (silence(SilenceMatcher("alertname", "A", is_regex=False), days=1, since=5), False),
        (silence(SilenceMatcher("alertname", "A", is_regex=False), days=1, since=60), True),
    ],
)
def test_silences(silenced: Silence, hides: bool) -> None:
    problem = first(silence_problems)("A", {"alertname": "A"}, [silenced], timedelta(days=7), NOW)
    assert (problem is not None) is hides


def test_silences_that_follow_each_other_are_one() -> None:
    about = SilenceMatcher("alertname", "A", is_regex=False)
    past = silence(about, state="expired", since=5, days=-2)
    now_on, to_come = silence(about, since=2, days=3), silence(about, state="pending", since=-3, days=6)
    week = timedelta(days=7)
    problem = first(silence_problems)("A", {"alertname": "A"}, [to_come, now_on, past], week, NOW)
    assert problem is not None
    told = (
        "Alert A is silenced for 11 days by 3 silences in a row, the last of them s1, which ends in 6 days (limit 7d)."
    )
    assert (problem.status, problem.summary) == (Status.FAILED, told)
    assert first(silence_problems)("A", {"alertname": "A"}, [now_on, past], timedelta(days=8), NOW) is None
    gap = silence(about, state="expired", since=9, days=-3)
    assert first(silence_problems)("A", {"alertname": "A"}, [now_on, gap], week, NOW) is None


def test_a_silence_that_is_to_come() -> None:
    to_come = silence(SilenceMatcher("alertname", "A", is_regex=False), state="pending", since=-1, days=11)
    problem = first(silence_problems)("A", {"alertname": "A"}, [to_come], timedelta(days=7), NOW)
    assert problem is not None
    assert problem.status is Status.WARNING
    assert "Alert A will be silenced for 10 days by silence s1, from " in problem.summary


def held(name: str, days: float, *, by: tuple[str, ...] = ()) -> HeldAlert:
    status = HeldStatus("suppressed" if by else "active", inhibited_by=list(by))
    return HeldAlert({"alertname": name}, f"f-{name}", NOW - timedelta(days=days), NOW, NOW, status)


def test_inhibition_by_what_lasts() -> None:
    day = timedelta(days=1)
    old, fresh = held("Root", 3), held("Root", 0.5)
    hidden = held("A", 2, by=("f-Root",))
    assert first(inhibition_problems)("A", {}, [], [hidden, fresh], day, NOW) is None
    seen = first(inhibition_problems)("A", {}, [], [hidden, old], day, NOW)
    assert seen is not None
    assert seen.summary == "Alert A fires since 2d and is inhibited by Root (limit 1d)."
    assert first(inhibition_problems)("A", {}, [], [hidden, old, held("A", 2)], day, NOW) is None  # another one is told
    rule = InhibitRule(
        (Matcher.of("alertname", "=", "A"),), (Source((Matcher.of("alertname", "=", "Root"),), ("cluster",)),)
    )
    assert (
        first(inhibition_problems)("A", {"alertname": "A"}, [rule], [old], day, NOW) is None
    )  # its cluster is not known
    foreseen = first(inhibition_problems)("A", {"alertname": "A", "cluster": ""}, [rule], [old], day, NOW)
    assert foreseen is not None
    assert foreseen.summary == "Alert A would be inhibited by Root, which fires for longer than 1d."
    assert first(inhibition_problems)("A", {"alertname": "A", "cluster": "eu"}, [rule], [old], day, NOW) is None


def test_a_route_that_sleeps_now_is_a_warning() -> None:
    configuration = parse_configuration(
        "{route: {receiver: a, routes: [{mute_time_intervals: [noon]}]}, receivers: [{name: a, slack_configs: [{}]}],"
        " time_intervals: [{name: noon, time_intervals: [{times: [{start_time: '12:00', end_time: '13:00'}]}]}]}"
    )
    now = first(routing_problems)("A", {}, configuration, ["slack"], NOW)
    assert now is not None
    assert now.status is Status.WARNING
    assert now.summary == "Alert A would not be notified now: time intervals mute its route."
    assert first(routing_problems)("A", {}, configuration, ["slack"], NOW + timedelta(hours=2)) is None


def test_routes_that_take_turns_are_never_quiet_together() -> None:
    def routed(second: str) -> Result | None:
        routes = f"{{mute_time_intervals: [day], continue: true}}, {{mute_time_intervals: [{second}]}}"
        day, night = ("[{start_time: '08:00', end_time: '20:00'}]", "[{start_time: '20:00', end_time: '24:00'}]")
        early = "[{start_time: '00:00', end_time: '08:00'}]"
        configuration = parse_configuration(
            f"{{route: {{receiver: a, routes: [{routes}]}}, receivers: [{{name: a, slack_configs: [{{}}]}}],"
            f" time_intervals: [{{name: day, time_intervals: [{{times: {day}}}]}},"
            f" {{name: night, time_intervals: [{{times: {night}}}, {{times: {early}}}]}}]}}"
        )
        return first(routing_problems)("A", {}, configuration, ["slack"], NOW + timedelta(hours=10))

    assert routed("night") is None
    quiet = routed("day")
    assert quiet is not None
    assert "mute its route for 84 of the 168 hours" in quiet.summary


@pytest.mark.parametrize(
    ("root", "child", "told"),
    [
        ("", "", None),
        ("group_wait: 1d", "group_wait: 30s", None),
        (
            "group_wait: 30s",
            "group_wait: 1d",
            "is held for 1d before the first notification: group_wait of its route (limit 6h).",
        ),
        ("group_wait: 12h30m", "", "is held for 12h30m before"),
    ],
)
def test_a_route_that_waits_for_long(root: str, child: str, told: str | None) -> None:
    own = f"{{matchers: ['alertname=\"A\"'], {child or 'group_by: []'}}}"
    configuration = parse_configuration(
        f"{{route: {{receiver: a, {root or 'group_by: []'}, routes: [{own}]}}, receivers: [{{name: a, slack_configs: [{{}}]}}]}}"
    )
    problem = first(routing_problems)("A", {"alertname": "A"}, configuration, ["slack"], NOW, timedelta(hours=6))
    assert (problem is None) is (told is None)
    assert problem is None or (problem.status is Status.FAILED and told is not None and told in problem.summary)


@pytest.mark.parametrize(("root", "child", "held"), [("1d", "", True), ("1d", "5m", False), ("", "12h", True)])
def test_what_joins_a_group_waits_for_its_interval(root: str, child: str, held: bool) -> None:
    """A trap: group_wait is for the first alert of a group, and a group that fires already makes later ones wait."""
    configuration = parse_configuration(
        json.dumps(
            {
                "route": {
                    "receiver": "a",
                    "group_interval": root or None,
                    "routes": [{"matchers": ['severity="critical"'], "group_interval": child or None}],
                },
                "receivers": [{"name": "a", "slack_configs": [{}]}],
            }
        )
    )
    labels, limit = {"alertname": "A", "severity": "critical"}, timedelta(hours=6)
    for problems in (
        routing_problems("A", labels, configuration, ["slack"], NOW, limit),
        late(configuration, labels, ["slack"], limit),
    ):
        found = list(problems)
        assert [problem.status for problem in found] == [Status.WARNING] * held
        assert all("others of its group fire already: group_interval of its route" in one.summary for one in found)


def test_many_routes_that_are_muted_are_looked_at_once() -> None:
    """A year is long: what each alert asks about each route would take minutes, in which nothing else is done."""
    names = [f"team-{number}" for number in range(60)]
    routes = ", ".join(f"{{matchers: ['team=\"{name}\"'], mute_time_intervals: [always]}}" for name in names)
    intervals = "[{times: [{start_time: '00:00', end_time: '24:00'}]}, {months: ['1:12'], location: Europe/Berlin}]"
    configuration = parse_configuration(
        f"{{route: {{receiver: a, routes: [{routes}]}}, receivers: [{{name: a, slack_configs: [{{}}]}}],"
        f" time_intervals: [{{name: always, time_intervals: {intervals}}}]}}"
    )
    before = time.process_time()
    for number in range(100):
        problem = first(routing_problems)(
            f"A{number}", {}, configuration, ["slack"], NOW + timedelta(milliseconds=number)
        )
        assert problem is not None
        assert problem.status is Status.UNKNOWN
        told = (
            f"Alert A{number} may be routed to a, but time intervals mute that route at all times, depending on labels"
        )
        assert problem.summary.startswith(told)
    assert time.process_time() - before < 3


def test_many_teams_that_go_on_are_followed() -> None:
    names = [f"team-{number}" for number in range(300)]
    routes = [f"{{receiver: {name}, continue: true, matchers: ['team=\"{name}\"']}}" for name in names]
    receivers = [f"{{name: {name}, slack_configs: [{{}}]}}" for name in names]
    text = "{{route: {{receiver: {0}, routes: [{1}]}}, receivers: [{{name: nobody}}, {2}]}}"
    told = parse_configuration(text.format("team-0", ", ".join(routes), ", ".join(receivers)))
    assert first(routing_problems)("A", {}, told, ["slack"], NOW) is None
    missed = parse_configuration(text.format("nobody", ", ".join(routes), ", ".join(receivers)))
    problem = first(routing_problems)("A", {}, missed, ["slack"], NOW)
    assert problem is not None
    assert problem.status is Status.UNKNOWN
    assert "Alert A may be routed to nobody, which is not notified by slack, depending on labels" in problem.summary
    problem = first(routing_problems)("A", {}, missed, ["email"], NOW)
    assert problem is not None
    assert problem.status is Status.FAILED
    assert "is routed to nobody, team-0, team-1, team-10, team-100 and 296 more, which is not" in problem.summary
