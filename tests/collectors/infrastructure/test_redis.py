"""The Redis section against real servers: 7.0 and 6.2, standalone, replicated, with Sentinels and as a cluster, in TLS."""

import json
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from collectors.infrastructure.redis import Redis, RedisTarget
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from exporter.collector import Context
from exporter.runner import utc_now
from exporter.verdict import Result, Status
from tests.servers.certificates import Issued
from tests.servers.exporters import Exporter, redis_exporter
from tests.servers.faults import refused
from tests.servers.process import LOOPBACK, eventually, free_port, wait_until
from tests.servers.prometheus import Prometheus, scrape
from tests.servers.redis import (
    HEALTHY,
    NEW,
    OLD,
    PASSWORD,
    VALKEY,
    Files,
    Guarded,
    Node,
    Start,
    cluster,
    guarded,
    replication,
    tls_files,
)
from tests.support import Clock, Run, context_of, looks, make_context, sees

pytestmark = pytest.mark.usefixtures("no_noise")

ALL = tuple(Redis.items())
#: Of one look at a healthy standalone Redis in plaintext.
BY_INFO = {"pods_healthy", "persistence_configured", "eviction_policy_set", "connection_pool_optimized"}


def run(*nodes: Node, context: Context | None = None, items: Sequence[str] = ALL, **options: Any) -> Run:
    """One run of the items on these nodes, with these options of the target; a busy machine gets its time."""
    addresses = [node.address for node in nodes]
    patient = {"node_timeout": "15s", "max_detection": "10m"}  # as the machine may be busy
    target = {"name": "cache", "data_volume": "/tmp", "nodes": addresses, **patient, **options}
    return Run(Redis, items, target=target, context=context, secrets=[PASSWORD])


def run_item(item: str, *nodes: Node, **options: Any) -> Run:
    """One run of one item."""
    return run(*nodes, items=[item], **options)


look, see = looks(run), sees(run_item)


async def see_twice(*nodes: Node, items: Sequence[str] = ALL, **options: Any) -> dict[str, Result]:
    """What the second of two runs sees, a minute later."""
    clock = Clock(utc_now())
    context = make_context(now=clock)
    await look(*nodes, context=context, items=items, **options)
    clock.advance(seconds=60)
    return await look(*nodes, context=context, items=items, **options)


def trusting(files: Files, **options: str) -> dict[str, Any]:
    """Options of a target that speaks TLS; nothing listens on the plaintext port."""
    return {"tls": {"ca_file": str(files.ca), **options}, "plaintext_port": free_port()}


# Pods


@pytest.mark.verifies("redis.pods_healthy", "ok")
async def test_a_standalone_redis_is_healthy(any_redis: Node, no_leftovers: None) -> None:
    result = await see("pods_healthy", any_redis)
    assert result.status is Status.OK
    assert result.summary == (
        f"{any_redis.address} answers PING with the data loaded and replication up, protocol check only; pods not checked."
    )
    assert result.measurements == {"nodes_answering": 1, "replication_lag_bytes": 0}


async def test_a_master_and_its_replica_are_healthy(redis_replication: Sequence[Node]) -> None:
    result = await see("pods_healthy", *redis_replication, mode="replication")
    assert result.status is Status.OK
    assert "All 2 nodes of cache answer PING" in result.summary


@pytest.mark.verifies("redis.pods_healthy", "unknown")
async def test_a_redis_that_refuses_was_not_seen(any_redis: Node) -> None:
    async with refused() as (host, port):
        result = await see("pods_healthy", nodes=[f"{host}:{port}"])
        assert (result.status, result.summary) == (Status.UNKNOWN, f"127.0.0.1:{port} refuses the connection.")


@pytest.mark.verifies("redis.pods_healthy", "failed")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_killed_replica_is_missed_by_its_master(tmp_path: Path, release: str) -> None:
    with replication(tmp_path, release=release) as (master, replica):
        replica.kill()
        wait_until(lambda: not master.command("ROLE")[2], "the master to miss its replica")
        result = await see("pods_healthy", master, replica, mode="replication")
        assert result.status is Status.FAILED
        assert result.summary == (
            f"Master {master.address} has 0 replicas online (wanted 1), and {replica.address} refuses the connection."
        )


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_replica_without_its_master_is_given_its_grace(tmp_path: Path, release: str) -> None:
    with replication(tmp_path, release=release) as (master, replica):
        master.kill()
        wait_until(lambda: replica.info("master_link_status") == "down", "the replica to miss its master")
        wait_until(lambda: replica.info("master_link_down_since_seconds") >= 1, "a second to pass")
        late = await see("pods_healthy", replica, mode="replication", replica_grace="0s")
        assert late.status is Status.FAILED
        assert f"Replica {replica.address} is without its master since" in late.summary
        assert "None of the 1 nodes is master" in late.summary
        early = await see("pods_healthy", master, replica, mode="replication")
        assert early.status is Status.UNKNOWN  # the grace is a warning, but the master was not seen
        assert "refuses the connection" in early.summary


@pytest.mark.verifies("redis.pods_healthy", "warning")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_fresh_replica_reports_its_link_down_during_its_first_sync(tmp_path: Path, release: str) -> None:
    """A trap: it is not broken, and cannot tell since when it waits."""
    slow = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "3600")
    with ExitStack() as stack:
        master = stack.enter_context(Node(tmp_path, *slow, release=release))
        replica = Node(tmp_path, "--replicaof", LOOPBACK, str(master.port), release=release)
        with replica:
            wait_until(
                lambda: replica.info("master_sync_in_progress") or master.info("connected_slaves"), "the sync to begin"
            )
            assert replica.info("master_link_status") == "down"
            assert replica.info("master_link_down_since_seconds") == -1
            clock = Clock(utc_now())
            options = {"context": make_context(now=clock), "mode": "replication", "min_replicas": 0}
            first = await see("pods_healthy", master, replica, **options)
            assert first.status is Status.WARNING
            assert first.summary == f"Replica {replica.address} is in its first sync since 0s (grace 1m)."
            clock.advance(seconds=61)
            second = await see("pods_healthy", master, replica, **options)
            assert second.status is Status.FAILED
            assert second.summary == f"Replica {replica.address} is without its master since 1m1s (grace 1m)."


async def test_two_masters_are_a_split_brain(tmp_path: Path) -> None:
    with Node(tmp_path) as one, Node(tmp_path) as other:
        result = await see("pods_healthy", one, other, mode="replication")
        assert result.status is Status.FAILED
        assert f"{one.address} and {other.address} all are masters, where one was wanted" in result.summary


