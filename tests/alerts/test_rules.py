"""The alerts fire when they should, not when they should not, and end: each on both generations of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.alerts.scenarios import (
    DAY,
    POD_0,
    POD_1,
    URL,
    Alert,
    Scenario,
    declared,
    exporter,
    line,
    play,
    series,
    steps,
    target,
    without,
)
from tests.servers.prometheus import NEW, OLD

ITEM = f"{URL}/items/redis/pods_healthy"
SECTION = f"{URL}/?section=redis#lines"
LINE = {"section": "redis", "item": "pods_healthy", "title": "Pods are healthy", "team": "storage"}
SWITCH = Alert({"job": "", "severity": "info"}, declared()["ChecklistDeadMansSwitch"]["annotations"]["description"])


def down(where: str = "job checklist-exporter", **labels: str) -> Alert:
    text = f"No target of {where} answers Prometheus and verifies. Regressions go unnoticed."
    return Alert({"severity": "critical", **labels}, text)


def stalled(age: str, severity: str = "critical", **labels: str) -> Alert:
    text = {
        "critical": f"The scheduler of checklist-exporter last looked for due runs {age} ago (limit 2m). "
        "All results are older than that.",
        "warning": f"The scheduler of one replica of checklist-exporter last looked for due runs {age} ago (limit 2m). "
        "The other replicas keep verifying, and only their results count.",
    }
    return Alert({"severity": severity, **labels}, text[severity])


def replicas_down(replicas: str) -> Alert:
    text = (
        f"{replicas} of job checklist-exporter in namespace sre cannot be scraped. The other replicas keep verifying."
    )
    return Alert({"severity": "warning", "namespace": "sre"}, text)


MISSING = Alert(
    {"severity": "warning"},
    "checklist-exporter has 2 lines and Prometheus has fewer: check relabelling and sample limits that drop "
    "checklist_item_info.",
)
RELOAD = Alert({"severity": "warning"}, declared()["ChecklistConfigReloadFailed"]["annotations"]["description"])
RELOAD = Alert(RELOAD.labels, RELOAD.description.replace("{{ $labels.job }}", "checklist-exporter"))
HISTORY = Alert({"severity": "warning"}, declared()["ChecklistHistoryNotKept"]["annotations"]["description"])
HISTORY = Alert(HISTORY.labels, HISTORY.description.replace("{{ $labels.job }}", "checklist-exporter"))


def regressed(
    minute: int, seen: str = "failed", severity: str = "critical", more: str = "", page: str = ITEM, **labels: str
) -> Alert:
    when = f"1970-01-01 {minute // 60:02}:{minute % 60:02}:00 +0000 UTC"
    status = f"is {seen}" if seen else "was not OK when the exporter last responded"
    text = f"“Pods are healthy” (redis/pods_healthy) {status}; last OK {when}.{more}"
    return Alert({**LINE, "severity": severity, "item_severity": severity, "mode": "probe", **labels}, text, page)


def unseen(count: int, severity: str, on: str = "", **labels: str) -> Alert:
    text = (
        f"{count} lines of redis that were OK can no longer be checked{on}: the target is unreachable or refuses the exporter. "
        "The lines may still be OK."
    )
    return Alert({"section": "redis", "severity": severity, **labels}, text, SECTION)


def in_section(severity: str, text: str) -> Alert:
    return Alert({"section": "redis", "severity": severity}, text, SECTION)


def not_evaluated(lines: str) -> Alert:
    return in_section("warning", f"{lines} overdue: runs hang, or take longer than their interval.")


def below(share: str, objective: str) -> Alert:
    return in_section(
        "warning",
        f"Over six hours {share} of the lines of redis were OK (objective {objective}), and it is still below. "
        "Waived lines and lines that were never OK do not count.",
    )


def evidence(text: str) -> Alert:
    labels = {**LINE, "severity": "warning", "item_severity": "critical", "mode": "evidence"}
    return Alert(labels, f"The evidence for “Pods are healthy” (redis/pods_healthy) {text}", ITEM)


def of_item(severity: str, text: str, **labels: str) -> Alert:
    return Alert({"section": "redis", "item": "pods_healthy", "severity": severity, **labels}, text, ITEM)


def maintained(left: str) -> Alert:
    return of_item("info", f"redis/pods_healthy is under maintenance for {left} more; nobody is notified of it before.")


def section_maintained() -> Alert:
    text = (
        "1 line of redis is under maintenance, and no other line of it regressed; "
        "nobody is notified of the section before it ends."
    )
    return in_section("info", text)


def caused(*statuses: tuple[str, int], item: str = "cache_read_write", **options: object) -> dict[str, str]:
    """A line of the smoke tests."""
    return line(*statuses, section="smoke_tests", item=item, **options)  # type: ignore[arg-type]


def because(
    *minutes: tuple[int, int], item: str = "cache_read_write", where: Mapping[str, str] | None = None
) -> dict[str, str]:
    """That a line of the smoke tests does not pass because of Redis, from each minute until another."""
    ends = (0, *(end + 1 for _, end in minutes))
    values = " ".join(
        f"_x{start - before} 1+0x{end - start - 1} stale" for before, (start, end) in zip(ends, minutes, strict=False)
    )
    names = {"section": "smoke_tests", "item": item, "cause_section": "redis", "cause_item": "pods_healthy"}
    return series("checklist_item_cause", values, where, **names)


def dependent(minute: int, seen: str = "failed", more: str = "") -> Alert:
    """The alert of a line of the smoke tests by itself."""
    alert = regressed(minute, seen, more=more, page=f"{URL}/items/smoke_tests/cache_read_write")
    labels = {**alert.labels, "section": "smoke_tests", "item": "cache_read_write"}
    return Alert(labels, alert.description.replace("redis/pods_healthy)", "smoke_tests/cache_read_write)"), alert.page)


def section_caused() -> Alert:
    text = "1 line of smoke_tests does not pass because of lines that have alerts of their own, and no other line of it regressed."
    return Alert({"section": "smoke_tests", "severity": "info"}, text, f"{URL}/?section=smoke_tests#lines")


ONE_EFFECT = " Because of it 1 line does not pass: smoke_tests/cache_read_write."
DUE_TO_REDIS = " Because of redis/pods_healthy."


def errors(share: str) -> Alert:
    return in_section(
        "warning",
        f"{share} of the checks of redis in the last half hour ended in an error (limit 50%): "
        "the target is unreachable, refuses the exporter, or is misconfigured.",
    )


OK_THEN_FAILED = line(("ok", 10), ("failed", 20), ("ok", 40))
NAMES = {"section": "redis", "item": "pods_healthy"}
RESTARTS = (
    (POD_0, (("ok", 10), *[("unknown", 2), ("ok", 8)] * 4, ("ok", 70))),
    (POD_1, (("ok", 15), *[("unknown", 2), ("ok", 8)] * 4, ("ok", 65))),
)


def pending(*statuses: tuple[str, int], where: Mapping[str, str]) -> dict[str, str]:
    """The reason of a line that is unknown only because the replica has not seen enough of it yet."""
    values = " ".join(
        steps((1, minutes)) if status == "unknown" else f"stale _x{minutes - 1}" for status, minutes in statuses
    )
    return series("checklist_item_reason", values, where, reason="pending", **NAMES)


def several(
    *statuses: tuple[str, int], severity: str = "critical", count: int = 3, **options: object
) -> dict[str, str]:
    """Lines of one section that share their fate."""
    found: dict[str, str] = {}
    for number in range(count):
        found |= line(*statuses, item=f"line_{number}", item_severity=severity, **options)  # type: ignore[arg-type]
    return found


def following(minutes: int, where: Mapping[str, str]) -> list[dict[str, str]]:
    """What a replica exports that is not elected: nothing of the checklist."""
    return [
        series(name, steps((value, minutes)), where) for name, value in (("up", 1), ("checklist_exporter_leader", 0))
    ]


def taken_over(*statuses: tuple[str, int], at: int = 30, silent: int = 2) -> list[dict[str, str]]:
    """A line whose series move from one replica to another, after some minutes without any."""
    minutes = sum(length for _, length in statuses)
    told: list[dict[str, str]] = []
    for pod, gap in ((POD_0, (at, minutes)), (POD_1, (0, at + silent))):
        checklist = {**exporter(minutes, pod), **line(*statuses, where=pod)}
        checklist = {
            name: values for name, values in checklist.items() if not name.startswith(("up{", "checklist_exporter_web"))
        }
        told += [without(checklist, gap), *following(minutes, pod)[:1]]
        told.append(series("checklist_exporter_web_info", steps((1, minutes)), pod, external_url=URL))
    leads = "checklist_exporter_leader"
    told.append(series(leads, steps((1, at), (0, minutes - at)), POD_0))
    told.append(series(leads, steps((0, at + silent), (1, minutes - at - silent)), POD_1))
    return told


SCENARIOS: dict[str, Scenario] = {
    # The chain itself
    "the switch is always on": Scenario([], "ChecklistDeadMansSwitch", {0: [SWITCH], 60: [SWITCH]}),
    # The exporter
    "the exporter goes down and comes back": Scenario(
        [series("up", steps((1, 10), (0, 20), (1, 30)))],
        "ChecklistExporterDown",
        {9: [], 19: [], 21: [down()], 29: [down()], 37: []},
    ),
    "there is no exporter at all": Scenario([], "ChecklistExporterDown", {9: [], 10: [down()]}),
    "the exporter vanishes from discovery": Scenario(
        [series("up", "1+0x9 stale _x30")], "ChecklistExporterDown", {19: [], 21: [down()]}
    ),
    "no replica is elected": Scenario(
        [part for pod in (POD_0, POD_1) for part in following(10 * 60, pod)],
        "ChecklistExporterDown",
        {
            9: [],
            11: [down("job checklist-exporter in namespace sre", namespace="sre")],
            10 * 60 - 1: [down("job checklist-exporter in namespace sre", namespace="sre")],
        },
    ),
    "a leader that is killed is followed by another": Scenario(
        [*taken_over(("ok", 90)), series("up", steps((1, 30), (0, 60)), POD_0)],
        "ChecklistExporterDown",
        {29: [], 31: [], 45: [], 89: []},
    ),
    "one of two replicas is enough": Scenario(
        [series("up", steps((1, 10), (0, 50)), POD_0), series("up", steps((1, 60)), POD_1)],
        "ChecklistExporterDown",
        {30: [], 59: []},
    ),
    "both replicas are down": Scenario(
        [series("up", steps((1, 10), (0, 50)), pod) for pod in (POD_0, POD_1)],
        "ChecklistExporterDown",
        {30: [down("job checklist-exporter in namespace sre", namespace="sre")]},
    ),
    "one exporter of several vanishes, and comes back": Scenario(
        [
            exporter(120, POD_0 | {"namespace": "other"}),
            without(exporter(120, POD_0), (10, 60)),
        ],
        "ChecklistExporterDown",
        {
            19: [],
            21: [down("job checklist-exporter in namespace sre", namespace="sre")],
            59: [down("job checklist-exporter in namespace sre", namespace="sre")],
            70: [],
        },
    ),
    "the only exporter vanishes, and is told once": Scenario(
        [without(exporter(120, POD_0), (10, 120))],
        "ChecklistExporterDown",
        {
            19: [],
            21: [down("job checklist-exporter in namespace sre", namespace="sre")],
            119: [down("job checklist-exporter in namespace sre", namespace="sre")],
        },
    ),
    "a rollout that changes what the pods carry is no outage": Scenario(
        [
            without(exporter(120, POD_0 | {"pod_template_hash": "1"}), (10, 120)),
            without(exporter(120, POD_1 | {"pod_template_hash": "2"}), (0, 9)),
        ],
        "ChecklistExporterDown",
        {30: [], 119: []},
    ),
    "a restart of the exporter is no outage": Scenario(
        [series("up", steps((1, 10), (0, 3), (1, 30)))], "ChecklistExporterDown", {13: [], 20: []}
    ),
    "the scheduler stalls and goes on": Scenario(
        [series("checklist_scheduler_last_tick_timestamp_seconds", "0+60x10 600+0x20 1860+60x20")],
        "ChecklistSchedulerStalled",
        {10: [], 22: [], 25: [stalled("15m 0s")], 36: []},
    ),
    "the scheduler of one replica stalls and is restarted": Scenario(
        [
            series("checklist_scheduler_last_tick_timestamp_seconds", "0+60x10 600+0x20 1860+60x20", POD_0),
            series("checklist_scheduler_last_tick_timestamp_seconds", "0+60x60", POD_1),
        ],
        "ChecklistSchedulerStalled",
        {10: [], 22: [], 25: [stalled("15m 0s", "warning", namespace="sre")], 36: []},
    ),
    "a scheduler that is scraped every two minutes is not late": Scenario(
        [series("checklist_scheduler_last_tick_timestamp_seconds", "0 _ 110 _ 230 _ 350 _ 470 _ 590 _ 710 _ 830 _ 950 _ 1070")],
        "ChecklistSchedulerStalled",
        {15: [], 18: []},
    ),
    "a replica that stands still says nothing about lines": Scenario(
        [
            exporter(60, POD_0),
            exporter(60, POD_1),
            series("checklist_scheduler_last_tick_timestamp_seconds", "0+60x10 600+0x50", POD_0),
            series("checklist_scheduler_last_tick_timestamp_seconds", "0+60x60", POD_1),
            several(("ok", 14), ("unknown", 46), where=POD_0),
            several(("ok", 60), where=POD_1),
        ],
        "ChecklistSectionUnseen",
        {30: [], 59: []},
    ),
    "beside a replica that stands still the other's regressions are reported": Scenario(
        [
            exporter(60, POD_0),
            exporter(60, POD_1),
            series("checklist_scheduler_last_tick_timestamp_seconds", "0+60x10 600+0x50", POD_0),
            series("checklist_scheduler_last_tick_timestamp_seconds", "0+60x60", POD_1),
            line(("ok", 14), ("unknown", 46), where=POD_0),
            line(("ok", 30), ("failed", 30), where=POD_1),
        ],
        "ChecklistItemRegressed",
        {29: [], 45: [regressed(30, namespace="sre")]},
    ),
    "one of two replicas is down for a day": Scenario(
        [series("up", steps((1, 10), (0, DAY), (1, 30)), POD_0), series("up", steps((1, DAY + 40)), POD_1)],
        "ChecklistReplicaDown",
        {35: [], 45: [replicas_down("1 replica")], DAY: [replicas_down("1 replica")], DAY + 30: []},
        pace=5,
    ),
    "a rollout is no replica that is down": Scenario(
        [series("up", steps((1, 10), (0, 5)) + " stale", POD_0), series("up", steps((1, 60)), POD_1)],
        "ChecklistReplicaDown",
        {45: []},
    ),
    "no replica at all is another alert": Scenario(
        [series("up", steps((1, 10), (0, 50)), pod) for pod in (POD_0, POD_1)], "ChecklistReplicaDown", {59: []}
    ),
    "a line does not arrive": Scenario(
        [series("checklist_items_configured", steps((2, 60))), line(("ok", 60)), line(("ok", 20), item="later"),
         series("checklist_item_info", "1+0x19 stale _x20 1+0x20", section="redis", item="later")],
        "ChecklistItemsMissing",
        {19: [], 30: [], 37: [MISSING], 45: []},
    ),
    "no line arrives": Scenario(
        [series("checklist_items_configured", steps((2, 60)))], "ChecklistItemsMissing", {9: [], 10: [MISSING]}
    ),
    "all lines of two replicas arrive": Scenario(
        [
            part
            for pod in (POD_0, POD_1)
            for part in (
                series("checklist_items_configured", steps((2, 60)), pod),
                several(("ok", 60), count=2, where=pod),
            )
        ],
        "ChecklistItemsMissing",
        {30: []},
    ),
    "replicas of two configurations": Scenario(
        [
            series("checklist_items_configured", steps((1, 60)), POD_0),
            series("checklist_items_configured", steps((1, 60)), POD_1),
            line(("ok", 60), where=POD_0),
            line(("ok", 60), where=POD_1, title="Another title", item_severity="warning"),
        ],
        "ChecklistItemsMissing",
        {30: []},
    ),
    "a reload fails and is mended": Scenario(
        [series("checklist_exporter_config_last_reload_successful", steps((1, 10), (0, 20), (1, 20)))],
        "ChecklistConfigReloadFailed",
        {9: [], 19: [], 20: [RELOAD], 30: []},
    ),
    "history cannot be written and can again": Scenario(
        [series("checklist_exporter_history_ok", steps((1, 10), (0, 30), (1, 20)))],
        "ChecklistHistoryNotKept",
        {9: [], 24: [], 25: [HISTORY], 40: []},
    ),
    # Lines that regress
    "a line regresses and is mended": Scenario(
        [exporter(70), OK_THEN_FAILED],
        "ChecklistItemRegressed",
        {9: [], 19: [], 20: [regressed(10)], 29: [regressed(10)], 38: [regressed(10)], 41: []},
    ),
    "a line that is close to its limit is true": Scenario(
        [exporter(60), line(("ok", 10), ("warning", 50))], "ChecklistItemRegressed", {30: []}
    ),
    "a regression does not end by itself": Scenario(
        [exporter(2 * DAY), line(("ok", 10), ("failed", 2 * DAY - 10))],
        "ChecklistItemRegressed",
        {2 * DAY - 1: [regressed(10)]},
        pace=5,
    ),
    "a line of less weight has its severity": Scenario(
        [exporter(60), line(("ok", 10), ("failed", 50), item_severity="warning")],
        "ChecklistItemRegressed",
        {30: [regressed(10, severity="warning")]},
    ),
    "a line of little weight has its severity": Scenario(
        [exporter(60), line(("ok", 10), ("failed", 50), item_severity="info")],
        "ChecklistItemRegressed",
        {30: [regressed(10, severity="info")]},
    ),
    "what was seen is told": Scenario(
        [
            exporter(60),
            line(("ok", 10), ("failed", 50)),
            series("checklist_item_target_ok", steps((1, 60)), **NAMES, target="cache"),
            series("checklist_item_target_ok", steps((1, 10), (0, 50)), **NAMES, target="queue"),
            series("checklist_item_target_ok", steps((1, 10), (0, 50)), **NAMES, target="sessions"),
            series("checklist_item_measurement", steps((312e6, 60)), **NAMES, measurement="lag_bytes"),
            series("checklist_item_reason", "_x9 1+0x50", **NAMES, reason="limit"),
            series("checklist_item_summary", "_x9 1+0x50", **NAMES, summary="queue: 312 MB behind (limit 64 MB)."),
        ],
        "ChecklistItemRegressed",
        {
            30: [
                regressed(
                    10,
                    "failed (limit) on queue, sessions",
                    more=" queue: 312 MB behind (limit 64 MB). lag_bytes is 312M.",
                )
            ]
        },
    ),
    "without the exporter's address there is no link": Scenario(
        [line(("ok", 10), ("failed", 50))], "ChecklistItemRegressed", {30: [regressed(10, page="")]}
    ),
    "a line that was never true is no regression": Scenario(
        [exporter(60), line(("unknown", 30), ("failed", 30))], "ChecklistItemRegressed", {59: []}
    ),
    "a waived line is no regression, until the waiver ends": Scenario(
        [exporter(60), line(("ok", 10), ("waived", 20), ("failed", 30))],
        "ChecklistItemRegressed",
        {39: [], 45: [regressed(10)]},
    ),
    "the waiver of one replica does not stand for another": Scenario(
        [
            exporter(60, POD_0),
            exporter(60, POD_1),
            line(("ok", 10), ("waived", 50), where=POD_0),
            line(("ok", 10), ("failed", 50), where=POD_1),
        ],
        "ChecklistItemRegressed",
        {9: [], 45: [regressed(10, namespace="sre")]},
    ),
    "a waiver that every replica has stands": Scenario(
        [
            exporter(60, POD_0),
            exporter(60, POD_1),
            line(("ok", 10), ("waived", 50), where=POD_0),
            line(("ok", 10), ("waived", 50), where=POD_1),
        ],
        "ChecklistItemRegressed",
        {45: []},
    ),
    "a restart that keeps its state is no regression": Scenario(
        [
            exporter(60),
            {
                name: " ".join(["1+0x9 stale _ _", steps((float("_ok{" in name or 'status="ok"' in name), 50))])
                for name in line(("ok", 60))
                if "timestamp" not in name and "info" not in name
            },
            series("checklist_item_info", "1+0x9 stale _ _ 1+0x50", title="T", item_severity="critical", **NAMES),
            series("checklist_item_last_ok_timestamp_seconds", "600+0x9 stale _ _ 600+0x50", **NAMES),
        ],
        "ChecklistItemRegressed",
        {11: [], 20: [], 59: []},
    ),
    "a restart that forgets is no regression": Scenario(
        [exporter(60), line(("ok", 10), ("unknown", 8), ("ok", 42), forgets=True)],
        "ChecklistItemRegressed",
        {15: [], 17: [], 30: []},
    ),
    "a restart that forgets ends no regression": Scenario(
        [
            without(
                {**exporter(90), **line(("ok", 10), ("failed", 20), ("unknown", 2), ("failed", 58), forgets=True)}, (28, 30)
            )
        ],
        "ChecklistItemRegressed",
        {19: [], 25: [regressed(10)], 31: [regressed(10, "unknown")], 60: [regressed(10)], 89: [regressed(10)]},
    ),
    "a restart that forgets leaves a backlog what it is": Scenario(
        [without({**exporter(90), **line(("failed", 90))}, (28, 30))], "ChecklistItemRegressed", {60: [], 89: []}
    ),
    "a restart of one replica is no regression": Scenario(
        [exporter(60), line(("ok", 60), where=POD_0), line(("ok", 10), ("unknown", 3), ("ok", 47), where=POD_1)],
        "ChecklistItemRegressed",
        {12: [], 15: [], 59: []},
    ),
    "replicas are told of once, without their names": Scenario(
        [
            part
            for pod in (POD_0, POD_1)
            for part in (exporter(60, pod), line(("ok", 10), ("failed", 50), where=pod))
        ],
        "ChecklistItemRegressed",
        {30: [regressed(10, namespace="sre")]},
    ),
    "what one replica of two sees is told": Scenario(
        [exporter(60, POD_0), line(("ok", 60), where=POD_0), line(("ok", 10), ("failed", 50), where=POD_1)],
        "ChecklistItemRegressed",
        {30: [regressed(60, namespace="sre")]},
    ),
    "lines that follow from others are no cause": Scenario(
        [exporter(60), line(("ok", 10), ("failed", 50), mode="derived")], "ChecklistItemRegressed", {30: []}
    ),
    "a line that passes is no regression when another replica takes over": Scenario(
        taken_over(("ok", 90)), "ChecklistItemRegressed", {29: [], 31: [], 33: [], 45: [], 89: []}
    ),
    "a regression goes on when another replica takes over, and ends there": Scenario(
        taken_over(("ok", 10), ("failed", 40), ("ok", 40)),
        "ChecklistItemRegressed",
        {
            29: [regressed(10, namespace="sre")],
            31: [regressed(10, "", namespace="sre")],
            33: [regressed(10, namespace="sre")],
            49: [regressed(10, namespace="sre")],
            65: [],
        },
    ),
    "a regression that is pending keeps its place when another replica takes over": Scenario(
        taken_over(("ok", 25), ("failed", 65)),
        "ChecklistItemRegressed",
        {34: [], 36: [regressed(25, namespace="sre")], 89: [regressed(25, namespace="sre")]},
    ),
    "a replica that takes over makes no line flap": Scenario(
        taken_over(("ok", 90)), "ChecklistItemFlapping", {45: [], 89: []}
    ),
    "all lines arrive from whichever replica leads": Scenario(
        taken_over(("ok", 90)), "ChecklistItemsMissing", {29: [], 45: [], 89: []}
    ),
    # An exporter that tells nothing for a while: what is wrong is not over because nobody looks
    "scrapes that fail now and then do not make a line wait anew": Scenario(
        [without({**exporter(60), **line(("ok", 10), ("failed", 50))}, *[(m, m + 1) for m in range(12, 60, 5)])],
        "ChecklistItemRegressed",
        {19: [], 20: [regressed(10)], 57: [regressed(10, "")], 58: [regressed(10)]},
    ),
    "a regression lasts while the exporter is away, and ends when it is mended": Scenario(
        [without({**exporter(180), **line(("ok", 10), ("failed", 20), ("ok", 150))}, (25, 120))],
        "ChecklistItemRegressed",
        {24: [regressed(10)], 80: [regressed(10, "")], 129: [regressed(10, "")], 131: []},
    ),
    "a regression that was over does not come back while the exporter is away": Scenario(
        [without({**exporter(180), **line(("ok", 10), ("failed", 20), ("ok", 150))}, (60, 180))],
        "ChecklistItemRegressed",
        {29: [regressed(10)], 59: [], 65: [], 179: []},
    ),
    "an exporter that is away for ever is the alert, not what it told": Scenario(
        [without({**exporter(DAY), **line(("ok", 10), ("failed", DAY - 10))}, (30, DAY))],
        "ChecklistItemRegressed",
        {29: [regressed(10)], 360: [regressed(10, "")], 420: []},
    ),
    "one of two replicas goes away while a line is failed, and it is mended": Scenario(
        [
            without({**exporter(120, POD_0), **line(("ok", 10), ("failed", 110), where=POD_0)}, (30, 120)),
            exporter(120, POD_1),
            line(("ok", 10), ("failed", 50), ("ok", 60), where=POD_1),
        ],
        "ChecklistItemRegressed",
        {29: [regressed(10, namespace="sre")], 59: [regressed(10, namespace="sre")], 75: []},
    ),
    "a section that is taken out of the configuration is told no more": Scenario(
        [exporter(60), without(line(("ok", 10), ("failed", 50)), (30, 60))],
        "ChecklistItemRegressed",
        {29: [regressed(10)], 39: [regressed(10)], 41: []},
    ),
    "lines of an unreachable section are not told one by one while the exporter is away": Scenario(
        [without({**exporter(120), **several(("ok", 10), ("unknown", 110))}, (30, 90))],
        "ChecklistItemRegressed",
        {29: [], 60: [], 89: [], 119: []},
    ),
    "an unreachable section lasts while the exporter is away": Scenario(
        [without({**exporter(180), **several(("ok", 10), ("unknown", 20), ("ok", 150))}, (25, 120))],
        "ChecklistSectionUnseen",
        {24: [unseen(3, "critical")], 80: [unseen(3, "critical")], 129: [unseen(3, "critical")], 131: []},
    ),
    # Sections that cannot be seen
    "an unreachable section is one alert": Scenario(
        [
            exporter(70),
            several(("ok", 10), ("unknown", 20), ("ok", 40)),
            series("checklist_item_target_ok", steps((1, 10), (0, 20), (1, 40)), **NAMES, target="cache"),
            series("checklist_item_reason", "_x9 1+0x20 stale", section="redis", item="line_0", reason="unreachable"),
            series("checklist_item_reason", "1+0x70", section="redis", item="never_ok", reason="not_configured"),
        ],
        "ChecklistSectionUnseen",
        {9: [], 19: [], 20: [unseen(3, "critical", " on cache (unreachable)")], 41: []},
    ),
    "lines of an unreachable section are not told one by one": Scenario(
        [exporter(60), several(("ok", 10), ("unknown", 50))], "ChecklistItemRegressed", {16: [], 59: []}
    ),
    "a line that failed before stays told": Scenario(
        [exporter(60), line(("ok", 10), ("failed", 50)), several(("ok", 20), ("unknown", 40))],
        "ChecklistItemRegressed",
        {59: [regressed(10)]},
    ),
    "an unreachable section of less weight is a ticket": Scenario(
        [exporter(60), several(("ok", 10), ("unknown", 50), severity="warning")],
        "ChecklistSectionUnseen",
        {24: [], 25: [unseen(3, "warning")], 59: [unseen(3, "warning")]},
    ),
    "a single line that cannot be seen is told by itself": Scenario(
        [exporter(60), line(("ok", 10), ("unknown", 50))],
        "ChecklistItemRegressed",
        {30: [regressed(10, "unknown")]},
    ),
    "a single line that cannot be seen is no section": Scenario(
        [exporter(60), line(("ok", 10), ("unknown", 50))], "ChecklistSectionUnseen", {59: []}
    ),
    "a section that was never seen is a backlog": Scenario(
        [exporter(60), several(("unknown", 60))], "ChecklistSectionUnseen", {59: []}
    ),
    # Runs
    "a line is not verified any more, and is again": Scenario(
        [
            exporter(90),
            series("checklist_item_last_run_timestamp_seconds", "0+60x10 600+0x29 2400+60x50", **NAMES),
            series("checklist_item_interval_seconds", steps((60, 90)), **NAMES),
        ],
        "ChecklistItemsNotEvaluated",
        {10: [], 28: [], 29: [not_evaluated("1 line of redis is")], 42: []},
    ),
    "a line that is checked every 15 seconds and scraped every two minutes": Scenario(
        [
            series("checklist_item_last_run_timestamp_seconds", " _ ".join(str(m * 60 - 14) for m in range(2, 60, 2)), **NAMES),
            series("checklist_item_interval_seconds", " _ ".join(["15"] * 29), **NAMES),
        ],
        "ChecklistItemsNotEvaluated",
        {30: [], 55: []},
    ),
    "a line that is verified once a day": Scenario(
        [
            exporter(DAY),
            series("checklist_item_last_run_timestamp_seconds", steps((60, DAY)), **NAMES),
            series("checklist_item_interval_seconds", steps((86400, DAY)), **NAMES),
        ],
        "ChecklistItemsNotEvaluated",
        {DAY - 1: []},
        pace=5,
    ),
    "a line that has not been verified yet": Scenario(
        [
            exporter(90),
            series("checklist_item_last_run_timestamp_seconds", steps((0, 90)), **NAMES),
            series("checklist_item_status_since_timestamp_seconds", steps((600, 90)), **NAMES),
            series("checklist_item_interval_seconds", steps((300, 90)), **NAMES),
        ],
        "ChecklistItemsNotEvaluated",
        {39: [], 41: [not_evaluated("1 line of redis is")]},
    ),
    "a line that nothing verifies": Scenario(
        [exporter(90), series("checklist_item_status_since_timestamp_seconds", steps((60, 90)), **NAMES)],
        "ChecklistItemsNotEvaluated",
        {89: []},
    ),
    "one replica of two verifies": Scenario(
        [
            series("checklist_item_last_run_timestamp_seconds", "0+0x60", POD_0, **NAMES),
            series("checklist_item_last_run_timestamp_seconds", "0+60x60", POD_1, **NAMES),
            *(series("checklist_item_interval_seconds", steps((60, 60)), pod, **NAMES) for pod in (POD_0, POD_1)),
        ],
        "ChecklistItemsNotEvaluated",
        {59: []},
    ),
    "runs end in errors, and no more": Scenario(
        [
            exporter(120),
            series("checklist_item_runs_total", "0+1x120", **NAMES),
            series("checklist_item_run_errors_total", "0+0x10 1+1x49 50+0x60", **NAMES),
        ],
        "ChecklistCollectorErrors",
        {10: [], 30: [], 59: [errors("100%")], 119: []},
    ),
    "some runs end in errors": Scenario(
        [
            exporter(60),
            series("checklist_item_runs_total", "0+10x60", **NAMES),
            series("checklist_item_run_errors_total", "0+1x60", **NAMES),
        ],
        "ChecklistCollectorErrors",
        {59: []},
    ),
    "a section that runs every hour is not told anew after each run": Scenario(
        [
            exporter(360),
            series("checklist_item_interval_seconds", steps((3600, 360)), **NAMES),
            series("checklist_item_runs_total", steps(*((hour, 60) for hour in range(6))), **NAMES),
            series("checklist_item_run_errors_total", steps(*((hour, 60) for hour in range(6))), **NAMES),
        ],
        "ChecklistCollectorErrors",
        {80: [], 100: [], 140: [], 260: []},
    ),
    "counters that begin anew are no errors": Scenario(
        [
            exporter(60),
            series("checklist_item_runs_total", "1000+1x30 0+1x30", **NAMES),
            series("checklist_item_run_errors_total", "0+0x60", **NAMES),
        ],
        "ChecklistCollectorErrors",
        {59: []},
    ),
    "a line keeps changing, and stops": Scenario(
        [exporter(180), line(*[("ok", 5), ("failed", 5)] * 6, ("ok", 120))],
        "ChecklistItemFlapping",
        {
            25: [],
            45: [of_item("info", "redis/pods_healthy changed 9 times within an hour.")],
            179: [],
        },
    ),
    "replicas that restart and judge nothing yet are no flapping": Scenario(
        [
            exporter(120),
            *(line(*told, where=pod) for pod, told in RESTARTS),
            *(pending(*told, where=pod) for pod, told in RESTARTS),
        ],
        "ChecklistItemFlapping",
        {minute: [] for minute in (40, 60, 80, 119)},
    ),
    "replicas that disagree keep changing, whatever another one does not judge yet": Scenario(
        [
            exporter(120, POD_0),
            line(("ok", 10), *[("failed", 5), ("ok", 5)] * 5, ("ok", 60), where=POD_0),
            line(("unknown", 120), where=POD_1),
            pending(("unknown", 120), where=POD_1),
        ],
        "ChecklistItemFlapping",
        {60: [of_item("info", "redis/pods_healthy changed 10 times within an hour.", namespace="sre")]},
    ),
    "one regression is no flapping": Scenario(
        [exporter(70), OK_THEN_FAILED], "ChecklistItemFlapping", {20: [], 40: []}
    ),
    # The backlog
    "lines that were never true": Scenario(
        [exporter(2 * DAY), several(("unknown", DAY + 30), ("ok", DAY - 30))],
        "ChecklistItemsNeverOk",
        {
            DAY - 1: [],
            DAY + 1: [in_section("info", "3 lines of redis have never been OK: not done yet, or not configured.")],
            DAY + 40: [],
        },
        pace=5,
    ),
    "a line that regressed is no backlog": Scenario(
        [exporter(2 * DAY), line(("ok", 10), ("failed", 2 * DAY - 10))], "ChecklistItemsNeverOk", {2 * DAY - 1: []},
        pace=5,
    ),
    "a section falls below its objective and recovers": Scenario(
        [
            exporter(DAY),
            several(("ok", DAY), count=3),
            line(("ok", 60), ("failed", 180), ("ok", DAY - 240)),
            series("checklist_section_objective_ratio", steps((0.95, DAY)), section="redis"),
        ],
        "ChecklistSectionBelowObjective",
        {
            59: [],
            90: [],
            150: [below("84.68%", "95%")],
            290: [],
            DAY - 1: [],
        },
        pace=5,
    ),
    "a section that reaches its objective": Scenario(
        [
            exporter(DAY),
            several(("ok", DAY), count=3),
            line(("failed", DAY)),
            series("checklist_section_objective_ratio", steps((0.75, DAY)), section="redis"),
        ],
        "ChecklistSectionBelowObjective",
        {DAY - 1: []},
        pace=5,
    ),
    "two minutes that failed, with the objective that is the default": Scenario(
        [
            exporter(DAY),
            several(("ok", DAY), count=3),
            line(("ok", 60), ("failed", 2), ("ok", DAY - 62)),
            series("checklist_section_objective_ratio", steps((1, DAY)), section="redis"),
        ],
        "ChecklistSectionBelowObjective",
        {70: [], 100: [], 300: []},
    ),
    "a section that is configured in part": Scenario(
        [
            exporter(DAY),
            several(("ok", DAY), count=3),
            line(("unknown", DAY)),
            series("checklist_section_objective_ratio", steps((1, DAY)), section="redis"),
        ],
        "ChecklistSectionBelowObjective",
        {DAY - 1: []},
        pace=5,
    ),
    "waived lines do not count": Scenario(
        [
            exporter(DAY),
            several(("ok", DAY), count=3),
            line(("waived", DAY)),
            series("checklist_section_objective_ratio", steps((1, DAY)), section="redis"),
        ],
        "ChecklistSectionBelowObjective",
        {DAY - 1: []},
        pace=5,
    ),
    "a section of which nothing was ever true is a backlog": Scenario(
        [
            exporter(DAY),
            line(("unknown", DAY)),
            series("checklist_section_objective_ratio", steps((1, DAY)), section="redis"),
        ],
        "ChecklistSectionBelowObjective",
        {DAY - 1: []},
        pace=5,
    ),
    # What ends
    "evidence is about to end, and is renewed": Scenario(
        [
            exporter(3 * DAY),
            line(("ok", 3 * DAY), mode="evidence"),
            series(
                "checklist_item_evidence_expiry_timestamp_seconds",
                steps((15 * 86400, 2 * DAY), (90 * 86400, DAY)),
                **NAMES,
            ),
        ],
        "ChecklistEvidenceExpiring",
        {DAY - 1: [], DAY + 60: [], DAY + 65: [evidence("expires in 13d 22h 55m 0s; "
            "without a new record the line fails then.")],
         3 * DAY - 1: []},
        pace=5,
    ),
    "evidence ends, and is renewed": Scenario(
        [
            exporter(120),
            line(("ok", 30), ("failed", 30), ("ok", 60), mode="evidence"),
            series("checklist_item_evidence_expiry_timestamp_seconds", steps((1800, 60), (86400, 60)), **NAMES),
        ],
        "ChecklistEvidenceExpired",
        {29: [], 39: [], 40: [evidence("expired 10m 0s ago, so the line fails.")], 60: []},
    ),
    "evidence that ended is told once": Scenario(
        [
            exporter(120),
            line(("ok", 30), ("failed", 90), mode="evidence"),
            series("checklist_item_evidence_expiry_timestamp_seconds", steps((1800, 120)), **NAMES),
        ],
        "ChecklistItemRegressed",
        {119: []},
    ),
    "evidence that is contradicted is a regression": Scenario(
        [
            exporter(120),
            line(("ok", 30), ("failed", 90), mode="evidence"),
            series("checklist_item_evidence_expiry_timestamp_seconds", steps((86400, 120)), **NAMES),
        ],
        "ChecklistItemRegressed",
        {119: [regressed(30, mode="evidence")]},
    ),
    "evidence that ended, with a waiver": Scenario(
        [
            exporter(120),
            line(("ok", 30), ("waived", 90), mode="evidence"),
            series("checklist_item_evidence_expiry_timestamp_seconds", steps((1800, 120)), **NAMES),
        ],
        "ChecklistEvidenceExpired",
        {119: []},
    ),
    "a waiver is about to end, and is prolonged": Scenario(
        [
            exporter(3 * DAY),
            series("checklist_item_waiver_expiry_timestamp_seconds", steps((15 * 86400, 2 * DAY), (90 * 86400, DAY)), **NAMES),
        ],
        "ChecklistWaiverExpiring",
        {
            DAY - 1: [],
            DAY + 65: [of_item("warning", "The waiver of redis/pods_healthy expires in 13d 22h 55m 0s; "
            "after that the line counts again.")],
            3 * DAY - 1: [],
        },
        pace=5,
    ),
    "a waiver ends, and is taken away": Scenario(
        [
            exporter(120),
            series("checklist_item_waiver_expiry_timestamp_seconds", "1800+0x59 stale", **NAMES),
        ],
        "ChecklistWaiverExpired",
        {
            39: [],
            40: [
                of_item("warning", "The waiver of redis/pods_healthy expired 10m 0s ago, so the line counts again.")
            ],
            61: [],
        },
    ),
    # Maintenance
    "a line is under maintenance": Scenario(
        [
            exporter(60),
            line(("ok", 10), ("failed", 50)),
            series("checklist_item_maintenance_end_timestamp_seconds", "2400+0x39 stale", **NAMES),
        ],
        "ChecklistItemMaintenance",
        {
            0: [maintained("40m 0s")],
            39: [maintained("1m 0s")],
            40: [],
        },
    ),
    "maintenance ends in time though the exporter is silent": Scenario(
        [
            without(exporter(60), (20, 60)),
            without(line(("ok", 60)), (20, 60)),
            without(series("checklist_item_maintenance_end_timestamp_seconds", steps((2400, 60)), **NAMES), (20, 60)),
        ],
        "ChecklistItemMaintenance",
        {39: [maintained("1m 0s")], 40: []},
    ),
    "a line that fails under maintenance fires underneath, and on when it ends": Scenario(
        [
            exporter(60),
            line(("ok", 10), ("failed", 50)),
            series("checklist_item_maintenance_end_timestamp_seconds", "2400+0x39 stale", **NAMES),
        ],
        "ChecklistItemRegressed",
        {19: [], 21: [regressed(10)], 39: [regressed(10)], 40: [regressed(10)]},
    ),
    "a section is under maintenance, until another line of it regresses": Scenario(
        [
            exporter(60),
            line(("ok", 10), ("unknown", 50)),
            line(("ok", 30), ("failed", 30), item="other"),
            series("checklist_item_maintenance_end_timestamp_seconds", steps((3600, 60)), **NAMES),
        ],
        "ChecklistSectionMaintenance",
        {0: [section_maintained()], 29: [section_maintained()], 31: []},
    ),
    "lines under maintenance do not count": Scenario(
        [
            exporter(DAY),
            several(("ok", DAY), count=3),
            line(("ok", 10), ("failed", DAY - 10)),
            series("checklist_item_maintenance_end_timestamp_seconds", steps((2 * DAY * 60, DAY)), **NAMES),
            series("checklist_section_objective_ratio", steps((1, DAY)), section="redis"),
        ],
        "ChecklistSectionBelowObjective",
        {DAY - 1: []},
        pace=5,
    ),
    # Causes
    "a line and what depends on it fail, and pass again: one alert, which names both": Scenario(
        [exporter(90), line(("ok", 10), ("failed", 50), ("ok", 30)), caused(("ok", 11), ("failed", 50), ("ok", 29)),
         because((11, 60))],
        "ChecklistItemRegressed",
        {19: [], 21: [regressed(10, more=ONE_EFFECT)], 45: [regressed(10, more=ONE_EFFECT)], 59: [regressed(10, more=ONE_EFFECT)],
         65: [regressed(10, more=ONE_EFFECT)], 72: []},
    ),
    "a cause ends first: what still fails has its alert after the usual wait": Scenario(
        [exporter(90), line(("ok", 10), ("failed", 30), ("ok", 50)), caused(("ok", 10), ("failed", 60), ("ok", 20)),
         because((10, 40))],
        "ChecklistItemRegressed",
        {39: [regressed(10, more=ONE_EFFECT)], 49: [regressed(10, more=ONE_EFFECT)], 51: [dependent(10)],
         69: [dependent(10)], 81: []},
    ),
    "a dependent that has its alert already keeps it, until it passes": Scenario(
        [exporter(120), line(("ok", 25), ("failed", 55), ("ok", 40)), caused(("ok", 10), ("failed", 50), ("ok", 60)),
         because((25, 60))],
        "ChecklistItemRegressed",
        {21: [dependent(10)], 30: [dependent(10, more=DUE_TO_REDIS)],
         50: [dependent(10, more=DUE_TO_REDIS), regressed(25, more=ONE_EFFECT)], 71: [regressed(25)], 91: []},
    ),
    "a dependent that fails a little earlier than its cause is seen to waits for it": Scenario(
        [exporter(60), line(("ok", 15), ("failed", 45)), caused(("ok", 10), ("failed", 50)), because((15, 60))],
        "ChecklistItemRegressed",
        {22: [], 26: [regressed(15, more=ONE_EFFECT)], 59: [regressed(15, more=ONE_EFFECT)]},
    ),
    "a cause that comes and goes keeps nobody waiting for ever": Scenario(
        [exporter(90), line(("ok", 10), *[("failed", 4), ("ok", 4)] * 10), caused(("ok", 10), ("failed", 80)),
         because(*((minute, minute + 4) for minute in range(10, 90, 8)))],
        "ChecklistItemRegressed",
        {25: [], 40: [dependent(10)], 85: [dependent(10, more=DUE_TO_REDIS)]},
    ),
    "a cause that is waived alerts nobody, so its dependent does": Scenario(
        [exporter(60), line(("ok", 10), ("waived", 50)), caused(("ok", 10), ("failed", 50)), because((10, 60))],
        "ChecklistItemRegressed",
        {19: [], 21: [dependent(10, more=DUE_TO_REDIS)]},
    ),
    "a cause that was never OK alerts nobody, so its dependent does": Scenario(
        [exporter(60), line(("failed", 60)), caused(("ok", 10), ("failed", 50)), because((10, 60))],
        "ChecklistItemRegressed",
        {21: [dependent(10, more=DUE_TO_REDIS)]},
    ),
    "a cause that a reload removes leaves its dependent to alert": Scenario(
        [exporter(60), without(line(("ok", 10), ("failed", 50)), (30, 60)), caused(("ok", 10), ("failed", 50)),
         because((10, 30))],
        "ChecklistItemRegressed",
        {29: [regressed(10, more=ONE_EFFECT)], 45: [dependent(10)]},
    ),
    "many dependents are named as far as one can read, and counted": Scenario(
        [exporter(60), line(("ok", 10), ("failed", 50)), *(
            part for number in range(12) for part in (
                caused(("ok", 10), ("failed", 50), item=f"line_{number:02}"), because((10, 60), item=f"line_{number:02}")
            ))],
        "ChecklistItemRegressed",
        {30: [regressed(10, more=" Because of it 12 lines do not pass: " + ", ".join(
            f"smoke_tests/line_{number:02}" for number in range(10)) + ", ….")]},
    ),
    "an exporter without a history restarts while a cause holds": Scenario(
        [exporter(60),
         line(("ok", 10), ("failed", 20), ("unknown", 2), ("failed", 28), forgets=True),
         caused(("ok", 10), ("failed", 20), ("unknown", 2), ("failed", 28), forgets=True),
         because((10, 30))],
        "ChecklistItemRegressed",
        {29: [regressed(10, more=ONE_EFFECT)], 31: [regressed(10, "unknown", more=ONE_EFFECT)],
         59: [regressed(10, more=ONE_EFFECT)]},
    ),
    "two replicas of which one restarts while a cause holds": Scenario(
        [exporter(60, POD_0), exporter(60, POD_1),
         *(part for pod, values in ((POD_0, (10, 60)), (POD_1, (10, 20))) for part in (
             line(("ok", 10), ("failed", 50), where=pod), caused(("ok", 10), ("failed", 50), where=pod),
             because(values, where=pod)))],
        "ChecklistItemRegressed",
        {59: [regressed(10, more=ONE_EFFECT, namespace="sre")]},
    ),
    "a cause stays while the exporter is silent": Scenario(
        [without(one, (20, 60)) for one in (
            exporter(60), line(("ok", 10), ("failed", 50)), caused(("ok", 10), ("failed", 50)), because((10, 60)))],
        "ChecklistItemRegressed",
        {19: [], 21: [regressed(10, "", more=ONE_EFFECT)], 55: [regressed(10, "", more=ONE_EFFECT)]},
    ),
    "sections that can no longer be checked because of one line": Scenario(
        [exporter(60), line(("ok", 10), ("unknown", 50)), *(
            part for number in range(3) for part in (
                caused(("ok", 10), ("unknown", 50), item=f"line_{number}"), because((10, 60), item=f"line_{number}")))],
        "ChecklistSectionUnseen",
        {30: [], 59: []},
    ),
    "of a section whose lines have a cause another line can no longer be checked": Scenario(
        [exporter(60), line(("ok", 10), ("unknown", 50)), caused(("ok", 10), ("unknown", 50), item="other"), *(
            part for number in range(3) for part in (
                caused(("ok", 10), ("unknown", 50), item=f"line_{number}"), because((10, 60), item=f"line_{number}")))],
        "ChecklistItemRegressed",
        {30: [
            regressed(10, "unknown", more=" Because of it 3 lines do not pass: "
                "smoke_tests/line_0, smoke_tests/line_1, smoke_tests/line_2."),
            Alert({**regressed(10).labels, "section": "smoke_tests", "item": "other"},
                "“Pods are healthy” (smoke_tests/other) is unknown; last OK 1970-01-01 00:10:00 +0000 UTC.",
                f"{URL}/items/smoke_tests/other"),
        ]},
    ),
    "a section that can no longer be checked is a cause": Scenario(
        [exporter(60), line(("ok", 10), ("unknown", 50)), line(("ok", 10), ("unknown", 50), item="other"),
         caused(("ok", 10), ("failed", 50)), because((10, 60))],
        "ChecklistSectionUnseen",
        {21: [Alert(unseen(2, "critical").labels, unseen(2, "critical").description
            + " Because of them 1 line does not pass: smoke_tests/cache_read_write.", SECTION)]},
    ),
    "and its dependents have no alerts": Scenario(
        [exporter(60), line(("ok", 10), ("unknown", 50)), line(("ok", 10), ("unknown", 50), item="other"),
         caused(("ok", 10), ("failed", 50)), because((10, 60))],
        "ChecklistItemRegressed",
        {21: [], 45: [], 59: []},
    ),
    "lines of less weight that can no longer be checked are a cause, though they alert later": Scenario(
        [exporter(60), *(part for number in range(2) for part in (
            line(("ok", 10), ("unknown", 50), item=("pods_healthy", "other")[number], item_severity="warning"),
            caused(("ok", 9), ("unknown", 51), item=f"line_{number}", item_severity="warning"),
            because((10, 60), item=f"line_{number}")))],
        "ChecklistSectionUnseen",
        {24: [], 45: [Alert(unseen(2, "warning").labels, unseen(2, "warning").description
            + " Because of them 2 lines do not pass: smoke_tests/line_0, smoke_tests/line_1.", SECTION)]},
    ),
    "a section with lines under maintenance and others that have causes": Scenario(
        [exporter(60), line(("ok", 10), ("failed", 50)), caused(("ok", 10), ("failed", 50)), because((10, 60)),
         caused(("ok", 10), ("failed", 50), item="moved"),
         series("checklist_item_maintenance_end_timestamp_seconds", steps((3600, 60)), section="smoke_tests", item="moved")],
        "ChecklistSectionCaused",
        {9: [], 12: [section_caused()], 59: [section_caused()]},
    ),
    "a section whose lines have causes is marked, until another line of it regresses": Scenario(
        [exporter(60), line(("ok", 10), ("failed", 50)), caused(("ok", 10), ("failed", 50)), because((10, 60)),
         caused(("ok", 40), ("failed", 20), item="other")],
        "ChecklistSectionCaused",
        {9: [], 12: [section_caused()], 39: [section_caused()], 41: []},
    ),
}  # fmt: skip


@pytest.mark.parametrize("release", [OLD, NEW])
@pytest.mark.parametrize("name", SCENARIOS)
def test_alert(name: str, release: str, tmp_path: Path) -> None:
    play(SCENARIOS[name], release, tmp_path)


def test_every_alert_is_seen_to_fire_not_to_fire_and_to_end() -> None:
    fires = {scenario.alert for scenario in SCENARIOS.values() if any(scenario.at.values())}
    rests = {scenario.alert for scenario in SCENARIOS.values() if not all(scenario.at.values())}
    ends = {s.alert for s in SCENARIOS.values() if any(s.at.values()) and not list(s.at.values())[-1]}
    assert fires == declared().keys()
    assert rests == ends == declared().keys() - {"ChecklistDeadMansSwitch"}


def test_targets_of_the_scenarios_are_what_prometheus_adds() -> None:
    assert target().keys() == {"job", "instance"}
    assert POD_0.keys() == {"job", "instance", "namespace", "pod", "container", "endpoint", "service"}
