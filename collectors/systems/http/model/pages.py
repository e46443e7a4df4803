"""Pages of a web frontend, and what their headers say of how they were rendered."""

from __future__ import annotations

import re
from dataclasses import dataclass

from exporter.reply import Reply

__all__ = ["Rendering", "marked", "rendering"]

_HIDDEN = re.compile(r"<!-- -->|<script\b.*?</script\s*>", re.IGNORECASE | re.DOTALL)
_SECONDS = re.compile(r"(?:^|[\s,])s-maxage\s*=\s*(\d+)", re.IGNORECASE)


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

    Scripts are left out, which hold the text of pages that browsers render; React puts empty comments between parts of a text.
    """
    found = re.search(marker, _HIDDEN.sub("", reply.text))
    return found[0] if found else None
