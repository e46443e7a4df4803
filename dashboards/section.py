"""*Section*: each line of one section over time, its targets, measurements and the duration of checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders

from dashboards import queries as q
from dashboards.parts import (
    GREEN,
    ITEM_LINK,
    ORANGE,
    RED,
    RUNBOOK_LINK,
    YELLOW,
    Query,
    columns,
    curves,
    frame,
    number,
    states,
    status_texts,
    steps,
    variable,
    yes_no,
)

__all__ = ["dashboard"]

_CHOSEN = 'section="$section"'
#: What names of measurements end in, which is their unit; the last is for all others.
_UNITS = (("_bytes", "bytes"), ("_seconds", "s"), ("_ratio", "percentunit"))


def dashboard() -> builders.Dashboard:
    """One section, chosen above it."""
    made = frame(
        "checklist-section",
        "Checklist / Section",
        "Each line of one section over time: its status, its targets, measurements and the duration of checks.",
        variable("section", "checklist_item_info", "section"),
    )
    for panel in _panels():
        made.with_panel(panel)
    return made


def _panels() -> Iterator[Any]:
    yield number(
        "Lines passing",
        "Share of the section's applicable lines that pass now.",
        f"sum({q.ok(_CHOSEN)}) / count({q.ok(_CHOSEN)})",
        unit="percentunit",
        thresholds=steps((None, RED), (0.8, ORANGE), (0.95, YELLOW), (1, GREEN)),
        size=(6, 4),
    )
    yield number(
        "Objective",
        "Share of the section's lines that should pass.",
        f"max({q.select('checklist_section_objective_ratio', _CHOSEN)})",
        unit="percentunit",
        size=(6, 4),
    )
    yield number(
        "Targets with failing lines",
        "Targets of the section on which at least one line does not pass.",
        f"count(min by (job, target) ({q.select('checklist_item_target_ok', _CHOSEN)}) == 0) "
        f"or 0 * max({q.select('checklist_items_configured')})",
        thresholds=steps((None, GREEN), (1, RED)),
        size=(6, 4),
    )
    yield number(
        "Oldest result",
        "Age of the oldest result among the section's lines.",
        f"time() - min({q.per_line('checklist_item_last_run_timestamp_seconds', _CHOSEN)} > 0)",
        unit="s",
        size=(6, 4),
    )
    yield states(
        "Lines over time",
        "The status of each line.",
        Query(q.status_code("job, item", _CHOSEN), "{{item}}"),
        texts=status_texts(),
        size=(24, 10),
    )
    yield _lines()
    yield states(
        "Targets over time",
        "Whether each line passed on each target.",
        Query(f"min by (job, target, item) ({q.select('checklist_item_target_ok', _CHOSEN)})", "{{target}}: {{item}}"),
        texts=yes_no(),
        size=(24, 10),
    )
    yield from _measurements()
    yield curves(
        "Duration of checks",
        "How long the last check of each line took, on its slowest target.",
        Query(q.per_line("checklist_item_run_duration_seconds", _CHOSEN), "{{item}}"),
        unit="s",
    )
    yield curves(
        "Errors",
        "Share of the checks of each line that ended in an error instead of a verdict.",
        Query(
            f"sum by ({q.LINE}) (rate({q.select('checklist_item_run_errors_total', _CHOSEN)}[$__rate_interval])) "
            f"/ (sum by ({q.LINE}) (rate({q.select('checklist_item_runs_total', _CHOSEN)}[$__rate_interval])) > 0)",
            "{{item}}",
        ),
        unit="percentunit",
        most=1,
    )


def _lines() -> Any:
    return columns(
        "Lines now",
        "Each line with its status, since when it has it, and when it was last checked and last OK. Each links to its page.",
        {
            "status": q.with_info(q.status_code(q.LINE, _CHOSEN), _CHOSEN),
            "since": q.with_info(
                f"1000 * {q.per_line('checklist_item_status_since_timestamp_seconds', _CHOSEN)}", _CHOSEN
            ),
            "run": q.with_info(
                f"1000 * ({q.per_line('checklist_item_last_run_timestamp_seconds', _CHOSEN)} > 0)", _CHOSEN
            ),
            "true": q.with_info(
                f"1000 * ({q.per_line('checklist_item_last_ok_timestamp_seconds', _CHOSEN)} > 0)", _CHOSEN
            ),
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
            "run": "Last checked",
            "true": "Last OK",
            "runbook_url": "Runbook",
        },
        units=dict.fromkeys(("Since", "Last checked", "Last OK"), "dateTimeFromNow"),
        texts={"Status": status_texts()},
        links={"Line": ITEM_LINK, "Runbook": RUNBOOK_LINK},
        sort="Line",
        size=(24, 10),
    )


def _measurements() -> Iterator[Any]:
    for ending, unit in _UNITS:
        yield _measured(f"Measured: {ending[1:]}", f'measurement=~".+{ending}"', unit)
    others = "|".join(f".*{ending}" for ending, _ in _UNITS)
    yield _measured("Measured: counts", f'measurement!~"{others}"', "none")


def _measured(title: str, matcher: str, unit: str) -> Any:
    values = f"max by ({q.LINE}, measurement) ({q.select('checklist_item_measurement', _CHOSEN, matcher)})"
    return curves(
        title,
        "Measurements on the deciding target. The limit is an option of the section and is named in the line's verdict.",
        Query(values, "{{item}}: {{measurement}}"),
        unit=unit,
        least=None,
        most=None,
    )
