"""Whether issues that block the launch are open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectors.systems.issues.model import OpenIssues
from exporter.verdict import Result, failed, warning
from exporter.words import counted, listed

__all__ = ["issue_problems"]


def issue_problems(trackers: Sequence[OpenIssues]) -> Iterator[Result]:
    """Which trackers have open issues, which closed some without a fix, and which never had one that met the condition."""
    for tracker in trackers:
        if tracker.count:
            named = f": {listed(tracker.keys)}" if tracker.keys else ""
            verb = "is" if tracker.count == 1 else "are"
            yield failed(f"{counted(tracker.count, 'issue')} of {tracker.name} {verb} open{named}.")
    for tracker in trackers:
        if tracker.given_up:
            issues = counted(len(tracker.given_up), "issue")
            verb = "was" if len(tracker.given_up) == 1 else "were"
            yield warning(
                f"{issues} of {tracker.name} {verb} closed as {listed(sorted({*tracker.given_up.values()}))}: "
                f"{listed(tracker.given_up)}. Remove the label where that was agreed upon."
            )
        if not tracker.matched:
            yield warning(f"No issue of {tracker.name}, open or done, ever met the condition, which may be misspelled.")
