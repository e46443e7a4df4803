"""States of NATS that people with years on call for it thought of, each shown by the server itself first."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nats
import nkeys
import pytest
from nats.aio.msg import Msg
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    Placement,
    RetentionPolicy,
    StreamSource,
)

from exporter.verdict import Reason, Status
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


class Callout:
    """A service that lets in the user `app` of account APP, for servers with `settings`; `answers` while it shall."""

    def __init__(self) -> None:
        self._key = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT))
        self.issuer = self._key.public_key.decode()
        self.answers = True

    @property
    def settings(self) -> dict[str, Any]:
        """Of a server: the exporter's own user, and that of the service, are let in without asking."""
        users = [{"user": name, "password": CALLOUT_PASSWORD} for name in ("checklist", "service")]
        return {
            "accounts": {"AUTH": {"users": users[1:]}, "APP": {"users": users[:1], "jetstream": "enabled"}},
            "authorization": {
                "timeout": 1,
                "auth_callout": {"issuer": self.issuer, "account": "AUTH", "auth_users": ["checklist", "service"]},
            },
        }

    async def answer(self, message: Msg) -> None:
        """The reply to one request of a server."""
        if not self.answers:
            return
        asked = json.loads(_unpadded(message.data.split(b".")[1]))["nats"]
        user = {"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
        known = asked["connect_opts"].get("user") == "app" and asked["connect_opts"].get("pass") == CALLOUT_PASSWORD
        verdict = (
            {"jwt": self._signed(asked["user_nkey"], "APP", user)} if known else {"error": "nobody knows that user"}
        )
        reply = {"type": "authorization_response", "version": 2, **verdict}
        await message.respond(self._signed(asked["user_nkey"], asked["server_id"]["id"], reply).encode())

    def _signed(self, subject: str, audience: str, claims: dict[str, Any]) -> str:
        header = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "iat": int(time.time()),
            "jti": "1",
            "nats": claims,
        }
        text = ".".join(_padless(json.dumps(part).encode()) for part in (header, body))
        return f"{text}.{_padless(self._key.sign(text.encode()))}"


CALLOUT_PASSWORD = "canary-of-the-callout"


def _padless(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpadded(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


async def answer_to_app(server: Nats) -> str:
    """What a server answers to the user `app`."""
    reader, writer = await asyncio.open_connection(LOOPBACK, server.port)
    try:
        login = {"user": "app", "pass": CALLOUT_PASSWORD, "verbose": False, "protocol": 1}
        await reader.readline()
        writer.write(b"CONNECT %s\r\nPING\r\n" % json.dumps(login).encode())
        async with asyncio.timeout(30):
            while (line := await reader.readline()).startswith((b"INFO", b"PING")):
                pass
        return line.decode()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_an_authentication_callout_that_nobody_answers(tmp_path: Path) -> None:
    """The exporter's own user is let in without it, and notices nothing."""
    callout = Callout()
    own = {"username": "checklist", "password": CALLOUT_PASSWORD}
    app = {"callout": {"username": "app", "password": CALLOUT_PASSWORD}}
    with Nats(tmp_path, **callout.settings) as server:
        service = await nats.connect(server.url, user="service", password=CALLOUT_PASSWORD)
        try:
            await service.subscribe("$SYS.REQ.USER.AUTH", cb=callout.answer)
            await service.flush()
            assert "PONG" in await answer_to_app(server)
            let_in = await see(HEALTH, server, **own, **app)
            unknown_user = await see(
                HEALTH, server, **own, callout={"username": "nobody", "password": CALLOUT_PASSWORD}
            )
            callout.answers = False
            assert "-ERR 'Authorization Violation'" in await answer_to_app(server)
            mute = await see(HEALTH, server, **own, **app)
        finally:
            await service.close()
        gone = await see(HEALTH, server, **own, **app)
        unasked = await see(HEALTH, server, **own)
    assert (let_in.status, unasked.status) == (Status.OK, Status.OK), let_in.summary
    for refused in (unknown_user, mute, gone):
        assert (refused.status, refused.reason) == (Status.FAILED, Reason.DOWN), refused.summary
        assert refused.summary.startswith(
            "The client of `callout`, which the authentication callout has to let in, is refused: does its service answer? "
            f"NATS {LOOPBACK}:{server.port} cannot be used: "
        )
        assert CALLOUT_PASSWORD not in refused.summary
