"""States of NATS in which something is not as the checklist demands though it looks so, or the other way round."""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.errors import Error as NatsError
from nats.js import errors
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamSource,
)

from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from exporter.verdict import Reason, Result, Status
from tests.collectors.infrastructure.test_nats import ALL, add, address, client, look, see
from tests.servers import faults
from tests.servers.certificates import Issued
from tests.servers.exporters import Exposition
from tests.servers.nats import NEW, OLD, Nats, cluster, meta_leader
from tests.servers.process import LOOPBACK, eventually, free_port, wait_until
from tests.servers.prometheus import Prometheus, scrape
from tests.support import connected, make_context, until

HEALTH, STORE, REPLICATION = ALL

pytestmark = pytest.mark.usefixtures("no_noise")


@pytest.fixture(params=[NEW, OLD], scope="module")
def three(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Nats]]:
    """A healthy cluster of either release."""
    with cluster(tmp_path_factory.mktemp("three"), release=request.param) as nodes:
        yield nodes


@pytest.fixture(params=[NEW, OLD], scope="module")
def two_releases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    """One server of either release, for tests that delete their streams."""
    with Nats(tmp_path_factory.mktemp("one"), release=request.param) as server:
        yield server


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Nats]:
    with Nats(tmp_path) as server:
        yield server


@asynccontextmanager
async def stream(node: Nats, name: str, **config: Any) -> AsyncIterator[Any]:
    """A stream that is there for a while; gives JetStream to work with."""
    async with client(node) as jetstream:
        config = {"num_replicas": 3} | config
        if "mirror" not in config and "sources" not in config:
            config["subjects"] = [f"{name}.>"]
        await jetstream.add_stream(StreamConfig(name=name, **config))
        try:
            yield jetstream
        finally:
            await jetstream.delete_stream(name)


async def becomes(item: str, words: str, status: Status, *nodes: Nats, **options: Any) -> Result:
    """The verdict, once it is this one."""
    return await until(lambda: see(item, *nodes, **options), status, words)


# -- consumers, mirrors, sources, limits


async def test_a_durable_consumer_with_one_copy_or_in_memory_is_reported(three: list[Nats]) -> None:
    async with stream(three[0], "orders") as jetstream:
        await jetstream.add_consumer("orders", ConsumerConfig(durable_name="whole"))
        await jetstream.subscribe("orders.>", ordered_consumer=True)  # in memory, once, and made anew by its client
        await becomes(REPLICATION, "has 3 copies that keep up", Status.OK, *three)
        assert (await see(STORE, *three)).status is Status.OK
        await jetstream.add_consumer("orders", ConsumerConfig(durable_name="billing", num_replicas=1))
        await jetstream.add_consumer("orders", ConsumerConfig(durable_name="quick", mem_storage=True))
        assert (await jetstream.consumer_info("orders", "billing")).config.num_replicas == 1
        single = await becomes(
            REPLICATION, "Consumer billing of stream orders has 1 copy (wanted 3).", Status.FAILED, *three
        )
        assert single.reason is Reason.MISCONFIGURED
        memory = await see(STORE, *three)
        assert (memory.status, memory.summary) == (
            Status.FAILED,
            "Consumer quick of stream orders is kept in memory (wanted file).",
        )
        why = {"orders/billing": "It reads everything again.", "orders/quick": "It reads everything again."}
        await becomes(REPLICATION, "except orders by declaration", Status.OK, *three, single_copy=why)
        assert (await see(STORE, *three, in_memory=why)).status is Status.OK


async def test_a_mirror_that_never_came_and_a_source_that_went_are_reported(three: list[Nats]) -> None:
    async with stream(three[0], "orders") as jetstream:
        async with (
            stream(three[0], "copy", mirror=StreamSource(name="orders")),
            stream(three[0], "all", sources=[StreamSource(name="orders")]),
        ):
            await becomes(REPLICATION, "has 3 copies that keep up", Status.OK, *three)
            await jetstream.delete_stream("orders")
            await becomes(
                REPLICATION,
                "Stream all gets nothing from its source orders",
                Status.FAILED,
                *three,
                max_silence="3s",
            )
            await becomes(
                REPLICATION,
                "Stream copy gets nothing from its mirror orders",
                Status.FAILED,
                *three,
                max_silence="3s",
            )
        async with stream(three[0], "never", mirror=StreamSource(name="nothing")):
            assert (
                (await jetstream._jsm.stream_info("never")).mirror is not None if hasattr(jetstream, "_jsm") else True
            )
            never = await becomes(
                REPLICATION,
                "Stream never gets nothing from its mirror nothing, which was never reached.",
                Status.FAILED,
                *three,
            )
            assert never.reason is Reason.DOWN
        await add(three[0], "orders", num_replicas=3)


async def fill(jetstream: Any) -> None:
    for _ in range(20):
        await jetstream.publish("orders.a", b"x" * 900)


@pytest.mark.parametrize("limit", [{"max_msgs": 10}, {"max_bytes": 10_000}])
async def test_a_full_stream_that_refuses_messages_is_reported(three: list[Nats], limit: dict[str, int]) -> None:
    async with stream(three[0], "orders", discard=DiscardPolicy.NEW, **limit) as jetstream:
        await jetstream.publish("orders.a", b"x" * 900)
        await becomes(STORE, "", Status.OK, *three)
        with pytest.raises(errors.APIError, match=r"maximum (messages|bytes) exceeded"):
            await fill(jetstream)
        full = await becomes(STORE, "Stream orders is full and refuses messages: it holds ", Status.FAILED, *three)
        assert full.reason is Reason.LIMIT
        await jetstream.purge_stream("orders")
        for _ in range(9):
            await jetstream.publish("orders.a", b"x" * 900)
        await becomes(STORE, "Stream orders refuses messages once it is full, and ", Status.WARNING, *three)
    async with stream(three[0], "orders", max_msgs=1) as jetstream:
        for _ in range(3):
            await jetstream.publish("orders.a")
        await becomes(STORE, "", Status.OK, *three)  # to discard old ones is how it is meant to work


