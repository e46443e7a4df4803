"""Who could take over, and what members keep for each other: Patroni on etcd, slots of standbys, slots that survive a failover."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exporter.verdict import Result, Status
from tests.collectors.evidence import attested
from tests.collectors.infrastructure.test_postgresql import see
from tests.collectors.infrastructure.test_postgresql_states import told, waiting_commit, write
from tests.servers.patroni import Etcd, Member, Patroni
from tests.servers.postgresql import Cluster, Postgres, cluster, create_monitor, postgresql_15, postgresql_18
from tests.servers.process import LOOPBACK, eventually, scratch, unprivileged, wait_until
from tests.support import until

DECODED = ("--slot=cdc", "--start", "-f", "-", "-s", "1")
MESSAGE = "SELECT pg_logical_emit_message(true, 'test', 'x')"
SYNCHRONOUS = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
SYNCED = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'cdc' AND synced AND NOT temporary"


# Patroni on etcd


async def test_who_may_lead_and_where_its_store_is_gone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        directory = stack.enter_context(scratch("patroni", unprivileged()))
        etcd = stack.enter_context(Etcd(directory))
        programs = postgresql_15()
        dcs: dict[str, Any] = {"ttl": 20, "retry_timeout": 3, "failsafe_mode": True}
        one, two = (Member(programs, directory, name, etcd.store, **dcs) for name in ("one", "two"))
        stack.enter_context(one)
        wait_until(lambda: one.status().get("role") == "primary", "the first member to lead", 90)
        stack.enter_context(two)
        patroni = Patroni([one, two])
        wait_until(patroni.following, "the standby to stream under Patroni", 90)
        create_monitor(one.instance)
        evidence = attested(tmp_path, "postgresql.failover_tested")

        async def judged(asked: Member = one) -> Result:
            return await see(one.instance.dsn(), "failover_tested", patroni={"url": asked.url}, evidence=evidence)

        told(await until(judged, Status.OK), "ok", "1 standby that could take over")

        two.reload(tags={"failover_priority": 0})
        await eventually(lambda: tags(patroni, "two") == {"failover_priority": 0}, "the tag to be known", 60)
        told(await judged(), "failed", "two is kept from it by its tags (nofailover, or failover_priority 0)")

        two.reload(watchdog={"mode": "required", "device": "/dev/no-such-watchdog"})
        await eventually(lambda: not tags(patroni, "two") and two.status().get("watchdog_failed"), "the watchdog", 60)
        told(await until(judged, Status.FAILED), "failed", "two requires a watchdog and has none that works")
        two.reload()
        await eventually(lambda: not two.status().get("watchdog_failed"), "the usual configuration", 60)

        patroni.configure(
            synchronous_mode="quorum", primary_start_timeout="1h"
        )  # Patroni takes no unit here: it is 5 minutes
        await eventually(lambda: roles(patroni).get("two") == "quorum_standby", "the quorum's standby", 60)
        told(await until(judged, Status.OK), "ok", "1 standby that could take over")

        standby = {"host": LOOPBACK, "port": one.instance.port}
        other = stack.enter_context(
            Member(programs, directory, "three", etcd.store, scope="dr", standby_cluster=standby)
        )
        wait_until(lambda: Patroni([other]).cluster()["members"][0]["role"] == "standby_leader", "its leader", 90)
        wait_until(lambda: other.status().get("state") == "running", "the standby leader to run", 90)
        told(
            await until(partial(judged, other), Status.UNKNOWN),
            "unknown",
            "Patroni runs a standby cluster here, with standby leader three: whether the cluster that it follows would fail over",
        )

        etcd.stop()
        await eventually(lambda: one.status().get("failsafe_mode_is_active"), "the failsafe mode", 90)
        assert one.instance.query("SELECT pg_is_in_recovery()") == [(False,)]  # it leads on, as it reaches all members
        result = await until(judged, Status.FAILED)
        assert "Patroni is in failsafe mode" in result.summary or "last reached its consensus store" in result.summary


def roles(patroni: Patroni) -> dict[str, str]:
    return {member["name"]: member["role"] for member in patroni.cluster()["members"]}


def tags(patroni: Patroni, name: str) -> dict[str, Any]:
    """The tags of a member, as the others see them."""
    return dict(next(member for member in patroni.cluster()["members"] if member["name"] == name).get("tags", {}))


# Slots


@pytest.fixture(scope="module")
def decoding() -> Iterator[Cluster]:
    """A primary and its standby that logical subscribers can use; whoever changes one puts it back."""
    with cluster(postgresql_18(), wal_level="logical") as pair:
        yield pair


@contextmanager
def slot_of(instance: Postgres, create: str, name: str) -> Iterator[None]:
    """A replication slot, for as long as it lasts."""
    instance.query(f"SELECT {create}", "orders")
    try:
        yield
    finally:
        drop = f"SELECT pg_drop_replication_slot('{name}')"
        wait_until(lambda: instance.query(drop), "the slot to be no longer in use", 60)


@contextmanager
def receiving(instance: Postgres, program: str, name: str, *arguments: str) -> Iterator[None]:
    """A program of PostgreSQL that receives WAL under this name."""
    to = f"host={LOOPBACK} port={instance.port} user=postgres dbname=orders application_name={name}"
    argv = [str(instance.programs.folder / program), "-d", to, *arguments]
    environment = {**os.environ, **instance.programs.env}
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as receiver:
        try:
            streams = f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'"
            wait_until(lambda: instance.query(streams), f"{program} to stream", 60)
            yield
        finally:
            receiver.send_signal(signal.SIGKILL)


async def test_a_slot_of_a_standby_that_nobody_uses(decoding: Cluster) -> None:
    standby = decoding.standby
    kept = "SELECT 1 FROM pg_replication_slots WHERE NOT active AND pg_last_wal_receive_lsn() - restart_lsn > {}"
    with slot_of(standby, "pg_create_physical_replication_slot('leaf', true)", "leaf"):
        await until(partial(see, decoding.dsn, "replication_operational"), Status.OK)
        for size, status, limit in ((3 * 10**6, "warning", ""), (40 * 10**6, "failed", " (limit 33.6 MB)")):
            write(decoding.primary, size)
            decoding.caught_up()
            assert standby.query(kept.format(size))
            look = partial(see, decoding.dsn, "replication_operational", max_lag_bytes="2MiB")
            result = await until(look, Status(status))
            told(result, status, f"slot leaf of standby {LOOPBACK}:{standby.port}/orders is not active and keeps ")
            assert f"MB of WAL{limit}." in result.summary


async def test_a_logical_slot_that_no_standby_copies(decoding: Cluster) -> None:
    primary, standby = decoding.primary, decoding.standby
    create = "pg_create_logical_replication_slot('cdc', 'test_decoding', false, false, true)"
    source = f"host={LOOPBACK} port={primary.port} user=postgres application_name=standby"
    with slot_of(primary, create, "cdc"), receiving(primary, "pg_recvlogical", "cdc", *DECODED):
        lacking = "Logical slot cdc is to survive a failover, but no listed standby has a copy of it"
        await until(partial(see, decoding.dsn, "replication_operational"), Status.WARNING, lacking)
        await until(
            partial(see, primary.dsn(), "replication_operational"), Status.OK
        )  # what standbys have is not known
        followed = {
            "sync_replication_slots": "on",
            "hot_standby_feedback": "on",
            "primary_conninfo": f"{source} dbname=orders",
        }
        with standby.setting(**followed):
            wait_until(lambda: primary.query(MESSAGE) and standby.query(SYNCED), "the copy of the slot", 90)
            await until(partial(see, decoding.dsn, "replication_operational"), Status.OK)
    decoding.caught_up()


async def test_a_slot_that_was_idle_for_too_long(decoding: Cluster) -> None:
    primary = decoding.primary
    with slot_of(primary, "pg_create_logical_replication_slot('cdc', 'test_decoding')", "cdc"):
        lost = "SELECT invalidation_reason FROM pg_replication_slots WHERE slot_name = 'cdc'"
        with primary.setting(idle_replication_slot_timeout="1s"):
            wait_until(lambda: (primary.query("CHECKPOINT"), primary.query(lost))[1] == [("idle_timeout",)], "it", 60)
        result = await until(partial(see, decoding.dsn, "replication_operational"), Status.FAILED)
    told(result, "failed", "Replication slot cdc has lost WAL: wal_status is lost (idle_timeout).")


async def test_commits_that_wait_for_what_never_replays(decoding: Cluster, tmp_path: Path) -> None:
    """pg_receivewal stores WAL and confirms it, and applies none of it."""
    primary = decoding.primary
    with receiving(primary, "pg_receivewal", "archive", "--synchronous", "-D", str(tmp_path)):
        for commit, status, words in (
            ("on", "ok", "Commits wait for 1 standby."),
            (
                "remote_apply",
                "failed",
                "but archive replays nothing, and synchronous_commit is remote_apply: every commit waits.",
            ),
        ):
            with primary.setting(synchronous_standby_names="archive", synchronous_commit=commit):
                wait_until(lambda: primary.query(SYNCHRONOUS), "the synchronous standby", 60)
                if commit == "remote_apply":
                    with waiting_commit(primary):
                        pass
                result = await until(partial(see, decoding.dsn, "replication_operational"), Status(status), words)
            told(result, status, words)


async def test_commits_that_wait_for_a_logical_subscriber_alone(decoding: Cluster) -> None:
    primary = decoding.primary
    create = "pg_create_logical_replication_slot('cdc', 'test_decoding')"
    with (
        slot_of(primary, create, "cdc"),
        receiving(primary, "pg_recvlogical", "subscriber", *DECODED),
        primary.setting(synchronous_standby_names="subscriber"),
    ):
        wait_until(lambda: primary.query(SYNCHRONOUS), "the synchronous standby", 60)
        result = await until(partial(see, decoding.dsn, "replication_operational"), Status.WARNING)
    told(
        result,
        "warning",
        "commits wait for logical subscribers alone, such as subscriber: no standby that could take over",
    )
