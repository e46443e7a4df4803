"""The logging section on a real Loki 1.6.1, with services that log, are silent, leak or redact; newer ones as documented."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from collectors.monitoring_and_observability.logging import Logging, LoggingSettings
from collectors.systems.loki.client import Loki
from exporter.verdict import Result, Status
from tests.servers.faults import Address, answering, endless, half_reply, hanging_up, mute
from tests.servers.loki import Loki as Server
from tests.servers.pages import Pages
from tests.servers.web import served
from tests.support import Clients, Run, connected, looks, verify

SECTION = "logging"
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
JSON_LINE = '{"time":"2026-01-02T03:04:05Z","level":"info","msg":"GET /orders 200"}'


@pytest.fixture
def app() -> str:
    """A label that no other test uses, without digits, which might look like a card's."""
    return f"app-{uuid4().hex.translate(_LETTERS)}"


def clients(url: str, **options: Any) -> AbstractAsyncContextManager[Clients]:
    return connected({Loki: url}, **options)


def run(url: str, *items: str, **options: Any) -> Run:
    """A run that waits two seconds for a marker."""
    quick = {"marker_wait": "2s", "marker_settle": "100ms"}
    return Run(Logging, items, settings=quick | options, clients=clients(url))


look = looks(run)


def service(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "selector": f'{{app="{name}"}}', **options}


def redacted(text: str) -> str:
    return re.sub(r"fake-[0-9a-f]+|\b\d{16}\b", "[REDACTED]", text)


@contextmanager
def web_service(loki: Server, labels: Mapping[str, str], *, redacts: bool = True, logs: bool = True) -> Iterator[str]:
    """A service that logs each request with all its headers to Loki, and answers 401."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            line = f"level=info msg={json.dumps(self.path)} headers={json.dumps(str(self.headers))}"
            if logs:
                loki.push(labels, redacted(line) if redacts else line)
            self.send_response(401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Page) as url:
        yield url


@contextmanager
def pipeline(loki: Server, *, redacts: bool) -> Iterator[str]:
    """A log pipeline that takes lines as Loki does and passes them on, redacted or not."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            for stream in json.loads(body)["streams"]:
                for _, line in stream["values"]:
                    loki.push(stream["stream"], redacted(line) if redacts else line)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Page) as url:
        yield url


# -- services_logging_to_loki


@pytest.mark.verifies("logging.services_logging_to_loki", "ok")
async def test_services_that_log_are_seen(loki: Server, app: str, no_leftovers: None) -> None:
    loki.push({"app": f"{app}-a"}, "one", "two")
    loki.push({"app": f"{app}-b"}, "three", ago=600)
    seen = await look(loki.url, "services_logging_to_loki", services=[service(f"{app}-a"), service(f"{app}-b")])
    result = seen["services_logging_to_loki"]
    assert result == Result(Status.OK, "All 2 services logged to Loki within 15m.", {"lines": 3})


@pytest.mark.verifies("logging.services_logging_to_loki", "failed")
async def test_a_service_whose_lines_are_old_is_told(loki: Server, app: str) -> None:
    loki.push({"app": f"{app}-a"}, "one")
    loki.push({"app": f"{app}-b"}, "old", ago=1200)
    seen = await look(loki.url, "services_logging_to_loki", services=[service(f"{app}-a"), service(f"{app}-b")])
    result = seen["services_logging_to_loki"]
    assert result.status is Status.FAILED
    assert result.summary == f'Loki has no line of {app}-b from the last 15m ({{app="{app}-b"}}).'


async def test_a_silent_service_that_logs_a_marker_is_ok(loki: Server, app: str, no_leftovers: None) -> None:
    with web_service(loki, {"app": app}) as url:
        quiet = service(app, marker={"request": {"url": url}})
        seen = await look(loki.url, "services_logging_to_loki", services=[quiet])
    result = seen["services_logging_to_loki"]
    assert result.status is Status.OK
    assert f"{app} was silent, but logged a marker request, which Loki had after" in result.summary


