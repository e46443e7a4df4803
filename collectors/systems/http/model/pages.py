"""Pages of a web frontend, and what their headers say of how they were rendered."""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from exporter.reply import Reply

__all__ = [
    "NextPage",
    "Renewal",
    "Texts",
    "browser_seconds",
    "marked",
    "next_page",
    "rendering",
    "renewal",
    "sent_error",
    "sent_on",
    "streamed_redirect",
]

_HIDDEN = re.compile(r"<!--.*?-->|<(script|noscript|template)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_SECONDS = re.compile(r"(?:^|[\s,])s-maxage\s*=\s*(\d+)", re.IGNORECASE)
_BROWSER_SECONDS = re.compile(r"(?:^|[\s,])max-age\s*=\s*(\d+)", re.IGNORECASE)
#: By which React says within a page that a part of it could not be rendered; Next.js writes why into it.
_ERROR = re.compile(
    r"""<template\b[^>]*\bdata-dgst="([^"]+)"|\$RX\("[^"]*","([^"]+)"|:E\{\\?"digest\\?":\\?"([^"\\]+)"""
)
_REFRESH = re.compile(r"""<meta\b[^>]*\bhttp-equiv=["']?refresh\b[^>]*>""", re.IGNORECASE)
_REFRESHES = re.compile(r"""content=["']?\s*(\d{1,6})[\d.]*\s*[;,]\s*url\s*=\s*([^\s">]+)""", re.IGNORECASE)
_SOON = 10  # seconds
_SHELL = re.compile(r"""<html\b[^>]*\bid=["']__next_error__["']""", re.IGNORECASE)
#: Parts that only browsers render, by the page's own wish.
_WANTED = "BAILOUT_TO_CLIENT_SIDE_RENDERING"
_AGAIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What headers show: Next's cache (HIT, STALE, MISS; "" without), for how long shared caches may keep the page (seconds; None
    where nothing is said), and whether it is for one visitor alone."""

    cache: str
    shared_seconds: int | None
    private: bool

    @property
    def prerendered(self) -> bool:
        """Whether it was rendered before it was asked for."""
        return self.cache in ("HIT", "STALE", "PRERENDER") or bool(self.shared_seconds)


def rendering(reply: Reply) -> Rendering:
    """How a page was rendered."""
    control = reply.headers.get("cache-control", "")
    seconds = _SECONDS.search(control)
    cache = reply.headers.get("x-nextjs-cache") or reply.headers.get("x-vercel-cache") or ""
    private = any(word in control.lower() for word in ("no-store", "private", "no-cache"))
    return Rendering(cache.strip().upper(), int(seconds[1]) if seconds else None, private)


def marked(reply: Reply, marker: str) -> str | None:
    """The text in the raw HTML that the marker, a regular expression, matches; None where it does not.

    What browsers do not show is left out: scripts, which hold the text of pages that browsers render, comments, which React puts
    between parts of a text, and what is for browsers without scripts.
    """
    found = re.search(marker, _HIDDEN.sub("", reply.text))
    return found[0] if found else None


def browser_seconds(reply: Reply) -> int:
    """For how long browsers may keep a reply without asking again, in seconds; 0 where nothing allows it."""
    control = reply.headers.get("cache-control", "").lower()
    found = _BROWSER_SECONDS.search(control)
    return 0 if found is None or "no-store" in control or "no-cache" in control else int(found[1])


def sent_on(page: Reply) -> str | None:
    """Where a page sends browsers by itself, within seconds (`<meta http-equiv="refresh">`); None where it does not."""
    for tag in _REFRESH.findall(_HIDDEN.sub(" ", page.text)):
        if (found := _REFRESHES.search(tag)) and int(found[1]) <= _SOON:
            return found[2].strip("'\"")
    return None


def sent_error(page: Reply) -> str:
    """What went wrong while a page was rendered that was sent with a good status, in words; "" where nothing did.

    A stream has its status before its content: what fails later is marked within.
    """
    if _SHELL.search(page.text):
        return "the error page of Next.js"
    for found in _ERROR.finditer(page.text):
        digest = found[found.lastindex or 0]
        if digest == _WANTED or digest.startswith("NEXT_REDIRECT"):
            continue
        if digest.startswith("NEXT_HTTP_ERROR_FALLBACK;") or digest == "NEXT_NOT_FOUND":
            return f"an error {digest.partition(';')[2] or '404'} within"
        return f"an error of the server within (digest {digest[:40]})"
    return ""


def streamed_redirect(page: Reply) -> str | None:
    """Where Next.js has browsers go by what it writes into a page that it has begun to send; None where nowhere."""
    for found in _ERROR.finditer(page.text):
        parts = found[found.lastindex or 0].split(";")
        if parts[0] == "NEXT_REDIRECT" and len(parts) > 2:
            return parts[2]
    return None


@dataclass(frozen=True, slots=True)
class NextPage:
    """A page of Next.js: whether the data is in it that its scripts start with, and whether it was sent to its end."""

    hydrated: bool
    whole: bool


def next_page(page: Reply) -> NextPage | None:
    """What a page of Next.js has; None for a page of something else."""
    if "/_next/static/" not in page.text:
        return None
    hydrated = "__next_f" in page.text or "__NEXT_DATA__" in page.text
    return NextPage(hydrated, "</html>" in page.text.lower())


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is known of the text of a page that is rendered again from time to time: whether another one was replaced before, and
    whether the page should have been rendered again by now."""

    renewed: bool
    overdue: bool


@dataclass(frozen=True, slots=True)
class _Text:
    """When a text was first read, and when it was first asked for after it had expired, which makes the server render the page."""

    since: datetime
    due: datetime | None = None


Texts = MutableMapping[str, _Text]
"""The texts of one page that were read: replicas have texts of their own."""


def renewal(texts: Texts, text: str, expired: bool, kept: timedelta, now: datetime) -> Renewal:
    """What is known of a page with this text now, which may be kept for so long, or says that it has expired.

    `texts` remembers what was read before.
    """
    text = hashlib.sha256(text.encode()).hexdigest()  # it may be long
    if text not in texts:
        texts[text] = _Text(now)
        for old in list(texts)[:-8]:
            del texts[old]
    known = texts[text]
    if known.due is None and (expired or now - known.since > kept):
        known = texts[text] = replace(known, due=now)
    return Renewal(renewed=len(texts) > 1, overdue=known.due is not None and now - known.due >= _AGAIN)
