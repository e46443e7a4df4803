"""The whole exporter as a process: what it serves, how it follows files and signals, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from exporter.config import Loaded, load, load_default
from exporter.daemon import ServeOptions, _Daemon
from exporter.health import Health
from exporter.runner import utc_now
from exporter.web import Options
from tests.exporter.samples import LINES
from tests.servers.pages import Pages
from tests.servers.process import Server, eventually, free_port, wait_until

CONFIG = """
environment: staging
state: {{file: {folder}/history.db}}
evidence: {folder}/evidence
sections:
  final_checklist: {{every: {every}}}
  documentation: {{every: 1h}}
  signatories: {{every: 1h}}
{more}
"""
RECORD = """
item: final_checklist.launch_window_confirmed
result: passed
by: lead@example.com
role: product_owner
on: {day}
environment: staging
window: {{start: "{day}T08:00:00Z", end: "{next}T10:00:00Z"}}
note: {note}
"""


class Exporter(Server):
    """A `serve` process on a free port."""

    def __init__(self, folder: Path, *, every: str = "1s", more: str = "", flags: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.every = every
        (folder / "evidence").mkdir(exist_ok=True)
        self.configure(more)
        self.port = free_port()
        program = Path(sys.executable).with_name("checklist-exporter")
        command: list[str | Path] = [program, "serve", f"--config.file={folder / 'config.yaml'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-lifecycle", *flags]
        super().__init__("exporter", command, directory=folder, ready=lambda: self.get("/-/ready"))

    def configure(self, more: str = "") -> None:
        text = CONFIG.format(folder=self.folder, every=self.every, more=more)
        (self.folder / "config.yaml").write_text(text)

    def attest(self, note: str = "done") -> None:
        day = datetime.now(UTC).date()
        (self.folder / "evidence" / "window.yaml").write_text(
            RECORD.format(day=day, next=day + timedelta(days=1), note=note)
        )

    def get(self, path: str, method: str = "GET") -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.read().decode()  # type: ignore[no-any-return]

    def item(self, name: str = "final_checklist/launch_window_confirmed") -> dict[str, Any]:
        return json.loads(self.get(f"/api/v1/items/{name}"))  # type: ignore[no-any-return]

    def metric(self, name: str, labels: str = "") -> float:
        found = re.search(rf"^{name}{re.escape(labels)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        assert found, f"no sample {name}{labels}"
        return float(found[1])

    def logged(self) -> str:
        return self.log.read_text()


@contextmanager
def exporting(folder: Path, **options: Any) -> Iterator[Exporter]:
    with Exporter(folder, **options) as exporter:
        yield exporter


LAUNCH = '{item="launch_window_confirmed",section="final_checklist"}'


@pytest.mark.parametrize(
    ("options", "scheme", "url"),
    [
        (ServeOptions(), "http", f"http://{socket.gethostname()}:9876"),
        (ServeOptions(listen_addresses=("[::1]:80", ":90")), "https", "https://[::1]:80"),
        (ServeOptions(listen_addresses=("sre:80",), web=Options(route_prefix="/p")), "http", "http://sre:80/p"),
        (ServeOptions(web=Options(external_url="https://sre.example.com/p/")), "http", "https://sre.example.com/p"),
    ],
)
def test_where_people_reach_the_pages(options: ServeOptions, scheme: str, url: str) -> None:
    assert options.external_url(scheme) == url


def test_every_line_has_its_series_from_the_first_scrape(tmp_path: Path) -> None:
    with exporting(tmp_path) as exporter:
        text = exporter.get("/metrics")
        assert len(re.findall(r"^checklist_item_ok\{", text, re.MULTILINE)) == LINES
        assert f'checklist_exporter_web_info{{external_url="http://127.0.0.1:{exporter.port}"}} 1.0' in text
        document = json.loads(exporter.get("/api/v1/items"))
        assert (document["environment"], len(document["items"])) == ("staging", LINES)


ASKING = """
custom:
  - section: Search
    line: Index answers
    every: 1s
    http: {{url: "{url}", endpoints: [{{path: /index, conditions: [status == 200]}}]}}