async def test_a_silent_service_that_does_not_log_a_marker_is_told(loki: Server, app: str) -> None:
    with web_service(loki, {"app": app}, logs=False) as url:
        quiet = service(app, marker={"request": {"url": url}})
        seen = await look(loki.url, "services_logging_to_loki", services=[quiet])
    result = seen["services_logging_to_loki"]
    assert result.status is Status.FAILED
    assert "nor the marker request sent to it 2s ago" in result.summary


async def test_a_marker_that_was_pushed_is_no_line_of_the_service(loki: Server, app: str) -> None:
    with pipeline(loki, redacts=True) as url:
        pushed = service(app, marker={"push": {"url": url, "labels": {"app": app}}})
        items = ("sensitive_data_redacted", "services_logging_to_loki")
        for _ in range(2):  # the second run finds the first one's marker
            seen = await look(loki.url, *items, services=[pushed])
    assert seen["sensitive_data_redacted"].status is Status.OK
    assert seen["services_logging_to_loki"].status is Status.FAILED


async def test_a_silent_service_that_cannot_be_asked_is_unknown(loki: Server, app: str) -> None:
    async with mute() as (host, port):
        request = {"url": f"http://{host}:{port}", "timeout": "100ms"}
        quiet = service(app, marker={"request": request})
        seen = await look(loki.url, "services_logging_to_loki", services=[quiet])
    result = seen["services_logging_to_loki"]
    assert result.status is Status.UNKNOWN
    assert "and no marker could be sent. GET http://127.0.0.1:" in result.summary


async def test_a_silent_service_behind_a_proxy_that_does_not_reach_it_is_unknown(loki: Server, app: str) -> None:
    async with answering(b"bad gateway", 502) as (url, _):
        quiet = service(app, marker={"request": {"url": url}})
        seen = await look(loki.url, "services_logging_to_loki", services=[quiet])
    assert seen["services_logging_to_loki"].status is Status.UNKNOWN
    assert "answered 502, as a proxy does that does not reach the service" in seen["services_logging_to_loki"].summary


@pytest.mark.verifies("logging.services_logging_to_loki", "unknown")
@pytest.mark.verifies("logging.log_levels_appropriate", "unknown")
@pytest.mark.verifies("logging.structured_logging_enabled", "unknown")
@pytest.mark.verifies("logging.sensitive_data_redacted", "unknown")
@pytest.mark.verifies("logging.retention_configured", "unknown")
async def test_without_an_answer_of_loki_nothing_is_known(no_leftovers: None) -> None:
    async with answering(b"<html>log in</html>") as (url, _):
        seen = await look(url, services=[service("api")])
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert "with an HTML page, where JSON was expected" in seen["services_logging_to_loki"].summary