async def test_two_addresses_of_one_redis_are_no_split_brain(redis_replication: Sequence[Node]) -> None:
    master, _ = redis_replication
    again = f"localhost:{master.port}"
    result = await see("pods_healthy", nodes=[node.address for node in redis_replication] + [again], mode="replication")
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        f"{again} and another node lead to the same Redis: name each node's own address.",
    )


async def test_a_replica_of_another_master_is_no_replica_of_ours(tmp_path: Path) -> None:
    with Node(tmp_path) as ours, replication(tmp_path) as (_, stray):
        result = await see("pods_healthy", ours, stray, mode="replication", min_replicas=0)
        assert result.status is Status.FAILED
        assert result.summary == f"Replica {stray.address} follows another master than {ours.address}."


async def test_a_redis_that_loads_its_data_is_not_healthy(start_redis: Start) -> None:
    slow = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024", "--save", "3600", "1")
    node = start_redis(*slow, "--enable-debug-command", "local")
    node.command("DEBUG", "POPULATE", 2000)
    node.command("SAVE")
    node.kill()
    node.start()
    seen = await look(node)
    assert seen["pods_healthy"].status is Status.FAILED
    assert seen["pods_healthy"].summary == f"{node.address} is still loading its data from disk."


async def test_a_cluster_is_healthy_on_every_node(redis_cluster: Sequence[Node]) -> None:
    result = await see("pods_healthy", redis_cluster[0], mode="cluster")
    assert result.status is Status.OK
    assert "All 6 nodes of cache answer PING" in result.summary
    assert result.measurements["nodes_answering"] == 6


# Persistence


@pytest.mark.verifies("redis.persistence_configured", "ok")
async def test_both_ways_of_persistence(any_redis: Node) -> None:
    any_redis.write_and_save()
    result = await see("persistence_configured", any_redis, data_volume=str(any_redis.data.parent))
    assert result.status is Status.OK
    assert result.summary == (
        "All nodes of cache persist (aof+rdb), and their last writes went well; whether the configuration file that the next "
        "start reads has the same settings was not checked."
    )


@pytest.mark.verifies("redis.persistence_configured", "failed")
@pytest.mark.parametrize(
    ("options", "wanted", "told"),
    [
        (("--appendonly", "no", "--save", "3600", "1"), "aof+rdb", "writes no append-only file: appendonly is no."),
        (("--appendonly", "yes", "--save", ""), "aof+rdb", "writes no snapshots: save is empty."),
        (("--appendonly", "no", "--save", "3600", "1"), "rdb", ""),
        (("--appendonly", "yes", "--save", ""), "aof", ""),
    ],
)
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_one_way_of_persistence(
    start_redis: Start, release: str, options: tuple[str, ...], wanted: str, told: str
) -> None:
    node = start_redis(*options, release=release)
    node.write_and_save()
    result = await see("persistence_configured", node, persistence=wanted)
    assert result.status is (Status.FAILED if told else Status.OK)
    assert told in result.summary


@pytest.mark.verifies("redis.persistence_configured", "warning")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_fresh_start_reports_a_snapshot_that_never_was(start_redis: Start, release: str) -> None:
    """A trap: rdb_last_bgsave_status is ok, and rdb_last_save_time is the time of the start."""
    node = start_redis(*HEALTHY, release=release)
    assert node.info("rdb_last_bgsave_status") == "ok"
    assert node.info("rdb_last_save_time") > 0
    fresh = await see("persistence_configured", node)
    assert fresh.status is Status.WARNING
    assert "is set to write snapshots (save 3600 1), but has written none since its start" in fresh.summary
    node.command("BGSAVE")
    wait_until(lambda: node.info("rdb_last_bgsave_time_sec") >= 0, "the snapshot")
    assert (await see("persistence_configured", node)).status is Status.OK


async def test_a_snapshot_that_went_wrong(start_redis: Start) -> None:
    node = start_redis(*HEALTHY)
    shutil.rmtree(node.data)
    node.command("BGSAVE")
    wait_until(lambda: node.info("rdb_last_bgsave_status") == "err", "the snapshot to fail")
    result = await see("persistence_configured", node)
    assert result.status is Status.FAILED
    assert f"The last snapshot of {node.address} went wrong (rdb_last_bgsave_status is err)." in result.summary


async def test_an_append_only_file_that_cannot_be_written(start_redis: Start) -> None:
    node = start_redis(*HEALTHY, "--appendfilename", "full.aof", release=OLD)
    node.stop()
    (node.data / "full.aof").unlink()
    (node.data / "full.aof").symlink_to("/dev/full")
    node.start()
    node.command("SET", "checklist:canary", "1")  # 6.2 with appendfsync everysec goes on, and says so
    wait_until(lambda: node.info("aof_last_write_status") == "err", "writing to fail")
    result = await see("persistence_configured", node, persistence="aof")
    assert result.status is Status.FAILED
    assert f"The last write of the append-only file on {node.address} went wrong" in result.summary


async def test_a_data_folder_that_does_not_last(any_redis: Node) -> None:
    temporary = await see("persistence_configured", any_redis, data_volume=None)
    assert temporary.status is Status.FAILED
    assert "which does not outlive the machine or container" in temporary.summary
    elsewhere = await see("persistence_configured", any_redis, data_volume="/data")
    assert elsewhere.status is Status.FAILED
    assert "which is not on the volume /data" in elsewhere.summary


@pytest.mark.verifies("redis.persistence_configured", "unknown")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_what_a_renamed_config_hides_is_unknown(start_redis: Start, release: str) -> None:
    node = start_redis(*HEALTHY, "--rename-command", "CONFIG", "", release=release)
    node.write_and_save()
    seen = await see_twice(node)
    assert seen["persistence_configured"].status is Status.UNKNOWN
    assert f"{node.address} refuses CONFIG GET: " in seen["persistence_configured"].summary
    assert {name for name in BY_INFO if seen[name].status is Status.OK} == BY_INFO - {"persistence_configured"}


# Memory


@pytest.mark.verifies("redis.eviction_policy_set", "ok")
async def test_the_wanted_policy_with_a_maxmemory(any_redis: Node) -> None:
    result = await see("eviction_policy_set", any_redis, container_memory="128Mi")
    assert result.status is Status.OK
    assert 0 < result.measurements["memory_used_ratio"] < 0.9


@pytest.mark.verifies("redis.eviction_policy_set", "failed")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_policy_without_maxmemory_never_acts(start_redis: Start, release: str) -> None:
    """A trap: maxmemory-policy reads allkeys-lru, and evicts nothing."""
    node = start_redis("--maxmemory-policy", "allkeys-lru", release=release)
    result = await see("eviction_policy_set", node)
    assert result.status is Status.FAILED
    assert f"maxmemory of {node.address} is 0, so allkeys-lru never evicts anything" in result.summary
    assert result.measurements == {}


