"""When metrics become bytes: in the background, when the state changed, at most once a second. A scrape only sends them.

prometheus-client renders all text. What is kept here is each item's part of it, so that news about one item costs one item.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar, TypeVarTuple

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector, exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from exporter.health import Health
from exporter.metrics import TARGETS, HealthCollector, item_families, plan_families
from exporter.plan import Plan
from exporter.state import State
from exporter.turns import in_turns
from exporter.views import ItemView, TargetView
from exporter.worker import Worker

__all__ = ["OPENMETRICS", "TEXT", "Exposition", "Format", "Scrape", "accepts_gzip", "negotiate"]

log = logging.getLogger(__name__)

Key = tuple[str, str]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds between two renderings; also how old the exporter's own metrics may be.
PACE = 1.0
#: Seconds by which the bytes may be older than the state before a scrape is refused instead of being sent them.
STALE = 10.0
#: Seconds that a rendering may take which gets on all the time.
SLOW = 60.0
#: Items that are rendered in one go, before others have their turn.
AT_A_TIME = 200

_GZIP = 31  # zlib's wbits for a gzip stream


#: What the name of a family's samples has after the family's own name.
_SUFFIXES = {"counter": "_total", "info": "_info"}


def _only(families: Iterable[Metric], names: Collection[str]) -> Iterator[Metric]:
    """The families with the samples of these names alone."""
    for family in families:
        if samples := [sample for sample in family.samples if sample.name in names]:
            family.samples = samples
            yield family


class _Given(Collector):
    """Families that exist already, in the shape that prometheus-client renders."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


@dataclass(frozen=True, slots=True)
class Format:
    """A text format of metrics: how it is called, rendered and ended."""

    media_type: str
    version: str
    generate: Callable[[Collector], bytes]
    end: bytes = b""

    @property
    def content_type(self) -> bytes:
        """The value of the header."""
        return f"{self.media_type}; version={self.version}; charset=utf-8".encode()

    def render(self, families: Iterable[Metric]) -> bytes:
        """The families as text, without the format's end."""
        return self.generate(_Given(families)).removesuffix(self.end)


TEXT = Format("text/plain", "0.0.4", exposition.generate_latest)
OPENMETRICS = Format("application/openmetrics-text", "1.0.0", openmetrics.generate_latest, b"# EOF\n")


@dataclass(frozen=True, slots=True)
class Scrape:
    """An answer to a scrape, ready to be sent."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class _Zipped:
    """The beginning of a gzip stream, which can be ended many times, in different ways."""

    def __init__(self, beginning: bytes) -> None:
        self._stream = zlib.compressobj(level=6, wbits=_GZIP)
        self._beginning = self._stream.compress(beginning) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def ended(self, end: bytes) -> bytes:
        """The whole, of which only the end is compressed now."""
        stream = self._stream.copy()
        return self._beginning + stream.compress(end) + stream.flush()


class _Targets:
    """The samples of an item's targets, one by one: of thousands, few change at a time."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[str, tuple[bool, bytes]] = {}

    def news(self, targets: tuple[TargetView, ...]) -> tuple[TargetView, ...]:
        """Those whose sample is another one now; one at least, as an item with targets has other metrics than one without."""
        known = self._lines
        return tuple(t for t in targets if known.get(t.target, (None,))[0] is not t.status.is_ok) or targets[:1]

    def text(self, targets: Sequence[TargetView], news: Sequence[TargetView], lines: Sequence[bytes]) -> bytes:
        """All samples, of which those of `news` are given."""
        for target, line in zip(news, lines, strict=True):
            self._lines[target.target] = target.status.is_ok, line
        if len(self._lines) > len(targets):
            self._lines = {target.target: self._lines[target.target] for target in targets}
        return b"".join([self._lines[target.target][1] for target in targets])


def _key(view: ItemView) -> Key:
    return view.planned.section, view.planned.item