@pytest.mark.parametrize(
    "fault",
    [mute, hanging_up, partial(half_reply, b"HTTP/1.1 200 OK\r\n"), partial(endless, b"HTTP/1.1 200 OK\r\nX: ")],
    ids=["mute", "hanging up", "half a reply", "endless"],
)
async def test_a_faulty_loki_is_unknown_in_time(
    fault: Callable[[], AbstractAsyncContextManager[Address]], no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    settings = LoggingSettings.model_validate_json(json.dumps({"services": [service(f"s{n}") for n in range(20)]}))
    async with fault() as (host, port), clients(f"http://{host}:{port}", timeout="100ms") as shared:
        started = asyncio.get_running_loop().time()
        seen = await verify(Logging, settings, clients=shared)
        assert asyncio.get_running_loop().time() - started < settings.timeout.total_seconds()
    assert {observation.result.status for observation in seen.values()} == {Status.UNKNOWN}
    assert all("http://127.0.0.1:" in observation.result.summary for observation in seen.values())
    assert not caplog.records


async def test_without_services_or_client_nothing_is_known(loki: Server) -> None:
    seen = await look(loki.url)
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert seen["log_levels_appropriate"].summary == "Option services is empty, so no logs were checked."
    unasked = await verify(Logging, LoggingSettings(), items=("retention_configured",))
    assert "clients.loki is not configured" in unasked["retention_configured"].result.summary


async def test_one_service_that_cannot_be_counted_does_not_hide_another(loki: Server, app: str) -> None:
    broken = service("broken", selector='{app=~"("}')
    seen = await look(loki.url, "services_logging_to_loki", "log_levels_appropriate", services=[broken, service(app)])
    assert seen["services_logging_to_loki"].status is Status.FAILED
    assert app in seen["services_logging_to_loki"].summary
    seen = await look(loki.url, "services_logging_to_loki", services=[broken])
    assert seen["services_logging_to_loki"].status is Status.UNKNOWN
    assert "answered 400" in seen["services_logging_to_loki"].summary


# -- log_levels_appropriate


@pytest.mark.verifies("logging.log_levels_appropriate", "ok")
@pytest.mark.parametrize(
    "line",
    [
        JSON_LINE,
        '{"level":30,"time":1,"msg":"pino"}',
        "ts=1 level=warn msg=x",
        "2026-01-02 03:04:05 INFO started",
        "I0102 03:04:05.000000 1 main.go:1] klog",
        "[error] nginx",
    ],
)
async def test_services_that_log_little_debug_are_ok(loki: Server, app: str, line: str) -> None:
    loki.push({"app": app}, *[line] * 200, "level=debug one of 201")
    result = (await look(loki.url, "log_levels_appropriate", services=[service(app)]))["log_levels_appropriate"]
    assert result.status is Status.OK
    assert result.measurements["debug_ratio"] == pytest.approx(1 / 201)


@pytest.mark.verifies("logging.log_levels_appropriate", "failed")
@pytest.mark.parametrize(
    "line",
    [
        '{"time":"2026-01-02T03:04:05Z","level":"debug","msg":"x"}',
        '{"level": "TRACE", "msg": "x"}',
        '{"level":20,"msg":"pino\'s number for debug"}',
        r'{"log":"{\"level\":\"debug\",\"msg\":\"in an envelope\"}\n","stream":"stdout"}',
        "ts=1 level=debug msg=x",
        'severity="DEBUG" x',
        "2026-01-02 03:04:05 DEBUG started",
        "[debug] x",
    ],
)
async def test_debug_lines_are_found_by_their_text(loki: Server, app: str, line: str) -> None:
    loki.push({"app": app}, *["level=info msg=x"] * 95, *[line] * 5)
    result = (await look(loki.url, "log_levels_appropriate", services=[service(app)]))["log_levels_appropriate"]
    assert result.status is Status.FAILED
    assert result.summary == f"5 of 100 lines of {app} of the last 1h are of level debug or trace: 5.0% (limit 1.0%)."
    assert result.measurements == {"debug_ratio": 0.05}


async def test_a_label_tells_the_level_better_than_words_of_the_line(loki: Server, app: str) -> None:
    loki.push({"app": app, "level": "info"}, *["the DEBUG switch is off, level=debug is not used"] * 20)
    result = (await look(loki.url, "log_levels_appropriate", services=[service(app)]))["log_levels_appropriate"]
    assert result.status is Status.OK
    loki.push({"app": app, "level": "Debug"}, "no word of it")
    result = (await look(loki.url, "log_levels_appropriate", services=[service(app)]))["log_levels_appropriate"]
    assert result.status is Status.FAILED
    assert result.summary.startswith(f"1 of 21 lines of {app}")


async def test_a_field_tells_the_level_better_than_words_of_the_line(loki: Server, app: str) -> None:
    loki.push({"app": app}, *['{"level":"info","msg":"DEBUG is off"}'] * 20)
    result = (await look(loki.url, "log_levels_appropriate", services=[service(app)]))["log_levels_appropriate"]
    assert result.status is Status.OK


async def test_lines_that_tell_no_level_prove_nothing(loki: Server, app: str) -> None:
    loki.push({"app": app}, *["GET / 200"] * 50, *["level=info msg=x"] * 50)
    result = (await look(loki.url, "log_levels_appropriate", services=[service(app)]))["log_levels_appropriate"]
    assert result.status is Status.UNKNOWN
    assert result.summary == f"Only 50 of 100 lines of {app} of the last 1h have a recognizable level (wanted 90%)."


async def test_without_lines_their_levels_are_not_known(loki: Server, app: str) -> None:
    seen = await look(loki.url, "log_levels_appropriate", "structured_logging_enabled", services=[service(app)])
    assert seen["log_levels_appropriate"].summary.startswith(f"Loki has no line of {app} of the last 1h")
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}


