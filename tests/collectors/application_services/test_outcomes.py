"""What Prometheus counts of jobs, OpenAI calls and workflow runs, on a real Prometheus that scrapes counters of the test's."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from collectors.systems.prometheus.client import Prometheus
from exporter.verdict import Reason, Result, Status
from tests.collectors.application_services.services import see
from tests.collectors.evidence import attested
from tests.collectors.systems.kubernetes.clusters import asking, cron_job
from tests.servers.kubernetes import ControlPlane
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, free_port
from tests.servers.prometheus import Prometheus as Server
from tests.servers.prometheus import scrape
from tests.support import Clients, connected, until

OPENAI, WORKFLOWS, JOBS = (
    "openai_integration_tested",
    "workflow_orchestration_functional",
    "processing_jobs_operational",
)
CALLS = {"attempts": ["calls_total"], "succeeded": ['calls_total{status="ok"}'], "window": "5s"}


class Counters:
    """Metrics of a service, scraped five times a second."""

    def __init__(self, pages: Pages, server: Server) -> None:
        self._pages = pages
        self._values: dict[str, float] = {}
        self.server = server

    def set(self, **values: float) -> None:
        """Metrics without labels."""
        self._values |= values
        self._serve()

    def count(self, ok: float = 0, failed: float = 0) -> None:
        """Add to the calls; a label appears with the first of its kind."""
        for status, number in (("ok", ok), ("failed", failed)):
            name = f'calls_total{{status="{status}"}}'
            if number:
                self._values[name] = self._values.get(name, 0) + number
        self._serve()

    def _serve(self) -> None:
        text = "".join(f"{name} {value}\n" for name, value in self._values.items())
        self._pages.add("/metrics", text, Content_Type="text/plain; version=0.0.4")


def prometheus(url: str) -> AbstractAsyncContextManager[Clients]:
    return connected({Prometheus: url})


@pytest.fixture
async def counters(pages: Pages, tmp_path: Path) -> AsyncIterator[Counters]:
    port = urlsplit(pages.url).port
    assert port
    pages.add("/metrics", "", Content_Type="text/plain; version=0.0.4")
    with Server(tmp_path, scrapes=[scrape("service", port)]) as server:
        server.wait_for('up{job="service"} == 1')
        yield Counters(pages, server)


async def becomes(
    status: Status, counters: Counters, item: str, *, steadily: dict[str, float], words: str = "", **options: Any
) -> Result:
    """The verdict, once it has this status, while calls are counted."""
    section = "data_service" if item == JOBS else "orchestrator_service"

    async def counting() -> Result:
        await asyncio.sleep(0.3)
        counters.count(**steadily)
        return await see(section, item, "http://service", clients=prometheus(counters.server.url), **options)

    return await until(counting, status, words)


@pytest.mark.verifies("orchestrator_service.openai_integration_tested", "ok")
@pytest.mark.verifies("orchestrator_service.openai_integration_tested", "failed")
@pytest.mark.verifies("orchestrator_service.openai_integration_tested", "unknown")
async def test_calls_of_openai(counters: Counters, tmp_path: Path) -> None:
    tested = attested(tmp_path / "evidence", f"orchestrator_service.{OPENAI}")

    async def found(status: Status, **steadily: float) -> Result:
        return await becomes(status, counters, OPENAI, steadily=steadily, openai=CALLS, evidence=tested)

    absent = await found(Status.UNKNOWN)
    assert absent.summary.startswith("Prometheus has no series of calls_total now.")
    counters.count(failed=1)
    down = await found(Status.FAILED, failed=1)
    assert (down.reason, "succeeded" in down.summary) == (Reason.DOWN, True)
    good = await found(Status.OK, ok=20)
    assert " within 5s succeeded." in good.summary
    assert good.measurements["failure_ratio"] <= 0.05
    bad = await found(Status.FAILED, ok=2, failed=2)
    assert "(limit 5.0%)" in bad.summary
    idle = await found(Status.UNKNOWN)
    assert "No OpenAI API call was counted within 5s" in idle.summary
    async with prometheus(counters.server.url) as clients:
        untested = await see("orchestrator_service", OPENAI, "http://service", clients=clients, openai=CALLS)
        assert "evidence" in untested.summary
    assert (await see("orchestrator_service", OPENAI, "http://service", evidence=tested)).status is Status.UNKNOWN


async def test_the_first_failure_of_its_kind_counts(counters: Counters, tmp_path: Path) -> None:
    tested = attested(tmp_path / "evidence", f"orchestrator_service.{OPENAI}")
    await becomes(Status.OK, counters, OPENAI, steadily={"ok": 1}, openai=CALLS, evidence=tested)
    counters.server.wait_for("up offset 5s", 60)
    counters.count(failed=500)  # one look later the counter is there with all of them, and grows no more
    counters.server.wait_for('calls_total{status="failed"}')
    result = await becomes(Status.FAILED, counters, OPENAI, steadily={"ok": 1}, openai=CALLS, evidence=tested)
    assert re.search(r"\b5\d\d OpenAI API calls", result.summary), result.summary  # the failed ones are among them


async def test_counters_of_success_that_count_more_than_all(counters: Counters, tmp_path: Path) -> None:
    wrong = CALLS | {"attempts": ['calls_total{status="failed"}'], "succeeded": ["calls_total"]}
    tested = attested(tmp_path / "evidence", f"orchestrator_service.{OPENAI}")
    counters.count(failed=1)
    steadily = {"ok": 50.0, "failed": 1.0}
    words = "do not count all attempts"
    await becomes(Status.UNKNOWN, counters, OPENAI, steadily=steadily, words=words, openai=wrong, evidence=tested)


@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "ok")
@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "failed")
@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "unknown")
async def test_runs_of_workflows(counters: Counters) -> None:
    workflows = CALLS | {"backlog_conditions": ["workflow_runs_late == 0"]}

    async def found(status: Status, **steadily: float) -> Result:
        return await becomes(status, counters, WORKFLOWS, steadily=steadily, workflows=workflows)

    unnamed = await found(Status.UNKNOWN, ok=1)
    assert "workflow_runs_late returned nothing" in unnamed.summary
    counters.set(workflow_runs_late=0)
    assert "workflow" in (await found(Status.OK, ok=3)).summary
    counters.set(workflow_runs_late=2)  # nobody takes them, while others end well
    late = await found(Status.FAILED, ok=3)
    assert "workflow_runs_late == 0 does not hold" in late.summary
    counters.set(workflow_runs_late=0)
    await found(Status.OK, ok=3)
    nothing = await found(Status.UNKNOWN)
    assert "No workflow run was counted" in nothing.summary
    unset = await see("orchestrator_service", WORKFLOWS, "http://service")
    assert (unset.status, unset.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)


@pytest.mark.verifies("data_service.processing_jobs_operational", "ok")
@pytest.mark.verifies("data_service.processing_jobs_operational", "failed")
@pytest.mark.verifies("data_service.processing_jobs_operational", "unknown")
async def test_jobs_by_their_last_success(counters: Counters) -> None:
    conditions = ["time() - import_last_success_timestamp_seconds < 3600"]

    async def found(status: Status) -> Result:
        return await becomes(status, counters, JOBS, steadily={}, job_conditions=conditions)

    assert (await found(Status.UNKNOWN)).reason is Reason.MISSING
    counters.set(import_last_success_timestamp_seconds=time.time() - 60)
    await found(Status.OK)
    counters.set(import_last_success_timestamp_seconds=time.time() - 7200)
    await found(Status.FAILED)
    counters.set(import_last_success_timestamp_seconds=time.time() + 86400)
    assert (await found(Status.UNKNOWN)).reason is Reason.CONTRADICTED
    async with prometheus(f"http://{LOOPBACK}:{free_port()}") as clients:
        gone = await see("data_service", JOBS, "http://service", clients=clients, job_conditions=conditions)
    assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
    assert (await see("data_service", JOBS, "http://service")).reason is Reason.NOT_CONFIGURED


async def test_jobs_by_their_cron_jobs(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("jobs")
    good, late = cron_job(namespace, "import"), cron_job(namespace, "export")
    control_plane.apply(good, late)
    for job, age in ((good, timedelta(hours=2)), (late, timedelta(days=9))):
        moment = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ")
        control_plane.patch_status(job, lastSuccessfulTime=moment)

    async def found(*names: str) -> Result:
        async with asking(control_plane) as clients:
            jobs = [{"namespace": namespace, "name": name} for name in names]
            return await see("data_service", JOBS, "http://service", clients=clients, cronjobs=jobs)

    assert (await found("import")).status is Status.OK
    both = await found("import", "export")
    assert (both.status, f"CronJob {namespace}/export last succeeded" in both.summary) == (Status.FAILED, True)
    missing = await found("import", "none")
    assert missing.summary == f"CronJob {namespace}/none, which processes its data, does not exist."
    control_plane.apply(cron_job(namespace, "export", suspend=True))
    assert "is suspended" in (await found("export")).summary


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("orchestrator_service", {"openai": CALLS | {"succeeded": ["calls_total"]}}),
        ("orchestrator_service", {"openai": CALLS | {"attempts": ["rate(calls_total[5m])"]}}),
        ("orchestrator_service", {"workflows": CALLS}),
        ("orchestrator_service", {"workflows": CALLS | {"backlog_conditions": ["vector(1) == 1"]}}),
        ("data_service", {"job_conditions": ["import_last_success_timestamp_seconds"]}),
        ("data_service", {"cronjobs": [{"name": "import"}]}),
    ],
)
async def test_bad_options_are_refused(section: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await see(section, JOBS, "http://service", **options)
