"""States of NATS that people with years on call for it thought of, each shown by the server itself first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    Placement,
    RetentionPolicy,
    StreamSource,
)

from exporter.verdict import Status
from tests.collectors.infrastructure.test_nats import ALL, client, see
from tests.collectors.infrastructure.test_nats_states import becomes
from tests.servers.certificates import Issued
from tests.servers.highwayhash import highwayhash
from tests.servers.nats import NEW, OLD, Nats, meta_leader
from tests.servers.process import LOOPBACK, eventually, free_port, wait_until
from tests.support import make_context

HEALTH, STORE, REPLICATION = ALL

pytestmark = pytest.mark.usefixtures("no_noise")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Nats]:
    with Nats(tmp_path) as server:
        yield server


async def api(jetstream: Any, subject: str, body: object = None) -> dict[str, Any]:
    """What JetStream's API answers."""
    reply = await jetstream._nc.request(f"$JS.API.{subject}", json.dumps(body or {}).encode(), timeout=15)
    answer: dict[str, Any] = json.loads(reply.data)
    return answer


async def test_a_mirror_whose_origin_was_created_again(node: Nats) -> None:
    """It numbers messages as its origin does, so it takes none of the new ones until they have passed its own."""
    context = make_context()
    options: dict[str, Any] = {"context": context, "min_replicas": 1, "max_silence": "2s"}
    async with client(node) as jetstream:
        await jetstream.add_stream(name="origin", subjects=["origin.>"])
        for _ in range(20):
            await jetstream.publish("origin.a", b"old")
        await jetstream.add_stream(name="copy", mirror=StreamSource(name="origin"))

        async def has(number: int) -> bool:
            return bool((await jetstream.stream_info("copy")).state.last_seq == number)

        await eventually(lambda: has(20), what="the mirror to have all messages")
        assert (await see(REPLICATION, node, **options)).status is Status.OK
        await jetstream.delete_stream("origin")
        await jetstream.add_stream(name="origin", subjects=["origin.>"])
        for _ in range(5):
            await jetstream.publish("origin.a", b"new")
        stuck = "Stream copy takes nothing from its mirror origin, which was created again: it is at message 20, and the new one"
        await becomes(REPLICATION, stuck, Status.FAILED, node, **options)
        assert (await jetstream.get_msg("copy", 3)).data == b"old"
        for _ in range(20):
            await jetstream.publish("origin.a", b"new")
        await eventually(lambda: has(25), what="the mirror to go on")
        assert (await jetstream.get_msg("copy", 3)).data == b"old", "the first new ones never come"


async def test_consumers_that_lose_or_repeat_messages(node: Nats) -> None:
    async with client(node) as jetstream:
        await jetstream.add_stream(name="passing", subjects=["passing.>"], retention=RetentionPolicy.INTEREST)
        listener = await jetstream.subscribe("passing.>")
        await jetstream.publish("passing.a", b"kept")
        assert (await jetstream.stream_info("passing")).state.consumer_count == 1
        passing = await see(STORE, node)
        await listener.unsubscribe()
        # Once nobody is connected it keeps nothing; whoever listens durably is waited for.
        await jetstream.add_consumer("passing", ConsumerConfig(durable_name="d", ack_policy=AckPolicy.EXPLICIT))
        waited = await see(STORE, node)
        await jetstream.delete_stream("passing")
        await jetstream.add_stream(name="again", subjects=["again.>"])
        consumer = {"durable_name": "d", "name": "d", "ack_policy": "explicit", "ack_wait": 30}
        made = await api(jetstream, "CONSUMER.CREATE.again.d", {"stream_name": "again", "config": consumer})
        assert made["config"]["ack_wait"] == 30
        again = await see(REPLICATION, node, min_replicas=1)
    assert (passing.status, waited.status) == (Status.WARNING, Status.OK)
    assert passing.summary.endswith(
        "Stream passing keeps messages only while clients are connected, as none of its consumers is durable (retention "
        "interest)."
    )
    assert again.status is Status.WARNING
    assert again.summary == (
        "Consumer d of stream again delivers each message again that is not acknowledged within 30 ns "
        "(ack_wait, wanted at least 10 ms)."
    )