class _Page:
    """All metrics in one format: the checklist's, kept item by item, then the exporter's own, never older than PACE."""

    def __init__(self, form: Format, exporter: CollectorRegistry) -> None:
        self.form = form
        self._exporter = exporter
        self._headers = [form.render([family]) for family in item_families(())]
        self._lines: dict[Key, tuple[bytes, ...]] = {}
        self._targets: dict[Key, _Targets] = {}
        self._checklist = b""
        self._zipped: _Zipped | None = None
        self._own = b""
        self._own_at = -PACE
        self._ready: dict[bool, Scrape] = {}

    def take(self, lines: dict[Key, tuple[bytes, ...]], views: Sequence[ItemView]) -> None:
        """Put the samples of these items, family by family, among `lines`. Runs in a thread."""
        rendered = [self._news(view) for view in views]
        families = item_families(rendered)
        text = self.form.render(families)
        starts = [text.index(header) for header in self._headers]  # has line ends, which no label has
        parts: dict[Key, list[bytes]] = {_key(view): [] for view in views}
        for family, header, start, end in zip(families, self._headers, starts, [*starts[1:], len(text)], strict=True):
            samples = text[start + len(header) : end].removesuffix(b"\n").split(b"\n") if family.samples else ()
            of: dict[Key, list[bytes]] = {}
            for sample, line in zip(family.samples, samples, strict=True):
                of.setdefault((sample.labels["section"], sample.labels["item"]), []).append(line + b"\n")
            for view, news in zip(views, rendered, strict=True):
                key = _key(view)
                own = of.get(key, [])
                targets = self._targets.get(key) if family.name == TARGETS and view is not news else None
                parts[key].append(targets.text(view.targets, news.targets, own) if targets else b"".join(own))
        lines |= {key: tuple(part) for key, part in parts.items()}

    def _news(self, view: ItemView) -> ItemView:
        """The item with those of its targets whose sample has to be rendered, where it has targets with names."""
        if not view.targets or not view.targets[0].target:
            return view
        targets = self._targets.setdefault(_key(view), _Targets())
        return replace(view, targets=targets.news(view.targets))

    def assemble(self, plan: Plan, lines: dict[Key, tuple[bytes, ...]]) -> tuple[bytes, _Zipped | None]:
        """The checklist's part, also gzipped when that was ever asked for. Runs in a thread."""
        parts = [self.form.render(plan_families(plan))]
        for header, items in zip(self._headers, zip(*lines.values(), strict=True), strict=False):
            parts += (header, *items)
        checklist = b"".join(parts)
        self._targets = {key: targets for key, targets in self._targets.items() if key in lines}
        return checklist, _Zipped(checklist) if self._zipped else None

    def known(self, *, afresh: bool) -> dict[Key, tuple[bytes, ...]]:
        """The lines to go on from; of another plan (`afresh`) they are others, and these are read until then."""
        return dict(self._lines) if afresh else self._lines

    def select(self, plan: Plan, names: Collection[str]) -> bytes:
        """The samples of these names alone. Runs in a thread."""
        lines = self._lines
        parts = [self.form.render(_only(plan_families(plan), names))]
        for number, family in enumerate(item_families(())):
            if family.name + _SUFFIXES.get(family.type, "") in names:
                parts += (self._headers[number], *(line[number] for line in list(lines.values())))
        parts.append(self.form.render(_only(self._exporter.collect(), names)))
        return b"".join((*parts, self.form.end))

    def publish(self, lines: dict[Key, tuple[bytes, ...]], checklist: bytes, zipped: _Zipped | None) -> None:
        """Serve this from now on."""
        self._lines, self._checklist, self._zipped = lines, checklist, zipped
        self._ready.clear()

    @property
    def zips(self) -> bool:
        """Whether it is kept gzipped too."""
        return self._zipped is not None

    def zip(self) -> None:
        """Keep it gzipped too, from now on. Runs in a thread."""
        self._zipped = _Zipped(self._checklist)

    def scrape(self, zipped: bool) -> Scrape:
        """What to send; gzipped only where it is kept so."""
        now = time.monotonic()
        if now - self._own_at >= PACE:
            self._own = self.form.render(self._exporter.collect()) + self.form.end
            self._own_at = now
            self._ready.clear()
        if (ready := self._ready.get(zipped)) is None:
            ready = self._ready[zipped] = _scrape(self.form, self._body(zipped), zipped)
        return ready

    def _body(self, zipped: bool) -> bytes:
        if not zipped or self._zipped is None:
            return self._checklist + self._own
        return self._zipped.ended(self._own)


