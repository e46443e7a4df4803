"""Who may read answers from a script on another origin."""

from __future__ import annotations

from urllib.parse import urlsplit

from collectors.systems.web_security.client.application import Application
from collectors.systems.web_security.model.looks import CrossOrigin, Origins
from collectors.systems.web_security.model.routes import Cors
from collectors.systems.web_security.model.words import word

__all__ = ["resembling", "see_origins"]


async def see_origins(application: Application, rule: Cors) -> Origins:
    """The answers to scripts on allowed origins and on those that an attacker may have."""
    who = await application.user(rule.user) if rule.user else None
    plain = await application.get(rule.path, who)

    async def ask(kind: str, origin: str, *, cookie: bool) -> CrossOrigin:
        headers = {"Origin": origin}
        if cookie and not (who and who.cookies):
            headers["Cookie"] = f"{word()}={word()}"
        return CrossOrigin(kind, origin, cookie, await application.get(rule.path, who, headers=headers))

    allowed = [await ask("allowed", origin, cookie=False) for origin in rule.allowed_origins]
    others = []
    unrelated = f"https://{word()}.example"
    attackers = {
        unrelated: "an unrelated origin",
        "null": "the origin null",
        "http://localhost:3000": "a program on the user's own computer",
        "https://localhost": "a program on the user's own computer",
    }
    for own in rule.allowed_origins or (application.options.url,):
        attackers |= resembling(own)
    for origin, kind in attackers.items():
        others += [await ask(kind, origin, cookie=cookie) for cookie in ((False, True) if kind in _TWICE else (True,))]
    preflights = [
        CrossOrigin("allowed", origin, False, await application.preflight(rule.path, origin, "GET", "authorization"))
        for origin in (rule.allowed_origins if who is not None and who.token is not None else ())
    ]
    foreign = [
        CrossOrigin(attackers[origin], origin, False, await application.preflight(rule.path, origin, "PUT"))
        for origin in (unrelated, "null")
    ]
    return Origins(
        plain,
        tuple(allowed),
        tuple(others),
        credentialed=who is not None and bool(who.cookies),
        preflights=tuple(preflights),
        foreign_preflights=tuple(foreign),
    )


_TWICE = ("an unrelated origin", "a host that begins with the allowed name")


def resembling(allowed: str) -> dict[str, str]:
    """Origins that careless comparisons take for an allowed one, and what they are; an address has no names that resemble it."""
    parts = urlsplit(allowed)
    scheme, host, netloc = parts.scheme, parts.hostname or "", parts.netloc.rpartition("@")[2]
    if ":" in host or host.replace(".", "").isdecimal():
        return {}
    origins = {
        f"{scheme}://{host}.{word()}.example": "a host that begins with the allowed name",
        f"{scheme}://{word()}{netloc}": "a host that ends with the allowed name",
        f"{scheme}://{word()}.{netloc}": "a subdomain of the allowed host",
    }
    if "." in host:
        origins[f"{scheme}://{netloc.replace('.', 'x', 1)}"] = "a host in which a dot is another letter"
        origins[f"{scheme}://{host.rpartition('.')[0]}.{word()}"] = "the allowed name in another top-level domain"
    if scheme == "https":
        origins[f"http://{netloc}"] = "the allowed host without TLS"
    origins[f"{scheme}://{host}:{8443 if parts.port != 8443 else 9443}"] = "another port of the allowed host"
    return origins
