"""What a page loads: its scripts and style sheets as browsers find them, and what else they need to start."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from exporter.reply import Reply

__all__ = ["Asset", "Kind", "Loaded", "Script", "loaded", "named_chunks", "wanted_hash"]

_SCRIPTS = ("", "module", "text/javascript", "application/javascript")
#: Chunks that Next.js names within scripts: those that it loads later, and those that its data wants.
_CHUNK = re.compile(r"""["'\\]((?:/[\w./~%-]*)?(?:_next/)?static/(?:chunks|css)/[\w./~@%()\[\]-]+\.(?:js|css))""")
_HASHES = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


class Kind(StrEnum):
    """What a browser takes an asset for."""

    SCRIPT = "javascript"
    STYLE = "text/css"


@dataclass(frozen=True, slots=True)
class Asset:
    """A script or a style sheet that a page names: its path with the query, and its `origin` where that is not the page's.

    `integrity` is the hash that browsers compare it with, `nonce` what lets it pass a policy, `cors` whether browsers demand that
    another origin allows the page to use it.
    """

    path: str
    kind: Kind
    origin: str = ""
    integrity: str = ""
    nonce: str = ""
    cors: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """A script within a page."""

    text: str
    nonce: str


@dataclass(slots=True)
class Loaded:
    """What a page loads, in its order, the scripts within it, and the policies that it names in `<meta>`."""

    assets: list[Asset] = field(default_factory=list)
    inline: list[Script] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)

    @property
    def own(self) -> list[Asset]:
        """What it loads from its own origin."""
        return [asset for asset in self.assets if not asset.origin]

    @property
    def foreign(self) -> list[Asset]:
        """What it loads from other origins."""
        return [asset for asset in self.assets if asset.origin]


class _Parser(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self.found = Loaded()
        self._base = base
        self._page = urlsplit(base)
        self._based = False
        self._script: tuple[str, list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        rel = values.get("rel", "").lower().split()
        if tag == "base" and values.get("href") and not self._based:
            self._base, self._based = urljoin(self._base, values["href"]), True
        elif tag == "script" and values.get("src"):
            if values.get("type", "").lower() in _SCRIPTS:
                self._add(values["src"], Kind.SCRIPT, values)
        elif tag == "script" and values.get("type", "").lower() in _SCRIPTS:
            self._script = (values.get("nonce", ""), [])
        elif tag == "link" and values.get("href") and "stylesheet" in rel and "alternate" not in rel:
            self._add(values["href"], Kind.STYLE, values)
        elif tag == "link" and values.get("href") and "modulepreload" in rel:
            self._add(values["href"], Kind.SCRIPT, values)
        elif tag == "meta" and values.get("http-equiv", "").lower() == "content-security-policy":
            self.found.policies.append(values.get("content", ""))

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self._script[1].append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self._script is not None:
            nonce, parts = self._script
            self.found.inline.append(Script("".join(parts), nonce))
            self._script = None

    def _add(self, named: str, kind: Kind, values: dict[str, str]) -> None:
        target = urlsplit(urljoin(self._base, named.strip()))
        if target.scheme not in ("http", "https"):
            return
        own = target.netloc == self._page.netloc
        path = f"{target.path or '/'}{'?' * bool(target.query)}{target.query}"
        cors = "crossorigin" in values or values.get("type", "").lower() == "module"
        origin = "" if own else f"{target.scheme}://{target.netloc}"
        self.found.assets.append(
            Asset(path, kind, origin, values.get("integrity", ""), values.get("nonce", ""), cors and not own)
        )


def loaded(page: Reply) -> Loaded:
    """What a page loads."""
    parser = _Parser(page.where.partition(" ")[2])
    parser.feed(page.text)
    parser.close()
    found = parser.found
    found.assets = list({(asset.origin, asset.path): asset for asset in reversed(found.assets)}.values())[::-1]
    return found


def named_chunks(page: Loaded) -> Iterator[Asset]:
    """The chunks of Next.js that scripts within the page name: it loads them later, from where it loads the others."""
    prefix = next((asset for asset in page.assets if "/_next/" in asset.path), None)
    if prefix is None:
        return
    root = prefix.path.partition("/_next/")[0]
    known = {asset.path.partition("?")[0] for asset in page.assets}
    query = prefix.path[len(prefix.path.partition("?")[0]) :]
    for script in page.inline:
        for named in _CHUNK.findall(script.text):
            tail = named.partition("static/")[2]
            path = f"{root}/_next/static/{tail}"
            if path not in known:
                known.add(path)
                kind = Kind.STYLE if path.endswith(".css") else Kind.SCRIPT
                yield Asset(f"{path}{query}", kind, prefix.origin)


def wanted_hash(asset: Asset, body: bytes) -> str | None:
    """The hash by which browsers refuse this body of an asset; None where they take it.

    Of several the strongest counts, and of several of one strength any.
    """
    found = [
        (name, value.partition("?")[0]) for name, _, value in (one.partition("-") for one in asset.integrity.split())
    ]
    known = [(name, value) for name, value in found if name in _HASHES]
    if not known:
        return None
    strongest = max(name for name, _ in known)
    actual = base64.b64encode(_HASHES[strongest](body).digest()).decode()
    wanted = [value for name, value in known if name == strongest]
    return None if actual in wanted else f"{strongest}-{wanted[0]}"
