"""The security of real applications: NestJS and FastAPI, safe, vulnerable, and behind a WAF."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.network_and_security.security_configuration import (
    SecurityConfiguration,
    SecurityTarget,
)
from collectors.systems.web_security.client.application import Application as ApplicationClient
from exporter.verdict import Status
from tests.servers.applications.programs import Application, fastapi, nest
from tests.servers.postgresql import Postgres, postgresql_18
from tests.servers.process import LOOPBACK, eventually, scratch, unprivileged
from tests.servers.waf import waf
from tests.support import Run, make_context

_USERS = {
    name: {"login": {"path": "/login", "fields": {"user": name, "password": "synthetic"}, "token": "access_token"}}
    for name in ("alice", "bob", "admin")
}
_ROUTES: dict[str, Any] = {
    "users": _USERS,
    "protected": ("/me",),
    "functions": ({"path": "/admin/users", "allowed": "admin", "refused": ("alice",)},),
    "objects": ({"path": "/orders/alice-1", "allowed": "alice", "refused": ("bob",)},),
    "validation": ({"path": "/items", "name": "page", "value": "1"},),
    "sql": ({"path": "/search", "name": "q", "value": "apple"},),
    "xss": ({"path": "/echo", "name": "q"},),
    "cors": ({"path": "/items?page=1", "allowed_origins": ("https://app.example",)},),
}


async def _seen(
    url: str, *items: str, memory: dict[str, Any] | None = None, **options: Any
) -> dict[str, tuple[Status, str]]:
    target = {"name": "shop", "url": url, "pause": timedelta(0), **options}
    results = await Run(SecurityConfiguration, items, target=target, context=make_context(memory=memory)).results()
    return {name: (result.status, result.summary) for name, result in results.items()}


def _ask(url: str, method: str = "GET", body: object = None, **headers: str) -> tuple[int, str, dict[str, str]]:
    """What the application itself answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read().decode(), dict(reply.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a PostgreSQL for the applications."""
    with scratch("postgresql", unprivileged()) as folder:
        server = Postgres(postgresql_18(), folder, "store").initialize(shared_preload_libraries="")
        with server:
            yield f"postgresql://postgres@{LOOPBACK}:{server.port}/postgres"


@pytest.fixture(scope="module")
def safe(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """An application that does everything right."""
    folder = tmp_path_factory.mktemp("safe")
    with nest(folder, DATABASE_URL=store, CORS="strict", SAMESITE="strict", COOKIE_SECURE="1", LOG="off") as app:
        yield app


@pytest.fixture(scope="module")
def weak(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """An application that does everything wrong."""
    wrong = {"AUTH": "decode", "AUTHORIZATION": "0", "OWNERSHIP": "0", "VALIDATION": "0", "SQLI": "1", "XSS": "1"}
    cookies = {"HELMET": "0", "CORS": "suffix", "SAMESITE": "none", "COOKIE_HTTPONLY": "0", "LOG": "off"}
    with nest(tmp_path_factory.mktemp("weak"), DATABASE_URL=store, **wrong, **cookies) as app:
        yield app


@pytest.mark.verifies("security_configuration.security_headers_configured", "ok")
@pytest.mark.verifies("security_configuration.cors_configured", "ok")
@pytest.mark.verifies("security_configuration.authentication_active", "ok")
@pytest.mark.verifies("security_configuration.authorization_enforced", "ok")
@pytest.mark.verifies("security_configuration.input_validation_enabled", "ok")
@pytest.mark.verifies("security_configuration.sql_injection_protected", "ok")
@pytest.mark.verifies("security_configuration.xss_protected", "ok")
async def test_a_safe_application_passes(safe: Application) -> None:
    seen = await _seen(safe.url, **_ROUTES)
    for name, (status, summary) in seen.items():
        assert status.is_ok, (name, summary)
    assert "; an expired token was not tried" in seen["authentication_active"][1]


@pytest.mark.verifies("security_configuration.security_headers_configured", "failed")
@pytest.mark.verifies("security_configuration.cors_configured", "failed")
@pytest.mark.verifies("security_configuration.authentication_active", "failed")
@pytest.mark.verifies("security_configuration.authorization_enforced", "failed")
@pytest.mark.verifies("security_configuration.input_validation_enabled", "failed")
@pytest.mark.verifies("security_configuration.sql_injection_protected", "failed")
@pytest.mark.verifies("security_configuration.xss_protected", "failed")
async def test_a_vulnerable_application_fails_each_line(weak: Application) -> None:
    seen = await _seen(weak.url, **_ROUTES)
    expected = {
        "security_headers_configured": "without a Content-Security-Policy",
        "cors_configured": "Scripts on a host that ends with the allowed name (https://",
        "authentication_active": "let alg: none in (it answered 200)",
        "authorization_enforced": "User alice got GET",
        "input_validation_enabled": "took pc7x for a value of another type",
        "sql_injection_protected": "SQL can be injected into parameter q",
        "xss_protected": "puts a value into the text of its page",
    }
    for name, words in expected.items():
        assert seen[name][0] is Status.FAILED, (name, seen[name])
        assert words in seen[name][1], (name, seen[name])
    assert "an object that only alice may have" in seen["authorization_enforced"][1]
    assert "with a wrong signature" not in seen["authentication_active"][1]
    assert "a wrong signature in" in seen["authentication_active"][1]
    assert "no credentials in" not in seen["authentication_active"][1]
    assert seen["csrf_protected"][0] is Status.UNKNOWN  # SameSite=None, and no POST was allowed


@pytest.fixture(scope="module")
def swallowing(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """An application that joins SQL and shows no errors."""
    with fastapi(tmp_path_factory.mktemp("swallowing"), DATABASE_URL=store, SQLI="1", SQL_ERRORS="swallowed") as app:
        yield app


async def test_an_injection_whose_errors_are_swallowed_is_found(swallowing: Application) -> None:
    assert _ask(f"{swallowing.url}/search?q='")[:2] == (200, '{"found":[]}')  # a quote shows nothing
    seen = await _seen(swallowing.url, "sql_injection_protected", sql=_ROUTES["sql"])
    assert seen["sql_injection_protected"][0] is Status.FAILED
    assert "joined two strings as PostgreSQL, Oracle or SQLite does" in seen["sql_injection_protected"][1]


@pytest.mark.verifies("security_configuration.sql_injection_protected", "unknown")
async def test_what_a_waf_refuses_is_not_safe(swallowing: Application) -> None:
    quiet = {key: _ROUTES[key] for key in ("users", "protected", "functions", "objects", "validation", "cors")}
    with waf(swallowing.url) as firewall:
        assert _ask(f"{firewall.url}/search?q=app'||'le")[0] == 403
        assert _ask(f"{firewall.url}/search?q=apple")[0] == 200
        seen = await _seen(firewall.url, "sql_injection_protected", sql=_ROUTES["sql"])
        assert seen["sql_injection_protected"][0] is Status.UNKNOWN
        assert "The WAF or gateway in front of GET" in seen["sql_injection_protected"][1]

        before = len(firewall.alerts())
        xss = ({"path": "/echo", "name": "q"},)
        await _seen(
            firewall.url, *(name for name in SecurityConfiguration.items() if "sql" not in name), xss=xss, **quiet
        )
        csrf = ({"path": "/login", "user": "alice", "fields": {"user": "alice"}},)
        cookie = {"alice": {"cookie": "session=1"}}
        await _seen(
            firewall.url, "csrf_protected", users=cookie, csrf=csrf, protected=("/items",), allow_intrusive=True
        )
        assert firewall.alerts()[before:] == []  # nothing else trips a rule of paranoia level 1


async def test_a_parameter_that_finds_nothing_shows_nothing(safe: Application) -> None:
    nothing = ({"path": "/search", "name": "q", "value": "quince"},)
    shown = ({"path": "/items?page=1", "name": "q"},)
    seen = await _seen(safe.url, "sql_injection_protected", "xss_protected", sql=nothing, xss=shown)
    assert seen["sql_injection_protected"][0] is Status.UNKNOWN
    assert "sql needs a value that finds something" in seen["sql_injection_protected"][1]


@pytest.mark.verifies("security_configuration.cors_configured", "unknown")
@pytest.mark.verifies("security_configuration.authentication_active", "unknown")
@pytest.mark.verifies("security_configuration.authorization_enforced", "unknown")
@pytest.mark.verifies("security_configuration.input_validation_enabled", "unknown")
@pytest.mark.verifies("security_configuration.xss_protected", "unknown")
@pytest.mark.verifies("security_configuration.security_headers_configured", "unknown")
@pytest.mark.verifies("security_configuration.csrf_protected", "unknown")
async def test_without_a_positive_control_nothing_passes(safe: Application) -> None:
    lost = {"path": "/nowhere", "name": "q", "value": "1"}
    stale = {"alice": {"bearer_token": "stale"}, "bob": {"bearer_token": "stale"}}
    options: dict[str, Any] = {
        "users": stale,
        "paths": ("/nowhere",),
        "protected": ("/me",),
        "objects": ({"path": "/orders/alice-1", "allowed": "alice", "refused": ("bob",)},),
        "validation": (lost,),
        "sql": (lost,),
        "xss": (lost,),
        "cors": ({"path": "/nowhere"},),
    }
    for name, (status, summary) in (await _seen(safe.url, **options)).items():
        assert status is Status.UNKNOWN, (name, summary)
    for name, (status, summary) in (await _seen(safe.url, paths=("/nowhere",))).items():
        assert status is Status.UNKNOWN, (name, summary)


@pytest.mark.verifies("security_configuration.csrf_protected", "ok")
@pytest.mark.verifies("security_configuration.csrf_protected", "failed")
async def test_the_own_post_decides_what_a_refused_one_shows(tmp_path: Path, weak: Application) -> None:
    csrf = {"path": "/change", "user": "alice", "token_path": "/csrf"}
    options: dict[str, Any] = {"users": {"alice": {"cookie": "session=synthetic"}}, "allow_intrusive": True}
    with nest(tmp_path, CSRF="1", SAMESITE="none", LOG="off") as guarded:
        assert _ask(f"{guarded.url}/change", "POST", {})[0] == 403
        assert _ask(f"{guarded.url}/nowhere", "POST", {})[0] == 403  # a refusal that shows nothing
        good = await _seen(guarded.url, "csrf_protected", csrf=(csrf,), **options)
        lost = await _seen(guarded.url, "csrf_protected", csrf=({**csrf, "path": "/nowhere"},), **options)
        blind = await _seen(guarded.url, "csrf_protected", csrf=({**csrf, "token_path": None},), **options)
    assert good["csrf_protected"][0] is Status.OK, good
    assert lost["csrf_protected"][0] is Status.UNKNOWN, lost
    assert blind["csrf_protected"][0] is Status.UNKNOWN, blind
    assert "also to the application's own POST (without a token)" in blind["csrf_protected"][1]
    open_to_all = await _seen(weak.url, "csrf_protected", csrf=({**csrf, "token_path": None},), **options)
    assert open_to_all["csrf_protected"][0] is Status.FAILED
    assert "accepted a POST from another site" in open_to_all["csrf_protected"][1]


async def test_an_expired_token_of_the_exporter_itself_is_tried(tmp_path: Path) -> None:
    memory: dict[str, Any] = {}
    soon = {"alice": {"login": {**_USERS["alice"]["login"]}}}
    with nest(tmp_path, LOG="off") as app:
        await _seen(app.url, "authentication_active", memory=memory, users=soon, protected=("/me",))
        token, until = memory["held"]
        assert _ask(f"{app.url}/me", Authorization=f"Bearer {token}")[0] == 200
        memory["held"] = (token, until - timedelta(hours=1))  # as though it had expired: the application still takes it
        seen = await _seen(app.url, "authentication_active", memory=memory, users=soon, protected=("/me",))
    assert seen["authentication_active"][0] is Status.FAILED
    assert "let a genuine token that has expired in" in seen["authentication_active"][1]


async def test_a_token_that_expires_during_a_run_is_renewed(safe: Application) -> None:
    fields = {"user": "alice", "password": "synthetic", "expires": "2s"}
    users = {"alice": {"login": {"path": "/login", "fields": fields, "token": "access_token"}}}
    options = {"name": "shop", "url": safe.url, "pause": timedelta(0), "users": users}
    client = ApplicationClient(SecurityTarget.model_validate(options))
    first = await client.user("alice")
    await eventually(lambda: _ask(f"{safe.url}/me", **first.headers)[0] == 401, "the token to expire")
    assert (await client.get("/me", await client.user("alice"))).status == 200
    await client.close()


async def test_each_kind_of_cors_mistake_is_named(tmp_path: Path) -> None:
    rule = ({"path": "/items?page=1", "allowed_origins": ("https://app.example",)},)
    for mode, words in {
        "reflect": "Scripts on an unrelated origin",
        "null": "Scripts on the origin null",
        "star": "any origin",
    }.items():
        with nest(tmp_path / mode, CORS=mode, LOG="off") as app:
            seen = await _seen(app.url, "cors_configured", cors=rule)
            assert seen["cors_configured"][0] is Status.FAILED
            assert words in seen["cors_configured"][1], mode
            if mode == "star":
                seen = await _seen(app.url, "cors_configured", cors=({"path": "/items?page=1", "public": True},))
                assert seen["cors_configured"][0] is Status.OK


async def test_a_refused_user_must_be_logged_in(safe: Application) -> None:
    users = {"alice": _USERS["alice"], "bob": {"bearer_token": "expired"}}
    objects = _ROUTES["objects"]
    seen = await _seen(safe.url, "authorization_enforced", users=users, protected=("/me",), objects=objects)
    assert seen["authorization_enforced"][0] is Status.UNKNOWN
    assert "answered 401 to user bob" in seen["authorization_enforced"][1]


async def test_no_secret_is_shown(weak: Application, caplog: pytest.LogCaptureFixture) -> None:
    canary = "canary-7f31"
    users = {
        "alice": {
            "login": {"path": "/login", "fields": {"user": "alice", "password": canary}, "token": "access_token"}
        },
        "bob": {"bearer_token": canary},
        "carol": {"cookie": f"session={canary}"},
    }
    options: dict[str, Any] = {
        **_ROUTES,
        "users": users,
        "functions": (),
        "headers": {"X-Key": canary},
        "foreign_token": canary,
    }
    seen = await _seen(weak.url, **options)
    assert canary not in str(seen)
    assert canary not in caplog.text
    assert "answered 401 to the login of a synthetic user" in seen["authentication_active"][1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protected": ("me",)}, "expected a path that starts with one slash"),
        ({"users": {"alice": {}}}, "exactly one of bearer_token, cookie and login"),
        ({"sql": ({"path": "/search"},)}, "either a name or {value} in its path"),
        ({"cors": ({"allowed_origins": ("https://app.example/",)},)}, "expected an origin such as"),
        ({"objects": ({"path": "/o", "allowed": "a", "refused": ("b",)},)}, "no user is named a"),
        ({"csrf": ({"path": "/c", "user": "a"},)}, "no user is named a"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        SecurityTarget.model_validate({"name": "shop", "url": "https://shop.example", **options})
