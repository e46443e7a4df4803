"""Workers of Celery, ARQ, Dramatiq, RQ and BullMQ on a real Redis: alive, hung, killed, and without anything to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.application_services.services import run, see
from tests.servers.applications.programs import bullmq, bullmq_worker, send_task, worker
from tests.servers.process import LOOPBACK, free_port, wait_until
from tests.servers.redis import Node
from tests.support import Run, sees, until

LINE = "background_tasks_operational"
PASSWORD = "canary-1d4b"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A Redis; each framework has a database of its own, and users with the rights that the docs name."""
    rights = {
        "celery": "~celery* ~unacked +select +client|list +hlen +llen +lindex",
        "arq": "~arq:* +select +time +pttl +zcount +zrangebyscore +exists",
        "dramatiq": "~dramatiq:* +select +time +zrevrange +llen +lindex",
        "rq": "~rq:* +select +exists +llen +lindex +smembers +pubsub|numsub",
        "bullmq": "~bull:* ~{shop}:* +select +client|list +time +llen +lindex +lrange +zcard +zrange +exists +hexists",
    }
    with Node(tmp_path_factory.mktemp("redis")) as node:
        for name, rules in rights.items():
            node.command("ACL", "SETUSER", name, "on", f">{PASSWORD}", "-@all", *rules.split())
        yield node


def run_workers(store: Node, framework: str, memory: dict[str, Any] | None = None, **options: Any) -> Run:
    """One run, `later` than now."""
    later = options.pop("later", timedelta(0))
    workers = {"framework": framework, "redis": store.address, "username": framework, "password": PASSWORD, **options}
    return run("backend_api", LINE, "http://backend", memory=memory, later=later, workers=workers, secrets=[PASSWORD])


look = sees(run_workers)


async def found(status: Status, store: Node, framework: str, **options: Any) -> Result:
    """The verdict, once it has this status."""
    return await until(lambda: look(store, framework, **options), status)


@pytest.mark.verifies("backend_api.background_tasks_operational", "ok")
@pytest.mark.verifies("backend_api.background_tasks_operational", "failed")
@pytest.mark.verifies("backend_api.background_tasks_operational", "unknown")
async def test_celery(store: Node, tmp_path: Path) -> None:
    url, where = f"redis://{LOOPBACK}:{store.port}/0", f"{store.address} (database 0)"
    never = await look(store, "celery")
    assert (never.status, never.summary) == (Status.FAILED, f"No Celery worker asks {where} for tasks.")
    with worker(tmp_path, "celery", url, "ready.") as celery:
        good = await found(Status.OK, store, "celery")
        assert good.summary == f"Workers of celery on {where} take tasks from celery; 0 tasks wait."
        other = await look(store, "celery", database=5)
        assert other.status is Status.FAILED
        celery.pause()
        hung = await found(Status.UNKNOWN, store, "celery", max_silence="2s")
        assert f"1 Celery worker connected to {where} last asked for a task " in hung.summary
        memory: dict[str, Any] = {}
        send_task("celery", url)
        assert (await look(store, "celery", memory)).status is Status.OK  # one task may wait for a while
        stuck = await look(store, "celery", memory, later=timedelta(minutes=6))
        assert (stuck.status, stuck.reason) == (Status.FAILED, Reason.LIMIT)
        assert "queue celery" in stuck.summary
        assert "(limit 5m), with 1 in the queue" in stuck.summary
        celery.resume()
        taken = await found(Status.OK, store, "celery", memory=memory, later=timedelta(minutes=12))
        assert taken.measurements == {"waiting_tasks": 0}
        with store.client() as client:  # a task that it dies with would be another state
            wait_until(lambda: not client.exists("unacked", "celery"), "the task to be acknowledged", 60)
        celery.kill()
    gone = await found(Status.FAILED, store, "celery")
    assert gone.reason is Reason.DOWN
    with store.client() as client:
        client.hset("unacked", "tag", "{}")  # as a worker leaves it that dies with a task
    busy = await look(store, "celery")
    assert (busy.status, "1 task taken is not acknowledged" in busy.summary) == (Status.UNKNOWN, True)


