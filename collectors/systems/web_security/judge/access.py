"""Who gets in: strangers, forgeries, and users without the right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from collectors.systems.web_security.model.looks import Access
from collectors.systems.web_security.model.pages import is_login_page, media_type, resembles, words
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning

__all__ = ["authentication_problems", "authorization_problems", "control_problems"]

_BUSY = (408, 425, 429)


def control_problems(access: Access, marker: str | None = None) -> Iterator[Result]:
    """Without a user who gets in, refusals prove nothing."""
    control = access.control
    if not 200 <= control.status < 300:
        yield unknown(
            f"{control.where} answered {control.status} to user {access.user}, who should be let in, "
            "so what it answers to others shows nothing.",
            reason=Reason.DENIED if control.status in (401, 403) else Reason.MALFORMED,
        )
    elif is_login_page(control):
        yield unknown(
            f"{control.where} answered user {access.user} with a page that asks for a password.", reason=Reason.DENIED
        )
    elif marker is not None and marker not in control.text:
        yield unknown(
            f"{control.where} answered user {access.user} without the text that protected_marker names.",
            reason=Reason.MALFORMED,
        )


def authentication_problems(access: Access, marker: str | None) -> Iterator[Result]:
    """Credentials that get in, and those of which it cannot be said."""
    yield from control_problems(access, marker)
    for kind, reply in access.knocks.items():
        if _let_in(reply, marker) and (marker is not None or resembles(reply, access.control)):
            yield failed(f"{reply.where} let {kind} in (it answered {reply.status}).")
    yield from _leaks(access, access.knocks)
    for how, reply in _around(access, marker):
        yield failed(f"{reply.where} let no credentials in {how} (it answered {reply.status}).")
    if access.guessable:
        yield failed(
            f"The token of user {access.user} is signed with a secret that anybody can guess, who can then write tokens for "
            "every user.",
            reason=Reason.MISCONFIGURED,
        )
    for kind, reply in access.knocks.items():
        if _let_in(reply, marker) and marker is None and not resembles(reply, access.control):
            yield unknown(_other_content(reply, kind, access), reason=Reason.MALFORMED)
    yield from _unclear(access)
    if access.without_body is not None and _let_in(access.without_body, None):
        yield warning(
            f"{access.without_body.where} let no credentials in (it answered {access.without_body.status}): the guard does "
            "not apply to this method, though it shows no content.",
        )
    if access.again is not None and not 200 <= access.again.status < 300:
        yield unknown(
            f"{access.again.where} no longer let user {access.user} in ({access.again.status}) after the others had knocked, so "
            "their refusals show nothing.",
            reason=Reason.REFUSED,
        )


def authorization_problems(access: Access, what: str) -> Iterator[Result]:
    """Users who get what they have no right to; `what` names it, such as a function."""
    yield from control_problems(access)
    users = {f"user {name}": reply for name, reply in access.knocks.items()}
    yield from _leaks(access, users if access.stranger is None else {**users, "a stranger": access.stranger})
    if not any(_let_in(reply, None) for reply in access.knocks.values()):
        for how, reply in _around(access, None):
            yield failed(
                f"User {next(iter(access.knocks), '')} got {reply.where} {how}, {what} that only {access.user} may have."
            )
    for kind, reply in access.forged.items():
        if _let_in(reply, None) and resembles(reply, access.control):
            yield failed(
                f"{reply.where}, {what} that only {access.user} may have, let {kind} in (it answered {reply.status})."
            )
    if access.stranger is not None and _let_in(access.stranger, None) and resembles(access.stranger, access.control):
        yield failed(f"A stranger got {access.stranger.where}, {what} that only {access.user} may have.")
    for name, reply in access.knocks.items():
        if _let_in(reply, None) and not resembles(reply, access.control):
            yield unknown(_other_content(reply, f"user {name}", access), reason=Reason.MALFORMED)
        elif _let_in(reply, None):
            yield failed(f"User {name} got {reply.where}, {what} that only {access.user} may have.")
        elif reply.status == 401:
            yield unknown(
                f"{reply.where} answered 401 to user {name}: whoever is not logged in was not checked for rights.",
                reason=Reason.DENIED,
            )
    yield from _unclear(access)


def _leaks(access: Access, knocks: Mapping[str, Reply]) -> Iterator[Result]:
    """Refusals that have what they refuse: programs that redirect to a login and go on, and bodies that nobody took out."""
    for kind, reply in knocks.items():
        if 300 <= reply.status < 500 and reply.status not in _BUSY and _has_what_is_kept(reply, access):
            yield failed(
                f"{reply.where} refused {kind} by its status ({reply.status}), and sent what it keeps from others all the same."
            )


def _has_what_is_kept(reply: Reply, access: Access) -> bool:
    """Whether a refusal shows half of the words of an answer, or nearly all of a page's: pages share a layout with their errors."""
    own = _own_words(access)
    shown = len(own & words(reply))
    if media_type(access.control) == "text/html":
        return len(own) >= 2 * _LEAST_WORDS and len(own) - shown < _LEAST_WORDS
    return len(own) >= _LEAST_WORDS and 2 * shown >= len(own)


