"""The tests' kit: run a collector as the exporter runs it, wait for a verdict, and set the clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec

from exporter.collector import Client, Collector, Context, SectionSettings, Target
from exporter.evidence.validity import Evidence
from exporter.observations import Observation
from exporter.plan import Job
from exporter.runner import Runner, utc_now
from exporter.threads import Threads
from exporter.verdict import Result, Status
from exporter.views import ItemView
from tests.servers.process import eventually

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
_UNFORESEEN = "could not be checked:"  # as the runner words an error that no collector raises on purpose

P = ParamSpec("P")
Clients = Mapping[str, Client[Any]]


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    at: datetime = NOON

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **by: float) -> None:
        """Move on by a timedelta's keywords."""
        self.at += timedelta(**by)


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


@dataclass
class Run:
    """One run of a section as a configuration describes it: its items (all of them if none is named), settings and target.

    The `clients` may be such as are open for this run alone. None of the `secrets` may be in a verdict.
    """

    section: type[Collector[Any, Any]]
    items: Iterable[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    target: Mapping[str, Any] | Target | None = field(default=None, kw_only=True)
    clients: Clients | AbstractAsyncContextManager[Clients] | None = field(default=None, kw_only=True)
    context: Context | None = field(default=None, kw_only=True)
    secrets: Iterable[str] = field(default=(), kw_only=True)

    async def results(self) -> dict[str, Result]:
        """The verdicts by item: full sentences without a secret, none of them caused by an error that nobody foresaw.

        Raises pydantic's ValidationError for options that the exporter would refuse.
        """
        results = await self.whatever()
        for name, result in results.items():
            assert result.summary.endswith((".", "?", "…")), f"{name} is no full sentence: {result.summary}"
            assert _UNFORESEEN not in result.summary, f"{name} raised what nobody foresaw: {result.summary}"
            assert not any(secret in result.summary for secret in self.secrets), (
                f"{name} shows a secret: {result.summary}"
            )
        return results

    async def whatever(self) -> dict[str, Result]:
        """The verdicts by item, whatever they say, also of errors that nobody foresaw."""
        target = self._target()
        settings = self._settings(target)
        context = self.context or make_context()
        async with AsyncExitStack() as opened:
            if self.clients is not None:
                given = self.clients
                given = given if isinstance(given, Mapping) else await opened.enter_async_context(given)
                context.clients = {**context.clients, **given}
            seen = await verify(self.section, settings, target, items=tuple(self.items) or None, context=context)
        return {name: observation.result for name, observation in seen.items()}

    def _target(self) -> Target | None:
        if self.target is None or isinstance(self.target, Target):
            return self.target
        assert self.section.Target is not None, f"{self.section.__name__} has no targets."
        parsed: Target = self.section.Target.model_validate_json(_json(self.target))
        return parsed

    def _settings(self, target: Target | None) -> SectionSettings:
        options = {"timeout": "1m", **self.settings}
        if target is None or "targets" not in self.section.Settings.model_fields:
            parsed: SectionSettings = self.section.Settings.model_validate_json(_json(options))
            return parsed
        if isinstance(self.target, Target):
            return self.section.Settings.model_validate({**options, "targets": (target,)}, strict=False)
        return self.section.Settings.model_validate_json(_json({**options, "targets": [self.target]}))


def looks(described: Callable[P, Run]) -> Callable[P, Coroutine[Any, Any, dict[str, Result]]]:
    """Make of a description of a run a function that runs it and returns the verdicts by item."""

    async def look(*given: P.args, **options: P.kwargs) -> dict[str, Result]:
        return await described(*given, **options).results()

    return look


def sees(described: Callable[P, Run]) -> Callable[P, Coroutine[Any, Any, Result]]:
    """Make of a description of a run of one item a function that runs it and returns the verdict."""

    async def see(*given: P.args, **options: P.kwargs) -> Result:
        (result,) = (await described(*given, **options).results()).values()
        return result

    return see


@asynccontextmanager
async def connected(
    given: Mapping[type[Client[Any]], str | Mapping[str, Any]], **options: Any
) -> AsyncIterator[dict[str, Client[Any]]]:
    """Clients as a configuration names them, each given by its URL or by all of its options; they share no answers."""
    clients: dict[str, Client[Any]] = {}
    async with AsyncExitStack() as opened:
        for kind, where in given.items():
            sharing = {"max_age": "0s"} if "max_age" in kind.Settings.model_fields else {}
            own = {"url": where} if isinstance(where, str) else where
            settings = kind.Settings.model_validate_json(_json({"timeout": "20s", **sharing, **options, **own}))
            clients[kind.name] = kind(settings, Threads())
            opened.push_async_callback(clients[kind.name].close)
        yield clients


@asynccontextmanager
async def context_of(
    given: Mapping[type[Client[Any]], str | Mapping[str, Any]], **options: Any
) -> AsyncIterator[Context]:
    """A context that has these clients, given as for `connected`."""
    async with connected(given) as clients:
        yield make_context(clients=clients, **options)


async def until(
    look: Callable[[], Awaitable[Result]], status: Status | None = None, words: str = "", *, deadline: float = 60
) -> Result:
    """Look until the verdict has this status and these words, and return it; fail with the last one after the deadline."""
    seen: list[Result] = []

    async def found() -> bool:
        seen.append(await look())
        return status in (None, seen[-1].status) and words in seen[-1].summary

    try:
        await eventually(found, f"{status or 'a verdict'} with {words!r}", deadline)
    except TimeoutError as error:
        raise AssertionError(f"{error} The last verdict is {seen[-1] if seen else None}.") from error
    return seen[-1]


def _json(options: Mapping[str, Any]) -> str:
    return json.dumps(options, default=_written)


def _written(value: object) -> str:
    """A value as a configuration file has it."""
    return f"{value.total_seconds():g}s" if isinstance(value, timedelta) else str(value)