async def test_limits_of_the_account_that_are_used_up_are_reported(tmp_path: Path) -> None:
    app = {"jetstream": {"max_streams": 1, "max_consumers": 1}, "users": [{"user": "app", "password": "p"}]}
    with Nats(tmp_path, accounts={"APP": app}) as node:
        async with client(node, user="app", password="p") as jetstream:
            await jetstream.add_stream(StreamConfig(name="orders", subjects=["orders"]))
            with pytest.raises(errors.APIError, match="maximum number of streams reached"):
                await jetstream.add_stream(StreamConfig(name="more", subjects=["more"]))
            login = {"username": "app", "password": "p"}
            result = await see(STORE, node, **login)
            assert (result.status, result.summary) == (
                Status.WARNING,
                "JetStream refuses new streams: the account has 1 stream (limit 1).",
            )
            await jetstream.add_consumer("orders", ConsumerConfig(durable_name="one"))
            with pytest.raises(errors.APIError, match="maximum consumers"):
                await jetstream.add_consumer("orders", ConsumerConfig(durable_name="two"))
            result = await see(STORE, node, **login)
            assert (result.status, result.summary, result.reason) == (
                Status.FAILED,
                "JetStream refuses new consumers: the account has 1 consumer (limit 1).",
                Reason.LIMIT,
            )


async def test_a_server_alone_has_one_copy_whatever_its_stream_says(tmp_path: Path) -> None:
    with Nats(tmp_path, release=OLD) as node:
        await add(node, "orders")
        async with client(node) as jetstream:
            config = StreamConfig(name="orders", subjects=["orders.>"], num_replicas=3)
            assert (await jetstream.update_stream(config)).config.num_replicas == 3
        result = await see(REPLICATION, node)
        assert (result.status, result.summary) == (
            Status.FAILED,
            "Stream orders shall have 3 copies and has one: its server is alone (wanted 3).",
        )


async def test_an_even_number_of_copies_is_a_warning(three: list[Nats]) -> None:
    async with stream(three[0], "orders", num_replicas=2):
        result = await becomes(REPLICATION, "Stream orders has 2 copies, which", Status.WARNING, *three, min_replicas=2)
        assert result.summary == (
            "Stream orders has 2 copies, which survive the loss of no more servers than 1 copy does (wanted an odd number)."
        )


async def test_a_relative_store_dir_says_nothing_of_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Nats(tmp_path, jetstream={"store_dir": "streams", "max_file_store": 1 << 20}) as node:
        assert (told := node.monitor("jsz")["config"]["store_dir"]) == "streams/jetstream"
        await add(node, "orders")
        for options in ({"store_volume": None}, {}, {"store_volume": "/data"}):
            result = await see(STORE, node, **options)
            assert (result.status, result.summary) == (
                Status.UNKNOWN,
                f"NATS server n1 stores in {told}, relative to the folder that it was started in (wanted an absolute path).",
            )


# -- consumers that deliver nothing, streams that refuse or keep nothing


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_a_durable_consumer_that_waits_for_its_clients_is_a_warning(tmp_path: Path, release: str) -> None:
    with Nats(tmp_path, release=release) as node:
        async with client(node) as jetstream:
            await jetstream.add_stream(StreamConfig(name="orders", subjects=["orders.>"]))
            stuck = ConsumerConfig(
                durable_name="stuck", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=2, ack_wait=3600
            )
            await jetstream.add_consumer("orders", stuck)
            worker = await jetstream.pull_subscribe("orders.>", durable="stuck", stream="orders")
            for _ in range(3):
                await jetstream.publish("orders.new", b"")
            first, second = await worker.fetch(2, timeout=30)
            with pytest.raises(TimeoutError):
                await worker.fetch(1, timeout=0.5)
            context = make_context()  # 2.9 does not show how long ago it delivered: the checks have to observe it
            options: dict[str, Any] = {"min_replicas": 1, "context": context, "max_silence": "1s"}
            waits = await becomes(
                REPLICATION,
                "Consumer stuck of stream orders has delivered nothing for",
                Status.WARNING,
                node,
                **options,
            )
            assert "2 messages are not acknowledged (max_ack_pending 2), and 1 message waits." in waits.summary
            await first.ack_sync()
            (third,) = await worker.fetch(1, timeout=30)
            for message in (second, third):
                await message.ack_sync()
            await becomes(REPLICATION, "has 1 copy that keeps up", Status.OK, node, **options)
            await jetstream.add_consumer("orders", ConsumerConfig(durable_name="push", deliver_subject="nobody.here"))
            silent = await becomes(REPLICATION, "nobody listens", Status.WARNING, node, **options)
            assert (
                "Consumer push of stream orders pushes to nobody.here, where nobody listens; 3 messages"
                in silent.summary
            )


async def test_a_consumer_that_is_paused_is_a_warning(node: Nats) -> None:
    async with client(node) as jetstream:
        await jetstream.add_stream(StreamConfig(name="orders", subjects=["orders.>"]))
        await jetstream.publish("orders.new", b"")
        config = {"durable_name": "billing", "ack_policy": "explicit", "pause_until": "2100-01-01T00:00:00Z"}
        request = json.dumps({"stream_name": "orders", "config": config}).encode()
        reply = json.loads((await jetstream._nc.request("$JS.API.CONSUMER.CREATE.orders.billing", request)).data)
        assert reply["paused"] is True
        paused = await see(REPLICATION, node, min_replicas=1)
    assert paused.status is Status.WARNING
    assert "Consumer billing of stream orders is paused for another " in paused.summary
    assert paused.summary.endswith(" and delivers nothing; 1 message waits.")


