"""Who may read answers from a script on another origin."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.web_security.model.looks import CrossOrigin, Origins
from collectors.systems.web_security.model.routes import Cors
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning

__all__ = ["cors_problems"]


def _allowed(reply: Reply) -> str | None:
    """The origin that browsers let read the answer: one header with one value, else none."""
    values = reply.headers.get_list("access-control-allow-origin")
    return values[0].strip() if len(values) == 1 else None


def _with_credentials(reply: Reply) -> bool:
    return bool(reply.headers.get("access-control-allow-credentials") == "true")


def cors_problems(origins: Origins, rule: Cors) -> Iterator[Result]:
    """Origins that may read what they should not, and allowed ones that may not; preflights decide who may send more."""
    where = origins.plain.where
    for other in origins.others:
        yield from _other_problems(other, rule)
    for one in origins.allowed:
        if one.reply.status == 429 or one.reply.status >= 500:
            yield unknown(
                f"{where} answered {one.reply.status} to the allowed origin {one.origin}.", reason=Reason.REFUSED
            )
        elif _allowed(one.reply) not in (one.origin, "*"):
            yield failed(
                f"{where} does not let scripts on {one.origin} read it, which allowed_origins names.",
                reason=Reason.MISCONFIGURED,
            )
        elif origins.credentialed and not (_allowed(one.reply) == one.origin and _with_credentials(one.reply)):
            yield failed(
                f"{where} does not let scripts on {one.origin} read it with the user's cookies, which allowed_origins names.",
                reason=Reason.MISCONFIGURED,
            )
    yield from _preflight_problems(origins)
    if not 200 <= origins.plain.status < 300 and not (origins.plain.status in (401, 403) and origins.allowed):
        yield unknown(
            f"{where} answered {origins.plain.status} without any origin, so its other answers show nothing.",
            reason=Reason.MALFORMED,
        )
    for other in origins.others:
        if other.reply.status == 429 or other.reply.status >= 500:
            yield unknown(f"{where} answered {other.reply.status} to {other.kind}.", reason=Reason.REFUSED)
    yield from _vary_problems(origins)


def _preflight_problems(origins: Origins) -> Iterator[Result]:
    """Preflights that let others send what is no simple request, and those that keep allowed origins from sending tokens."""
    for foreign in origins.foreign_preflights:
        if not 200 <= foreign.reply.status < 300:
            continue
        methods = _names(foreign.reply, "access-control-allow-methods")
        if _allowed(foreign.reply) == foreign.origin and _with_credentials(foreign.reply) and "put" in methods:
            yield failed(
                f"Scripts on {foreign.kind} ({foreign.origin}) may send PUT to {foreign.reply.where} with the user's cookies: "
                "its preflight is answered with that origin.",
                reason=Reason.MISCONFIGURED,
            )
    for one in origins.preflights:
        if one.reply.status == 429 or one.reply.status >= 500:
            yield unknown(
                f"{one.reply.where} answered {one.reply.status} to the preflight of {one.origin}.",
                reason=Reason.REFUSED,
            )
        elif (
            not 200 <= one.reply.status < 300
            or _allowed(one.reply) not in (one.origin, "*")
            or "authorization" not in _names(one.reply, "access-control-allow-headers")
        ):
            yield failed(
                f"{one.reply.where} answered {one.reply.status} to the preflight of {one.origin} without allowing it the header "
                "Authorization, so browsers do not send tokens.",
                reason=Reason.MISCONFIGURED,
            )


def _names(reply: Reply, header: str) -> set[str]:
    return {name.strip().lower() for value in reply.headers.get_list(header) for name in value.split(",")}


def _other_problems(other: CrossOrigin, rule: Cors) -> Iterator[Result]:
    allowed, credentials = _allowed(other.reply), _with_credentials(other.reply)
    if allowed is None or other.origin in rule.allowed_origins:
        return
    if allowed == other.origin:
        how = " with the user's cookies" if credentials else ""
        asked = ", asked with a cookie" if other.cookie and not credentials else ""
        if rule.public and not credentials and other.origin != "null":
            return
        yield failed(
            f"Scripts on {other.kind} ({other.origin}) may read {other.reply.where}{how}{asked}.",
            reason=Reason.MISCONFIGURED,
        )
    elif allowed == "*" and not rule.public:
        yield failed(
            f"Scripts on any origin may read {other.reply.where} (Access-Control-Allow-Origin: *), which is not declared public.",
            reason=Reason.MISCONFIGURED,
        )
    elif allowed == "null":
        yield failed(
            f"{other.reply.where} allows the origin null, which any site has in a sandboxed frame.",
            reason=Reason.MISCONFIGURED,
        )


def _vary_problems(origins: Origins) -> Iterator[Result]:
    """An answer that depends on the origin must say so, or a cache gives one origin's answer to another."""
    if len({_allowed(one.reply) for one in (*origins.allowed, *origins.others)}) < 2:
        return
    for one in origins.allowed:
        varies = {name.strip().lower() for header in one.reply.headers.get_list("vary") for name in header.split(",")}
        if _allowed(one.reply) == one.origin and not varies & {"origin", "*"}:
            yield warning(f"{one.reply.where} answers each origin differently without Vary: Origin.")
            return
