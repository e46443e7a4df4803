"""What several panels ask for. Each line counts once, however many replicas tell of it; checklists of several jobs keep apart.

Every selector takes the dashboard's job and instance, so nothing here rests on recording rules.
"""

from __future__ import annotations

__all__ = [
    "INFO_LABELS",
    "LINE",
    "STATUSES",
    "failing",
    "info",
    "ok",
    "per_line",
    "regressed",
    "select",
    "status",
    "status_code",
    "with_info",
]

#: What tells lines apart.
LINE = "job, section, item"
#: What `info` adds to them.
INFO_LABELS = "title, item_severity, team, runbook_url"
_CHOSEN = ('job=~"$job"', 'instance=~"$instance"')
#: Least pressing first: the number of a status in timelines is its place here.
STATUSES = ("not_applicable", "ok", "warning", "waived", "unknown", "failed")


def select(metric: str, *matchers: str) -> str:
    """A selector of what the chosen exporters show."""
    return f"{metric}{{{', '.join((*_CHOSEN, *matchers))}}}"


def per_line(metric: str, *matchers: str, take: str = "max") -> str:
    """One value a line; of replicas that differ the one that `take` prefers."""
    return f"{take} by ({LINE}) ({select(metric, *matchers)})"


def ok(*matchers: str) -> str:
    """1 for each line that all replicas see to be true, else 0."""
    return per_line("checklist_item_ok", *matchers, take="min")


def status(name: str, *matchers: str) -> str:
    """1 for each line that has this status, else 0."""
    return per_line("checklist_item_status", f'status="{name}"', *matchers)


def failing(*matchers: str) -> str:
    """0 for each line that some replica sees neither to be true nor to be waived: the waiver of one does not stand for another."""
    false, accepted = (
        select("checklist_item_ok", *matchers),
        select("checklist_item_status", 'status="waived"', *matchers),
    )
    return f"max by ({LINE}) ({false} == 0 unless ignoring (status) {accepted} == 1)"


def info(*matchers: str) -> str:
    """1 for each line, with its title, severity, team and runbook: of replicas that differ, one."""
    one = f"topk by ({LINE}) (1, {select('checklist_item_info', *matchers)})"
    return f"max by ({LINE}, {INFO_LABELS}) ({one})"


def with_info(values: str, *matchers: str) -> str:
    """Values of lines, with what `info` says of each."""
    return f"({values}) * on ({LINE}) group_left ({INFO_LABELS}) ({info(*matchers)})"


def regressed(*matchers: str) -> str:
    """When each line was last true that was once, is not now, and has no waiver."""
    last = per_line("checklist_item_last_ok_timestamp_seconds", *matchers)
    return f"{last} > 0 and {failing(*matchers)}"


def status_code(by: str, *matchers: str) -> str:
    """The place in STATUSES of each line's status: the most pressing of what replicas say."""
    named = [select("checklist_item_status", f'status="{name}"', *matchers) for name in STATUSES]
    coded = (f"{code} * {selector}" for code, selector in enumerate(named))
    return f"max by ({by}) ({' or '.join(coded)})"