def _scrape(form: Format, body: bytes, zipped: bool) -> Scrape:
    headers = [
        (b"content-type", form.content_type),
        (b"content-length", str(len(body)).encode()),
        (b"vary", b"Accept, Accept-Encoding"),
    ]
    return Scrape(200, [*headers, (b"content-encoding", b"gzip")] if zipped else headers, body)


def _refusal(why: str) -> Scrape:
    body = f"{why}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    return Scrape(503, headers, body)


class Exposition:
    """The metrics, ready to be sent in every format that was ever asked for; the first to ask for one waits for it.

    `run` keeps them fresh. Should it end, hang or fail, scrapes get a 503 with the reason rather than old truths.
    """

    def __init__(self, state: State, health: Health, *, stale: float = STALE) -> None:
        self._state = state
        self._health = health
        self._stale = stale
        self._exporter = self._own_metrics()
        self._pages: dict[Format, _Page] = {}
        self._rendering = asyncio.Lock()
        # A thread of its own: the loop's common ones may all be waiting for a name server.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="exposition")
        self._selecting = Worker("name[]", places=32)
        self._version = -1
        self._plan: Plan | None = None
        self._current_at: float | None = None
        self._progress_at = -math.inf

    async def run(self) -> None:
        """Render whenever the state changed or time changed what is true, until cancelled."""
        try:
            while True:
                started = time.monotonic()
                await self._supervised()
                await asyncio.sleep(min(max(PACE, 3 * (time.monotonic() - started)), self._stale / 2))
                with suppress(TimeoutError):
                    async with asyncio.timeout(PACE):
                        await self._state.wait(self._version)
        finally:
            self.close()

    async def _supervised(self) -> None:
        """Refresh; a failure is logged and reported instead of ending the exporter, and is tried again."""
        rendering = asyncio.create_task(self.refresh(), name="exposition")
        try:
            await asyncio.wait({rendering})
        finally:
            rendering.cancel()
        self._health.render_error = None
        if error := rendering.exception():
            self._health.render_error = f"The metrics could not be rendered ({type(error).__name__}, see the log)."
            log.error("The metrics could not be rendered.", exc_info=error)

    def close(self) -> None:
        """Let go of the threads."""
        self._selecting.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def refresh(self) -> None:
        """Render what changed since the last time."""
        await self._state.tick()
        async with self._rendering:
            moment = time.monotonic()
            version, plan = self._state.version, self._state.plan
            if version != self._version:
                afresh = plan is not self._plan
                views = await in_turns(self._state.changed(self._version))
                await self._render(list(self._pages.values()), plan, views, afresh=afresh)
                self._version, self._plan = version, plan
            self._current_at = moment

    async def _render(self, pages: Iterable[_Page], plan: Plan, views: list[ItemView], *, afresh: bool) -> None:
        for page in pages:
            lines = page.known(afresh=afresh)
            for start in range(0, len(views), AT_A_TIME):
                await self._in_thread(page.take, lines, views[start : start + AT_A_TIME])
                self._progress_at = time.monotonic()
            if afresh:
                keys = ((item.section, item.item) for item in plan.items)
                lines = {key: lines[key] for key in keys if key in lines}
            page.publish(lines, *await self._in_thread(page.assemble, plan, lines))
        self._progress_at = -math.inf

    async def _in_thread(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    async def _page(self, form: Format) -> _Page:
        """The page in this format, made when it is first asked for."""
        async with self._rendering:
            if (page := self._pages.get(form)) is None:
                page = _Page(form, self._exporter)
                # Only what `refresh` has seen counts as rendered: changes since then come again, and harm nothing.
                await self._render([page], self._state.plan, await in_turns(self._state.views()), afresh=True)
                self._pages[form] = page
        return page

    async def scrape(self, accept: bytes = b"", accept_encoding: bytes = b"") -> Scrape:
        """The answer to a scrape with these request headers: of a replica that does not lead, its own metrics alone."""
        if not self._health.leads:
            form = negotiate(accept)
            return _scrape(form, form.render(self._exporter.collect()) + form.end, zipped=False)
        if why := self.trouble():
            return _refusal(why)
        form = negotiate(accept)
        page = self._pages.get(form) or await self._page(form)
        zipped = accepts_gzip(accept_encoding)
        if zipped and not page.zips:
            async with self._rendering:
                if not page.zips:
                    await self._in_thread(page.zip)
        return page.scrape(zipped)

    async def select(self, names: Iterable[str], accept: bytes = b"") -> Scrape:
        """The answer to a scrape that asks for some metrics only, by the names of their samples.

        Raises Busy when too many such answers are being made: they take nothing from whole scrapes.
        """
        if not self._health.leads:
            form = negotiate(accept)
            return _scrape(
                form, form.render(_only(self._exporter.collect(), frozenset(names))) + form.end, zipped=False
            )
        if self._current_at is not None and (why := self.trouble()):  # before the first rendering there is nothing old
            return _refusal(why)
        form = negotiate(accept)
        page = self._pages.get(form) or await self._page(form)
        body = await self._selecting.run(partial(page.select, self._state.plan, frozenset(names)))
        return _scrape(form, body, zipped=False)

    def _own_metrics(self) -> CollectorRegistry:
        registry = CollectorRegistry(auto_describe=True)
        registry.register(HealthCollector(self._health))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        return registry

    def trouble(self) -> str | None:
        """Why the metrics cannot be sent, as a full sentence; None when they can."""
        if self._current_at is None:
            return self._health.render_error or "The metrics are not rendered yet."
        now = time.monotonic()
        age = now - self._current_at
        # A first rendering of very many lines takes its time, as long as it gets on.
        if age > self._stale and (age > SLOW or now - self._progress_at > self._stale):
            why = self._health.render_error or "Rendering makes no progress."
            return f"The available metrics are {age:.0f} s old (limit {self._stale:.0f} s). {why}"
        return None


@functools.lru_cache(maxsize=64)
def negotiate(accept: bytes) -> Format:
    """The format that an Accept header prefers, by its q-values (RFC 9110, 12.5.1). Text when it has no preference."""
    ranges = list(_qualities(accept))
    text, open_metrics = (_quality(form, ranges) for form in (TEXT, OPENMETRICS))
    return OPENMETRICS if open_metrics > text else TEXT


@functools.lru_cache(maxsize=64)
def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether an Accept-Encoding header takes gzip: named, or by `*`, with a quality above 0."""
    qualities = {name: quality for name, _, quality in _qualities(accept_encoding)}
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0


def _qualities(header: bytes) -> Iterable[tuple[str, dict[str, str], float]]:
    """Each element of a header with its parameters and its quality; one that is malformed counts as not there."""
    for element in header.decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        given = {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in parameters)}
        try:
            quality = float(given.pop("q", "1"))
        except ValueError:
            continue
        if name and 0 <= quality <= 1:
            yield name, given, quality


def _quality(form: Format, ranges: Iterable[tuple[str, dict[str, str], float]]) -> float:
    """How welcome a format is: what the most specific range that covers it says, the best of several such."""
    main_type = form.media_type.partition("/")[0]
    specificity = {
        (form.media_type, True): 3,
        (form.media_type, False): 2,
        (f"{main_type}/*", False): 1,
        ("*/*", False): 0,
    }
    found = (-1, 0.0)
    for name, parameters, quality in ranges:
        version = parameters.get("version")
        if version in (None, form.version):
            found = max(found, (specificity.get((name, version is not None), -1), quality))
    return found[1] if found[0] >= 0 else 0.0
