"""Loads what pages load: their scripts and style sheets, from the page's own host and from those that are named."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import Field

from collectors.shared.verdicts import collected, verdict
from collectors.systems.http.check.service import AskingCollector
from collectors.systems.http.client import ServiceClient, Unanswered
from collectors.systems.http.judge import pages
from collectors.systems.http.judge.policies import policy_problems
from collectors.systems.http.model.assets import Asset, Kind, Loaded, loaded, named_chunks
from collectors.systems.http.model.paths import Path
from exporter.http import BaseUrl, HttpSettings, Trust
from exporter.options import Options
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, unobserved
from exporter.words import counted, listed

__all__ = ["AssetOptions", "see_assets"]

_MOST_ASSETS = 100
_MOST_REDIRECTS = 5


class AssetOptions(Options):
    """Which pages load what from where."""

    pages: tuple[Path, ...] = Field(
        ("/",), min_length=1, description="Pages whose scripts and style sheets are checked."
    )
    asset_urls: tuple[BaseUrl, ...] = Field(
        (),
        description="Addresses of other hosts that pages load their own scripts and style sheets from, such as a CDN; they "
        "are asked without credentials.",
    )


async def see_assets(collector: AskingCollector[Any, Any], options: AssetOptions) -> Result:
    """The verdict on the pages' assets. Raises ProbeError when the frontend cannot be asked."""
    return await _Assets(collector, options).see()


class _Assets:
    """One run: nothing is loaded twice, but where a page was read again."""

    def __init__(self, collector: AskingCollector[Any, Any], options: AssetOptions) -> None:
        self._collector = collector
        self._options = options
        self._others: dict[str, ServiceClient] = {}
        self._replies: dict[tuple[str, str], Reply] = {}

    async def see(self) -> Result:
        problems: list[Result] = []
        seen: set[tuple[str, str]] = set()
        for path in self._options.pages:
            found, judged = await self._page(path)
            if any(one.reason is Reason.MISSING for one in judged):
                self._replies.clear()
                found, judged = await self._page(path)
            seen |= found
            problems += judged
        where = listed(f"{self._collector.service.url}{path}" for path in self._options.pages)
        count = len(seen)
        good = ok(f"{counted(count, 'asset')} of {where} can be loaded{self._collector.traced()}.", assets=count)
        return verdict(problems, good)

    async def _page(self, path: str) -> tuple[set[tuple[str, str]], list[Result]]:
        """What was loaded of a page, and what is wrong with it."""
        page, circle = await self._read(path)
        if circle:
            return set(), [failed(f"{page.where} redirects in a circle.", reason=Reason.MISCONFIGURED)]
        if problems := collected(pages.page_problems(page)):
            return set(), problems
        wanted = loaded(page)
        if not wanted.assets:
            return set(), [unknown(f"{page.where} names no scripts and no style sheets, so none were checked.")]
        problems += pages.start_problems(page)
        needed = [*wanted.assets, *named_chunks(wanted)]
        reached = [asset for asset in needed if not asset.origin or self._other(asset) is not None]
        unasked = [asset for asset in needed if asset.origin and self._other(asset) is None]
        problems += pages.unasked_problems(page, unasked, all_foreign=not reached)
        problems += policy_problems(page, wanted, [asset for asset in wanted.assets if asset in reached])
        for asset in reached[:_MOST_ASSETS]:
            problems += await self._asset(asset, page)
        if left := len(reached[_MOST_ASSETS:]):
            problems.append(unknown(f"{page.where} loads {counted(left, 'asset')} more, which were not checked."))
        problems += await self._missing(wanted, reached)
        return {(asset.origin, asset.path) for asset in reached[:_MOST_ASSETS]}, problems

    async def _read(self, path: str) -> tuple[Reply, bool]:
        """A page, as browsers find it by redirects on its own host, and whether they go in a circle."""
        service, now = self._collector.service, self._collector.now
        page = (await service.get(path, now)).reply
        asked = {page.where}
        for _ in range(_MOST_REDIRECTS):
            here = urlsplit(page.where.partition(" ")[2])
            there = urlsplit(urljoin(here.geturl(), page.headers.get("location", "")))
            if not 300 <= page.status < 400 or (there.scheme, there.netloc) != (here.scheme, here.netloc):
                return page, False
            page = (await service.get_of_host(f"{there.path or '/'}{'?' * bool(there.query)}{there.query}", now)).reply
            if page.where in asked and 300 <= page.status < 400:
                return page, True
            asked.add(page.where)
        return page, 300 <= page.status < 400

    async def _asset(self, asset: Asset, page: Reply) -> list[Result]:
        """What is wrong with an asset: an answer that is not whole, or cannot be unpacked, is none for browsers either."""
        try:
            return collected(pages.asset_problems(await self._load(asset, page), asset))
        except Unanswered as why:
            return [failed(f"{str(why).rstrip('.')}, and the page needs it.", reason=Reason.DOWN)]
        except ProbeError as why:
            if why.reason is not Reason.MALFORMED:
                return [unobserved(why)]
            return [failed(f"{str(why).rstrip('.')}, and the page needs it.", reason=Reason.INVALID)]

    async def _load(self, asset: Asset, page: Reply) -> Reply:
        key = (asset.origin, asset.path)
        if key not in self._replies:
            now = self._collector.now
            if asset.origin:
                other = self._other(asset)
                assert other is not None
                at = urlsplit(page.where.partition(" ")[2])
                headers: Mapping[str, str] = {"Origin": f"{at.scheme}://{at.netloc}"}
                self._replies[key] = (await other.get_of_host(asset.path, now, headers)).reply
            else:
                self._replies[key] = (await self._collector.service.get_of_host(asset.path, now)).reply
        return self._replies[key]

    def _other(self, asset: Asset) -> ServiceClient | None:
        """The client of another host that is named; the public's own address is one."""
        collector, target = self._collector, self._collector.target
        named = [*self._options.asset_urls, *([target.public_url] if target.public_url else [])]
        if not any(f"{asset.origin}{asset.path}".startswith(f"{base}/") for base in named):
            return None
        if asset.origin not in self._others:
            settings = HttpSettings(
                url=asset.origin,
                tls=Trust(ca_file=target.tls.ca_file, insecure_skip_verify=target.tls.insecure_skip_verify),
                timeout=target.request_timeout,
                max_bytes=target.max_bytes,
            )
            client = ServiceClient(settings, collector.context.memory, collector.trace_id, asyncio.Lock())
            collector.resources.push_async_callback(client.close)
            self._others[asset.origin] = client
        return self._others[asset.origin]

    async def _missing(self, wanted: Loaded, reached: list[Asset]) -> list[Result]:
        """Whether an asset that cannot exist, beside one that the page loads, is answered as if it did."""
        beside = next((asset for asset in reached if not asset.origin and asset.kind is Kind.SCRIPT), None)
        beside = beside or next((asset for asset in reached if not asset.origin), None)
        if beside is None:
            return []
        folder, ending = beside.path.partition("?")[0].rpartition("/")[0], beside.kind
        name = f"{secrets.token_hex(8)}.{'js' if ending is Kind.SCRIPT else 'css'}"
        bogus = (await self._collector.service.get_of_host(f"{folder}/{name}", self._collector.now)).reply
        if not 200 <= bogus.status < 300:
            return []
        text = f"{bogus.where}, which cannot exist, answered {bogus.status} with {bogus.kind}: missing assets go unnoticed."
        return [failed(text, reason=Reason.CONTRADICTED)]
