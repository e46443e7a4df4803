"""The routing tree, inhibition and time intervals, compared with what Alertmanager itself makes of the same configuration."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from collectors.systems.alertmanager.client import Alertmanager as AlertmanagerClient
from collectors.systems.alertmanager.client import AlertmanagerSettings
from collectors.systems.alertmanager.model.matchers import Matcher, all_match, parse_matchers
from collectors.systems.alertmanager.model.routes import (
    Configuration,
    InhibitRule,
    Interval,
    Route,
    ends,
    parse_configuration,
    reachable,
    walk,
)
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.servers.alertmanager import Alertmanager, amtool
from tests.servers.process import wait_until
from tests.servers.prometheus import NEW, OLD

CONFIGURATIONS, LABEL_SETS, SEED = 300, 3, 20
NAMES = ["severity", "team", "alertname", "service", "__path", "a1"]
VALUES = [
    "critical",
    "warning",
    "db",
    "cache",
    "Db",
    "a,b",
    'say "hi"',
    "back\\slash",
    "two\nlines",
    "{x}",
    "é",
    "x-1",
    "0",
    "ß1 ",
    "a.b",
]
PATTERNS = [
    "critical|warning", "d.*", ".*", ".+", "", "(?i)DB", "db|cache|x-\\d", "[a-c]+", "[^d]*", "a\\.b", "a.b", "\\w+", "\\w+\\s\\S+",
    "(?s).*", "(?P<x>d)b", "x{0}d{1}b{1,2}", "\\Qa.b\\E", "[[:alpha:]]+", "[]x]{1,3}", "^critical$", "crit(ical)?",
    "(?:a|b)*", "\\x61.b", "\\pL+", "[\\w-]+", ".*\\b1", "\\141.b", "[^\\W]b", "a,b", "{x}", "back\\\\slash", ".*\\n.*",
    "two.lines",
    "[+--]*", "[&~|]*", "[a&&b]+", "db$", "\\Adb\\z", "é|ß1 ", "[à-ÿ]", "(?i)É", "[[:^digit:]]+", "\\D+", "(?U)d.*", "x-1|{", "}",
]  # fmt: skip
#: Labels with names that only the newer generation knows.
ANY_NAMES = ["my label", "naïve", "dots.and-dashes", 'with"quote']


@dataclass(frozen=True)
class Case:
    """A configuration file, its content, and labels of alerts."""

    file: Path
    text: str
    labels: Sequence[dict[str, str]]


def routing(chance: random.Random, release: str, depth: int = 0) -> dict[str, Any]:
    """A route with conditions in every notation."""
    route: dict[str, Any] = {}
    if depth == 0 or chance.random() < 0.7:
        route["receiver"] = f"r{chance.randrange(6)}"
    if depth:
        route["continue"] = chance.random() < 0.4
        for _ in range(chance.choice([0, 1, 1, 2])):
            name = chance.choice(NAMES)
            match chance.randrange(4):
                case 0:
                    route.setdefault("match", {})[name] = chance.choice([*VALUES, ""])
                case 1:
                    route.setdefault("match_re", {})[name] = chance.choice([pattern for pattern in PATTERNS if pattern])
                case _:
                    route.setdefault("matchers", []).append(matcher(chance, release, name))
    if depth < 4:
        route["routes"] = [routing(chance, release, depth + 1) for _ in range(chance.choice([0, 1, 2, 3]))]
        if depth == 0:
            route["routes"] += [routing(chance, release, 1) for _ in range(3)]
    return route


def matcher(chance: random.Random, release: str, name: str) -> str:
    """One entry of `matchers`, in one of the ways in which people write them."""
    operator = chance.choice(["=", "!=", "=~", "!~"])
    value = chance.choice(PATTERNS if "~" in operator else [*VALUES, ""])
    space = chance.choice(["", " "])
    if release == NEW and chance.random() < 0.3:
        quoted = json.dumps(chance.choice([*NAMES, *ANY_NAMES]), ensure_ascii=chance.random() < 0.5)
        text = f"{quoted}{space}{operator}{space}{json.dumps(value, ensure_ascii=chance.random() < 0.5)}"
    elif chance.random() < 0.3 and value and not set(value) & set(' "\\,{}\n'):
        text = f"{name}{operator}{value}"
    else:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        text = f'{name}{space}{operator}{space}"{escaped}"'
    if chance.random() < 0.2:
        text = f'{text}, a1!="zero"'
    return f"{{{text}{chance.choice(['', ','])}}}" if chance.random() < 0.3 else text


def corpus(folder: Path, release: str) -> Iterator[Case]:
    chance = random.Random(SEED)
    for number in range(CONFIGURATIONS):
        receivers = [{"name": f"r{index}"} for index in range(6)]
        text = json.dumps({"route": routing(chance, release), "receivers": receivers})
        names = [*NAMES, *(ANY_NAMES if release == NEW else [])]
        labels = [
            {name: chance.choice(VALUES) for name in chance.sample(names, chance.randrange(1, 5))}
            for _ in range(LABEL_SETS)
        ]
        file = folder / f"{number}.yaml"
        file.write_text(text)
        yield Case(file, text, labels)


def told(release: str, file: Path, labels: dict[str, str]) -> list[str]:
    """The receivers that amtool names."""
    pairs = [f"{json.dumps(name, ensure_ascii=False)}={quote(value)}" for name, value in labels.items()]
    if release == OLD:
        pairs = [f"{name}={quote(value)}" for name, value in labels.items()]
    argv = [str(amtool(release)), "config", "routes", "test", f"--config.file={file}", *pairs]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout.strip().splitlines()[-1].split(",")  # warnings stand before it


def quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@pytest.mark.parametrize("release", [OLD, NEW])
def test_routes_are_walked_as_amtool_walks_them(tmp_path: Path, release: str) -> None:
    cases = list(corpus(tmp_path, release))
    pairs = [(case, labels) for case in cases for labels in case.labels]
    with ThreadPoolExecutor(4) as pool:
        wanted = list(pool.map(lambda pair: told(release, pair[0].file, pair[1]), pairs))
    for (case, labels), receivers in zip(pairs, wanted, strict=True):
        configuration = parse_configuration(case.text)
        walked = [route.receiver for route in walk(configuration.route, labels)]
        assert walked == receivers, (case.text, labels)
        # Labels of which all are known leave one end; with one unknown the true end is among the possible ones.
        everything = dict.fromkeys([*NAMES, *ANY_NAMES], "") | labels
        (only,) = ends(configuration.route, everything, lambda route: route.receiver)
        assert only == frozenset(receivers)
        hidden = dict(list(labels.items())[1:])
        ways = ends(configuration.route, hidden, lambda route: route.receiver)
        assert frozenset(receivers) in ways
        assert {route.receiver for route in reachable(configuration.route, hidden)} >= frozenset().union(*ways)
        assert reachable(configuration.route, everything) == walk(configuration.route, labels)
    assert len({tuple(receivers) for receivers in wanted}) > 50


@pytest.mark.parametrize("number", range(0, 40, 5))
async def test_what_the_api_tells_is_what_the_file_says(
    any_alertmanager: Alertmanager, tmp_path: Path, number: int
) -> None:
    release = OLD if _version(any_alertmanager) == "0.25.0" else NEW
    chance = random.Random(number)
    for case in list(corpus(tmp_path, release))[number : number + 5]:
        any_alertmanager.configure(json.loads(case.text))
        client = AlertmanagerClient(AlertmanagerSettings(url=any_alertmanager.url), Threads())
        original = parse_configuration(await client.configuration())
        await client.close()
        written = parse_configuration(case.text)
        for labels in [*case.labels, {name: chance.choice(VALUES) for name in NAMES}, {}]:
            assert [route.receiver for route in walk(original.route, labels)] == [
                route.receiver for route in walk(written.route, labels)
            ], (case.text, labels)


def _version(server: Alertmanager) -> str:
    done = subprocess.run([server.argv[0], "--version"], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split()[2]


# Inhibition

LABELS = {"severity": ["critical", "warning", ""], "cluster": ["eu", "us", ""], "kind": ["watchdog", "root", ""]}


def inhibition(chance: random.Random) -> dict[str, Any]:
    """A rule that may inhibit some alerts."""

    def side(name: str) -> dict[str, Any]:
        label = chance.choice(list(LABELS))
        value = chance.choice(LABELS[label][:2])
        return chance.choice(
            [
                {f"{name}_match": {label: value}},
                {f"{name}_match_re": {label: f"{value}|x"}},
                {f"{name}_matchers": [f'{label}="{value}"', f'alertname!="{chance.choice("abc")}"']},
                {f"{name}_matchers": [f'{label}!="{value}"']},
            ]
        )

    equal = chance.sample(list(LABELS), chance.choice([0, 1, 1, 2]))
    return {**side("source"), **side("target"), "equal": equal}


@pytest.mark.parametrize("release", [OLD, NEW])
def test_inhibition_is_what_alertmanager_makes_of_it(tmp_path: Path, release: str) -> None:
    """0.33 keeps one source for each combination of `equal` labels: it may miss that another one inhibits, never the reverse."""
    chance = random.Random(SEED)
    with Alertmanager(tmp_path, release=release) as server:
        alerts = [
            {name: value for name, values in LABELS.items() if (value := chance.choice(values))} | {"alertname": letter}
            for letter in "abcdefgh"
        ]
        for labels in alerts:
            server.alert(**labels)
        wait_until(lambda: len(server.alerts()) == len(alerts), "all alerts to be held")
        seen = set()
        for _ in range(40):
            text = {"route": {"receiver": "r"}, "receivers": [{"name": "r"}], "inhibit_rules": [inhibition(chance)]}
            server.configure(text)
            (rule,) = parse_configuration(json.dumps(text)).inhibit_rules
            sure = {alert["alertname"] for alert in alerts if rule.inhibits(alert, alerts)}
            doubtful = sure if release == NEW and _share_sources(rule, alerts) else set()

            def agrees(sure: set[str] = sure, doubtful: set[str] = doubtful) -> bool:
                held = {alert["labels"]["alertname"] for alert in server.alerts() if alert["status"]["inhibitedBy"]}
                return sure - doubtful <= held <= sure

            wait_until(agrees, f"{sure} to be inhibited by {text} among {alerts}")
            seen.add(frozenset(sure - doubtful))
        assert len(seen) > 3


def _share_sources(rule: InhibitRule, alerts: Sequence[dict[str, str]]) -> bool:
    """Whether several alerts are sources with the same values of the labels that must be equal."""
    (source,) = rule.sources
    found = [alert for alert in alerts if all_match(source.matchers, alert)]
    return len({tuple(alert.get(name, "") for name in source.equal) for alert in found}) < len(found)


def test_several_sources_inhibit_together() -> None:
    """As newer Alertmanagers document it; none that has it was at hand."""
    sources = [{"matchers": [f'alertname="{letter}"'], "equal": ["cluster"]} for letter in "ab"]
    rule = {"sources": sources, "target_matchers": ['alertname="c"']}
    text = json.dumps({"route": {"receiver": "r"}, "receivers": [{"name": "r"}], "inhibit_rules": [rule]})
    (read,) = parse_configuration(text).inhibit_rules
    here, there = {"cluster": "eu"}, {"cluster": "us"}
    target = {"alertname": "c"} | here
    assert read.inhibits(target, [{"alertname": "a"} | here, {"alertname": "b"} | here])
    assert not read.inhibits(target, [{"alertname": "a"} | here, {"alertname": "b"} | there])
    assert not read.inhibits({"alertname": "d"}, [])


# Time intervals


def interval(**fields: Any) -> Interval:
    """One interval, read as Alertmanager's configuration has it."""
    return _intervals({"location": "UTC", **fields})[0]


