"""*Readiness*: whether to launch and what blocks it, how much of the checklist passes now and did before, what expires soon."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders

from dashboards import queries as q
from dashboards.parts import (
    BLUE,
    GREEN,
    ITEM_LINK,
    ORANGE,
    PURPLE,
    RED,
    RUNBOOK_LINK,
    SECTION_LINK,
    YELLOW,
    DataLink,
    Query,
    bars,
    columns,
    curves,
    frame,
    number,
    status_texts,
    statuses,
    steps,
)

__all__ = ["dashboard"]

_DAY = 86400


def _of_severity(values: str, severity: str) -> str:
    """The values of the lines of one severity."""
    chosen = q.per_line("checklist_item_info", f'item_severity="{severity}"')
    return f"{values} and on ({q.LINE}) {chosen}"


def _count(values: str) -> str:
    """How many; 0 where there are none while the exporter is there."""
    none = f"0 * max({q.select('checklist_items_configured')})"
    return f"count({values}) or {none}"


def _blocking() -> str:
    """The critical lines that neither pass nor are waived."""
    return _of_severity(q.failing(), "critical")


def dashboard() -> builders.Dashboard:
    """The first dashboard to look at."""
    made = frame(
        "checklist-readiness",
        "Checklist / Readiness",
        "Whether to launch and what blocks it, what regressed, and what expires soon.",
    )
    for panel in (*_now(), _blockers(), *_over_time()):
        made.with_panel(panel)
    made.with_panel(_regressions()).with_panel(_by_section()).with_panel(_causes())
    for panel in _ending():
        made.with_panel(panel)
    return made


def _page(filters: str) -> DataLink:
    """The exporter's own page with these filters."""
    return DataLink("Lines on the checklist's page", f"${{url}}/{filters}")


def _now() -> tuple[stat.Panel, ...]:
    bad = steps((None, GREEN), (1, RED))
    known = f"count({q.per_line('checklist_item_info')})"
    configured = f"sum(max by (job) ({q.select('checklist_items_configured')}))"
    critical = f"count({_of_severity(q.ok(), 'critical')})"
    return (
        number(
            "Launch",
            "GO when every critical line passes or is accepted by a waiver that has not expired. No data while lines are missing "
            "or no applicable line is critical.",
            f"(({_count(_blocking())}) == bool 0) and on () ({known} == {configured}) and on () {critical}",
            texts={"1": ("GO", GREEN), "0": ("NO-GO", RED)},
            link=_page(""),
        ),
        number(
            "Lines passing",
            "Share of the applicable lines that pass now. Waived lines do not pass.",
            f"sum({q.ok()}) / count({q.ok()})",
            unit="percentunit",
            thresholds=steps((None, RED), (0.8, ORANGE), (0.95, YELLOW), (1, GREEN)),
            link=_page("#lines"),
        ),
        number(
            "Blocking lines",
            "Critical lines that neither pass nor are waived: they block the launch.",
            _count(_blocking()),
            thresholds=bad,
            link=_page("?severity=critical&status=failed#lines"),
        ),
        number(
            "Regressions",
            "Lines that were OK once, are not now, and are not waived.",
            _count(q.regressed()),
            thresholds=bad,
            link=_page("?status=failed#lines"),
        ),
        number(
            "Regressions within a day",
            "Regressed lines whose status changed within the last 24 hours.",
            _count(
                f"({q.per_line('checklist_item_status_since_timestamp_seconds')} > time() - {_DAY}) "
                f"and on ({q.LINE}) ({q.regressed()})"
            ),
            thresholds=steps((None, GREEN), (1, ORANGE)),
            link=_page("?status=failed#lines"),
        ),
        number(
            "Unknown",
            "Lines that could not be checked: unreachable, denied, not configured, or not verified by anything yet.",
            _count(f"{q.status('unknown')} == 1"),
            thresholds=steps((None, GREEN), (1, PURPLE)),
            link=_page("?status=unknown#lines"),
        ),
    )


def _over_time() -> tuple[timeseries.Panel, ...]:
    severities = ("critical", "warning", "info")
    colours = {name: colour for name, colour in statuses().items() if name != "not_applicable"}
    return (
        curves(
            "Lines passing by severity",
            "Share of the lines of each severity that passed.",
            *(
                Query(
                    f"sum({_of_severity(q.ok(), severity)}) / count({_of_severity(q.ok(), severity)})",
                    severity,
                )
                for severity in severities
            ),
            unit="percentunit",
            colours=dict(zip(severities, (RED, ORANGE, BLUE), strict=True)),
            most=1,
        ),
        curves(
            "Lines by status",
            "How many lines were in each status; of replicas that differ, the most pressing one.",
            *(
                Query(f"count({q.status_code(q.LINE)} == {code})", name)
                for code, name in enumerate(q.STATUSES)
                if name in colours
            ),
            stacked=True,
            colours=colours,
        ),
    )