"""


def test_what_the_last_run_asked_is_shown_where_that_is_enabled(tmp_path: Path, pages: Pages) -> None:
    more = ASKING.format(url=pages.url)
    pages.add("/index")
    path = "/items/search/index_answers?debug"
    with exporting(tmp_path, more=more, flags=("--web.enable-debug",)) as exporter:
        wait_until(lambda: exporter.item("search/index_answers")["status"] == "ok", "the page to be asked")
        wait_until(lambda: "/index" in exporter.get(path), "the question to be shown")
        shown = exporter.get(path)
        assert "What the last run asked" in shown
        assert "Show what the last run asked" in exporter.get("/items/search/index_answers")


def test_evidence_is_noticed_when_it_comes_and_when_it_goes(tmp_path: Path) -> None:
    with exporting(tmp_path, every="1h") as exporter:
        wait_until(lambda: exporter.item()["status"] == "failed", what="the missing record is seen", deadline=40)
        assert exporter.metric("checklist_item_ok", LAUNCH) == 0
        exporter.attest()
        wait_until(lambda: exporter.item()["status"] == "ok", what="the record is seen")
        wait_until(lambda: exporter.metric("checklist_item_ok", LAUNCH) == 1, what="the metric follows")
        (tmp_path / "evidence" / "window.yaml").unlink()
        wait_until(lambda: exporter.item()["status"] == "failed", what="its absence is seen")


@pytest.mark.parametrize("how", ["signal", "endpoint"])
def test_a_reload_takes_over_a_good_configuration_and_refuses_a_bad_one(tmp_path: Path, how: str) -> None:
    def reload(exporter: Exporter) -> None:
        if how == "signal":
            os.kill(exporter.pid, signal.SIGHUP)
            return
        with suppress(urllib.error.HTTPError):
            exporter.get("/-/reload", "POST")

    with exporting(tmp_path) as exporter:
        exporter.attest()
        wait_until(lambda: exporter.item()["status"] == "ok", what="the record is seen")
        since = exporter.item()["since"]
        (tmp_path / "config.yaml").write_text("sections: {final_cheklist: {}}")
        reload(exporter)
        success = "checklist_exporter_config_last_reload_successful"
        wait_until(lambda: exporter.metric(success) == 0, what="the bad configuration is refused")
        assert exporter.item()["status"] == "ok"
        assert "did you mean 'final_checklist'?" in exporter.logged()
        exporter.configure("  neo4j: {not_applicable: We store no graph.}")
        reload(exporter)
        wait_until(lambda: exporter.metric(success) == 1, what="the good configuration is taken over")
        wait_until(
            lambda: exporter.item("neo4j/pods_healthy")["status"] == "not_applicable", what="the new plan is in force"
        )
        assert exporter.item()["since"] == since
        gone = 'checklist_item_ok{item="pods_healthy",section="neo4j"}'
        wait_until(lambda: gone not in exporter.get("/metrics"), what="the metrics are rendered anew")


def test_a_restart_shows_the_last_truth_and_adds_no_transition(tmp_path: Path) -> None:
    with exporting(tmp_path, every="1h") as exporter:
        exporter.attest()
        wait_until(lambda: exporter.item()["status"] == "ok", what="the record is seen", deadline=40)
        before = exporter.item()
        transitions = exporter.get("/api/v1/transitions?item=launch_window_confirmed")
        time.sleep(1)  # what was shown for a second is on disk
        exporter.kill()
        exporter.start()
        after = exporter.item()
        assert {name: after[name] for name in ("status", "since", "summary")} == {
            name: before[name] for name in ("status", "since", "summary")
        }
        assert after["last_run"] >= before["last_run"]
        assert after["last_ok"] >= before["last_ok"]
        assert exporter.get("/api/v1/transitions?item=launch_window_confirmed") == transitions


async def test_only_runs_that_speak_of_what_is_configured_now_are_spared_at_a_restart(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"evidence: {tmp_path}\nclients: {{prometheus: {{url: 'http://127.0.0.1:9'}}}}\ncustom:\n"
        "  - {section: Search, line: Index is fresh, true_when: up}\n"
        "  - {section: Search, line: Index was drilled, evidence: {valid_for: 90d}}\n"
    )
    daemon = _Daemon(config, load(config), Health("test"))
    assert daemon._last_runs() == {}
    for job in daemon.engine.loaded.plan.jobs:
        await daemon.engine.run(job)
    (probed,) = (job for job in daemon.engine.loaded.plan.jobs if job.items == ("index_is_fresh",))
    os.utime(config, (0, 0))
    assert list(daemon._last_runs()) == [probed.id]
    os.utime(config, (2**33, 2**33))
    assert daemon._last_runs() == {}
    config.unlink()
    assert daemon._last_runs() == {}
    await daemon.engine.close()


async def test_a_folder_that_does_not_answer_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.daemon.WATCH_SECONDS", 0)
    daemon = _Daemon(None, load_default(), Health("test"))
    asked, release = threading.Event(), threading.Event()

    def hang() -> bool:
        asked.set()
        return release.wait(60)

    monkeypatch.setattr(daemon.engine.evidence, "refresh", hang)
    watching = asyncio.create_task(daemon._watch())
    await eventually(asked.is_set, what="the folder is read")
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), 10)  # as asyncio.run does at its end
    release.set()
    await daemon.engine.close()


async def test_what_a_reload_cannot_take_over_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("state: {file: history.db}\n")
    daemon = _Daemon(config, load(config), Health("test"))
    daemon._schedule.start()
    assert await daemon.reload() is None
    assert "apply after a restart" not in caplog.text
    config.write_text("state: {file: other.db}\n")
    assert await daemon.reload() is None
    assert "The options of `state` changed and apply after a restart" in caplog.text
    await daemon.close()


async def test_whatever_goes_wrong_in_a_reload_the_last_good_configuration_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = _Daemon(None, load_default(), Health("test"))

    def broken(_: object) -> Loaded:
        raise ZeroDivisionError

    monkeypatch.setattr("exporter.daemon._load", broken)
    told = await daemon.reload()
    assert told == (
        "The configuration was not reloaded (ZeroDivisionError, see the log); the last good one stays in force."
    )
    assert (daemon._health.reload_successful, "ZeroDivisionError" in caplog.text) == (False, True)
    await daemon.engine.close()


@pytest.mark.parametrize(
    ("changed", "anew"),
    [("", False), ("environment: staging\n", True), ("release: 1.4.3\n", True), ("evidence: other\n", True)],
)
async def test_what_all_look_at_is_looked_at_anew_when_a_reload_changed_it(
    tmp_path: Path, changed: str, anew: bool
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("sections: {training: {every: 1h}}\n")
    daemon = _Daemon(config, load(config), Health("test"))
    daemon._schedule.start()
    await daemon._schedule.replace(daemon.engine.loaded.plan.jobs, {"training": utc_now()})

    def waits() -> float:
        planned = daemon._schedule._scheduler.get_job("training").next_run_time
        return float((planned - utc_now()).total_seconds())

    assert waits() > 3000
    config.write_text("sections: {training: {every: 1h}}\n" + changed)
    assert await daemon.reload() is None
    assert (waits() < 31) is anew
    await daemon.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_quickly_and_quietly(tmp_path: Path, how: signal.Signals) -> None:
    with exporting(tmp_path) as exporter:
        process = psutil.Process(exporter.pid)
        started = time.monotonic()
        process.send_signal(how)
        assert process.wait(timeout=10) in (0, None)
        assert time.monotonic() - started < 5
        assert "Traceback" not in exporter.logged()
        assert "level=error" not in exporter.logged()


def test_a_rotated_secret_is_read_without_a_reload(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("canary-one")
    more = f"clients:\n  prometheus: {{url: 'http://127.0.0.1:9', bearer_token_file: {secret}}}"
    with exporting(tmp_path, more=more) as exporter:
        secret.write_text("canary-two-longer")
        wait_until(lambda: "A secret file changed" in exporter.logged(), what="the rotation is noticed")
        wait_until(lambda: "The configuration was reloaded." in exporter.logged(), what="it is read")
        assert "canary" not in exporter.logged() + exporter.get("/metrics") + exporter.get("/api/v1/items")


def test_a_state_file_that_cannot_be_written_is_shown_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "history.db").mkdir()
    with exporting(tmp_path) as exporter:
        exporter.attest()
        wait_until(lambda: exporter.item()["status"] == "ok", what="verification goes on")
        assert "history.db cannot be read" in exporter.logged()
        assert "history.db cannot be" in exporter.get("/-/healthy")
        assert "Errno" not in exporter.logged()