_LEAST_WORDS = 4
"""Of its own, which an answer must have: an error may repeat a name or two."""


def _around(access: Access, marker: str | None) -> Iterator[tuple[str, Reply]]:
    """The ways around a guard that showed what it keeps, as the sentences have them."""
    by_way = [("by another spelling of its path", reply) for reply in access.respelled]
    by_way += [("by another version of its path", reply) for reply in access.older]
    by_way += [(f"with headers that pretended {what}", reply) for what, reply in access.disguised.items()]
    for how, reply in by_way:
        if _let_in(reply, marker) and _shows_own_words(reply, access):
            yield how, reply


def _let_in(reply: Reply, marker: str | None) -> bool:
    if not 200 <= reply.status < 300 or is_login_page(reply):
        return False
    return marker is None or marker in reply.text


def _other_content(reply: Reply, whom: str, access: Access) -> str:
    return (
        f"{reply.where} answered {reply.status} to {whom}, with other content than to {access.user}: whether that is a refusal "
        "is not known."
    )


def _shows_own_words(reply: Reply, access: Access) -> bool:
    """Whether a reply has what only this page has: pages that are not found may share a layout with it."""
    own = _own_words(access)
    return bool(own) and 2 * len(own & words(reply)) >= len(own)


def _own_words(access: Access) -> frozenset[str]:
    return words(access.control) - (words(access.nowhere) if access.nowhere else frozenset())


def _unclear(access: Access) -> Iterator[Result]:
    for kind, reply in access.knocks.items():
        if reply.status in _BUSY or reply.status >= 500:
            yield unknown(
                f"{reply.where} answered {reply.status} to {kind}, which is neither in nor refused.",
                reason=Reason.REFUSED,
            )
        elif 300 <= reply.status < 400 and _same_place(reply):
            yield unknown(f"{reply.where} redirected {kind} to itself, which is no refusal.", reason=Reason.MALFORMED)
    statuses = {reply.status for reply in access.knocks.values()}
    if len(statuses) > 1 and 403 in statuses and 401 in statuses:
        yield from _firewall(access)


def _same_place(reply: Reply) -> bool:
    path = reply.where.partition("://")[2].partition("/")[2].strip("/")
    to = str(reply.headers.get("location", "")).partition("?")[0]
    return bool(path) and to.rstrip("/").endswith(f"/{path}")


def _firewall(access: Access) -> Iterator[Result]:
    """A 403 with other headers than the application's 401 comes from somewhere in front of it."""
    by_application = next(reply for reply in access.knocks.values() if reply.status == 401)
    ours = set(by_application.headers) - {"www-authenticate", "content-length", "set-cookie"}
    for kind, reply in access.knocks.items():
        if reply.status == 403 and len(ours - set(reply.headers)) > len(ours) // 3:
            yield unknown(
                f"Something in front of {reply.where} refused {kind} (403), so the application's own check was not seen.",
                reason=Reason.REFUSED,
            )