async def test_streams_that_refuse_some_messages_or_keep_none_are_warnings(node: Nats) -> None:
    async with client(node) as jetstream:
        full = StreamConfig(
            name="full",
            subjects=["full.>"],
            discard=DiscardPolicy.NEW,
            discard_new_per_subject=True,
            max_msgs_per_subject=2,
        )
        await jetstream.add_stream(full)
        await jetstream.publish("full.b", b"")
        await jetstream.publish("full.a", b"")
        assert (await see(STORE, node)).status is Status.OK
        await jetstream.publish("full.a", b"")
        with pytest.raises(errors.APIError, match="maximum messages per subject exceeded"):
            await jetstream.publish("full.a", b"")
        await jetstream.add_stream(
            StreamConfig(name="empty", subjects=["empty.>"], retention=RetentionPolicy.INTEREST, max_consumers=2)
        )
        assert (await jetstream.publish("empty.new", b"")).seq == 1
        assert (await jetstream.stream_info("empty")).state.messages == 0
        seen = await see(STORE, node)
        assert seen.status is Status.WARNING
        assert seen.summary == (
            "Stream empty keeps no message that it acknowledges, as it has no consumer (retention interest). Stream full is full "
            "for at least 1 of 2 subjects and refuses messages there (max_msgs_per_subject 2, discard new)."
        )
        for name in ("one", "two"):
            await jetstream.add_consumer("empty", ConsumerConfig(durable_name=name))
        with pytest.raises(errors.APIError, match="maximum consumers limit reached"):
            await jetstream.add_consumer("empty", ConsumerConfig(durable_name="three"))
        seen = await see(STORE, node)
        assert "Stream empty refuses new consumers: it has 2 consumers (max_consumers 2)." in seen.summary


async def test_room_in_memory_and_room_that_is_reserved(tmp_path: Path) -> None:
    store = {"store_dir": str(tmp_path / "store"), "max_memory_store": 2000, "max_file_store": 1 << 20}
    with Nats(tmp_path, jetstream=store) as node:
        async with client(node) as jetstream:
            await jetstream.add_stream(StreamConfig(name="cache", subjects=["cache"], storage=StorageType.MEMORY))
            for _ in range(2):  # it refuses what comes after it has more than its limit
                await jetstream.publish("cache", bytes(1900))
            with pytest.raises(errors.APIError, match="resource"):
                await jetstream.publish("cache", bytes(1900))
            full = await see(STORE, node, in_memory={"cache": "It is read again."})
            assert (full.status, full.reason) == (Status.FAILED, Reason.LIMIT)
            assert "of 2 kB memory (limit 80%)." in full.summary
            await jetstream.delete_stream("cache")
            await jetstream.add_stream(StreamConfig(name="orders", subjects=["orders"], max_bytes=1 << 20))
            with pytest.raises(errors.APIError, match="insufficient storage resources"):
                await jetstream.add_stream(StreamConfig(name="more", subjects=["more"], max_bytes=1000))
            await becomes(STORE, "refuses new streams that have max_bytes", Status.WARNING, node)


async def test_streams_of_other_accounts_are_said_not_to_be_checked(tmp_path: Path) -> None:
    accounts = {name: {"jetstream": True, "users": [{"user": name, "password": "p"}]} for name in ("APP", "OTHER")}
    with Nats(tmp_path, accounts=accounts) as node:
        for name, storage in (("APP", StorageType.FILE), ("OTHER", StorageType.MEMORY)):
            async with client(node, user=name, password="p") as jetstream:
                await jetstream.add_stream(StreamConfig(name=name, subjects=[name], storage=storage))
        seen = await see(STORE, node, username="APP", password="p")
    assert seen.status is Status.OK
    assert "Every stream (1) is kept in files. Streams of 1 other account were not checked." in seen.summary


# -- topologies


@contextmanager
def superclusters(directory: Path, release: str) -> Iterator[list[Nats]]:
    """Two clusters that are linked by gateways and share one JetStream: a1 and a2, and b1."""
    gates = {"A": free_port(), "B": free_port()}
    routes = [free_port(), free_port()]
    gateways = [{"name": name, "urls": [f"nats://{LOOPBACK}:{port}"]} for name, port in gates.items()]
    with ExitStack() as stack:
        nodes = []
        for name, own in (("a1", "A"), ("a2", "A"), ("b1", "B")):
            listen = gates[own] if name != "a2" else free_port()
            port = {"a1": routes[0], "a2": routes[1]}.get(name) or free_port()
            joined: dict[str, Any] = {"name": own, "listen": f"{LOOPBACK}:{port}"}
            peers = routes if own == "A" else [port]
            joined["routes"] = [f"nats-route://{LOOPBACK}:{route}" for route in peers]
            gateway = {"name": own, "listen": f"{LOOPBACK}:{listen}", "gateways": gateways}
            nodes.append(
                stack.enter_context(Nats(directory, name=name, release=release, cluster=joined, gateway=gateway))
            )
        wait_until(lambda: meta_leader(nodes), "JetStream to have a leader", 60)
        yield nodes


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_a_supercluster_is_healthy_whether_all_of_it_is_listed_or_one_cluster(
    tmp_path: Path, release: str
) -> None:
    with superclusters(tmp_path, release) as nodes:
        a1, a2, b1 = nodes

        def one_leader() -> bool:
            leaders = {node.monitor("jsz").get("meta_cluster", {}).get("leader") for node in nodes}
            return len(leaders) == 1 and None not in leaders

        wait_until(one_leader, "all to know one leader", 60)
        await add(a1, "orders", num_replicas=2)
        options: dict[str, Any] = {"min_replicas": 2}
        for listed in (nodes, [a1, a2], [b1]):
            await becomes(HEALTH, "answer", Status.OK, *listed, **options)
            # Two copies are a warning of its own.
            await becomes(REPLICATION, "has 2 copies", Status.WARNING, *listed, **options)
            assert (await see(STORE, *listed, **options)).status is Status.OK
        b1.kill()
        await becomes(HEALTH, "has no gateway to B (wanted one to each cluster).", Status.FAILED, a1, a2, **options)
        await becomes(HEALTH, f"{LOOPBACK}:{b1.port}", Status.FAILED, *nodes, **options)


