"""Whether a web frontend serves its pages, their assets and its API as browsers need them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from collectors.systems.http.model.assets import Asset, wanted_hash
from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.pages import (
    Renewal,
    browser_seconds,
    marked,
    next_page,
    rendering,
    sent_error,
    sent_on,
    streamed_redirect,
)
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import listed, one_line

__all__ = [
    "api_problems",
    "asset_problems",
    "guard_problems",
    "isr_problems",
    "page_problems",
    "ssr_problems",
    "start_problems",
    "unasked_problems",
]

_MONTH = 30 * 86400
_YEAR = 31_536_000
_HASHED = re.compile(r"/_next/static/|[.-][0-9a-f]{8,}\.")
_GZIP = b"\x1f\x8b"
#: Browsers that have a page for longer come back to it after a release.
_LONGEST_PAGE = 3600
_ENVELOPE = frozenset({"message", "msg", "data"})
#: What is only said, of whatever.
_SAID = frozenset({"message", "msg", "detail", "title", "type", "path", "timestamp"})
_PAGES = ("text/html", "application/xhtml+xml")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def page_problems(page: Reply) -> Iterator[Result]:
    """Why a page cannot be read, or shows an error in place of what it should."""
    if page.status in (401, 403):
        yield unknown(f"{page.where} answered {page.status}, so the page was not checked.", reason=Reason.DENIED)
    elif 300 <= page.status < 400:
        to = one_line(page.headers.get("location", "nowhere").partition("?")[0], 200)
        yield unknown(f"{page.where} redirects to {to}, so the page was not checked.", reason=Reason.MISCONFIGURED)
    elif page.status != 200:
        yield failed(f"{page.where} answered {page.status} (expected 200).", reason=Reason.DOWN)
    elif page.kind != "an HTML page":
        yield failed(
            f"{page.where} answered 200 with {page.kind}, where an HTML page was wanted.", reason=Reason.INVALID
        )
    elif download := _as_download(page):
        yield failed(f"{page.where} has {download}: browsers do not show it as a page.", reason=Reason.MISCONFIGURED)
    elif error := sent_error(page):
        yield failed(f"{page.where} answered 200 with {error}.", reason=Reason.DOWN)
    elif (elsewhere := sent_on(page)) is not None:
        yield unknown(
            f"{page.where} sends browsers on to {one_line(elsewhere.partition('?')[0], 200)} by itself, so the page was not "
            "checked.",
            reason=Reason.MISCONFIGURED,
        )


def _as_download(page: Reply) -> str:
    """The header by which browsers take a page of HTML for something else; empty where there is none."""
    if page.headers.get("content-disposition", "").strip().lower().startswith("attachment"):
        return "the header Content-Disposition: attachment"
    kind = page.headers.get("content-type", "").partition(";")[0].strip().lower()
    return f"the content type {one_line(kind)}" if kind and kind not in _PAGES else ""


def start_problems(page: Reply) -> Iterator[Result]:
    """Why a page of Next.js does not start though its scripts are there, and whether browsers keep it for too long."""
    if (found := next_page(page)) is None:
        return
    if not found.hydrated:
        yield failed(
            f"{page.where} loads the scripts of Next.js without the data that they start with: it is shown, and does nothing.",
            reason=Reason.INVALID,
        )
    elif not found.whole:
        yield failed(f"{page.where} breaks off: it has no end (</html>).", reason=Reason.INVALID)
    if (kept := browser_seconds(page)) > _LONGEST_PAGE:
        yield warning(
            f"{page.where} may be kept by browsers for {kept} s: after a release it names scripts that are gone (wanted "
            f"{_LONGEST_PAGE} s or less)."
        )


def asset_problems(reply: Reply, asset: Asset) -> Iterator[Result]:
    """What is wrong with a script or style sheet that a page names."""
    if reply.status != 200:
        yield failed(f"{reply.where}, which the page needs, answered {reply.status}.", reason=Reason.MISSING)
        return
    kind = reply.headers.get("content-type", "none").partition(";")[0].strip().lower()
    if not reply.body.strip() or reply.kind == "an HTML page":
        yield failed(f"{reply.where}, which the page needs, answered 200 with {reply.kind}.", reason=Reason.INVALID)
    elif asset.kind.value not in kind.replace("ecmascript", "javascript"):
        yield failed(
            f"{reply.where} has the content type {kind}, which browsers refuse (wanted {asset.kind.value}).",
            reason=Reason.INVALID,
        )
    elif reply.body.startswith(_GZIP):
        yield failed(f"{reply.where} is compressed twice, which browsers do not unpack.", reason=Reason.INVALID)
    elif (wanted := wanted_hash(asset, reply.body)) is not None:
        yield failed(
            f"{reply.where} is not what the page expects by its integrity ({wanted}): browsers refuse it.",
            reason=Reason.INVALID,
        )
    elif asset.cors and reply.headers.get("access-control-allow-origin") is None:
        yield failed(
            f"{reply.where} has no Access-Control-Allow-Origin, without which browsers refuse it to a page of another origin.",
            reason=Reason.MISCONFIGURED,
        )
    elif _HASHED.search(asset.path.partition("?")[0]):
        control = reply.headers.get("cache-control", "")
        age = re.search(r"(?:^|[\s,])max-age\s*=\s*(\d+)", control)
        if age is None or int(age[1]) < _MONTH or "no-store" in control:
            yield warning(
                f"{reply.where}, whose name changes with its content, may be cached by browsers for "
                f"{age[1] if age else 'no'} s (wanted {_MONTH} s or more)."
            )


def unasked_problems(page: Reply, foreign: Iterable[Asset], *, all_foreign: bool) -> Iterator[Result]:
    """Assets of other hosts that were not asked for: those that are named as a build names its own belong to the page."""
    built = [asset for asset in foreign if all_foreign or _HASHED.search(asset.path.partition("?")[0])]
    if built:
        yield unknown(
            f"{page.where} loads assets from {listed(dict.fromkeys(asset.origin for asset in built))}, which was not asked; name "
            "that address in asset_urls.",
            reason=Reason.NOT_CONFIGURED,
        )


def api_problems(reply: Reply, marker: str | None = None) -> Iterator[Result]:
    """Why a path of the frontend that leads to its backend does not show that it does; `marker` is what its text has to have."""
    if reply.status in (401, 403):
        yield unknown(
            f"{reply.where} answered {reply.status}: the exporter's credentials were not accepted.",
            reason=Reason.DENIED,
        )
        return
    if 300 <= reply.status < 400:
        yield failed(f"{reply.where} answered {reply.status}, where JSON was wanted.", reason=Reason.MISCONFIGURED)
        return
    if not 200 <= reply.status < 300:
        yield failed(
            f"{reply.where} answered {reply.status} with {reply.kind if reply.status < 300 else 'an error'}.",
            reason=Reason.DOWN,
        )
        return
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        yield failed(
            f"{reply.where} answered {reply.status} with {reply.kind}, where JSON was wanted.", reason=Reason.INVALID
        )
        return
    if document is None or (isinstance(document, dict) and _is_error(document)):
        yield failed(f"{reply.where} answered {reply.status} with an error in its body.", reason=Reason.DOWN)
    elif marker is not None:
        if not re.search(marker, reply.text):
            yield failed(
                f"{reply.where} answered {reply.status} without the text of api_marker.", reason=Reason.MISSING
            )
    elif _is_empty(document):
        yield unknown(
            f"{reply.where} answered {reply.status} with an empty document, as a backend that fails may be hidden; name in "
            "api_marker what it has to hold.",
            reason=Reason.NOT_VERIFIED,
        )
    if rendering(reply).prerendered or cached_by(reply):
        yield unknown(
            f"{reply.where} was answered from a cache, so the backend was not observed.", reason=Reason.MISCONFIGURED
        )


def _is_error(document: Mapping[str, Any]) -> bool:
    """Whether a document that came with a good status says that something went wrong."""
    status = next(
        (number for name in ("status", "statusCode", "status_code") if (number := document.get(name)) is not None), None
    )
    flags = [document.get(name) for name in ("success", "ok")]
    if (
        any(document.get(name) for name in ("error", "errors", "exception", "isError", "hasError"))
        or False in flags
        or "false" in flags
    ):
        return True
    code = document.get("code")
    if isinstance(code, int) and 400 <= code < 600 and _ENVELOPE & document.keys():
        return True  # elsewhere it may be the code of anything
    if isinstance(status, int) and not isinstance(status, bool):
        return status >= 400
    return isinstance(status, str) and status.casefold() in (
        "error",
        "fail",
        "failed",
        "failure",
        "down",
        "unavailable",
    )


def _is_empty(document: object) -> bool:
    """Whether nothing is in a document but what holds nothing itself."""
    if isinstance(document, dict):
        if document.keys() <= _SAID:
            return True
        empty = [_is_empty(value) for value in document.values()]
        # A count of 0 beside an empty list is nothing more.
        return any(empty) and all(
            is_empty or value in (0, False) for is_empty, value in zip(empty, document.values(), strict=True)
        )
    if isinstance(document, list):
        return not document
    return document is None or document == ""


def guard_problems(reply: Reply, who: str, logins: Collection[str]) -> Iterator[Result]:
    """Whether a protected page is shown to somebody who is not logged in; `who` says how it was asked for.

    `logins` are the addresses of the login page, of which each is right.
    """
    if reply.status in (401, 403):
        return
    if 300 <= reply.status < 400:
        to = _address(urljoin(reply.where.partition(" ")[2], reply.headers.get("location", "")))
        known = {_address(login) for login in logins}
        if to in known:
            return
        here, there = urlsplit(reply.where.partition(" ")[2]), urlsplit(to)
        away = there.netloc != here.netloc and there.path in {urlsplit(login).path for login in known}
        if away and (there.hostname not in _LOOPBACK or here.hostname in _LOOPBACK):
            yield unknown(
                f"{reply.where} redirects to {to} {who}, which is on another host than is configured; name that as public_url or "
                "login_url.",
                reason=Reason.NOT_CONFIGURED,
            )
        else:
            yield failed(
                f"{reply.where} redirects to {to} {who} (wanted {listed(logins)}).", reason=Reason.MISCONFIGURED
            )
    elif 200 <= reply.status < 300:
        if streamed_redirect(reply) is not None:
            yield unknown(
                f"{reply.where} answered {reply.status} {who} and has the browser go elsewhere after the page has begun, so what "
                "it shows was not observed.",
                reason=Reason.NOT_VERIFIED,
            )
        else:
            yield failed(f"{reply.where} answered {reply.status} {who}.", reason=Reason.UNMET)
    else:
        yield unknown(f"{reply.where} answered {reply.status} {who}, so whether it is protected was not observed.")


def _address(url: str) -> str:
    """An address without what comes after its path, for comparison."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def ssr_problems(first: Reply, second: Reply, marker: str) -> Iterator[Result]:
    """Whether a page is rendered for every request: headers alone do not report it."""
    shown = rendering(first)
    if shown.prerendered:
        yield failed(
            f"{first.where} was rendered before it was asked for (x-nextjs-cache {shown.cache or 'absent'}).",
            reason=Reason.MISCONFIGURED,
        )
        return
    if cached_by(first):
        yield unknown(
            f"{first.where} was answered by a cache, so when it is rendered was not observed.",
            reason=Reason.MISCONFIGURED,
        )
        return
    texts = marked(first, marker), marked(second, marker)
    if texts[0] is None:
        yield failed(
            f"{first.where} does not have the marker of ssr_pages in its HTML: it is rendered by the browser.",
            reason=Reason.MISSING,
        )
    elif texts[0] == texts[1] and not shown.private:
        yield unknown(
            f"{first.where} has the same text twice and no Cache-Control, so when it is rendered was not observed."
        )


