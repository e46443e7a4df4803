"""URLs as they are compared: the same one has several spellings."""

from __future__ import annotations

import re
import string
from contextlib import suppress
from urllib.parse import urlsplit

__all__ = ["plain_url"]

_ESCAPED = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(f"{string.ascii_letters}{string.digits}-._~")
_PORTS = {"https": 443, "http": 80}


def plain_url(url: str) -> str:
    """A URL with its host in small letters of ASCII, without its scheme's port, query and fragment; `/` where it has no path.

    What its path escapes is written in one way.
    """
    parts = urlsplit(url)
    path, port = _ESCAPED.sub(_plain_escape, parts.path), None
    with suppress(ValueError):
        port = parts.port
    host = (parts.hostname or "").removesuffix(".")
    with suppress(UnicodeError):
        host = host.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{port}' if port not in (None, _PORTS.get(parts.scheme)) else ''}{path or '/'}"


def _plain_escape(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()
