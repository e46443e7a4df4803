"""Two exporters, one leader: what follows shows what the leader recorded, and takes over without a false transition."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from exporter.causes import Cause
from exporter.observations import Observation, Remembered
from exporter.state import State
from exporter.verdict import Status, failed, ok
from tests.exporter.samples import observe, plan, planned
from tests.exporter.test_election import NAMESPACE, RULES
from tests.exporter.test_storage import own_database
from tests.servers.faults import Proxy
from tests.servers.kubernetes import ControlPlane
from tests.servers.postgresql import Postgres
from tests.servers.process import LOOPBACK, Server, eventually, free_port
from tests.support import NOON, Clock

T = TypeVar("T")

CONFIG = """
environment: staging
state: {{dsn_file: {folder}/dsn}}
evidence: {shared}/evidence
leader_election:
  {{name: {lease}, namespace: {namespace}, kubeconfig: {kubeconfig}, lease_duration: 12s, renew_deadline: 8s, retry_period: 500ms}}
sections:
  final_checklist: {{every: 1s, stale_after: 3m}}
"""
RECORD = """
item: final_checklist.launch_window_confirmed
result: passed
by: lead@example.com
role: product_owner
on: {day}
environment: staging
window: {{start: "{day}T08:00:00Z", end: "{next}T10:00:00Z"}}
"""
LINE = 'checklist_item_ok{item="launch_window_confirmed",section="final_checklist"}'
ITEM = "final_checklist/launch_window_confirmed"
KEY = ("postgresql", "slow_query_logging_enabled")


class Replica(Server):
    """A `serve` process of a group, behind proxies of its own to the API server and to the database."""

    def __init__(self, folder: Path, name: str, api: Proxy, database: Proxy) -> None:
        self.api = api
        self.database = database
        self.port = free_port()
        program = Path(sys.executable).with_name("checklist-exporter")
        command: list[str | Path] = [program, "serve", f"--config.file={folder / 'config.yaml'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        super().__init__(name, command, directory=folder, ready=lambda: self.get("/-/healthy"))

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
            return reply.read().decode()  # type: ignore[no-any-return]

    def item(self) -> dict[str, Any]:
        return json.loads(self.get(f"/api/v1/items/{ITEM}"))  # type: ignore[no-any-return]

    def metric(self, name: str) -> float | None:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return float(found[1]) if found else None

    def leads(self) -> bool:
        return self.metric("checklist_exporter_leader") == 1

    def changes(self) -> list[dict[str, Any]]:
        """The transitions but the first of each line: nothing that is verified here changes, but what is derived from it."""
        items = json.loads(self.get("/api/v1/items"))["items"]
        derived = [(one["section"], one["item"]) for one in items if one["mode"] == "derived"]
        found = json.loads(self.get("/api/v1/transitions?limit=1000"))["transitions"]
        return [one for one in found if one["from"] is not None and (one["section"], one["item"]) not in derived]


async def seen(condition: Callable[[], T], what: str) -> T:
    """Wait for it, while the proxies of this event loop go on."""
    return await eventually(lambda: asyncio.to_thread(condition), what)


@asynccontextmanager
async def group(cluster: ControlPlane, instance: Postgres, folder: Path) -> AsyncIterator[list[Replica]]:
    """Two replicas that are not started."""
    lease, dsn = f"checklist-{secrets.token_hex(4)}", own_database(instance)
    (folder / "evidence").mkdir()
    day = datetime.now(UTC).date()
    (folder / "evidence" / "window.yaml").write_text(RECORD.format(day=day, next=day + timedelta(days=1)))
    async with AsyncExitStack() as stack:
        replicas = []
        for name in ("a", "b"):
            own = folder / name
            own.mkdir()
            api = await stack.enter_async_context(Proxy(LOOPBACK, cluster.ports["api"]))
            database = await stack.enter_async_context(Proxy(LOOPBACK, instance.port))
            (own / "dsn").write_text(psycopg.conninfo.make_conninfo(dsn, port=database.address[1]))
            kubeconfig = cluster.account(namespaced={NAMESPACE: RULES}, url=f"https://{LOOPBACK}:{api.address[1]}")
            text = CONFIG.format(folder=own, shared=folder, lease=lease, namespace=NAMESPACE, kubeconfig=kubeconfig)
            (own / "config.yaml").write_text(text)
            replicas.append(Replica(own, name, api, database))
        try:
            yield replicas
        finally:
            for replica in replicas:
                if replica.running:
                    await asyncio.to_thread(replica.kill)


async def test_a_replica_takes_over_from_a_leader_that_is_killed_cut_off_or_ended(
    control_plane: ControlPlane, instance: Postgres, tmp_path: Path
) -> None:
    async with group(control_plane, instance, tmp_path) as (a, b):
        await asyncio.to_thread(a.start)
        await seen(lambda: a.leads() and a.item()["status"] == "ok", "the first to lead and to verify")
        await asyncio.to_thread(b.start)
        await seen(lambda: b.item()["status"] == "ok", "the other to show what the leader recorded")
        before = a.item()
        assert {name: b.item()[name] for name in ("since", "summary")} == {
            name: before[name] for name in ("since", "summary")
        }
        assert (b.metric("checklist_exporter_leader"), b.metric(LINE)) == (0, None)
        assert "checklist_item_" not in b.get("/metrics")
        assert "checklist_scheduler_" not in b.get("/metrics")
        assert await seen(lambda: "which verifies" in b.get("/"), "the page to name the leader")
        assert await asyncio.to_thread(b.changes) == []

        # The leader ends as it should.
        await asyncio.to_thread(a.stop)
        await seen(b.leads, "the other one to lead")
        assert "The Lease was released." in a.log.read_text()
        await asyncio.to_thread(a.start)
        await seen(lambda: a.item()["status"] == "ok", "the former leader to follow")
        assert a.metric(LINE) is None

        # The leader is killed.
        await asyncio.sleep(1)  # what was shown for a second is stored
        killed = b.item()["last_run"]
        b.kill()
        await seen(lambda: a.leads() and a.metric(LINE) == 1, "the other one to take over")
        await seen(lambda: a.item()["last_run"] > killed, "it to verify")
        assert a.item()["since"] == before["since"]
        assert await asyncio.to_thread(a.changes) == []
        await asyncio.to_thread(b.start)
        await seen(lambda: b.item()["status"] == "ok", "the former leader to follow")

        # The leader is cut off from the API server: it stops exporting before the other one leads.
        a.api.pause()
        both = 0

        def handed_over() -> bool:
            nonlocal both
            one, other = a.leads(), b.leads()
            both += one and other
            return other and not one

        await seen(handed_over, "leadership to go to the one that reaches the API server")
        assert both == 0
        assert a.metric(LINE) is None
        a.api.resume()
        await seen(lambda: a.item()["status"] == "ok", "the former leader to follow")
        assert await asyncio.to_thread(b.changes) == []

        # The database is gone: the leader verifies, and the other one does not show what is old as if it were new.
        a.database.cut()
        b.database.cut()
        await seen(lambda: b.metric("checklist_exporter_history_ok") == 0, "the leader to report it")
        during = b.item()["last_run"]
        await seen(lambda: b.item()["last_run"] > during and b.metric(LINE) == 1, "it to go on verifying")
        await seen(lambda: _refused(a), "the API of the other one to refuse")
        assert "last read the leader" in a.get("/")

        # Meanwhile the leader is killed: the other one takes over with what it read last, and writes when it can.
        b.kill()
        await seen(lambda: a.leads() and a.metric(LINE) == 1, "the other one to take over")
        assert a.item()["since"] == before["since"]
        a.database.resume()
        await seen(lambda: a.metric("checklist_exporter_history_ok") == 1, "it to store again")
        assert await asyncio.to_thread(a.changes) == []


def _refused(replica: Replica) -> bool:
    try:
        replica.item()
    except urllib.error.HTTPError as error:
        return error.code == 503
    return False


# -- the state of a replica


def recorded(status: Status, at: datetime, summary: str = "Seen by the leader.") -> Remembered:
    result = ok(summary) if status.is_ok else failed(summary)
    return Remembered(status, at, at if status.is_ok else NOON, {"": Observation(result, at)})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def following(clock: Clock) -> State:
    state = State(plan(planned()), clock)
    state.leads = False
    return state


async def test_a_state_that_follows_verifies_and_notes_nothing_itself(following: State, clock: Clock) -> None:
    await following.follow({KEY: recorded(Status.OK, clock())}, whole=True)
    await observe(following, clock, KEY[0], {KEY[1]: failed("By a run that ended late.")})
    (view,) = following.views()
    assert (view.status, view.summary, view.last_ok) == (Status.OK, "Seen by the leader.", NOON)
    clock.advance(minutes=3)
    await following.tick()
    (view,) = following.views()  # nobody verified it for too long
    assert (view.status, view.last_ok) == (Status.UNKNOWN, NOON)
    await following.follow({KEY: recorded(Status.FAILED, clock(), "Later.")})
    (view,) = following.views()
    assert (view.status, view.since, view.last_ok, view.summary) == (Status.FAILED, clock(), NOON, "Later.")


async def test_leading_begins_where_the_former_leader_ended(following: State, clock: Clock) -> None:
    await following.follow({KEY: recorded(Status.FAILED, clock())}, whole=True)
    clock.advance(minutes=10)
    following.lead()
    (view,) = following.views()
    assert (view.status, view.since, view.runs) == (Status.UNKNOWN, clock(), 0)
    await following.tick()
    await observe(following, clock, KEY[0], {KEY[1]: failed("Seen.")})
    (view,) = following.views()
    assert (view.status, view.since) == (Status.FAILED, NOON)  # no transition: it was so before


async def test_a_state_that_follows_names_causes_and_so_does_one_that_takes_over(clock: Clock) -> None:
    cause = planned("redis", "pods_healthy")
    state = State(plan(cause, planned(causes=(Cause("redis", "pods_healthy"),))), clock)
    state.leads = False
    clock.advance(seconds=30)
    broken = recorded(Status.FAILED, clock())
    await state.follow({("redis", "pods_healthy"): broken, KEY: broken}, whole=True)

    def causes() -> list[str]:
        view = state.view(*KEY)
        assert view is not None
        return [named.id for named in view.causes]

    assert causes() == ["redis.pods_healthy"]
    state.lead()
    await state.tick()
    assert causes() == ["redis.pods_healthy"]
    state.leads = False
    await state.follow({("redis", "pods_healthy"): recorded(Status.OK, clock())})
    assert causes() == []


async def test_clocks_that_differ_make_nothing_younger_than_when_it_was_read(following: State, clock: Clock) -> None:
    ahead = clock() + timedelta(hours=1)
    await following.follow({KEY: recorded(Status.OK, ahead)}, whole=True)
    (view,) = following.views()
    assert view.status is Status.UNKNOWN  # nobody knows how old that is
    await following.follow({KEY: recorded(Status.OK, ahead)})
    (view,) = following.views()
    assert (view.status, view.last_run, view.last_ok) == (Status.OK, clock(), clock())
    clock.advance(minutes=3)
    (view,) = following.views()
    assert view.status is Status.UNKNOWN


async def test_results_of_other_settings_are_not_shown(clock: Clock) -> None:
    known = recorded(Status.OK, clock())
    (seen_before,) = known.observations.values()
    state = State(plan(planned()), clock)
    state.leads = False
    other = Observation(seen_before.result, seen_before.at, fingerprint="of another address")
    await state.follow({KEY: Remembered(Status.OK, clock(), clock(), {"": other})}, whole=True)
    (view,) = state.views()
    assert (view.status, view.last_ok) == (Status.UNKNOWN, clock())