async def test_another_policy_or_too_much_memory(start_redis: Start) -> None:
    node = start_redis("--maxmemory", "100mb", "--maxmemory-policy", "noeviction")
    wrong = await see("eviction_policy_set", node)
    assert wrong.status is Status.FAILED
    assert wrong.summary == f"maxmemory-policy of {node.address} is noeviction (wanted allkeys-lru)."
    assert (await see("eviction_policy_set", node, eviction_policy="noeviction")).status is Status.OK
    large = await see("eviction_policy_set", node, eviction_policy="noeviction", container_memory="128MiB")
    assert large.status is Status.FAILED
    assert f"maxmemory of {node.address} is 105 MB of the 134 MB available (limit 75%)" in large.summary


def fill(node: Node, size: int) -> None:
    """Write until the node takes no more, or so many bytes are written."""
    with node.client() as client, suppress(redis.OutOfMemoryError):
        for number in range(size // 8192):
            client.set(f"checklist:{number}", "x" * 8192)


def refuses_writes(node: Node) -> str:
    """The error that a write is refused with; empty when it is taken."""
    try:
        node.command("SET", "checklist:canary", "x" * 8192)
    except redis.RedisError as error:
        return str(error)
    return ""


@pytest.mark.verifies("redis.eviction_policy_set", "warning")
async def test_memory_that_is_nearly_used_up(start_redis: Start) -> None:
    node = start_redis("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    fill(node, 1_500_000)
    assert not refuses_writes(node)
    result = await see("eviction_policy_set", node, eviction_policy="noeviction", memory_warn=0.8)
    assert result.status is Status.WARNING
    assert "of its maxmemory 3.15 MB (limit 80%), and its policy is noeviction." in result.summary


@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_a_cache_that_is_full_evicts_as_designed(start_redis: Start, release: str) -> None:
    node = start_redis("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru", release=release)
    fill(node, 6_000_000)
    assert node.info("evicted_keys") > 0
    assert not refuses_writes(node)
    assert (await see("eviction_policy_set", node)).status is Status.OK


@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_a_maxmemory_without_its_unit_refuses_every_write(start_redis: Start, release: str) -> None:
    node = start_redis("--maxmemory", "512", "--maxmemory-policy", "allkeys-lru", release=release)
    assert "OOM" in refuses_writes(node) or "maxmemory" in refuses_writes(node)
    result = await see("eviction_policy_set", node)
    assert result.status is Status.FAILED
    assert result.summary == (
        f"maxmemory of {node.address} is 512 B, less than Redis takes without any data: every write is refused. "
        "Is a unit missing?"
    )


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_memory_that_is_used_up_with_nothing_to_evict(start_redis: Start, release: str, policy: str) -> None:
    """No key expires, so that volatile-lru acts as noeviction does."""
    node = start_redis("--maxmemory", "3mb", "--maxmemory-policy", policy, release=release)
    fill(node, 3_000_000)
    node.command("CONFIG", "SET", "maxmemory", "2500000")
    assert "maxmemory" in refuses_writes(node)
    result = await see("eviction_policy_set", node, eviction_policy=policy)
    assert result.status is Status.FAILED
    because = "its policy is noeviction" if policy == "noeviction" else "volatile-lru finds no key to evict"
    assert f"of its maxmemory 2.5 MB and refuses writes, as {because}." in result.summary


@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_a_maxmemory_without_room_for_any_key(start_redis: Start, release: str) -> None:
    node = start_redis("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", release=release)
    node.command("CONFIG", "SET", "maxmemory", node.info("used_memory") - 1)
    assert "maxmemory" in refuses_writes(node)
    node.command("CONFIG", "SET", "maxmemory", node.info("used_memory") + 20_000)
    assert node.command("DBSIZE") == 0
    result = await see("eviction_policy_set", node)
    assert (result.status, "without holding a key, so that there is no room for any" in result.summary) == (
        Status.FAILED,
        True,
    ), result.summary


@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_writes_that_were_refused_for_lack_of_memory(start_redis: Start, release: str) -> None:
    """What is used stays below maxmemory, as what does not fit is not stored."""
    node = start_redis("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru", release=release)
    fill(node, 1_000_000)
    options: dict[str, Any] = {
        "eviction_policy": "volatile-lru",
        "context": make_context(now=(clock := Clock(utc_now()))),
    }
    assert (await see("eviction_policy_set", node, **options)).status is Status.WARNING, "no key expires"
    node.command("CONFIG", "SET", "maxmemory", node.info("used_memory") + 100_000)
    fill(node, 1_000_000_000)
    clock.advance(seconds=60)
    result = await see("eviction_policy_set", node, **options)
    assert result.status is Status.FAILED
    assert f"{node.address} refused 1 command within 1m, as its maxmemory" in result.summary


async def test_a_value_that_is_larger_than_a_cache(start_redis: Start) -> None:
    # Where evicting takes longer than half a millisecond Redis would first take the value, and go on evicting then.
    patient = ("--maxmemory-eviction-tenacity", "100")
    node = start_redis("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru", *patient)
    context = make_context(now=(clock := Clock(utc_now())))
    fill(node, 3_000_000)
    assert (await see("eviction_policy_set", node, context=context)).status is Status.OK
    with pytest.raises(redis.OutOfMemoryError):
        node.command("SET", "large", "x" * 4_000_000)
    fill(node, 3_000_000)
    clock.advance(seconds=60)
    result = await see("eviction_policy_set", node, context=context)
    assert (result.status, "had no room even without other keys" in result.summary) == (Status.WARNING, True), result


# Metrics


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Exporter, Prometheus]]:
    """A Redis with a password, its exporter, and the Prometheus that scrapes it."""
    folder = tmp_path_factory.mktemp("scraped")
    with ExitStack() as stack:
        node = stack.enter_context(Node(folder, "--requirepass", PASSWORD, password=PASSWORD))
        exporter = stack.enter_context(redis_exporter(folder, f"redis://{node.address}", password=PASSWORD))
        server = stack.enter_context(Prometheus(folder, scrapes=[scrape("redis", exporter.port)]))
        server.wait_for("redis_up == 1")
        yield node, exporter, server


@pytest.mark.verifies("redis.metrics_collected", "ok")
async def test_metrics_arrive(scraped: tuple[Node, Exporter, Prometheus]) -> None:
    node, exporter, server = scraped
    async with context_of({PrometheusClient: server.url}) as context:
        result = await see("metrics_collected", node, password=PASSWORD, context=context)
        assert result.status is Status.OK
        assert f"Prometheus scrapes 127.0.0.1:{exporter.port}, redis_up is 1" in result.summary