async def test_a_leaf_beside_a_cluster_is_healthy_until_it_is_cut_off(tmp_path: Path) -> None:
    leaves = [free_port() for _ in range(3)]
    with ExitStack() as stack:
        routes = [free_port() for _ in range(3)]
        nodes = []
        for number in range(3):
            joined = {
                "name": "hub",
                "listen": f"{LOOPBACK}:{routes[number]}",
                "routes": [f"nats-route://{LOOPBACK}:{port}" for port in routes],
            }
            leafnodes = {"listen": f"{LOOPBACK}:{leaves[number]}"}
            nodes.append(
                stack.enter_context(Nats(tmp_path, name=f"n{number + 1}", cluster=joined, leafnodes=leafnodes))
            )
        wait_until(lambda: meta_leader(nodes), "a leader", 60)
        await add(nodes[0], "orders", num_replicas=3)
        store = {"store_dir": str(tmp_path / "leaf-store"), "domain": "edge", "max_file_store": 1 << 20}
        remotes = {"remotes": [{"urls": [f"nats-leaf://{LOOPBACK}:{port}"]} for port in leaves[:1]]}
        leaf = stack.enter_context(Nats(tmp_path, name="edge", jetstream=store, leafnodes=remotes))
        wait_until(lambda: leaf.monitor("varz")["leafnodes"] == 1, "the leaf to be connected")
        for listed in (nodes, [*nodes, leaf]):
            await becomes(HEALTH, "answer and see each other", Status.OK, *listed)
            await becomes(REPLICATION, "has 3 copies that keep up", Status.OK, *listed)
            assert (await see(STORE, *listed)).status is Status.OK
        nodes[0].kill()
        await becomes(HEALTH, "NATS server edge has 0 leaf connections (wanted 1).", Status.FAILED, *nodes[1:], leaf)


async def test_a_leaf_that_lost_its_hub_is_not_saved_by_leaves_of_its_own(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    with ExitStack() as stack:
        hub = stack.enter_context(Nats(tmp_path, name="hub", leafnodes={"listen": f"{LOOPBACK}:{ports[0]}"}))
        store = {"store_dir": str(tmp_path / "middle"), "domain": "middle", "max_file_store": 1 << 20}
        up = [{"remotes": [{"urls": [f"nats-leaf://{LOOPBACK}:{port}"]}]} for port in ports]
        listens = {"listen": f"{LOOPBACK}:{ports[1]}"}
        middle = stack.enter_context(Nats(tmp_path, name="middle", jetstream=store, leafnodes=up[0] | listens))
        stack.enter_context(Nats(tmp_path, name="edge", jetstream=None, leafnodes=up[1]))
        wait_until(lambda: middle.monitor("varz")["leafnodes"] == 2, "both leaf connections", 60)
        assert (await see(HEALTH, middle)).status is Status.OK
        hub.kill()
        wait_until(lambda: middle.monitor("varz")["leafnodes"] == 1, "the hub to be missed", 60)
        lost = await see(HEALTH, middle)
    assert (lost.status, lost.reason) == (Status.FAILED, Reason.DOWN)
    assert lost.summary == "NATS server middle has 0 leaf connections beside 1 of other servers to it (wanted 1)."


async def test_servers_of_one_cluster_that_take_messages_of_different_sizes(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(2)]
    routes = [f"nats-route://{LOOPBACK}:{port}" for port in ports]
    with ExitStack() as stack:
        nodes = []
        for number, (port, most) in enumerate(zip(ports, (1 << 20, 500), strict=True), 1):
            joined = {"name": "c1", "listen": f"{LOOPBACK}:{port}", "routes": routes}
            nodes.append(
                stack.enter_context(Nats(tmp_path, name=f"n{number}", jetstream=None, cluster=joined, max_payload=most))
            )
        connection = await nats.connect(nodes[1].url, allow_reconnect=False)
        assert connection.max_payload == 500
        await connection.close()
        seen = await becomes(HEALTH, "max_payload", Status.WARNING, *nodes)
    assert seen.summary == (
        "NATS servers of one cluster take messages of different sizes (max_payload): n2 500 B, n1 1.05 MB. "
        "NATS server n2 takes no message of more than 500 bytes (max_payload, wanted at least 1 kB)."
    )


async def test_a_certificate_that_expires_tomorrow_and_one_that_has_expired(tmp_path: Path) -> None:
    authority = Issued.root()
    ca, _ = authority.write(tmp_path, "ca")
    right = authority.issue(LOOPBACK).write(tmp_path, "right")

    def shown(name: str, days: float) -> dict[str, str]:
        certificate, key = authority.issue(LOOPBACK, days=days, age=3).write(tmp_path, name)
        return {"cert_file": str(certificate), "key_file": str(key), "ca_file": str(ca)}

    clients = {"cert_file": str(right[0]), "key_file": str(right[1])}
    cluster_port, options = free_port(), {"tls": {"ca_file": str(ca)}, "min_replicas": 1}

    def routes(name: str, days: float) -> dict[str, Any]:
        return {"name": "c1", "listen": f"{LOOPBACK}:{cluster_port}", "tls": shown(name, days)}

    with Nats(tmp_path, tls=shown("soon", 1)) as node:
        soon = await see(HEALTH, node, **options)
        assert soon.status is Status.WARNING
        assert "The certificate that NATS server n1 shows to its clients expires in " in soon.summary
        assert (await see(HEALTH, node, certificate_warn="1h", **options)).status is Status.OK
    doors: dict[str, Any] = {
        door: {"listen": f"{LOOPBACK}:{free_port()}", "tls": shown(door, 1)} for door in ("websocket", "mqtt")
    }
    with Nats(tmp_path, name="n3", tls=clients, **doors) as node:
        other = await see(HEALTH, node, **options)
        assert other.status is Status.WARNING
        assert "shows to its MQTT clients expires in " in other.summary or "WebSocket clients" in other.summary
    with Nats(tmp_path, name="n2", jetstream=None, tls=clients, cluster=routes("over", -1)) as node:
        over = await see(HEALTH, node, **options)
    assert (over.status, over.reason) == (Status.FAILED, Reason.EXPIRED)
    assert "The certificate that NATS server n2 shows to its routes expired " in over.summary


async def test_a_server_without_jetstream_beside_a_cluster_may_be_listed_or_not(tmp_path: Path) -> None:
    routes = [free_port() for _ in range(4)]
    with ExitStack() as stack:
        nodes = []
        for number, port in enumerate(routes, 1):
            joined = {
                "name": "c1",
                "listen": f"{LOOPBACK}:{port}",
                "routes": [f"nats-route://{LOOPBACK}:{route}" for route in routes],
            }
            options: dict[str, Any] = {"jetstream": None} if number == 4 else {}
            nodes.append(stack.enter_context(Nats(tmp_path, name=f"n{number}", cluster=joined, **options)))
        *three, core = nodes
        wait_until(lambda: meta_leader(three), "a leader", 60)
        await add(three[0], "orders", num_replicas=3)
        where = [address(node.port, node.monitoring) for node in nodes]
        declared = [*where[:3], where[3] | {"jetstream": False}]
        for listed in (where[:3], declared):
            await becomes(HEALTH, "answer and see each other", Status.OK, nodes=listed)
            await becomes(REPLICATION, "has 3 copies that keep up", Status.OK, nodes=listed)
            await becomes(STORE, "JetStream stores on disk on every server", Status.OK, nodes=listed)
        assert "except on 1 server by declaration." in (await see(STORE, nodes=declared)).summary
        undeclared = await see(STORE, nodes=where)
        assert (undeclared.status, "NATS server n4 runs without JetStream." in undeclared.summary) == (
            Status.FAILED,
            True,
        )
        # One that has JetStream and is not listed is one too many, as ever.
        short = await see(HEALTH, nodes=[where[0], where[1], declared[3]])
        assert (short.status, "see 3 of the other servers (wanted 2)" in short.summary) == (Status.FAILED, True)
        core.kill()
        dead = await becomes(HEALTH, "see only 2 of the other servers (wanted 3)", Status.FAILED, nodes=declared)
        assert dead.reason is Reason.DOWN


# -- messages that are lost, or that nobody gets


async def test_messages_that_a_stream_removed_before_they_were_delivered(two_releases: Nats) -> None:
    node = two_releases
    async with stream(node, "jobs", num_replicas=1, retention=RetentionPolicy.WORK_QUEUE, max_msgs=5) as jetstream:
        await jetstream.add_consumer("jobs", ConsumerConfig(durable_name="worker", ack_policy=AckPolicy.EXPLICIT))
        for _ in range(12):
            await jetstream.publish("jobs.new", b"")
        assert (await jetstream.stream_info("jobs")).state.first_seq == 8
        lost = await see(STORE, node)
        assert (lost.status, lost.reason) == (Status.FAILED, Reason.LIMIT)
        assert (
            "Stream jobs is full and drops messages that are not acknowledged: it holds 5 of 5 messages" in lost.summary
        )
        await jetstream.purge_stream("jobs")  # on purpose
        assert (await see(STORE, node)).status is Status.OK
        await jetstream.publish("jobs.new", b"")
        assert (await see(STORE, node)).status is Status.OK
    async with stream(node, "events", num_replicas=1, max_msgs=5) as jetstream:
        for _ in range(12):
            await jetstream.publish("events.new", b"")
        for name, policy in (("all", DeliverPolicy.ALL), ("new", DeliverPolicy.NEW)):
            config = ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT, deliver_policy=policy)
            await jetstream.add_consumer("events", config)
        assert (await see(STORE, node)).status is Status.OK  # both began with what is there
        for _ in range(7):
            await jetstream.publish("events.new", b"")
        late = await see(STORE, node)
        assert late.status is Status.WARNING
        assert late.summary.startswith(
            "Consumer all of stream events never got 7 messages: the stream's limits removed them (delivered up to message 7, the "
            "first one left is 15)."
        )
    async with stream(node, "kept", num_replicas=1) as jetstream:
        await jetstream.add_consumer("kept", ConsumerConfig(durable_name="all", ack_policy=AckPolicy.EXPLICIT))
        await jetstream.publish("kept.new", b"")
        await jetstream.delete_msg("kept", 1)  # by somebody, not by a limit
        assert (await see(STORE, node)).status is Status.OK


