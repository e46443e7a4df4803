"""The pages and files that records link: fetched below the configured hosts alone, and read as a person would."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin, urlsplit

from exporter.evidence.errors import Refuted
from exporter.evidence.html import LOGIN_PATH, Page, folded, read_page, refreshed
from exporter.evidence.records import PRINTABLE, Link
from exporter.http import UNUSABLE_LOCATION, Http, HttpSettings
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, unobserved

__all__ = ["Links", "MustContain"]

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3
_CONNECTIONS = 4
_MAX_PAGE = 4 * 2**20
_FRONT = re.compile(
    r"(?:index|default|home|main|start|welcome|dashboard|portal|landing|error|errors|not[-_]?found|404|403|maintenance)"
    r"(?:\.\w+)?",
    re.IGNORECASE,
)
_FLEETING = re.compile(
    r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?\b|\b\d{4}-\d{2}-\d{2}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{16,}\b",
    re.IGNORECASE,
)
_HANDED_ON = frozenset({"samlrequest", "samlresponse", "relaystate", "redirect_uri", "client_id", "wctx", "login_hint"})


class MustContain(StrEnum):
    """When a link must say with `must_contain` what its page has."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class _Shown:
    """A reply that was reached, its address, and what can be read on it. `moved` says how a redirect may have left the document."""

    reply: Reply
    url: str
    page: Page
    moved: str | None


class Links:
    """Opens pages below `hosts`, with their credentials; nothing else is ever asked."""

    def __init__(self, hosts: Sequence[HttpSettings], must_contain: MustContain = MustContain.AUTO) -> None:
        self._hosts = [Http(host, connections=_CONNECTIONS) for host in hosts]
        self._must_contain = must_contain
        self._places = asyncio.Semaphore(_CONNECTIONS)  # a request's time must not pass while it waits for a connection

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(http.close() for http in self._hosts), return_exceptions=True)

    async def look(self, links: Iterable[Link], *, different: bool = False) -> list[Result]:
        """Whether each page answers with its document, one Result for each different page and text.

        With `different` each address must show another document, also where it says what that has.

        A login page was not observed, and a page that cannot be told from one needs `must_contain`. Different addresses that
        show one and the same text show something else than their documents.
        """
        wanted = list(dict.fromkeys((link.page, link.must_contain) for link in links))
        pages = {url: None for url, _ in wanted}
        opened = dict(zip(pages, await asyncio.gather(*map(self._opened, pages)), strict=True))
        texts = Counter(
            _undated(shown.page.text) for shown in opened.values() if isinstance(shown, _Shown) and shown.page.html
        )
        results = [self._judged(url, text, opened[url], texts) for url, text in wanted]
        if not different or self._must_contain is MustContain.NEVER:
            return results
        return [
            unknown(f"{url} shows the same text as another link, so only one document was seen: link each once.")
            if result.status.is_ok and _is_double(opened[url], texts)
            else result
            for (url, _), result in zip(wanted, results, strict=True)
        ]

    async def _opened(self, url: str) -> _Shown | Result:
        try:
            return await self._open(url, _MAX_PAGE)
        except Refuted as refuted:
            return failed(str(refuted), reason=refuted.reason)
        except ProbeError as error:
            return unobserved(error)

    def _judged(self, url: str, must_contain: str | None, shown: _Shown | Result, texts: Counter[str]) -> Result:
        if isinstance(shown, Result):
            return shown
        page = shown.page
        if must_contain is not None:
            return self._containing(url, must_contain, shown)
        if page.login:
            return unknown(f"{url} answers with a login page, so the document was not checked.", reason=Reason.DENIED)
        if not shown.reply.body.strip() or (page.readable and not page.text and not page.media and not page.drawn):
            return failed(f"{url} is an empty page.", reason=Reason.MISSING)
        if not page.text and page.html and not page.media:
            return unknown(f"{url} has no text before its scripts run, so the document was not checked.")
        doubt = page.doubt or shown.moved or ("is drawn by scripts" if page.drawn else None)
        if page.html and texts[_undated(page.text)] > 1 and page.text:
            doubt = doubt or "shows the same text as another link"
        if doubt and self._must_contain is not MustContain.NEVER:
            return unknown(
                f"{url} {doubt}, so it may be another page than the document: set must_contain to a text of the document."
            )
        if self._must_contain is MustContain.ALWAYS:
            return failed(
                f"{url} is linked without must_contain (evidence.require_must_contain is always).",
                reason=Reason.INVALID,
            )
        return ok(f"{url} answers.")

    @staticmethod
    def _containing(url: str, wanted: str, shown: _Shown) -> Result:
        page = shown.page
        if not page.readable:
            kind = shown.reply.headers.get("content-type", "").partition(";")[0]
            return unknown(
                f"{url} is {kind[:60]}, in which {wanted!r} cannot be searched for: link a page, or give it as "
                "artifact."
            )
        if page.shows(wanted) and _echoes(url, wanted):
            return unknown(
                f"{url} has {wanted!r} in its address, which a page for searching repeats: set must_contain to another text of the "
                "document."
            )
        if page.shows(wanted):
            return ok(f"{url} answers and contains {wanted!r}.")
        if page.login:
            return unknown(f"{url} answers with a login page, so the document was not checked.", reason=Reason.DENIED)
        if doubt := page.doubt or shown.moved or ("is drawn by scripts" if page.drawn else None):
            return unknown(f"{url} {doubt} and does not contain {wanted!r}, so the document was not checked.")
        return failed(f"{url} does not contain {wanted!r}.", reason=Reason.CONTRADICTED)

    async def artifact(self, url: str, limit: int) -> tuple[bytes, bool]:
        """The bytes at an address, and whether they are a login page.

        Raises Refuted when there is nothing, ProbeError when they were not seen.
        """
        shown = await self._open(url, limit)
        return shown.reply.body, bool(shown.page.login or shown.page.doubt)

    async def _open(self, url: str, limit: int) -> _Shown:
        """GET a page below one of the hosts, following redirects and refreshes there alone; raises Refuted when there is none."""
        asked = url
        for _ in range(_MOST_REDIRECTS + 1):
            http, path = self._below(url)
            async with self._places:
                reply = await http.get(path, expect=None, max_bytes=limit)
            page = await asyncio.to_thread(read_page, reply.body, reply.headers.get("content-type", ""))
            if reply.status in _REDIRECTS and UNUSABLE_LOCATION in reply.headers:
                raise ProbeError(f"{url} redirects to an invalid address.", Reason.MALFORMED)
            to = _leads_to(reply, page)
            if to is None or ((target := _joined(url, to)) == url and reply.status not in _REDIRECTS):
                break
            if _is_login(target, asked):
                raise ProbeError(f"{asked} redirects to a login page, so the document was not checked.", Reason.DENIED)
            url = target
        else:
            raise ProbeError(f"{asked} was redirected more than three times.")
        if reply.status in (404, 410):
            raise Refuted(f"{asked} does not exist ({reply.status}).", Reason.MISSING)
        if reply.status != 200:
            raise ProbeError(
                f"{asked} answered {reply.status} (expected 200), so the document was not checked.",
                Reason.DENIED if reply.status in (401, 403) else Reason.REFUSED,
            )
        return _Shown(reply, url, page, _moved(asked, url))

    def _below(self, url: str) -> tuple[Http, str]:
        """The connections for an address, and the path below their base."""
        for http in self._hosts:
            path = url.removeprefix(http.settings.url)
            if path != url and PRINTABLE.fullmatch(path) and path[:1] in ("", "/", "?") and not _climbs(path):
                return http, path
        raise ProbeError(f"{url} is not below any of evidence.hosts, so it was not opened.", Reason.NOT_CONFIGURED)


