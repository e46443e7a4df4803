"""Whether another site can act in a user's name."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.web_security.model.cookies import Cookie
from collectors.systems.web_security.model.looks import Forgery
from collectors.systems.web_security.model.pages import is_html, media_type, resembles, words
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import listed

__all__ = ["forgery_problems", "same_site_problems"]


def _accepted(reply: Reply) -> bool:
    return 200 <= reply.status < 400


def _as_own(reply: Reply, own: Reply) -> bool:
    """Whether an accepted POST got what the application's own got; where that was refused there is nothing to compare."""
    if not _accepted(own):
        return True
    if 300 <= reply.status < 400:
        return 300 <= own.status < 400 and _target(reply) == _target(own)
    return own.status >= 300 or resembles(reply, own)


def _target(reply: Reply) -> str:
    return str(reply.headers.get("location", "")).partition("?")[0]


def forgery_problems(forgery: Forgery, session: list[Cookie], *, logged_in: bool) -> Iterator[Result]:
    """A POST of another site that is accepted; the application's own must be, or refusals prove nothing.

    Unless the user is known to be logged in, a redirect may lead to a login, and shows nothing.
    """
    where = forgery.foreign.where
    redirects = [reply for reply in (forgery.foreign, forgery.own) if 300 <= reply.status < 400]
    if redirects and not logged_in:
        yield unknown(
            f"{where} answered {redirects[0].status}, which may lead to a login: without a page in protected that the user gets, "
            "that shows nothing.",
            reason=Reason.NOT_CONFIGURED,
        )
        return
    lax = bool(session) and all(cookie.same_site in ("lax", "strict") for cookie in session)
    taken = {}
    for who, reply in {"another site": forgery.foreign, **forgery.others}.items():
        if not _accepted(reply):
            continue
        if _as_own(reply, forgery.own):
            taken[who] = reply
            continue
        other = "with other content than" if reply.status < 300 else "by a redirect elsewhere than"
        yield unknown(
            f"{where} answered {reply.status} to a POST from {who}, {other} to the application's own: whether that is a "
            "refusal is not known.",
            reason=Reason.MALFORMED,
        )
    if not lax:
        yield from (failed(f"{where} accepted a POST from {who} with the user's session cookie.") for who in taken)
    if not _accepted(forgery.own):
        token = "with" if forgery.own_has_token else "without"
        yield unknown(
            f"{where} answered {forgery.own.status} also to the application's own POST ({token} a token), "
            "so its refusals show nothing.",
            reason=Reason.REFUSED,
        )
    elif forgery.foreign.status in (404, 405, 408, 425, 429, 401) or forgery.foreign.status >= 500:
        yield unknown(
            f"{where} answered {forgery.foreign.status} to a POST from another site, which is no refusal of a forgery.",
            reason=Reason.MALFORMED,
        )
    if _accepted(forgery.own):
        yield from _weaknesses(forgery)
    if taken and lax:
        yield warning(
            f"{where} accepts POSTs from other sites; only SameSite of {listed(cookie.name for cookie in session)} keeps "
            "browsers from sending the session cookie with them."
        )


def _weaknesses(forgery: Forgery) -> Iterator[Result]:
    """What no other site can use by itself."""
    for whose, reply in forgery.in_header.items():
        if _accepted(reply) and _as_own(reply, forgery.own):
            yield warning(
                f"{reply.where} accepted {whose} from another site: only that browsers send no such header for other sites without "
                "asking protects it, while tokens should belong to a session."
            )
    get = forgery.by_get
    if get is not None and get.status == forgery.own.status < 300 and _same(get, forgery.own):
        yield warning(
            f"{get.where} answered the same as its POST: if it does the same, no token is needed, and SameSite=Lax lets other "
            "sites send it."
        )


def _same(reply: Reply, own: Reply) -> bool:
    # A page that shows its form again after a POST looks the same by GET.
    return not is_html(own) and bool(words(own)) and words(reply) == words(own) and media_type(reply) == media_type(own)


def same_site_problems(where: str, session: list[Cookie]) -> Iterator[Result]:
    """What the session cookie alone does, where no POST was allowed."""
    for cookie in session:
        if cookie.same_site not in ("lax", "strict"):
            yield unknown(
                f"The session cookie {cookie.name} of {where} has SameSite {cookie.same_site or 'unset'}, "
                "so browsers may send it with requests of other sites; "
                "whether their POSTs are refused was not checked, which needs csrf and allow_intrusive.",
                reason=Reason.NOT_CONFIGURED,
            )
    if session:
        yield warning(
            f"SameSite of {listed(cookie.name for cookie in session)} keeps browsers from sending the session cookie of {where} "
            "with POSTs of other sites; whether these are refused was not checked, which needs csrf and allow_intrusive."
        )