@pytest.mark.parametrize(("level", "status"), [("debug", Status.FAILED), ("info", Status.OK)])
async def test_the_level_that_newer_lokis_detect_counts(level: str, status: Status) -> None:
    series = [{"metric": {"detected_level": level, "level": "info"}, "value": [1.5, "7"]}]
    body = {"status": "success", "data": {"resultType": "vector", "result": series, "stats": {}}}
    async with answering(body) as (url, requests):
        seen = await look(url, "log_levels_appropriate", services=[service("api")])
    assert seen["log_levels_appropriate"].status is status
    assert len(requests) == 1  # nothing has to be searched for in the text


# -- structured_logging_enabled


@pytest.mark.verifies("logging.structured_logging_enabled", "ok")
async def test_structured_lines_are_ok(loki: Server, app: str, no_leftovers: None) -> None:
    loki.push(
        {"app": app}, *[JSON_LINE] * 50, *['ts=2026-01-02 level=info msg="it is so" took=7ms'] * 48, "plain", "text"
    )
    result = (await look(loki.url, "structured_logging_enabled", services=[service(app)]))["structured_logging_enabled"]
    assert (result.status, result.measurements) == (Status.OK, {"structured_ratio": 0.98})


@pytest.mark.verifies("logging.structured_logging_enabled", "failed")
async def test_plain_text_is_told_without_showing_it(loki: Server, app: str) -> None:
    loki.push({"app": app}, *[JSON_LINE] * 80, *["canary in plain text"] * 15, *['{"msg":"canary","time":1}'] * 5)
    result = (await look(loki.url, "structured_logging_enabled", services=[service(app)]))["structured_logging_enabled"]
    assert result.status is Status.FAILED
    assert result.summary == (
        f"80 of 100 sampled lines of {app} are structured, with timestamp, level and message (limit 95%); "
        "15 are plain text, 5 lack a level."
    )


async def test_only_the_newest_lines_are_sampled(loki: Server, app: str) -> None:
    loki.push({"app": app}, *["old plain text"] * 300, ago=300)
    loki.push({"app": app}, *[JSON_LINE] * 100)
    result = (await look(loki.url, "structured_logging_enabled", services=[service(app)]))["structured_logging_enabled"]
    assert result.status is Status.OK


async def test_few_lines_prove_nothing(loki: Server, app: str) -> None:
    loki.push({"app": app}, *[JSON_LINE] * 9)
    result = (await look(loki.url, "structured_logging_enabled", services=[service(app)]))["structured_logging_enabled"]
    assert result.status is Status.UNKNOWN
    assert result.summary == f"Only 9 lines of {app} could be sampled (wanted 10)."


# -- sensitive_data_redacted


@pytest.mark.verifies("logging.sensitive_data_redacted", "ok")
async def test_a_service_that_redacts_is_ok(loki: Server, app: str, no_leftovers: None) -> None:
    with web_service(loki, {"app": app}) as url:
        marked = service(app, marker={"request": {"url": url}})
        result = (await look(loki.url, "sensitive_data_redacted", services=[marked]))["sensitive_data_redacted"]
    assert result.status is Status.OK
    assert result.summary.startswith("The markers sent to all 1 services were found in Loki without their secrets")


