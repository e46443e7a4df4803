"""What every section of services asks and judges: health, metrics, dependencies, documentation."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import Field

from collectors.shared.verdicts import collected, verdict, worst_of
from collectors.systems.http.client import Answer, ServiceClient, Throttled, Unanswered, new_trace_id
from collectors.systems.http.judge import documentation, health, metrics
from collectors.systems.http.judge.policies import policy_problems
from collectors.systems.http.model.assets import Kind, loaded
from collectors.systems.http.model.documentation import (
    SPECIFICATIONS,
    DocumentationOptions,
    Exposure,
    configuration_named,
    operations,
    specifications_configured,
    specifications_named,
    starts,
)
from collectors.systems.http.model.health import HealthOptions, State, state_of
from collectors.systems.http.model.metrics import Exposition, MetricsOptions, Movement, read_exposition
from collectors.systems.http.model.service import RequestOptions, Service
from collectors.systems.kubernetes.check.pods import PodOptions, see_pods
from exporter.collector import Collector, SectionSettings, SettingsT, Target, fetched
from exporter.options import Duration
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason, Result, Status, failed, ok, unknown, warning
from exporter.words import counted, listed

__all__ = [
    "AskedTarget",
    "AskingCollector",
    "ServiceCollector",
    "ServiceOptions",
    "ServiceSettings",
    "ServiceTarget",
    "document_service",
]

_CONTROL_EVERY = timedelta(hours=1)
_ASSETS = 4
_DOCUMENTS = 5
_LOOKS, _FALLS = 10, 2


class ServiceOptions(HealthOptions, MetricsOptions):
    """What may be set for a section of services and for one target."""


class AskedTarget(Target, PodOptions, Service, RequestOptions):
    """What is asked over HTTP."""


class ServiceTarget(AskedTarget, ServiceOptions):
    """A service that reports its health, and has metrics."""


class ServiceSettings(SectionSettings, RequestOptions):
    """Options of every section of services: their items wait for each other's requests."""

    timeout: Duration = Field(
        timedelta(seconds=30), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )


AskedTargetT = TypeVar("AskedTargetT", bound=AskedTarget)
ServiceTargetT = TypeVar("ServiceTargetT", bound=ServiceTarget)