async def test_one_exporter_for_two_nodes(
    scraped: tuple[Node, Exporter, Prometheus], redis_replication: Sequence[Node]
) -> None:
    async with context_of({PrometheusClient: scraped[2].url}) as context:
        result = await see("metrics_collected", *redis_replication, mode="replication", context=context)
        assert result.status is Status.FAILED
        assert "Prometheus scrapes 1 exporters" in result.summary
        assert "(wanted 2)" in result.summary


@pytest.mark.verifies("redis.metrics_collected", "failed")
async def test_an_exporter_that_is_up_while_it_cannot_reach_its_redis(
    scraped: tuple[Node, Exporter, Prometheus],
) -> None:
    """A trap: up is 1."""
    node, _, server = scraped
    node.stop()
    try:
        server.wait_for("redis_up == 0 and on() up{job='redis'} == 1")
        async with context_of({PrometheusClient: server.url}) as context:
            result = await see("metrics_collected", node, password=PASSWORD, context=context)
    finally:
        node.start()
        server.wait_for("redis_up == 1")
    assert result.status is Status.FAILED
    assert "which cannot reach the server: redis_up is not 1" in result.summary


@pytest.mark.verifies("redis.metrics_collected", "unknown")
async def test_metrics_without_a_prometheus(any_redis: Node) -> None:
    result = await see("metrics_collected", any_redis)
    assert result.status is Status.UNKNOWN
    assert "clients.prometheus is not configured" in result.summary


# Connections


@pytest.mark.verifies("redis.connection_pool_optimized", "unknown")
@pytest.mark.verifies("redis.connection_pool_optimized", "ok")
async def test_counters_are_compared_between_two_looks(any_redis: Node) -> None:
    clock = Clock(utc_now())
    context = make_context(now=clock)
    first = await see("connection_pool_optimized", any_redis, context=context)
    assert first.status is Status.UNKNOWN
    assert f"{any_redis.address} was checked once since it or this exporter started" in first.summary
    clock.advance(seconds=60)
    second = await see("connection_pool_optimized", any_redis, context=context)
    assert second.status is Status.OK
    assert 0 < second.measurements["clients_used_ratio"] < 0.1


async def test_a_restart_between_two_looks_starts_over(start_redis: Start) -> None:
    node, clock = start_redis(), Clock(utc_now())
    context = make_context(now=clock)
    for restarted in (False, True):
        if restarted:
            node.kill()
            node.start()
        clock.advance(seconds=60)
        assert (await see("connection_pool_optimized", node, context=context)).status is Status.UNKNOWN
    clock.advance(seconds=60)
    assert (await see("connection_pool_optimized", node, context=context)).status is Status.OK


@pytest.mark.verifies("redis.connection_pool_optimized", "failed")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_connections_that_were_rejected(start_redis: Start, release: str) -> None:
    node, clock = start_redis("--maxclients", "3", release=release), Clock(utc_now())
    context = make_context(now=clock)
    assert (await see("connection_pool_optimized", node, context=context)).status is Status.UNKNOWN
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(held(node))
        clock.advance(seconds=60)
        full = await see("connection_pool_optimized", node, context=context)
        assert full.status is Status.FAILED
        assert full.summary == f"{node.address} refuses more clients: maxclients is reached."
    wait_until(lambda: node.info("connected_clients") == 1, "the clients to be gone")
    clock.advance(seconds=60)
    after = await see("connection_pool_optimized", node, context=context)
    assert after.status is Status.FAILED
    assert f"{node.address} rejected " in after.summary
    assert " within 2m: its maxclients 3 is reached." in after.summary


def held(node: Node, *words: str) -> socket.socket:
    """A connection that was let in, kept open; it has sent these words, if any."""

    def let_in() -> socket.socket | None:
        connection = socket.create_connection((LOOPBACK, node.port), timeout=5)
        connection.sendall(b"PING\r\n")
        if connection.recv(64).startswith(b"+PONG"):
            return connection
        connection.close()
        return None

    connection = wait_until(let_in, "a place")
    assert connection is not None
    if words:
        connection.sendall(" ".join(words).encode() + b"\r\n")
    return connection


async def test_nodes_that_are_gone_are_forgotten(redis_replication: Sequence[Node], tmp_path: Path) -> None:
    context = make_context()
    with Node(tmp_path, "--replicaof", LOOPBACK, str(free_port())) as lost:
        for nodes in ([*redis_replication, lost], redis_replication[:1]):
            await look(*nodes, mode="replication", context=context)
            for name in ("traffic", "link_down_since"):
                remembered = {str(address) for address in context.memory[name]}
                assert remembered <= {node.address for node in nodes}
                assert (lost.address in remembered) == (lost in nodes)


async def test_connections_that_come_without_a_pool(start_redis: Start) -> None:
    node, clock = start_redis(), Clock(utc_now())
    context = make_context(now=clock)
    await see("connection_pool_optimized", node, context=context)
    for _ in range(70):
        held(node).close()
    clock.advance(seconds=10)
    result = await see("connection_pool_optimized", node, context=context)
    assert result.status is Status.FAILED
    assert "new connections a second (limit 5): a client has no pool." in result.summary


@pytest.mark.verifies("redis.connection_pool_optimized", "warning")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_clients_near_the_limit_or_blocked(start_redis: Start, release: str) -> None:
    node = start_redis("--maxclients", "7", release=release)
    with held(node), held(node), held(node), held(node), held(node, "BLPOP", "checklist:queue", "30"):
        wait_until(lambda: node.info("blocked_clients") == 1, "the client to be blocked")
        seen = await see_twice(node, items=["connection_pool_optimized"])
        result = seen["connection_pool_optimized"]
        assert result.status is Status.WARNING
        assert "of 7 clients (limit 80%)." in result.summary
        assert f"{node.address} has 1 client in blocking commands (limit 0)." in result.summary


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_pool_that_is_larger_than_declared(start_redis: Start, release: str) -> None:
    node = start_redis(release=release)
    with held(node, "CLIENT", "SETNAME", "orders"), held(node, "CLIENT", "SETNAME", "orders"):
        wait_until(
            lambda: node.command("CLIENT", "LIST", ready=True) and node.info("connected_clients") == 3, "both clients"
        )
        options = {"items": ["connection_pool_optimized"]}
        large = (await see_twice(node, pools={"orders": 1, "stock": 1}, **options))["connection_pool_optimized"]
        assert large.status is Status.FAILED
        assert large.summary == f"Client orders holds 2 connections to {node.address} (limit 1)."
        fine = (await see_twice(node, pools={"orders": 2}, **options))["connection_pool_optimized"]
        assert fine.status is Status.OK


# TLS


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return tls_files(tmp_path)