@pytest.mark.verifies("logging.sensitive_data_redacted", "failed")
async def test_a_service_that_leaks_is_told_without_showing_what(loki: Server, app: str) -> None:
    with web_service(loki, {"app": app}, redacts=False) as url:
        marked = service(app, marker={"request": {"url": url}})
        result = (await look(loki.url, "sensitive_data_redacted", services=[marked]))["sensitive_data_redacted"]
        assert result.status is Status.FAILED
        logs = f"in the logs of {app}"
        assert result.summary == (
            f"The marker sent to {app} left the password {logs} and the card number {logs} and the bearer token {logs}."
        )
        again = (await look(loki.url, "sensitive_data_redacted", services=[marked]))["sensitive_data_redacted"]
    assert (
        f"1 of the sampled lines of {app} hold what looks like a payment card." in again.summary
    )  # the first marker's
    assert not re.search(r"fake-|\d{16}", result.summary + again.summary)


async def test_a_gateway_that_leaks_for_a_service_is_told(loki: Server, app: str) -> None:
    with web_service(loki, {"app": f"{app}-gateway"}, redacts=False) as leaking:

        class Behind(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                import urllib.error
                import urllib.request

                loki.push({"app": app}, redacted(f"level=info {self.path}"))
                with pytest.raises(urllib.error.HTTPError):
                    urllib.request.urlopen(urllib.request.Request(leaking + self.path), timeout=5)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with served(Behind) as url:
            services = [service(app, marker={"request": {"url": url}}), service(f"{app}-gateway")]
            seen = await look(loki.url, "sensitive_data_redacted", services=services)
    assert seen["sensitive_data_redacted"].status is Status.FAILED
    assert f"left the password in the logs of {app}-gateway" in seen["sensitive_data_redacted"].summary


async def test_where_the_marker_is_not_found_nothing_is_known(loki: Server, app: str) -> None:
    loki.push({"app": app}, JSON_LINE)
    with web_service(loki, {"app": app}, logs=False) as url:
        marked = service(app, marker={"request": {"url": url}})
        result = (await look(loki.url, "sensitive_data_redacted", services=[marked]))["sensitive_data_redacted"]
    assert result.status is Status.UNKNOWN
    assert result.summary == f"The marker sent to {app} was not found within 2s, so neither could its secrets be."


async def test_a_secret_that_is_logged_without_the_marker_is_told(loki: Server, app: str) -> None:
    class Leaking(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            loki.push({"app": app}, f"level=info token={self.headers['Authorization']}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Leaking) as url:
        marked = service(app, marker={"request": {"url": url}})
        result = (await look(loki.url, "sensitive_data_redacted", services=[marked]))["sensitive_data_redacted"]
    assert result.status is Status.FAILED
    assert "left the bearer token in the logs of" in result.summary


async def test_without_a_way_for_a_marker_nothing_is_known(loki: Server, app: str) -> None:
    loki.push({"app": app}, JSON_LINE)
    seen = await look(loki.url, "sensitive_data_redacted", services=[service(app)])
    assert seen["sensitive_data_redacted"].status is Status.UNKNOWN
    assert f"Option marker of {app} is not set, so no marker was sent." in seen["sensitive_data_redacted"].summary


@pytest.mark.parametrize("redacts", [True, False])
async def test_a_line_may_be_pushed_through_the_pipeline(loki: Server, app: str, redacts: bool) -> None:
    with pipeline(loki, redacts=redacts) as url:
        pushed = service(app, marker={"push": {"url": url, "labels": {"app": app}}})
        seen = await look(loki.url, "sensitive_data_redacted", services=[pushed])
    assert seen["sensitive_data_redacted"].status is (Status.OK if redacts else Status.FAILED)


async def test_a_pipeline_that_does_not_take_lines_is_unknown(loki: Server, app: str) -> None:
    async with answering(b"<html>log in</html>") as (url, _):
        pushed = service(app, marker={"push": {"url": url, "labels": {"app": app}}})
        seen = await look(loki.url, "sensitive_data_redacted", services=[pushed])
    assert seen["sensitive_data_redacted"].status is Status.UNKNOWN
    assert "answered 200 with a body, which Loki's push API does not" in seen["sensitive_data_redacted"].summary


async def test_sampled_lines_are_scanned(loki: Server, app: str) -> None:
    loki.push({"app": app}, *[JSON_LINE] * 10, "login with password=hunter22 failed", "account INT-4711")
    with web_service(loki, {"app": app}) as url:
        marked = service(app, marker={"request": {"url": url}})
        options = {"services": [marked], "secret_patterns": {"an account number": r"\bINT-\d+"}}
        result = (await look(loki.url, "sensitive_data_redacted", **options))["sensitive_data_redacted"]
    assert result.status is Status.FAILED
    assert f"1 of the sampled lines of {app} hold what looks like a password." in result.summary
    assert f"1 of the sampled lines of {app} hold what looks like an account number." in result.summary
    assert "hunter22" not in result.summary
    assert "INT-" not in result.summary


async def test_the_query_may_be_left_without_secrets(loki: Server, app: str) -> None:
    with web_service(loki, {"app": app}, redacts=False) as url:
        marked = service(app, marker={"request": {"url": url, "query_secrets": False}})
        result = (await look(loki.url, "sensitive_data_redacted", services=[marked]))["sensitive_data_redacted"]
    assert result.summary == f"The marker sent to {app} left the bearer token in the logs of {app}."


async def test_own_credentials_of_a_request_are_kept(app: str) -> None:
    lines = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "0"]}]}}
    async with answering(b"") as (url, requests), answering(lines) as (loki, _):
        for credentials in ({"bearer_token": "canary"}, {"headers": {"authorization": "canary"}}):
            marked = service(app, marker={"request": {"url": f"{url}/health", **credentials}})
            await look(loki, "sensitive_data_redacted", services=[marked], marker_wait="100ms")
    assert len(requests) == 2
    for request in requests:
        head = request.decode().lower()
        assert re.search(r"\r\nauthorization: (bearer )?canary\r\n", head)
        assert head.count("authorization:") == 1
        assert re.search(r"\r\ntraceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01\r\n", head)
        assert re.search(r"\r\nuser-agent: checklist-marker-[0-9a-f]{24}\r\n", head)
        assert re.match(
            r"get /health\?marker=checklist-marker-[0-9a-f]{24}&password=fake-[0-9a-f]{24}&card=4\d{15} ", head
        )


