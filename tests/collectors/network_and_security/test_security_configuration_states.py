"""States of a real application that look safe and are not, and the other way round."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import pytest

from collectors.network_and_security.security_configuration import (
    SecurityConfiguration,
)
from exporter.verdict import Status
from tests.servers.applications.programs import Application, fastapi
from tests.servers.nginx import nginx
from tests.servers.process import LOOPBACK, free_port
from tests.support import Run

_SECRET = b"a-secret-of-32-bytes-for-tests-1"


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """The application whose routes are the states."""
    with fastapi(tmp_path_factory.mktemp("traps"), module="traps") as app:
        yield app


@pytest.fixture(scope="module")
def snares(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """Another application of this kind."""
    with fastapi(tmp_path_factory.mktemp("snares"), module="snares") as app:
        yield app


def _token(name: str, secret: bytes = _SECRET) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": name}))
    signed = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    signature = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


_USERS = {name: {"bearer_token": _token(name)} for name in ("alice", "bob")}


async def _look(url: str, item: str, **options: Any) -> tuple[Status, str]:
    target = {"name": "traps", "url": url, "pause": timedelta(0), **options}
    (result,) = (await Run(SecurityConfiguration, [item], target=target).results()).values()
    return result.status, result.summary


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("anyport", Status.FAILED, "from anywhere (https://*:*)"),
        ("blob", Status.FAILED, "from anywhere (blob:)"),
        ("counter", Status.FAILED, "a nonce of 1 character"),
        ("good", Status.OK, ""),
    ],
)
async def test_policies(traps: Application, name: str, status: Status, words: str) -> None:
    seen, summary = await _look(traps.url, "security_headers_configured", paths=(f"/policy/{name}",))
    assert seen is status, summary
    assert words in summary


async def test_what_a_login_sets_is_the_session_whatever_its_name(traps: Application) -> None:
    user = {"login": {"path": "/login/remember", "form": True, "fields": {"user": "alice"}}}
    look = {"paths": ("/policy/good",), "users": {"alice": user}}
    seen, summary = await _look(traps.url, "security_headers_configured", **look)
    assert seen is Status.FAILED, summary
    assert "Scripts can read the session cookie remember" in summary
    seen, summary = await _look(traps.url, "security_headers_configured", **look, session_cookie="sid")
    assert seen is Status.UNKNOWN, summary
    assert "set no cookie named sid" in summary


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/me/case", Status.FAILED, "let alg: NoNe in"),
        ("/me/unsigned", Status.FAILED, "let an empty signature in"),
        ("/spelt", Status.FAILED, "by another spelling of its path"),
    ],
)
async def test_guards_that_a_stranger_passes(traps: Application, path: str, status: Status, words: str) -> None:
    seen, summary = await _look(traps.url, "authentication_active", users=_USERS, protected=(path,))
    assert seen is status, summary
    assert words in summary


async def test_a_secret_of_tutorials(traps: Application) -> None:
    users = {"alice": {"bearer_token": _token("alice", b"secret")}}
    seen, summary = await _look(traps.url, "authentication_active", users=users, protected=("/me/weak",))
    assert seen is Status.FAILED, summary
    assert "signed with a secret that anybody can guess" in summary


async def test_a_refusal_may_be_a_200(traps: Application) -> None:
    seen, summary = await _look(
        traps.url,
        "authentication_active",
        users={"alice": {"bearer_token": _token("alice")}},
        protected=("/me/polite",),
    )
    assert seen is Status.UNKNOWN, summary
    assert "with other content than to alice" in summary


async def test_whoever_is_banned_knocks_in_vain(traps: Application) -> None:
    seen, summary = await _look(
        traps.url,
        "authentication_active",
        users={"alice": {"bearer_token": "opaque-0123456789"}},
        protected=("/me/banning",),
    )
    assert seen is Status.UNKNOWN, summary
    assert "no longer let user alice in" in summary


async def test_a_cookie_that_anybody_can_write(traps: Application) -> None:
    cookie = base64.b64encode(b'{"user": "alice"}').decode()
    seen, summary = await _look(
        traps.url,
        "authentication_active",
        users={"alice": {"cookie": f"session={cookie}"}},
        protected=("/me/readable",),
    )
    assert seen is Status.FAILED, summary
    assert "cookies with altered content" in summary


async def test_strangers_have_no_rights_either(traps: Application) -> None:
    rule = {"path": "/admin/anonymous", "allowed": "alice", "refused": ("bob",)}
    seen, summary = await _look(
        traps.url, "authorization_enforced", users=_USERS, protected=("/everybody",), functions=(rule,), objects=(rule,)
    )
    assert seen is Status.FAILED, summary
    assert "A stranger got" in summary


@pytest.mark.parametrize(
    ("parameter", "status", "words"),
    [
        ({"path": "/validate/text/{value}", "value": "1"}, Status.UNKNOWN, "also to a number that is not there"),
        ({"path": "/validate/number/{value}", "value": "1"}, Status.OK, ""),
        ({"path": "/validate/polite", "name": "page", "value": "1"}, Status.UNKNOWN, "with an error in it"),
    ],
)
async def test_validation(traps: Application, parameter: dict[str, str], status: Status, words: str) -> None:
    seen, summary = await _look(traps.url, "input_validation_enabled", validation=(parameter,))
    assert seen is status, summary
    assert words in summary


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("double", Status.FAILED, "SQL can be injected"),
        ("single", Status.FAILED, "SQL can be injected"),
        ("blocked", Status.UNKNOWN, "with another page"),
    ],
)
async def test_sql(traps: Application, how: str, status: Status, words: str) -> None:
    parameter = {"path": f"/search/{how}", "name": "q", "value": "apple"}
    seen, summary = await _look(traps.url, "sql_injection_protected", sql=(parameter,))
    assert seen is status, summary
    assert words in summary


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("handler", Status.FAILED),
        ("handler-safe", Status.OK),
        ("arrow", Status.FAILED),
        ("template", Status.FAILED),
        ("slashes", Status.FAILED),
        ("json", Status.OK),
        ("link", Status.FAILED),
        ("link-safe", Status.OK),
        ("link-path", Status.OK),
        ("comment", Status.OK),
        ("less", Status.OK),
        ("blocked", Status.UNKNOWN),
    ],
)
async def test_places_of_values(traps: Application, how: str, status: Status) -> None:
    seen, summary = await _look(traps.url, "xss_protected", xss=({"path": f"/page/{how}", "name": "q"},))
    assert seen is status, summary


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("null", Status.FAILED, "accepted a POST from a sandboxed frame"),
        ("presence", Status.FAILED, "accepted a POST from another site with a made-up token"),
        ("polite", Status.UNKNOWN, "other content"),
        ("redirect", Status.UNKNOWN, "elsewhere"),
    ],
)
async def test_forgeries(traps: Application, how: str, status: Status, words: str) -> None:
    rule: dict[str, Any] = {"path": f"/post/{how}", "user": "alice"}
    if how == "presence":
        rule |= {"token_path": "/token", "token_from": "input", "token_name": "_csrf", "send_header": None}
    options = {"users": {"alice": {"cookie": "session=1"}}, "csrf": (rule,), "allow_intrusive": True}
    seen, summary = await _look(traps.url, "csrf_protected", **options, protected=("/policy/good",))
    assert seen is status, summary
    assert words in summary


@pytest.mark.parametrize(
    ("how", "user", "status", "words"),
    [
        ("second", None, Status.FAILED, "ends with the allowed name"),
        ("subdomain", None, Status.FAILED, "a subdomain of the allowed host"),
        ("preflight", None, Status.FAILED, "may send PUT"),
        ("guarded", "alice", Status.FAILED, "preflight"),
        ("uncredentialed", "cookie", Status.FAILED, "with the user's cookies"),
        ("good", "alice", Status.OK, ""),
        ("good", "cookie", Status.OK, ""),
    ],
)
async def test_origins(traps: Application, how: str, user: str | None, status: Status, words: str) -> None:
    users = {**_USERS, "cookie": {"cookie": "session=1"}}
    rule = {
        "path": f"/cors/{how}",
        "allowed_origins": ("https://app.example.com", "https://admin.example.org"),
        "user": user,
    }
    seen, summary = await _look(traps.url, "cors_configured", users=users, cors=(rule,))
    assert seen is status, summary
    assert words in summary


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/guarded/good", Status.OK, ""),
        ("/guarded/jwk", Status.FAILED, "let a key that the token brings along (jwk) in"),
        ("/guarded/kid", Status.FAILED, "let an empty file as the key (kid: /dev/null) in"),
        ("/guarded/forwarded", Status.FAILED, "that pretended an address of its own (X-Forwarded-For)"),
        ("/guarded/middleware", Status.FAILED, "that pretended a call by Next.js itself"),
        ("/rewritten", Status.FAILED, "that pretended a rewritten path (X-Original-URL)"),
        ("/encoded", Status.FAILED, "by another spelling of its path"),
    ],
)
async def test_guards_that_headers_and_keys_get_around(
    snares: Application, path: str, status: Status, words: str
) -> None:
    seen, summary = await _look(snares.url, "authentication_active", users=_USERS, protected=(path,))
    assert seen is status, summary
    assert words in summary


@pytest.mark.parametrize(
    ("guard", "keys", "status", "words"),
    [
        ("confused", "/keys", Status.FAILED, "let the issuer's public key as a secret (HS256, SPKI as PEM) in"),
        ("good", "/keys", Status.OK, ""),
        ("good", "/issue", Status.UNKNOWN, "did not answer with a JSON Web Key Set"),
        ("confused", None, Status.OK, ""),  # nobody knows the key
    ],
)
async def test_the_key_that_an_issuer_publishes_is_no_secret(
    snares: Application, guard: str, keys: str | None, status: Status, words: str
) -> None:
    token = json.loads(await asyncio.to_thread(lambda: urlopen(f"{snares.url}/issue").read()))["token"]
    options = {"jwks_url": f"{snares.url}{keys}"} if keys else {}
    users = {"alice": {"bearer_token": token}}
    seen, summary = await _look(
        snares.url, "authentication_active", users=users, protected=(f"/issued/{guard}",), **options
    )
    assert (seen, words in summary) == (status, True), summary


@pytest.mark.parametrize(
    ("how", "status"), [("good", Status.OK), ("referer", Status.FAILED), ("prefix", Status.FAILED)]
)
async def test_sites_whose_address_resembles_the_applications(snares: Application, how: str, status: Status) -> None:
    rule = {"path": f"/send/{how}", "user": "alice"}
    options = {"users": {"alice": {"cookie": "session=1"}}, "csrf": (rule,), "allow_intrusive": True}
    url = snares.url.replace("127.0.0.1", "localhost")
    seen, summary = await _look(url, "csrf_protected", **options, protected=("/send",))
    assert seen is status, summary
    assert status is Status.OK or "another site whose address resembles the application's" in summary


async def test_an_error_page_is_a_page_too() -> None:
    """nginx sends `add_header` with errors only where it says `always`."""
    port = free_port()
    sent = {
        "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    for always, status in (("", Status.WARNING), (" always", Status.OK)):
        headers = " ".join(f'add_header {name} "{value}"{always};' for name, value in sent.items())
        block = (
            f"server {{ listen {LOOPBACK}:{port}; default_type text/html; {headers} "
            "location = / { return 200 '<html><body>Shop</body></html>'; } location / { return 404; } }"
        )
        with nginx(block, port=port):
            seen, summary = await _look(f"http://{LOOPBACK}:{port}", "security_headers_configured")
        assert (seen, "The error page of GET" in summary) == (status, status is Status.WARNING), summary
