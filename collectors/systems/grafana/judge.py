"""Whether Grafana shows what it is expected to show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from collectors.systems.grafana.model import Dashboard, Frames, Health, has_data
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import one_line

__all__ = ["active_problems", "dashboard_problems", "datasource_problems", "health_problems", "panel_problems"]


def health_problems(health: Health) -> Iterator[Result]:
    """Whether Grafana reaches its own database."""
    if health.database != "ok":
        yield failed(f"Grafana's own database is {health.database}.", reason=Reason.DOWN)


def dashboard_problems(
    dashboards: Collection[Dashboard], wanted: Iterable[str], opened: Collection[str] = ()
) -> Iterator[Result]:
    """Which of the wanted dashboards (uids) are missing; without any wanted, whether there are none at all.

    Those that could be `opened` exist, whatever the list says.
    """
    found = {dashboard.uid for dashboard in dashboards} | {*opened}
    if missing := [uid for uid in wanted if uid not in found]:
        yield failed(f"Grafana has no dashboard {', '.join(missing)} (it shows {len(found)}).", reason=Reason.MISSING)
    elif not found:
        yield failed("Grafana shows no dashboards.", reason=Reason.MISSING)


def panel_problems(uid: str, panels: int, sources: Mapping[str, str | None]) -> Iterator[Result]:
    """What is wrong with a dashboard that exists: it has no panels, or data sources (uids) that do not work, in Grafana's words."""
    if not panels:
        yield failed(f"Grafana's dashboard {uid} is empty.", reason=Reason.MISSING)
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


def active_problems(uid: str, panels: int | None, answers: Mapping[str, Mapping[str, Frames]]) -> Iterator[Result]:
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