async def test_a_loki_that_logs_its_queries_does_not_find_them(tmp_path: Path, app: str) -> None:
    """Where Loki's own logs are in Loki, a query that has the marker or its secrets in it would find itself."""
    with Server(tmp_path, log_level="info") as server:
        async with answering(b"") as (url, requests):
            marked = service(app, marker={"request": {"url": url}})
            await look(server.url, "sensitive_data_redacted", services=[marked], marker_wait="100ms")
        log = server.log.read_text()
    assert "checklist-marker" in log
    sent = re.findall(r"fake-[0-9a-f]+|checklist-marker-[0-9a-f]{24}|\b4\d{15}\b", requests[0].decode())
    assert len(set(sent)) == 4
    assert not [text for text in sent if text in log]


async def test_a_loki_that_repeats_what_it_is_asked_does_not_make_us_show_the_secrets(app: str) -> None:
    """A trap: a query that is refused is often repeated in the error, up to some length."""

    class Repeats(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)["query"][0]
            found = {
                "status": "success",
                "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]},
            }
            refused = "fake-" in query
            self.send_response(400 if refused else 200)
            self.end_headers()
            self.wfile.write(f"parse error in {query[:-9]}".encode() if refused else json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            pass

    async with answering(b"") as (url, requests):
        marked = service(app, marker={"request": {"url": url}})
        with served(Repeats) as loki:
            result = (await look(loki, "sensitive_data_redacted", services=[marked]))["sensitive_data_redacted"]
    assert b"fake-" in requests[0]
    assert result.status is Status.UNKNOWN
    assert "fake-" not in result.summary
    assert not re.search(r"\d{8}", result.summary)
    assert f"Whether {app} redacts secrets was not seen. What was answered instead has the marker's" in result.summary


# -- retention_configured

RETAINED = {
    "compactor": {"retention_enabled": True},
    "limits_config": {"retention_period": "31d"},
    "schema_config": {"configs": [{"from": "2020-01-01", "store": "boltdb"}, {"from": "2024-01-01", "store": "tsdb"}]},
}


@pytest.mark.verifies("logging.retention_configured", "ok")
@pytest.mark.parametrize("period", ["31d", "744h", "744h0m0s", "4w3d", "1y"])
async def test_retention_that_a_newer_loki_tells_is_ok(period: str) -> None:
    config = RETAINED | {"limits_config": {"retention_period": period, "retention_stream": []}}
    async with answering(config) as (url, _):  # JSON is YAML
        result = (await look(url, "retention_configured"))["retention_configured"]
    assert result.status is Status.OK
    assert result.summary.startswith("Loki's compactor deletes logs after ")
    assert result.summary.endswith("(wanted 14d to 365d; by Loki's /config).")


@pytest.mark.verifies("logging.retention_configured", "failed")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"compactor": {"retention_enabled": False}},
            "Loki deletes no logs, as compactor.retention_enabled is not true: limits_config.retention_period (31d) is ignored",
        ),
        (
            {"compactor": {}, "limits_config": {}},
            "Loki deletes no logs, as compactor.retention_enabled is not true (by",
        ),
        ({"limits_config": {"retention_period": "0s"}}, "Loki's compactor keeps logs for ever, as its period is 0"),
        ({"limits_config": {"retention_period": 0}}, "Loki's compactor keeps logs for ever, as its period is 0"),
        ({"limits_config": {"retention_period": "7d"}}, "Loki's compactor keeps logs for 7d (wanted 14d at least;"),
        ({"limits_config": {"retention_period": "2y"}}, "Loki's compactor keeps logs for 730d (limit 365d;"),
        (
            {"schema_config": {"configs": [{"from": "2020-01-01", "store": "boltdb"}]}},
            "The compactor deletes nothing from an index of the type boltdb",
        ),
        (
            {
                "limits_config": {
                    "retention_period": "31d",
                    "retention_stream": [{"selector": '{a="b"}', "priority": 1, "period": "24h"}],
                }
            },
            'limits_config.retention_stream keeps {a="b"} for 1d (wanted 14d at least;',
        ),
    ],
)
async def test_retention_that_does_not_work_is_told(change: dict[str, Any], told: str) -> None:
    async with answering(RETAINED | change) as (url, _):
        result = (await look(url, "retention_configured"))["retention_configured"]
    assert result.status is Status.FAILED
    assert result.summary.startswith(told)


