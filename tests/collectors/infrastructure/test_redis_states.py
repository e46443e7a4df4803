"""States of a real Redis in which a line is untrue though it looks fine, or fine though it looks bad, each proven by itself."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import redis

from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.redis.client import answers_plaintext
from collectors.systems.redis.model import NodeAddress
from exporter.runner import utc_now
from exporter.verdict import Reason, Status
from tests.collectors.infrastructure.test_redis import (
    BY_INFO,
    held,
    see,
    see_twice,
    trusting,
)
from tests.servers.exporters import Exposition, redis_exporter
from tests.servers.faults import Proxy, mute, refused, serving
from tests.servers.process import LOOPBACK, free_port, wait_until
from tests.servers.prometheus import Prometheus, scrape
from tests.servers.redis import (
    BUS,
    HEALTHY,
    NEVER,
    NEW,
    OLD,
    PASSWORD,
    SOON,
    VALKEY,
    Node,
    Start,
    cluster,
    guarded,
    replication,
    tls_files,
)
from tests.support import Clock, context_of, make_context

pytestmark = pytest.mark.usefixtures("no_noise")

OPERATIONAL = "sentinel_or_cluster_operational"


def error(node: Node, *words: str | int) -> str:
    """The error that a command is refused with; empty when it is not."""
    try:
        node.command(*words)
    except (redis.RedisError, redis.ConnectionError) as refusal:
        return str(refusal)
    return ""


# Who could take over: Sentinel


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_replica_that_may_never_be_promoted(tmp_path: Path, release: str) -> None:
    with guarded(tmp_path, "--replica-priority", "0", release=release, down_after=NEVER) as found:
        assert "NOGOODSLAVE" in error(found.sentinels[0], "SENTINEL FAILOVER", "mymaster")
        result = await see(OPERATIONAL, mode="sentinel", sentinels=found.addresses)
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING)
    where = found.nodes[1].address
    assert f"sees 0 replicas that could take over (wanted 1): the replica-priority of {where} is 0." in result.summary


async def test_sentinels_in_tilt_start_no_failover(tmp_path: Path) -> None:
    with guarded(tmp_path, down_after=NEVER) as found:
        options = {"mode": "sentinel", "sentinels": found.addresses}
        for number, sentinel in enumerate(found.sentinels):
            sentinel.pause()
            await asyncio.sleep(2.5)
            sentinel.resume()
            wait_until(partial(_tilted, sentinel), "TILT")
            result = await see(OPERATIONAL, **options)
            if number == 0:
                assert result.status is Status.WARNING
                assert "1 of 3 Sentinels" in result.summary
                assert "is in TILT and would start no failover, which needs 2." in result.summary
        assert result.status is Status.FAILED
        assert "3 of 3 Sentinels" in result.summary
        assert "are in TILT and would start no failover, which needs 2." in result.summary


def _tilted(sentinel: Node) -> bool:
    return bool(sentinel.info("sentinel_tilt") == 1)


async def test_a_quorum_of_all_sentinels_leaves_none_to_spare(tmp_path: Path) -> None:
    with guarded(tmp_path) as found:
        for sentinel in found.sentinels:
            sentinel.command("SENTINEL SET", "mymaster", "quorum", 3)
        result = await see(OPERATIONAL, mode="sentinel", sentinels=found.addresses)
        assert result.status is Status.WARNING
        assert "needs 3 of 3 Sentinels for a failover (quorum 3) and reaches 3" in result.summary
        found.sentinels[2].kill()
        wait_until(lambda: "NOQUORUM" in error(found.sentinels[0], "SENTINEL CKQUORUM", "mymaster"), "NOQUORUM")


async def test_a_sentinel_that_does_not_watch_the_master_has_no_voice(tmp_path: Path) -> None:
    with guarded(tmp_path, down_after=NEVER) as found:
        found.sentinels[2].command("SENTINEL", "REMOVE", "mymaster")
        assert "No such master" in error(found.sentinels[2], "SENTINEL", "CKQUORUM", "mymaster")
        result = await see(OPERATIONAL, mode="sentinel", sentinels=found.addresses)
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING)
    assert f"Sentinel {found.sentinels[2].address} watches no master named mymaster." in result.summary


async def test_two_of_five_sentinels_are_gone(tmp_path: Path) -> None:
    with guarded(tmp_path, watchers=5) as found:
        for sentinel in found.sentinels[3:]:
            sentinel.kill()
        for sentinel in found.sentinels[:3]:
            wait_until(partial(_usable, sentinel, 3), "both to be missed")
        listed = await see(OPERATIONAL, mode="sentinel", sentinels=found.addresses)
        left = await see(OPERATIONAL, mode="sentinel", sentinels=found.addresses[:3])
        for result in (listed, left):
            assert result.status is Status.WARNING
            assert (
                "reaches 3 of 5 Sentinels: start the others, or let SENTINEL RESET mymaster forget them."
                in result.summary
            )
            assert "without one more of them nothing fails over." in result.summary


def _usable(sentinel: Node, number: int) -> bool:
    return sentinel.cli("-p", str(sentinel.port), "SENTINEL", "CKQUORUM", "mymaster").startswith(f"OK {number} usable")


async def test_a_stale_replica_that_sentinels_alone_remember(tmp_path: Path) -> None:
    with guarded(tmp_path, *HEALTHY) as found, ExitStack() as stack:
        for node in found.nodes:
            node.write_and_save()
        gone = stack.enter_context(Node(tmp_path, "--replicaof", LOOPBACK, str(found.nodes[0].port)))
        gone.wait_linked()
        for sentinel in found.sentinels:
            sentinel.command("SENTINEL RESET", "mymaster")
        for sentinel in found.sentinels:
            wait_until(partial(_replicas, sentinel, 2), "both replicas to be known")
            wait_until(lambda sentinel=sentinel: _usable(sentinel, 3), "the Sentinels to be known again")  # type: ignore[misc]
        gone.kill()
        for sentinel in found.sentinels:
            wait_until(partial(_down, sentinel, gone), "the replica to be taken for down")
        seen = await see_twice(mode="sentinel", sentinels=found.addresses)
        assert {name: seen[name].status for name in BY_INFO} == {
            "pods_healthy": Status.WARNING,
            **dict.fromkeys(BY_INFO - {"pods_healthy"}, Status.OK),
        }
        assert seen["pods_healthy"].summary == (
            f"Sentinels still list replica {gone.address}, which is down and not missed: if it is gone for good, SENTINEL "
            "RESET mymaster forgets it."
        )
        missed = await see("pods_healthy", mode="sentinel", sentinels=found.addresses, min_replicas=2)
        assert missed.status is Status.FAILED
        named = await see("pods_healthy", gone, mode="sentinel", sentinels=found.addresses)
        assert named.status is Status.FAILED


def _replicas(sentinel: Node, number: int) -> bool:
    return len(sentinel.command("SENTINEL REPLICAS", "mymaster")) == number


def _down(sentinel: Node, gone: Node) -> bool:
    return any(
        int(replica["port"]) == gone.port and "s_down" in str(replica["flags"])
        for replica in sentinel.command("SENTINEL REPLICAS", "mymaster")
    )


# Who could take over: Cluster


@contextmanager
def small_cluster(directory: Path, release: str) -> Iterator[list[Node]]:
    """Two masters with a replica each, which redis-cli refuses to make."""
    more = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(SOON))
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(Node(directory, *more, release=release, port=free_port(also=BUS))) for _ in range(4)
        ]
        halves = (range(8192), range(8192, 16384))
        for node, slots in zip(nodes, halves, strict=False):
            node.command("CLUSTER", "ADDSLOTS", *slots)
        for number, node in enumerate(nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            nodes[0].command("CLUSTER", "MEET", LOOPBACK, node.port)
        for node in nodes:
            wait_until(lambda node=node: len(node.command("CLUSTER NODES")) == 4, "all to have met")  # type: ignore[misc]
            wait_until(lambda node=node: node.command("CLUSTER INFO")["cluster_state"] == "ok", "the state")  # type: ignore[misc]
        for master, replica in zip(nodes[:2], nodes[2:], strict=True):
            replica.command("CLUSTER", "REPLICATE", master.command("CLUSTER", "MYID"))
            replica.wait_linked()
        for node in nodes:
            wait_until(
                lambda node=node: sum("slave" in o["flags"] for o in node.command("CLUSTER NODES").values()) == 2,  # type: ignore[misc]
                "both replicas to be known",
            )
        yield nodes


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_cluster_of_two_masters_has_no_majority(tmp_path: Path, release: str) -> None:
    with small_cluster(tmp_path, release) as nodes:
        result = await see(OPERATIONAL, nodes[0], mode="cluster")
        assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
        assert result.summary == (
            "The cluster has 2 masters that vote of 2: when one dies, the others are fewer than the 2 that have to agree "
            "before a replica is promoted."
        )
        nodes[0].kill()
        wait_until(lambda: nodes[1].command("CLUSTER INFO")["cluster_state"] == "fail", "the cluster to fail")
        await asyncio.sleep(3 * SOON / 1000)
        assert nodes[2].command("ROLE")[0] == "slave"


async def test_nodes_that_disagree_on_the_owner_of_a_slot(tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=0, node_timeout=NEVER) as nodes:
        nodes.sort(key=lambda node: 0 in {slot for slots in _served(node) for slot in slots}, reverse=True)
        owner, one, other = nodes
        assert (await see(OPERATIONAL, one, mode="cluster", min_replicas=0)).status is Status.OK
        owner.pause()
        try:
            one.command("CLUSTER", "SETSLOT", 0, "NODE", other.command("CLUSTER", "MYID"))
            assert f"0 {LOOPBACK}:{other.port}" in error(one, "GET", "{06S}")  # a key of slot 0: MOVED to the one …
            assert f"0 {LOOPBACK}:{owner.port}" in error(other, "GET", "{06S}")  # … and away from it
            result = await see(OPERATIONAL, one, mode="cluster", min_replicas=0, node_timeout="1s")
        finally:
            owner.resume()
    assert (result.status, result.reason) == (Status.FAILED, Reason.CONTRADICTED)
    assert "disagree on who serves 1 slot: slot 0 is that of" in result.summary


def _served(node: Node) -> list[range]:
    slots = node.command("CLUSTER NODES")[node.address]["slots"]
    return [range(int(first), int(last) + 1) for first, last in slots]


async def test_a_node_whose_handshake_never_ends(tmp_path: Path) -> None:
    async with mute() as (host, port):
        with cluster(tmp_path, replicas=0, node_timeout=NEVER) as nodes:
            nodes[0].command("CLUSTER", "MEET", host, free_port(), port)
            wait_until(lambda: "handshake" in str(nodes[0].command("CLUSTER NODES")), "the handshake")
            assert nodes[0].command("CLUSTER INFO")["cluster_state"] == "ok"
            result = await see(OPERATIONAL, nodes[0], mode="cluster", min_replicas=0)
    assert result.status is Status.FAILED
    assert f"{nodes[0].address} has not completed its handshake with {host}:" in result.summary


async def test_replicas_of_a_cluster_that_could_not_take_over(tmp_path: Path) -> None:
    with cluster(tmp_path, node_timeout=NEVER) as nodes:
        for node in nodes:
            node.command("ACL", "SETUSER", "checklist", "on", f">{PASSWORD}", "+@all", "~*")
        options = {"mode": "cluster", "username": "checklist", "password": PASSWORD}
        assert (await see(OPERATIONAL, nodes[0], **options)).status is Status.OK
        master, replica = nodes[0], next(node for node in nodes[3:] if node.command("ROLE")[2] == nodes[0].port)

        replica.command("CONFIG", "SET", "cluster-replica-no-failover", "yes")
        forbidden = await see(OPERATIONAL, nodes[1], **options)
        assert forbidden.status is Status.FAILED
        assert forbidden.summary == (
            f"Master {master.address} of the cluster has 0 replicas that could take over (wanted 1): "
            f"cluster-replica-no-failover of {replica.address} is yes."
        )
        replica.command("CONFIG", "SET", "cluster-replica-no-failover", "no")

        master.command(
            "CONFIG", "SET", "requirepass", "another-password"
        )  # of which the replica's masterauth knows nothing
        master.password = "another-password"
        master.command("CLIENT", "KILL", "TYPE", "replica")
        wait_until(lambda: replica.info("master_link_status") == "down", "the link to be down")
        wait_until(lambda: "no replica" in _writes(master), "the master to lose it")
        parted = await see(OPERATIONAL, nodes[1], replica_grace="0s", **options)
        assert parted.status is Status.FAILED
        assert f"the link of {replica.address} to its master is down." in parted.summary


def _writes(master: Node) -> str:
    return "no replica" if not master.command("ROLE")[2] else ""


async def test_slots_that_are_left_migrating(tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=0, node_timeout=NEVER) as nodes:
        source = next(node for node in nodes if any(0 in slots for slots in _served(node)))
        target = next(node for node in nodes if node is not source)
        target.command("CLUSTER", "SETSLOT", 0, "IMPORTING", source.command("CLUSTER", "MYID"))
        source.command("CLUSTER", "SETSLOT", 0, "MIGRATING", target.command("CLUSTER", "MYID"))
        assert "ASK" in error(source, "GET", "{06S}") or f"0 {target.address}" in error(source, "GET", "{06S}")
        result = await see(OPERATIONAL, nodes[0], mode="cluster", min_replicas=0)
    assert result.status is Status.WARNING
    for node in (source, target):
        assert f"{node.address} has 1 slot that is migrating or importing (0)" in result.summary


# Replication


async def test_a_replica_that_has_less_room_than_its_master(tmp_path: Path) -> None:
    with replication(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as (master, replica):
        nodes = [master, replica]
        options = {"mode": "replication", "container_memory": "1GiB"}
        assert (await see("eviction_policy_set", *nodes, **options)).status is Status.OK
        replica.command("CONFIG", "SET", "maxmemory", "20mb")
        result = await see("eviction_policy_set", *nodes, **options)
    assert result.status is Status.WARNING
    assert f"maxmemory of {replica.address} is 21 MB, and up to 105 MB on other nodes" in result.summary


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_chain_of_replicas(tmp_path: Path, release: str) -> None:
    with ExitStack() as stack:
        master, first = stack.enter_context(replication(tmp_path, release=release))
        second = stack.enter_context(Node(tmp_path, "--replicaof", LOOPBACK, str(first.port), release=release))
        second.wait_linked()
        wait_until(lambda: first.info("connected_slaves") == 1, "the chain")
        master.command("SET", "checklist:canary", "1")
        wait_until(lambda: second.command("GET", "checklist:canary") == "1", "the write to arrive")
        assert len(master.command("ROLE")[2]) == 1
        result = await see("pods_healthy", master, first, second, mode="replication")
    assert result.status is Status.OK


async def test_a_replica_that_takes_writes_of_its_own(tmp_path: Path) -> None:
    with replication(tmp_path, "--replica-read-only", "no") as (master, replica):
        replica.command("SET", "checklist:canary", "1")
        assert master.command("GET", "checklist:canary") is None
        result = await see("pods_healthy", master, replica, mode="replication")
    assert result.status is Status.WARNING
    assert result.summary.startswith(f"Replica {replica.address} takes writes (replica-read-only is no)")


async def test_writes_that_an_operator_paused(start_redis: Start) -> None:
    node = start_redis(release=VALKEY)
    node.command("CLIENT", "PAUSE", "60000", "WRITE")
    with socket.create_connection((LOOPBACK, node.port), timeout=0.5) as client:
        client.sendall(b"SET checklist:canary 1\r\n")
        with pytest.raises(TimeoutError):
            client.recv(64)
    result = await see("pods_healthy", node)
    node.command("CLIENT", "UNPAUSE")
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    assert f"{node.address} lets its clients wait for " in result.summary


async def test_a_node_that_others_do_not_know(tmp_path: Path) -> None:
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(tmp_path, replicas=0, node_timeout=NEVER))
        extra = stack.enter_context(Node(tmp_path, "--cluster-enabled", "yes", port=free_port(also=BUS)))
        nodes[0].command("CLUSTER", "MEET", LOOPBACK, extra.port)
        for node in [*nodes, extra]:
            wait_until(partial(_knows, node, 4), "all to have met")
        assert (await see(OPERATIONAL, nodes[0], mode="cluster", min_replicas=0)).status is Status.OK
        nodes[1].command("CLUSTER", "FORGET", extra.command("CLUSTER", "MYID"))
        result = await see(OPERATIONAL, nodes[0], mode="cluster", min_replicas=0)
    assert result.status is Status.WARNING
    assert result.summary == (
        f"{nodes[1].address} does not know {extra.address}, which other nodes take for a member of the cluster."
    )


def _knows(node: Node, number: int) -> bool:
    view = node.command("CLUSTER NODES").values()
    joined = len(view) == number and not any("handshake" in other["flags"] for other in view)
    return joined and bool(node.command("CLUSTER INFO")["cluster_state"] == "ok")


# Errors that are the answer


@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_a_redis_that_is_busy_with_a_script(start_redis: Start, release: str) -> None:
    node = start_redis("--lua-time-limit", "50", release=release)
    with socket.create_connection((LOOPBACK, node.port)) as client:
        client.sendall(b"*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n")
        wait_until(lambda: "BUSY" in error(node, "GET", "x"), "BUSY")
        result = await see("pods_healthy", node)
        node.command("SCRIPT", "KILL")
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    assert result.summary == f"{node.address} is busy with a script and refuses every other command (BUSY)."


@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_a_redis_that_refuses_writes_as_its_snapshot_failed(start_redis: Start, release: str) -> None:
    node = start_redis("--save", "3600", "1", release=release)
    node.command("SET", "checklist:canary", "1")
    shutil.rmtree(node.data)
    node.command("BGSAVE")
    wait_until(lambda: node.info("rdb_last_bgsave_status") == "err", "the snapshot to fail")
    assert "MISCONF" in error(node, "SET", "checklist:canary", "2")
    result = await see("pods_healthy", node)
    assert result.status is Status.FAILED
    assert result.summary == f"{node.address} refuses writes, as its last snapshot failed (MISCONF)."


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_master_with_fewer_replicas_than_it_needs_for_writes(tmp_path: Path, release: str) -> None:
    with replication(tmp_path, release=release) as (master, replica):
        options = {"mode": "replication"}
        master.command("CONFIG", "SET", "min-replicas-to-write", 1)
        wait_until(lambda: error(master, "SET", "checklist:canary", "1") == "", "the replica to be good")
        assert (await see("pods_healthy", master, replica, **options)).status is Status.OK
        master.command("CONFIG", "SET", "min-replicas-to-write", 2)
        assert "NOREPLICAS" in error(master, "SET", "checklist:canary", "1")
        result = await see("pods_healthy", master, replica, **options)
    assert result.status is Status.FAILED
    assert result.summary == (
        f"{master.address} refuses writes (NOREPLICAS): 1 replica in sync, fewer than its min-replicas-to-write."
    )


async def test_a_redis_that_takes_no_more_clients_is_not_healthy(start_redis: Start) -> None:
    node = start_redis("--maxclients", "2")
    with held(node), held(node):
        result = await see("pods_healthy", node)
    assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
    assert result.summary == f"{node.address} refuses more clients: maxclients is reached."


# Persistence


@pytest.mark.parametrize("what", ["BGSAVE", "BGREWRITEAOF"])
@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_a_child_that_hangs_saves_nothing(start_redis: Start, release: str, what: str) -> None:
    node = start_redis(*HEALTHY, "--rdb-key-save-delay", "10000000", release=release)
    for number in range(20):
        node.command("SET", f"checklist:{number}", "1")
    node.command(what)
    field = "rdb_current_bgsave_time_sec" if what == "BGSAVE" else "aof_current_rewrite_time_sec"
    wait_until(lambda: node.info(field) > 1, "the child to hang")
    result = await see("persistence_configured", node, max_child_time="1s")
    patient = await see("persistence_configured", node)
    assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
    written = "a snapshot" if what == "BGSAVE" else "a new append-only file"
    assert f"{node.address} has been writing {written} for " in result.summary
    assert patient.status is Status.WARNING  # none was written yet


async def test_settings_that_keep_little(start_redis: Start) -> None:
    node = start_redis(*HEALTHY, "--appendfsync", "no", "--save", "31536000", "1")
    node.write_and_save()
    assert node.command("CONFIG", "GET", "save")["save"].endswith("31536000 1")
    node.command("CONFIG", "SET", "save", "31536000 1")
    result = await see("persistence_configured", node)
    assert result.status is Status.WARNING
    assert f"{node.address} may hold changes in no snapshot for 365d, as its save '31536000 1' allows (limit 1d)." in (
        result.summary
    )
    assert "appendfsync is no (wanted everysec or always)." in result.summary


async def test_an_append_only_file_that_is_switched_on_and_not_written_yet(start_redis: Start) -> None:
    node = start_redis("--save", "3600", "1", "--rdb-key-save-delay", "5000000")
    for number in range(20):
        node.command("SET", f"checklist:{number}", "1")
    node.command("CONFIG", "SET", "appendonly", "yes")
    wait_until(lambda: node.info("aof_rewrite_in_progress") == 1, "the first rewrite")
    assert not list(node.data.glob("appendonlydir/*.manifest"))
    result = await see("persistence_configured", node, persistence="aof")
    assert result.status is Status.WARNING
    assert result.summary.startswith(f"{node.address} is writing its append-only file for the first time")


async def test_a_data_folder_that_was_deleted(start_redis: Start) -> None:
    node = start_redis(*HEALTHY)
    node.write_and_save()
    shutil.rmtree(node.data)
    assert node.info("aof_last_write_status") == node.info("rdb_last_bgsave_status") == "ok"
    result = await see("persistence_configured", node)
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING)
    assert result.summary == (
        f"The data folder of {node.address} does not exist any more: what it writes is lost when it ends."
    )


@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_two_nodes_with_the_same_files(tmp_path: Path, release: str) -> None:
    """What one has saved is replaced by what the other saves, and is what it has after its next start."""
    with ExitStack() as stack:
        alone = (*HEALTHY, "--appendonly", "no")
        first = stack.enter_context(Node(tmp_path, *alone, release=release))
        first.write_and_save()
        second = stack.enter_context(Node(tmp_path, *alone, "--dir", str(first.data), release=release))
        second.command("SET", "written:by", "the second")
        second.command("SAVE")
        first.kill()
        first.start()
        assert first.command("GET", "written:by") == "the second"
        for node in (first, second):
            node.write_and_save()
        result = await see("persistence_configured", first, second, mode="replication", persistence="rdb")
        named = ("--dir", str(first.data), "--dbfilename", "other.rdb")
        third = stack.enter_context(Node(tmp_path, *alone, *named, release=release))
        third.write_and_save()
        apart = await see("persistence_configured", first, third, mode="replication", persistence="rdb")
        for node in (first, second):
            node.command("CONFIG", "SET", "appendonly", "yes")
        log = await see("persistence_configured", first, second, mode="replication", persistence="aof")
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISCONFIGURED)
    assert result.summary == (
        f"{first.address} and {second.address} write to the same file, {first.data}/dump.rdb: each loads at its start what "
        "another one has written."
    )
    assert apart.status is Status.OK
    assert log.status is Status.FAILED
    assert "/appendonly.aof: each loads at its start what another one has written." in log.summary


async def test_a_node_of_a_cluster_that_is_configured_as_one_alone(tmp_path: Path) -> None:
    with Node(tmp_path, *HEALTHY, "--cluster-enabled", "yes", port=free_port(also=BUS)) as node:
        assert "CLUSTERDOWN" in node.cli("-p", str(node.port), "SET", "a", "1")
        result = await see("pods_healthy", node)
        declared = await see(OPERATIONAL, node, mode="cluster")
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    assert result.summary == (
        f"{node.address} is a node of a cluster (cluster-enabled is yes), which refuses every key whose slot it does not serve: "
        "set `mode: cluster`, so that slots are checked."
    )
    assert declared.status is Status.FAILED


# Doors


async def test_a_name_is_tried_at_each_of_its_addresses(any_redis: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(*_: object, **__: object) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("127.0.0.2", any_redis.port)), (*kind, (LOOPBACK, any_redis.port))]

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    real = asyncio.get_running_loop().getaddrinfo

    async def resolve(host: str, *rest: Any, **more: Any) -> Any:
        return await (both() if host == "cache.example.com" else real(host, *rest, **more))

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with await asyncio.start_server(hang_up, "127.0.0.2", any_redis.port):
        opened = await answers_plaintext(NodeAddress("cache.example.com", any_redis.port), timedelta(seconds=15))
    assert opened == NodeAddress(LOOPBACK, any_redis.port)


async def test_each_server_that_a_name_leads_to_is_asked(start_redis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = start_redis(), start_redis()
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def resolve(host: str, port: Any, **more: Any) -> Any:
        if host != "cache.example.com":
            return await real(host, port, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in (LOOPBACK, "127.0.0.2")]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    where = f"cache.example.com:{first.port}"
    alone = await see("pods_healthy", nodes=[where])
    other = "127.0.0.2", first.port
    async with Proxy(LOOPBACK, first.port, where=other):
        same = await see("pods_healthy", nodes=[where])
    async with Proxy(LOOPBACK, second.port, where=other):
        masters = await see("pods_healthy", nodes=[where])
        looked = await see("persistence_configured", nodes=[where])
    async with Proxy(LOOPBACK, second.port, where=other) as silence:
        silence.pause()
        silent = await see("pods_healthy", nodes=[where], node_timeout="3s")
    for seen in (alone, same):
        assert (seen.status, seen.summary.startswith(f"{where} answers PING")) == (Status.OK, True), seen
    assert masters.status is Status.FAILED
    assert f"{where} ({LOOPBACK})" in masters.summary
    assert f"{where} (127.0.0.2)" in masters.summary
    assert f"{where} (127.0.0.2)" in looked.summary
    assert (silent.status, f"{where} (127.0.0.2) did not answer within 3s." in silent.summary) == (Status.UNKNOWN, True)


async def test_doors_that_are_closed_at_both_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with refused() as (host, port):

        async def both(*_: object, **__: object) -> list[Any]:
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, ("127.0.0.2", port)), (*kind, (host, port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
        assert await answers_plaintext(NodeAddress("cache.example.com", port), timedelta(seconds=15)) is None


async def test_a_plaintext_port_behind_a_service_that_shows_the_tls_port_alone(
    start_redis: Start, tmp_path: Path
) -> None:
    files, plain = tls_files(tmp_path), free_port()
    node = start_redis("--port", str(plain), files=files)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near, far = await asyncio.open_connection(LOOPBACK, node.port)
        await asyncio.gather(_pump(reader, far), _pump(near, writer))

    async with await asyncio.start_server(relay, "127.0.0.2", 0) as service:
        port = service.sockets[0].getsockname()[1]
        with socket.create_connection((LOOPBACK, plain)) as inside:  # as any neighbour of the pod
            inside.sendall(b"PING\r\n")
            assert inside.recv(64) == b"+PONG\r\n"
        options = trusting(files, server_name=LOOPBACK)
        result = await see("tls_enabled", nodes=[f"127.0.0.2:{port}"], **options)
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISCONFIGURED)
    assert result.summary == (
        f"127.0.0.2:{port} also listens on port {plain} in plaintext, though that is not open from here "
        f"(port is {plain}, wanted 0)."
    )


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def test_sentinels_that_also_listen_in_plaintext(tmp_path: Path) -> None:
    files = tls_files(tmp_path)
    with guarded(tmp_path, files=files, down_after=NEVER) as found:
        options = {"mode": "sentinel", **trusting(files)}
        with guarded(tmp_path, down_after=NEVER) as plain:
            both = await see(
                "tls_enabled", sentinels=[*found.addresses, plain.addresses[0]], node_timeout="2s", **options
            )
    assert both.status is Status.FAILED
    assert f"{plain.addresses[0]} still answers in plaintext." in both.summary


async def test_a_certificate_that_expires_tomorrow(start_redis: Start, tmp_path: Path) -> None:
    files = tls_files(tmp_path, days=1)
    node = start_redis(files=files)
    result = await see("tls_enabled", node, **trusting(files))
    assert result.status is Status.WARNING
    assert f"The certificate of {node.address} expires in 23h" in result.summary
    assert result.summary.endswith("(limit 14d).")
    assert (await see("tls_enabled", node, certificate_warn="1h", **trusting(files))).status is Status.OK


# Metrics


async def test_two_exporters_that_scrape_one_node_count_as_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        master, replica = stack.enter_context(replication(tmp_path))
        exporters = [stack.enter_context(redis_exporter(tmp_path, f"redis://{master.address}")) for _ in range(2)]
        server = stack.enter_context(
            Prometheus(tmp_path, scrapes=[scrape("redis", *(exporter.port for exporter in exporters))])
        )
        server.wait_for("count(redis_up == 1) == 2")
        async with context_of({PrometheusClient: server.url}) as context:
            options = {"mode": "replication", "context": context, "scrape": {"stale_after": "1s"}}
            wait_until(lambda: replica.info("uptime_in_seconds") > 1, "the nodes to have run for a while")
            result = await see("metrics_collected", master, replica, **options)
            assert result.status is Status.FAILED
            told = f"No exporter scrapes {replica.address}: its run_id is in no redis_instance_info of Prometheus."
            assert told in result.summary
            fresh = await see("metrics_collected", master, replica, mode="replication", context=context)
            assert fresh.status is Status.UNKNOWN
            assert f"{replica.address} has just started and is in no redis_instance_info yet" in fresh.summary


async def test_an_exporter_that_repeats_old_figures(start_redis: Start, tmp_path: Path) -> None:
    """The exporter is up, names the very node, and each sample is fresh: it is the page of a cache."""
    node = start_redis(*HEALTHY)
    with ExitStack() as stack:
        exporter = stack.enter_context(redis_exporter(tmp_path, f"redis://{node.address}"))
        with urlopen(f"{exporter.url}/metrics", timeout=10) as page:
            frozen = stack.enter_context(Exposition(page.read().decode()))
        server = stack.enter_context(Prometheus(tmp_path, scrapes=[scrape("redis", frozen.port)]))
        async with context_of({PrometheusClient: server.url}) as context:
            server.wait_for("redis_uptime_in_seconds offset 6s")
            options = {"context": context, "scrape": {"stale_after": "10s"}}
            result = await see("metrics_collected", node, **options)
            usual = await see("metrics_collected", node, context=context)
    assert (result.status, result.reason) == (Status.FAILED, Reason.STALE)
    assert (
        f"What 127.0.0.1:{frozen.port} reports has not changed for at least 5s (redis_uptime_in_seconds)"
        in result.summary
    )
    assert usual.status is Status.OK
    assert "Whether redis_uptime_in_seconds changes is not known yet." in usual.summary


# A master that is gone has to be noticed


async def test_sentinels_that_would_take_days_to_notice(tmp_path: Path) -> None:
    days = 10 * 24 * 3600 * 1000
    with guarded(tmp_path, *HEALTHY, down_after=SOON) as found:
        options = {"mode": "sentinel", "sentinels": found.addresses}
        for sentinel in found.sentinels:
            sentinel.command("SENTINEL SET", "mymaster", "down-after-milliseconds", days)
        found.nodes[0].pause()
        await asyncio.sleep(3 * SOON / 1000)
        assert all("s_down" not in _flags(sentinel) for sentinel in found.sentinels), "nobody notices"
        found.nodes[0].resume()
        result = await see(OPERATIONAL, **options)
        assert (result.status, result.reason) == (Status.FAILED, Reason.MISCONFIGURED)
        assert "mymaster would have to be gone for 10d before 2 Sentinels take it for down" in result.summary
        found.sentinels[0].command("SENTINEL SET", "mymaster", "down-after-milliseconds", NEVER)
        result = await see(OPERATIONAL, **options)
        assert result.status is Status.FAILED, "one alone is no quorum"
        found.sentinels[1].command("SENTINEL SET", "mymaster", "down-after-milliseconds", NEVER)
        result = await see(OPERATIONAL, **options)
        assert result.status is Status.OK, result.summary
        soon = await see(OPERATIONAL, max_detection="2m", **options)
        assert soon.status is Status.FAILED
        found.sentinels[0].command("SENTINEL SET", "mymaster", "failover-timeout", days)
        result = await see(OPERATIONAL, **options)
        assert result.status is Status.WARNING
        assert result.summary == (
            "A failover of mymaster that did not succeed is tried again only after 20d (failover-timeout is 10d, limit 30m)."
        )


def _flags(sentinel: Node) -> str:
    return str(sentinel.command("SENTINEL", "MASTER", "mymaster")["flags"])


async def test_a_cluster_that_would_take_days_to_notice(tmp_path: Path) -> None:
    with cluster(tmp_path, *HEALTHY, node_timeout=NEVER) as nodes:
        nodes[1].command("CONFIG", "SET", "cluster-node-timeout", 10 * 24 * 3600 * 1000)
        result = await see(OPERATIONAL, nodes[0], mode="cluster")
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISCONFIGURED)
    assert f"{nodes[1].address} takes a node for down only after 10d (cluster-node-timeout" in result.summary


# Replicas that are there, and do not follow


@pytest.mark.parametrize("release", [OLD, NEW, VALKEY])
async def test_a_failover_that_waits_for_ever_holds_back_writes(tmp_path: Path, release: str) -> None:
    with replication(tmp_path, release=release) as (master, replica):
        replica.pause()
        try:
            master.command("SET", "checklist:canary", "1")
            master.command("FAILOVER")
            assert master.info("master_failover_state") == "waiting-for-sync"
            with socket.create_connection((LOOPBACK, master.port), timeout=0.5) as client:
                client.sendall(b"SET checklist:canary 2\r\n")
                with pytest.raises(TimeoutError):
                    client.recv(64)
                assert master.command("PING")
                result = await see("pods_healthy", master, mode="replication", min_replicas=1)
                master.command("FAILOVER", "ABORT")
        finally:
            replica.resume()
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    assert result.summary.startswith(
        f"{master.address} lets its clients wait while it hands over to a replica (FAILOVER, waiting-for-sync)"
    )


@pytest.mark.parametrize("release", [NEW, VALKEY])
async def test_a_shutdown_that_waits_for_replicas_holds_back_writes(tmp_path: Path, release: str) -> None:
    with replication(tmp_path, *HEALTHY, "--shutdown-timeout", "600", release=release) as (master, replica):
        replica.pause()
        try:
            master.command("SET", "checklist:canary", "1")  # which the replica does not get
            with socket.create_connection((LOOPBACK, master.port)) as client, master.client() as writer:
                client.sendall(b"SHUTDOWN\r\n")
                wait_until(lambda: "shutdown_in_milliseconds" in master.command("INFO"), "the shutdown to wait")
                writer.connection_pool.connection_kwargs["socket_timeout"] = 1
                with pytest.raises(redis.TimeoutError):
                    writer.set("checklist:canary", "2")
                assert master.command("PING")
                result = await see("pods_healthy", master, mode="replication", min_replicas=1)
                master.command("SHUTDOWN", "ABORT")
        finally:
            replica.resume()
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    assert f"{master.address} is shutting down and lets its clients wait for " in result.summary


async def test_a_replica_that_is_far_behind(tmp_path: Path) -> None:
    with replication(tmp_path, "--client-output-buffer-limit", "replica 0 0 0") as (master, replica):
        options = {"mode": "replication", "min_replicas": 1, "max_lag_bytes": "1MB"}
        wait_until(lambda: master.info("slave0")["offset"] > 0, "the replica to acknowledge")
        assert (await see("pods_healthy", master, **options)).status is Status.OK
        replica.pause()
        try:
            for _ in range(50):
                master.command("SET", "checklist:canary", "x" * 100_000)
            assert master.info("slave0")["state"] == "online"
            assert master.info("master_repl_offset") - master.info("slave0")["offset"] > 4_000_000
            result = await see("pods_healthy", master, **options)
        finally:
            replica.resume()
    assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
    assert f"Replica {replica.address} lacks 5" in result.summary
    assert f" MB of what {master.address} wrote (limit 1 MB)." in result.summary


async def test_a_replica_that_starts_over_again_and_again(tmp_path: Path) -> None:
    with replication(tmp_path, *HEALTHY, "--enable-debug-command", "yes") as (master, replica):
        clock = Clock(utc_now())
        context = make_context(now=clock)
        options = {"mode": "replication", "context": context}
        assert (await see("pods_healthy", master, replica, **options)).status is Status.OK
        for _ in range(4):
            before = master.info("sync_full")
            master.command("DEBUG", "CHANGE-REPL-ID")
            master.command("CLIENT", "KILL", "TYPE", "replica")
            wait_until(partial(_synced_since, master, before), "another full sync")
            replica.wait_linked()
        wait_until(lambda: len(master.command("ROLE")[2]) == 1, "the replica to be online")
        clock.advance(seconds=60)
        result = await see("pods_healthy", master, replica, **options)
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    assert f"{master.address} sent its whole data set to a replica 4 times within 1m" in result.summary


def _synced_since(master: Node, before: int) -> bool:
    return bool(master.info("sync_full") > before)


# Connections


async def test_connections_that_are_closed_for_the_memory_they_take(start_redis: Start) -> None:
    node = start_redis(*HEALTHY, "--maxmemory-clients", "100kb")
    node.write_and_save()
    clock = Clock(utc_now())
    context = make_context(now=clock)
    await see("connection_pool_optimized", node, context=context)
    with ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.create_connection((LOOPBACK, node.port)))
            client.sendall(b"*2\r\n$3\r\nSET\r\n$90000\r\n" + b"x" * 80_000)
        wait_until(lambda: node.info("evicted_clients") > 0, "Redis to close a connection")
        closed = node.info("evicted_clients")
        clock.advance(seconds=60)
        result = await see("connection_pool_optimized", node, context=context)
    assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
    assert f"{node.address} closed " in result.summary
    assert closed
    assert "within 1m, as their buffers grew too large (maxmemory-clients, " in result.summary


def refused_after(node: Node) -> tuple[int, str]:
    """How many more clients a node takes, and what it answers the next."""
    with ExitStack() as stack:
        for taken in range(20):
            client = stack.enter_context(socket.create_connection((LOOPBACK, node.port)))
            client.settimeout(10)
            client.sendall(b"PING\r\n")
            if (answer := client.recv(100)).startswith(b"-"):
                return taken, answer.decode()
    return 20, ""


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_replicas_count_against_maxclients(tmp_path: Path, release: str) -> None:
    with replication(tmp_path, *HEALTHY, replicas=2, release=release) as nodes:
        nodes[0].command("CONFIG", "SET", "maxclients", 5)
        wait_until(lambda: nodes[0].info("connected_clients") == 1, "no other client")
        options: dict[str, Any] = {"mode": "replication", "clients_warn": 0.5, "items": ["connection_pool_optimized"]}
        seen = (await see_twice(*nodes, **options))["connection_pool_optimized"]
        assert refused_after(nodes[0]) == (3, "-ERR max number of clients reached\r\n")
    assert seen.status is Status.WARNING
    assert seen.summary == (
        f"{nodes[0].address} has 3 of 5 clients, 2 of them replicas and connections of the cluster (limit 50%)."
    )


async def test_links_of_a_cluster_count_against_maxclients(tmp_path: Path) -> None:
    with cluster(tmp_path, *HEALTHY, node_timeout=NEVER) as nodes:
        nodes[0].command("CONFIG", "SET", "maxclients", 20)
        options: dict[str, Any] = {"mode": "cluster", "clients_warn": 0.5, "items": ["connection_pool_optimized"]}
        seen = (await see_twice(nodes[0], **options))["connection_pool_optimized"]
        taken, answer = refused_after(nodes[0])
    assert taken < 10
    assert answer.startswith("-ERR max number of clients + cluster connections reached")
    assert seen.status is Status.WARNING
    assert f"{nodes[0].address} has 1" in seen.summary
    assert " of 20 clients, 1" in seen.summary


# Certificates


async def test_the_certificate_at_each_address_of_a_name(
    start_redis: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    files = tls_files(tmp_path, "cache.example.com")
    other = tls_files(tmp_path / "other", "other.example.com")
    node = start_redis(files=files)
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def resolve(host: str, port: Any, **more: Any) -> Any:
        if host != "cache.example.com":
            return await real(host, port, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in (LOOPBACK, "127.0.0.2")]

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    options = {"nodes": [f"cache.example.com:{node.port}"], **trusting(files)}
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(other.cert, other.key)
    assert (await see("tls_enabled", **options)).status is Status.OK
    async with serving(hang_up, secure, ("127.0.0.2", node.port)):
        trust = ssl.create_default_context(cafile=str(files.ca))
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await asyncio.open_connection("127.0.0.2", node.port, ssl=trust, server_hostname="cache.example.com")
        result = await see("tls_enabled", **options)
    assert result.status is Status.FAILED
    assert f"The certificate of cache.example.com:{node.port} (127.0.0.2) is not accepted: Hostname mismatch" in (
        result.summary
    )