def _blockers() -> table.Panel:
    return columns(
        "Lines that block the launch",
        "Critical lines that neither pass nor are waived, whether they ever passed or not. Each links to its page.",
        {
            "status": q.with_info(f"{q.status_code(q.LINE)} and on ({q.LINE}) ({_blocking()})"),
            "since": q.with_info(
                f"1000 * {q.per_line('checklist_item_status_since_timestamp_seconds')} and on ({q.LINE}) ({_blocking()})"
            ),
        },
        unit="none",
        names={
            "title": "Line",
            "status": "Status",
            "section": "Section",
            "item": "Item",
            "team": "Team",
            "since": "Since",
            "runbook_url": "Runbook",
        },
        units={"Since": "dateTimeFromNow"},
        texts={"Status": status_texts()},
        links={"Line": ITEM_LINK, "Section": SECTION_LINK, "Runbook": RUNBOOK_LINK},
        sort="Section",
        size=(24, 10),
    )


def _regressions() -> table.Panel:
    return columns(
        "Regressed lines",
        "Lines that were OK and are not now, since when, and when they were last OK. Each links to its page.",
        {
            "status": q.with_info(f"{q.status_code(q.LINE)} and on ({q.LINE}) ({q.regressed()})"),
            "since": q.with_info(
                f"1000 * {q.per_line('checklist_item_status_since_timestamp_seconds')} and on ({q.LINE}) ({q.regressed()})"
            ),
            "true": q.with_info(f"1000 * ({q.regressed()})"),
        },
        unit="none",
        names={
            "title": "Line",
            "status": "Status",
            "item_severity": "Severity",
            "section": "Section",
            "item": "Item",
            "team": "Team",
            "since": "Since",
            "true": "Last OK",
            "runbook_url": "Runbook",
        },
        units={"Since": "dateTimeFromNow", "Last OK": "dateTimeFromNow"},
        texts={"Status": status_texts()},
        links={"Line": ITEM_LINK, "Section": SECTION_LINK, "Runbook": RUNBOOK_LINK},
        sort="Since",
        newest_first=True,
        size=(16, 16),
    )


def _causes() -> table.Panel:
    of = f"max by ({q.LINE}, cause_section, cause_item) ({q.select('checklist_item_cause')})"
    since = q.with_info(f"1000 * {q.per_line('checklist_item_status_since_timestamp_seconds')}")
    return columns(
        "Causes",
        "Lines that do not pass because of another line, whose notification names them. Fix the cause first.",
        f"{of} * on ({q.LINE}) group_left ({q.INFO_LABELS}) ({since})",
        unit="none",
        names={
            "cause_section": "Cause: section",
            "cause_item": "Cause: item",
            "title": "Line",
            "item_severity": "Severity",
            "section": "Section",
            "item": "Item",
            "team": "Team",
            "Value": "Since",
        },
        units={"Since": "dateTimeFromNow"},
        links={"Line": ITEM_LINK, "Section": SECTION_LINK},
        sort="Cause: section",
        size=(24, 8),
    )


def _by_section() -> bargauge.Panel:
    true = f"sum by (job, section) ({q.ok()}) / count by (job, section) ({q.ok()})"
    wanted = f"max by (job, section) ({q.select('checklist_section_objective_ratio')})"
    return bars(
        "Sections against their objectives",
        "Share of each section's lines that pass, relative to its objective: 100 % means that the objective is reached.",
        Query(f"sort(clamp_max(({true}) / ({wanted} > 0), 1))", "{{section}}"),
        thresholds=steps((None, RED), (0.5, ORANGE), (0.8, YELLOW), (1, GREEN)),
        size=(8, 16),
    )


def _ending() -> tuple[table.Panel, table.Panel]:
    common = {"title": "Line", "section": "Section", "item": "Item", "item_severity": "Severity", "team": "Team"}
    ends = q.per_line("checklist_item_evidence_expiry_timestamp_seconds", take="min")
    waiver = q.per_line("checklist_item_waiver_expiry_timestamp_seconds")
    links = {"Line": ITEM_LINK, "Section": SECTION_LINK}
    return (
        columns(
            "Evidence expiry",
            "Lines that rest on evidence, and when it expires or expired: soonest first. Renew it before that.",
            q.with_info(f"1000 * {ends}"),
            unit="none",
            names={**common, "Value": "Expires"},
            units={"Expires": "dateTimeFromNow"},
            links=links,
            sort="Expires",
        ),
        columns(
            "Waivers",
            "Lines that a waiver accepts, and when it expires; a waiver that is no longer needed has status ok.",
            {
                "status": q.with_info(f"{q.status_code(q.LINE)} and on ({q.LINE}) ({waiver})"),
                "ends": q.with_info(f"1000 * {waiver}"),
            },
            unit="none",
            names={**common, "status": "Status", "ends": "Expires"},
            units={"Expires": "dateTimeFromNow"},
            texts={"Status": status_texts()},
            links=links,
            sort="Expires",
        ),
    )
