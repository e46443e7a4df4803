"""The security of real applications: NestJS and FastAPI, safe, vulnerable, and behind a WAF."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.network_and_security.security_configuration import (
    SecurityConfiguration,
    SecurityConfigurationSettings,
    SecurityTarget,
)
from exporter.verdict import Status
from tests.servers.applications.programs import Application, fastapi, nest
from tests.servers.postgresql import Postgres, postgresql_18
from tests.servers.process import LOOPBACK, scratch, unprivileged
from tests.support import make_context, verify

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


async def _seen(url: str, *items: str, memory: dict[str, Any] | None = None, **options: Any) -> dict[str, tuple[Status, str]]:
    target = SecurityTarget.model_validate({"name": "shop", "url": url, "pause": timedelta(0), **options})
    settings = SecurityConfigurationSettings(targets=(target,))
    context = make_context(memory=memory)
    seen = await verify(SecurityConfiguration, settings, target, items=items or None, context=context)
    return {name: (one.result.status, one.result.summary) for name, one in seen.items()}


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
