"""Whether a web frontend serves its pages, their assets and its API as browsers need them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.pages import marked, rendering
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning

__all__ = ["api_problems", "asset_problems", "guard_problems", "isr_problems", "page_problems", "ssr_problems"]

_KINDS = {".js": "javascript", ".mjs": "javascript", ".css": "text/css"}
_MONTH = 30 * 86400
_YEAR = 31_536_000
_HASHED = re.compile(r"/_next/static/|[.-][0-9a-f]{8,}\.")


def page_problems(page: Reply) -> Iterator[Result]:
    """Why a page cannot be read."""
    if page.status in (401, 403):
        yield unknown(f"{page.where} answered {page.status}, so the page was not checked.", reason=Reason.DENIED)
    elif 300 <= page.status < 400:
        yield unknown(f"{page.where} redirects, so the page was not checked.", reason=Reason.MISCONFIGURED)
    elif page.status != 200:
        yield failed(f"{page.where} answered {page.status} (expected 200).", reason=Reason.DOWN)
    elif page.kind != "an HTML page":
        yield failed(
            f"{page.where} answered 200 with {page.kind}, where an HTML page was wanted.", reason=Reason.INVALID
        )


def asset_problems(asset: Reply, path: str) -> Iterator[Result]:
    """What is wrong with a script or style sheet that a page names."""
    if asset.status != 200:
        yield failed(f"{asset.where}, which the page needs, answered {asset.status}.", reason=Reason.MISSING)
        return
    kind = asset.headers.get("content-type", "none").partition(";")[0].strip().lower()
    wanted = next((word for ending, word in _KINDS.items() if path.endswith(ending)), "")
    if not asset.body.strip() or asset.kind == "an HTML page":
        yield failed(f"{asset.where}, which the page needs, answered 200 with {asset.kind}.", reason=Reason.INVALID)
    elif wanted not in kind:
        yield failed(
            f"{asset.where} has the content type {kind}, which browsers refuse (wanted {wanted}).",
            reason=Reason.INVALID,
        )
    elif _HASHED.search(path):
        control = asset.headers.get("cache-control", "")
        age = re.search(r"(?:^|[\s,])max-age\s*=\s*(\d+)", control)
        if age is None or int(age[1]) < _MONTH or "no-store" in control:
            yield warning(
                f"{asset.where}, whose name changes with its content, may be cached by browsers for "
                f"{age[1] if age else 'no'} s (wanted {_MONTH} s or more)."
            )


def api_problems(reply: Reply) -> Iterator[Result]:
    """Why a path of the frontend that leads to its backend does not show that it does."""
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
    if rendering(reply).prerendered or cached_by(reply):
        yield unknown(
            f"{reply.where} was answered from a cache, so the backend was not observed.", reason=Reason.MISCONFIGURED
        )


def _is_error(document: Mapping[str, Any]) -> bool:
    """Whether a document that came with a good status says that something went wrong."""
    status = document.get("status")
    if (
        document.get("error")
        or document.get("errors")
        or document.get("success") is False
        or document.get("ok") is False
    ):
        return True
    if isinstance(status, int) and not isinstance(status, bool):
        return status >= 400
    return isinstance(status, str) and status.casefold() in ("error", "fail", "failed", "down")


def guard_problems(reply: Reply, forged: bool, login: str) -> Iterator[Result]:
    """Whether a protected page is shown to somebody who is not logged in, or whose session cookie is forged."""
    who = "with a forged session cookie" if forged else "without a session"
    if reply.status in (401, 403):
        return
    if 300 <= reply.status < 400:
        to = urlsplit(urljoin(reply.where.partition(" ")[2], reply.headers.get("location", ""))).path
        if to.rstrip("/") != login.rstrip("/"):
            yield failed(f"{reply.where} redirects to {to or '/'} {who} (wanted {login}).", reason=Reason.MISCONFIGURED)
    elif 200 <= reply.status < 300:
        yield failed(f"{reply.where} answered {reply.status} {who}.", reason=Reason.UNMET)
    else:
        yield unknown(f"{reply.where} answered {reply.status} {who}, so whether it is protected was not observed.")


def ssr_problems(first: Reply, second: Reply, marker: str) -> Iterator[Result]:
    """Whether a page is rendered for every request: headers alone do not tell."""
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


def isr_problems(page: Reply, marker: str) -> Iterator[Result]:
    """Whether a page is rendered again from time to time."""
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
    if marked(page, marker) is None:
        yield failed(f"{page.where} does not have the marker of isr_pages in its HTML.", reason=Reason.MISSING)