async def test_a_work_queue_with_messages_that_no_consumer_delivers(two_releases: Nats) -> None:
    node = two_releases
    options: dict[str, Any] = {"min_replicas": 1, "max_silence": "1s", "context": make_context()}
    queue = {"num_replicas": 1, "retention": RetentionPolicy.WORK_QUEUE}
    async with stream(node, "jobs", **queue) as jetstream:
        config = ConsumerConfig(durable_name="new", ack_policy=AckPolicy.EXPLICIT, filter_subject="jobs.new")
        await jetstream.add_consumer("jobs", config)
        worker = await jetstream.pull_subscribe("jobs.new", durable="new", stream="jobs")
        await jetstream.publish("jobs.new", b"")
        (message,) = await worker.fetch(1, timeout=30)  # takes long, and is not abandoned
        for _ in range(3):
            assert (await see(REPLICATION, node, **options)).status is Status.OK
        await message.ack_sync()
        await jetstream.publish("jobs.cancelled", b"")
        left = await becomes(REPLICATION, "no consumer delivers any more", Status.WARNING, node, **options)
        assert left.summary.startswith(
            "Stream jobs (retention workqueue) holds messages that no consumer delivers any "
        )
        await jetstream.purge_stream("jobs")
        await becomes(REPLICATION, "has 1 copy that keeps up", Status.OK, node, **options)
    if node.monitor("varz")["version"].startswith(OLD):
        return  # it waits for the acknowledgement for ever
    async with stream(node, "once", **queue) as jetstream:
        config = ConsumerConfig(durable_name="once", ack_policy=AckPolicy.EXPLICIT, max_deliver=1, ack_wait=0.1)
        await jetstream.add_consumer("once", config)
        await jetstream.publish("once.new", b"")
        worker = await jetstream.pull_subscribe("once.>", durable="once", stream="once")
        await worker.fetch(1, timeout=30)
        await becomes(REPLICATION, "deliveries are used up (max_deliver)", Status.WARNING, node, **options)


async def test_subjects_that_nobody_sends(node: Nats) -> None:
    async with stream(node, "orders", num_replicas=1) as jetstream:
        both = StreamConfig(name="mixed", subjects=["new.*.eu", "bills.>"])
        await jetstream.add_stream(both)
        for name, wanted in (("right", "new.7.*"), ("bills", "bills.>")):
            config = ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT, filter_subject=wanted)
            await jetstream.add_consumer("mixed", config)
        assert (await see(REPLICATION, node, min_replicas=1)).status is Status.OK
        both.subjects = ["new.*.eu"]
        await jetstream.update_stream(both)
        orphan = await see(REPLICATION, node, min_replicas=1)
        assert (orphan.status, orphan.summary) == (
            Status.WARNING,
            "Consumer bills of stream mixed waits for bills.>, which is no subject of the stream.",
        )
        await jetstream.delete_stream("mixed")
        for wanted, status in (("orders.new", Status.OK), ("ordres.>", Status.WARNING)):
            async with stream(
                node, "copy", num_replicas=1, sources=[StreamSource(name="orders", filter_subject=wanted)]
            ):
                never = await becomes(REPLICATION, "", status, node, min_replicas=1)
        assert never.summary == "Stream copy waits for ordres.> of stream orders, which has no such subject."