async def test_arq(store: Node, tmp_path: Path) -> None:
    url, where = f"redis://{LOOPBACK}:{store.port}/1", f"{store.address} (database 1)"
    options: dict[str, Any] = {"database": 1, "health_check_interval": "5s"}
    assert (await look(store, "arq", **options)).status is Status.FAILED
    with worker(tmp_path, "arq", url, "Starting worker") as arq:
        assert (await found(Status.OK, store, "arq", **options)).summary == (
            f"Workers of arq on {where} take tasks from arq:queue; 0 tasks wait."
        )
        default = await look(store, "arq", database=1)
        assert (default.status, default.reason) == (Status.UNKNOWN, Reason.NOT_VERIFIED)
        assert "and reports every 1h: lower its health_check_interval" in default.summary
        wrong = await look(store, "arq", database=1, health_check_interval="1s")
        assert (wrong.status, wrong.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED)
        other = await look(store, "arq", queues=["arq:queue", "arq:mails"], **options)
        assert (other.status, "No ARQ worker of queue arq:mails" in other.summary) == (Status.FAILED, True)
        memory: dict[str, Any] = {}
        arq.pause()
        send_task("arq", url)
        await look(store, "arq", memory, **options)
        late = await look(store, "arq", memory, later=timedelta(minutes=6), **options)
        assert (late.status, late.reason) == (Status.FAILED, Reason.LIMIT)
        with store.client() as client:
            client.select(1)
            [task] = client.zrange("arq:queue", 0, -1)
            client.set(f"arq:in-progress:{task!s}", "1", ex=60)  # a long task that a worker runs
        running = await look(store, "arq", memory, later=timedelta(minutes=12), **options)
        assert "has been waiting" not in running.summary
        arq.kill()
    dead = await found(Status.FAILED, store, "arq", **options)
    assert dead.summary.startswith(f"No ARQ worker of queue arq:queue on {where} reports")


async def test_dramatiq(store: Node, tmp_path: Path) -> None:
    url = f"redis://{LOOPBACK}:{store.port}/2"
    options: dict[str, Any] = {"database": 2}
    assert (await look(store, "dramatiq", **options)).status is Status.FAILED
    memory: dict[str, Any] = {}
    with worker(tmp_path, "dramatiq", url, "ready") as dramatiq:
        assert (await found(Status.OK, store, "dramatiq", **options)).measurements == {"waiting_tasks": 0}
        dramatiq.kill()
    send_task("dramatiq", url)
    # The sender's heartbeat is fresh, though nobody takes the task.
    sent = await look(store, "dramatiq", memory, **options)
    assert (sent.status, sent.reason) == (Status.UNKNOWN, Reason.PENDING), sent.summary
    waiting = await look(store, "dramatiq", memory, later=timedelta(minutes=6), **options)
    assert (waiting.status, waiting.reason) == (Status.FAILED, Reason.LIMIT)
    dead = await found(Status.FAILED, store, "dramatiq", max_silence="1s", **options)
    assert "The newest heartbeat of Dramatiq on" in dead.summary
    with store.client() as client:
        client.select(2)
        [name] = client.zrange("dramatiq:__heartbeats__", 0, 0)
        client.delete("dramatiq:default")
        client.zadd("dramatiq:__heartbeats__", {str(name): (time.time() + 600) * 1000})
    future = await look(store, "dramatiq", **options)
    assert (future.status, future.reason) == (Status.UNKNOWN, Reason.CONTRADICTED)


async def test_rq(store: Node, tmp_path: Path) -> None:
    url, where = f"redis://{LOOPBACK}:{store.port}/3", f"{store.address} (database 3)"
    options: dict[str, Any] = {"database": 3}
    never = await look(store, "rq", **options)
    assert (never.status, never.summary) == (Status.FAILED, f"No RQ worker of queue default is connected to {where}.")
    with worker(tmp_path, "rq", url, "Listening on default") as rq:
        assert (await found(Status.OK, store, "rq", **options)).measurements == {"waiting_tasks": 0}
        other = await look(store, "rq", queues=["default", "mails"], **options)
        assert (other.status, "No RQ worker of queue mails" in other.summary) == (Status.FAILED, True)
        with store.client() as client:
            client.select(3)
            client.set("rq:suspended", 1)
            suspended = await look(store, "rq", **options)
            assert (suspended.status, suspended.reason) == (Status.FAILED, Reason.MISCONFIGURED)
            client.delete("rq:suspended")
        rq.pause()
        send_task("rq", url)
        memory: dict[str, Any] = {}
        hung = await look(store, "rq", memory, **options)
        assert (hung.status, hung.reason) == (Status.UNKNOWN, Reason.PENDING), hung.summary
        late = await look(store, "rq", memory, later=timedelta(minutes=6), **options)
        assert (late.status, late.reason) == (Status.FAILED, Reason.LIMIT)
        rq.resume()
        await found(Status.OK, store, "rq", memory=memory, later=timedelta(minutes=7), **options)
        rq.kill()
    # It is still registered, and its key has minutes to live.
    gone = await found(Status.FAILED, store, "rq", **options)
    assert (gone.reason, gone.summary) == (Reason.DOWN, f"No RQ worker of queue default is connected to {where}.")
    with store.client() as client:
        client.select(3)
        assert client.smembers("rq:workers:default")


