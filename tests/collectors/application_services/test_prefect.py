"""Flows on a real Prefect server, whose health is green in each of these states."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.application_services.services import see
from tests.servers import faults
from tests.servers.prefect import Prefect
from tests.servers.process import LOOPBACK, free_port
from tests.support import until

WORKFLOWS = "workflow_orchestration_functional"


async def asked(server: Prefect, *pools: str, **options: Any) -> Result:
    """The verdict on pools; the engine itself is well."""
    assert server.ask("GET", "/health") is True
    limits = {"late_after": "1h", "timeout": "60s", **options}
    prefect = {"url": server.url, "work_pools": pools, **limits}
    for _ in range(20):
        result = await see("orchestrator_service", WORKFLOWS, "http://service", prefect=prefect)
        if "answered 503" not in result.summary:  # its database is busy with what other tests have begun
            break
    return result


def works(server: Prefect, pool: str, seconds: float = 3600) -> None:
    """Report to a pool and ask it for runs, as a worker does that reports this often."""
    server.ask("POST", f"/work_pools/{pool}/workers/heartbeat", {"name": "w", "heartbeat_interval_seconds": seconds})
    server.ask("POST", f"/work_pools/{pool}/get_scheduled_flow_runs", {"scheduled_before": "2000-01-01T00:00:00Z"})


@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "ok")
@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "failed")
@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "unknown")
async def test_runs_of_a_pool_from_its_first_worker_to_a_late_run(prefect: Prefect) -> None:
    pool = prefect.pool("taken")
    deployment = prefect.deploy(pool)
    lonely = await asked(prefect, pool)
    assert (lonely.status, lonely.reason) == (Status.FAILED, Reason.DOWN)
    assert f"No worker has ever reported to work pool taken on {prefect.url}." in lonely.summary
    works(prefect, pool)
    idle = await asked(prefect, pool)
    assert (idle.status, "No run of work pool taken" in idle.summary) == (Status.UNKNOWN, True)
    prefect.run(deployment, "PENDING", "RUNNING", "COMPLETED")
    good = await asked(prefect, pool)
    assert good.status is Status.OK, good
    assert good.measurements == {"completed_runs": 1, "late_runs": 0}
    prefect.run(deployment)  # nobody takes it
    late = await until(lambda: asked(prefect, pool, late_after="1s"), Status.FAILED)
    assert "should have started" in late.summary
    assert (await asked(prefect, pool)).status is Status.OK  # one that may be late for an hour is not late yet
    await until(lambda: asked(prefect, pool, late_after="1s"), Status.FAILED, "and is Late (limit 1s)")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("paused", {"is_paused": True}, "is paused: its runs are not started."),
        ("shut", {"concurrency_limit": 0}, "has a concurrency limit of 0: no run starts."),
    ],
)
async def test_pools_that_start_nothing(prefect: Prefect, name: str, change: dict[str, Any], words: str) -> None:
    pool = prefect.pool(name)
    prefect.run(prefect.deploy(pool), "COMPLETED")
    works(prefect, pool)
    assert (await asked(prefect, pool)).status is Status.OK
    prefect.ask("PATCH", f"/work_pools/{pool}", change)
    result = await asked(prefect, pool)
    assert (result.status, words in result.summary) == (Status.FAILED, True), result


async def test_queues_that_nobody_asks_or_that_are_paused(prefect: Prefect) -> None:
    pool = prefect.pool("queues")
    prefect.run(prefect.deploy(pool), "COMPLETED")
    works(prefect, pool)
    made = prefect.ask("POST", f"/work_pools/{pool}/queues", {"name": "urgent"})
    heartbeat = {"name": "w", "heartbeat_interval_seconds": 3600}

    async def while_default_is_asked() -> Result:
        prefect.ask("POST", f"/work_pools/{pool}/workers/heartbeat", heartbeat)
        body = {"work_queue_names": ["default"], "scheduled_before": "2000-01-01T00:00:00Z"}
        prefect.ask("POST", f"/work_pools/{pool}/get_scheduled_flow_runs", body)
        return await asked(prefect, pool, max_silence="5s")

    unasked = await until(while_default_is_asked, Status.FAILED, "No worker has asked queue urgent of work pool queues")
    assert "queue default" not in unasked.summary
    prefect.ask("PATCH", f"/work_pools/{pool}/queues/{made['name']}", {"is_paused": True})
    paused = await asked(prefect, pool)
    assert (paused.status, "1 queue of work pool queues" in paused.summary) == (Status.WARNING, True)
    prefect.ask("PATCH", f"/work_pools/{pool}/queues/default", {"is_paused": True})
    shut = await asked(prefect, pool)
    assert (shut.status, "All queues of work pool queues" in shut.summary) == (Status.FAILED, True)


async def test_runs_that_were_taken_and_do_not_begin_or_end(prefect: Prefect) -> None:
    pool = prefect.pool("stuck")
    deployment = prefect.deploy(pool)
    works(prefect, pool)
    prefect.run(deployment, "COMPLETED")
    prefect.run(deployment, "PENDING")
    pending = await until(lambda: asked(prefect, pool, late_after="1s"), Status.FAILED)
    assert "and has not begun (limit 1s)." in pending.summary
    pool = prefect.pool("hung")
    deployment = prefect.deploy(pool)
    works(prefect, pool)
    prefect.run(deployment, "COMPLETED")
    prefect.run(deployment, "PENDING", "RUNNING")  # its process was killed: it is RUNNING for ever
    assert (await asked(prefect, pool)).status is Status.OK
    hung = await until(lambda: asked(prefect, pool, max_run_time="1s"), Status.FAILED)
    assert "and has not ended (limit 1s)." in hung.summary


async def test_a_run_that_waits_for_a_slot_is_put_off_for_ever(prefect: Prefect) -> None:
    pool = prefect.pool("slots")
    deployment = prefect.deploy(pool)
    works(prefect, pool)
    prefect.run(deployment, "COMPLETED")
    run = prefect.run(deployment)
    later = {
        "type": "SCHEDULED",
        "name": "AwaitingConcurrencySlot",
        "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"},
    }
    prefect.ask("POST", f"/flow_runs/{run}/set_state", {"state": later, "force": True})
    result = await until(lambda: asked(prefect, pool, late_after="1s"), Status.FAILED)
    assert "and is AwaitingConcurrencySlot (limit 1s)" in result.summary


async def test_runs_that_fail(prefect: Prefect) -> None:
    pool = prefect.pool("failing")
    deployment = prefect.deploy(pool)
    works(prefect, pool)
    prefect.run(deployment, "FAILED")
    prefect.run(deployment, "CRASHED")
    none = await asked(prefect, pool)
    assert "None of 2 runs of work pool failing" in none.summary
    assert "was completed: 1 failed, 1 crashed." in none.summary
    prefect.run(deployment, "COMPLETED")
    some = await asked(prefect, pool)
    assert (some.status, some.reason) == (Status.FAILED, Reason.LIMIT)
    assert (await asked(prefect, pool, max_failure_ratio=0.7)).status is Status.OK


async def test_runs_elsewhere_do_not_count(prefect: Prefect) -> None:
    """A run from somebody's desk, and one of another pool, are completed and late as they like."""
    other = prefect.pool("others")
    prefect.run(prefect.deploy(other))
    pool = prefect.pool("alone")
    works(prefect, pool)
    flow = prefect.ask("POST", "/flows/", {"name": "by-hand"})["id"]
    prefect.ask("POST", "/flow_runs/", {"flow_id": flow, "state": {"type": "COMPLETED"}})
    assert (await asked(prefect, pool)).reason is Reason.NOT_VERIFIED
    prefect.run(prefect.deploy(pool), "COMPLETED")
    assert (await asked(prefect, pool, late_after="1s")).status is Status.OK