async def test_a_mirror_that_refuses_what_its_origin_sends(two_releases: Nats) -> None:
    node = two_releases
    options: dict[str, Any] = {"min_replicas": 1, "max_silence": "3s", "context": make_context()}
    async with (
        stream(node, "orders", num_replicas=1) as jetstream,
        stream(node, "copy", num_replicas=1, mirror=StreamSource(name="orders"), max_msg_size=100),
    ):
        await jetstream.publish("orders.new", b"")
        await becomes(REPLICATION, "has 1 copy that keeps up", Status.OK, node, **options)
        for _ in range(3):
            await jetstream.publish("orders.new", bytes(500))
        stuck = await becomes(
            REPLICATION, "has taken nothing from its mirror orders for ", Status.FAILED, node, **options
        )
        assert (await jetstream.stream_info("copy")).state.last_seq <= 1
        assert stuck.reason is Reason.DOWN
        assert "and lacks 3 messages of it" in stuck.summary


async def test_a_stream_that_cannot_be_written(tmp_path: Path) -> None:
    with Nats(tmp_path) as node:
        async with client(node) as jetstream:
            await jetstream.add_stream(StreamConfig(name="orders", subjects=["orders"]))
            await jetstream.publish("orders", b"")
            assert (await see(STORE, node)).status is Status.OK
            resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (1000, 1000))  # as on a disk that is full
            with suppress(NatsError):
                await jetstream.publish("orders", bytes(900), timeout=2)
            with pytest.raises(NatsError):
                await jetstream.publish("orders", bytes(900), timeout=2)
        for item in (HEALTH, STORE):
            full = await see(item, node)
            assert (full.status, full.reason) == (Status.FAILED, Reason.DOWN)
            assert "stream '$G > orders' write error: write " in full.summary


async def test_a_stream_that_came_back_with_fewer_messages(tmp_path: Path) -> None:
    context = make_context()
    with Nats(tmp_path) as node:
        async with client(node) as jetstream:
            await jetstream.add_stream(StreamConfig(name="orders", subjects=["orders"]))
            for _ in range(20):
                await jetstream.publish("orders", bytes(500))
        assert (await see(STORE, node, context=context)).status is Status.OK
        node.stop()
        (block,) = tmp_path.rglob("1.blk")
        damaged = block.read_bytes()
        block.write_bytes(damaged[:5000] + bytes(2000) + damaged[7000:])
        for index in tmp_path.rglob("index.db"):
            index.unlink()
        node.start()
        async with client(node) as jetstream:
            assert (last := (await jetstream.stream_info("orders")).state.last_seq) < 20
        lost = await see(STORE, node, context=context)
        assert (lost.status, lost.reason) == (Status.FAILED, Reason.CONTRADICTED)
        assert f"Stream orders has lost {20 - last} messages: its last one is {last} (was 20)." in lost.summary


async def test_limits_whose_unit_was_forgotten(node: Nats) -> None:
    async with stream(node, "orders", num_replicas=1, max_bytes=10, max_msg_size=64, max_age=0.1) as jetstream:
        assert (await jetstream.publish("orders.new", b"")).seq == 1
        assert (await jetstream.stream_info("orders")).state.messages == 0
        tiny = await see(STORE, node)
    assert tiny.status is Status.WARNING
    for limit in ("no more than 10 bytes (max_bytes", "more than 64 bytes (max_msg_size", "for 100ms (max_age"):
        assert limit in tiny.summary


# -- what is as it should be


async def test_a_cluster_that_is_busy_keeps_up(tmp_path: Path) -> None:
    """Its followers are not `current` whenever a message is on its way to them."""
    with cluster(tmp_path) as nodes:
        async with stream(nodes[0], "orders") as jetstream:
            await becomes(REPLICATION, "has 3 copies that keep up", Status.OK, *nodes)
            behind: list[dict[str, Any]] = []

            async def write() -> None:
                while True:
                    await asyncio.gather(*(jetstream.publish("orders.new", b"") for _ in range(20)))

            writing = asyncio.create_task(write())
            try:
                async with client(nodes[1]) as other:

                    async def is_behind() -> bool:
                        reply = await other._nc.request("$JS.API.STREAM.INFO.orders", b"")
                        behind[:] = [one for one in json.loads(reply.data)["cluster"]["replicas"] if not one["current"]]
                        return bool(behind)

                    for _ in range(10):
                        await eventually(is_behind, "a follower that is not current")
                        assert behind[0]["lag"] > 0
                        assert "not current" not in (await see(REPLICATION, *nodes)).summary
            finally:
                writing.cancel()


async def test_subjects_that_a_stream_rewrites(node: Nats) -> None:
    async with client(node) as jetstream:
        config = {"name": "in", "subjects": ["in.>"], "subject_transform": {"src": "in.>", "dest": "out.>"}}
        made = {"storage": "file", "retention": "limits", "num_replicas": 1}
        await jetstream._nc.request("$JS.API.STREAM.CREATE.in", json.dumps(config | made).encode())
        await jetstream.add_consumer("in", ConsumerConfig(durable_name="out", filter_subject="out.*"))
        await jetstream.publish("in.x", b"")

        async def pending() -> bool:
            return bool((await jetstream.consumer_info("in", "out")).num_pending == 1)

        await eventually(pending, "the message to wait for the consumer")
        assert (await see(REPLICATION, node, min_replicas=1)).status is Status.OK


# -- what the servers of a cluster allow


