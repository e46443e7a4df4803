"""Whether requests are found in the logs of a real NestJS application, which a pipeline of ours hands on to a real Loki."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from collectors.systems.loki.client import Loki, LokiSettings
from collectors.systems.loki.model.lines import Stream
from collectors.systems.loki.model.requests import Asked, RequestPart, parts_shown
from exporter.threads import Threads
from exporter.verdict import Reason, Status
from tests.collectors.application_services.services import run, see
from tests.servers.applications.programs import Application, nest
from tests.servers.loki import Loki as Server
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, call, free_port, wait_until
from tests.support import Run, sees

LINE = "request_logging_enabled"


@pytest.fixture
async def clients(loki: Server) -> AsyncIterator[dict[str, Loki]]:
    client = Loki(LokiSettings(url=loki.url), Threads())
    yield {"loki": client}
    await client.close()


class Logs:
    """What an application writes, handed on to Loki under labels of its own. `change` may alter lines, or drop them (None)."""

    def __init__(self, loki: Server, application: Application) -> None:
        self.change: Callable[[str], str | None] = lambda line: line
        self.labels = {"app": f"api-{uuid4().hex}"}
        self.selector = f'{{app="{self.labels["app"]}"}}'
        self._loki, self._application, self._ended = loki, application, Event()
        self._thread = Thread(target=self._follow)

    def _follow(self) -> None:
        with self._application.log.open() as file:
            while not self._ended.wait(0.05):
                for line in file.readlines():
                    if (changed := self.change(line.rstrip("\n"))) is not None:
                        self._loki.push(self.labels, changed)

    @contextmanager
    def followed(self) -> Iterator[Logs]:
        """While the application writes."""
        self._thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._thread.join()


def run_api(logs: Logs, url: str, clients: Any, memory: dict[str, Any], **options: Any) -> Run:
    later = options.pop("later", timedelta(0))
    log = {"path": "/", "selector": logs.selector, "within": "1m", **options}
    return run("api_service", LINE, url, clients=clients, memory=memory, later=later, request_log=log)


look = sees(run_api)


def traced(line: str) -> str:
    """The line with another way to name the trace."""
    document = json.loads(line)
    document["trace_id"] = document.pop("traceparent", "--").split("-")[1]
    return json.dumps(document)


@pytest.mark.verifies("api_service.request_logging_enabled", "ok")
@pytest.mark.verifies("api_service.request_logging_enabled", "failed")
async def test_a_service_that_logs(tmp_path: Path, loki: Server, clients: Any) -> None:
    with nest(tmp_path) as api, Logs(loki, api).followed() as logs:
        memory: dict[str, Any] = {}
        good = await look(logs, api.url, clients, memory, later=timedelta(minutes=-4))
        assert good.status is Status.OK, good
        assert good.summary.startswith(f"The service logs GET {api.url}/ (trace ")
        assert good.summary.endswith(") with its method, path, status and duration.")
        # Not more often than once in five minutes; the verdict is repeated.
        assert await look(logs, api.url, clients, memory) == good
        again = await look(logs, api.url, clients, memory, later=timedelta(seconds=90))
        assert (again.status, again.summary != good.summary) == (Status.OK, True)
        logs.change = traced
        assert (await look(logs, api.url, clients, {})).status is Status.OK
        # In the envelope of the kubelet, and with the path alone to recognize it by.
        logs.change = lambda line: f"2026-11-30T10:00:00.0Z stdout F {line.replace('traceparent', 'tp')}"
        assert (await look(logs, api.url, clients, {}, path="/items?page=1&probe={marker}")).status is Status.OK
        for name, lacking in (("status", "status"), ("ms", "duration"), ("method", "method")):
            logs.change = lambda line, name=name: json.dumps(  # type: ignore[misc]
                {key: value for key, value in json.loads(line).items() if key != name}
            )
            seen = await look(logs, api.url, clients, {}, within="1s")
            assert (seen.status, seen.reason) == (Status.FAILED, Reason.UNMET), seen
            assert seen.summary.endswith(f") without its {lacking}.")
        logs.change = lambda line: json.dumps({**json.loads(line), "status": 500})
        assert "without its status" in (await look(logs, api.url, clients, {}, within="1s")).summary
        assert (await look(logs, api.url, clients, {}, fields=["method", "path"])).status is Status.OK


@pytest.mark.verifies("api_service.request_logging_enabled", "unknown")
async def test_a_request_that_is_not_logged(tmp_path: Path, loki: Server, clients: Any) -> None:
    with nest(tmp_path) as api, Logs(loki, api).followed() as logs:
        logs.change = lambda _: None
        silent = await look(logs, api.url, clients, {}, within="1s")
        assert (silent.status, silent.reason) == (Status.UNKNOWN, Reason.MISSING), silent
        assert "not even another one" in silent.summary
        # Another request is logged, ours is not.
        logs.change = lambda line: None if "checklist-exporter" in line else line
        done = Event()

        def chat() -> None:
            while not done.wait(0.2):
                call(f"{api.url}/health")

        chatter = Thread(target=chat)
        chatter.start()
        try:
            dropped = await look(logs, api.url, clients, {}, within="3s", path="/items?page=1")
        finally:
            done.set()
            chatter.join()
        assert (dropped.status, dropped.reason) == (Status.FAILED, Reason.MISSING), dropped
        assert f"was not in the logs of {logs.selector} within 3s, though Loki has " in dropped.summary
        # The path is logged, and no trace id.
        logs.change = lambda line: json.dumps({**json.loads(line), "traceparent": None})
        unrecognized = await look(logs, api.url, clients, {}, within="3s", path="/items?page=1")
        assert (unrecognized.status, unrecognized.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED), unrecognized
        assert "put `{marker}` into `request_log.path`" in unrecognized.summary
        # Late: looked for by the next run, and no other request is sent meanwhile.
        held: list[str] = []
        logs.change = lambda line: held.append(line)
        memory: dict[str, Any] = {}
        waiting = await see(
            "api_service", LINE, api.url, clients=clients, memory=memory, timeout="5s",
            request_log={"path": "/", "selector": logs.selector, "within": "1h"},
        )  # fmt: skip
        assert (waiting.status, waiting.reason) == (Status.UNKNOWN, Reason.PENDING), waiting
        wait_until(lambda: held, "the line to be written")
        loki.push(logs.labels, *held)
        assert (await look(logs, api.url, clients, memory, within="1h")).status is Status.OK
        assert len(held) == 1


async def test_a_request_that_cannot_be_sent_or_looked_for(pages: Pages, loki: Server, clients: Any) -> None:
    selector = '{app="nobody"}'
    options: dict[str, Any] = {"clients": clients, "request_log": {"path": "/a", "selector": selector, "within": "2s"}}
    nobody = await see("api_service", LINE, f"http://{LOOPBACK}:{free_port()}", **options)
    assert (nobody.status, nobody.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
    pages.add("/a", "{}", 429)
    assert (await see("api_service", LINE, pages.url, **options)).reason is Reason.REFUSED
    pages.redirect("/a", "https://login.example.com/")
    assert "was redirected (302)" in (await see("api_service", LINE, pages.url, **options)).summary
    pages.add("/a", "{}", Age="20")
    assert "was answered from a cache (Age 20 s)" in (await see("api_service", LINE, pages.url, **options)).summary
    pages.add("/a", "{}", 404)
    for seconds in range(1, 60):  # another line in every second to come
        loki.push({"app": "nobody"}, "x", ago=-seconds)
    absent = await see("api_service", LINE, pages.url, **options)
    assert (absent.status, absent.reason) == (Status.UNKNOWN, Reason.NOT_VERIFIED), absent
    options["clients"] = {"loki": (gone := Loki(LokiSettings(url=f"http://{LOOPBACK}:{free_port()}"), Threads()))}
    pages.add("/a", "{}")
    assert (await see("api_service", LINE, pages.url, **options)).reason is Reason.UNREACHABLE
    await gone.close()
    assert (await see("api_service", LINE, pages.url, **options | {"clients": {}})).reason is Reason.NOT_CONFIGURED
    assert (await see("api_service", LINE, pages.url)).reason is Reason.NOT_CONFIGURED


def shown(line: str, **labels: str) -> set[str]:
    """What one line shows."""
    return {part.value for part in parts_shown([Stream(labels, [("1", line)])], Asked("/orders", 200))}


ALL = {part.value for part in RequestPart}


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ('127.0.0.1 - - [30/Nov/2026:10:00:00 +0000] "GET /orders?a=1 HTTP/1.1" 200 612 "-" "checklist" 0.012', ""),
        ('127.0.0.1 - - [30/Nov/2026:10:00:00 +0000] "GET /orders HTTP/1.1" 200 612 "-" "checklist-exporter"', "duration"),
        ('INFO:     10.100.2.3:40000 - "GET /orders HTTP/1.1" 200 OK', "duration"),
        ("GET /orders 200 3.512 ms - 10", ""),
        ("GET /orders?probe=1 200 3.512 ms - 10 Root=1-5759e988", ""),
        ("\x1b[32mGET\x1b[0m /orders \x1b[33m200\x1b[0m 3.2 ms", ""),
        ('{"message":"\\u001b[32mGET\\u001b[0m /orders \\u001b[33m200\\u001b[0m 3 ms"}', ""),
        ('127.0.0.1 - - [x] "GET /orders HTTP/1.1" 200 12 "-" "agent 1 2" 4523', ""),
        ('[x] "GET /orders HTTP/1.1" 200 - 0 2 5 4 "-" "agent"', ""),
        ('127.0.0.1 - - [x] "GET /orders HTTP/1.1" 200 12 "-" "agent 1 2"', "duration"),
        ("GET /orders bytes=200 3ms", "status"),
        ("GET /orders 200 - - 1700000000.123", "duration"),
        ("GET /orders 404 3 ms", "status"),
        ("GET /orders/1 200 3ms", "path"),
        (
            '{"level":30,"time":1700000000000,"req":{"method":"GET","url":"/orders"},"res":{"statusCode":200},"responseTime":3}',
            "",
        ),
        ('{"time":1700000000000,"req":{"method":"GET","url":"/orders"},"res":{"statusCode":200},"msg":"done"}', "duration"),
        ('{"method":"GET","path":"/orders","status":200,"request_time":"2026-11-30T10:00:00Z"}', "duration"),
        ('{"method":"GET","route":"/:kind","status":"200 OK","duration":"1.5ms"}', ""),
        ('{"message":"GET /orders 200 in 12ms","level":"info"}', ""),
        ('{"method":"POST","path":"/orders","status":200,"ms":3}', "method"),
        ('{"method":"GET","path":"/orders","status":true,"ms":-3}', "duration status"),
        ('{"method":"GET","path":"orders","bytes":200,"latency":null}', "path status duration"),
        ('level=info method=GET path=/orders status=200 duration=1.2e-05', ""),
        ('level=info msg="request completed" http.method=get http.target=/orders http.status_code=200 elapsed_ms=4', ""),
        ("", "method path status duration"),
    ],
)  # fmt: skip
def test_lines_of_many_frameworks(line: str, lacking: str) -> None:
    assert ALL - shown(line) == set(lacking.split())


def test_labels_and_several_lines_count() -> None:
    labels = {"method": "GET", "url_path": "/orders", "http_response_status_code": "200", "duration": "0.3"}
    assert shown("request completed", **labels) == ALL
    assert shown("x", path="/else", filename="/var/log/a") == set()
    both = Stream({}, [("1", '{"msg":"in","method":"GET","path":"/a"}'), ("2", '{"msg":"out","status":200,"ms":1}')])
    assert parts_shown([both], Asked("/a", 200)) == set(RequestPart)


@pytest.mark.parametrize(
    "log",
    [
        {"path": "orders", "selector": '{app="a"}'},
        {"path": "/orders", "selector": "app"},
        {"path": "/orders", "selector": '{app="a"} |= "x"'},
        {"path": "/orders", "selector": '{app="a"}', "fields": []},
        {"path": "/orders", "selector": '{app="a"}', "fields": ["size"]},
        {"path": "/orders", "selector": '{app="a"}', "within": "0s"},
        {"selector": '{app="a"}'},
    ],
)
async def test_bad_options_are_refused(log: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await see("api_service", LINE, "http://api", request_log=log)
