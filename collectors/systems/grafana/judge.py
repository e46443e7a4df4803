"""Whether Grafana shows what it is expected to show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from collectors.systems.grafana.model import Dashboard, Health
from exporter.verdict import Reason, Result, failed

__all__ = ["dashboard_problems", "datasource_problems", "health_problems"]


def health_problems(health: Health) -> Iterator[Result]:
    """Whether Grafana reaches its own database."""
    if health.database != "ok":
        yield failed(f"Grafana's own database is {health.database}.", reason=Reason.DOWN)


def dashboard_problems(dashboards: Collection[Dashboard], wanted: Iterable[str]) -> Iterator[Result]:
    """Which of the wanted dashboards (uids) are missing; without any wanted, whether there are none at all."""
    found = {dashboard.uid for dashboard in dashboards}
    if missing := [uid for uid in wanted if uid not in found]:
        yield failed(f"Grafana has no dashboard {', '.join(missing)} (it shows {len(found)}).", reason=Reason.MISSING)
    elif not found:
        yield failed("Grafana shows no dashboards.", reason=Reason.MISSING)


def datasource_problems(uid: str, problem: str | None) -> Iterator[Result]:
    """What is wrong with a data source, in Grafana's words, if anything is."""
    if problem:
        yield failed(f"Grafana's data source {uid} does not work: {problem}.", reason=Reason.DOWN)