async def test_pools_of_a_cloud_have_no_workers(prefect: Prefect) -> None:
    pool = prefect.pool("pushed", "ecs:push")
    prefect.run(prefect.deploy(pool), "COMPLETED")
    assert (await asked(prefect, pool)).status is Status.OK


async def test_a_worker_that_was_killed(prefect: Prefect) -> None:
    pool = prefect.pool("killed")
    prefect.run(prefect.deploy(pool), "COMPLETED")
    with prefect.worker(pool) as worker:
        good = await until(lambda: asked(prefect, pool), Status.OK)
        assert "Workers take the runs of work pool killed" in good.summary
        worker.kill()
        dead = await until(lambda: asked(prefect, pool), Status.FAILED)
        assert "No worker of work pool killed" in dead.summary


async def test_what_cannot_be_asked(prefect: Prefect) -> None:
    missing = await asked(prefect, "none")
    assert missing.summary == f"Work pool none does not exist on {prefect.url}."

    async def at(url: str, **options: Any) -> Result:
        pools = {"url": url, "work_pools": ["jobs"], "timeout": "5s", **options}
        return await see("orchestrator_service", WORKFLOWS, "http://service", prefect=pools, secrets=["canary"])

    gone = await at(f"http://{LOOPBACK}:{free_port()}/api")
    assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
    for body, status in (
        (b"<html>404</html>", 404),
        (b"[]", 200),
        (b"{}", 200),
        (b"{}", 401),
        (json.dumps({"name": 1}).encode(), 200),
    ):
        async with faults.answering(body, status) as (url, _):
            result = await at(url, username="admin", password="canary")
        assert result.status is Status.UNKNOWN, result


@pytest.mark.parametrize("options", [{"work_pools": []}, {}, {"work_pools": ["a"], "max_failure_ratio": 1}])
async def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await see("orchestrator_service", WORKFLOWS, "http://service", prefect={"url": "http://prefect/api", **options})
