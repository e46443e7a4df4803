"""The routes. Whatever is asked, only the state is read."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.document import document, item_document, transition_document
from exporter.exposition import Exposition
from exporter.health import Health
from exporter.observations import Transition
from exporter.state import State
from exporter.trace import Traces
from exporter.turns import in_turns
from exporter.verdict import Severity, Status
from exporter.web import pages
from exporter.web.access import Access, AccessFile
from exporter.web.departures import Gone, Watched
from exporter.web.guard import Guard, Users
from exporter.worker import Busy, Worker

__all__ = ["Options", "create_app"]

MAX_TRANSITIONS = 1000
MAX_NAMES = 1000
_JSON = "application/json"
_STATIC = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


class History(Protocol):
    """Where transitions are read; `exporter.history.History` is the real one."""

    async def transitions(
        self, *, section: str | None = None, item: str | None = None, limit: int = 100
    ) -> list[Transition]:
        """The newest first."""


@dataclass(frozen=True, slots=True)
class Options:
    """Where the application is found.

    `external_url` is where browsers find it (links are made from its path); `route_prefix` is the path that reaches this
    process, the same unless a proxy changes it.
    """

    telemetry_path: str = "/metrics"
    external_url: str = ""
    route_prefix: str | None = None
    enable_lifecycle: bool = False
    enable_debug: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError, with a full sentence, for what is no path or no URL."""
        for flag, path in (("telemetry-path", self.telemetry_path), ("route-prefix", self.route_prefix or "")):
            if not re.fullmatch(r"[A-Za-z0-9._~/-]*", path):
                raise ValueError(f"--web.{flag} takes a path of letters, digits, '.', '_', '~' and '-', not {path!r}.")
        if self.external_url:
            try:
                external = urlsplit(self.external_url)
            except ValueError:
                external = urlsplit("")
            if external.scheme not in ("http", "https") or not external.hostname or external.query or external.fragment:
                raise ValueError(
                    "--web.external-url takes a URL such as https://sre.example.com/checklist, without a query."
                )
            if "@" in external.netloc:
                raise ValueError("--web.external-url takes a URL without user and password.")
            if not re.fullmatch(r"[A-Za-z0-9._~/-]*", external.path):
                raise ValueError("The path of --web.external-url takes letters, digits, '.', '_', '~' and '-'.")
        taken = ("", "/badge.svg", "/items", "/api", "/static", "/-")
        metrics = _path(self.telemetry_path)
        if metrics in taken or metrics.startswith(tuple(f"{path}/" for path in taken if path)):
            raise ValueError(
                f"--web.telemetry-path cannot be {self.telemetry_path!r}: pages of the exporter are there."
            )

    @property
    def base(self) -> str:
        """The path before every link."""
        return _path(urlsplit(self.external_url).path) if self.external_url else self.prefix

    @property
    def prefix(self) -> str:
        """The path before every route."""
        if self.route_prefix is None:
            return _path(urlsplit(self.external_url).path)
        return _path(self.route_prefix)


def _path(path: str) -> str:
    """`/a/b` for `a/b/`; nothing for `/`."""
    return f"/{path.strip('/')}" if path.strip("/") else ""