@pytest.mark.verifies("redis.tls_enabled", "ok")
async def test_verified_tls_that_refuses_plaintext(tmp_path: Path, files: Files, no_leftovers: None) -> None:
    with replication(tmp_path, *HEALTHY, files=files) as nodes:
        result = await see("tls_enabled", *nodes, mode="replication", **trusting(files))
        assert result.status is Status.OK
        assert result.summary == "All nodes of cache speak verified TLS and refuse plaintext."


@pytest.mark.verifies("redis.tls_enabled", "failed")
async def test_plaintext_alone(any_redis: Node, files: Files) -> None:
    unasked = await see("tls_enabled", any_redis)
    assert unasked.status is Status.FAILED
    assert unasked.summary == f"{any_redis.address} accepts unencrypted connections: no `tls`."
    asked = await look(any_redis, **trusting(files), node_timeout="1s")
    assert asked["tls_enabled"].status is Status.FAILED
    assert asked["tls_enabled"].summary == f"{any_redis.address} still answers in plaintext."
    assert asked["pods_healthy"].status is Status.UNKNOWN
    # A Redis without TLS takes a ClientHello for the beginning of a command, and waits for its end.
    assert asked["pods_healthy"].summary == f"{any_redis.address} did not answer within 1s."


@pytest.mark.parametrize("config", [True, False], ids=["told by CONFIG", "told by INFO"])
async def test_plaintext_beside_tls(start_redis: Start, files: Files, config: bool) -> None:
    plain = free_port()
    renamed = () if config else ("--rename-command", "CONFIG", "")
    node = start_redis("--port", str(plain), *renamed, files=files)
    result = await see("tls_enabled", node, **trusting(files))
    assert result.status is Status.FAILED
    assert result.summary == f"127.0.0.1:{plain} still answers in plaintext."


async def test_plaintext_with_a_password_is_still_plaintext(start_redis: Start, files: Files) -> None:
    plain = free_port()
    node = start_redis("--port", str(plain), "--requirepass", PASSWORD, files=files, password=PASSWORD)
    result = await see("tls_enabled", node, password=PASSWORD, **trusting(files))
    assert result.status is Status.FAILED
    assert result.summary == f"127.0.0.1:{plain} still answers in plaintext."


async def test_plaintext_on_the_usual_port_is_found_without_being_told(
    start_redis: Start, any_redis: Node, files: Files
) -> None:
    """A proxy may put TLS before a Redis that also listens as ever."""
    node = start_redis(files=files)
    options = trusting(files) | {"plaintext_port": any_redis.port}
    result = await see("tls_enabled", node, **options)
    assert result.status is Status.FAILED
    assert result.summary == f"{any_redis.address} still answers in plaintext."


@pytest.mark.parametrize(
    ("names", "spoilt", "told"),
    [
        (("cache.example.com",), {}, "IP address mismatch"),
        ((LOOPBACK,), {"days": -0.5, "age": 2}, "certificate has expired"),
    ],
)
async def test_a_certificate_that_is_not_right(
    start_redis: Start, tmp_path: Path, names: tuple[str, ...], spoilt: dict[str, Any], told: str
) -> None:
    files = tls_files(tmp_path, *names, **spoilt)
    seen = await look(start_redis(*HEALTHY, files=files), **trusting(files))
    assert seen["tls_enabled"].status is Status.FAILED
    assert told in seen["tls_enabled"].summary
    others = {result.status for name, result in seen.items() if name in BY_INFO}
    assert others == {Status.UNKNOWN}


async def test_a_certificate_of_another_authority_or_for_a_given_name(start_redis: Start, tmp_path: Path) -> None:
    files = tls_files(tmp_path, "cache.example.com")
    node = start_redis(files=files)
    named = await see("tls_enabled", node, **trusting(files, server_name="cache.example.com"))
    assert named.status is Status.OK
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(Issued.root("Stranger").pem)
    untrusted = await see("tls_enabled", node, **trusting(files, ca_file=str(stranger)))
    assert untrusted.status is Status.FAILED
    assert f"The certificate of {node.address} is not accepted: " in untrusted.summary


@pytest.mark.verifies("redis.tls_enabled", "unknown")
async def test_tls_that_could_not_be_verified(start_redis: Start, files: Files) -> None:
    node = start_redis(files=files)
    options = trusting(files)
    options["tls"]["insecure_skip_verify"] = True
    skipped = await see("tls_enabled", node, **options)
    assert skipped.status is Status.UNKNOWN
    assert skipped.summary == "insecure_skip_verify is set for cache: no certificate was verified."
    node.kill()
    dead = await see("tls_enabled", node, **trusting(files))
    assert (dead.status, dead.summary) == (Status.UNKNOWN, f"{node.address} refuses the connection.")


async def test_a_door_that_neither_opens_nor_closes_is_unknown_unless_redis_says_there_is_none(
    start_redis: Start, files: Files, unanswering: int
) -> None:
    node = start_redis(files=files)
    options = trusting(files) | {"plaintext_port": unanswering, "node_timeout": "2s"}
    assert (await see("tls_enabled", node, **options)).status is Status.OK  # CONFIG: port is 0
    blind = start_redis("--rename-command", "CONFIG", "", files=files)
    result = await see("tls_enabled", blind, **options)
    assert result.status is Status.UNKNOWN
    assert f"127.0.0.1:{unanswering} neither answered a plaintext PING nor refused it within 2s." in result.summary


@pytest.fixture
def unanswering() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


async def test_mutual_tls(start_redis: Start, files: Files) -> None:
    node = start_redis("--tls-auth-clients", "yes", *HEALTHY, files=files)
    us = {"cert_file": str(files.client_cert), "key_file": str(files.client_key)}
    seen = await look(node, **trusting(files, **us))
    assert (seen["tls_enabled"].status, seen["pods_healthy"].status) == (Status.OK, Status.OK)
    nameless = await look(node, **trusting(files))
    assert {nameless["tls_enabled"].status, nameless["pods_healthy"].status} == {Status.UNKNOWN}
    assert f"{node.address} ended the connection before it had answered" in nameless["pods_healthy"].summary


async def test_outdated_protocols_that_are_offered(start_redis: Start, files: Files) -> None:
    node = start_redis("--tls-protocols", "TLSv1.1 TLSv1.2", files=files)
    result = await see("tls_enabled", node, **trusting(files))
    assert result.status is Status.FAILED
    assert result.summary == f"{node.address} also offers TLSv1.1 (wanted TLS 1.2 or later)."


async def test_replication_in_plaintext(tmp_path: Path, files: Files) -> None:
    plain = free_port()
    with Node(tmp_path, "--port", str(plain), files=files) as master:
        more = ("--tls-replication", "no", "--replicaof", LOOPBACK, str(plain))
        with Node(tmp_path, *more, files=files) as replica:
            replica.wait_linked()
            master.command("CONFIG", "SET", "port", "0")
            result = await see("tls_enabled", master, replica, mode="replication", **trusting(files))
            assert result.status is Status.FAILED
            assert result.summary == f"tls-replication of {replica.address} is not yes: its data leaves it unencrypted."