async def test_servers_with_unlike_room_or_no_more_groups(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(2)]
    routes = [f"nats-route://{LOOPBACK}:{port}" for port in ports]
    with ExitStack() as stack:
        nodes = []
        for number, port in enumerate(ports, 1):
            store = {
                "store_dir": str(tmp_path / f"s{number}"),
                "max_file_store": (1 << 20) * (1 if number == 1 else 64),
                "limits": {"max_ha_assets": 2},
            }
            joined = {"name": "c1", "listen": f"{LOOPBACK}:{port}", "routes": routes}
            nodes.append(stack.enter_context(Nats(tmp_path, name=f"n{number}", cluster=joined, jetstream=store)))
        wait_until(lambda: meta_leader(nodes), "a leader", 60)
        unlike = await see(STORE, *nodes)
        assert (unlike.status, unlike.summary) == (
            Status.WARNING,
            "NATS servers of one cluster have different room for streams (max_file_store): n1 1.05 MB, n2 67.1 MB.",
        )
        for name in ("one", "two"):
            await add(nodes[0], name, num_replicas=2)
        with pytest.raises(errors.APIError, match="no suitable peers"):
            await add(nodes[0], "three", num_replicas=2)
        await becomes(STORE, "it is in 3 groups of replicas (max_ha_assets 2)", Status.WARNING, *nodes)
        # No majority is left when one of the two goes.
        pair = await becomes(REPLICATION, "stops with the loss of one", Status.WARNING, *nodes, min_replicas=2)
        assert "JetStream's group has 2 servers and stops with the loss of one (wanted at least 3)." in pair.summary


async def test_a_gateway_in_one_direction(tmp_path: Path) -> None:
    here, there, nowhere = free_port(), free_port(), free_port()
    first = {
        "name": "A",
        "listen": f"{LOOPBACK}:{here}",
        "advertise": f"{LOOPBACK}:{nowhere}",
        "gateways": [{"name": "B", "url": f"nats://{LOOPBACK}:{there}"}],
    }
    second = {"name": "B", "listen": f"{LOOPBACK}:{there}"}
    with (
        Nats(tmp_path, name="a1", jetstream=None, gateway=first) as one,
        Nats(tmp_path, name="b1", jetstream=None, gateway=second) as two,
    ):
        wait_until(lambda: "A" in two.monitor("gatewayz")["inbound_gateways"], "the gateway of A", 60)
        assert not two.monitor("gatewayz")["outbound_gateways"]
        lacking = await becomes(HEALTH, "has no gateway to", Status.FAILED, one, two)
    assert lacking.summary == "NATS server b1 has no gateway to A (wanted one to each cluster)."


async def test_the_streams_of_a_leaf_with_a_jetstream_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    store = {"max_file_store": 1 << 20}
    stores = [store | {"store_dir": str(tmp_path / name), "domain": name} for name in ("hub", "edge")]
    up = {"remotes": [{"urls": [f"nats-leaf://{LOOPBACK}:{port}"]}]}
    with (
        Nats(tmp_path, name="hub", jetstream=stores[0], leafnodes={"listen": f"{LOOPBACK}:{port}"}) as hub,
        Nats(tmp_path, name="edge", jetstream=stores[1], leafnodes=up) as edge,
    ):
        wait_until(lambda: edge.monitor("varz")["leafnodes"] == 1, "the leaf connection", 60)
        await add(hub, "orders")
        await add(edge, "readings", storage=StorageType.MEMORY)
        for nodes in ((hub, edge), (edge, hub)):
            kept = await see(STORE, *nodes)
            assert (kept.status, kept.summary) == (Status.FAILED, "Stream readings is kept in memory (wanted file).")
            seen = await see(REPLICATION, *nodes, min_replicas=1)
            assert "Every stream (2) has 1 copy that keeps up." in seen.summary
        edge.kill()
        blind = await see(STORE, hub, edge)
        assert blind.status is Status.UNKNOWN


# -- answers that are none, or say no


async def test_a_server_in_lame_duck_mode_gives_its_own_reason(tmp_path: Path) -> None:
    with Nats(tmp_path, lame_duck_duration="60s", lame_duck_grace_period="50s") as node:
        await add(node, "orders")
        async with client(node):  # a server without clients ends at once
            node.signal(signal.SIGUSR2)
            seen = {}

            async def told() -> bool:
                seen.update(await look(node, min_replicas=1))
                return "NATS server n1 is not healthy: " in seen[HEALTH].summary

            await eventually(told, what="the server says that it is about to end")
        assert seen[HEALTH].status is Status.FAILED
        assert "failed to be ready for connections" in seen[HEALTH].summary


@pytest.mark.parametrize(
    ("path", "change", "blind", "told"),
    [
        ("/varz", {"slow_consumers": None}, {HEALTH}, "`$.slow_consumers`"),
        ("/routez", {"routes": [1]}, {HEALTH}, "`$.routes[0]`"),
        ("/jsz", {"config": [1]}, {STORE, REPLICATION}, "`$.config`"),
        ("/jsz", {"storage": "much"}, {STORE, REPLICATION}, "`$.storage`"),
        ("/jsz", {"meta_cluster": {"replicas": [None]}}, {STORE, REPLICATION}, "`$.meta_cluster.replicas[0]`"),
    ],
)
async def test_a_document_of_another_shape_blinds_its_own_line(
    nats_server: Nats, path: str, change: dict[str, Any], blind: set[str], told: str
) -> None:
    await add(nats_server, "shapes")
    body = json.dumps(nats_server.monitor(path.strip("/")) | change).encode()
    async with faults.without_path(nats_server.monitoring, path, body) as url:
        seen = await look(nodes=[address(nats_server.port, url)], min_replicas=1)
    for item, result in seen.items():
        assert result.status is (Status.UNKNOWN if item in blind else Status.OK), result.summary
        if item in blind:
            assert result.reason is Reason.MALFORMED
            assert f"{path} was answered in an unexpected format: " in result.summary
            assert told in result.summary


# What NATS 2.15 answered in 1 of 200,000 looks while it was stopped for 1.5 ms every 3 ms, and nothing was wrong.
_NO_TIME = b'{"status":"error","error":"failed to be ready for connections after 1ms: "}'
# What it answered for a moment after stream s had been deleted.
_DELETING = b"""{"status":"error","error":"JetStream stream '$G > .s' could not be recovered"}"""


