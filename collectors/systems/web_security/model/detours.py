"""Other ways to what a guard keeps: spellings of a path, versions of an API, and headers that a stranger should not be believed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["Detour", "disguises", "pretences", "spellings", "versions"]

_VERSION = re.compile(r"/v(\d{1,3})(?:\.(\d{1,3}))?(?=/)")
_MOST_VERSIONS = 3
_ADDRESSES = (
    *("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "X-Cluster-Client-IP", "X-Originating-IP"),
    *("X-Remote-IP", "X-Remote-Addr", "CF-Connecting-IP"),
)
_USERS = (
    *("X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Forwarded-Email", "X-Auth-Request-User", "Remote-User"),
    *("X-Auth-Request-Email", "X-Remote-User", "X-WEBAUTH-USER", "X-Authenticated-User", "X-User", "X-User-Id"),
    *(
        "X-Tenant-Id",
        "X-Account-Id",
        "X-Customer-Id",
        "X-Consumer-Username",
        "X-Goog-Authenticated-User-Email",
        "X-MS-CLIENT-PRINCIPAL-NAME",
    ),
)


@dataclass(frozen=True, slots=True)
class Detour:
    """What is asked in place of the path itself."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


def spellings(path: str) -> list[str]:
    """Other spellings of a path that some routers take for the same, and some guards do not."""
    plain, mark, query = path.partition("?")
    bare = plain.rstrip("/")
    slash = bare if plain.endswith("/") else f"{plain}/"
    encoded = f"{plain[:-1]}%{ord(plain[-1]):02x}" if plain[-1].isascii() and plain[-1].isalnum() else plain
    before, _, last = bare.rpartition("/")
    found = dict.fromkeys(
        (
            *(slash, f"/{plain}", plain.upper(), encoded, f"{plain};pc7x=1", f"{bare}.json", f"{bare}/pc7x.css"),
            *(f"{bare}%20", f"{before}/%2e/{last}", encoded.replace("%", "%25") if encoded != plain else plain),
        )
    )
    return [f"{one}{mark}{query}" for one in found if one.strip("/") and bare and one != plain]


def versions(path: str) -> list[str]:
    """Addresses at which an older version of an API, or one without a version, may still answer."""
    plain, mark, query = path.partition("?")
    found = _VERSION.search(f"{plain}/")
    if found is None:
        others = [plain.replace("/api/", "/api/v1/", 1)] if "/api/" in plain else [f"/v1{plain}"]
    else:
        number, part = int(found[1]), found[2]
        older = [f"v{one}" for one in range(number - 1, max(-1, number - 1 - _MOST_VERSIONS), -1)]
        if part is not None:
            minor = [f"v{number}.{int(part) - 1}"] if int(part) else []
            older = [*minor, f"v{number}", *older[:1]]
        before, after = plain[: found.start()], plain[found.end() :]
        others = [f"{before}/{one}{after}" for one in older] + [f"{before}{after}"]
    return [f"{one}{mark}{query}" for one in others if one]


def disguises(path: str, user: str, url: str) -> dict[str, Detour]:
    """Requests by what their headers pretend; `user` is whom a proxy might vouch for, `url` that of the application.

    Those of `pretences` are sent together, and one by one only if that is let in.
    """
    together = {name: value for headers in pretences(user, url).values() for name, value in headers.items()}
    names = ":".join(["middleware"] * 5 + ["src/middleware"] * 5)
    return {
        "to come from a proxy or from the application itself": Detour(path, together),
        "a call by Next.js itself (X-Middleware-Subrequest)": Detour(path, {"X-Middleware-Subrequest": names}),
        "a rewritten path (X-Original-URL)": Detour("/", {"X-Original-URL": path, "X-Rewrite-URL": path}),
        "to be on the same host (Host: localhost)": Detour(
            path, {"Host": "localhost", "X-Forwarded-Host": "localhost"}
        ),
    }


def pretences(user: str, url: str) -> dict[str, dict[str, str]]:
    """Headers that only proxies and own pages should send, by what they pretend."""
    here = dict.fromkeys(_ADDRESSES, "127.0.0.1") | {"Forwarded": "for=127.0.0.1;host=localhost"}
    parts = urlsplit(url)
    return {
        "an address of its own (X-Forwarded-For)": here,
        "a user whom a proxy has let in (X-Forwarded-User)": dict.fromkeys(_USERS, user),
        "a call by a page or service of its own (Referer, X-Internal)": {
            "Referer": f"{parts.scheme}://{parts.netloc}/admin",
            "Origin": f"{parts.scheme}://{parts.netloc}",
            "X-Requested-With": "XMLHttpRequest",
            **dict.fromkeys(("X-Internal", "X-Internal-Request", "X-Envoy-Internal"), "true"),
        },
        "a key of its own making (X-API-Key)": {"X-API-Key": secrets.token_hex(16)},
    }
