"""The public test kit: run a collector in a test as the exporter runs it, and check it by the rules of docs/plugins.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from exporter import plugins
from exporter.collector import Client, Collector, Context, SectionSettings, Target
from exporter.evidence.validity import Evidence
from exporter.plan import Job
from exporter.runner import Runner, utc_now
from exporter.threads import Threads
from exporter.verdict import Result

__all__ = ["check_rules", "verify"]


def check_rules(collector: type[Collector[Any, Any]]) -> None:
    """Raise AssertionError with every rule that the collector breaks; the exporter would refuse it for these."""
    if problems := list(plugins.contradictions(collector)):
        raise AssertionError("\n".join(problems))


async def verify(
    collector: type[Collector[Any, Any]],
    options: Mapping[str, Any] | None = None,
    *,
    items: Iterable[str] | None = None,
    clients: Mapping[str, Client[Any]] | None = None,
    memory: dict[str, Any] | None = None,
    environment: str = "production",
    release: str | None = None,
    now: Callable[[], datetime] = utc_now,
) -> dict[str, Result]:
    """One run of a collector, on the first of its targets if it has any: the result of each item (or of `items`), by name.

    `options` are those of the section as a configuration has them: durations are texts, targets a list of mappings. `memory` is
    what one run keeps for the next. Raises pydantic's ValidationError for options that the exporter would refuse.
    """
    settings = collector.Settings.model_validate_json(_json(options or {}))
    target = _first(settings)
    job = Job(
        section=collector.section(),
        target=target.name if target else "",
        collector=collector,
        settings=settings,
        target_settings=target,
        items=tuple(items or collector.items()),
    )
    context = Context(
        environment=environment,
        release=release,
        now=now,
        evidence=Evidence(None, environment=environment, release=release, now=now),
        threads=Threads(),
        clients=clients or {},
        memory=memory if memory is not None else {},
    )
    return {name: observation.result for name, observation in (await Runner().run(job, context)).items()}


def _json(options: Mapping[str, Any]) -> str:
    import json

    return json.dumps(options, default=str)


def _first(settings: SectionSettings) -> Target | None:
    targets: tuple[Target, ...] = getattr(settings, "targets", None) or ()
    return targets[0] if targets else None
