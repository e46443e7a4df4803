"""Frontend (Next.js)"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from pydantic import Field

from collectors.shared.expressions import Regex
from collectors.shared.verdicts import collected, verdict, worst_of
from collectors.systems.http.check.assets import AssetOptions, see_assets
from collectors.systems.http.check.service import AskedTarget, AskingCollector, ServiceSettings
from collectors.systems.http.judge import pages
from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.forgeries import forged_tokens
from collectors.systems.http.model.pages import marked, rendering, renewal
from collectors.systems.http.model.paths import Path
from collectors.systems.kubernetes.check.pods import POD_RIGHTS
from exporter.collector import Mode, item
from exporter.evidence.rules import EvidenceRule
from exporter.http import BaseUrl
from exporter.reply import Reply
from exporter.verdict import CRITICAL, INFO, WARNING, Reason, Result, ok, unknown
from exporter.words import listed

#: What asks for a page in other ways than a browser does at first: by the data of Next.js alone, and as its own server once could
#: (CVE-2025-29927), which skipped the guard.
_KNOCKS: tuple[tuple[Mapping[str, str], str], ...] = (
    ({}, "without a session"),
    ({"RSC": "1"}, "without a session, as data (RSC)"),
    ({"x-middleware-subrequest": ":".join(["middleware"] * 5)}, "without a session, by x-middleware-subrequest"),
)


_YEAR = 31_536_000


class _Options(AssetOptions):
    """What may be set for the section and for one target."""

    api_path: Path | None = Field(
        None, description="Path below `url` that the frontend answers with JSON of its backend, such as /api/products."
    )
    api_marker: Regex | None = Field(
        None,
        description="Regular expression of a text that this JSON has to have; an empty document is `unknown` without.",
    )
    protected_paths: tuple[Path, ...] = Field((), description="Pages that only somebody who is logged in may see.")
    login_path: Path = Field("/login", description="Page to log in, where protected pages redirect to.")
    login_url: BaseUrl | None = Field(
        None, description="Address that protected pages redirect to instead, where people log in on another host."
    )
    session_cookie: str | None = Field(
        None,
        pattern=r"^[\w.-]+$",
        description="Name of the session cookie, to try a forged one; by default none is tried.",
    )
    ssr_pages: Mapping[Path, Regex] = Field(
        default_factory=dict,
        description="Pages rendered for every request, each with a regular expression of a text that its HTML has to have.",
    )
    isr_pages: Mapping[Path, Regex] = Field(
        default_factory=dict,
        description="Pages rendered again from time to time, each with a regular expression of a text in its HTML that changes "
        "whenever it is rendered, such as `Updated at \\d+`.",
    )


class FrontendTarget(AskedTarget, _Options):
    """A web frontend."""


class FrontendSettings(ServiceSettings, _Options):
    """Options of the section."""

    targets: tuple[FrontendTarget, ...] = Field(min_length=1, description="The frontends to check.")


class Frontend(AskingCollector[FrontendSettings, FrontendTarget]):
    """Reads a few pages as a browser would get them, one GET at a time; no script is run."""

    Settings = FrontendSettings
    Target = FrontendTarget

    async def _get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return (await self.service.get(path, self.now, headers)).reply

    @item("Frontend pods are running and healthy", severity=CRITICAL, needs=POD_RIGHTS)
    async def pods_healthy(self) -> Result:
        """Pods that restart, are not ready or are too few leave users with an error page, or an old release.

        The pods that `pods` selects are Ready, do not keep restarting, and their workload has all its replicas.

        How to fix it: `kubectl describe pod` and the log of the previous container show why the pod that is named is not ready.
        """
        return await self.see_pods()

    @item("Static assets are served correctly", severity=CRITICAL, needs=("url",))
    async def static_assets_served(self) -> Result:
        """A page whose scripts are missing is shown, and does nothing.

        Of each page of `pages`, the scripts and style sheets that it names, also within its scripts, are there, with the type and
        the hash that browsers want, and allowed by its own Content-Security-Policy; it has no error of the server within, and its
        end; an asset that cannot exist is answered 404. Redirects on the same host are followed. During a rollout a page may name
        assets of the other release: what is missing is looked for again with a fresh page. It is a warning when browsers may not
        cache for a month what changes its name with its content, or may keep the page itself for more than an hour.

        How to fix it: copy `.next/static` and `public` beside the standalone server; keep the assets of the last release for a
        while; let a CDN pass Cache-Control on.
        """
        return await see_assets(self, self.target)

    @item("API integration is working", severity=CRITICAL, needs=("url", "api_path"))
    async def api_integration_working(self) -> Result:
        """A frontend that does not reach its backend shows pages without content.

        GET `api_path` of the frontend itself answers 2xx with JSON that is no error, has `api_marker` or at least something, and
        comes from no cache. Choose a path that the frontend answers with data of its backend: one that it answers itself proves
        nothing.

        How to fix it: check the backend's address as the frontend has it (rewrites of Next.js are fixed when it is built).
        """
        if (path := self.target.api_path) is None:
            return unknown(
                f"api_path of {self.target.name} is not configured, so its way to the backend was not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        reply = await self._get(path)
        good = ok(f"{reply.where} answered {reply.status} with JSON{self.traced()}.")
        return verdict(pages.api_problems(reply, self.target.api_marker), good)

    @item(
        "User authentication flow is tested",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("url", "protected_paths", "a record of a test"),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def authentication_flow_tested(self) -> Result:
        """A page that is shown to anybody is no protected page, whatever the login looks like.

        `login_path` answers with a page. Each of `protected_paths` redirects there, on the host of `url` or `public_url` (or to
        `login_url`), or is refused: without a session, asked for as Next.js's own data and as its own server once could, and, with
        `session_cookie`, with forged ones: many guards only check that the cookie is there, or read a token without verifying it.
        A record, at most 90 days old, has to confirm that logging in and out was tested.

        How to fix it: verify the session on the server, for every protected page; test the flow and record it with
        `checklist-exporter attest frontend.authentication_flow_tested`.
        """
        return await worst_of(self._guarded(), self.attested("authentication_flow_tested"))

    async def _guarded(self) -> Result:
        target = self.target
        if not target.protected_paths:
            return unknown(
                f"protected_paths of {target.name} is not configured, so no page was tried without a session.",
                reason=Reason.NOT_CONFIGURED,
            )
        problems = []
        logins = [target.login_url] if target.login_url else self._logins()
        if target.login_url is None:
            problems += collected(pages.page_problems(await self._get(target.login_path)))
        for path in target.protected_paths:
            for headers, who in _KNOCKS:
                problems += pages.guard_problems(await self._knock(path, headers), who, logins)
            if target.session_cookie:
                for value in forged_tokens(self.now):
                    cookie = {"Cookie": f"{target.session_cookie}={value}"}
                    problems += pages.guard_problems(
                        await self._get(path, cookie), "with a forged session cookie", logins
                    )
        return verdict(
            problems, ok(f"{listed(target.protected_paths)} cannot be seen without a session{self.traced()}.")
        )

    async def _knock(self, path: str, headers: Mapping[str, str]) -> Reply:
        """A protected page as it is asked for in some way; Next.js wants the request for its data under another query."""
        data = "RSC" in headers
        return await self._get(f"{path}{'&' if '?' in path else '?'}_rsc" if data else path, headers)

    def _logins(self) -> list[str]:
        """The login page on the hosts under which the frontend is known."""
        known = filter(None, (self.target.url, self.target.public_url))
        return [f"{base}{self.target.login_path}" for base in known]

    @item("Performance optimization (SSR, ISR) is configured", severity=INFO, needs=("url", "ssr_pages or isr_pages"))
    async def performance_optimization_configured(self) -> Result:
        """Pages that browsers render are slow to show; pages that are rendered in advance and never again are old.

        Pages of `ssr_pages` were not rendered in advance, and their HTML has the text that the marker matches, differently at two
        requests or with Cache-Control that forbids caches to keep it. Pages of `isr_pages` may be kept by caches for less than a
        year (`s-maxage`), and their text was seen to change after that time: until then the line is unknown, and fails when it
        has stopped. Headers say the same while every rendering fails.

        How to fix it: `export const dynamic = "force-dynamic"` or `export const revalidate = 60` in the page; pass Cache-Control on
        in what is in front.
        """
        target = self.target
        if not target.ssr_pages and not target.isr_pages:
            return unknown(
                f"Neither ssr_pages nor isr_pages of {target.name} is configured, so how pages are rendered was not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        problems: list[Result] = []
        for path, marker in target.ssr_pages.items():
            first, second = await self._get(path), await self._get(path)
            problems += collected(pages.page_problems(first)) or collected(pages.ssr_problems(first, second, marker))
        for path, marker in target.isr_pages.items():
            page = await self._get(path)
            problems += collected(pages.page_problems(page)) or collected(self._renewed(path, page, marker))
        parts = [
            f"{listed(paths)} {verb}"
            for paths, verb in (
                (target.ssr_pages, "rendered for every request"),
                (target.isr_pages, "rendered again from time to time"),
            )
            if paths
        ]
        return verdict(problems, ok(f"Pages of {target.name}: {', '.join(parts)}{self.traced()}."))

    def _renewed(self, path: str, page: Reply, marker: str) -> Iterator[Result]:
        """Whether a page is rendered again, by what earlier runs read of it."""
        text, shown = marked(page, marker), rendering(page)
        known = None
        if text is not None:
            # A cache in front may ask for a page that has expired, be given it once more, and keep that as long again.
            kept = timedelta(seconds=min(shown.shared_seconds or 0, _YEAR) * (3 if cached_by(page) else 1))
            expired = shown.cache == "STALE" and not page.headers.get("age")
            texts = self.context.memory.setdefault("renewals", {}).setdefault(path, {})
            known = renewal(texts, text, expired, kept, self.now)
        return pages.isr_problems(page, marker, known)
