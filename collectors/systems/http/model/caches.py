"""What shows that a reply comes from a cache, not from the service."""

from __future__ import annotations

from exporter.reply import Reply

__all__ = ["cached_by"]

_STATES = ("x-cache", "cf-cache-status", "x-vercel-cache", "x-cache-status", "x-proxy-cache")
_KEPT = ("hit", "stale", "updating")


def cached_by(reply: Reply) -> str:
    """The header by which a reply shows that it comes from a cache; "" where none does."""
    age = reply.headers.get("age", "").strip()
    if age.isdigit() and int(age) > 0:
        return f"Age {age} s"
    for name in _STATES:
        state = reply.headers.get(name, "").lower()
        if word := next((word for word in _KEPT if word in state), None):
            return f"{name}: {word.upper()}"
    return ""
