"""Workflows on a real Temporal server, whose health is green in each of these states."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.application_services.services import see
from tests.servers import faults
from tests.servers.process import LOOPBACK, free_port
from tests.servers.temporal import Temporal
from tests.support import until

WORKFLOWS = "workflow_orchestration_functional"
RUNNING = "WORKFLOW_EXECUTION_STATUS_RUNNING"


async def asked(server: Temporal, namespace: str, queue: str = "orders", **options: Any) -> Result:
    """The verdict on a task queue of a namespace; the engine itself is well.

    A second apart, as Temporal counts workflows of a namespace ten times a second and answers 429 to more.
    """
    await asyncio.sleep(1)
    server.ask("GET", "/cluster-info")
    queues = options.pop("task_queues", [{"name": queue}])
    temporal = {"url": server.url, "namespace": namespace, "task_queues": queues, "timeout": "30s", **options}
    return await see("orchestrator_service", WORKFLOWS, "http://service", temporal=temporal)


@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "ok")
@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "failed")
@pytest.mark.verifies("orchestrator_service.workflow_orchestration_functional", "unknown")
async def test_workflows_that_workers_take(temporal: Temporal) -> None:
    with temporal.worker("orders", "orders"):
        idle = await until(lambda: asked(temporal, "orders"), Status.UNKNOWN)
        assert f"No workflow in namespace orders on {temporal.url} closed within 1d" in idle.summary
        temporal.start_workflow("orders", "greeted", "orders")
        good = await until(lambda: asked(temporal, "orders"), Status.OK)
        assert "Workers poll task queue orders in namespace orders" in good.summary
        assert good.measurements == {"completed_workflows": 1, "waiting_tasks": 0}
        # Nobody polls the queue of another workflow, whose name is misspelt.
        temporal.start_workflow("orders", "typo", "order")
        other = await until(lambda: asked(temporal, "orders"), Status.FAILED)
        assert "Workflow typo is running on task queue order" in other.summary
        assert "which no worker polls for workflow tasks." in other.summary
        assert temporal.status("orders", "typo") == RUNNING


async def test_workflows_that_nobody_takes(temporal: Temporal) -> None:
    temporal.start_workflow("lonely", "waits", "orders")
    lonely = await until(lambda: asked(temporal, "lonely"), Status.FAILED, "for workflow tasks, and 1 task waits.")
    assert temporal.status("lonely", "waits") == RUNNING
    assert "No worker polls task queue orders in namespace lonely" in lonely.summary
    assert "for activity tasks." in lonely.summary
    workflows = [{"name": "orders", "activities": False}]
    assert "activity" not in (await asked(temporal, "lonely", task_queues=workflows)).summary
    # A worker that runs no activities takes the workflow, and leaves it where it was.
    with temporal.worker("lonely", "orders", "workflows"):
        half = await until(lambda: asked(temporal, "lonely"), Status.FAILED, "for activity tasks, and 1 task waits.")
        assert "for workflow tasks" not in half.summary
        activities = [{"name": "orders", "workflows": False}]
        with temporal.worker("lonely", "orders", "activities"):
            await until(lambda: asked(temporal, "lonely", task_queues=activities), Status.OK)


async def test_workflows_that_fail(temporal: Temporal) -> None:
    with temporal.worker("failing", "orders"):
        temporal.start_workflow("failing", "failed", "orders", "Fail")
        none = await until(lambda: asked(temporal, "failing"), Status.FAILED, "None of 1 workflow in namespace failing")
        assert "was completed: 1 failed, 0 timed out." in none.summary
        temporal.start_workflow("failing", "good", "orders")
        some = await until(lambda: asked(temporal, "failing"), Status.FAILED, "50.0% of 2 workflows")
        assert some.reason is Reason.LIMIT
        assert (await asked(temporal, "failing", max_failure_ratio=0.5)).status is Status.OK


async def test_a_workflow_whose_code_is_wrong_is_running_for_ever(temporal: Temporal) -> None:
    with temporal.worker("stuck", "orders"):
        temporal.start_workflow("stuck", "good", "orders")
        await until(lambda: asked(temporal, "stuck"), Status.OK)
        temporal.start_workflow("stuck", "bug", "orders", "Bug")
        stuck = await until(lambda: asked(temporal, "stuck"), Status.FAILED)
        assert (
            f"1 workflow in namespace stuck on {temporal.url} is running while its tasks fail again and again."
            in stuck.summary
        )
        assert temporal.status("stuck", "bug") == RUNNING


async def test_a_workflow_whose_activity_is_tried_for_ever(temporal: Temporal) -> None:
    """By default Temporal tries an activity again without end: the workflow runs, its tasks are taken, and nothing fails."""
    with temporal.worker("trying", "orders"):
        temporal.start_workflow("trying", "good", "orders")
        await until(lambda: asked(temporal, "trying"), Status.OK)
        temporal.start_workflow("trying", "again", "orders", "Again")
        await until(lambda: asked(temporal, "trying", max_run_time="2s"), Status.FAILED, "than 2s.")
        assert temporal.status("trying", "again") == RUNNING
        assert (await asked(temporal, "trying", max_run_time="1h")).status is Status.OK


async def test_schedules(temporal: Temporal) -> None:
    def plan(name: str, **state: Any) -> None:
        action = {
            "startWorkflow": {"workflowId": name, "workflowType": {"name": "Greet"}, "taskQueue": {"name": "orders"}}
        }
        schedule = {"spec": {"interval": [{"interval": "3600s"}]}, "action": action, "state": state}
        temporal.ask("POST", f"/namespaces/planned/schedules/{name}", {"schedule": schedule, "requestId": name})

    plan("hourly")
    plan("paused", paused=True)
    plan("spent", limitedActions=True)

    async def about(name: str) -> Result:
        return await asked(temporal, "planned", schedules=[name])

    with temporal.worker("planned", "orders"):
        temporal.start_workflow("planned", "good", "orders")
        await until(lambda: about("hourly"), Status.OK)
        for name, words in (
            ("paused", "is paused: it starts no workflow."),
            ("spent", "starts no workflow any more."),
            ("none", "There is no schedule none in namespace planned"),
        ):
            assert words in (await until(lambda name=name: about(name), Status.FAILED)).summary  # type: ignore[misc]


async def test_what_cannot_be_asked(temporal: Temporal) -> None:
    missing = await asked(temporal, "none")
    assert missing.summary == f"There is no namespace none on {temporal.url}."
    assert (missing.status, missing.reason) == (Status.FAILED, Reason.MISSING)

    async def at(url: str) -> Result:
        options = {"url": url, "task_queues": [{"name": "orders"}], "timeout": "5s", "bearer_token": "canary"}
        return await see("orchestrator_service", WORKFLOWS, "http://service", temporal=options, secrets=["canary"])

    gone = await at(f"http://{LOOPBACK}:{free_port()}")
    assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
    for body, status in ((b"<html>404</html>", 404), (b"[]", 200), (b"{}", 403), (b'{"count": 1}', 200)):
        async with faults.answering(body, status) as (url, _):
            result = await at(url)
        assert result.status is Status.UNKNOWN, result


@pytest.mark.parametrize(
    "options",
    [
        {"task_queues": []},
        {"task_queues": [{"name": "a", "workflows": False, "activities": False}]},
        {"task_queues": [{"name": "a"}], "max_silence": "30s"},
        {"task_queues": [{"name": "a"}], "namespace": "a/b"},
    ],
)
async def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await see("orchestrator_service", WORKFLOWS, "http://service", temporal={"url": "http://temporal", **options})