@pytest.mark.parametrize(
    ("said", "why"), [(_NO_TIME, "the server is short of CPU time"), (_DELETING, "it is deleting a stream")]
)
@pytest.mark.parametrize(("times", "status"), [(1, Status.OK), (None, Status.UNKNOWN)])
async def test_a_server_that_did_not_check_itself_is_asked_again(
    nats_server: Nats, said: bytes, why: str, times: int | None, status: Status
) -> None:
    async with faults.without_path(nats_server.monitoring, "/healthz", said, 500, times=times) as url:
        seen = await look(nodes=[address(nats_server.port, url)], min_replicas=1, items=(HEALTH,))
    assert seen[HEALTH].status is status, seen[HEALTH].summary
    if status is Status.UNKNOWN:
        assert seen[HEALTH].reason is Reason.TIMEOUT
        assert f"without a check, as {why}." in seen[HEALTH].summary


async def test_a_server_that_has_no_connection_left_refuses_clients(tmp_path: Path) -> None:
    with Nats(tmp_path, max_connections=2) as node:
        async with client(node), client(node):
            with pytest.raises((OSError, NatsError)):
                async with client(node):
                    pass
            result = await see(HEALTH, node, min_replicas=1)
            assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
            assert "NATS server n1 refuses further clients: 2 of 2 connections in use." in result.summary
        node.configure(max_connections=20)
        result = await see(HEALTH, node, min_replicas=1)
        assert result.status is Status.OK, result.summary


async def test_a_stream_that_acknowledges_before_it_writes_is_a_warning(tmp_path: Path) -> None:
    with Nats(tmp_path) as node:
        config = {"name": "FAST", "subjects": ["fast"], "storage": "file", "num_replicas": 1, "persist_mode": "async"}
        connection = await nats.connect(node.url, allow_reconnect=False)
        reply = await connection.request("$JS.API.STREAM.CREATE.FAST", json.dumps(config).encode())
        await connection.close()
        assert json.loads(reply.data)["config"]["persist_mode"] == "async"
        result = await see(STORE, node, min_replicas=1)
    assert result.status is Status.WARNING
    assert "Stream FAST acknowledges messages before they are written (persist_mode async)." in result.summary


async def test_what_a_stream_does_not_acknowledge_or_take(node: Nats) -> None:
    async with client(node) as jetstream:
        await jetstream.add_stream(StreamConfig(name="quiet", subjects=["quiet"], no_ack=True))
        with pytest.raises(NatsError):
            await jetstream.publish("quiet", b"x", timeout=1)
        assert (await jetstream.stream_info("quiet")).config.no_ack
        result = await see(STORE, node)
        assert (result.status, result.summary) == (
            Status.WARNING,
            "Stream quiet acknowledges no message, so nobody notices those that it did not store (no_ack).",
        )
        await jetstream.delete_stream("quiet")
        config = StreamConfig(name="closed", subjects=["closed"])
        await jetstream.add_stream(config)
        config.sealed = True
        await jetstream.update_stream(config)
        with pytest.raises(errors.APIError, match="sealed"):
            await jetstream.publish("closed", b"x")
        result = await see(STORE, node)
        assert (result.status, result.summary) == (Status.WARNING, "Stream closed is sealed and refuses every message.")


async def test_messages_that_reach_the_disk_after_a_day(tmp_path: Path) -> None:
    store = {"store_dir": str(tmp_path / "store"), "max_file_store": 1 << 20, "sync_interval": "24h"}
    with Nats(tmp_path, jetstream=store) as node:
        assert node.monitor("varz")["jetstream"]["config"]["sync_interval"] == 24 * 3600 * 10**9
        result = await see(STORE, node)
    assert (result.status, result.summary) == (
        Status.WARNING,
        "NATS server n1 leaves messages to the kernel for up to 1d before they reach the disk (sync_interval, limit 10m).",
    )


async def test_an_account_that_takes_no_more_clients(tmp_path: Path) -> None:
    app = {"jetstream": True, "limits": {"max_conn": 1}, "users": [{"user": "app", "password": "p"}]}
    with Nats(tmp_path, accounts={"APP": app}) as node:
        login = {"username": "app", "password": "p"}
        async with client(node, user="app", password="p"):
            with socket.create_connection((LOOPBACK, node.port), timeout=30) as another:
                another.sendall(b'CONNECT {"user": "app", "pass": "p", "verbose": false}\r\nPING\r\n')
                assert b"maximum account active connections exceeded" in _read(another)
            result = await see(HEALTH, node, **login)
    assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
    assert result.summary == (
        f"NATS {LOOPBACK}:{node.port} takes no more clients: maximum account active connections exceeded."
    )


def _read(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(4096):
        received += data
    return received


# -- whose metrics


async def test_an_exporter_of_another_server(node: Nats, tmp_path: Path) -> None:
    """prometheus-nats-exporter cannot be had: the series that it gives of a server come from a page.

    Its label server_id is an address, or the identifier that the server had when the exporter started; the metric of that name is
    what the server says now.
    """
    own = node.monitor("varz")["server_id"]
    asked = itertools.count()

    def page(label: str, server: str) -> str:
        return (
            f'gnatsd_varz_connections{{server_id="{label}"}} 4\n'
            f'gnatsd_varz_http_req_stats_varz{{server_id="{label}"}} {next(asked)}\n'
            f'gnatsd_varz_server_id{{server_id="{label}",value="{server}"}} 1\n'
        )

    other, at = "N" + "B" * 55, "http://localhost:8222"
    with (
        Exposition(lambda: page(other, own)) as exporter,
        Prometheus(tmp_path, scrapes=[scrape("nats", exporter.port)]) as server,
    ):
        old = json.dumps(
            node.monitor("varz") | {"uptime": "2h0m3s"}
        ).encode()  # in its first minute nobody knows its identifier
        async with (
            connected({PrometheusClient: server.url}) as clients,
            faults.without_path(node.monitoring, "/varz", old) as monitoring,
        ):
            options: dict[str, Any] = {
                "context": make_context(clients=clients),
                "scrape": {"stale_after": "10s"},
                "nodes": [address(node.port, monitoring)],
            }
            # The server was restarted since the exporter started.
            await becomes("metrics_collected", "No exporter reports another server.", Status.OK, **options)
            exporter.text = lambda: page(at, other)
            wrong = await becomes("metrics_collected", "which is none of n1", Status.FAILED, **options)
            assert wrong.reason is Reason.CONTRADICTED
            exporter.text = lambda: page(at, own)
            await becomes("metrics_collected", "No exporter reports another server.", Status.OK, **options)