class _Metrics:
    """ASGI: answers scrapes."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        accept = accept_encoding = b""
        for name, value in scope["headers"]:
            if name == b"accept":
                accept = accept + b"," + value if accept else value
            elif name == b"accept-encoding":
                accept_encoding = accept_encoding + b"," + value if accept_encoding else value
        if b"name" in scope["query_string"] and (
            names := parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=MAX_NAMES).get("name[]")
        ):
            scrape = await self._exposition.select(names, accept)
        else:
            scrape = await self._exposition.scrape(accept, accept_encoding)
        await send({"type": "http.response.start", "status": scrape.status, "headers": list(scrape.headers)})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else scrape.body})


class _Shortcut:
    """ASGI: leads scrapes past all that a page needs and a scrape does not. Work for clients that leave is dropped."""

    def __init__(self, app: ASGIApp, path: str, metrics: _Metrics) -> None:
        self._app = app
        self._path = path
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scrape = scope["path"] == self._path and scope["method"] in ("GET", "HEAD")
        if scrape and not scope["query_string"]:
            await self._metrics(scope, receive, send)
            return
        watched = Watched(receive)
        with suppress(Gone):
            if scrape:
                await watched.unless_gone(self._selected(scope, watched, send))
            else:
                await watched.unless_gone(cast("Coroutine[Any, Any, None]", self._app(scope, watched, send)))

    async def _selected(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._metrics(scope, receive, send)
        except (Busy, ValueError) as error:
            status, text = (503, str(error)) if isinstance(error, Busy) else (400, f"At most {MAX_NAMES} names.")
            await PlainTextResponse(f"{text}\n", status, {"retry-after": "1"})(scope, receive, send)


class _Coalesced:
    """Reloads: one at a time, and one more for all who ask meanwhile, since what they changed may have been read already."""

    def __init__(self, reload: Callable[[], Awaitable[str | None]]) -> None:
        self._reload = reload
        self._running: asyncio.Task[str | None] | None = None
        self._next: asyncio.Task[str | None] | None = None

    async def __call__(self) -> str | None:
        if self._running is None or self._running.done():
            task = self._running = asyncio.create_task(self._once(None), name="reload")
        elif self._next is None or self._next.done():
            task = self._next = asyncio.create_task(self._once(self._running), name="reload")
        else:
            task = self._next
        return await asyncio.shield(task)

    async def _once(self, before: asyncio.Task[str | None] | None) -> str | None:
        if before is not None:
            await asyncio.wait({before})
            self._running, self._next = asyncio.current_task(), None
        return await self._reload()


class _Site:
    """The handlers of every route but the scrape."""

    def __init__(
        self,
        state: State,
        exposition: Exposition,
        health: Health,
        history: History,
        reload: Callable[[], Awaitable[str | None]],
        now: Callable[[], datetime],
        options: Options,
        traces: Traces | None,
    ) -> None:
        self._state = state
        self._exposition = exposition
        self._health = health
        self._history = history
        self._reload = _Coalesced(reload)
        self._now = now
        self._options = options
        self._traces = traces
        # Pages of a large checklist take a while: not the time of scrapes, nor the threads that resolve names.
        self._worker = Worker("pages")
        self._templates = pages.environment(
            base=options.base,
            metrics_path=options.base + _path(options.telemetry_path),
            version=health.version,
        )

    def close(self) -> None:
        """Let go of the thread."""
        self._worker.close()

    def routes(self) -> list[Route]:
        """Every route, below the prefix."""
        prefix = self._options.prefix
        found = [
            Route(f"{prefix}/", self.index),
            Route(f"{prefix}/launch", self.launch),
            Route(f"{prefix}/items/{{section}}/{{item}}", self.item),
            Route(f"{prefix}/api/v1/items", self.api_items),
            Route(f"{prefix}/api/v1/items/{{section}}/{{item}}", self.api_item),
            Route(f"{prefix}/api/v1/transitions", self.api_transitions),
            Route(f"{prefix}/badge.svg", self.badge),
            Route(f"{prefix}/static/{{name}}", self.static),
            Route(f"{prefix}/-/healthy", self.healthy),
            Route(f"{prefix}/-/ready", self.ready),
        ]
        if self._options.enable_lifecycle:
            found.append(Route(f"{prefix}/-/reload", self.reload, methods=["POST", "PUT"]))
        if prefix:
            found += [Route("/", self.to_prefix), Route(prefix, self.to_prefix)]
        return found

    async def _in_thread(self, make: Callable[[], bytes]) -> bytes:
        try:
            return await self._worker.run(make)
        except Busy as error:
            raise HTTPException(503, str(error), {"retry-after": "1"}) from None

    async def _rendered(
        self, template: str, values: Callable[[], Mapping[str, Any]], status: int = 200, media_type: str = "text/html"
    ) -> Response:
        now = self._now()
        troubles = [*self._health.troubles(now), *self._health.notes()]
        follows = self._health.leader_name if not self._health.leads else ""
        shared = {"now": now, "plan": self._state.plan, "troubles": troubles, "follows": follows}
        body = await self._in_thread(
            lambda: _bytes(self._templates.get_template(template).render({**shared, **values()}))
        )
        headers = {"cache-control": "no-cache"}
        return Response(
            body, status, headers, f"{media_type}; charset=utf-8" if media_type == "text/html" else media_type
        )

    async def _json(self, make: Callable[[], object], status: int = 200) -> Response:
        body = await self._in_thread(lambda: json.dumps(make(), allow_nan=False).encode())
        return Response(body, status, {"cache-control": "no-cache"}, _JSON)

    async def to_prefix(self, request: Request) -> Response:
        """From the server's root to the first page."""
        return RedirectResponse(f"{self._options.base}/")

    async def index(self, request: Request) -> Response:
        """The checklist as it is now."""
        plan, views, now, chosen = self._state.plan, await in_turns(self._state.views()), self._now(), _filter(request)
        refresh = "30" if request.query_params.get("refresh") else ""
        toggled = (
            request.url.remove_query_params("refresh") if refresh else request.url.include_query_params(refresh=30)
        )
        given = request.query_params.get("page", "")
        page = int(given) if re.fullmatch("[0-9]{1,6}", given) else 1
        here = request.url.remove_query_params("page").query
        return await self._rendered(
            "index.html",
            lambda: {
                **pages.index(views, plan, chosen, now, page),
                "refresh": refresh,
                "toggled": toggled.query,
                "here": f"{here}&" if here else "",
            },
        )

    async def launch(self, request: Request) -> Response:
        """What blocks the launch, whose it is, and what expires when."""
        plan, views, now = self._state.plan, await in_turns(self._state.views()), self._now()
        return await self._rendered("launch.html", lambda: pages.launch(views, plan, now))

    async def item(self, request: Request) -> Response:
        """One line: all that is known of it."""
        section, name = request.path_params["section"], request.path_params["item"]
        view = self._state.view(section, name)
        if view is None:
            raise HTTPException(404, f"The checklist has no item {section}.{name}.")
        history = await self._history.transitions(section=section, item=name, limit=50)
        plan, now = self._state.plan, self._now()
        asked = None
        if self._traces is not None and "debug" in request.query_params:
            jobs = [job for job in plan.jobs if job.section == section and name in job.items]
            asked = [(job, self._traces.last(job.id)) for job in jobs]
        shown = {"asked": asked, "debug": self._traces is not None}
        return await self._rendered("item.html", lambda: {**pages.item(view, plan, history, now), **shown})

    def _refuse_outdated(self) -> None:
        """Programs do not read what a page says beside its results."""
        if why := self._health.outdated():
            raise HTTPException(503, why, {"retry-after": "5"})

    async def api_items(self, request: Request) -> Response:
        """The document that `check --format json` prints, of the items that the filter takes."""
        self._refuse_outdated()
        plan, views, now, chosen = self._state.plan, await in_turns(self._state.views()), self._now(), _filter(request)
        for name, given, known in (("status", chosen.status, Status), ("severity", chosen.severity, Severity)):
            if unknown := given - set(known):  # who asks for `FAILED` and gets nothing would believe that nothing is
                raise HTTPException(400, f"{name} takes {', '.join(known)}, not {', '.join(sorted(unknown))}.")
        return await self._json(lambda: document(filter(chosen.takes, views), plan, now))

    async def api_item(self, request: Request) -> Response:
        """One element of the document's `items`."""
        self._refuse_outdated()
        section, name = request.path_params["section"], request.path_params["item"]
        view = self._state.view(section, name)
        if view is None:
            raise HTTPException(404, f"The checklist has no item {section}.{name}.")
        return await self._json(lambda: item_document(view))

    async def api_transitions(self, request: Request) -> Response:
        """The newest changes of status, newest first."""
        query = request.query_params
        limit = query.get("limit", "100")
        if not re.fullmatch("[0-9]{1,4}", limit) or not 1 <= int(limit) <= MAX_TRANSITIONS:
            raise HTTPException(400, f"limit must be a number from 1 to {MAX_TRANSITIONS}.")
        found = await self._history.transitions(section=query.get("section"), item=query.get("item"), limit=int(limit))
        return await self._json(lambda: {"transitions": [transition_document(transition) for transition in found]})

    async def badge(self, request: Request) -> Response:
        """The score as a small picture."""
        views = await in_turns(self._state.views())
        return await self._rendered("badge.svg", lambda: pages.badge(views), media_type="image/svg+xml")

    async def static(self, request: Request) -> Response:
        """Style sheet and icon; their address has the version in it, so browsers may keep them."""
        name = request.path_params["name"]
        if name not in _STATIC:
            raise HTTPException(404)
        content = files("exporter.web").joinpath("static", name).read_bytes()
        return Response(content, headers={"cache-control": "public, max-age=86400"}, media_type=_STATIC[name])

    async def healthy(self, request: Request) -> Response:
        """503 while the scheduler or the rendering stands still, which a restart fixes; the answer names stuck runs, too."""
        troubles = self._health.troubles(self._now())
        if troubles:
            return PlainTextResponse("\n".join(troubles) + "\n", 503)
        return PlainTextResponse("\n".join(["checklist-exporter is healthy.", *self._health.notes()]) + "\n")

    async def ready(self, request: Request) -> Response:
        """503 until the configuration is loaded and metrics can be sent; of a replica, while its results are out of date."""
        why = "The configuration is not loaded yet." if not self._health.ready else self._health.outdated()
        why = why or self._exposition.trouble()
        return PlainTextResponse(f"{why or 'checklist-exporter is ready.'}\n", 503 if why else 200)

    async def reload(self, request: Request) -> Response:
        """Reload the configuration; the answer has the errors that keep it from being used."""
        if not self._is_own(request):
            raise HTTPException(403, "Another site may not reload the configuration.")
        why = await self._reload()
        return PlainTextResponse(f"{why or 'The configuration was reloaded.'}\n", 500 if why else 200)

    def _is_own(self, request: Request) -> bool:
        """Whether no page of another site sent the request: browsers say where it comes from, programs say nothing."""
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return False
        origin = request.headers.get("origin")
        if origin is None:
            return True
        own = {f"{request.url.scheme}://{request.headers.get('host', '')}"}
        if external := urlsplit(self._options.external_url):
            own.add(f"{external.scheme}://{external.netloc}")
        return origin in own

    async def error(self, request: Request, error: Exception) -> Response:
        """What went wrong: as JSON to those who asked for data, as a page to the others."""
        status, detail, headers = 500, "Internal error; see the exporter's log.", None
        if isinstance(error, HTTPException):
            status, detail, headers = error.status_code, error.detail, error.headers
        if request.url.path.startswith(f"{self._options.prefix}/api/"):
            response = await self._json(lambda: {"error": detail}, status)
        elif "text/html" in request.headers.get("accept", ""):
            response = await self._rendered("error.html", lambda: {"detail": detail}, status)
        else:
            response = PlainTextResponse(f"{detail}\n", status)
        response.headers.update(headers or {})
        return response


