"""What a reply says to a browser."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from selectolax.lexbor import LexborHTMLParser

from collectors.systems.web_security.model.csp import Policy, parse_policies
from exporter.reply import Reply
from exporter.verdict import ProbeError

__all__ = [
    "enforced_policies",
    "has_nosniff",
    "is_html",
    "is_login_page",
    "media_type",
    "referrer_policy",
    "reports_error",
    "resembles",
    "words",
]

_WORD = re.compile(r"\w+")

_LEAKING = frozenset(("unsafe-url", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin"))
_KNOWN = _LEAKING | {"no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"}


def media_type(reply: Reply) -> str:
    """The type of the body, without parameters, in lower case."""
    return str(reply.headers.get("content-type", "")).partition(";")[0].strip().lower()


def is_html(reply: Reply) -> bool:
    """Whether a browser runs the scripts in the body. What has no type and no nosniff is guessed from the body."""
    kind = media_type(reply)
    if kind in ("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml"):
        return True
    return not kind and not has_nosniff(reply) and "<" in reply.text


def has_nosniff(reply: Reply) -> bool:
    """Whether X-Content-Type-Options is nosniff: its first value counts."""
    return str(reply.headers.get("x-content-type-options", "")).partition(",")[0].strip().lower() == "nosniff"


def enforced_policies(reply: Reply) -> tuple[Policy, ...]:
    """Every Content Security Policy that a browser enforces on the page; report-only ones are not."""
    metas: Iterable[str] = _metas(reply.body) if is_html(reply) else ()
    return parse_policies(reply.headers.get_list("content-security-policy"), metas)


@functools.lru_cache(maxsize=16)
def _metas(body: bytes) -> tuple[str, ...]:
    found = LexborHTMLParser(body).css("head meta[http-equiv]")
    return tuple(
        meta.attributes.get("content") or ""
        for meta in found
        if (meta.attributes.get("http-equiv") or "").lower() == "content-security-policy"
    )


def is_login_page(reply: Reply) -> bool:
    """Whether the page asks for a password."""
    return is_html(reply) and LexborHTMLParser(reply.body).css_first("input[type=password]") is not None


def referrer_policy(reply: Reply) -> str | None:
    """The policy that sends addresses of pages to other sites, or None: of several values the last known one counts."""
    values = ",".join(reply.headers.get_list("referrer-policy")).lower().split(",")
    known = [value.strip() for value in values if value.strip() in _KNOWN]
    return known[-1] if known and known[-1] in _LEAKING else None


def words(reply: Reply) -> frozenset[str]:
    """The words of a body."""
    return frozenset(_WORD.findall(reply.text))


def resembles(reply: Reply, other: Reply) -> bool:
    """Whether a reply has at least half of the words of another; what has no words resembles only what has none either."""
    wanted, found = words(other), words(reply)
    return 2 * len(wanted & found) >= len(wanted) if wanted else not found


def reports_error(reply: Reply) -> bool:
    """Whether a body is a JSON object that reports an error, whatever the status."""
    try:
        body = reply.json()
    except ProbeError:
        return False
    return isinstance(body, dict) and bool(body.get("error") or body.get("errors") or body.get("success") is False)
