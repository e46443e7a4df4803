"""URLs as they are compared: the same one has several spellings."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

__all__ = ["plain_url"]

_PORTS = {"https": 443, "http": 80}


def plain_url(url: str) -> str:
    """A URL with its host in small letters, without its scheme's port, query and fragment; `/` where it has no path."""
    parts = urlsplit(url)
    port = None
    with suppress(ValueError):
        port = parts.port
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{port}' if port not in (None, _PORTS.get(parts.scheme)) else ''}{parts.path or '/'}"
