"""*Exporter*: whether the exporter itself works: runs, errors, lag, resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders

from dashboards import queries as q
from dashboards.parts import GREEN, ORANGE, RED, YELLOW, Query, columns, curves, frame, number, states, steps, yes_no

__all__ = ["dashboard"]


def dashboard() -> builders.Dashboard:
    """The exporter itself."""
    made = frame(
        "checklist-exporter",
        "Checklist / Exporter",
        "Whether checklist-exporter itself works: runs, errors, lag and resources.",
    )
    for panel in _panels():
        made.with_panel(panel)
    return made


def _panels() -> Iterator[Any]:
    yield from _now()
    yield states(
        "Up",
        "Whether Prometheus could scrape each replica.",
        Query(f"max by (job, instance) ({q.select('up')})", "{{instance}}"),
        texts=yes_no("up", "down"),
        size=(12, 6),
    )
    yield columns(
        "Versions",
        "What each replica runs.",
        f"max by (job, instance, version, revision, python_version) ({q.select('checklist_exporter_build_info')})",
        unit="none",
        names={
            "job": "Job",
            "instance": "Instance",
            "version": "Version",
            "revision": "Revision",
            "python_version": "Python",
        },
        size=(12, 6),
    )
    yield curves(
        "Checks",
        "Checks of lines per second, over all targets, by section.",
        Query(f"sum by (section) (rate({q.select('checklist_item_runs_total')}[$__rate_interval]))", "{{section}}"),
        unit="ops",
    )
    yield curves(
        "Errors",
        "Checks per second that ended in an error instead of a verdict, by section.",
        Query(
            f"sum by (section) (rate({q.select('checklist_item_run_errors_total')}[$__rate_interval]))", "{{section}}"
        ),
        unit="ops",
    )
    yield curves(
        "Slowest check of each section",
        "How long the last check of each section's slowest line took.",
        Query(f"max by (section) ({q.select('checklist_item_run_duration_seconds')})", "{{section}}"),
        unit="s",
    )
    yield curves(
        "Age of results in intervals",
        "Age of each section's oldest result in intervals of its line: above 3 it counts as not evaluated.",
        Query(
            f"max by (section) ((time() - ({q.per_line('checklist_item_last_run_timestamp_seconds')} > 0)) "
            f"/ on ({q.LINE}) {q.per_line('checklist_item_interval_seconds')})",
            "{{section}}",
        ),
    )
    yield curves(
        "Scheduler",
        "How late the scheduler ticked, and how long ago.",
        Query(f"max by (instance) ({q.select('checklist_scheduler_lag_seconds')})", "lag of {{instance}}"),
        Query(
            f"time() - max by (instance) ({q.select('checklist_scheduler_last_tick_timestamp_seconds')})",
            "last tick of {{instance}}",
        ),
        unit="s",
    )
    yield curves(
        "Scrapes",
        "Duration of each scrape.",
        Query(f"max by (instance) ({q.select('scrape_duration_seconds')})", "{{instance}}"),
        unit="s",
    )
    yield curves(
        "CPU",
        "CPU seconds per second of each replica.",
        Query(f"sum by (instance) (rate({q.select('process_cpu_seconds_total')}[$__rate_interval]))", "{{instance}}"),
        unit="percentunit",
        size=(8, 8),
    )
    yield curves(
        "Memory",
        "Resident memory of each replica.",
        Query(f"max by (instance) ({q.select('process_resident_memory_bytes')})", "{{instance}}"),
        unit="bytes",
        size=(8, 8),
    )
    yield curves(
        "Open files",
        "Open file descriptors of each replica, and their limit.",
        Query(f"max by (instance) ({q.select('process_open_fds')})", "{{instance}}"),
        Query(f"max by (instance) ({q.select('process_max_fds')})", "limit of {{instance}}"),
        size=(8, 8),
    )


def _now() -> Iterator[Any]:
    yield number(
        "Replicas up",
        "Replicas that Prometheus could scrape.",
        f"sum({q.select('up')})",
        thresholds=steps((None, RED), (1, GREEN)),
    )
    yield number("Lines", "Lines of the checklist.", f"sum(max by (job) ({q.select('checklist_items_configured')}))")
    yield number(
        "Last tick",
        "How long ago the scheduler of the slowest replica looked for due runs; above 2 minutes it counts as stalled.",
        f"time() - min({q.select('checklist_scheduler_last_tick_timestamp_seconds')})",
        unit="s",
        thresholds=steps((None, GREEN), (30, YELLOW), (120, RED)),
    )
    yield number(
        "Stuck runs",
        "Runs that outlived their deadline and have not finished.",
        f"sum({q.select('checklist_scheduler_stuck_runs')})",
        thresholds=steps((None, GREEN), (1, ORANGE)),
    )
    yield number(
        "Configuration",
        "Whether the last attempt to load the configuration succeeded.",
        f"min({q.select('checklist_exporter_config_last_reload_successful')})",
        texts=yes_no("loaded", "refused"),
    )
    yield number(
        "History",
        "Whether transitions and last results are written to disk.",
        f"min({q.select('checklist_exporter_history_ok')})",
        texts=yes_no("written", "not written"),
    )
