"""A worker of a task queue: `worker.py ADDRESS NAMESPACE QUEUE workflows|activities|both`."""

import asyncio
import os
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


@activity.defn(name="Greeting")
async def greeting() -> str:
    """The work."""
    return "hello"


@activity.defn(name="Failing")
async def failing() -> str:
    """Work that is never done."""
    raise RuntimeError("no")


@workflow.defn(name="Again")
class Again:
    """A workflow whose activity fails, and is tried again and again."""

    @workflow.run
    async def run(self) -> str:
        """Wait for the activity."""
        return str(await workflow.execute_activity("Failing", start_to_close_timeout=timedelta(hours=1)))


@workflow.defn(name="Greet")
class Greet:
    """A workflow that has an activity run on its own task queue."""

    @workflow.run
    async def run(self) -> str:
        """Wait for the activity."""
        return str(await workflow.execute_activity("Greeting", start_to_close_timeout=timedelta(hours=1)))


@workflow.defn(name="Fail")
class Fail:
    """A workflow that fails."""

    @workflow.run
    async def run(self) -> None:
        """Fail, for good."""
        raise ApplicationError("no")


@workflow.defn(name="Bug")
class Bug:
    """A workflow whose code is wrong: its task fails, and is tried again and again."""

    @workflow.run
    async def run(self) -> None:
        """Raise what is no failure of the workflow."""
        raise RuntimeError("a bug")


async def main(address: str, namespace: str, queue: str, kind: str) -> None:
    """Poll until the process is ended."""
    client = await Client.connect(address, namespace=namespace)
    workflows = [Greet, Again, Fail, Bug] if kind != "activities" else []
    activities = [greeting, failing] if kind != "workflows" else []
    worker = Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=activities,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        sys.stdout.write("polling\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


try:
    asyncio.run(main(*sys.argv[1:]))
finally:
    os._exit(0)
