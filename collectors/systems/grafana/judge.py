"""Whether Grafana shows what it is expected to show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from collectors.systems.grafana.model import Dashboard, Frames, Health, Opened, from_library, has_data, newest
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import format_length, listed, one_line

__all__ = [
    "RECENT",
    "active_problems",
    "dashboard_problems",
    "datasource_problems",
    "health_problems",
    "panel_problems",
]


def health_problems(health: Health) -> Iterator[Result]:
    """Whether Grafana reaches its own database."""
    if health.database != "ok":
        yield failed(f"Grafana's own database is {health.database}.", reason=Reason.DOWN)


def dashboard_problems(shown: int, missing: Sequence[str], found: Iterable[Dashboard] = ()) -> Iterator[Result]:
    """Which of the wanted dashboards (uids) are missing among those that Grafana has, or that it has none at all.

    One that is wanted by its title is among those `found`.
    """
    uids = {dashboard.title: dashboard.uid for dashboard in found}
    if missing:
        titles = [f"{title} is the title of the one with the uid {uids[title]}" for title in missing if title in uids]
        but = f": {listed(titles)}" if titles else ""
        yield failed(f"Grafana has no dashboard {', '.join(missing)} (it shows {shown}){but}.", reason=Reason.MISSING)
    elif not shown:
        yield failed("Grafana shows no dashboards.", reason=Reason.MISSING)


def panel_problems(uid: str, opened: Opened, sources: Mapping[str, str | None]) -> Iterator[Result]:
    """What is wrong with a dashboard that exists: it has no panels, or data sources (uids) that do not work, in Grafana's words."""
    if not opened.parts:
        yield failed(f"Grafana's dashboard {uid} is empty.", reason=Reason.MISSING)
    if from_library(opened.parts):
        yield warning(f"Grafana's dashboard {uid} has panels of the library, whose data sources were not checked.")
    if undefined := sorted(opened.undefined):
        yield failed(
            f"Grafana's dashboard {uid} takes its data source from {listed(undefined)}, which is none of its variables.",
            reason=Reason.MISCONFIGURED,
        )
    for source, problem in sources.items():
        if problem:
            yield failed(
                f"Grafana's dashboard {uid} shows data source {source}, which does not work: {problem}.",
                reason=Reason.DOWN,
            )


def datasource_problems(uid: str, problem: str | None) -> Iterator[Result]:
    """What is wrong with a data source, in Grafana's words, if anything is."""
    if problem:
        yield failed(f"Grafana's data source {uid} does not work: {problem}.", reason=Reason.DOWN)


RECENT = timedelta(minutes=15)
"""How old the newest data of a dashboard may be: what is measured stopped before."""


def active_problems(
    uid: str, panels: int | None, answers: Mapping[str, Mapping[str, Frames]], now: datetime
) -> Iterator[Result]:
    """Whether a dashboard shows anything: `panels` is how many have queries, `answers` what those asked returned, by title.

    One panel with data is enough: an empty one may count errors of which there are none.
    """
    if panels is None:
        yield failed(f"Grafana has no dashboard {uid}, or the account may not see it.", reason=Reason.MISSING)
    elif not panels:
        yield failed(f"Grafana's dashboard {uid} has no panel with a query.", reason=Reason.MISSING)
    elif not any(has_data(frames) for results in answers.values() for frames in results.values()):
        errors = [frames.error for results in answers.values() for frames in results.values() if frames.error]
        if errors:
            yield failed(f"No panel of Grafana's dashboard {uid} has data: {one_line(errors[0])}.", reason=Reason.DOWN)
        elif len(answers) < panels:
            yield unknown(f"None of the {len(answers)} panels of Grafana's dashboard {uid} that were queried has data.")
        else:
            yield failed(f"No panel of Grafana's dashboard {uid} has data of the last hour.", reason=Reason.DOWN)
    else:
        moments = [newest(frames) for results in answers.values() for frames in results.values()]
        age = now.timestamp() - max(moment for moment in moments if moment is not None)
        if age > RECENT.total_seconds():
            yield warning(
                f"The newest data of Grafana's dashboard {uid} is {format_length(timedelta(seconds=age))} old (at most "
                f"{format_length(RECENT)} wanted)."
            )