def _bytes(text: str) -> bytes:
    """What a server answered may hold half characters, which no encoding has."""
    return text.encode("utf-8", "backslashreplace")


def _filter(request: Request) -> pages.Filter:
    query = request.query_params

    def chosen(name: str) -> frozenset[str]:
        return frozenset(value for given in query.getlist(name) for value in given.split(",") if value)

    return pages.Filter(
        chosen("status"), chosen("severity"), chosen("team"), chosen("section"), query.get("q", "").strip()
    )


def create_app(
    state: State,
    exposition: Exposition,
    health: Health,
    *,
    history: History,
    reload: Callable[[], Awaitable[str | None]],
    now: Callable[[], datetime],
    options: Options = Options(),
    access: Callable[[], Awaitable[Access]] | None = None,
    traces: Traces | None = None,
) -> ASGIApp:
    """The application, ready for `serve`.

    `reload` reloads the configuration and returns None, or a full sentence that says why the last good one stays;
    `access` gives the access in force, at the time of each request (`AccessFile.fresh`), `traces` has what runs
    asked, where that is shown.
    """
    site = _Site(state, exposition, health, history, reload, now, options, traces)
    handlers = {HTTPException: site.error, Exception: site.error}
    users = Users()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            site.close()
            users.close()

    metrics = _Metrics(exposition)
    metrics_path = options.prefix + _path(options.telemetry_path)
    routes = [Route(metrics_path, metrics, methods=["GET", "HEAD"]), *site.routes()]
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    exempt = [f"{options.prefix}/-/healthy", f"{options.prefix}/-/ready"]
    return Guard(_Shortcut(app, metrics_path, metrics), access or AccessFile(None).fresh, users, exempt)