OVERRIDDEN = RETAINED | {"runtime_config": {"file": "/etc/loki/overrides.yaml"}}
OLDER = RETAINED | {
    "limits_config": {"retention_period": "31d", "per_tenant_override_config": "/etc/loki/overrides.yaml"}
}


@pytest.mark.parametrize(
    ("overrides", "status", "told"),
    [
        ("overrides:\n", Status.OK, "Loki's compactor deletes logs after 31d"),
        ("overrides: {shop: {ingestion_rate_mb: 7}}\n", Status.OK, "Loki's compactor deletes logs after 31d"),
        (
            "overrides: {shop: {retention_period: 0s}}",
            Status.FAILED,
            "The override for tenant shop keeps logs for ever",
        ),
        ("overrides: {shop: {retention_period: 1d}}", Status.FAILED, "for tenant shop keeps logs for 1d (wanted 14d"),
        (
            "overrides: {shop: {retention_stream: [{selector: '{a=\"b\"}', period: 2y}]}}",
            Status.FAILED,
            'retention_stream of tenant shop keeps {a="b"} for 730d (limit 365d',
        ),
        ("overrides: {shop: {retention_period: long}}", Status.UNKNOWN, "retention_period of tenant shop of Loki's"),
        ("overrides: {shop: 7}", Status.UNKNOWN, "shop of Loki's configuration is no group of settings."),
        ("runtime config file doesn't exist", Status.UNKNOWN, "where Loki's configuration was expected."),
        (
            None,
            Status.UNKNOWN,
            "Loki takes overrides for single tenants from /etc/loki/overrides.yaml, and does not show",
        ),
    ],
)
async def test_overrides_for_single_tenants_count(
    pages: Pages, overrides: str | None, status: Status, told: str
) -> None:
    for config in (OVERRIDDEN, OLDER):
        pages.add("/config", json.dumps(config))
        if overrides is not None:
            pages.add("/runtime_config", overrides)
        result = (await look(pages.url, "retention_configured"))["retention_configured"]
        assert result.status is status
        assert told in result.summary


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"limits_config": {"retention_period": "soon"}},
            "limits_config.retention_period of Loki's configuration is no",
        ),
        ({"limits_config": ["x"]}, "limits_config of Loki's configuration is no group of settings."),
        (
            {"limits_config": {"retention_stream": ["x"]}},
            "retention_stream of Loki's configuration is no list of streams.",
        ),
    ],
)
async def test_a_configuration_that_is_none_is_unknown(change: dict[str, Any], told: str) -> None:
    async with answering(RETAINED | change) as (url, _):
        result = (await look(url, "retention_configured"))["retention_configured"]
    assert result.status is Status.UNKNOWN
    assert told in result.summary