async def test_bullmq(store: Node, tmp_path: Path) -> None:
    url, where = f"redis://{LOOPBACK}:{store.port}/4", f"{store.address} (database 4)"
    options: dict[str, Any] = {"database": 4, "queues": ["orders"], "memory": {}}
    bullmq(url, "orders", "add")
    never = await look(store, "bullmq", **options)
    assert never.summary == f"No BullMQ worker of queue orders is connected to {where}."
    assert (never.status, never.reason) == (Status.FAILED, Reason.DOWN)
    with bullmq_worker(tmp_path, url, "orders") as worker:
        good = await found(Status.OK, store, "bullmq", **options)
        assert good.summary == f"Workers of bullmq on {where} take tasks from orders; 0 tasks wait."
        for other in ({"queues": ["orders", "mails"]}, {"queues": ["{shop}:orders"]}, {"database": 5}):
            assert (await look(store, "bullmq", **{**options, **other})).reason is Reason.DOWN, other
        bullmq(url, "orders", "pause")
        bullmq(url, "orders", "add")
        paused = await look(store, "bullmq", **options)
        assert (paused.status, paused.reason) == (Status.FAILED, Reason.MISCONFIGURED)
        bullmq(url, "orders", "resume")
        await found(Status.OK, store, "bullmq", **options)
        bullmq(url, "orders", "add", '{"takes": 600000}')
        bullmq(url, "orders", "add")
        bullmq(url, "orders", "add", "{}", '{"priority": 3}')
        busy = await found(Status.OK, store, "bullmq", max_silence="1s", **options)
        assert busy.measurements == {"waiting_tasks": 2}  # it renews the lock of the long one
        late = await look(store, "bullmq", later=timedelta(minutes=6), **options)
        assert (late.status, late.reason) == (Status.FAILED, Reason.LIMIT)
        assert "The task at the head of queue orders on" in late.summary
        worker.pause()
        with store.client() as client:  # its lock expires, unless it is renewed
            client.select(4)
            [task] = client.lrange("bull:orders:active", 0, -1)
            client.delete(f"bull:orders:{task!s}:lock")
        hung = await found(Status.UNKNOWN, store, "bullmq", max_silence="1s", **options)
        assert "none holds the lock of a task: paused, or hung" in hung.summary
        worker.kill()
    gone = await found(Status.FAILED, store, "bullmq", **options)
    assert gone.reason is Reason.DOWN


async def test_bullmq_with_a_prefix_and_tasks_that_were_put_off(store: Node, tmp_path: Path) -> None:
    url = f"redis://{LOOPBACK}:{store.port}/6"
    options: dict[str, Any] = {"database": 6, "queues": ["{shop}:mails"], "memory": {}}
    bullmq(url, "mails", "add", "{}", '{"delay": 600000}', prefix="{shop}")
    with bullmq_worker(tmp_path, url, "mails", "{shop}") as worker:
        await found(Status.OK, store, "bullmq", **options)
        worker.pause()
        with store.client() as client:
            client.select(6)
            due = int(client.time()[0]) - 3600  # by Redis's clock, as the worker would have left it an hour ago
            client.zadd("{shop}:mails:delayed", {"1": due * 1000 * 4096})
        late = await look(store, "bullmq", **options)
        assert (late.status, late.reason) == (Status.FAILED, Reason.LIMIT)
        assert "A delayed task of queue {shop}:mails" in late.summary
        worker.resume()
        await found(Status.OK, store, "bullmq", **options)


async def test_celery_with_priorities(store: Node) -> None:
    with store.client() as client:
        client.select(7)
        client.lpush("celery\x06\x163", "canary")  # as kombu names the list of a priority
    memory: dict[str, Any] = {}
    await look(store, "celery", memory, database=7)
    late = await look(store, "celery", memory, database=7, later=timedelta(minutes=6))
    assert "The task at the head of queue celery (priority 3) on" in late.summary


async def test_a_redis_that_cannot_be_read(store: Node) -> None:
    refused = await look(store, "celery", username="arq")
    assert (refused.status, refused.reason) == (Status.UNKNOWN, Reason.DENIED)
    wrong = await look(store, "celery", password="canary-wrong")
    assert (wrong.status, "canary" in wrong.summary) == (Status.UNKNOWN, False)
    no_database = await look(store, "dramatiq", database=99)
    assert no_database.status is Status.UNKNOWN
    gone = await look(store, "celery", redis=f"{LOOPBACK}:{free_port()}")
    assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
    assert (await see("backend_api", LINE, "http://backend")).reason is Reason.NOT_CONFIGURED


@pytest.mark.parametrize(
    "workers",
    [
        {"framework": "sidekiq", "redis": "redis:6379"},
        {"framework": "celery", "redis": "redis"},
        {"framework": "bullmq", "redis": "redis:6379"},
        {"framework": "celery", "redis": "redis:6379", "queues": ["two words"]},
        {"framework": "arq", "redis": "redis:6379", "password": "canary-77", "database": -1},
    ],
)
async def test_bad_workers_are_refused_and_not_repeated(workers: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        await see("backend_api", LINE, "http://backend", workers=workers)
    assert "canary" not in str(refused.value)
