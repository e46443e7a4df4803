"""Frontend (Next.js)"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from collectors.shared.expressions import Regex
from collectors.shared.verdicts import collected, verdict, worst_of
from collectors.systems.http.check.service import AskedTarget, AskingCollector, ServiceSettings
from collectors.systems.http.judge import pages
from collectors.systems.http.model.documentation import assets
from collectors.systems.http.model.paths import Path
from collectors.systems.kubernetes.check.pods import POD_RIGHTS
from exporter.collector import Mode, Options, item
from exporter.evidence.rules import EvidenceRule
from exporter.reply import Reply
from exporter.verdict import CRITICAL, INFO, WARNING, Reason, Result, failed, ok, unknown
from exporter.words import counted, listed

_MOST_ASSETS = 10


class _Options(Options):
    """What may be set for the section and for one target."""

    pages: tuple[Path, ...] = Field(
        ("/",), min_length=1, description="Pages whose scripts and style sheets are checked."
    )
    api_path: Path | None = Field(
        None, description="Path below `url` that the frontend answers with JSON of its backend, such as /api/products."
    )
    protected_paths: tuple[Path, ...] = Field((), description="Pages that only somebody who is logged in may see.")
    login_path: Path = Field("/login", description="Page to log in, where protected pages redirect to.")
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
        description="Pages rendered again from time to time, each with a regular expression of a text that its HTML has to have.",
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

        Of each page of `pages`, up to ten scripts and style sheets of its own host are there, with content and the type that
        browsers want; an asset that cannot exist is answered 404. During a rollout a page may name assets of the other release:
        what is missing is looked for again with a fresh page. It is a warning when browsers may not cache for a month what changes
        its name with its content.

        How to fix it: copy `.next/static` and `public` beside the standalone server; keep the assets of the last release for a
        while; let a CDN pass Cache-Control on.
        """
        problems: list[Result] = []
        count = 0
        for path in self.target.pages:
            seen, found = await self._assets(path)
            if any(one.reason is Reason.MISSING for one in found):
                seen, found = await self._assets(path)
            count += seen
            problems += found
        bogus = await self._get(f"/_next/static/chunks/{secrets.token_hex(8)}.js")
        if 200 <= bogus.status < 300:
            problems.append(
                failed(
                    f"{bogus.where}, which cannot exist, answered {bogus.status} with {bogus.kind}: missing assets go unnoticed.",
                    reason=Reason.CONTRADICTED,
                )
            )
        where = listed(f"{self.service.url}{path}" for path in self.target.pages)
        return verdict(
            problems, ok(f"{counted(count, 'asset')} of {where} can be loaded{self.traced()}.", assets=count)
        )

    async def _assets(self, path: str) -> tuple[int, list[Result]]:
        """How many assets of a page were checked, and what is wrong."""
        page = await self._get(path)
        if problems := collected(pages.page_problems(page)):
            return 0, problems
        own, foreign = assets(page, path)
        if foreign and not own:
            names = listed(foreign)
            problem = unknown(
                f"{page.where} loads its assets from {names}, which was not asked; name that address as `url` of a target.",
                reason=Reason.NOT_CONFIGURED,
            )
            return 0, [problem]
        if not own:
            return 0, [unknown(f"{page.where} names no scripts and no style sheets, so none were checked.")]
        for asset in own[:_MOST_ASSETS]:
            problems += collected(pages.asset_problems(await self._get(asset), asset))
        return min(len(own), _MOST_ASSETS), problems

    @item("API integration is working", severity=CRITICAL, needs=("url", "api_path"))
    async def api_integration_working(self) -> Result:
        """A frontend that does not reach its backend shows pages without content.

        GET `api_path` of the frontend itself answers 2xx with JSON that is no error and comes from no cache. Choose a path that
        the frontend answers with data of its backend: one that it answers itself proves nothing.

        How to fix it: check the backend's address as the frontend has it (rewrites of Next.js are fixed when it is built).
        """
        if (path := self.target.api_path) is None:
            return unknown(
                f"api_path of {self.target.name} is not configured, so its way to the backend was not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        reply = await self._get(path)
        good = ok(f"{reply.where} answered {reply.status} with JSON{self.traced()}.")
        return verdict(pages.api_problems(reply), good)

    @item(
        "User authentication flow is tested",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("url", "protected_paths", "a record of a test"),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def authentication_flow_tested(self) -> Result:
        """A page that is shown to anybody is no protected page, whatever the login looks like.

        `login_path` answers with a page. Each of `protected_paths` redirects there, or is refused, without a session and, with
        `session_cookie`, with a forged one: many guards only check that the cookie is there. A record, at most 90 days old, has to
        confirm that logging in and out was tested.

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
        problems = collected(pages.page_problems(await self._get(target.login_path)))
        for path in target.protected_paths:
            problems += pages.guard_problems(await self._get(path), False, target.login_path)
            if target.session_cookie:
                forged = {"Cookie": f"{target.session_cookie}=forged-{secrets.token_hex(16)}"}
                problems += pages.guard_problems(await self._get(path, forged), True, target.login_path)
        return verdict(
            problems, ok(f"{listed(target.protected_paths)} cannot be seen without a session{self.traced()}.")
        )

    @item("Performance optimization (SSR, ISR) is configured", severity=INFO, needs=("url", "ssr_pages or isr_pages"))
    async def performance_optimization_configured(self) -> Result:
        """Pages that browsers render are slow to show; pages that are rendered in advance and never again are old.

        Pages of `ssr_pages` were not rendered in advance, and their HTML has the text that the marker matches, differently at two
        requests or with Cache-Control that forbids caches to keep it. Pages of `isr_pages` may be kept by caches for less than a
        year (`s-maxage`), after which they are rendered again, and have their text too.

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
            problems += collected(pages.page_problems(page)) or collected(pages.isr_problems(page, marker))
        parts = [
            f"{listed(paths)} {verb}"
            for paths, verb in (
                (target.ssr_pages, "rendered for every request"),
                (target.isr_pages, "rendered again from time to time"),
            )
            if paths
        ]
        return verdict(problems, ok(f"Pages of {target.name}: {', '.join(parts)}{self.traced()}."))
