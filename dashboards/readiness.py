"""*Readiness*: how much of the checklist is true now and was before, what regressed, what ends soon, and whether to launch."""

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
    """The critical lines that are neither true nor waived."""
    return f"{_of_severity(f'({q.ok()} == 0)', 'critical')} unless {q.waived()}"


def dashboard() -> builders.Dashboard:
    """The first dashboard to look at."""
    made = frame(
        "checklist-readiness",
        "Checklist / Readiness",
        "How much of the production checklist is true now, what is no longer, and what ends soon.",
    )
    for panel in (*_now(), *_over_time()):
        made.with_panel(panel)
    made.with_panel(_regressions()).with_panel(_by_section())
    for panel in _ending():
        made.with_panel(panel)
    return made


def _now() -> tuple[stat.Panel, ...]:
    bad = steps((None, GREEN), (1, RED))
    known = f"count({q.per_line('checklist_item_info')})"
    configured = f"sum(max by (job) ({q.select('checklist_items_configured')}))"
    critical = f"count({_of_severity(q.ok(), 'critical')})"
    return (
        number(
            "Launch",
            "GO when every critical line is true, or accepted by a waiver that has not ended. No data while lines are missing, or "
            "when no line that applies is critical.",
            f"(({_count(_blocking())}) == bool 0) and on () ({known} == {configured}) and on () {critical}",
            texts={"1": ("GO", GREEN), "0": ("NO-GO", RED)},
        ),
        number(
            "Lines that are true",
            "Share of the lines that apply and are true now. Waived lines are not true.",
            f"sum({q.ok()}) / count({q.ok()})",
            unit="percentunit",
            thresholds=steps((None, RED), (0.8, ORANGE), (0.95, YELLOW), (1, GREEN)),
        ),
        number(
            "Critical lines not true",
            "Critical lines that are neither true nor waived: what stands between now and a launch.",
            _count(_blocking()),
            thresholds=bad,
        ),
        number(
            "Regressed",
            "Lines that were true once, are not now, and are not waived.",
            _count(q.regressed()),
            thresholds=bad,
        ),
        number(
            "Regressed within a day",
            "Regressed lines whose status changed within the last 24 hours.",
            _count(
                f"({q.per_line('checklist_item_status_since_timestamp_seconds')} > time() - {_DAY}) "
                f"and on ({q.LINE}) ({q.regressed()})"
            ),
            thresholds=steps((None, GREEN), (1, ORANGE)),
        ),
        number(
            "Not seen",
            "Lines that are unknown: unreachable, forbidden, not configured, or verified by nothing yet.",
            _count(f"{q.status('unknown')} == 1"),
            thresholds=steps((None, GREEN), (1, PURPLE)),
        ),
    )


def _over_time() -> tuple[timeseries.Panel, ...]:
    severities = ("critical", "warning", "info")
    applying = q.select("checklist_item_status", 'status!="not_applicable"')
    colours = {name: colour for name, colour in statuses().items() if name != "not_applicable"}
    return (
        curves(
            "True lines by severity",
            "Share of the lines of each severity that were true.",
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
            "How many lines had which status.",
            Query(
                f"sum by (status) (max by ({q.LINE}, status) ({applying}))",
                "{{status}}",
            ),
            stacked=True,
            colours=colours,
        ),
    )


def _regressions() -> table.Panel:
    return columns(
        "Was true, is not now",
        "Every regressed line, since when it has its status and when it was last true. The line links to what was seen.",
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
            "true": "Last true",
            "runbook_url": "Runbook",
        },
        units={"Since": "dateTimeFromNow", "Last true": "dateTimeFromNow"},
        texts={"Status": status_texts()},
        links={"Line": ITEM_LINK, "Section": SECTION_LINK, "Runbook": RUNBOOK_LINK},
        sort="Since",
        newest_first=True,
        size=(16, 16),
    )


def _by_section() -> bargauge.Panel:
    true = f"sum by (job, section) ({q.ok()}) / count by (job, section) ({q.ok()})"
    wanted = f"max by (job, section) ({q.select('checklist_section_objective_ratio')})"
    return bars(
        "Sections against their objectives",
        "Share of each section's lines that are true, as part of the share that its objective demands: 100 % is reached.",
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
            "Evidence that ends",
            "Lines that rest on evidence, and when that ends or has ended: the first to end first. Attest anew before that.",
            q.with_info(f"1000 * {ends}"),
            unit="none",
            names={**common, "Value": "Ends"},
            units={"Ends": "dateTimeFromNow"},
            links=links,
            sort="Ends",
        ),
        columns(
            "Waivers",
            "Lines that a waiver accepts as they are, and when it ends; a waiver that is not needed any more has status ok.",
            {
                "status": q.with_info(f"{q.status_code(q.LINE)} and on ({q.LINE}) ({waiver})"),
                "ends": q.with_info(f"1000 * {waiver}"),
            },
            unit="none",
            names={**common, "status": "Status", "ends": "Ends"},
            units={"Ends": "dateTimeFromNow"},
            texts={"Status": status_texts()},
            links=links,
            sort="Ends",
        ),
    )
