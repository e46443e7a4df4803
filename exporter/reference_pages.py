"""Generated pages beside the configuration's reference: every metric, and what each reason means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exporter.health import Health
from exporter.metrics import health_families, item_families, plan_families
from exporter.plan import Plan
from exporter.runner import utc_now
from exporter.verdict import Reason

__all__ = ["metrics", "troubleshooting"]

_METRICS = """\
# Metrics

Generated from the program. Lines are verified on the exporter's own timer: a scrape reads the last state and triggers no checks,
so the age of a result is in `checklist_item_last_run_timestamp_seconds`, and no sample carries a timestamp. Every line that
applies has its series at all times; `/metrics?name[]=checklist_item_ok` returns the named ones alone.
"""

_TROUBLESHOOTING = """\
# Why does this line not pass?

Generated from the program. The sentence of a line says what was observed; `checklist_item_reason{section,item,reason}` and the
line's page show one reason from the list below. `checklist-exporter check --section NAME` verifies a section now and prints its
sentences; `checklist-exporter explain SECTION.ITEM` shows what one line asked, what was answered and what was made of it
(a running exporter shows it on the page of the line at `?debug`, if started with `--web.enable-debug`);
`checklist-exporter list --missing` prints everything that is unknown, grouped by what is missing;
`checklist-exporter config check -v` prints what each line is bound to.

- **failed** means that it was checked, and is not as the line requires.
- **unknown** means that it could not be checked. Fix the cause first: until then nothing is known about the line.
"""

_OF_UNKNOWN = Reason.UNOBSERVED  # the reasons from here on are of what was not observed


def metrics() -> str:
    """A table of every metric, in Markdown."""
    return "\n".join(_metrics()) + "\n"


def _metrics() -> Iterator[str]:
    yield _METRICS
    for title, families in (
        ("Lines", item_families(())),
        ("Checklist", plan_families(Plan("", None, (), ()))),
        ("Exporter", list(health_families(Health("", started_at=utc_now())))),
    ):
        yield f"## {title}\n"
        yield "| metric | type | labels | meaning |\n|---|---|---|---|"
        for family in families:
            yield _row(family)
        yield ""
    yield "`/metrics` also has the usual metrics of the process (`process_…`) and of Python (`python_…`)."


def _row(family: Any) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    labels = list(family._labelnames)
    if family.type == "info" and not labels and family.samples:
        labels = list(family.samples[0].labels)
    named = ", ".join(f"`{label}`" for label in labels)
    return f"| `{family.name}{suffix}` | {family.type} | {named} | {family.documentation} |"


def troubleshooting() -> str:
    """A table of every reason, what it means and what to do about it, in Markdown."""
    return "\n".join(_troubleshooting()) + "\n"


def _troubleshooting() -> Iterator[str]:
    yield _TROUBLESHOOTING
    reasons = list(Reason)
    first_unknown = reasons.index(_OF_UNKNOWN)
    for title, part in (("Failed", reasons[:first_unknown]), ("Unknown", reasons[first_unknown:])):
        yield f"## {title}\n"
        yield "| reason | what it means | what to do |\n|---|---|---|"
        for reason in part:
            yield f"| `{reason}` | {reason.description} | {reason.remedy} |"
        yield ""
    yield "A failed line may carry a reason of the second table where an error proves the line false, and the other way round."