async def test_whether_replication_is_encrypted_is_told_by_config_alone(
    start_redis: Start, tmp_path: Path, files: Files
) -> None:
    blind = ("--rename-command", "CONFIG", "")
    alone = await see("tls_enabled", start_redis(*blind, files=files), **trusting(files))
    assert alone.status is Status.OK
    with replication(tmp_path, *blind, files=files) as nodes:
        replicated = await see("tls_enabled", *nodes, mode="replication", **trusting(files))
        assert replicated.status is Status.UNKNOWN
        assert "refuses CONFIG GET" in replicated.summary


# Sentinel


@pytest.mark.verifies("redis.sentinel_or_cluster_operational", "ok")
async def test_sentinels_that_would_fail_over(redis_guarded: Guarded, no_leftovers: None) -> None:
    seen = await look(mode="sentinel", sentinels=redis_guarded.addresses)
    result = seen["sentinel_or_cluster_operational"]
    assert result.status is Status.OK
    assert result.summary == (
        f"3 Sentinels have a quorum for mymaster, and {redis_guarded.nodes[0].address} is its master."
    )
    assert seen["pods_healthy"].status is Status.OK
    assert "All 2 nodes of cache answer PING" in seen["pods_healthy"].summary


@pytest.mark.verifies("redis.sentinel_or_cluster_operational", "failed")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_sentinel_without_quorum_still_says_ok_in_info(tmp_path: Path, release: str) -> None:
    """A trap: INFO says status=ok while CKQUORUM says NOQUORUM."""
    with guarded(tmp_path, release=release) as found:
        left, *gone = found.sentinels
        for sentinel in gone:
            sentinel.kill()
        wait_until(
            lambda: left.command("SENTINEL CKQUORUM", "mymaster", ready=True) == "an error, but an answer", "NOQUORUM"
        )
        assert left.info("master0")["status"] == "ok"
        seen = await look(mode="sentinel", sentinels=found.addresses)
        result = seen["sentinel_or_cluster_operational"]
        assert result.status is Status.FAILED
        assert f"Sentinel {left.address} says NOQUORUM 1 usable Sentinels." in result.summary
        assert seen["pods_healthy"].status is Status.OK


async def test_a_master_that_died_is_replaced_and_missed(tmp_path: Path) -> None:
    with guarded(tmp_path) as found:
        old, new = found.nodes
        old.kill()
        wait_until(
            lambda: all(
                sentinel.command("SENTINEL GET-MASTER-ADDR-BY-NAME", "mymaster") == (LOOPBACK, new.port)
                and "s_down" in str(sentinel.command("SENTINEL REPLICAS", "mymaster"))
                for sentinel in found.sentinels
            ),
            "the replica to be made master",
        )
        seen = await look(mode="sentinel", sentinels=found.addresses)
        assert seen["pods_healthy"].status is Status.FAILED
        assert f"holds {old.address} for dead." in seen["pods_healthy"].summary
        assert (
            f"Master {new.address} has 0 replicas online (wanted 1), and {old.address} refuses"
            in seen["pods_healthy"].summary
        )
        result = seen["sentinel_or_cluster_operational"]
        assert result.status is Status.FAILED
        assert "sees 0 replicas that could take over (wanted 1)" in result.summary


async def test_sentinels_in_tls(tmp_path: Path, files: Files) -> None:
    with guarded(tmp_path, *HEALTHY, files=files) as found:
        seen = await look(mode="sentinel", sentinels=found.addresses, **trusting(files))
        assert {seen[name].status for name in ("pods_healthy", "tls_enabled", "sentinel_or_cluster_operational")} == {
            Status.OK
        }
        plain = await look(mode="sentinel", sentinels=found.addresses)
        assert {result.status for result in plain.values()} == {Status.UNKNOWN}
        assert "ended the connection before it had answered" in plain["pods_healthy"].summary


async def test_a_node_may_be_named_in_another_way_than_the_sentinels_do(redis_guarded: Guarded) -> None:
    nodes = [f"localhost:{node.port}" for node in redis_guarded.nodes]
    seen = await look(mode="sentinel", sentinels=redis_guarded.addresses, nodes=nodes)
    assert seen["pods_healthy"].status is Status.OK
    assert "All 2 nodes of cache answer PING" in seen["pods_healthy"].summary
    assert seen["sentinel_or_cluster_operational"].status is Status.OK


async def test_too_few_distinct_sentinels(redis_guarded: Guarded) -> None:
    first = redis_guarded.sentinels[0]
    twice = [first.address, f"localhost:{first.port}", first.address]
    few = await see("sentinel_or_cluster_operational", mode="sentinel", sentinels=twice)
    assert few.status is Status.UNKNOWN
    assert few.summary == "`sentinels` leads to 1 distinct Sentinel (wanted 3): name each."
    more = await see(
        "sentinel_or_cluster_operational", mode="sentinel", sentinels=redis_guarded.addresses, min_sentinels=5
    )
    assert more.status is Status.FAILED
    assert "reaches 3 of 3 Sentinels (wanted 5)" in more.summary


async def test_sentinels_that_disagree_or_name_a_replica(tmp_path: Path) -> None:
    with guarded(tmp_path) as found:
        master, replica = found.nodes
        for sentinel, port in zip(found.sentinels, (replica.port, replica.port, master.port), strict=True):
            sentinel.command("SENTINEL MONITOR", "other", LOOPBACK, port, 1)
        options = {"sentinels": found.addresses, "master_name": "other", "min_sentinels": 1, "min_replicas": 0}

        async def told(sentence: str) -> bool:
            result = await see("sentinel_or_cluster_operational", mode="sentinel", **options)
            return result.status is Status.FAILED and sentence in result.summary

        addresses = " and ".join(f"{LOOPBACK}:{port}" for port in sorted((master.port, replica.port)))
        disagreement = f"The Sentinels disagree on the master of other: {addresses}."
        await eventually(lambda: told(disagreement), "the disagreement to be told")
        answer = f"The Sentinels name {replica.address} as the master, but it answers ROLE as a replica."
        await eventually(lambda: told(answer), "the replica that is named to be told")


