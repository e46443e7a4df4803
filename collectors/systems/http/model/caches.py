"""What shows that a reply comes from a cache, not from the service."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from exporter.reply import Reply

__all__ = ["cached_by"]

_STATES = (
    "x-cache",
    "cf-cache-status",
    "x-vercel-cache",
    "x-cache-status",
    "x-proxy-cache",
    "x-fastcgi-cache",
    "x-nginx-cache",
    "x-litespeed-cache",
    "x-drupal-cache",
    "cdn-cache",
)
_OLD = timedelta(hours=1)
_KEPT = ("hit", "stale", "updating")
#: RFC 9211 (`ExampleCache; hit; ttl=30`), and what some networks write into Server-Timing.
_HIT = re.compile(r";\s*hit\s*(?:[;,]|$)", re.IGNORECASE)
_TIMED = re.compile(r"cdn-cache\s*;[^,]*\bhit\b", re.IGNORECASE)
#: Varnish names two requests where the second is answered by what the first has left.
_TWO = re.compile(r"\d+\s+\d+")
#: "Response is Stale", "Revalidation Failed".
_WARNING = re.compile(r"(?:^|,)\s*11[01]\b")


def cached_by(reply: Reply) -> str:
    """The header by which a reply shows that it comes from a cache; "" where none does."""
    age = reply.headers.get("age", "").strip()
    if age.isdigit() and int(age) > 0:
        return f"Age {age} s"
    made = reply.date
    # Many caches leave Date as it was, also where Age is taken off on the way. No clock in use is that wrong.
    if made is not None and datetime.now(UTC) - made > _OLD:
        return f"Date {made:%Y-%m-%d %H:%M} UTC"
    for name in _STATES:
        state = reply.headers.get(name, "").lower()
        if word := next((word for word in _KEPT if word in state), None):
            return f"{name}: {word.upper()}"
    for name, pattern in (
        ("cache-status", _HIT),
        ("server-timing", _TIMED),
        ("x-varnish", _TWO),
        ("warning", _WARNING),
    ):
        if pattern.search(reply.headers.get(name, "")):
            return f"{name} shows a cache"
    return ""