def _intervals(*intervals: dict[str, Any]) -> tuple[Interval, ...]:
    return muting(*intervals).intervals["quiet"]


def muting(*intervals: dict[str, Any], key: str = "mute_time_intervals") -> Configuration:
    text = {
        "route": {"receiver": "r", "routes": [{key: ["quiet"]}]},
        "receivers": [{"name": "r"}],
        "time_intervals": [{"name": "quiet", "time_intervals": list(intervals)}],
    }
    return parse_configuration(json.dumps(text))


@pytest.mark.parametrize(
    ("fields", "inside", "outside"),
    [
        ({}, ["2026-01-01T00:00", "2031-12-31T23:59"], []),
        ({"times": [{"start_time": "09:00", "end_time": "17:00"}]}, ["2026-01-01T09:00", "2026-01-01T16:59"], ["2026-01-01T17:00"]),
        ({"times": [{"start_time": "22:00", "end_time": "24:00"}]}, ["2026-01-01T23:59"], ["2026-01-02T00:00"]),
        ({"weekdays": ["monday:friday", "Sunday"]}, ["2026-11-23T12:00", "2026-11-29T12:00"], ["2026-11-28T12:00"]),
        ({"days_of_month": ["1:5", "-3:-1"]}, ["2026-02-01T00:00", "2026-02-26T00:00", "2026-02-28T00:00"], ["2026-02-25T00:00"]),
        ({"days_of_month": ["31"]}, ["2026-01-31T00:00"], ["2026-02-28T00:00"]),
        ({"days_of_month": ["28:31"]}, ["2026-02-28T00:00"], ["2026-03-01T00:00"]),
        ({"months": ["january:march", "12"]}, ["2026-03-31T23:59", "2026-12-01T00:00"], ["2026-04-01T00:00"]),
        ({"years": ["2026:2027", "2030"]}, ["2027-06-01T00:00", "2030-06-01T00:00"], ["2028-01-01T00:00"]),
        (
            {"times": [{"start_time": "00:00", "end_time": "06:00"}], "location": "America/New_York"},
            ["2026-01-01T05:00", "2026-07-01T09:59"],
            ["2026-01-01T04:59", "2026-07-01T10:00"],
        ),
    ],
)  # fmt: skip
def test_intervals_hold_when_they_say(fields: dict[str, Any], inside: list[str], outside: list[str]) -> None:
    read = interval(**fields)
    assert all(read.contains(_moment(moment)) for moment in inside)
    assert not any(read.contains(_moment(moment)) for moment in outside)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "intervals", "now", "year"),
    [
        ("mute_time_intervals", [{}], True, True),
        ("mute_time_intervals", [{"times": [{"start_time": "00:00", "end_time": "24:00"}]}], True, True),
        ("mute_time_intervals", [{"weekdays": ["monday:friday"]}, {"weekdays": ["saturday", "sunday"]}], True, True),
        ("mute_time_intervals", [{"weekdays": ["monday:friday"]}], True, False),
        ("mute_time_intervals", [{"months": ["1:12"], "days_of_month": ["1:30"]}], True, False),
        ("mute_time_intervals", [{"weekdays": ["sunday"]}], False, False),
        ("active_time_intervals", [{"years": ["2020"]}], True, True),
        ("active_time_intervals", [{"weekdays": ["sunday"]}], True, False),
        ("active_time_intervals", [{}], False, False),
    ],
)
def test_a_route_that_is_muted_for_ever_is_told_from_one_that_sleeps(
    key: str, intervals: list[dict[str, Any]], now: bool, year: bool
) -> None:
    configuration = muting(*intervals, key=key)
    (quiet,) = walk(configuration.route, {})
    assert configuration.muted(quiet, _moment("2026-11-25T20:00")) is now
    assert configuration.muted_for_a_year(quiet, _moment("2026-11-25T20:00")) is year
    assert not configuration.muted_for_a_year(configuration.route, _moment("2026-11-25T20:00"))