@pytest.mark.verifies("redis.sentinel_or_cluster_operational", "unknown")
async def test_sentinels_that_could_not_be_asked(redis_guarded: Guarded) -> None:
    async with refused() as (host, port):
        none = await look(mode="sentinel", sentinels=[f"{host}:{port}"])
        assert {result.status for result in none.values()} == {Status.UNKNOWN}
        assert none["pods_healthy"].summary == (
            f"No Sentinel names the master. 127.0.0.1:{port} refuses the connection."
        )
        two = await look(mode="sentinel", sentinels=[*redis_guarded.addresses[:2], f"{host}:{port}"])
        assert two["sentinel_or_cluster_operational"].status is Status.UNKNOWN
        assert two["pods_healthy"].status is Status.OK
    nameless = await see(
        "sentinel_or_cluster_operational", mode="sentinel", sentinels=redis_guarded.addresses, master_name="none"
    )
    assert nameless.status is Status.UNKNOWN
    assert "watches no master named none" in nameless.summary


async def test_a_redis_that_is_no_sentinel(any_redis: Node) -> None:
    result = await see("sentinel_or_cluster_operational", mode="sentinel", sentinels=[any_redis.address])
    assert result.status is Status.UNKNOWN
    assert f"{any_redis.address} refuses SENTINEL MASTERS" in result.summary


async def test_nothing_fails_over_without_sentinel_and_cluster(any_redis: Node) -> None:
    result = await see("sentinel_or_cluster_operational", any_redis)
    assert result.status is Status.FAILED
    assert result.summary == "cache is declared standalone: nothing fails over when its master dies."


# Cluster


async def test_a_cluster_that_is_whole(redis_cluster: Sequence[Node], no_leftovers: None) -> None:
    seen = await look(redis_cluster[4], mode="cluster")
    result = seen["sentinel_or_cluster_operational"]
    assert result.status is Status.OK
    assert result.summary == "All 16384 slots of cluster cache are served, and each master has a replica."
    assert result.measurements == {"nodes_answering": 6}


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_cluster_that_lost_slots_still_says_ok(tmp_path: Path, release: str) -> None:
    """A trap: with cluster-require-full-coverage no, cluster_state stays ok with a third of the slots failed."""
    coverage = ("--cluster-require-full-coverage", "no")
    with cluster(tmp_path, *coverage, replicas=0, release=release) as nodes:
        whole = await see("sentinel_or_cluster_operational", nodes[0], mode="cluster", min_replicas=0)
        assert whole.status is Status.OK
        alone = await see("sentinel_or_cluster_operational", nodes[0], mode="cluster")
        assert alone.status is Status.FAILED
        assert f"Master {nodes[0].address} of the cluster has 0 replicas (wanted 1)." in alone.summary
        nodes[2].kill()
        for node in nodes[:2]:
            wait_until(partial(slots_fail, node), "slots to fail")
            assert node.command("CLUSTER INFO")["cluster_state"] == "ok"
        seen = await look(nodes[0], mode="cluster", min_replicas=0)
        lost = seen["sentinel_or_cluster_operational"]
        assert lost.status is Status.FAILED
        assert "of 16384 slots served" in lost.summary
        assert "failed, with cluster_state ok." in lost.summary
        assert f"holds {nodes[2].address} for dead." in seen["pods_healthy"].summary


def slots_fail(node: Node) -> bool:
    """Whether the node knows of slots that nobody serves."""
    return int(node.command("CLUSTER INFO")["cluster_slots_fail"]) > 5000


def dead(node: Node, gone: Node) -> bool:
    """Whether the node holds the other for dead."""
    return "fail" in str(node.command("CLUSTER NODES")[gone.address]["flags"]).split(",")


async def test_a_cluster_whose_master_lost_its_replica(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        gone = nodes[5]
        gone.kill()
        for node in nodes[:5]:
            wait_until(partial(dead, node, gone), "the death")
        seen = await look(nodes[0], mode="cluster")
        result = seen["sentinel_or_cluster_operational"]
        assert result.status is Status.FAILED
        assert "of the cluster has 0 replicas (wanted 1)." in result.summary
        assert seen["pods_healthy"].status is Status.FAILED
        assert f"holds {gone.address} for dead." in seen["pods_healthy"].summary
        spared = await see("sentinel_or_cluster_operational", nodes[0], mode="cluster", min_replicas=0)
        assert spared.status is Status.OK  # of a node that all hold for dead nothing is wanted


async def test_a_cluster_that_refuses_everything(tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=0) as nodes:
        nodes[2].kill()
        wait_until(lambda: nodes[0].command("CLUSTER INFO")["cluster_state"] == "fail", "the cluster to fail")
        result = await see("sentinel_or_cluster_operational", nodes[0], mode="cluster", min_replicas=0)
        assert result.status is Status.FAILED
        assert "cluster_state is fail on" in result.summary


async def test_a_redis_that_is_in_no_cluster(any_redis: Node) -> None:
    seen = await look(any_redis, mode="cluster")
    assert {seen[name].status for name in BY_INFO} == {Status.UNKNOWN}
    assert f"{any_redis.address} refuses CLUSTER NODES: " in seen["pods_healthy"].summary


async def test_a_cluster_in_tls(tmp_path: Path, files: Files) -> None:
    with cluster(tmp_path, *HEALTHY, files=files) as nodes:
        seen = await look(nodes[0], mode="cluster", **trusting(files))
        assert seen["tls_enabled"].status is Status.OK
        assert seen["sentinel_or_cluster_operational"].status is Status.OK
        for node in nodes:
            node.command("CONFIG", "SET", "tls-cluster", "no")
        result = await see("tls_enabled", nodes[0], mode="cluster", **trusting(files))
        assert result.status is Status.FAILED
        assert "tls-cluster of " in result.summary


# Rights


def printed(heading: str) -> str:
    """The rules of the ACL command that `rights` prints below a heading."""
    _, _, after = Redis.rights.partition(heading)
    line = after.splitlines()[1].strip()
    return line.removeprefix("ACL SETUSER checklist ").removeprefix("on >PASSWORD ")


def grant(nodes: Sequence[Node], *rules: str) -> None:
    for node in nodes:
        for rule in rules:
            node.command("ACL", "SETUSER", "checklist", "on", f">{PASSWORD}", *rule.split())


@pytest.fixture
def login() -> dict[str, Any]:
    return {"username": "checklist", "password": PASSWORD}


@pytest.fixture(scope="module")
def replicated_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sequence[Node], Files]]:
    folder = tmp_path_factory.mktemp("rights")
    files = tls_files(folder)
    with replication(folder, *HEALTHY, files=files) as nodes:
        for node in nodes:
            node.write_and_save() if node is nodes[0] else node.command("SAVE")
        yield nodes, files


NEEDED = {
    "+ping": {"pods_healthy"},
    "+info": {"pods_healthy", "persistence_configured", "eviction_policy_set", "connection_pool_optimized"},
    "+role": {"pods_healthy", "tls_enabled"},
    "+config|get": {"persistence_configured", "tls_enabled"},
    "+client|list": {"connection_pool_optimized"},
}


