"""Endpoints and logins of real NestJS and FastAPI applications, and of a site that answers what they seldom do."""

import base64
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from pydantic import ValidationError

from collectors.pre_launch_validation.smoke_tests import SmokeSettings, SmokeTarget, SmokeTests
from collectors.systems.http.model.otp import Totp
from exporter.catalogue import Catalogue
from exporter.config import ConfigError, load
from exporter.verdict import Reason, Result, Status
from tests.servers.applications.programs import Application, fastapi, nest
from tests.servers.certificates import authority
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, call, free_port
from tests.servers.web import Handler, served
from tests.support import Clock, Run, make_context, verify

ENDPOINTS, LOGIN = "critical_endpoints_respond", "authentication_flow_works"
PASSWORD = "canary-of-the-synthetic-user"
BEARER = {"Authorization": "Bearer $(token)"}
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Shop:
    """Runs of one target, with a clock that a test moves."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.memory: dict[str, Any] = {}

    def run(self, item: str, *, allow_intrusive: bool = True, **options: Any) -> Run:
        target = {"name": "shop", "allow_intrusive": allow_intrusive, **options}
        context = make_context(now=self.clock, memory=self.memory)
        return Run(SmokeTests, [item], target=target, context=context, secrets=[PASSWORD])

    async def result(self, item: str, **options: Any) -> Result:
        (result,) = (await self.run(item, **options).results()).values()
        return result


async def ask(
    url: str, path: str, *conditions: str, intrusive: bool = True, timeout: str = "20s", tls: Any = None, **more: Any
) -> Result:
    """The verdict on one endpoint."""
    endpoint = {"path": path, "conditions": conditions, **more}
    api = {"url": url, "endpoints": [endpoint], "timeout": timeout} | ({"tls": tls} if tls else {})
    return await Shop().result(ENDPOINTS, allow_intrusive=intrusive, api=api)


# Endpoints


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """FastAPI, whose health is a page."""
    with fastapi(tmp_path_factory.mktemp("fastapi"), HEALTH="html", SLOW="0.3", LIMIT="1/minute") as application:
        yield application


@pytest.mark.verifies("smoke_tests.critical_endpoints_respond", "ok")
async def test_endpoints_meet_their_conditions(backend: Application) -> None:
    assert call(f"{backend.url}/items/3?page=2") == {"number": 3, "page": 2}
    conditions = (
        "status == 200",
        "json.number == 3 && json.page == 2",
        'headers["content-type"].startsWith("application/json")',
        "latency < duration('15s')",
        "!has(json.error)",
    )
    good = await ask(backend.url, "/items/3?page=2", *conditions, intrusive=False)
    assert good.status is Status.OK, good
    assert good.summary == f"1 endpoint of {backend.url} meets its conditions."
    assert 0 < good.measurements["seconds"] < 20
    assert (await ask(backend.url, "/me", "status == 401")).status is Status.OK
    created = await ask(backend.url, "/jobs", "status == 202 && json.queued", method="POST", body="{}")
    assert created.status is Status.OK, created


@pytest.mark.verifies("smoke_tests.critical_endpoints_respond", "failed")
@pytest.mark.parametrize(
    ("path", "condition", "told"),
    [
        ("/health", 'json.status == "ok"', '`json.status == "ok"`: the body is an HTML page.'),
        ("/health", "!has(json.error)", "the body is an HTML page."),
        ("/items/3", "json.page > 1", "answered 200 and does not meet `json.page > 1`: json.page is 1."),
        ("/items/3", "json.total == 3", "it has no key total."),
        ("/items/3", 'json.number == "3"', "json.number is 3."),
        ("/items/3", 'json.number < "4"', "types do not match in"),
        ("/items/3", 'headers["x-request-id"] != ""', "it has no key x-request-id."),
        ("/items/pear", "has(json.detail)", "does not meet `status >= 200 && status < 300`: status is 422."),
        ("/none", "status == 200", "answered 404 and does not meet `status == 200`: status is 404."),
        ("/slow", "latency < duration('100ms')", "latency is "),
    ],
)
async def test_endpoints_that_answer_something_else(backend: Application, path: str, condition: str, told: str) -> None:
    result = await ask(backend.url, path, condition)
    assert result.status is Status.FAILED, result
    assert told in result.summary


@pytest.mark.verifies("smoke_tests.critical_endpoints_respond", "unknown")
async def test_endpoints_that_cannot_be_asked(backend: Application) -> None:
    assert (await Shop().result(ENDPOINTS)).reason is Reason.NOT_CONFIGURED
    nobody = await ask(f"http://{LOOPBACK}:{free_port()}", "/", "status == 200")
    assert (nobody.status, nobody.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
    denied = await ask(backend.url, "/me", "has(json.sub)")
    assert (denied.status, denied.reason) == (Status.UNKNOWN, Reason.DENIED)
    before = call(f"{backend.url}/jobs")
    post = await ask(backend.url, "/jobs?key=hidden", "status == 202", method="POST", intrusive=False)
    assert (post.status, post.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    assert "hidden" not in post.summary
    assert "set `allow_intrusive: true` on the target" in post.summary
    assert call(f"{backend.url}/jobs") == before


async def test_a_limit_is_honoured(backend: Application) -> None:
    run = Shop()
    api = {"url": backend.url, "endpoints": [{"path": "/limited", "conditions": ["json.limited"]}]}
    results = [await run.result(ENDPOINTS, api=api) for _ in range(3)]
    assert [result.status for result in results] == [Status.OK, Status.UNKNOWN, Status.UNKNOWN]
    assert "answered 429" in results[1].summary
    assert "was not sent" in results[2].summary


async def test_answers_that_applications_seldom_give(pages: Pages) -> None:
    pages.add("/cached", '{"ok": true}', Age="30")
    pages.add("/numbers", '{"big": 1180591620717411303424, "count": 2, "none": null, "list": []}')
    pages.add("/strange", '{"name": "\\ud800"}')
    pages.add("/many", json.dumps({"list": [{"a": 1}] * 20_000}))
    pages.add("/error", '{"status": "ok"}', 500)
    pages.redirect("/moved", "/login")
    cached = await ask(pages.url, "/cached", "json.ok")
    assert (cached.status, cached.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED)
    for condition in ("json.count == 2", "json.big > 1.0", "json.none == null"):
        assert (await ask(pages.url, "/numbers", condition)).status is Status.OK, condition
    for condition in (
        "json.count",
        "json.none.a == 1",
        "json.list[0] == 1",
        "json.list.all(x, x > 0) && json.count > 2",
    ):
        assert (await ask(pages.url, "/numbers", condition)).status is Status.FAILED, condition
    assert (await ask(pages.url, "/strange", "has(json.name)")).status is Status.FAILED
    assert (await ask(pages.url, "/many", "json.list.all(x, x.a == 1)")).status is not Status.OK
    error = await ask(pages.url, "/error", 'json.status == "ok"')
    assert (error.status, error.reason) == (Status.FAILED, Reason.DOWN)
    moved = await ask(pages.url, "/moved", "latency < duration('1h')")
    assert "status is 302" in moved.summary
    pages.delay = 1.0
    mute = await ask(pages.url, "/cached", "json.ok", timeout="200ms")
    assert mute.status is Status.FAILED
    assert "did not answer within 200ms" in mute.summary


async def test_certificates_of_endpoints(pages: Pages, tmp_path: Path) -> None:
    class Answers(Handler):
        def do_GET(self) -> None:
            self.reply(200, b"{}")

    root, _ = authority().write(tmp_path, "root")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority().issue(LOOPBACK, days=20).write(tmp_path, "server"))
    with served(Answers, server) as url:
        for hours, status in ((24 * 14, Status.OK), (24 * 30, Status.FAILED)):
            condition = f'certificate_expires_in > duration("{hours}h")'
            result = await ask(url, "/", condition, tls={"ca_file": str(root)})
            assert result.status is status, result
        assert "certificate_expires_in is 1" in result.summary
    pages.add("/", "{}")
    plain = await ask(pages.url, "/", 'certificate_expires_in > duration("1h")')
    assert (plain.status, "no certificate was seen" in plain.summary) == (Status.FAILED, True)


# Logins


def flow(url: str, *steps: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The options of a flow: by default login, me, refresh, logout, and the old token."""
    login: dict[str, Any] = {"name": "login", "method": "POST", "path": "/login", "conditions": ["status == 200"]}
    login |= {"fields": {"user": "checklist", "password": PASSWORD}, "extract": {"token": "json.access_token"}}
    me: dict[str, Any] = {"name": "me", "path": "/me", "headers": BEARER, "conditions": ['json.sub == "checklist"']}
    refresh: dict[str, Any] = {
        "name": "refresh",
        "method": "POST",
        "path": "/refresh",
        "headers": BEARER,
        "conditions": ["status == 200"],
    }
    refresh |= {"extract": {"second": "json.access_token"}}
    second = {"Authorization": "Bearer $(second)"}
    logout = {"name": "logout", "method": "POST", "path": "/logout", "headers": second, "conditions": ["status == 200"]}
    old = {"name": "old token", "path": "/me", "headers": second, "conditions": ["status == 401"]}
    default = (login, me, refresh, {**me, "name": "me again", "headers": second}, logout, old)
    return {"authentication": {"url": url, "timeout": "20s", "steps": steps or default, **options}}


