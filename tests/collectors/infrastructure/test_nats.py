"""The NATS section against real servers: 2.15 and 2.9, one node and clusters of three, healthy and broken."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import nkeys
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from nats.js.api import ConsumerConfig, StorageType, StreamConfig

from collectors.infrastructure.nats import Nats as NatsSection
from collectors.infrastructure.nats import NatsSettings, NatsTarget
from collectors.systems.nats.client.connection import Login, connected
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.prometheus.client import PrometheusSettings
from exporter.collector import Context
from exporter.logs import redact
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason, Result, Status
from tests.servers import faults
from tests.servers.certificates import Issued
from tests.servers.exporters import Exposition
from tests.servers.faults import Proxy
from tests.servers.nats import NEW, OLD, Nats, cluster, meta_leader
from tests.servers.process import LOOPBACK, eventually, wait_until
from tests.servers.prometheus import Prometheus, scrape
from tests.support import Run, looks, make_context, sees, until, verify

ALL = ("pods_healthy", "jetstream_persistence_enabled", "message_replication_configured")
CANARY = "canary-8a7f"

pytestmark = pytest.mark.usefixtures("no_noise")


def address(port: int, monitoring: str) -> dict[str, Any]:
    """A node, as configured."""
    return {"server": f"{LOOPBACK}:{port}", "monitoring": {"url": monitoring, "timeout": "15s"}}  # of a busy machine


def target(*nodes: Nats, **options: Any) -> NatsTarget:
    where = [address(node.port, node.monitoring) for node in nodes]
    # The stores of these tests are in a temporary folder, which is a failure of its own.
    options = {"name": "broker", "nodes": where, "store_volume": "/", "node_timeout": "15s"} | options
    return NatsTarget.model_validate_json(json.dumps(options))


def run(*nodes: Nats, items: Sequence[str] = ALL, context: Context | None = None, **options: Any) -> Run:
    return Run(NatsSection, items, target=target(*nodes, **options), context=context, secrets=[CANARY])


def run_item(item: str, *nodes: Nats, **options: Any) -> Run:
    return run(*nodes, items=[item], **options)


look, see = looks(run), sees(run_item)


@asynccontextmanager
async def client(node: Nats, **options: Any) -> AsyncIterator[Any]:
    connection = await nats.connect(node.url, allow_reconnect=False, **options)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()


async def add(node: Nats, name: str, **config: Any) -> None:
    async with client(node) as jetstream:
        await jetstream.add_stream(StreamConfig(name=name, subjects=[f"{name}.>"], **config))


def leading(nodes: list[Nats]) -> Nats:
    """The server that leads JetStream."""
    leader = wait_until(lambda: meta_leader(nodes), "a leader")
    assert leader
    return leader


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Nats]:
    with Nats(tmp_path) as server:
        yield server


@pytest.fixture(params=[NEW, OLD], scope="module")
def three(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Nats]]:
    """A healthy cluster with one stream of three copies, of either release."""
    with cluster(tmp_path_factory.mktemp("three"), release=request.param) as nodes:

        async def settle() -> None:
            await add(nodes[0], "orders", num_replicas=3)
            await eventually(all_ok, what="the stream's copies to keep up")

        async def all_ok() -> bool:
            return {result.status for result in (await look(*nodes)).values()} == {Status.OK}

        asyncio.run(settle())
        yield nodes


# -- healthy


@pytest.mark.verifies("nats.pods_healthy", "ok")
@pytest.mark.verifies("nats.jetstream_persistence_enabled", "ok")
@pytest.mark.verifies("nats.message_replication_configured", "ok")
async def test_a_healthy_cluster_is_ok(three: list[Nats], no_leftovers: None) -> None:
    seen = await look(*three, streams=["orders"])
    assert {name: result.status for name, result in seen.items()} == dict.fromkeys(ALL, Status.OK)
    # Routes are pooled, and followers hold their healthy fellows for not current.
    assert all(node.monitor("routez")["num_routes"] >= 2 for node in three)
    groups = [node.monitor("jsz")["meta_cluster"] for node in three if node is not leading(three)]
    assert not all(group.get("replicas") and all(other["current"] for other in group["replicas"]) for group in groups)
    assert seen["pods_healthy"].summary.startswith("All 3 NATS servers answer and see each other")
    assert seen["pods_healthy"].measurements["servers_answering"] == 3
    assert seen["message_replication_configured"].summary.startswith("JetStream's servers agree on their leader.")


async def test_one_server_may_be_all_there_is(node: Nats) -> None:
    await add(node, "orders")
    seen = await look(node, min_replicas=1)
    assert {result.status for result in seen.values()} == {Status.OK}
    assert (await see("message_replication_configured", node)).summary == "Stream orders has 1 copy (wanted 3)."


async def test_without_streams_no_replication_was_seen(node: Nats) -> None:
    """A user of another account sees none as well: that is no reason to call them replicated."""
    seen = await look(node, items=ALL[1:])
    assert seen["jetstream_persistence_enabled"].summary.endswith(" The account has no streams.")
    result = seen["message_replication_configured"]
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The account on broker has no streams, so no copies of any were checked.",
    )


async def test_addresses_that_lead_to_the_same_server_are_told(three: list[Nats]) -> None:
    """As those of a service do: what nobody looked at is not ok."""
    one, two, other = three
    where = [(node.port, node.monitoring) for node in three]
    alike = await look(nodes=[address(port, one.monitoring) for port, _ in where])
    for result in alike.values():
        assert result.status is Status.UNKNOWN
        assert f"3 monitoring endpoints lead to the same NATS server {one.name}: " in result.summary
    crossed = [address(one.port, two.monitoring), address(two.port, one.monitoring), address(*where[2])]
    result = await see("pods_healthy", nodes=crossed)
    assert result.status is Status.UNKNOWN
    assert f"{LOOPBACK}:{one.port} and {two.monitoring} lead to different NATS servers: " in result.summary
    assert f"{LOOPBACK}:{other.port}" not in result.summary
    body = json.dumps(two.monitor("jsz")).encode()
    async with faults.without_path(one.monitoring, "/jsz", body) as url:
        any_of_them = await look(nodes=[address(one.port, url), *(address(*place) for place in where[1:])])
    for result in any_of_them.values():
        assert result.status is Status.UNKNOWN
        assert f"Several NATS servers answer at {url}: name each server's own address." in result.summary


# -- what is broken


@pytest.mark.verifies("nats.pods_healthy", "failed")
@pytest.mark.verifies("nats.message_replication_configured", "failed")
@pytest.mark.parametrize("release", [NEW, OLD])
async def test_a_dead_peer_is_noticed_though_health_is_200(tmp_path: Path, release: str) -> None:
    with cluster(tmp_path, release=release) as nodes:
        leader = leading(nodes)
        await add(leader, "orders", num_replicas=3)
        dead = next(node for node in nodes if node is not leader)
        dead.kill()
        alive = [node for node in nodes if node is not dead]
        one, other = alive
        told = (
            f"NATS servers {one.name} and {other.name} see only 1 of the other servers (wanted 2), "
            f"and NATS {LOOPBACK}:{dead.port} cannot be used: the connection was refused."
        )
        seen: dict[str, Result] = {}

        async def both_failed() -> bool:
            """As the dead server may have led the stream, health is not 200 all the time before another one leads."""
            seen.update(await look(*alive, dead, max_silence="2s"))
            return (
                all(node.monitor("healthz")["status"] == "ok" for node in alive)
                and seen["pods_healthy"].summary == told
                and f"replica on {dead.name}" in seen["message_replication_configured"].summary
            )

        await eventually(both_failed, what="the dead peer is noticed", deadline=60)
        assert seen["pods_healthy"].status is seen["message_replication_configured"].status is Status.FAILED
        assert seen["jetstream_persistence_enabled"].status is Status.UNKNOWN


@pytest.mark.parametrize("release", [NEW, OLD])
@pytest.mark.parametrize("part", ["leader", "follower"])
async def test_without_quorum_nothing_is_ok(tmp_path: Path, release: str, part: str) -> None:
    with cluster(tmp_path, release=release) as nodes:
        leader = leading(nodes)
        await add(leader, "orders", num_replicas=3)
        survivor = leader if part == "leader" else next(node for node in nodes if node is not leader)
        dead = [node for node in nodes if node is not survivor]
        for node in dead:
            node.kill()
        if part == "leader":  # for some twenty seconds it still calls itself so, and is healthy when asked at once
            assert survivor.monitor("jsz")["meta_cluster"]["leader"] == survivor.name

        async def both_failed() -> bool:
            seen = await look(survivor, *dead)
            return seen["pods_healthy"].status is seen["message_replication_configured"].status is Status.FAILED

        await eventually(both_failed, what="the lost quorum is noticed", deadline=60)
        assert survivor.monitor("healthz?js-enabled-only=true")["status"] == "ok", "what a simple check asks for"
        seen = await look(survivor, *dead)
        assert (
            f"NATS server {survivor.name} sees none of the other servers (wanted 2), and NATS "
            in seen["pods_healthy"].summary
        )

        async def noticed_alone() -> bool:
            return (await see("message_replication_configured", survivor)).status is not Status.OK

        await eventually(noticed_alone, what="it is noticed where the others are not even known", deadline=60)

        async def unavailable() -> bool:
            result = await see("jetstream_persistence_enabled", survivor)
            assert result.status in (Status.OK, Status.UNKNOWN), "the streams are in files as ever"
            return "temporarily unavailable" in result.summary

        await eventually(unavailable, what="JetStream to have given up its leader", deadline=60)


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_a_stream_with_one_copy_acknowledges_without_quorum_and_is_told(tmp_path: Path, release: str) -> None:
    with cluster(tmp_path, release=release) as nodes:
        await add(nodes[0], "single", num_replicas=1)
        async with client(nodes[0]) as jetstream:
            home = (await jetstream.stream_info("single")).cluster.leader
        survivor = next(node for node in nodes if node.name == home)
        dead = [node for node in nodes if node is not survivor]
        for node in dead:
            node.kill()

        async def both() -> bool:
            async with client(survivor) as jetstream:
                acknowledged = (await jetstream.publish("single.a", b"", timeout=5)).seq
            result = await see("message_replication_configured", survivor, *dead)
            return acknowledged > 0 and result.status is Status.FAILED

        await eventually(both, what="it acknowledges, and that is no reason to call it replicated", deadline=60)


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_streams_that_went_with_their_server_are_told(tmp_path: Path, release: str) -> None:
    with cluster(tmp_path, release=release) as nodes:
        leader = leading(nodes)
        for number in range(50):  # JetStream chooses a server for each
            await add(leader, f"single{number}", num_replicas=1)
            async with client(leader) as jetstream:
                home = (await jetstream.stream_info(f"single{number}")).cluster.leader
            if home != leader.name:
                break
        dead = next(node for node in nodes if node.name == home)
        dead.kill()
        alive = [node for node in nodes if node is not dead]

        async def told() -> (
            bool
        ):  # JetStream itself waits four seconds for the leader, which is longer than a request may take
            seen = await look(*alive, dead, node_timeout="3s")
            return (
                f"Stream single{number} has no leader that answers." in seen["message_replication_configured"].summary
                and f"Stream single{number} was not checked" in seen["jetstream_persistence_enabled"].summary
            )

        await eventually(told, what="the lost stream is told", deadline=60)


async def test_more_streams_than_a_page_of_the_answer_has_are_all_seen(node: Nats) -> None:
    async with client(node) as jetstream:
        for number in range(300):
            storage = StorageType.FILE if number == 299 else StorageType.MEMORY
            await jetstream.add_stream(StreamConfig(name=f"s{number:03}", subjects=[f"s{number}"], storage=storage))
    in_memory = {f"s{number:03}": "It is a cache." for number in range(298)}
    result = await see("jetstream_persistence_enabled", node, in_memory=in_memory)
    assert result.summary == "Stream s298 is kept in memory (wanted file)."
    assert (await see("message_replication_configured", node, min_replicas=1)).measurements["streams"] == 300


async def test_a_stream_with_one_copy_is_told_although_it_acknowledges(three: list[Nats]) -> None:
    await add(three[0], "single", num_replicas=1)
    async with client(three[0]) as jetstream:
        assert (await jetstream.publish("single.a", b"")).seq
        result = await see("message_replication_configured", *three)
        assert (result.status, "Stream single has 1 copy (wanted 3)." in result.summary) == (Status.FAILED, True)
        exempt = await see("message_replication_configured", *three, single_copy={"single": "It is a cache."})
        assert exempt.status is Status.OK
        assert "except single by declaration" in exempt.summary
        await jetstream.delete_stream("single")


async def test_a_stream_that_shall_exist_and_does_not_is_told(three: list[Nats]) -> None:
    result = await see("message_replication_configured", *three, streams=["orders", "payments"])
    assert (result.status, "Stream payments does not exist." in result.summary) == (Status.FAILED, True)


@pytest.mark.verifies("nats.jetstream_persistence_enabled", "failed")
async def test_a_stream_in_memory_is_told(node: Nats) -> None:
    await add(node, "quick", storage=StorageType.MEMORY)
    result = await see("jetstream_persistence_enabled", node)
    assert (result.status, result.summary) == (Status.FAILED, "Stream quick is kept in memory (wanted file).")
    declared = await see("jetstream_persistence_enabled", node, in_memory={"quick": "It is a cache."})
    assert declared.status is Status.OK


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_a_server_without_jetstream_is_told_though_health_is_200(tmp_path: Path, release: str) -> None:
    with Nats(tmp_path, release=release, jetstream=None) as node:
        assert node.monitor("healthz?js-enabled-only=true")["status"] == "ok" or release == OLD
        result = await see("jetstream_persistence_enabled", node)
        assert result.status is Status.FAILED
        assert "NATS server n1 runs without JetStream." in result.summary
        assert result.reason is Reason.MISCONFIGURED
        copies = await see("message_replication_configured", node)
        assert (copies.status, copies.summary) == (
            Status.FAILED,
            "JetStream refuses account $G (user none) on NATS server n1: nobody answers, as JetStream is not enabled.",
        )


async def test_a_store_in_a_temporary_folder_or_beside_the_volume_is_told(node: Nats) -> None:
    result = await see("jetstream_persistence_enabled", node, store_volume=None)
    assert "a temporary folder (wanted a persistent volume)" in result.summary
    result = await see("jetstream_persistence_enabled", node, store_volume="/data")
    assert "which is not below /data" in result.summary
    assert result.status is Status.FAILED


async def test_a_full_store_and_a_full_account_are_told(tmp_path: Path) -> None:
    accounts = {
        "APP": {"jetstream": {"max_file": 1 << 20}, "users": [{"user": "app", "password": CANARY}]},
        "$SYS": {"users": [{"user": "sys", "password": CANARY}]},
    }
    store = {"store_dir": str(tmp_path / "store"), "max_file_store": 1 << 21}
    with Nats(tmp_path, accounts=accounts, jetstream=store) as node:
        async with client(node, user="app", password=CANARY) as jetstream:
            await jetstream.add_stream(StreamConfig(name="orders", subjects=["orders"], max_bytes=1 << 20))
            for _ in range(14):
                await jetstream.publish("orders", b"x" * 65_000)
        login = {"username": "app", "password": CANARY, "min_replicas": 1}
        result = await see("jetstream_persistence_enabled", node, **login)
        assert result.status is Status.FAILED
        assert "NATS account uses" in result.summary
        result = await see("jetstream_persistence_enabled", node, **login, max_usage=0.3)
        assert "NATS server n1 uses" in result.summary


async def test_an_account_without_jetstream_is_told(tmp_path: Path) -> None:
    accounts = {"APP": {"users": [{"user": "app", "password": CANARY}]}}
    with Nats(tmp_path, accounts=accounts) as node:
        result = await see("message_replication_configured", node, username="app", password=CANARY)
        assert (result.status, result.summary) == (
            Status.FAILED,
            "JetStream refuses account APP (user app) on NATS server n1: JetStream not enabled for account (code 10039).",
        )


async def test_slow_consumers_count_from_look_to_look(node: Nats) -> None:
    context = make_context()
    assert (await see("pods_healthy", node, context=context)).status is Status.OK
    start = str(node.monitor("varz")["start"])
    context.memory["slow_consumers"]["n1"] = (start, -1)
    assert (await see("pods_healthy", node, context=context)).status is Status.FAILED


# -- what cannot be seen


async def test_a_server_killed_in_the_middle_of_a_run_is_unknown(node: Nats, no_leftovers: None) -> None:
    await add(node, "orders")
    async with Proxy(LOOPBACK, node.port) as proxy:
        nodes = [
            {
                "server": f"{proxy.address[0]}:{proxy.address[1]}",
                "monitoring": {"url": node.monitoring, "timeout": "1s"},
            }
        ]
        proxy.pause()
        looking = asyncio.create_task(look(nodes=nodes, node_timeout="3s", items=(ALL[2],)))
        await eventually(lambda: proxy.open, what="the run is under way")
        proxy.cut()
        result = (await looking)[ALL[2]]
        assert result.status is Status.UNKNOWN
        proxy.resume()
        assert (await look(nodes=nodes, min_replicas=1, items=(ALL[2],)))[ALL[2]].status is Status.OK


async def test_hundreds_of_runs_leave_nothing_behind(node: Nats, no_leftovers: None) -> None:
    for _ in range(100):
        await look(node, min_replicas=1)
    async with faults.mute() as silent, faults.refused() as closed, faults.hanging_up() as flapping:
        for address in [silent, closed, flapping] * 60:
            where = f"{address[0]}:{address[1]}"
            nodes = [{"server": where, "monitoring": {"url": f"http://{where}", "timeout": "20ms"}}]
            await look(nodes=nodes, node_timeout="20ms")


async def test_a_page_that_is_no_monitoring_endpoint_is_unknown(node: Nats) -> None:
    with Exposition("up 1") as page:
        nodes = [{"server": f"{LOOPBACK}:{node.port}", "monitoring": {"url": f"http://{LOOPBACK}:{page.port}"}}]
        seen = await look(nodes=nodes)
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}


# -- rights and credentials


def users(*permitted: str) -> dict[str, Any]:
    permissions = {"publish": list(permitted), "subscribe": ["_INBOX_checklist.>"]}
    return {"authorization": {"users": [{"user": "checklist", "password": CANARY, "permissions": permissions}]}}


RIGHTS = ("$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.CONSUMER.LIST.*")


def test_the_rights_shown_are_those_that_are_tested() -> None:
    assert all(f'"{right}"' in NatsSection.rights for right in RIGHTS)
    assert '"_INBOX_checklist.>"' in NatsSection.rights


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_the_least_rights_are_enough_and_each_is_needed(tmp_path: Path, release: str, no_leftovers: None) -> None:
    login: dict[str, Any] = {"username": "checklist", "password": CANARY, "min_replicas": 1}
    with Nats(tmp_path, release=release) as node:
        await add(node, "orders")
        async with client(node) as jetstream:
            await jetstream.add_consumer("orders", ConsumerConfig(durable_name="billing"))
        node.configure(**users(*RIGHTS))
        assert {result.status for result in (await look(node, **login)).values()} == {Status.OK}
        for right in RIGHTS:
            node.configure(**users(*(other for other in RIGHTS if other != right)))
            seen = await look(node, **login)
            assert seen["pods_healthy"].status is Status.OK
            for item in ALL[1:]:
                assert seen[item].status is Status.UNKNOWN
                assert seen[item].reason is Reason.DENIED
                assert f"does not let this user publish to {right.removesuffix('*')}" in seen[item].summary
        wrong = await look(node, **login | {"password": f"{CANARY}-wrong"})
        assert {result.status for result in wrong.values()} == {Status.UNKNOWN}
        assert "Authorization Violation" in wrong["pods_healthy"].summary


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_a_token_and_an_nkey_are_taken(tmp_path: Path, release: str, no_leftovers: None) -> None:
    with Nats(tmp_path, release=release, authorization={"token": CANARY}) as node:
        assert (await see("pods_healthy", node, token=CANARY)).status is Status.OK
        wrong = await see("pods_healthy", node, token=f"{CANARY}-wrong")
        assert (wrong.status, "Authorization Violation" in wrong.summary) == (Status.UNKNOWN, True)
        assert (await see("pods_healthy", node)).status is Status.UNKNOWN
    seed, public = key(nkeys.PREFIX_BYTE_USER)
    other, _ = key(nkeys.PREFIX_BYTE_USER)
    folder = tmp_path / "nkey"
    folder.mkdir()
    with Nats(folder, release=release, authorization={"users": [{"nkey": public}]}) as node:
        assert (await see("pods_healthy", node, nkey_seed=seed.decode())).status is Status.OK
        assert (await see("pods_healthy", node, nkey_seed=other.decode())).status is Status.UNKNOWN
        assert (await see("pods_healthy", node)).status is Status.UNKNOWN
        none = await see("pods_healthy", node, nkey_seed=CANARY)
        where = f"NATS {LOOPBACK}:{node.port}"
        assert (none.status, none.summary) == (
            Status.UNKNOWN,
            f"{where} cannot be used: the key is none (nkeys: invalid seed).",
        )


async def test_an_inbox_that_may_not_be_listened_to_is_told(tmp_path: Path, no_leftovers: None) -> None:
    settings = users(*RIGHTS)
    settings["authorization"]["users"][0]["permissions"]["subscribe"] = ["_INBOX.>"]
    with Nats(tmp_path, **settings) as node:
        result = await see("message_replication_configured", node, username="checklist", password=CANARY)
    assert result.status is Status.UNKNOWN
    assert "does not let this user subscribe to _INBOX_checklist." in result.summary


def key(kind: int) -> tuple[bytes, str]:
    """A new key of this kind: its seed, and its public part."""
    seed: bytes = nkeys.encode_seed(os.urandom(32), kind)
    return seed, nkeys.from_seed(bytearray(seed)).public_key.decode()


def token(issuer: bytes, subject: str, kind: str, **claims: Any) -> str:
    """A JSON web token as NATS has them: what `issuer` (its seed) says of `subject`."""
    signer = nkeys.from_seed(bytearray(issuer))
    body = {"iss": signer.public_key.decode(), "sub": subject, "name": kind, "iat": 1_700_000_000, "jti": subject}
    parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, body | {"nats": {"type": kind, "version": 2} | claims}]
    told = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{told}.{_base64(signer.sign(told.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def test_what_a_credentials_file_holds_is_not_told_by_a_server_that_repeats_it(
    tmp_path: Path, no_leftovers: None
) -> None:
    async def repeating(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"nonce": "once", "max_payload": 1000000}\r\n')
        writer.write(b"-ERR '" + (await reader.readline()).strip() + b"'\r\n")
        await writer.drain()

    seed, _ = key(nkeys.PREFIX_BYTE_USER)
    proof = token(key(nkeys.PREFIX_BYTE_ACCOUNT)[0], "sre", "user")
    file = tmp_path / "checklist.creds"
    file.write_text(credentials(proof, seed))
    async with faults.serving(repeating) as (host, port):
        login = Login(None, None, None, None, file, None, timedelta(seconds=5))
        with pytest.raises(ProbeError) as raised:
            async with connected(f"{host}:{port}", login):
                pass
    assert "CONNECT" in str(raised.value)
    told = redact(str(raised.value))
    assert "<secret>" in told
    assert proof not in told


def credentials(proof: str, seed: bytes) -> str:
    """A file as `nsc` writes it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{proof}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed.decode()}\n------END USER NKEY SEED------\n"
    )


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_a_credentials_file_is_taken(tmp_path: Path, release: str, no_leftovers: None) -> None:
    (operator, _), (account, app), (_, system), (user, checklist) = map(
        key, (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    )
    free = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf", "streams", "consumer"), -1)
    limits = free | {"wildcards": True, "mem_storage": 1 << 20, "disk_storage": 1 << 20}
    allowed = {"pub": {"allow": [*RIGHTS]}, "sub": {"allow": ["_INBOX_checklist.>"]}}
    resolved = {
        app: token(operator, app, "account", limits=limits),
        system: token(operator, system, "account", limits=free),
    }
    settings: dict[str, Any] = {
        "operator": token(operator, nkeys.from_seed(bytearray(operator)).public_key.decode(), "operator"),
        "system_account": system,
        "resolver": "MEMORY",
        "resolver_preload": resolved,
    }
    file = tmp_path / "checklist.creds"
    proof = token(account, checklist, "user", subs=-1, data=-1, payload=-1, **allowed)
    file.write_text(credentials(proof, user))
    with Nats(tmp_path, release=release, **settings) as node:
        *others, replicated = (await look(node, credentials_file=str(file))).values()
        assert {result.status for result in others} == {Status.OK}
        assert "has no streams" in replicated.summary, "JetStream was asked for them, and answered"
        assert (await see("pods_healthy", node)).status is Status.UNKNOWN
        file.write_text(file.read_text().replace(user.decode(), key(nkeys.PREFIX_BYTE_USER)[0].decode()))
        forged = await see("pods_healthy", node, credentials_file=str(file))
        assert (forged.status, "Authorization Violation" in forged.summary) == (Status.UNKNOWN, True)
        file.write_text("No credentials at all.")
        assert (await see("pods_healthy", node, credentials_file=str(file))).status is Status.UNKNOWN
        missing = await see("pods_healthy", node, credentials_file=str(tmp_path / "none.creds"))
        assert (missing.status, "No such file or directory" in missing.summary) == (Status.UNKNOWN, True)


@pytest.mark.parametrize("release", [NEW, OLD])
async def test_tls_is_verified_and_shown_a_client_certificate(tmp_path: Path, release: str, no_leftovers: None) -> None:
    authority = Issued.root()
    right = authority.issue(LOOPBACK).write(tmp_path, "right")
    wrong = authority.issue("other.example.com").write(tmp_path, "wrong")
    ours = authority.issue("checklist.example.com", usage=ExtendedKeyUsageOID.CLIENT_AUTH).write(tmp_path, "ours")
    ca, _ = authority.write(tmp_path, "ca")

    def served(certificate: tuple[Path, Path], *, verify: bool = False) -> dict[str, Any]:
        return {
            "tls": {
                "cert_file": str(certificate[0]),
                "key_file": str(certificate[1]),
                "ca_file": str(ca),
                "verify": verify,
            }
        }

    with Nats(tmp_path, release=release, **served(right)) as node:
        assert (await see("pods_healthy", node, tls={"ca_file": str(ca)})).status is Status.OK
        distrusted = await see("pods_healthy", node, tls={})
        assert (distrusted.status, "certificate was not accepted" in distrusted.summary) == (Status.UNKNOWN, True)
        assert (await see("pods_healthy", node)).status is Status.UNKNOWN
        node.configure(**served(right, verify=True))
        assert (await see("pods_healthy", node, tls={"ca_file": str(ca)})).status is Status.UNKNOWN
        own = {"ca_file": str(ca), "cert_file": str(ours[0]), "key_file": str(ours[1])}
        assert (await see("pods_healthy", node, tls=own)).status is Status.OK
        node.configure(**served(wrong))
        named = await see("pods_healthy", node, tls={"ca_file": str(ca)})
        assert (named.status, "mismatch" in named.summary) == (Status.UNKNOWN, True)


# -- metrics


@pytest.mark.verifies("nats.metrics_collected", "ok")
@pytest.mark.verifies("nats.metrics_collected", "failed")
@pytest.mark.verifies("nats.metrics_collected", "unknown")
async def test_metrics_are_collected_from_every_server(tmp_path: Path) -> None:
    # No registry serves prometheus-nats-exporter: what 0.19 gave of a NATS 2.15 comes from pages of the test.
    asked = itertools.count()

    def page(server: str) -> str:
        """What the exporter gives while it reaches its server, which counts its requests."""
        return (
            f'gnatsd_varz_connections{{server_id="{server}"}} 4\n'
            f'gnatsd_varz_http_req_stats_varz{{server_id="{server}"}} {next(asked)}\n'
        )

    configured = target(
        nodes=[{"server": f"n{n}:4222", "monitoring": {"url": f"http://n{n}:8222"}} for n in (1, 2)],
        scrape={"stale_after": "8s"},
    )

    async def collected(client: PrometheusClient) -> Result:
        context = make_context(clients={"prometheus": client})
        settings = NatsSettings(targets=(configured,))
        seen = await verify(NatsSection, settings, configured, items=("metrics_collected",), context=context)
        return seen["metrics_collected"].result

    with Exposition(lambda: page("n1")) as one, Exposition(lambda: page("n2")) as two:
        scrapes = [scrape("nats", one.port, two.port)]
        with Prometheus(tmp_path, scrapes=scrapes) as server:
            client = PrometheusClient(PrometheusSettings(url=server.url), Threads())
            try:
                await until(lambda: collected(client), Status.OK)
                last = page("n2")  # of a server that is gone the exporter goes on giving the last figures
                two.text = lambda: last
                frozen = await until(lambda: collected(client), Status.FAILED, "has not reached NATS server n2 for 8s")
                assert frozen.reason is Reason.STALE
                two.text = lambda: page("n2")
                await until(lambda: collected(client), Status.OK)
                two.text = lambda: 'gnatsd_varz_connections{server_id="n2"} 4\n'
                one.text = lambda: 'gnatsd_varz_connections{server_id="n1"} 4\n'
                await until(lambda: collected(client), Status.UNKNOWN, "was not checked")
                server.configure(scrapes=[scrape("nats", one.port)])
                await until(lambda: collected(client), Status.FAILED, "scrapes 1 exporters")
            finally:
                await client.close()
            gone = PrometheusClient(PrometheusSettings(url=server.url, timeout=timedelta(seconds=1)), Threads())
            server.kill()
            assert (await collected(gone)).status is Status.UNKNOWN
            await gone.close()
