"""Run a collector in a test as the exporter runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from exporter.collector import Client, Collector, Context, SectionSettings, Target
from exporter.evidence.validity import Evidence
from exporter.plan import Job
from exporter.runner import Runner, utc_now
from exporter.state import ItemView, Observation
from exporter.threads import Threads


def make_context(
    *,
    evidence: Evidence | None = None,
    environment: str = "production",
    release: str | None = None,
    now: Callable[[], datetime] = utc_now,
    clients: Mapping[str, Client[Any]] | None = None,
    memory: dict[str, Any] | None = None,
    recall: Callable[[str], Mapping[str, float]] | None = None,
    view: Callable[[], tuple[ItemView, ...]] = tuple,
) -> Context:
    """A context like the daemon's; without evidence unless given."""
    return Context(
        environment=environment,
        release=release,
        now=now,
        evidence=evidence or Evidence(None, environment=environment, release=release, now=now),
        threads=Threads(),
        clients=clients or {},
        memory=memory if memory is not None else {},
        recall=recall,
        view=view,
    )


async def verify(
    collector: type[Collector[Any, Any]],
    settings: SectionSettings,
    target: Target | None = None,
    *,
    items: tuple[str, ...] | None = None,
    context: Context | None = None,
    **options: Any,
) -> dict[str, Observation]:
    """One run through the real runner: what was seen of each item (all of them unless `items` names some)."""
    job = Job(
        section=collector.section(),
        target=target.name if target else "",
        collector=collector,
        settings=settings,
        target_settings=target,
        items=items or tuple(collector.items()),
    )
    return await Runner().run(job, context or make_context(**options))


__all__ = ["make_context", "verify"]