def test_an_hour_that_is_over_does_not_count() -> None:
    hour = {"years": ["2026"], "times": [{"start_time": "08:00", "end_time": "09:00"}]}
    configuration = muting(hour, key="active_time_intervals")
    (quiet,) = walk(configuration.route, {})
    assert not configuration.muted_for_a_year(quiet, _moment("2026-12-31T07:59"))
    assert configuration.muted_for_a_year(quiet, _moment("2026-12-31T09:00"))


# What is not understood

ONE = "route: {receiver: a}, receivers: [{name: a}]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expected `object`"),
        ("route: {receiver: a}", "`receivers`"),
        ("route: {receiver: a, receiver: b}", "is given twice"),
        ("{route: {receiver: a}, receivers: []}", "'a' is missing"),
        ("{route: {}, receivers: [{name: a}]}", "'' is missing"),
        ("{route: {receiver: a, routes: [{mute_time_intervals: [x]}]}, receivers: [{name: a}]}", "'x' is missing"),
        ("{route: {receiver: a, routes: [{matchers: ['x']}]}, receivers: [{name: a}]}", "is no matcher"),
        ("{route: {receiver: a, routes: [{match_re: {x: '('}}]}, receivers: [{name: a}]}", "no regular expression"),
        ("{route: {receiver: a, routes: [{match: {x: 1.50}}]}, receivers: [{name: a}]}", "got `float`"),
        (
            "{route: {receiver: a}, receivers: [{name: a}], time_intervals: [{name: x, time_intervals: [{location: Moon/Base}]}]}",
            "the time zone Moon/Base is not known here",
        ),
        (
            "{route: {receiver: a}, receivers: [{name: a}], time_intervals: [{name: x, time_intervals: [{weekdays: [someday]}]}]}",
            "someday",
        ),
        (
            f"{{{ONE}, time_intervals: [{{name: x, time_intervals: [{{times: [{{start_time: '9:00', end_time: '10:00'}}]}}]}}]}}",
            "9:00 is no time of day",
        ),
    ],
)
def test_a_configuration_that_is_not_understood_is_told(text: str, told: str) -> None:
    with pytest.raises(ProbeError, match="Alertmanager's configuration was not understood") as raised:
        parse_configuration(text)
    assert told in str(raised.value)