async def test_an_old_loki_that_tells_nothing_is_unknown(loki: Server) -> None:
    result = (await look(loki.url, "retention_configured"))["retention_configured"]
    assert result.status is Status.UNKNOWN
    assert result.summary == "Loki does not show its configuration at /config, and option config_file is not set."


async def test_the_file_of_an_old_loki_counts_where_it_is_declared(tmp_path: Path, loki: Server) -> None:
    seen = await look(loki.url, "retention_configured", config_file=str(loki.configuration))
    assert seen["retention_configured"].status is Status.FAILED
    assert seen["retention_configured"].summary.startswith("Loki deletes no logs")
    tables = {"retention_deletes_enabled": True, "retention_period": "336h"}
    with Server(tmp_path, extra={"table_manager": tables}) as server:
        seen = await look(server.url, "retention_configured", config_file=str(server.configuration))
    result = seen["retention_configured"]
    assert result.status is Status.OK
    assert result.measurements == {"retention_seconds": 336 * 3600}
    assert result.summary == (
        f"Loki's table manager deletes logs after 14d (wanted 14d to 365d; by {server.configuration}, as Loki itself does not "
        "show it)."
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory."),
        ("a: [", "is no YAML that can be read."),
        ("7", "holds no configuration"),
    ],
)
async def test_a_declared_file_that_cannot_be_read_is_unknown(
    loki: Server, tmp_path: Path, content: str | None, told: str
) -> None:
    file = tmp_path / "loki.yaml"
    if content is not None:
        file.write_text(content)
    result = (await look(loki.url, "retention_configured", config_file=str(file)))["retention_configured"]
    assert result.status is Status.UNKNOWN
    assert told in result.summary


# -- options


@pytest.mark.parametrize(
    "selector", ["app", "{}", "{app}", '{app="a"', '{app="a"} |= "b"', '{app="a"}}', '{app="a" b="c"}']
)
def test_a_selector_selects_streams(selector: str) -> None:
    with pytest.raises(ValueError, match="String should match pattern"):
        LoggingSettings.model_validate({"services": ({"name": "a", "selector": selector},)})


@pytest.mark.parametrize("selector", ['{app="a"}', '{ app =~ "a|b", ns!="x}" }', "{app=`a`}", '{app="a\\"b"}'])
def test_matchers_of_all_kinds_are_taken(selector: str) -> None:
    LoggingSettings.model_validate({"services": ({"name": "a", "selector": selector},)})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"marker_wait": "2m"}, "to take less than `timeout` together"),
        ({"services": [service("a"), service("a")]}, "expected a name of its own for each service"),
        ({"services": [service("a", marker={})]}, "expected exactly one of request and push"),
        (
            {
                "services": [
                    service("a", marker={"request": {"url": "http://a", "username": "a", "query_secrets": False}})
                ]
            },
            "there would be no fake secret to look for",
        ),
        ({"secret_patterns": {"x": "("}}, "expected a regular expression for x"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        LoggingSettings.model_validate_json(json.dumps(options))
