"""What is sent to find out about one line, in which order, and what came back."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser

from collectors.systems.secrets.model.tokens import parse_jwks, secret_forms
from collectors.systems.web_security.client.application import Application
from collectors.systems.web_security.model.cookies import parse_cookies
from collectors.systems.web_security.model.csp import nonces
from collectors.systems.web_security.model.looks import (
    Access,
    Credentials,
    CrossOrigin,
    Forgery,
    Origins,
    Sent,
    Shown,
    SqlTrial,
    ValueTrial,
)
from collectors.systems.web_security.model.pages import enforced_policies
from collectors.systems.web_security.model.reflection import CHARACTERS, TAIL, begins_link
from collectors.systems.web_security.model.routes import Cors, Csrf, Parameter, Restriction
from collectors.systems.web_security.model.sql import QUOTES, confirmations, joins, nonsense
from collectors.systems.web_security.model.tokens import confused, forged, has_known_secret, key_id
from exporter.http import Http, HttpSettings
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = [
    "ask_as_others",
    "ask_without_rights",
    "confuse_keys",
    "forge_post",
    "see_error",
    "see_origins",
    "see_page",
    "try_sql",
    "try_value",
    "try_xss",
]


def _word(length: int = 8) -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(length))


async def see_page(application: Application, path: str) -> Shown:
    """A page, twice where a nonce in its policy has to change."""
    reply = await application.get(path)
    return Shown(reply, await application.get(path) if nonces(enforced_policies(reply)) else None)


async def see_error(application: Application) -> Reply:
    """What is answered to an address that does not exist."""
    return await application.get(f"/pc7x-{_word()}")


async def ask_as_others(application: Application, path: str, user: str, genuine: Mapping[str, str | None]) -> Access:
    """A protected page as a user, and with no, forged and no longer valid credentials (`genuine`: what they are, the token)."""
    who = await application.user(user)
    control = await application.get(path, who)
    knocks = {}
    if 200 <= control.status < 300:
        for kind, forgery in _forgeries(who, genuine):
            knocks[kind] = await application.get(path, forgery)
    access = Access(control, user, knocks)
    if not knocks:
        return access
    respelled = [await application.get(spelling) for spelling in _spellings(path)]
    disguised = {what: await application.get(*asked, headers=sent) for what, (asked, sent) in _disguises(path).items()}
    shown = any(200 <= reply.status < 300 for reply in (*respelled, *disguised.values()))
    nowhere = await application.get(f"{path.partition('?')[0].rstrip('/')}-{_word()}") if shown else None
    return replace(
        access,
        respelled=tuple(respelled),
        disguised=disguised,
        nowhere=nowhere,
        again=await application.get(path, await application.user(user)),
        guessable=who.token is not None and has_known_secret(who.token),
    )


async def confuse_keys(application: Application, who: Credentials) -> dict[str, str]:
    """Tokens of a user, signed with the keys that the issuer publishes, as if these were secrets; none without a key set.

    Raises ProbeError where the key set cannot be read.
    """
    options = application.options
    if options.jwks_url is None or who.token is None:
        return {}
    async with Http(HttpSettings(url=options.jwks_url, tls=options.tls, timeout=options.request_timeout)) as http:
        keys = parse_jwks((await http.get()).body, options.jwks_url)
    named = key_id(who.token)
    # Six requests for each page: the key that signed the token, or the first one, stands for all.
    key = next((key for key in keys if key.id == named and key.public), next((key for key in keys if key.public), None))
    if key is None or key.public is None:
        return {}
    forms = confused(who.token, secret_forms(key.public))
    return {f"the issuer's public key as a secret (HS256, {form})": token for form, token in forms.items()}


def _spellings(path: str) -> list[str]:
    """Other spellings of a path that some routers take for the same, and some guards do not."""
    plain, mark, query = path.partition("?")
    slash = plain.rstrip("/") if plain.endswith("/") else f"{plain}/"
    encoded = f"{plain[:-1]}%{ord(plain[-1]):02x}" if plain[-1].isascii() and plain[-1].isalnum() else plain
    spellings = dict.fromkeys((slash, f"/{plain}", plain.upper(), encoded, f"{plain};pc7x=1"))
    return [f"{spelling}{mark}{query}" for spelling in spellings if spelling.strip("/") and spelling != plain]


def _disguises(path: str) -> dict[str, tuple[tuple[str], dict[str, str]]]:
    """What is asked, and the headers, by what these pretend: to come from this host, from a framework itself, to be rewritten."""
    here = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}
    names = ":".join(["middleware"] * 5 + ["src/middleware"] * 5)
    return {
        "an address of its own (X-Forwarded-For)": ((path,), here),
        "a call by Next.js itself (X-Middleware-Subrequest)": ((path,), {"X-Middleware-Subrequest": names}),
        "a rewritten path (X-Original-URL)": (("/",), {"X-Original-URL": path, "X-Rewrite-URL": path}),
    }


def _forgeries(who: Credentials, genuine: Mapping[str, str | None]) -> Iterator[tuple[str, Credentials]]:
    yield "no credentials", Credentials()
    if who.token is not None:
        yield from ((kind, Credentials(token=token)) for kind, token in forged(who.token).items())
        yield from ((kind, Credentials(token=token)) for kind, token in genuine.items() if token)
    elif who.cookies:
        kinds = {kind: None for value in who.cookies.values() for kind in forged(value)}
        for kind in kinds:
            cookies = {name: forged(value).get(kind, value) for name, value in who.cookies.items()}
            yield f"cookies with {kind}", Credentials(cookies=cookies)


async def ask_without_rights(application: Application, rule: Restriction) -> Access:
    """A resource as the user who may read it, and as those who may not."""
    control = await application.get(rule.path, await application.user(rule.allowed))
    knocks = {}
    if 200 <= control.status < 300:
        knocks = {name: await application.get(rule.path, await application.user(name)) for name in rule.refused}
    return Access(control, rule.allowed, knocks, stranger=await application.get(rule.path) if knocks else None)


async def see_origins(application: Application, rule: Cors) -> Origins:
    """The answers to scripts on allowed origins and on those that an attacker may have."""
    who = await application.user(rule.user) if rule.user else None
    plain = await application.get(rule.path, who)

    async def ask(kind: str, origin: str, *, cookie: bool) -> CrossOrigin:
        headers = {"Origin": origin}
        if cookie and not (who and who.cookies):
            headers["Cookie"] = f"{_word()}={_word()}"
        return CrossOrigin(kind, origin, cookie, await application.get(rule.path, who, headers=headers))

    allowed = [await ask("allowed", origin, cookie=False) for origin in rule.allowed_origins]
    others = []
    unrelated = f"https://{_word()}.example"
    attackers = {unrelated: "an unrelated origin", "null": "the origin null"}
    for own in rule.allowed_origins or (application.options.url,):
        attackers |= _resembling(own)
    for origin, kind in attackers.items():
        others += [await ask(kind, origin, cookie=cookie) for cookie in ((False, True) if kind in _TWICE else (True,))]
    preflights = [
        CrossOrigin("allowed", origin, False, await application.preflight(rule.path, origin, "GET", "authorization"))
        for origin in (rule.allowed_origins if who is not None and who.token is not None else ())
    ]
    return Origins(
        plain,
        tuple(allowed),
        tuple(others),
        credentialed=who is not None and bool(who.cookies),
        preflights=tuple(preflights),
        foreign_preflight=CrossOrigin(
            "an unrelated origin", unrelated, False, await application.preflight(rule.path, unrelated, "PUT")
        ),
    )


_TWICE = ("an unrelated origin", "a host that begins with the allowed name")


def _resembling(allowed: str) -> dict[str, str]:
    """Origins that careless comparisons take for an allowed one, and what they are; an address has no names that resemble it."""
    parts = urlsplit(allowed)
    scheme, host, netloc = parts.scheme, parts.hostname or "", parts.netloc.rpartition("@")[2]
    if ":" in host or host.replace(".", "").isdecimal():
        return {}
    origins = {
        f"{scheme}://{host}.{_word()}.example": "a host that begins with the allowed name",
        f"{scheme}://{_word()}{netloc}": "a host that ends with the allowed name",
        f"{scheme}://{_word()}.{netloc}": "a subdomain of the allowed host",
    }
    if "." in host:
        origins[f"{scheme}://{netloc.replace('.', 'x', 1)}"] = "a host in which a dot is another letter"
    if scheme == "https":
        origins[f"http://{netloc}"] = "the allowed host without TLS"
    origins[f"{scheme}://{host}:{8443 if parts.port != 8443 else 9443}"] = "another port of the allowed host"
    return origins


async def try_value(application: Application, parameter: Parameter) -> ValueTrial:
    """A value of the right type, then one of another type."""
    control = await application.get_value(parameter, parameter.value)
    sent = "pc7x" if parameter.value.isdecimal() else "not-" + _word()
    trial = ValueTrial(control, await application.get_value(parameter, sent), sent)
    if trial.answer.status != 404 or not parameter.value.isdecimal():
        return trial
    absent = nonsense(parameter.value)
    return replace(trial, absent=Sent(absent, await application.get_value(parameter, absent)))


async def try_xss(application: Application, parameter: Parameter) -> ValueTrial:
    """A word that is harmless, then the same with the characters that begin and end tags and attributes."""
    sent = f"pc7x{_word(4)}"
    control = await application.get_value(parameter, sent)
    answer = await application.get_value(parameter, f"{sent}{CHARACTERS}{TAIL}")
    linked = begins_link(control, sent)
    link = await application.get_value(parameter, f"javascript:{sent}") if linked else None
    return ValueTrial(control, answer, sent, link=link)


async def try_sql(application: Application, parameter: Parameter) -> SqlTrial:
    """Quotes, and values that only a database puts together again; where it seems to, values that tell it from a filter."""

    async def send(value: str) -> Sent:
        return Sent(value, await application.get_value(parameter, value))

    value = parameter.value
    where = f"parameter {parameter.name}" if parameter.name else f"the last part of {parameter.path}"
    baseline = (await send(value), await send(value))
    trial = SqlTrial(where, baseline, await send(nonsense(value)), {}, {}, {})
    quotes = {mark: (await send(value + mark)).reply for mark in QUOTES}
    quotes |= {mark * 2: (await send(value + mark * 2)).reply for mark in ("'", '"') if quotes[mark].status >= 500}
    joined, confirmed = {}, {}
    for database, text in joins(value).items() if trial.finds else ():
        joined[database] = await send(text)
        if trial.shows(joined[database]):
            confirmed[database] = tuple([await send(other) for other in confirmations(value, database)])
    return replace(trial, quotes=quotes, joins=joined, confirmations=confirmed)


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
    own = rule.origin or f"{parts.scheme}://{parts.netloc}"
    evil = {"Origin": f"https://{_word()}.example"}
    foreign = await application.post(rule.path, who, fields=rule.fields, headers=evil, form=True)
    framed = await application.post(rule.path, who, fields=rule.fields, headers={"Origin": "null"}, form=True)
    others = {"a sandboxed frame of another site (Origin: null)": framed}
    resembling = next(iter(_resembling(own)), evil["Origin"])
    alike = {"Origin": resembling, "Referer": f"{evil['Origin']}/{urlsplit(own).netloc}/"}
    others["another site whose address resembles the application's"] = await application.post(
        rule.path, who, fields=rule.fields, headers=alike, form=True
    )
    if rule.token_path is not None and rule.send_header is None:
        guessed = {**rule.fields, rule.token_name: _word(32)}
        others["another site with a made-up token"] = await application.post(
            rule.path, who, fields=guessed, headers=evil, form=True
        )
    fields, headers, own_user = dict(rule.fields), {"Origin": own}, who
    if rule.token_path is not None:
        token, own_user = await _token(application, rule, who)
        if rule.send_header is not None:
            headers[rule.send_header] = token
        else:
            fields[rule.token_name] = token
    reply = await application.post(rule.path, own_user, fields=fields, headers=headers, form=True)
    return Forgery(who.set_cookies, foreign, reply, rule.token_path is not None, others)


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