@pytest.mark.parametrize("missing", [None, *NEEDED])
async def test_the_printed_rights_suffice_and_each_is_needed(
    replicated_tls: tuple[Sequence[Node], Files], login: dict[str, Any], missing: str | None
) -> None:
    nodes, files = replicated_tls
    rules = f"{printed('On every node:')} {printed('`pools`')}".split()
    grant(nodes, "reset", " ".join(rule for rule in rules if rule != missing))
    options = {"mode": "replication", "pools": {"orders": 5}, **trusting(files), **login}
    seen = await see_twice(*nodes, **options)
    items = BY_INFO | {"tls_enabled"}
    lost = {name for name in items if seen[name].status is Status.UNKNOWN}
    assert lost == (NEEDED[missing] if missing else set())
    assert {name for name in items if seen[name].status is Status.OK} == items - lost
    for name in lost:
        assert "does not let this user run " in seen[name].summary
        assert f"the right {missing} is missing." in seen[name].summary


@pytest.mark.parametrize("missing", [None, "+cluster|info", "+cluster|nodes"])
async def test_the_printed_rights_of_a_cluster(
    redis_cluster: Sequence[Node], login: dict[str, Any], missing: str | None
) -> None:
    rules = f"{printed('On every node:')} {printed('On every node of a cluster')}".split()
    grant(redis_cluster, "reset", " ".join(rule for rule in rules if rule != missing))
    seen = await see_twice(redis_cluster[0], mode="cluster", persistence="aof", **login)
    items = BY_INFO | {"sentinel_or_cluster_operational"}
    lost = {name for name in items if seen[name].status is Status.UNKNOWN}
    expected = {None: set(), "+cluster|info": {"sentinel_or_cluster_operational"}, "+cluster|nodes": items}
    assert lost == expected[missing]
    for name in lost:
        assert f"the right {missing} is missing." in seen[name].summary


@pytest.mark.parametrize("missing", [None, "+info", "+sentinel|masters", "+sentinel|replicas", "+sentinel|ckquorum"])
async def test_the_printed_rights_of_a_sentinel(
    redis_guarded: Guarded, login: dict[str, Any], missing: str | None
) -> None:
    rules = printed("On every Sentinel:").split()
    grant(redis_guarded.sentinels, "reset", " ".join(rule for rule in rules if rule != missing))
    credentials = {"sentinel_username": "checklist", "sentinel_password": PASSWORD}
    seen = await see_twice(mode="sentinel", sentinels=redis_guarded.addresses, persistence="aof", **credentials)
    items = BY_INFO | {"sentinel_or_cluster_operational"}
    lost = {name for name in items if seen[name].status is Status.UNKNOWN}
    everything = (
        items if missing in ("+sentinel|masters", "+sentinel|replicas") else {"sentinel_or_cluster_operational"}
    )
    assert lost == (everything if missing else set())
    for name in lost:
        assert f"the right {missing} is missing." in seen[name].summary


@pytest.mark.verifies("redis.eviction_policy_set", "unknown")
async def test_a_wrong_password_is_told_and_not_shown(start_redis: Start) -> None:
    node = start_redis("--requirepass", "another-one", password="another-one")
    seen = await look(node, password=PASSWORD)
    assert {seen[name].status for name in BY_INFO} == {Status.UNKNOWN}
    assert f"{node.address} does not accept the password" in seen["eviction_policy_set"].summary
    nobody = await look(node)
    assert f"{node.address} wants a password, and none is configured." in nobody["eviction_policy_set"].summary


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_an_auth_that_is_refused_is_told_without_what_was_sent(start_redis: Start, release: str) -> None:
    """A trap: Redis repeats the arguments of a command that it does not know."""
    node = start_redis("--rename-command", "AUTH", "", release=release)
    for username in (None, "checklist"):
        seen = await look(node, password=PASSWORD, username=username)
        assert {seen[name].status for name in BY_INFO} == {Status.UNKNOWN}
        assert seen["pods_healthy"].summary == (
            f"{node.address} refuses AUTH (the command is renamed there, or forbidden), so nothing was asked."
        )


def test_the_documentation_shows_the_rights_that_are_printed() -> None:
    page = Path(__file__).parents[3] / "docs" / "sections" / "redis.md"
    assert Redis.rights in page.read_text()


async def test_config_get_never_asks_for_everything(start_redis: Start, files: Files) -> None:
    """A trap: CONFIG GET * shows requirepass in clear."""
    node = start_redis("--requirepass", PASSWORD, files=files, password=PASSWORD)
    node.command("CONFIG", "SET", "slowlog-log-slower-than", "0")  # MONITOR would not show what is for administrators
    node.command("SLOWLOG", "RESET")
    await look(node, password=PASSWORD, pools={"orders": 1}, **trusting(files))
    with node.client() as client:
        logged = [entry["command"].decode().upper() for entry in client.slowlog_get(1000)]
    commands = [command for command in logged if not command.startswith(("SLOWLOG", "AUTH", "HELLO"))]
    asked = {command for command in commands if command.startswith("CONFIG")}
    assert asked == {
        f"CONFIG GET {name}"
        for name in (
            "SAVE",
            "DIR",
            "APPENDFSYNC",
            "MIN-REPLICAS-TO-WRITE",
            "PORT",
            "TLS-REPLICATION",
            "TLS-CLUSTER",
            "TLS-PROTOCOLS",
        )
    }
    assert {command.split()[0].upper() for command in commands} <= {"INFO", "ROLE", "CONFIG", "CLIENT", "PING"}


# Options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "expected `nodes`, host:port each"),
        ({"nodes": ["cache"]}, "expected host:port, such as cache-1:6379"),
        ({"nodes": ["cache:0"]}, "expected host:port"),
        ({"nodes": ["a:1", "b:1"]}, "several are mode replication, sentinel or cluster"),
        ({"nodes": ["a:1"], "sentinels": ["b:1"]}, "expected `sentinels` with mode sentinel, and only with it"),
        ({"nodes": ["a:1"], "mode": "sentinel"}, "expected `sentinels` with mode sentinel"),
        ({"nodes": ["a:1"], "data_volume": "data"}, "data_volume"),
    ],
)
def test_targets_that_make_no_sense(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="(?s)" + told.replace(".", r"\.")):
        RedisTarget.model_validate_json(json.dumps({"name": "cache", **options}))


def test_replicas_that_are_wanted_by_default() -> None:
    def wanted(**options: Any) -> int:
        return RedisTarget.model_validate_json(json.dumps({"name": "cache", **options})).wanted_replicas

    assert wanted(nodes=["a:1"]) == 0
    assert wanted(nodes=["a:1", "b:1", "c:1"], mode="replication") == 2
    assert wanted(sentinels=["a:1"], mode="sentinel") == 1
    assert wanted(nodes=["a:1"], mode="cluster", min_replicas=2) == 2
