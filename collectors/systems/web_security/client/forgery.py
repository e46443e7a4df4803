"""POSTs as other sites make browsers send them, and as the application's own page does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser

from collectors.systems.web_security.client.application import Application, Form
from collectors.systems.web_security.client.origins import resembling
from collectors.systems.web_security.model.cookies import parse_cookies
from collectors.systems.web_security.model.looks import Credentials, Forgery
from collectors.systems.web_security.model.routes import Csrf
from collectors.systems.web_security.model.words import word
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["forge_post"]

_ALIKE = (
    "a host that begins with the allowed name",
    "a host that ends with the allowed name",
    "the allowed host without TLS",
)
_TYPES: Mapping[Form, str] = {"multipart": "multipart/form-data", "text": "text/plain"}


async def forge_post(application: Application, rule: Csrf) -> Forgery:
    """A POST with the session cookie as another site would make the browser send it, then as the application's own page does.

    Raises ProbeError when the user has no session cookie.
    """
    who = await application.user(rule.user)
    if not who.cookies:
        raise ProbeError(
            f"User {rule.user} has no session cookie, so no other site could use it: declare csrf_protected not applicable.",
            Reason.NOT_CONFIGURED,
        )
    parts = urlsplit(application.options.url)
    sender = _Sender(application, rule, rule.origin or f"{parts.scheme}://{parts.netloc}", f"https://{word()}.example")
    foreign = await sender.send(who, sender.evil)
    others = {sent_by: reply async for sent_by, reply in _other_ways(sender, who)}
    by_get = await application.get(rule.path, who)
    token, victim = await _token(application, rule, who) if rule.token_path is not None else (None, who)
    own = await sender.send(victim, sender.own, token=token)
    borrowed = {}
    for whose, other in (await _tokens_of_others(application, rule)).items():
        borrowed[whose] = await sender.send(victim, sender.evil, token=other)
    if rule.send_header is None:
        others |= {f"another site with {whose}": reply for whose, reply in borrowed.items()}
        borrowed = {}
    return Forgery(who.set_cookies, foreign, own, token is not None, others, by_get=by_get, in_header=borrowed)


@dataclass(frozen=True, slots=True)
class _Sender:
    """Sends the POST of one rule, as browsers send it from pages on some origin: `own` is the application's, `evil` another."""

    application: Application
    rule: Csrf
    own: str
    evil: str

    async def send(
        self,
        who: Credentials,
        origin: str,
        *,
        token: str | None = None,
        form: Form = "form",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        fields, sent = dict(self.rule.fields), {"Origin": origin, **(headers or {})}
        if token is not None and self.rule.send_header is not None:
            sent[self.rule.send_header] = token
        elif token is not None:
            fields[self.rule.token_name] = token
        sent |= self._fetch_metadata(origin, script=token is not None and self.rule.send_header is not None)
        return await self.application.post(self.rule.path, who, fields=fields, headers=sent, form=form)

    def _fetch_metadata(self, origin: str, *, script: bool) -> dict[str, str]:
        """What browsers add themselves, to requests to sites with TLS and to their own host: some applications check that alone."""
        parts = urlsplit(self.own)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            return {}
        site = "same-origin" if origin == self.own else "cross-site"
        mode, destination = ("cors", "empty") if script else ("navigate", "document")
        return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}


async def _other_ways(sender: _Sender, who: Credentials) -> AsyncIterator[tuple[str, Reply]]:
    """The answers to what other sites may send as well, by who sent it."""
    rule = sender.rule
    yield "a sandboxed frame of another site (Origin: null)", await sender.send(who, "null")
    alike = {origin: what for origin, what in resembling(sender.own).items() if what in _ALIKE}
    for origin, what in (alike or {sender.evil: "in its Referer"}).items():
        headers = {"Referer": f"{sender.evil}/{urlsplit(sender.own).netloc}/"}
        reply = await sender.send(who, origin, headers=headers)
        yield f"another site whose address resembles the application's ({what})", reply
    for form, name in _TYPES.items():
        yield f"another site by a form of type {name}", await sender.send(who, sender.evil, form=form)
    if rule.token_path is not None and rule.send_header is None:
        yield "another site with a made-up token", await sender.send(who, sender.evil, token=word(32))
        yield "another site with an empty token", await sender.send(who, sender.evil, token="")


async def _tokens_of_others(application: Application, rule: Csrf) -> dict[str, str]:
    """Anti-forgery tokens that an attacker gets without the user: as a visitor, and as another user."""
    if rule.token_path is None:
        return {}
    users = application.options.users
    others = [name for name, user in users.items() if name != rule.user and user.has_cookies]
    found = {}
    for whose, name in {
        "the token of a visitor": None,
        **{f"the token of user {name}": name for name in others[:1]},
    }.items():
        try:
            who = await application.user(name) if name else Credentials()
            found[whose], _ = await _token(application, rule, who)
        except ProbeError:  # who has no token cannot lend it
            continue
    return found


async def _token(application: Application, rule: Csrf, who: Credentials) -> tuple[str, Credentials]:
    """The anti-forgery token, and the user with the cookies that came with it."""
    assert rule.token_path is not None
    reply = await application.get(rule.token_path, who)
    cookies = {cookie.name: cookie.value for cookie in parse_cookies(reply.headers.get_list("set-cookie"))}
    found = _found_token(rule, reply, cookies)
    if not isinstance(found, str) or not found:
        raise ProbeError(f"{reply.where} answered {reply.status} without an anti-forgery token.", Reason.MALFORMED)
    return found, Credentials(cookies={**who.cookies, **cookies})


def _found_token(rule: Csrf, reply: Reply, cookies: Mapping[str, str]) -> object:
    match rule.token_from:
        case "json":
            found = reply.json()
            return found.get(rule.token_name) if isinstance(found, dict) else None
        case "cookie":
            return cookies.get(rule.token_name)
        case _:
            field = LexborHTMLParser(reply.body).css_first(f'input[name="{rule.token_name}"]')
            return field.attributes.get("value") if field else None
