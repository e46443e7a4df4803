"""What is kept from others, asked by those who may have it and by everybody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from collectors.systems.secrets.model.tokens import parse_jwks, secret_forms
from collectors.systems.web_security.client.application import Application
from collectors.systems.web_security.model.detours import Detour, disguises, pretences, spellings, versions
from collectors.systems.web_security.model.looks import Access, Credentials
from collectors.systems.web_security.model.routes import Restriction
from collectors.systems.web_security.model.tokens import careless, confused, forged, has_known_secret, key_id, subject
from collectors.systems.web_security.model.words import word
from exporter.http import Http, HttpSettings
from exporter.reply import Reply

__all__ = ["ask_as_others", "ask_without_rights", "confuse_keys"]

_TOGETHER = next(iter(disguises("/", "", "")))
_LIKELIEST = ("alg: none", "a wrong signature")


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
    access = await _by_detours(application, access, path, Credentials(), subject(who.token) or user)
    return replace(
        access,
        older=await _older(application, path, who),
        without_body=await _without_body(application, path),
        again=await application.get(path, await application.user(user)),
        guessable=who.token is not None and has_known_secret(who.token),
    )


async def _by_detours(application: Application, access: Access, path: str, who: Credentials, vouched: str) -> Access:
    """The same page by other spellings of its path, and with headers that pretend something."""
    url = application.options.url
    respelled = [await application.get(one, who) for one in spellings(path)]
    disguised = {}
    for what, detour in disguises(path, vouched, url).items():
        disguised[what] = await _take(application, detour, who)
    if 200 <= disguised[_TOGETHER].status < 300:
        del disguised[_TOGETHER]
        for what, headers in pretences(vouched, url).items():
            disguised[what] = await application.get(path, who, headers=headers)
    nowhere = await application.get(f"{path.partition('?')[0].rstrip('/')}-{word()}", who)
    return replace(access, respelled=tuple(respelled), disguised=disguised, nowhere=nowhere)


async def _take(application: Application, detour: Detour, who: Credentials) -> Reply:
    return await application.get(detour.path, who, headers=detour.headers)


async def _older(application: Application, path: str, who: Credentials) -> tuple[Reply, ...]:
    """Other versions of an API, as a stranger and with a token that nobody signed."""
    unsigned = [
        Credentials(token=forged(who.token)[kind]) for kind in _LIKELIEST[:1] if who.token and kind in forged(who.token)
    ]
    asked = [(one, somebody) for one in versions(path) for somebody in (Credentials(), *unsigned)]
    return tuple([await application.get(one, somebody) for one, somebody in asked])


async def _without_body(application: Application, path: str) -> Reply | None:
    """What HEAD is answered; None where everything is answered so, whether it exists or not."""
    reply = await application.head(path)
    if not 200 <= reply.status < 300:
        return reply
    nowhere = await application.head(f"{path.partition('?')[0].rstrip('/')}-{word()}")
    return reply if nowhere.status != reply.status else None


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


def _forgeries(who: Credentials, genuine: Mapping[str, str | None]) -> Iterator[tuple[str, Credentials]]:
    yield "no credentials", Credentials()
    if who.token is not None:
        made = forged(who.token) | careless(who.token)
        yield from ((kind, Credentials(token=token)) for kind, token in made.items())
        yield from ((kind, Credentials(token=token)) for kind, token in genuine.items() if token)
        yield "made-up basic authentication", Credentials(basic=f"{word()}:{word()}")
    elif who.cookies:
        yield from ((f"cookies with {kind}", forgery) for kind, forgery in _forged_cookies(who))


def _forged_cookies(who: Credentials) -> Iterator[tuple[str, Credentials]]:
    for kind in {kind: None for value in who.cookies.values() for kind in forged(value)}:
        yield kind, Credentials(cookies={name: forged(value).get(kind, value) for name, value in who.cookies.items()})


async def ask_without_rights(application: Application, rule: Restriction) -> Access:
    """A resource as the user who may read it, and as those who may not: the first of them by all detours, too."""
    owner = await application.user(rule.allowed)
    control = await application.get(rule.path, owner)
    access = Access(control, rule.allowed, {})
    if not 200 <= control.status < 300:
        return access
    knocks = {name: await application.get(rule.path, await application.user(name)) for name in rule.refused}
    access = replace(access, knocks=knocks, stranger=await application.get(rule.path))
    refused = await application.user(rule.refused[0])
    access = await _by_detours(application, access, rule.path, refused, subject(owner.token) or rule.allowed)
    older = tuple([await application.get(one, refused) for one in versions(rule.path)])
    return replace(access, older=older, forged=await _forged(application, rule, owner))


async def _forged(application: Application, rule: Restriction, owner: Credentials) -> dict[str, Reply]:
    """What is answered to forged credentials of who may read it."""
    if owner.token is not None:
        known = forged(owner.token)
        return {
            kind: await application.get(rule.path, Credentials(token=known[kind]))
            for kind in _LIKELIEST
            if kind in known
        }
    return {kind: await application.get(rule.path, forgery) for kind, forgery in _forged_cookies(owner)}