async def test_messages_that_somebody_deleted_were_not_lost(node: Nats) -> None:
    """A consumer that has read nothing is behind the first message also where an operator deleted or purged messages."""
    async with client(node) as jetstream:
        await jetstream.add_stream(
            name="queue", subjects=["queue.>"], retention=RetentionPolicy.WORK_QUEUE, max_msgs=100
        )
        await jetstream.add_consumer("queue", ConsumerConfig(durable_name="d", ack_policy=AckPolicy.EXPLICIT))
        for _ in range(10):
            await jetstream.publish("queue.a", b"x")
        for number in range(1, 4):
            await jetstream.delete_msg("queue", number)
        assert (await jetstream.stream_info("queue")).state.first_seq == 4
        deleted = await see(STORE, node)
        await jetstream.purge_stream("queue", keep=2)
        purged = await see(STORE, node)
    assert (deleted.status, purged.status) == (Status.OK, Status.OK)


async def test_streams_that_a_newer_release_stored(tmp_path: Path) -> None:
    """What needs a newer API than the server has is offline after a downgrade, and /healthz says ok."""
    with Nats(tmp_path) as server:
        async with client(server) as jetstream:
            await jetstream.add_stream(name="newer", subjects=["newer.>"])
            await jetstream.publish("newer.a", b"x")
    folder = tmp_path / "n1-store/jetstream/$G/streams/newer"
    stored = json.loads((folder / "meta.inf").read_bytes())
    stored.setdefault("metadata", {})["_nats.req.level"] = "99"
    (folder / "meta.inf").write_text(json.dumps(stored))
    key = hashlib.sha256(b"newer").digest()
    (folder / "meta.sum").write_text(highwayhash(key, (folder / "meta.inf").read_bytes()).hex())
    with Nats(tmp_path) as server:
        async with client(server) as jetstream:
            listed = await api(jetstream, "STREAM.LIST")
        assert (listed["missing"], list(listed["offline"])) == (["newer"], ["newer"])
        assert server.monitor("healthz")["status"] == "ok"
        found = [await see(item, server, min_replicas=1) for item in (STORE, REPLICATION)]
    assert [result.status for result in found] == [Status.FAILED] * 2
    for result in found:
        assert (
            "Stream newer is offline, so nobody can write or read it: unsupported - required API level: 99"
            in result.summary
        )


@pytest.mark.parametrize("first", [True, False])
async def test_servers_that_want_tls_before_they_say_anything(tmp_path: Path, first: bool) -> None:
    authority = Issued.root()
    certificate, key = authority.issue(LOOPBACK).write(tmp_path, "server")
    ca, _ = authority.write(tmp_path, "ca")
    tls = {"cert_file": str(certificate), "key_file": str(key), "handshake_first": True}
    with Nats(tmp_path, tls=tls) as server:
        options: dict[str, Any] = {"tls": {"ca_file": str(ca)}, "tls_first": first, "node_timeout": "15s"}
        result = await see(HEALTH, server, **options)
    assert result.status is (Status.OK if first else Status.UNKNOWN)


async def test_how_late_a_server_notices_that_a_client_is_gone(tmp_path: Path) -> None:
    with Nats(tmp_path, ping_interval="24h") as server:
        result = await see(HEALTH, server)
    assert (result.status, result.summary) == (
        Status.WARNING,
        "NATS server n1 may notice only after 3d that a client is gone (ping_interval, ping_max; wanted within 1h).",
    )


async def test_an_upgrade_that_stopped_half_way(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    routes = [f"nats-route://{LOOPBACK}:{port}" for port in ports]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                Nats(
                    tmp_path,
                    name=name,
                    release=release,
                    jetstream=None,
                    cluster={"name": "c1", "listen": f"{LOOPBACK}:{port}", "routes": routes},
                )
            )
            for name, release, port in zip(("n1", "n2"), (NEW, OLD), ports, strict=True)
        ]
        result = await becomes(HEALTH, "different releases", Status.WARNING, *nodes)
        versions = [node.monitor("varz")["version"] for node in nodes]
    assert result.summary == (
        f"NATS servers of one cluster run different releases: n1 {versions[0]} and n2 {versions[1]}."
    )


async def test_copies_that_are_all_in_one_zone(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(4)]
    routes = [f"nats-route://{LOOPBACK}:{port}" for port in ports]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                Nats(
                    tmp_path,
                    name=f"n{number}",
                    server_tags=["az:a", "old"] if number < 4 else ["az:b", "new"],
                    cluster={"name": "c1", "listen": f"{LOOPBACK}:{port}", "routes": routes},
                )
            )
            for number, port in enumerate(ports, 1)
        ]
        wait_until(lambda: meta_leader(nodes), "the cluster's JetStream to have a leader")
        async with client(nodes[0]) as jetstream:
            await jetstream.add_stream(
                name="orders", subjects=["orders.>"], num_replicas=3, placement=Placement(tags=["old"])
            )
            together = "All 3 copies of stream orders are on servers with the tag az:a, and are lost together."
            await becomes(REPLICATION, together, Status.WARNING, *nodes)
