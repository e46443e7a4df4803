"""Content Security Policy, level 3: what a policy lets a page do, by its grammar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "Policy",
    "allows_base",
    "allows_eval",
    "frames_limited",
    "guessable_nonces",
    "nonces",
    "parse_policies",
    "script_weaknesses",
    "shared_hosts",
    "unquoted_keywords",
]

Policy = Mapping[str, tuple[str, ...]]
"""Directive to its tokens, as a browser understands them."""

_NONCE = re.compile(r"'nonce-([A-Za-z0-9+/_-]+={0,2})'", re.IGNORECASE)
_HASH = re.compile(r"'sha(?:256|384|512)-[A-Za-z0-9+/_-]+={0,2}'", re.IGNORECASE)
_ANYWHERE = re.compile(
    r"(?:https?|wss?|data|blob|filesystem):"
    r"|(?:[a-z]+://)?\*(?:\.(?:(?:co|com|net|org)\.)?[a-z]+)?(?::(?:\*|\d+))?/?"  # *.com is everybody, too
)
_SPACE = re.compile(r"[\t\n\f\r ]+")
_KEYWORDS = frozenset(("self", "none", "unsafe-inline", "unsafe-eval", "strict-dynamic"))
_SHARED = re.compile(
    r"(?:https?://)?(?:unpkg\.com|cdn\.jsdelivr\.net|esm\.sh|cdn\.skypack\.dev|raw\.githack\.com|cdn\.rawgit\.com"
    r"|storage\.googleapis\.com|\*\.(?:github\.io|gitlab\.io|herokuapp\.com|vercel\.app|netlify\.app|pages\.dev|workers\.dev"
    r"|web\.app|firebaseapp\.com|appspot\.com|azurewebsites\.net|blob\.core\.windows\.net|cloudfront\.net|amazonaws\.com"
    r"|fly\.dev|onrender\.com|surge\.sh))/?"
)
"""Hosts where everybody may put scripts; one that names a path there is not meant."""
_SHORTEST_NONCE, _SHORTEST_NUMBER = 8, 20
_IN_HEADERS_ONLY = frozenset(("frame-ancestors", "report-uri", "sandbox"))


def parse_policies(headers: Iterable[str], metas: Iterable[str] = ()) -> tuple[Policy, ...]:
    """Every policy that a browser enforces, from headers and from `<meta>` elements, in which some directives do not count."""
    policies = [_policy(text) for header in headers for text in header.split(",")]
    policies += [
        {name: tokens for name, tokens in _policy(meta).items() if name not in _IN_HEADERS_ONLY} for meta in metas
    ]
    return tuple(policy for policy in policies if policy)


def _policy(text: str) -> Policy:
    """One serialized policy: of a directive that is given twice the first counts."""
    policy: dict[str, tuple[str, ...]] = {}
    for directive in text.split(";"):
        # Only these are spaces to a browser; a no-break space, as word processors write it, is a part of the name.
        name, *tokens = _SPACE.split(directive.strip("\t\n\f\r "))
        if name:
            policy.setdefault(name.lower(), tuple(tokens))
    return policy


def _effective(policy: Policy, *names: str) -> tuple[str, ...] | None:
    """The sources of the first of these directives that the policy has, without regard to case; None where it has none."""
    for name in names:
        if name in policy:
            return tuple(
                token if _NONCE.fullmatch(token) or _HASH.fullmatch(token) else token.lower() for token in policy[name]
            )
    return None


def script_weaknesses(policies: Iterable[Policy]) -> list[str]:
    """Why injected scripts would run in spite of the policies, as clauses; empty where a policy stops them.

    A browser obeys all policies at once, so one that is strong is enough.
    """
    weaknesses: list[str] = []
    for policy in policies:
        found = list(dict.fromkeys(_script_weaknesses(policy)))
        if not found:
            return []
        weaknesses += found
    return list(dict.fromkeys(weaknesses)) or ["has no policy"]


def _script_weaknesses(policy: Policy) -> Iterator[str]:
    if "sandbox" in policy and "allow-scripts" not in policy["sandbox"]:
        return  # no script runs at all
    for directive in ("script-src-elem", "script-src-attr"):
        sources = _effective(policy, directive, "script-src", "default-src")
        if sources is None:
            yield "does not restrict scripts (no script-src and no default-src)"
            return
        trusted = any(_NONCE.fullmatch(source) or _HASH.fullmatch(source) for source in sources)
        dynamic = "'strict-dynamic'" in sources
        if "'unsafe-inline'" in sources and not trusted and not dynamic:
            yield "allows inline scripts ('unsafe-inline' without a nonce or hash)"
        if directive == "script-src-elem" and not dynamic:
            yield from (f"allows scripts from anywhere ({source})" for source in sources if _ANYWHERE.fullmatch(source))


def unquoted_keywords(policies: Iterable[Policy]) -> list[str]:
    """Keywords without their quotes: browsers take them for the names of hosts."""
    names = (
        "script-src",
        "script-src-elem",
        "script-src-attr",
        "default-src",
        "object-src",
        "base-uri",
        "frame-ancestors",
    )
    tokens = (token.lower() for policy in policies for name in names for token in policy.get(name, ()))
    return list(dict.fromkeys(token for token in tokens if token in _KEYWORDS))


def shared_hosts(policies: Iterable[Policy]) -> list[str]:
    """Hosts that every policy trusts with scripts, and where everybody may put some."""
    found: list[list[str]] = []
    for policy in policies:
        sources = _effective(policy, "script-src-elem", "script-src", "default-src") or ()
        trusted = () if "'strict-dynamic'" in sources else sources
        found.append([source for source in trusted if _SHARED.fullmatch(source)])
    return found[0] if found and all(found) else []


def allows_eval(policies: Iterable[Policy]) -> bool:
    """Whether every policy lets scripts make code of text."""
    found = [_effective(policy, "script-src", "default-src") for policy in policies]
    return bool(found) and all(sources is None or "'unsafe-eval'" in sources for sources in found)


def allows_base(policies: Iterable[Policy]) -> bool:
    """Whether an injected `<base>` may send trusted scripts with relative addresses elsewhere; no other directive covers that."""
    return not any("base-uri" in policy for policy in policies)


def guessable_nonces(policies: Iterable[Policy]) -> list[str]:
    """Nonces that are too short to be random, such as those that count."""
    return sorted(
        nonce
        for nonce in nonces(policies)
        if len(nonce.rstrip("=")) < (_SHORTEST_NUMBER if nonce.isdecimal() else _SHORTEST_NONCE)
    )


def frames_limited(policies: Iterable[Policy], x_frame_options: Iterable[str]) -> bool:
    """Whether other sites are kept from framing the page. X-Frame-Options counts only where no policy has frame-ancestors."""
    ancestors = [policy["frame-ancestors"] for policy in policies if "frame-ancestors" in policy]
    if ancestors:
        return any(not any(_ANYWHERE.fullmatch(token.lower()) for token in tokens) for tokens in ancestors)
    values = {value.strip().upper() for header in x_frame_options for value in header.split(",")}
    return bool(values & {"DENY", "SAMEORIGIN"})


def nonces(policies: Iterable[Policy]) -> frozenset[str]:
    """The nonces by which scripts are trusted."""
    tokens = (
        token
        for policy in policies
        for name in ("script-src-elem", "script-src", "default-src")
        for token in policy.get(name, ())
    )
    return frozenset(match[1] for token in tokens if (match := _NONCE.fullmatch(token)))