def _is_double(shown: _Shown | Result | None, texts: Counter[str]) -> bool:
    return (
        isinstance(shown, _Shown) and shown.page.html and bool(shown.page.text) and texts[_undated(shown.page.text)] > 1
    )


def _undated(text: str) -> str:
    """A text without what is another one at each request: times, dates, and identifiers of requests."""
    return _FLEETING.sub("", text)


def _echoes(url: str, wanted: str) -> bool:
    """Whether a text is in the query of an address, so that a page may show it for that reason alone."""
    text = folded(wanted).casefold()
    return any(text in folded(value).casefold() for _, value in parse_qsl(urlsplit(url).query))


def _leads_to(reply: Reply, page: Page) -> str | None:
    """Where a reply leads on to, by status, by a Refresh header or by the page itself."""
    if reply.status in _REDIRECTS and "location" in reply.headers:
        return str(reply.headers["location"])
    if reply.status != 200:
        return None
    return refreshed(reply.headers.get("refresh", "")) or page.refresh


def _joined(url: str, location: str) -> str:
    try:
        return urldefrag(urljoin(url, location)).url
    except ValueError:
        raise ProbeError(f"{url} redirects to an invalid address.", Reason.MALFORMED) from None


def _is_login(url: str, asked: str) -> bool:
    """Whether a redirect goes to a login: by its path, or because it takes along where to come back to."""
    parts = urlsplit(url)
    origin = urlsplit(asked)
    own = set(
        origin.path.casefold().split("/")
    )  # a document about logins, say at /wiki/auth, which moves to /wiki/auth/
    if any(match[0][1:].casefold() not in own for match in LOGIN_PATH.finditer(parts.path)):
        return True
    for name, value in parse_qsl(parts.query):
        if name.lower() in _HANDED_ON:
            return True
        if len(origin.path) > 1 and urlsplit(unquote(value)).path == origin.path != parts.path:
            return True
    return False


def _moved(asked: str, url: str) -> str | None:
    """How a redirect may have left the document: to the front page, a folder above, or a page for errors."""
    before, after = (urlsplit(address).path.rstrip("/") for address in (asked, url))
    if before == after or not before:
        return None
    if not after:
        return "redirects to the front page"
    if re.fullmatch(rf"{re.escape(before)}/(?:index|default)\.\w+", after):
        return None
    if _FRONT.fullmatch(after.rpartition("/")[2]) or before.startswith(f"{after}/"):
        return f"redirects to {after}"
    return None


def _climbs(path: str) -> bool:
    """Whether a server may take a path for one above it: encoded dots and backslashes count to some."""
    return ".." in re.split(r"[/\\]", unquote(re.split(r"[?#]", path, maxsplit=1)[0]))