def logins(application: Application) -> int:
    """How many logins the application was asked for, by its own metrics."""
    with urlopen(f"{application.url}/metrics", timeout=30) as reply:
        lines = reply.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("http_request_duration_seconds_count") and '"/login"' in line]
    return sum(int(line.rpartition(" ")[2]) for line in counted)


def wrong_login(application: Application) -> int:
    """The status of a login without a password."""
    try:
        with urlopen(
            Request(f"{application.url}/login", b"{}", {"Content-Type": "application/json"}), timeout=30
        ) as reply:
            return int(reply.status)
    except HTTPError as error:
        with error:
            return error.code


@pytest.mark.verifies("smoke_tests.authentication_flow_works", "ok")
@pytest.mark.verifies("smoke_tests.authentication_flow_works", "unknown")
async def test_a_user_logs_in_and_out(tmp_path: Path) -> None:
    with nest(tmp_path, PASSWORD=PASSWORD) as application:
        run = Shop()
        forbidden = await run.result(LOGIN, allow_intrusive=False, **flow(application.url))
        assert (forbidden.status, forbidden.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
        assert (await run.result(LOGIN)).reason is Reason.NOT_CONFIGURED
        good = await run.result(LOGIN, **flow(application.url))
        assert good.status is Status.OK, good
        assert good.summary.startswith("login, me, refresh, me again, logout and old token of ")
        run.clock.advance(minutes=4)
        again = await run.result(LOGIN, **flow(application.url))
        assert again.summary.endswith("It was tried at 03:04:05 UTC and is not tried again before 03:09:05 UTC.")
        assert logins(application) == 1
        run.clock.advance(minutes=2)
        assert (await run.result(LOGIN, **flow(application.url))).summary == good.summary
        assert logins(application) == 2
        nobody = await Shop().result(LOGIN, **flow(f"http://{LOOPBACK}:{free_port()}"))
        assert (nobody.status, nobody.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)


@pytest.mark.verifies("smoke_tests.authentication_flow_works", "failed")
@pytest.mark.parametrize(
    ("switches", "told"),
    [
        ({"LOGOUT": "0"}, "old token: GET http"),
        ({"AUTH": "off"}, "me: GET http"),
        ({"PASSWORD": "another"}, "login: POST http"),
    ],
)
async def test_logins_that_do_not_work(tmp_path: Path, switches: dict[str, str], told: str) -> None:
    with nest(tmp_path, **{"PASSWORD": PASSWORD, **switches}) as application:
        run = Shop()
        result = await run.result(LOGIN, **flow(application.url))
        assert result.status is Status.FAILED, result
        assert result.summary.startswith(told)
        refused = "PASSWORD" in switches
        run.clock.advance(minutes=6)
        again = await run.result(LOGIN, **flow(application.url))
        assert ("is not tried again before 04:04:05 UTC" in again.summary) is refused
        assert logins(application) == (1 if refused else 2)


async def test_a_second_factor(tmp_path: Path) -> None:
    key = b"canary of a second factor"
    totp = {"secret": base64.b32encode(key).decode().rstrip("=").lower()}
    login, *others = flow("")["authentication"]["steps"]
    login = {**login, "fields": {**login["fields"], "otp": "$(otp)"}}
    with nest(tmp_path, PASSWORD=PASSWORD, TOTP=key.hex()) as application:
        without = await Shop().result(LOGIN, **flow(application.url))
        assert (without.status, without.summary.startswith("login: POST http")) == (Status.FAILED, True)
        assert (await Shop().result(LOGIN, **flow(application.url, login, *others, totp=totp))).status is Status.OK
        wrong = await Shop().result(LOGIN, **flow(application.url, login, *others, totp={"secret": "GEZDGNBV"}))
        assert (wrong.status, "answered 401" in wrong.summary) == (Status.FAILED, True)


@pytest.mark.parametrize(
    ("algorithm", "at", "password"),
    [  # RFC 6238, appendix B
        ("sha1", 59, "94287082"),
        ("sha256", 1111111109, "68084774"),
        ("sha512", 20000000000, "47863826"),
        ("sha1", 1111111109, "07081804"),
    ],
)
def test_passwords_of_the_moment(algorithm: str, at: int, password: str) -> None:
    key = (b"1234567890" * 7)[: {"sha1": 20, "sha256": 32, "sha512": 64}[algorithm]]
    given = {"secret": base64.b32encode(key).decode(), "digits": 8, "algorithm": algorithm}
    assert Totp.model_validate_json(json.dumps(given)).password(at) == password


async def test_a_token_that_nobody_issued(tmp_path: Path) -> None:
    login, me, *_ = flow("")["authentication"]["steps"]
    with nest(tmp_path, PASSWORD=PASSWORD, AUTH="off") as application:
        assert call(f"{application.url}/me") == {"sub": "nobody"}
        result = await Shop().result(LOGIN, **flow(application.url, login, {**me, "conditions": ["has(json.sub)"]}))
    assert result.status is Status.FAILED
    assert result.summary.endswith("answered 200 just so with a forged value of $(token).")


async def test_a_locked_account_is_left_alone(tmp_path: Path) -> None:
    with nest(tmp_path, PASSWORD=PASSWORD, LOCK_AFTER="1") as application:
        assert [wrong_login(application) for _ in range(2)] == [401, 423]
        run = Shop()
        for _ in range(3):
            locked = await run.result(LOGIN, **flow(application.url))
            assert (locked.status, locked.reason) == (Status.UNKNOWN, Reason.REFUSED)
            assert "the account is locked" in locked.summary
            run.clock.advance(minutes=10)
        assert logins(application) == 3
        # Somebody has changed the flow: it need not wait for an hour.
        await run.result(LOGIN, **flow(application.url, locked_when="status == 403"))
        assert logins(application) == 4


async def test_a_limited_login_is_not_repeated(tmp_path: Path) -> None:
    with nest(tmp_path, PASSWORD=PASSWORD, THROTTLE="on", LIMIT="1") as application:
        assert [wrong_login(application) for _ in range(2)] == [401, 429]
        run = Shop()
        for _ in range(3):
            limited = await run.result(LOGIN, **flow(application.url))
            assert (limited.status, limited.reason) == (Status.UNKNOWN, Reason.REFUSED)
            assert "answered 429" in limited.summary
            run.clock.advance(minutes=10)
        assert logins(application) == 3


async def test_sessions_in_cookies_and_queries(pages: Pages) -> None:
    session, token = "session of 1", "canary of a/token+"
    pages.add("/login", json.dumps({"t": token}), Set_Cookie=f'session="{session}"; HttpOnly; Path=/')
    pages.add("/open", '{"id": 1}')
    pages.add("/shown?t=canary%20of%20a%2Ftoken%2B", '{"id": 1}')
    login = {"name": "login", "path": "/login", "conditions": ["status == 200"], "extract": {"t": "json.t"}}
    cookie = {**login, "extract": {"s": 'cookies["session"]'}}
    shown = {"name": "shown", "path": "/shown?t=$(t)", "conditions": ["json.id == 1"]}
    assert (await Shop().result(LOGIN, **flow(pages.url, login, shown))).status is Status.OK
    opened = {"name": "open", "path": "/open", "headers": {"Cookie": "session=$(s)"}, "conditions": ["json.id == 1"]}
    forged = await Shop().result(LOGIN, **flow(pages.url, cookie, opened))
    assert "with a forged value of $(s)" in forged.summary
    for expression, document in (
        ("json.t", '{"t": ""}'),
        ("json.t", '{"t": null}'),
        ("json.t", '{"t": "a\\nb"}'),
        ("json.u", "{}"),
    ):
        pages.add("/login", document)
        empty = await Shop().result(LOGIN, **flow(pages.url, {**login, "extract": {"t": expression}}, shown))
        assert (empty.status, empty.reason) == (Status.FAILED, Reason.MISSING), document
        assert "without a usable text for $(t)" in empty.summary
    pages.add("/login", json.dumps({"t": token, "state": "LOCKED_OUT"}))
    hidden = await Shop().result(LOGIN, **flow(pages.url, {**login, "conditions": [f'json.t == "{token[:3]}"']}, shown))
    assert "json.t is a text of 18 characters" in hidden.summary
    locked = await Shop().result(LOGIN, **flow(pages.url, login, shown, locked_when='json.state == "LOCKED_OUT"'))
    assert "the account is locked" in locked.summary


async def test_numbers_and_caches_in_flows(pages: Pages) -> None:
    login = {"name": "login", "path": "/login", "conditions": ["status == 200"], "extract": {"id": "json.id"}}
    use = {"name": "use", "path": "/use?id=$(id)", "conditions": ["json.id == 7"]}
    pages.add("/login", '{"id": 7}')
    pages.add("/use?id=7", '{"id": 7}')
    assert (await Shop().result(LOGIN, **flow(pages.url, login, use))).status is Status.OK
    pages.add("/use?id=7", '{"id": 7}', Age="20")
    cached = await Shop().result(LOGIN, **flow(pages.url, login, use))
    assert (cached.status, cached.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED)
    pages.add("/login", '{"id": true}')
    assert (await Shop().result(LOGIN, **flow(pages.url, login, use))).reason is Reason.MISSING


async def test_bodies_as_browsers_read_them(pages: Pages) -> None:
    pages.add("/bom", b'\xef\xbb\xbf{"a": 1}')
    pages.add("/latin", "Café".encode("latin-1"), Content_Type="text/html; charset=ISO-8859-1")
    pages.add("/undefined", b"a", Content_Type="text/html; charset=undefined")
    for path, condition in (("/bom", "json.a == 1"), ("/latin", 'text == "Café"'), ("/undefined", 'text == "a"')):
        assert (await ask(pages.url, path, condition)).status is Status.OK, path


async def test_a_run_that_was_cut_short_is_not_followed_by_another_login(pages: Pages) -> None:
    run = Shop()
    pages.delay = 0.5
    login = {"name": "login", "path": "/login", "conditions": ["status == 200"], "extract": {"t": "json.t"}}
    shown = {"name": "shown", "path": "/shown?t=$(t)", "conditions": ["status == 200"]}
    target = SmokeTarget.model_validate_json(
        json.dumps({"name": "shop", "allow_intrusive": True, **flow(pages.url, login, shown)})
    )
    settings = SmokeSettings(targets=(target,), timeout=timedelta(milliseconds=100))
    context = make_context(now=run.clock, memory=run.memory)
    await verify(SmokeTests, settings, target, items=(LOGIN,), context=context)
    run.clock.advance(minutes=1)
    cut = await run.result(LOGIN, **flow(pages.url, login, shown))
    assert cut.status is Status.UNKNOWN
    assert cut.summary.startswith("The flow was begun and has not ended. It was tried at 03:04:05 UTC")


# Configuration


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("sttus == 200", "at character 1, undeclared reference to 'sttus'"),
        ("status = 200", "at character 8, Syntax error"),
        ("status == '200'", "at character 8, found no matching overload for '_==_' applied to '(int, string)'"),
        ("status", "this one is of type int"),
        ("1 == 1", "this one is the same for every answer"),
    ],
)
def test_wrong_conditions_name_line_and_key(tmp_path: Path, condition: str, told: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "sections:\n  smoke_tests:\n    targets:\n      - name: shop\n        api:\n          url: http://shop\n"
        f'          endpoints:\n            - path: /\n              conditions:\n                - "{condition}"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(file, catalogue=Catalogue.load(), environ={})
    assert f"{file}:10:" in str(caught.value)
    assert "sections.smoke_tests.targets[0].api.endpoints[0].conditions[0]" in str(caught.value)
    assert told in str(caught.value)


STEP = {"name": "login", "path": "/login", "conditions": ["status == 200"], "extract": {"t": "json.t"}}
USE = {"name": "use", "path": "/use", "headers": {"A": "$(t)"}, "conditions": ["status == 200"]}


@pytest.mark.parametrize(
    ("totp", "used", "told"),
    [
        ({"secret": "canary-1!"}, "$(otp)", "expected a secret in Base32"),
        ({"secret": " "}, "$(otp)", "expected a secret in Base32"),
        ({"secret": "GEZDGNBV"}, "123456", "expected a step that uses $(otp)"),
        (None, "$(otp)", "uses $(otp), which no earlier step extracts"),
    ],
)
def test_wrong_second_factors_are_errors(totp: dict[str, Any] | None, used: str, told: str) -> None:
    options = flow("http://shop", {**STEP, "fields": {"otp": used}}, USE, **({"totp": totp} if totp else {}))
    with pytest.raises(ValidationError) as caught:
        SmokeTarget.model_validate_json(json.dumps({"name": "shop", **options}))
    assert told in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((STEP, {**USE, "headers": {"A": "$(u)"}}), "the step use uses $(u), which no earlier step extracts"),
        ((USE, STEP), "the step use uses $(t), which no earlier step extracts"),
        ((STEP, {**USE, "headers": {"A": "$$(t)"}}), "expected a step that uses a variable"),
        ((STEP, {**USE, "extract": {"z": "json.z"}}), "the variable z is extracted, and no later step uses it"),
        ((STEP, {**USE, "path": "/$(t)"}), "expected variables in the query, the headers and the fields only"),
        ((STEP, {**USE, "name": "login"}), "expected steps with different names"),
        ((STEP,), "at least 2"),
        (({**STEP, "extract": {"t": "status == 1"}}, USE), "expected a text in CEL; this one is of type bool"),
        (({**STEP, "extract": {"1": "json.t"}}, USE), "pattern"),
        ((STEP, {**USE, "fields": {"password": f"{PASSWORD}$(x)"}}), "uses $(x)"),
    ],
)
def test_wrong_flows_are_errors(steps: tuple[dict[str, Any], ...], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SmokeTarget.model_validate_json(json.dumps({"name": "shop", **flow("http://shop", *steps)}))
    assert told in str(caught.value)
    assert PASSWORD not in str(caught.value)
