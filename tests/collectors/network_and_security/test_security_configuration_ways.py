"""Ways around what looks closed: other addresses and headers, operators, tokens of others, and what is decoded too late."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from pydantic import ValidationError

from collectors.network_and_security.security_configuration import SecurityConfiguration, SecurityTarget
from exporter.verdict import Status
from tests.servers.applications.programs import Application, fastapi
from tests.support import Run

SECRET = b"a-secret-of-32-bytes-for-tests-1"
OK, WARNING, FAILED, UNKNOWN = Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN


@pytest.fixture(scope="module")
def lures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """The application whose routes are the states."""
    with fastapi(tmp_path_factory.mktemp("lures"), module="lures") as app:
        yield app


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """Searches in a store of documents."""
    with fastapi(tmp_path_factory.mktemp("documents"), module="documents", needs=["mongomock==4.3.0"]) as app:
        yield app


def _token(name: str) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": name}))
    signed = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    signature = hmac.digest(SECRET, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


USERS = {name: {"bearer_token": _token(name)} for name in ("alice", "bob", "admin")}
SESSIONS = {name: {"cookie": f"session={name}"} for name in ("alice", "bob")}


async def _look(app: Application, item: str, **options: Any) -> tuple[Status, str]:
    target = {"name": "lures", "url": app.url, "pause": timedelta(0), **options}
    (result,) = (await Run(SecurityConfiguration, [item], target=target).results()).values()
    return result.status, result.summary


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/in/good", OK, ""),
        ("/in/half", FAILED, "let a signature of which half is right in"),
        ("/in/null", FAILED, "let the word null as a token in"),
        ("/in/undefined", FAILED, "let the word undefined as a token in"),
        ("/in/empty", FAILED, "let an empty token in"),
        ("/in/basic", FAILED, "let made-up basic authentication in"),
        ("/in/vouched", FAILED, "that pretended a user whom a proxy has let in (X-Forwarded-User)"),
        ("/in/webauth", FAILED, "that pretended a user whom a proxy has let in (X-Forwarded-User)"),
        ("/in/host", FAILED, "that pretended to be on the same host (Host: localhost)"),
        ("/in/forwarded", FAILED, "that pretended an address of its own (X-Forwarded-For)"),
        ("/in/referer", FAILED, "that pretended a call by a page or service of its own"),
        ("/in/key", FAILED, "that pretended a key of its own making (X-API-Key)"),
        ("/in/internal", FAILED, "that pretended a call by a page or service of its own"),
        ("/in/head", WARNING, "HEAD "),
        ("/api/v3/me", FAILED, "/api/v1/me let no credentials in by another version of its path"),
        ("/api/v2/orders", FAILED, "/api/v1/orders let no credentials in by another version of its path"),
        ("/api/v1.1/mail", FAILED, "/api/v1.0/mail let no credentials in by another version of its path"),
        ("/api/v9/profile", FAILED, "/api/profile let no credentials in by another version of its path"),
        ("/exported", FAILED, "/exported.json let no credentials in by another spelling of its path"),
        ("/assets", FAILED, "/assets/pc7x.css let no credentials in by another spelling of its path"),
        ("/refused/well", OK, ""),
        (
            "/refused/sent",
            FAILED,
            "refused no credentials by its status (401), and sent what it keeps from others all the same",
        ),
        ("/refused/redirected", FAILED, "refused no credentials by its status (302), and sent what it keeps"),
        ("/refused/page", OK, ""),
        ("/refused/page-sent", FAILED, "refused no credentials by its status (401), and sent what it keeps"),
        ("/spelt/me", FAILED, "let no credentials in by another spelling of its path"),
    ],
)
async def test_ways_around_a_guard(lures: Application, path: str, status: Status, words: str) -> None:
    users = {"alice": USERS["alice"]}
    seen, summary = await _look(lures, "authentication_active", users=users, protected=(path,))
    assert (seen, words in summary) == (status, True), summary


async def test_a_token_of_which_the_beginning_is_compared(lures: Application) -> None:
    users = {"alice": {"bearer_token": "7f3a9c1e5b2d8f604a6c1b9e"}}
    for how, status in (("whole", OK), ("begins", FAILED)):
        seen, summary = await _look(lures, "authentication_active", users=users, protected=(f"/opaque/{how}",))
        assert (seen, "let a value of which half is right in" in summary) == (status, status is FAILED), summary


@pytest.mark.parametrize(
    ("option", "path", "status", "words"),
    [
        ("functions", "/admin/users", FAILED, "User alice got GET"),
        ("functions", "/trusting/users", FAILED, "with headers that pretended a user whom a proxy has let in"),
        ("functions", "/decoding/users", FAILED, "that only admin may have, let alg: none in"),
        ("objects", "/v2/orders/alice-1", FAILED, "/v1/orders/alice-1 by another version of its path, an object that only alice"),
        ("objects", "/orders/alice-1", FAILED, "/v1/orders/alice-1 by another version of its path, an object that only alice"),
    ],
)  # fmt: skip
async def test_ways_around_a_right(lures: Application, option: str, path: str, status: Status, words: str) -> None:
    allowed, refused = ("admin", "alice") if option == "functions" else ("alice", "bob")
    rule = {option: ({"path": path, "allowed": allowed, "refused": (refused,)},)}
    seen, summary = await _look(lures, "authorization_enforced", users=USERS, protected=("/everybody",), **rule)
    assert (seen, words in summary) == (status, True), summary


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("good", OK, ""),
        ("begins", WARNING, "took a number and letters for a number"),
        ("long", WARNING, "answered 500 to a number of 20 digits"),
        ("several", WARNING, "answered 500 to two numbers"),
        ("ignored", UNKNOWN, "ignores the value"),
        ("replaced", UNKNOWN, "puts another one in its place"),
    ],
)
async def test_values_of_which_a_part_is_right(lures: Application, how: str, status: Status, words: str) -> None:
    parameter = {"path": f"/validate/{how}", "name": "page", "value": "1"}
    seen, summary = await _look(lures, "input_validation_enabled", validation=(parameter,))
    assert (seen, words in summary) == (status, True), summary


@pytest.mark.parametrize(
    ("how", "value", "status"),
    [
        ("sorted", "price", FAILED),
        ("sorted-well", "price", OK),
        ("column", "name", FAILED),
        ("letters", "apple", OK),
        ("words", "apple", OK),
    ],
)
async def test_values_that_are_names(lures: Application, how: str, value: str, status: Status) -> None:
    seen, summary = await _look(
        lures, "sql_injection_protected", sql=({"path": f"/search/{how}", "name": "q", "value": value},)
    )
    assert (seen, status is not FAILED or "took a comment in the name of a column" in summary) == (status, True), (
        summary
    )


@pytest.mark.parametrize(
    ("how", "post", "status", "words"),
    [
        ("open", None, FAILED, "Operators can be injected into parameter q of GET"),
        ("open", "json", FAILED, "its store took $eq for a part of the query"),
        ("open", "form", FAILED, "Operators can be injected into parameter q of POST"),
        ("listed", None, FAILED, "its store took $regex"),
        ("typed", None, OK, ""),
        ("typed", "json", OK, ""),
        ("text", "json", OK, ""),
        ("crashes", None, OK, ""),
    ],
)
async def test_operators_of_a_store_of_documents(
    documents: Application, how: str, post: str | None, status: Status, words: str
) -> None:
    if (how, post) == ("open", None):  # the state, by the application itself
        found = json.load(urlopen(f"{documents.url}/find/open?{quote('q[$ne]')}=nothing"))
        assert found == {"found": ["apple", "pear"]}
    parameter = {"path": f"/find/{how}", "name": "q", "post": post}
    seen, summary = await _look(documents, "sql_injection_protected", sql=(parameter,), allow_intrusive=bool(post))
    assert (seen, words in summary) == (status, True), summary


@pytest.mark.parametrize("post", ["form", "json"])
@pytest.mark.parametrize(("how", "status"), [("raw", FAILED), ("good", OK)])
async def test_parameters_in_a_post(lures: Application, post: str, how: str, status: Status) -> None:
    parameter = {"path": f"/found/{how}", "name": "q", "post": post, "fields": {"shop": "Rome"}}
    request = Request(
        f"{lures.url}/found/{how}", b"q=%3Cb&shop=x", {"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (b"<p><b in x" in urlopen(request).read()) == (how == "raw")
    seen, summary = await _look(lures, "xss_protected", xss=(parameter,), allow_intrusive=True)
    assert seen is status, summary
    seen, summary = await _look(lures, "xss_protected", xss=(parameter,))
    assert (seen, "requires option allow_intrusive" in summary) == (UNKNOWN, True), summary


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("entities", FAILED),
        ("percent", FAILED),
        ("wide", FAILED),
        ("unquoted", FAILED),
        ("unquoted-letters", OK),
        ("file", OK),
        ("safe", OK),
    ],
)
async def test_values_that_are_decoded_too_late(lures: Application, how: str, status: Status) -> None:
    seen, summary = await _look(lures, "xss_protected", xss=({"path": f"/page/{how}", "name": "q"},))
    assert seen is status, summary


FIELD = {"token_path": "/form", "token_from": "input", "token_name": "_csrf", "send_header": None}


@pytest.mark.parametrize(
    ("how", "token", "status", "words"),
    [
        ("good", FIELD, OK, ""),
        ("shared", FIELD, FAILED, "accepted a POST from another site with the token of a visitor"),
        (
            "shared",
            {**FIELD, "send_header": "X-CSRF-Token"},
            WARNING,
            "accepted the token of user bob from another site",
        ),
        ("empty", FIELD, FAILED, "another site with an empty token"),
        ("get", FIELD, WARNING, "answered the same as its POST"),
        ("text", FIELD, FAILED, "another site by a form of type text/plain"),
        ("multipart", FIELD, FAILED, "another site by a form of type multipart/form-data"),
        ("metadata", {}, OK, ""),
        ("metadata-only", {}, OK, ""),
        ("suffix", {}, FAILED, "(a host that ends with the allowed name)"),
    ],
)
async def test_other_ways_to_forge_a_post(
    lures: Application, how: str, token: dict[str, Any], status: Status, words: str
) -> None:
    options = {"users": SESSIONS, "protected": ("/form",), "allow_intrusive": True}
    rule = {"path": f"/send/{how}", "user": "alice", **token}
    url = lures.url.replace("127.0.0.1", "localhost")
    seen, summary = await _look(lures, "csrf_protected", url=url, csrf=(rule,), **options)
    assert (seen, words in summary) == (status, True), summary


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("good", OK, ""),
        ("domain", FAILED, "the allowed name in another top-level domain"),
        ("local", FAILED, "a program on the user's own computer (http://localhost:3000)"),
        ("preflight", FAILED, "Scripts on the origin null (null) may send PUT"),
    ],
)
async def test_origins_of_others(lures: Application, how: str, status: Status, words: str) -> None:
    rule = {"path": f"/cors/{how}", "allowed_origins": ("https://app.example.com",)}
    seen, summary = await _look(lures, "cors_configured", cors=(rule,))
    assert (seen, words in summary) == (status, True), summary


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"path": "/found/{value}", "post": "json"}, "post and fields are for parameters with a name"),
        ({"path": "/found", "name": "q", "post": "xml"}, "'form' or 'json'"),
    ],
)
def test_parameters_that_cannot_be_meant(parameter: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SecurityTarget.model_validate({"name": "shop", "url": "https://shop.example", "xss": (parameter,)})
