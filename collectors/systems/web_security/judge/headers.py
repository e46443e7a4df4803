"""Whether browsers are told to protect the users of a page."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.web_security.model.cookies import Cookie, parse_cookies, session_cookies
from collectors.systems.web_security.model.csp import (
    allows_base,
    allows_eval,
    frames_limited,
    guessable_nonces,
    nonces,
    script_weaknesses,
    shared_hosts,
    unquoted_keywords,
)
from collectors.systems.web_security.model.looks import Shown
from collectors.systems.web_security.model.pages import enforced_policies, has_nosniff, is_html, referrer_policy
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, listed, one_line

__all__ = ["cookie_problems", "error_page_problems", "header_problems"]


def header_problems(shown: Shown, session_cookie: str | None) -> Iterator[Result]:
    """What the headers of a page or an API route lack; a page is what browsers render."""
    reply = shown.reply
    if not 200 <= reply.status < 300:
        yield unknown(
            f"{reply.where} answered {reply.status}, so the headers of its page were not checked.",
            reason=Reason.MALFORMED,
        )
        return
    if is_html(reply):
        yield from _page_problems(shown)
    if not has_nosniff(reply):
        yield failed(f"{reply.where} is sent without X-Content-Type-Options: nosniff.", reason=Reason.MISSING)
    yield from cookie_problems(reply.where, parse_cookies(reply.headers.get_list("set-cookie")), session_cookie)
    if is_html(reply):
        yield from _page_warnings(reply)
    if powered := reply.headers.get("x-powered-by"):
        yield warning(f"{reply.where} names its software by X-Powered-By: {one_line(powered, 40)}.")


def error_page_problems(reply: Reply) -> Iterator[Result]:
    """What the headers of an error page lack: browsers render it, with what it repeats of the address, as any other page."""
    if not is_html(reply) or reply.status < 400:
        return
    policies = enforced_policies(reply)
    lacks = (
        []
        if policies and not script_weaknesses(policies)
        else ["a Content-Security-Policy that stops injected scripts"]
    )
    lacks += [] if has_nosniff(reply) else ["X-Content-Type-Options: nosniff"]
    if lacks:
        yield warning(f"The error page of {reply.where} ({reply.status}) is sent without {listed(lacks)}.")


def _page_problems(shown: Shown) -> Iterator[Result]:
    reply = shown.reply
    policies = enforced_policies(reply)
    if not policies:
        only = reply.headers.get("content-security-policy-report-only")
        yield failed(
            f"{reply.where} is sent without a Content-Security-Policy"
            f"{' that is enforced: it has a report-only one' if only else ''}.",
            reason=Reason.MISSING,
        )
    elif weaknesses := script_weaknesses(policies):
        yield failed(
            f"The Content-Security-Policy of {reply.where} does not stop injected scripts: it {listed(weaknesses)}.",
            reason=Reason.MISCONFIGURED,
        )
    if shown.again is not None and (repeated := nonces(policies) & nonces(enforced_policies(shown.again))):
        yield failed(
            f"The Content-Security-Policy of {reply.where} had the same nonce twice ({len(repeated)} in all), "
            "so an attacker knows it; each reply needs a new one.",
            reason=Reason.MISCONFIGURED,
        )
    for nonce in guessable_nonces(policies):
        yield failed(
            f"The Content-Security-Policy of {reply.where} trusts a nonce of {counted(len(nonce), 'character')}, which can be "
            "guessed (wanted 16 random bytes).",
            reason=Reason.MISCONFIGURED,
        )
    if not frames_limited(policies, reply.headers.get_list("x-frame-options")):
        yield failed(
            f"Other sites may frame {reply.where}: it has neither frame-ancestors nor X-Frame-Options that limits them.",
            reason=Reason.MISSING,
        )
    if leaking := referrer_policy(reply):
        yield failed(
            f"{reply.where} has Referrer-Policy {leaking}, which sends addresses to other sites.",
            reason=Reason.MISCONFIGURED,
        )


def _page_warnings(reply: Reply) -> Iterator[Result]:
    policies = enforced_policies(reply)
    if policies and not script_weaknesses(policies) and allows_eval(policies):
        yield warning(f"The Content-Security-Policy of {reply.where} allows 'unsafe-eval'.")
    if hosts := shared_hosts(policies):
        yield warning(
            f"The Content-Security-Policy of {reply.where} trusts {listed(hosts)} with scripts, where everybody may put some."
        )
    if keywords := unquoted_keywords(policies):
        yield warning(
            f"The Content-Security-Policy of {reply.where} has {listed(keywords)} without quotes, which browsers take for the name "
            "of a host."
        )
    if nonces(policies) and allows_base(policies):
        yield warning(
            f"The Content-Security-Policy of {reply.where} trusts scripts by nonce and has no base-uri, so an injected <base> "
            "redirects those with relative addresses."
        )


def cookie_problems(
    where: str, cookies: tuple[Cookie, ...], declared: str | None, *, login: bool = False
) -> Iterator[Result]:
    """Session cookies that scripts can read, or that are sent without TLS. `login`: the cookies log a user in."""
    over_tls = " https://" in f" {where}"
    session = session_cookies(cookies, declared, login=login)
    for cookie in session:
        if cookie.broken_prefix:
            yield failed(
                f"Browsers reject the session cookie {cookie.name} of {where}: its prefix demands attributes that it lacks.",
                reason=Reason.MISCONFIGURED,
            )
        if not cookie.http_only:
            yield failed(
                f"Scripts can read the session cookie {cookie.name} of {where}: it is not HttpOnly.",
                reason=Reason.MISCONFIGURED,
            )
        if not cookie.secure and over_tls:
            yield failed(
                f"The session cookie {cookie.name} of {where} is not Secure, so browsers also send it without TLS.",
                reason=Reason.MISCONFIGURED,
            )
    for cookie in session:
        if not cookie.secure and not over_tls:
            yield warning(
                f"The session cookie {cookie.name} of {where} is not Secure; the application was asked without TLS, "
                "behind which it may be."
            )