class AskingCollector(Collector[SettingsT, AskedTargetT]):
    """Asks over HTTP by one GET at a time; every item of a run uses the same answers.

    The sentences on what was asked name the run's trace id: the service's own logs and traces have the requests under it.
    """

    async def open(self) -> None:
        """Prepare the clients; connections are made when they are used, and closed when the run ends."""
        target = self.target
        self.trace_id = new_trace_id()
        turn = asyncio.Lock()
        self.service = ServiceClient(target.reached(target), self.context.memory, self.trace_id, turn)
        self.resources.push_async_callback(self.service.close)
        public = target.reached_publicly(target)
        self.public = ServiceClient(public, self.context.memory, self.trace_id, turn) if public else None
        if self.public is not None:
            self.resources.push_async_callback(self.public.close)

    @property
    def now(self) -> datetime:
        """The present."""
        return self.context.now()

    async def see_pods(self) -> Result:
        """The verdict on the service's pods."""
        if self.target.pods is None:
            return unknown(
                f"`pods` of {self.target.name} is not configured, so its pods were not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await see_pods(self, self.target.pods)

    def traced(self) -> str:
        """The end of a sentence that names the trace."""
        return f" (trace {self.trace_id})"


class ServiceCollector(AskingCollector[SettingsT, ServiceTargetT]):
    """Asks a service for its health and its metrics."""

    @fetched
    async def health(self) -> Answer:
        """The answer of the health endpoint."""
        return await self.service.get_resource(self.target.health_path, self.now)

    @fetched
    async def exposition(self) -> tuple[Reply, Exposition | None]:
        """The answer of the metrics endpoint, and the metrics in it where it answers 200."""
        accepted = {
            "Accept": "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"
        }
        reply = (await self.service.get_resource(self.target.metrics_path, self.now, accepted)).reply
        return reply, await self.blocking(read_exposition, reply) if reply.status == 200 else None

    async def see_health(self) -> Result:
        """The verdict on the health endpoint."""
        target = self.target
        try:
            answer = await self.health()
        except Unanswered as why:
            return self._steady(
                failed(
                    f"{str(why).rstrip('.')}, though the connection was accepted{self.traced()}.", reason=Reason.DOWN
                )
            )
        said = health.report(answer.reply)
        up = [name for name, word in said.parts.items() if state_of(word) is State.UP] if said else []
        down = [name for name, word in said.parts.items() if state_of(word) is not State.UP] if said else []
        parts = f", and reports {listed(up)} as up" if up else "; it reports no dependencies as up"
        parts += f" ({listed(down)} optional and not)" if down else ""
        good = ok(
            f"{answer.reply.where} answered {answer.reply.status} and healthy in {answer.seconds:.2f} s{parts}{self.traced()}.",
            health_seconds=answer.seconds,
        )
        problems = collected(health.health_problems(answer.reply, target))
        if not problems:
            problems = await self.control()
        return self._steady(verdict(problems, good))

    def _steady(self, seen: Result, name: str = "") -> Result:
        """What was seen of the service, or of one dependency, unless it is good now and comes and goes.

        Behind one address there may be replicas that disagree.
        """
        looks: deque[bool] = self.context.memory.setdefault(f"{name} health looks", deque(maxlen=_LOOKS))
        if seen.status is not Status.UNKNOWN:
            looks.append(seen.status.is_ok)
        falls = sum(before and not after for before, after in pairwise(looks))
        if not seen.status.is_ok or falls < _FALLS:
            return seen
        return failed(
            f"GET {self.service.url}{self.target.health_path.partition('?')[0]} "
            f"{f'reports {name} as up' if name else 'was healthy'} now, and not at "
            f"{looks.count(False)} of the last {counted(len(looks), 'look')}: it comes and goes, or replicas behind it "
            f"disagree{self.traced()}.",
            reason=Reason.CONTRADICTED,
        )

    @fetched
    async def control(self) -> list[Result]:
        """Whether the same is answered to a path that cannot exist: asked once an hour while it is not."""
        memory: dict[str, Any] = self.context.memory
        last: datetime | None = memory.get("controlled")
        if last is not None and timedelta(0) <= self.now - last < _CONTROL_EVERY:
            return []
        path = f"{self.target.health_path.partition('?')[0].rstrip('/')}-{secrets.token_hex(8)}"
        try:
            control = await self.service.get(path, self.now)
        except Throttled:
            return []  # the health endpoint did answer; asked again next time
        problems = collected(health.catch_all_problems(control.reply, self.target))
        if not problems:
            memory["controlled"] = self.now
        return problems

    async def see_metrics(self) -> Result:
        """The verdict on the metrics endpoint."""
        target, now = self.target, self.now
        try:
            reply, exposition = await self.exposition()
        except Unanswered as why:
            return failed(
                f"{str(why).rstrip('.')}, though the connection was accepted{self.traced()}.", reason=Reason.DOWN
            )
        except ProbeError as why:
            if why.reason is Reason.MALFORMED:
                return failed(str(why), reason=Reason.INVALID)
            raise
        if exposition is None:
            return verdict(metrics.metrics_status_problems(reply), unknown(f"{reply.where} answered {reply.status}."))
        good = ok(
            f"{reply.where} gives {counted(exposition.samples, 'sample')} of "
            f"{counted(len(exposition.sums), 'name')}{self.traced()}.",
            samples=exposition.samples,
        )
        problems = collected(metrics.exposition_problems(reply, exposition, target))
        moved = {
            name: self._movement(name, exposition, now) for name in target.moving_metrics if name in exposition.sums
        }
        problems += collected(metrics.movement_problems(reply.where, moved, target, now))
        problems += await self._public_metrics()
        return verdict(problems, good)

    def _movement(self, name: str, exposition: Exposition, now: datetime) -> Movement:
        """What is known of a counter. Another start is another process, such as another replica, with counters of its own."""
        remembered: dict[tuple[str, float | None], Movement] = self.context.memory.setdefault("movements", {})
        key = (name, exposition.started)
        value = exposition.sums[name]
        last = remembered.get(key)
        remembered[key] = last.seen(value, now) if last is not None else Movement(value, now)
        for old in [key for key in remembered if key[0] == name][:-16]:
            del remembered[old]
        return remembered[key]

    async def _public_metrics(self) -> list[Result]:
        if self.public is None:
            return []
        try:
            reply = (await self.public.get_resource(self.target.metrics_path, self.now)).reply
            exposed = reply.status == 200 and read_exposition(reply).samples
        except ProbeError:
            return []  # whether the public reaches the service is not this line
        return [warning(f"{reply.where} gives the metrics to the public.")] if exposed else []

    async def see_dependency(self, name: str | None, option: str, what: str) -> Result:
        """The verdict on the connection to one dependency, by the name that the health endpoint gives it."""
        if name is None:
            return unknown(
                f"{option} of {self.target.name} is not configured, so its connections to the {what} were not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        try:
            reply = (await self.health()).reply
        except Unanswered as why:
            return unknown(
                f"{str(why).rstrip('.')}, so the connections to the {what} were not observed.", reason=why.reason
            )
        if reply.status in (401, 403, 404):
            return unknown(
                f"{reply.where} answered {reply.status}, so the connections to the {what} were not observed."
            )
        good = ok(f"{reply.where} reports {name}, the {what}, as up{self.traced()}.")
        problems = collected(health.dependency_problems(reply, name))
        if not problems:
            problems = await self.control()
        return self._steady(verdict(problems, good), name)


async def document_service(
    collector: AskingCollector[Any, Any], options: DocumentationOptions, pages: Iterable[str]
) -> Result:
    """The verdict on the documentation of a service: its pages, the specification behind them, and who can read both.

    Raises ProbeError when the service cannot be asked.
    """
    pages = tuple(pages)
    specs = (options.spec_path,) if options.spec_path else SPECIFICATIONS
    internal, public = collector.service, collector.public
    if options.docs_exposure is Exposure.DISABLED:
        clients = [client for client in (internal, public) if client]
        parts = [_closed(collector, client, (*pages, *specs), Exposure.DISABLED) for client in clients]
        return await worst_of(*parts)
    reader = public if options.docs_exposure is Exposure.PUBLIC and public else internal
    parts = [_readable(collector, reader, options, pages)]
    if options.docs_exposure is Exposure.INTERNAL and public:
        parts.append(_closed(collector, public, (*pages, *specs), Exposure.INTERNAL))
    return await worst_of(*parts)


async def _readable(
    collector: AskingCollector[Any, Any], client: ServiceClient, options: DocumentationOptions, pages: tuple[str, ...]
) -> Result:
    problems: list[Result] = []
    for path in pages:
        page = (await client.get_resource(path, collector.now)).reply
        found = collected(documentation.page_problems(page))
        problems += found
        if found:
            continue
        wants = loaded(page)
        scripts = []
        # The script that names the document may be the last of many.
        for asset in sorted(wants.own, key=lambda asset: not starts(asset.path))[:_ASSETS]:
            scripts.append((await client.get_of_host(asset.path, collector.now)).reply)
            problems += documentation.asset_problems(scripts[-1])
        problems += policy_problems(page, wants, [asset for asset in wants.assets if asset.kind is Kind.SCRIPT])
        if options.spec_path:
            problems += await _described(collector, client.get, (options.spec_path,))
        else:
            problems += await _shown(collector, client, page, scripts)
    good = ok(
        f"{listed(f'{client.url}{path}' for path in pages)} can be read, with an OpenAPI document behind{collector.traced()}."
    )
    return verdict(problems, good)


async def _shown(
    collector: AskingCollector[Any, Any], client: ServiceClient, page: Reply, scripts: Iterable[Reply]
) -> list[Result]:
    """What is wrong with the documents that a page shows: those that it names, else the first at the usual places."""
    problems: list[Result] = []
    hosts = {urlsplit(one).netloc for one in (page.where.partition(" ")[2], collector.target.url)}
    hosts |= {urlsplit(collector.target.public_url).netloc} if collector.target.public_url else set()
    named = specifications_named(page, scripts)
    options = configuration_named(page, scripts)
    if options and urlsplit(options).netloc in hosts:
        configuration = (await client.get_of_host(urlsplit(options).path, collector.now)).reply
        named = specifications_configured(page, configuration)
        problems += documentation.configuration_problems(page, configuration, named)
    own = [address for address in named if urlsplit(address).netloc in hosts]
    problems += documentation.elsewhere_problems(page, named, own)
    if problems:
        return problems
    for address in own[:_DOCUMENTS]:
        problems += await _described(collector, client.get_of_host, (urlsplit(address).path,))
    return problems if own else await _described(collector, client.get, SPECIFICATIONS)


async def _described(
    collector: AskingCollector[Any, Any], get: Callable[[str, datetime], Awaitable[Answer]], tried: tuple[str, ...]
) -> list[Result]:
    """What is wrong with the first document that is served at one of these paths."""
    for path in tried:
        reply = (await get(path, collector.now)).reply
        if reply.status not in (404, 410):
            paths = await collector.blocking(operations, reply)
            return list(documentation.specification_problems(reply, paths, tried))
    return list(documentation.specification_problems(None, None, tried))


async def _closed(
    collector: AskingCollector[Any, Any], client: ServiceClient, paths: Iterable[str], wanted: Exposure
) -> Result:
    problems: list[Result] = []
    for path in paths:
        problems += documentation.exposed_problems((await client.get(path, collector.now)).reply, wanted)
    return verdict(problems, ok(f"{client.url} serves neither pages of documentation nor their specification."))