def isr_problems(page: Reply, marker: str, known: Renewal | None) -> Iterator[Result]:
    """Whether a page is rendered again from time to time: headers say what is meant, only its text what is done.

    `known` is what earlier looks have of the text that the marker matches; None where the marker does not match.
    """
    shown = rendering(page)
    if shown.shared_seconds is None and not shown.cache:
        if shown.private:
            yield failed(
                f"{page.where} is rendered for every request (Cache-Control is private).", reason=Reason.MISCONFIGURED
            )
        else:
            yield unknown(
                f"{page.where} has neither s-maxage nor x-nextjs-cache, which something in front may have removed."
            )
    elif shown.shared_seconds is not None and shown.shared_seconds >= _YEAR:
        yield failed(
            f"{page.where} is never rendered again (s-maxage={shown.shared_seconds}).", reason=Reason.MISCONFIGURED
        )
    elif not shown.shared_seconds:
        yield unknown(f"{page.where} does not say when it is rendered again, so that was not observed.")
    if known is None:
        yield failed(f"{page.where} does not have the marker of isr_pages in its HTML.", reason=Reason.MISSING)
    elif shown.shared_seconds:
        yield from _renewal_problems(page.where, shown.shared_seconds, known)


def _renewal_problems(where: str, seconds: int, known: Renewal) -> Iterator[Result]:
    if known.overdue and known.renewed:
        yield failed(
            f"{where} may be kept for {seconds} s and has had the same text for longer: it is no longer rendered again.",
            reason=Reason.DOWN,
        )
    elif known.overdue:
        yield unknown(
            f"{where} may be kept for {seconds} s and has had the same text for longer: it is not rendered again, or the marker of "
            "isr_pages matches what does not change.",
            reason=Reason.NOT_VERIFIED,
        )
    elif not known.renewed:
        yield unknown(
            f"{where} may be kept for {seconds} s; whether its text changes then was not observed yet.",
            reason=Reason.PENDING,
        )
