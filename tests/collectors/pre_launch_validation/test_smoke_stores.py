"""Round trips through real PostgreSQL, Redis and NATS, healthy and not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import psycopg
import pytest
from psycopg import sql
from pydantic import ValidationError

from collectors.pre_launch_validation.smoke_tests import SmokeTarget, SmokeTests
from exporter.verdict import Reason, Result, Status
from tests.servers.nats import Nats, cluster
from tests.servers.postgresql import Cluster
from tests.servers.process import LOOPBACK, free_port, wait_until
from tests.servers.redis import Node, Start, replication
from tests.servers.redis import cluster as redis_cluster
from tests.support import Run, sees

pytestmark = pytest.mark.usefixtures("no_noise")

USER, SECRET = "checklist_canary", "canary-of-the-smoke-password"
DATABASE, CACHE, QUEUE = "database_read_write", "cache_read_write", "message_queue_publish_consume"
#: The machine may be busy.
PATIENT = {"timeout": "10s", "max_latency": "9s"}


def run(item: str, *, allow_intrusive: bool = True, **options: Any) -> Run:
    """One run of one item with these options of the target."""
    target = {"name": "shop", "allow_intrusive": allow_intrusive, **options}
    return Run(SmokeTests, [item], target=target, secrets=[SECRET])


see = sees(run)


@pytest.mark.verifies("smoke_tests.database_read_write", "unknown")
@pytest.mark.verifies("smoke_tests.cache_read_write", "unknown")
@pytest.mark.verifies("smoke_tests.message_queue_publish_consume", "unknown")
async def test_nothing_is_written_unless_it_is_allowed() -> None:
    # Nothing listens there: a connection would be reported.
    places: dict[str, dict[str, Any]] = {
        DATABASE: {"database": {"dsn": f"host={LOOPBACK} port={free_port()}"}},
        CACHE: {"cache": {"address": f"{LOOPBACK}:{free_port()}"}},
        QUEUE: {"queue": {"address": f"{LOOPBACK}:{free_port()}"}},
    }
    for item, place in places.items():
        forbidden = await see(item, allow_intrusive=False, **place)
        assert forbidden.reason is Reason.NOT_CONFIGURED
        assert "set `allow_intrusive: true` on the target" in forbidden.summary
        assert (await see(item)).reason is Reason.NOT_CONFIGURED
        assert (await see(item, **place)).reason is Reason.UNREACHABLE


@pytest.mark.parametrize(
    "options",
    [
        {"database": {"dsn": f"host=h password='{SECRET}"}},
        {"cache": {"address": "redis"}},
        {"cache": {"address": "redis:6379", "key_prefix": "a b"}},
        {"queue": {"address": "nats:4222", "replicas": 0}},
    ],
)
def test_wrong_options_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        SmokeTarget.model_validate_json(json.dumps({"name": "shop", **options}))
    assert SECRET not in str(caught.value)


# PostgreSQL


@pytest.fixture
def database(pair: Cluster) -> Iterator[Cluster]:
    """The primary with the role that `rights` create, and its standby."""
    lines = [line.strip() for line in SmokeTests.rights.splitlines() if line.startswith("  ") and line.endswith(";")]
    with pair.primary.connect("orders") as connection:
        connection.execute("".join(lines).replace("PASSWORD 'PASSWORD'", f"PASSWORD '{SECRET}'").encode())
        pair.caught_up()  # else the standby does not know the role yet
        yield pair
        connection.execute(f"DROP SCHEMA IF EXISTS checklist CASCADE; DROP ROLE {USER}".encode())


def through(*instances: Any, **options: Any) -> dict[str, Any]:
    """The options of a database of these instances."""
    first, *others = instances
    return {"database": {"dsn": first.dsn(*others, user=USER, password=SECRET), **PATIENT, **options}}


@pytest.mark.verifies("smoke_tests.database_read_write", "ok")
async def test_a_row_is_committed_and_replicated(database: Cluster) -> None:
    for _ in range(2):
        result = await see(DATABASE, **through(database.standby, database.primary))
        assert result.status is Status.OK, result
        assert "1 standby" in result.summary
        assert result.measurements["seconds"] > 0
    rows = database.primary.query("SELECT name FROM checklist.canary", "orders")
    assert rows == [("production/shop",)]


@pytest.mark.verifies("smoke_tests.database_read_write", "failed")
async def test_databases_that_answer_but_take_no_writes(database: Cluster) -> None:
    primary, standby = database.primary, database.standby
    assert (await see(DATABASE, **through(primary))).status is Status.OK
    alone = await see(DATABASE, **through(standby))
    assert alone.status is Status.FAILED
    assert "is a standby, which takes no writes" in alone.summary
    with primary.setting(default_transaction_read_only="on"):
        wait_until(lambda: primary.query("SHOW default_transaction_read_only") == [("on",)], "the setting")
        stopped = await see(DATABASE, **through(primary))
        assert stopped.status is Status.FAILED
        assert "takes no writes: cannot execute" in stopped.summary
        with primary.connect() as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")
        wait_until(lambda: primary.query("SHOW default_transaction_read_only") == [("off",)], "the setting to go")


async def test_a_commit_that_waits_for_a_standby_that_is_gone_is_none(database: Cluster) -> None:
    with database.primary.setting(synchronous_standby_names="nobody"):
        result = await see(DATABASE, **through(database.primary, timeout="1s"))
    assert result.status is Status.FAILED, result
    assert result.summary.endswith("answers, but did not commit a row within 1s.")


async def test_a_standby_that_lags(database: Cluster) -> None:
    database.caught_up()
    database.standby.query("SELECT pg_wal_replay_pause()")
    try:
        result = await see(DATABASE, **through(database.primary, database.standby, max_lag="300ms"))
    finally:
        database.standby.query("SELECT pg_wal_replay_resume()")
    assert result.status is Status.FAILED
    assert "does not have a row 300ms after it was committed" in result.summary


async def test_missing_rights_and_tables_say_nothing_of_the_database(database: Cluster) -> None:
    primary = database.primary
    wrong: dict[str, Any] = {"database": {"dsn": primary.dsn(user=USER, password="wrong-" + SECRET[::-1]), **PATIENT}}
    assert (await see(DATABASE, **wrong)).reason is Reason.DENIED
    primary.query(f"REVOKE INSERT ON checklist.canary FROM {USER}", "orders")
    denied = await see(DATABASE, **through(primary))
    assert (denied.status, denied.reason) == (Status.UNKNOWN, Reason.DENIED)
    primary.query("DROP TABLE checklist.canary", "orders")
    absent = await see(DATABASE, **through(primary))
    assert (absent.status, absent.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    assert (await see(DATABASE, **through(primary, timeout="1ms"))).status is Status.UNKNOWN


async def test_tables_and_commits_that_are_not_like_those_of_applications(database: Cluster) -> None:
    primary = database.primary

    async def after(change: str, undone: str) -> Result:
        primary.query(change, "orders")
        try:
            return await see(DATABASE, **through(primary))
        finally:
            primary.query(undone, "orders")

    table = "ALTER TABLE checklist.canary SET"
    unlogged = await after(f"{table} UNLOGGED", f"{table} LOGGED")
    assert (unlogged.status, unlogged.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED)
    role = f"ALTER ROLE {USER}"
    hasty = await after(f"{role} SET synchronous_commit = off", f"{role} RESET synchronous_commit")
    assert (hasty.status, "synchronous_commit is off for the role" in hasty.summary) == (Status.UNKNOWN, True)
    with primary.setting(synchronous_commit="off"):  # for the applications too
        wait_until(lambda: primary.query("SHOW synchronous_commit") == [("off",)], "the setting")
        assert (await see(DATABASE, **through(primary))).status is Status.OK
    limit = "ALTER DATABASE orders CONNECTION LIMIT"
    full = await after(f"{limit} 0", f"{limit} -1")
    assert (full.status, full.reason) == (Status.FAILED, Reason.LIMIT)
    await after(
        "ALTER TABLE checklist.canary RENAME TO other",
        f"CREATE VIEW checklist.canary AS TABLE checklist.other; GRANT ALL ON checklist.canary TO {USER}",
    )
    view = await see(DATABASE, **through(primary))
    assert (view.status, "is no ordinary table, but a view" in view.summary) == (Status.UNKNOWN, True)


async def test_the_role_can_do_nothing_else(database: Cluster) -> None:
    dsn = database.primary.dsn(user=USER, password=SECRET)
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(sql.SQL("CREATE TABLE checklist.other ()"))


# Redis


def cached(node: Node, **options: Any) -> dict[str, Any]:
    """The options of a cache."""
    return {"cache": {"address": node.address, **PATIENT, **options}}


@pytest.mark.verifies("smoke_tests.cache_read_write", "ok")
@pytest.mark.verifies("smoke_tests.cache_read_write", "failed")
async def test_caches_that_answer_but_take_no_writes(start_redis: Start) -> None:
    node = start_redis("--save", "")
    acl = next(line for line in SmokeTests.rights.splitlines() if "resetkeys" in line)
    node.command(*acl.replace(">PASSWORD", f">{SECRET}").split())
    login = {"username": USER, "password": SECRET}
    good = await see(CACHE, **cached(node, **login))
    assert good.status is Status.OK, good
    assert node.command("DBSIZE") == 0

    foreign = await see(CACHE, **cached(node, **login, key_prefix="sessions:"))
    assert (foreign.status, foreign.reason) == (Status.UNKNOWN, Reason.DENIED)
    node.command("ACL", "SETUSER", USER, "-cluster|slots")
    alone = await see(CACHE, **cached(node, **login))
    assert (alone.status, alone.reason) == (Status.UNKNOWN, Reason.DENIED)
    node.command("ACL", "SETUSER", USER, "+cluster|slots")

    node.command("CONFIG", "SET", "maxmemory", "1")
    full = await see(CACHE, **cached(node, **login))
    assert (full.status, full.reason) == (Status.FAILED, Reason.LIMIT)
    assert "(OOM)" in full.summary
    node.command("CONFIG", "SET", "maxmemory", "0")

    node.command("CONFIG", "SET", "min-replicas-to-write", "1")
    lonely = await see(CACHE, **cached(node, **login))
    assert lonely.status is Status.FAILED
    assert "(NOREPLICAS)" in lonely.summary
    node.command("CONFIG", "SET", "min-replicas-to-write", "0")

    node.command("CLIENT", "PAUSE", "60000", "WRITE")  # as during a failover
    paused = await see(CACHE, **cached(node, timeout="1s"))
    assert (paused.status, paused.reason) == (Status.FAILED, Reason.TIMEOUT)
    assert paused.summary.endswith("answers, but did not take a key within 1s.")
    node.command("CLIENT", "UNPAUSE")
    assert (await see(CACHE, **cached(node))).status is Status.OK


async def test_a_replica_takes_no_writes(tmp_path: Path) -> None:
    with replication(tmp_path) as (master, replica):
        assert (await see(CACHE, **cached(master))).status is Status.OK
        result = await see(CACHE, **cached(replica))
    assert result.status is Status.FAILED
    assert result.summary == f"{replica.address} is a replica, which takes no writes."


async def test_every_master_of_a_cluster_is_tried(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=0) as nodes:
        result = await see(CACHE, **cached(nodes[0]))
        assert result.status is Status.OK, result
        nodes[1].command("CONFIG", "SET", "maxmemory", "1")
        seen = [await see(CACHE, **cached(nodes[0])) for _ in range(3)]
    assert all(one.status is Status.FAILED and nodes[1].address in one.summary for one in seen), seen


# NATS


@pytest.mark.verifies("smoke_tests.message_queue_publish_consume", "ok")
async def test_one_server_with_one_copy(tmp_path: Path) -> None:
    with Nats(tmp_path) as server:
        address = f"{LOOPBACK}:{server.port}"
        three = await see(QUEUE, queue={"address": address, **PATIENT})
        assert (three.status, three.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED)
        assert "set `replicas: 1`" in three.summary
        for _ in range(2):
            one = await see(QUEUE, queue={"address": address, "replicas": 1, **PATIENT})
            assert one.status is Status.OK, one
            assert "1 copy" in one.summary
        fewer = await see(QUEUE, queue={"address": address, "replicas": 2, **PATIENT})
        assert (fewer.status, fewer.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED)
    with Nats(tmp_path, name="core", jetstream=None) as server:
        off = await see(QUEUE, queue={"address": f"{LOOPBACK}:{server.port}", **PATIENT})
        assert off.status is Status.FAILED, off


async def test_streams_that_prove_nothing(tmp_path: Path) -> None:
    with Nats(tmp_path) as server:
        async with await nats.connect(server.url) as client:
            streams = client.jetstream()
            useless: dict[str, dict[str, Any]] = {
                "ALL": {"subjects": ["CHECKLIST.>"]},
                "CHECKLIST": {"subjects": ["CHECKLIST.canary"], "storage": "memory"},
            }
            for name, config in useless.items():
                await streams.add_stream(name=name, **config)
                result = await see(QUEUE, queue={"address": f"{LOOPBACK}:{server.port}", "replicas": 1, **PATIENT})
                assert (result.status, result.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED), result
                await streams.delete_stream(name)


@pytest.mark.verifies("smoke_tests.message_queue_publish_consume", "failed")
async def test_a_cluster_without_quorum_still_lets_clients_in(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        options = {"address": f"{LOOPBACK}:{nodes[0].port}", **PATIENT}
        result = await see(QUEUE, queue=options)
        assert result.status is Status.OK, result
        assert "3 copies" in result.summary
        for node in nodes[1:]:
            node.kill()
        wait_until(lambda: leaderless(nodes[0]), "the last server to notice", 60)
        lost = await see(QUEUE, queue={**options, "timeout": "3s"})
        assert lost.status is Status.FAILED, lost


def leaderless(node: Nats) -> bool:
    """Whether the server knows that JetStream has no leader."""
    return not node.monitor("jsz").get("meta_cluster", {}).get("leader")
