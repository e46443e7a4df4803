"""Cookies as a server sets them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

__all__ = ["Cookie", "parse_cookies", "session_cookies"]

_SESSION = re.compile(r"sess|sid\b|auth|token|jwt|login", re.IGNORECASE)
_SECONDS = re.compile(r"-?[0-9]{1,18}")
_ANTI_FORGERY = re.compile(r"csrf|xsrf", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cookie:
    """One Set-Cookie header; the value is never shown."""

    name: str
    value: str
    secure: bool
    http_only: bool
    same_site: str
    host_only: bool
    path: str

    @property
    def broken_prefix(self) -> bool:
        """Whether browsers reject it, because its name promises what it does not keep."""
        name = self.name.lower()
        if name.startswith(("__http-", "__host-http-")) and not (self.secure and self.http_only):
            return True
        if name.startswith("__host-"):
            return not (self.secure and self.host_only and self.path == "/")
        return name.startswith("__secure-") and not self.secure


def parse_cookies(headers: Iterable[str]) -> tuple[Cookie, ...]:
    """The cookies of Set-Cookie headers; those without a name or that delete one are left out."""
    return tuple(cookie for header in headers if (cookie := _cookie(header)) is not None)


def _cookie(header: str) -> Cookie | None:
    pair, *rest = header.split(";")
    name, equals, value = pair.strip().partition("=")
    attributes = {}
    for attribute in rest:
        key, _, setting = attribute.strip().partition("=")
        attributes[key.strip().lower()] = setting.strip()  # of several the last counts
    if not equals or not name or _deletes(attributes):
        return None
    return Cookie(
        name=name.strip(),
        value=value.strip().strip('"'),
        secure="secure" in attributes,
        http_only="httponly" in attributes,
        same_site=attributes.get("samesite", "").lower(),
        host_only=not attributes.get("domain"),
        path=attributes.get("path", ""),
    )


def _deletes(attributes: dict[str, str]) -> bool:
    """Whether a cookie has expired when it is set. Max-Age outweighs Expires."""
    if _SECONDS.fullmatch(age := attributes.get("max-age", "")):  # browsers ignore what is no number
        return int(age) <= 0
    expires = parsedate_tz(attributes.get("expires", ""))
    return expires is not None and mktime_tz(expires) <= time.time()


def session_cookies(cookies: Iterable[Cookie], declared: str | None, *, login: bool = False) -> list[Cookie]:
    """The cookies that carry a session: the one that is declared, else those that are named like one.

    Where a `login` sets none that is named like one, each of its cookies may be it, but for anti-forgery ones.
    """
    if declared is not None:
        return [cookie for cookie in cookies if cookie.name == declared]
    candidates = [cookie for cookie in cookies if not _ANTI_FORGERY.search(cookie.name)]
    named = [cookie for cookie in candidates if _SESSION.search(cookie.name)]
    return named or (candidates if login else [])