def test_numbers_and_nulls_are_read_as_alertmanager_reads_them() -> None:
    text = "{route: {receiver: a, routes: [{match: {code: 500}, routes: null, receiver: b}]}, receivers: [{name: a}, {name: b}]}"
    assert [route.receiver for route in walk(parse_configuration(text).route, {"code": "500"})] == ["b"]


def test_labels_that_are_not_known_leave_every_way_open() -> None:
    def end(receiver: str) -> frozenset[str]:
        return frozenset([receiver])

    on_team = Route("db", tuple(parse_matchers('team="db"')))
    also = Route("audit", tuple(parse_matchers('severity="critical"')), goes_on=True)
    root = Route("default", routes=(also, on_team))
    assert ends(root, {"severity": "warning"}, lambda route: route.receiver) == {end("default"), end("db")}
    assert ends(root, {"severity": "critical"}, lambda route: route.receiver) == {
        end("audit"),
        frozenset(["audit", "db"]),
    }
    assert ends(root, {"severity": "critical", "team": ""}, lambda route: route.receiver) == {end("audit")}
    assert ends(on_team, {"team": "web"}, lambda route: route.receiver) == frozenset()
    assert walk(on_team, {"team": "web"}) == []


def test_a_tree_with_too_many_ways_is_not_followed() -> None:
    routes = tuple(Route(f"r{n}", (Matcher.of(f"l{n}", "=", "x"),), goes_on=True) for n in range(20))
    with pytest.raises(ProbeError, match="more than 256 ways"):
        ends(Route("r", routes=routes), {}, lambda route: route.receiver)
    assert len(ends(Route("r", routes=routes), {}, lambda _: "any")) == 1


def test_a_wrong_configuration_is_refused_by_alertmanager_too(any_alertmanager: Alertmanager) -> None:
    with pytest.raises(HTTPError):
        any_alertmanager.configure({"route": {"receiver": "nobody", "unless": []}, "receivers": [{"name": "nobody"}]})


def test_an_alert_that_began_long_ago_is_held(any_alertmanager: Alertmanager) -> None:
    any_alertmanager.send({"alertname": "Old"}, started=timedelta(days=2))
    held = wait_until(lambda: [a for a in any_alertmanager.alerts() if a["labels"]["alertname"] == "Old"], "the alert")
    assert datetime.fromisoformat(held[0]["startsAt"]) < datetime.now(UTC) - timedelta(days=1)


def test_fields_of_later_versions_blind_nothing() -> None:
    text = "{route: {receiver: a, labels: {x: y}, unless: []}, receivers: [{name: a}], inhibit_rules: [{since: x}]}"
    configuration = parse_configuration(text)
    assert configuration.route.receiver == "a"
    assert configuration.unfamiliar == {"unless", "since"}
