"""Content-Security-Policies: what of a page they let browsers load."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from collectors.systems.http.model.assets import Asset, Kind, Loaded, Script
from exporter.reply import Reply

__all__ = ["Policy", "policies"]

_HASH = re.compile(r"'(sha256|sha384|sha512)-([^']+)'")
_FALLBACKS = {
    Kind.SCRIPT: ("script-src-elem", "script-src", "default-src"),
    Kind.STYLE: ("style-src-elem", "style-src", "default-src"),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy of a page; `at` is the page's own origin."""

    directives: dict[str, tuple[str, ...]]
    at: str

    @property
    def sandboxed(self) -> bool:
        """Whether no script runs, wherever it comes from."""
        return "sandbox" in self.directives and "allow-scripts" not in _lowered(self.directives["sandbox"])

    def allows(self, asset: Asset) -> bool:
        """Whether browsers load a script or a style sheet."""
        if (sources := self._sources(asset.kind)) is None:
            return True
        if asset.nonce and f"'nonce-{asset.nonce}'" in sources:
            return True
        if asset.kind is Kind.SCRIPT:
            if asset.integrity and any(f"'{one}'" in sources for one in asset.integrity.split()):
                return True
            if "'strict-dynamic'" in _lowered(sources):
                return False
        return self._from(asset, sources)

    def allows_inline(self, script: Script) -> bool:
        """Whether browsers run a script within the page."""
        if (sources := self._sources(Kind.SCRIPT)) is None:
            return True
        if script.nonce and f"'nonce-{script.nonce}'" in sources:
            return True
        hashes = _HASH.findall(" ".join(sources))
        if any(_hashed(script.text, name) == value for name, value in hashes):
            return True
        lowered = _lowered(sources)
        strict = bool(hashes) or "'strict-dynamic'" in lowered or any(one.startswith("'nonce-") for one in lowered)
        return "'unsafe-inline'" in lowered and not strict

    def _sources(self, kind: Kind) -> Sequence[str] | None:
        return next((self.directives[name] for name in _FALLBACKS[kind] if name in self.directives), None)

    def _from(self, asset: Asset, sources: Iterable[str]) -> bool:
        origin = urlsplit(asset.origin or self.at)
        for source in sources:
            if source.lower() == "'self'":
                if not asset.origin:
                    return True
            elif not source.startswith("'") and _matches(source, origin.scheme, origin.netloc, asset.path):
                return True
        return False


def _lowered(sources: Iterable[str]) -> list[str]:
    return [source.lower() for source in sources]


def _hashed(text: str, name: str) -> str:
    return base64.b64encode(hashlib.new(name, text.encode()).digest()).decode()


def _matches(source: str, scheme: str, host: str, path: str) -> bool:
    """Whether a source such as `https:`, `*.example.com` or `https://example.com/assets/` is one of an address."""
    if source == "*":
        return True
    if source.endswith(":") and "/" not in source:
        return source[:-1].lower() == scheme or (source.lower(), scheme) == ("http:", "https")
    named_scheme, separator, rest = source.rpartition("://")
    if separator and named_scheme.lower() != scheme and (named_scheme.lower(), scheme) != ("http", "https"):
        return False
    named_host, _, folder = rest.partition("/")
    named_host, host = named_host.lower(), host.lower()
    if named_host.endswith(":*"):
        named_host, host = named_host[:-2], host.partition(":")[0]
    if named_host.startswith("*."):
        if not host.endswith(named_host[1:]):
            return False
    elif host != named_host:
        return False
    asked = path.partition("?")[0]
    return not folder or (asked.startswith(f"/{folder}") if folder.endswith("/") else asked == f"/{folder}")


def policies(page: Reply, found: Loaded) -> list[Policy]:
    """The policies that browsers enforce on a page, all of them: of its headers, and within it."""
    asked = urlsplit(page.where.partition(" ")[2])
    of_headers = page.headers.get("content-security-policy", "").split(",")
    made = []
    for number, text in enumerate([*of_headers, *found.policies]):
        directives: dict[str, tuple[str, ...]] = {}
        for part in text.split(";"):
            if words := part.split():
                directives.setdefault(words[0].lower(), tuple(words[1:]))
        if number >= len(of_headers):
            directives.pop("sandbox", None)  # within a page it means nothing
        if directives:
            made.append(Policy(directives, f"{asked.scheme}://{asked.netloc}"))
    return made
