"""The Qdrant section on replies of a real Qdrant 1.18.3: alone and as a cluster of three, healthy and broken."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.infrastructure.qdrant import Qdrant as QdrantSection
from collectors.infrastructure.qdrant import QdrantTarget, QdrantVolume
from collectors.shared.decoding import decode
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.prometheus.client import PrometheusSettings
from collectors.systems.prometheus.model.volumes import Space
from collectors.systems.qdrant import client, judge, model
from exporter.collector import Context
from exporter.http import Http, HttpSettings
from exporter.reply import Reply
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason, Result, Status
from tests.servers import faults
from tests.servers.certificates import Issued
from tests.servers.exporters import Exposition
from tests.servers.faults import Address, Proxy
from tests.servers.process import LOOPBACK, eventually
from tests.servers.prometheus import Prometheus, scrape
from tests.servers.qdrant import READER, Peer, Qdrant, replay
from tests.support import Run, looks, make_context, sees, until

HEALTH, BACKUPS, SPACE, METRICS = tuple(QdrantSection.items())
CANARY = "canary-5d20"

pytestmark = pytest.mark.usefixtures("no_noise")


def target(*urls: str, **options: Any) -> QdrantTarget:
    patient = {"node_timeout": "15s"}  # the machine may be busy
    options = {"name": "vectors", "nodes": [{"url": url} for url in urls], "api_key": READER} | patient | options
    return QdrantTarget.model_validate_json(json.dumps(options))


def run(configured: QdrantTarget, *items: str, now: datetime | None = None, context: Context | None = None) -> Run:
    context = context or make_context(now=lambda: now or datetime.now(UTC))
    return Run(QdrantSection, items, target=configured, context=context, secrets=[CANARY, READER])


def run_item(
    item: str,
    qdrant: Qdrant,
    *more: str,
    later: timedelta = timedelta(0),
    context: Context | None = None,
    hanging: Collection[Peer] = (),
    **options: Any,
) -> Run:
    """One run of an item at the moment of the recording, or `later`; `more` are further addresses.

    The consensus threads of `hanging` report nothing from the moment of the recording on.
    """
    configured = target(*(peer.url for peer in qdrant.peers), *more, **options)
    now = qdrant.now + later
    if later:
        qdrant.report(now, hanging=hanging)
    if context is not None:
        context.now = lambda: now
    return run(configured, item, now=now, context=context)


look, see = looks(run), sees(run_item)


# -- health


@pytest.mark.verifies("qdrant.pods_healthy", "ok")
async def test_a_healthy_server_is_ok(no_leftovers: None) -> None:
    with replay("single_healthy") as qdrant:
        result = await see(HEALTH, qdrant, collections=["documents", "images"])
    assert result.status is Status.OK
    assert result.summary == (
        "The Qdrant server works, and 2 collections can be read, protocol check only; pods not checked."
    )
    assert result.measurements == {"peers_answering": 1, "collections": 2}


async def test_a_healthy_cluster_is_ok() -> None:
    with replay("cluster_healthy") as qdrant:
        result = await see(HEALTH, qdrant)
    assert result.status is Status.OK
    assert result.summary.startswith("All 3 Qdrant peers work and reach each other, and 2 collections can be read")


@pytest.mark.verifies("qdrant.pods_healthy", "failed")
async def test_a_dead_peer_is_told_by_the_others() -> None:
    with replay("cluster_peer_down", lacking=("partly_saved",)) as qdrant:
        async with faults.refused() as (host, port):
            result = await see(HEALTH, qdrant, f"http://{host}:{port}")
        survivor = await see(HEALTH, qdrant)
    assert result.status is Status.FAILED
    assert "counts 2 copies of shards that are not active" in result.summary
    assert "cannot reach its peer http://127.0.0.1:57613/ (60 failures, the last 0s ago)" in result.summary
    assert survivor.status is Status.FAILED


async def test_a_dead_peer_is_seen_in_each_of_the_ways_that_tell() -> None:
    with replay("cluster_peer_down", lacking=("partly_saved",)) as qdrant:
        http = Http(HttpSettings(url=qdrant.peers[0].url))
        peer = await client.look(http, target("http://x").api_key)
        await http.close()
    told = [problem.summary for problem in judge.collection_problems([peer])]
    assert "Shard 1 of collection documents is Dead on peer 5459299829063873 (wanted Active)." in told
    assert any(summary.startswith(f"Collection single_copy cannot be read on {peer.url}: ") for summary in told)


async def test_a_survivor_without_quorum_is_not_believed() -> None:
    with replay("cluster_quorum_lost", lacking=("partly_saved",)) as qdrant:
        async with faults.refused() as (host, port), faults.refused() as (other_host, other_port):
            dead = f"http://{host}:{port}", f"http://{other_host}:{other_port}"
            result = await see(HEALTH, qdrant, *dead)
            saved = await see(BACKUPS, qdrant, *dead)
        reply = json.loads(qdrant.peers[0].replies["GET", "/cluster", "reader"]["body"])["result"]
    assert (reply["raft_info"]["role"], reply["consensus_thread_status"]["consensus_thread_status"]) == (
        "Leader",
        "working",
    )
    assert result.status is Status.FAILED
    assert "cannot reach its peer http://127.0.0.1:49565/ (40 failures" in result.summary
    assert "cannot reach its peer http://127.0.0.1:57613/ (107 failures" in result.summary
    # The snapshots that the survivor lists say nothing of those that the dead peers had.
    assert saved.status is Status.UNKNOWN


async def test_failures_that_are_long_over_do_not_count() -> None:
    with replay("cluster_healthy") as qdrant:
        failure = {"count": 3, "latest_error": "no", "latest_error_timestamp": "2026-11-24T18:30:00.123456789Z"}
        qdrant.peers[0].change(
            "/cluster", lambda cluster: cluster["message_send_failures"].update({"http://x": failure})
        )
        assert (await see(HEALTH, qdrant)).status is Status.OK
        result = await see(HEALTH, qdrant, failure_window="1h")
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"{qdrant.peers[0].url} cannot reach its peer http://x (3 failures, the last 9m18s ago).",
    )


async def test_what_a_peer_dates_is_compared_with_its_own_clock() -> None:
    """A peer whose clock is two hours slow dates its failures two hours ago."""
    with replay("cluster_healthy") as qdrant:
        slow = qdrant.now - timedelta(hours=2)

        def cut_off(cluster: Any) -> None:
            failed = {"count": 3, "latest_error": "no", "latest_error_timestamp": f"{slow:%FT%T}Z"}
            cluster["message_send_failures"] = {"http://x": failed}
            cluster["consensus_thread_status"]["last_update"] = f"{slow + timedelta(seconds=9):%FT%T}Z"

        qdrant.peers[0].change("/cluster", cut_off)
        result = await see(HEALTH, qdrant)
    assert result.status is Status.FAILED
    assert f"{qdrant.peers[0].url} cannot reach its peer http://x (3 failures, the last 9s ago)." in result.summary


@pytest.mark.parametrize("setting", ["indexing_threshold", "max_optimization_threads"])
async def test_a_collection_that_is_not_indexed_on_purpose_is_a_warning(setting: str) -> None:
    """As documentation recommends it while much is uploaded; it is easily forgotten, and the collection is green."""
    with replay("single_healthy") as qdrant:
        assert (await see(HEALTH, qdrant)).status is Status.OK

        def switched_off(info: Any) -> None:
            info["config"]["optimizer_config"][setting] = 0
            info.update(status="green", points_count=2_000_000, indexed_vectors_count=0)

        qdrant.peers[0].change("/collections/documents", switched_off)
        result = await see(HEALTH, qdrant)
    assert result.status is Status.WARNING
    assert result.summary == (
        f"Collection documents has 2000000 points on {qdrant.peers[0].url} and no index of them: {setting} is 0, so each search "
        "reads all vectors."
    )


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (
            lambda config: config["optimizer_config"].update(indexing_threshold=10**9),
            "indexing_threshold is 1000000000 kB",
        ),
        (lambda config: config["hnsw_config"].update(m=0), "hnsw_config.m is 0"),
        (lambda config: config["hnsw_config"].update(m=0, payload_m=16), ""),
    ],
)
async def test_settings_by_which_nothing_is_ever_indexed(edit: Callable[[Any], None], told: str) -> None:
    with replay("single_healthy") as qdrant:

        def change(info: Any) -> None:
            info.update(points_count=50_000, indexed_vectors_count=0)
            edit(info["config"])

        qdrant.peers[0].change("/collections/documents", change)
        result = await see(HEALTH, qdrant)
    assert result.status is (Status.WARNING if told else Status.OK)
    assert told in result.summary


async def test_what_qdrant_itself_warns_of() -> None:
    with replay("single_healthy") as qdrant:
        qdrant.peers[0].change("/collections/documents", lambda info: info.update(warnings=[{"message": "Unindexed."}]))
        result = await see(HEALTH, qdrant)
    assert (result.status, result.summary) == (
        Status.WARNING,
        f"Qdrant warns of collection documents on {qdrant.peers[0].url}: Unindexed.",
    )


async def test_an_alias_is_a_name_of_a_collection() -> None:
    with replay("cluster_healthy") as qdrant:

        def add(found: Any) -> None:
            found["aliases"].append({"alias_name": "current", "collection_name": "documents"})

        for peer in qdrant.peers:
            peer.change("/aliases", add)
        assert (await see(HEALTH, qdrant, collections=["current"])).status is Status.OK
        result = await see(HEALTH, qdrant, collections=["current", "former"])
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING)
    assert "Collection former does not exist on" in result.summary


async def test_updates_that_are_not_applied_are_a_warning_when_it_takes_long() -> None:
    context = make_context()
    with replay("single_healthy") as qdrant:
        qdrant.peers[0].change("/collections/documents", lambda info: info.update(update_queue={"length": 60_000}))
        assert (await see(HEALTH, qdrant, context=context)).status is Status.OK
        late = await see(HEALTH, qdrant, context=context, later=timedelta(minutes=11))
    assert late.status is Status.WARNING
    assert late.summary == (
        f"Collection documents on {qdrant.peers[0].url} has 60000 updates that were accepted and are not applied for 11m "
        "(limit 10m)."
    )


async def test_peers_of_different_releases_are_a_warning() -> None:
    with replay("cluster_healthy") as qdrant:
        key = next(key for key in qdrant.peers[0].replies if key[1] == "/metrics" and key[2] == "reader")
        reply = qdrant.peers[0].replies[key]
        qdrant.peers[0].replies[key] = reply | {"body": reply["body"].replace('version="1.18.3"', 'version="1.17.1"')}
        result = await see(HEALTH, qdrant)
    assert result.status is Status.WARNING
    assert f"The peers run different releases: {qdrant.peers[0].url} 1.17.1, " in result.summary


async def test_a_peer_that_came_back_is_not_ready_yet() -> None:
    with replay("cluster_recovered", lacking=("partly_saved", "single_copy")) as qdrant:
        result = await see(HEALTH, qdrant)
    url = qdrant.peers[2].url
    assert result.status is Status.FAILED
    assert result.summary == f"{url} is not ready: /readyz answers 503, as some shards are not ready."


async def test_recovery_mode_is_told_though_it_is_ready() -> None:
    with replay("single_recovery_mode", lacking=("bulk",)) as qdrant:
        assert qdrant.peers[0].replies["GET", "/readyz", "none"]["status"] == 200
        result = await see(HEALTH, qdrant)
    assert result.status is Status.FAILED
    assert "runs in recovery mode: collections are listed, but not loaded." in result.summary
    assert "Failed to Get Info, out of memory at start." in result.summary


@pytest.mark.verifies("qdrant.pods_healthy", "warning")
async def test_optimizing_is_a_warning_when_it_takes_long() -> None:
    context = make_context()
    with replay("single_optimizing", "single_healthy") as qdrant:
        assert (await see(HEALTH, qdrant, context=context)).status is Status.OK
        assert (await see(HEALTH, qdrant, context=context, later=timedelta(minutes=59))).status is Status.OK
        late = await see(HEALTH, qdrant, context=context, later=timedelta(minutes=61))
        assert (late.status, late.summary) == (
            Status.WARNING,
            "Collection bulk is yellow, being optimized, for 1h1m (limit 1h).",
        )
        qdrant.peers[0].change("/collections/bulk", lambda info: info.update(status="green"))
        assert (await see(HEALTH, qdrant, context=context, later=timedelta(minutes=62))).status is Status.OK
        qdrant.peers[0].change("/collections/bulk", lambda info: info.update(status="grey"))
        assert (await see(HEALTH, qdrant, context=context, later=timedelta(minutes=63))).status is Status.OK


async def test_a_copy_may_be_recovering_for_a_while() -> None:
    context = make_context()
    with replay("cluster_healthy") as qdrant:

        def partial(shards: Any) -> None:
            shards["local_shards"][0]["state"] = "Partial"

        qdrant.peers[0].change("/collections/documents/cluster", partial)
        first = await see(HEALTH, qdrant, context=context)
        what = f"Shard 0 of collection documents is Partial on {qdrant.peers[0].url}"
        assert (first.status, first.summary) == (Status.WARNING, f"{what}: it is being recovered.")
        # While the collection cannot be read, the time goes on.
        qdrant.peers[0].answer("/collections/documents", status=500, body='{"status": {"error": "no"}}')
        assert (await see(HEALTH, qdrant, context=context, later=timedelta(minutes=5))).status is Status.FAILED
        qdrant.peers[0].answer("/collections/documents", body=json.dumps({"result": {"status": "green"}}))
        late = await see(HEALTH, qdrant, context=context, later=timedelta(minutes=11))
        assert (late.status, late.summary) == (Status.FAILED, f"{what} for 11m (limit 10m).")


def counted_dead(qdrant: Qdrant, number: int) -> None:
    """Let each peer count so many shards with a copy that is not active, as Qdrant does whatever its state is."""
    for peer in qdrant.peers:
        reply = peer.replies["GET", "/metrics", "reader"]
        body = re.sub(r"(?m)^collection_dead_replicas .*", f"collection_dead_replicas {number}", reply["body"])
        peer.replies["GET", "/metrics", "reader"] = reply | {"body": body}


def _state(qdrant: Qdrant, state: str, *shards: int, on: Peer) -> None:
    """Put the copies of shards that a peer has into a state, as all peers know it."""
    owner = json.loads(on.replies["GET", "/cluster", "reader"]["body"])["result"]["peer_id"]

    def change(listed: Any) -> None:
        own = listed["local_shards"] if listed["peer_id"] == owner else []
        others = [shard for shard in listed["remote_shards"] if shard["peer_id"] == owner]
        for shard in (*own, *others):
            if shard["shard_id"] in shards:
                shard["state"] = state

    for peer in qdrant.peers:
        peer.change("/collections/documents/cluster", change)


async def test_what_qdrant_counts_as_dead_may_be_filled() -> None:
    context = make_context()
    with replay("cluster_healthy") as qdrant:
        first = qdrant.peers[0]
        _state(qdrant, "Partial", 0, on=first)
        counted_dead(qdrant, 1)
        what = f"Shard 0 of collection documents is Partial on {first.url}"
        result = await see(HEALTH, qdrant, context=context)
        assert (result.status, result.summary) == (Status.WARNING, f"{what}: it is being recovered.")
        counted_dead(qdrant, 2)
        more = await see(HEALTH, qdrant, context=context)
        assert (more.status, more.reason) == (Status.FAILED, Reason.DOWN)
        assert "counts 2 copies of shards that are not active (collection_dead_replicas)." in more.summary


async def test_a_peer_that_only_listens_is_whole() -> None:
    with replay("cluster_healthy") as qdrant:
        _state(qdrant, "Listener", 1, 2, on=qdrant.peers[2])
        counted_dead(qdrant, 2)
        assert (await see(HEALTH, qdrant)).status is Status.OK


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_collection_that_is_resharded_can_be_searched(direction: str) -> None:
    """The shard that is added has one copy, which is not active; the others are in a state of their own while one is removed."""
    context = make_context()
    with replay("cluster_healthy") as qdrant:
        shard = 3 if direction == "up" else 2
        first = json.loads(qdrant.peers[0].replies["GET", "/cluster", "reader"]["body"])["result"]["peer_id"]

        def change(listed: Any) -> None:
            listed["resharding_operations"] = [{"direction": direction, "shard_id": shard, "peer_id": first}]
            if direction == "down":
                for copy in (*listed["local_shards"], *listed["remote_shards"]):
                    copy["state"] = "ReshardingScaleDown"
            elif listed["peer_id"] == first:
                listed["local_shards"].append({"shard_id": 3, "points_count": 5, "state": "Resharding"})
            else:
                listed["remote_shards"].append({"shard_id": 3, "peer_id": first, "state": "Resharding"})

        for peer in qdrant.peers:
            peer.change("/collections/documents/cluster", change)
        counted_dead(qdrant, 1 if direction == "up" else 0)
        what = "Collection documents is being resharded"
        early = await see(HEALTH, qdrant, context=context)
        doing = "added" if direction == "up" else "removed"
        assert (early.status, early.summary) == (Status.WARNING, f"{what}: shard {shard} is {doing}.")
        late = await see(HEALTH, qdrant, context=context, later=timedelta(minutes=61))
    assert (late.status, late.summary) == (Status.WARNING, f"{what} for 1h1m (limit 1h).")


async def test_a_transfer_that_never_ends_is_a_warning() -> None:
    context = make_context()
    with replay("cluster_healthy") as qdrant:
        ids = [json.loads(p.replies["GET", "/cluster", "reader"]["body"])["result"]["peer_id"] for p in qdrant.peers]
        transfer = {"shard_id": 0, "from": ids[0], "to": ids[1], "sync": False, "method": "snapshot"}
        for peer in qdrant.peers:
            peer.change("/collections/documents/cluster", lambda listed: listed["shard_transfers"].append(transfer))
        assert (await see(HEALTH, qdrant, context=context)).status is Status.OK
        late = await see(HEALTH, qdrant, context=context, later=timedelta(minutes=11))
        source, to = qdrant.peers[0].url, qdrant.peers[1].url
    assert (late.status, late.summary) == (
        Status.WARNING,
        f"Shard 0 of collection documents is being transferred from {source} to {to} for 11m (limit 10m).",
    )


@pytest.mark.parametrize(
    ("strict", "status", "told"),
    [
        ({"enabled": True, "max_points_count": 200}, Status.FAILED, "is full on"),
        ({"enabled": True, "max_points_count": 210}, Status.WARNING, "is nearly full on"),
        ({"enabled": True, "max_points_count": 400}, Status.OK, ""),
        ({"enabled": False, "max_points_count": 10}, Status.OK, ""),
        (None, Status.OK, ""),
    ],
)
async def test_a_collection_with_all_the_points_that_it_takes(strict: Any, status: Status, told: str) -> None:
    with replay("single_healthy") as qdrant:
        qdrant.peers[0].change("/collections/documents", lambda info: info["config"].update(strict_mode_config=strict))
        points = json.loads(qdrant.peers[0].replies["GET", "/collections/documents", "reader"]["body"])["result"]
        assert points["points_count"] == 200
        result = await see(HEALTH, qdrant)
    assert result.status is status
    assert told in result.summary


async def test_a_peer_at_its_quota_refuses_writes() -> None:
    """As the sources of 1.19 write it; a resource without a limit has no series."""
    with replay("single_healthy") as qdrant:
        reply = qdrant.peers[0].replies["GET", "/metrics", "reader"]

        def quota(disk: int) -> None:
            series = f'quota_exceeded{{resource="memory"}} 0\nquota_exceeded{{resource="disk"}} {disk}\n'
            qdrant.peers[0].replies["GET", "/metrics", "reader"] = reply | {"body": reply["body"] + series}

        quota(0)
        assert (await see(HEALTH, qdrant)).status is Status.OK
        quota(1)
        result = await see(HEALTH, qdrant)
        url = qdrant.peers[0].url
    assert (result.status, result.reason, result.summary) == (
        Status.FAILED,
        Reason.LIMIT,
        f"{url} refuses writes, as it uses more disk than its quota allows (quota_exceeded).",
    )


async def test_points_that_no_search_finds_yet() -> None:
    context = make_context()
    with replay("single_healthy") as qdrant:
        qdrant.peers[0].change(
            "/collections/documents", lambda info: info.update(update_queue={"length": 0, "deferred_points": 50})
        )
        assert (await see(HEALTH, qdrant, context=context)).status is Status.OK
        late = await see(HEALTH, qdrant, context=context, later=timedelta(minutes=90))
        url = qdrant.peers[0].url
    assert (late.status, late.summary) == (
        Status.WARNING,
        f"Collection documents on {url} has 50 points that no search finds, as they are not indexed, for 1h30m (limit 1h).",
    )


async def test_a_cluster_of_two_peers_is_a_warning() -> None:
    with replay("cluster_healthy") as qdrant:
        gone = json.loads(qdrant.peers[2].replies["GET", "/cluster", "reader"]["body"])["result"]["peer_id"]
        del qdrant.peers[2]

        one = {"replication_factor": 1, "shard_number": 0}

        def shrink(listed: Any) -> None:
            listed["remote_shards"] = [shard for shard in listed["remote_shards"] if shard["peer_id"] != gone]

        for peer in qdrant.peers:
            peer.change("/cluster", lambda cluster: cluster["peers"].pop(str(gone)))
            for name in ("documents", "single_copy"):
                peer.change(f"/collections/{name}/cluster", shrink)
                peer.change(f"/collections/{name}", lambda info: info["config"]["params"].update(one))
        result = await see(HEALTH, qdrant)
    assert (result.status, result.summary) == (
        Status.WARNING,
        "The cluster has 2 peers, and without one of them no collection or shard can be changed (wanted at least 3).",
    )


async def test_copies_of_a_shard_that_hold_different_points() -> None:
    """Each is Active, and what a search finds depends on the peer that is asked."""
    context = make_context()
    with replay("cluster_healthy") as qdrant:
        first = qdrant.peers[0]
        copies: dict[int, list[int]] = {}
        for peer in qdrant.peers:
            document = json.loads(peer.replies["GET", "/collections/documents/cluster", "reader"]["body"])
            for shard in document["result"]["local_shards"]:
                copies.setdefault(shard["shard_id"], []).append(shard["points_count"])
        assert all(len(set(counts)) == 1 < len(counts) for counts in copies.values()), copies

        def lose(shards: Any) -> None:
            shards["local_shards"][0]["points_count"] = 7

        assert (await see(HEALTH, qdrant, context=context)).status is Status.OK
        first.change("/collections/documents/cluster", lose)
        assert (await see(HEALTH, qdrant, context=context)).status is Status.OK, "they differ for moments"
        late = await see(HEALTH, qdrant, context=context, later=timedelta(minutes=11))
    assert (late.status, late.reason) == (Status.FAILED, Reason.CONTRADICTED)
    assert late.summary.startswith(f"Copies of shard 0 of collection documents on {first.url} and ")
    assert f"have held 7 to {copies[0][0]} points for 11m (limit 10% apart)." in late.summary


async def test_a_server_that_asks_for_no_key_is_told() -> None:
    with replay("single_no_authentication") as qdrant:
        assert qdrant.peers[0].replies["GET", "/collections", "wrong"]["status"] == 200
        result = await see(HEALTH, qdrant)
        told = f"{qdrant.peers[0].url} answers a request without an API key: whoever reaches it can read and delete"
        assert (result.status, result.summary) == (Status.FAILED, f"{told} collections.")
        declared = await see(HEALTH, qdrant, anonymous_access="Only the mesh reaches it.")
        assert declared.status is Status.OK


@pytest.mark.parametrize("item", [HEALTH, BACKUPS])
async def test_a_server_that_lost_its_collections_is_told(item: str) -> None:
    with replay("single_empty") as qdrant:
        result = await see(item, qdrant, collections=["documents"])
        expected = f"Collection documents does not exist on {qdrant.peers[0].url}."
        assert (result.status, result.summary) == (Status.FAILED, expected)


async def test_an_empty_server_works_but_shows_no_backup() -> None:
    with replay("single_empty") as qdrant:
        assert (await see(HEALTH, qdrant)).status is Status.OK
        result = await see(BACKUPS, qdrant)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "vectors has no collection that needs a snapshot, so none was checked.",
    )


def _no_leader(cluster: Any) -> None:
    cluster["raft_info"]["leader"] = None


def _stopped(cluster: Any) -> None:
    cluster["consensus_thread_status"] = {"consensus_thread_status": "stopped_with_err", "err": "disk full"}


def _forgotten(cluster: Any) -> None:
    cluster["peers"].popitem()


def _other_leader(cluster: Any) -> None:
    cluster["raft_info"]["leader"] = 1


def _unknown_leader(cluster: Any) -> None:
    cluster["raft_info"]["leader"] = 42


def _one_address(cluster: Any) -> None:
    for peer in cluster["peers"].values():
        peer["uri"] = "http://127.0.0.1:6335/"


def _alone(cluster: Any) -> None:
    cluster.clear()
    cluster["status"] = "disabled"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_no_leader, "knows no leader, so collections cannot be changed."),
        (_stopped, "takes no part in the consensus: its thread is stopped_with_err (disk full)."),
        (_forgotten, "knows 2 peers of its cluster (wanted 3)."),
        (_other_leader, "The peers follow different leaders: 1, 8309684765085858."),
        (_unknown_leader, "follows leader 42, which is not in its cluster."),
        (_one_address, "knows several of its peers by one address, http://127.0.0.1:6335/: it reaches one of them."),
        (_alone, "runs without cluster mode (wanted a cluster of 3 peers)."),
    ],
)
async def test_a_peer_that_is_not_of_the_cluster_is_told(edit: Callable[[Any], None], told: str) -> None:
    with replay("cluster_healthy") as qdrant:
        qdrant.peers[1].change("/cluster", edit)
        result = await see(HEALTH, qdrant)
    assert result.status is Status.FAILED
    assert told in result.summary


async def test_a_peer_that_may_not_vote_is_told() -> None:
    with replay("cluster_healthy") as qdrant:
        qdrant.peers[2].change("/cluster", lambda cluster: cluster["raft_info"].update(is_voter=False))
        result = await see(HEALTH, qdrant)
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    assert result.summary.startswith(f"{qdrant.peers[2].url} may not vote in the consensus (is_voter is false)")


@pytest.mark.parametrize("furthest", [0, 1])
async def test_a_peer_whose_log_is_far_behind_is_told(furthest: int) -> None:
    """Whether it is one of the others or the leader: the recordings have 20 entries each."""
    with replay("cluster_healthy") as qdrant:
        peer = qdrant.peers[furthest]
        peer.change("/cluster", lambda cluster: cluster["raft_info"].update(commit=30))
        assert (await see(HEALTH, qdrant)).status is Status.OK
        peer.change("/cluster", lambda cluster: cluster["raft_info"].update(commit=3000))
        result = await see(HEALTH, qdrant)
        behind = [other.url for other in qdrant.peers if other is not peer]
        assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
        assert result.summary == " ".join(
            f"{url} is 2980 entries behind in the log of the consensus (limit 10)." for url in behind
        )
        assert (await see(HEALTH, qdrant, max_raft_lag=5000)).status is Status.OK


def _older_term(cluster: Any) -> None:
    cluster["raft_info"]["term"] = 0


def _pending(cluster: Any) -> None:
    cluster["raft_info"]["pending_operations"] = 500


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_older_term, "{url} is in term 0 of the consensus, while others are in term 1."),
        (_pending, "{url} has 500 operations of the consensus that it has not applied (limit 10)."),
    ],
)
async def test_a_peer_that_is_left_behind_still_says_it_works(edit: Callable[[Any], None], told: str) -> None:
    with replay("cluster_healthy") as qdrant:
        qdrant.peers[1].change("/cluster", edit)
        result = await see(HEALTH, qdrant)
    assert (result.status, result.summary) == (Status.FAILED, told.format(url=qdrant.peers[1].url))


async def test_a_consensus_thread_that_reports_no_more() -> None:
    """What each reports is compared with what it reported before: the clocks of peers differ."""
    context = make_context()
    with replay("cluster_healthy") as qdrant:
        qdrant.peers[0].change(
            "/cluster",
            lambda cluster: cluster["consensus_thread_status"].update(last_update="2026-11-24T18:59:18.710186798Z"),
        )
        stuck = qdrant.peers[1]
        assert (await see(HEALTH, qdrant, context=context)).status is Status.OK, "a clock that is ahead is no reason"
        late = await see(HEALTH, qdrant, context=context, later=timedelta(minutes=6), hanging=[stuck])
    assert (late.status, late.summary) == (
        Status.FAILED,
        f"The consensus thread of {stuck.url} has reported nothing for 6m (limit 5m).",
    )


async def test_a_collection_that_one_peer_does_not_know_is_told() -> None:
    with replay("cluster_healthy") as qdrant:
        qdrant.peers[2].change("/collections", lambda found: found["collections"].pop(0))
        result = await see(HEALTH, qdrant)
    assert (result.status, result.reason) == (Status.FAILED, Reason.CONTRADICTED)
    assert result.summary == (
        f"Collection documents is not known to {qdrant.peers[2].url}, while other peers of the cluster have it."
    )


@pytest.mark.parametrize("state", ["Partial", "Listener", "Initializing"])
async def test_a_shard_without_an_active_copy_cannot_be_searched(state: str) -> None:
    with replay("cluster_healthy") as qdrant:

        def change(shards: Any) -> None:
            for shard in shards["local_shards"] + shards["remote_shards"]:
                shard["state"] = state if shard["shard_id"] == 1 else "Active"

        for peer in qdrant.peers:
            peer.change("/collections/documents/cluster", change)
        result = await see(HEALTH, qdrant)
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    told = (
        f"Shard 1 of collection documents has no Active copy, as {qdrant.peers[0].url} lists them ({state} and {state})"
    )
    assert told in result.summary


async def test_a_copy_on_a_peer_that_is_none() -> None:
    with replay("cluster_healthy") as qdrant:
        url = qdrant.peers[0].url
        qdrant.peers[0].change(
            "/collections/documents/cluster", lambda shards: shards["remote_shards"][0].update(peer_id=1)
        )
        result = await see(HEALTH, qdrant)
    assert (result.status, result.reason) == (Status.FAILED, Reason.CONTRADICTED)
    assert (
        f"{url} lists a copy of shard 0 of collection documents on peer 1, which is not in its cluster."
        in result.summary
    )


async def test_a_collection_that_is_listed_and_not_found() -> None:
    with replay("cluster_healthy") as qdrant:
        body = json.dumps({"status": {"error": "Not found: Collection `documents` doesn't exist!"}})
        qdrant.peers[1].answer("/collections/documents", status=404, body=body)
        result = await see(HEALTH, qdrant)
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    assert f"Collection documents cannot be read on {qdrant.peers[1].url}: Not found" in result.summary


async def test_a_shard_that_no_peer_lists_is_told() -> None:
    with replay("cluster_healthy") as qdrant:
        for peer in qdrant.peers:

            def lose(shards: Any) -> None:
                for kind in ("local_shards", "remote_shards"):
                    shards[kind] = [shard for shard in shards[kind] if shard["shard_id"] != 1]

            peer.change("/collections/documents/cluster", lose)
        result = await see(HEALTH, qdrant)
        assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING)
        assert f"Shard 1 of collection documents is on no peer, as {qdrant.peers[0].url} lists them." in result.summary
        for peer in qdrant.peers:  # shards that clients make by their keys have no number that is known
            peer.change(
                "/collections/documents", lambda info: info["config"]["params"].update(sharding_method="custom")
            )
        assert (await see(HEALTH, qdrant)).status is Status.OK


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": "red"}, "Collection documents is red on {url} (wanted green)."),
        (
            {"optimizer_status": {"error": "no space."}},
            "The optimizer of collection documents failed on {url}: no space.",
        ),
        ({"optimizer_status": "stuck"}, "The optimizer of collection documents failed on {url}: stuck."),
        (
            {"config": {"params": {"replication_factor": 3}}},
            "Shard 0 of collection documents has 2 copies (wanted 3).",
        ),
    ],
)
async def test_a_broken_collection_is_told(changes: dict[str, Any], told: str) -> None:
    with replay("cluster_healthy") as qdrant:
        qdrant.peers[0].change("/collections/documents", lambda info: info.update(changes))
        result = await see(HEALTH, qdrant)
    assert result.status is Status.FAILED
    assert told.format(url=qdrant.peers[0].url) in result.summary


@pytest.mark.parametrize("item", [HEALTH, BACKUPS])
async def test_peers_that_nobody_looks_at_are_told(item: str) -> None:
    with replay("cluster_healthy") as qdrant:
        one, two, three = (peer.url for peer in qdrant.peers)
        few = (await look(target(one, two), item, now=qdrant.now))[item]
        assert few.status is Status.UNKNOWN
        assert few.summary == "The cluster has 3 peers, of which only the 2 in option nodes are checked."
        qdrant.peers[2].replies = qdrant.peers[0].replies  # as behind a service that balances
        same = (await look(target(one, two, three), item, now=qdrant.now))[item]
        assert same.status is Status.UNKNOWN
        assert f"{one} and {three} are the same peer" in same.summary


async def test_renamed_metrics_are_found_by_their_prefix() -> None:
    with replay("single_healthy") as qdrant:
        peer = qdrant.peers[0]
        text = peer.replies["GET", "/metrics", "reader"]["body"]
        peer.answer("/metrics", body=text.replace("\napp_", "\nqd_app_").replace("\ncollection_", "\nqd_collection_"))
        result = await see(HEALTH, qdrant)
        assert result.status is Status.UNKNOWN
        assert "where metrics are renamed, set metrics_prefix" in result.summary
        assert (await see(HEALTH, qdrant, metrics_prefix="qd_")).status is Status.OK
        peer.answer("/metrics", body="app_status_recovery_mode many\n")
        assert "a value that is no number" in (await see(HEALTH, qdrant)).summary


async def test_a_gateway_in_between_proves_no_authentication() -> None:
    with replay("single_healthy") as qdrant:
        qdrant.peers[0].answer("/collections", status=502, key="none")
        result = await see(HEALTH, qdrant)
    assert result.status is Status.UNKNOWN
    assert "answers 502 to a request without an API key (wanted 401)." in result.summary


# -- backups


@pytest.mark.verifies("qdrant.collection_backups_enabled", "ok")
@pytest.mark.parametrize("scenario", ["single_healthy", "cluster_healthy"])
async def test_snapshots_on_every_peer_are_ok(scenario: str) -> None:
    with replay(scenario) as qdrant:
        result = await see(BACKUPS, qdrant, later=timedelta(hours=25))
        assert result.status is Status.OK
        assert result.summary == (
            "Every peer has a recent snapshot of all 2 collections; whether they are copied off the node was not checked."
        )
        assert 25 * 3600 <= result.measurements["snapshot_age_seconds"] <= 25 * 3600 + 5
        old = await see(BACKUPS, qdrant, later=timedelta(hours=27))
    assert old.status is Status.FAILED
    assert "old (limit 1d2h)." in old.summary


@pytest.mark.verifies("qdrant.collection_backups_enabled", "failed")
async def test_a_collection_without_a_snapshot_is_told() -> None:
    with replay("single_no_snapshot") as qdrant:
        url = qdrant.peers[0].url
        result = await see(BACKUPS, qdrant)
        assert result.status is Status.FAILED
        assert result.summary == (
            f"Collection documents has no snapshot on {url}, which holds shards of it. "
            f"Collection images has no snapshot on {url}, which holds shards of it."
        )
        exempt = dict.fromkeys(("documents", "images"), "It is rebuilt every night.")
        assert (await see(BACKUPS, qdrant, without_snapshots=exempt)).status is Status.UNKNOWN


async def test_a_snapshot_on_one_peer_saves_only_its_shards() -> None:
    with replay("cluster_snapshot_on_one_peer_only", "cluster_healthy") as qdrant:
        result = await see(BACKUPS, qdrant)
        assert result.status is Status.FAILED
        without = [peer.url for peer in qdrant.peers[1:]]
        assert result.summary == " ".join(
            f"Collection partly_saved has no snapshot on {url}, which holds shards of it." for url in without
        )
        declared = await see(BACKUPS, qdrant, without_snapshots={"partly_saved": "It is rebuilt every night."})
        assert declared.status is Status.OK
        assert "all 2 collections, but for partly_saved by declaration" in declared.summary
        for peer in qdrant.peers[1:]:  # a peer without shards of a collection has nothing of it to save
            peer.change("/collections/partly_saved/cluster", lambda shards: shards.update(local_shards=[]))
        assert (await see(BACKUPS, qdrant)).status is Status.OK


@pytest.mark.parametrize(
    ("snapshot", "status", "told"),
    [
        ({"creation_time": None}, Status.UNKNOWN, "No snapshot of collection images on {url} shows when it was made."),
        ({"size": 0}, Status.FAILED, "The newest snapshot of collection images on {url} is empty."),
        ({"checksum": None}, Status.FAILED, "The newest snapshot of collection images on {url} has no checksum"),
        (
            {"creation_time": "2026-11-25T18:37:41"},
            Status.UNKNOWN,
            "is dated 2026-11-25 18:37 UTC, which is in the future.",
        ),
        ({"creation_time": "2026-11-23T10:37:41+02:00"}, Status.FAILED, "on {url} is 1d10h old (limit 1d2h)."),
    ],
)
async def test_a_snapshot_that_is_none_is_told(snapshot: dict[str, Any], status: Status, told: str) -> None:
    with replay("single_healthy") as qdrant:
        qdrant.peers[0].change("/collections/images/snapshots", lambda found: found[0].update(snapshot))
        result = await see(BACKUPS, qdrant)
    assert result.status is status
    assert told.format(url=qdrant.peers[0].url) in result.summary


def _whole(qdrant: Qdrant, **changes: Any) -> dict[str, Any]:
    made = (qdrant.now - timedelta(hours=1)).replace(tzinfo=None).isoformat()
    return {"name": "full.snapshot", "size": 4096, "creation_time": made, "checksum": "c0ffee"} | changes


async def test_snapshots_of_other_peers_in_one_folder() -> None:
    with replay("cluster_healthy") as qdrant:
        path = "/collections/documents/snapshots"
        taken = json.loads(qdrant.peers[0].replies["GET", path, "reader"]["body"])["result"]
        for peer in qdrant.peers[1:]:
            peer.change(path, lambda found: found.__setitem__(slice(None), taken))
        result = await see(BACKUPS, qdrant)
        first, second, _ = (peer.url for peer in qdrant.peers)
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING)
    words = "lists 1 snapshot of collection documents, all of other peers: its own shards are in none."
    assert f"{second} {words}" in result.summary
    assert first not in result.summary


def of_shard(peer: Peer, qdrant: Qdrant, shard: int, collection: str = "partly_saved", **changes: Any) -> None:
    """Let a peer list one snapshot of a shard, as the documentation of 1.18 has the reply; no such reply was recorded."""
    made = (qdrant.now - timedelta(hours=2)).replace(tzinfo=None)
    name = f"{collection}-shard-{shard}-{made:%Y-%m-%d-%H-%M-%S}.snapshot"
    snapshot = {"name": name, "size": 90_000, "creation_time": made.isoformat(), "checksum": "c0ffee"} | changes
    path = f"/collections/{collection}/shards/{shard}/snapshots"
    peer.answer(path, body=json.dumps({"result": [snapshot], "status": "ok", "time": 0.001}))


def held_by(peer: Peer, collection: str = "partly_saved") -> list[int]:
    """The shards that a peer lists as its own."""
    document = json.loads(peer.replies["GET", f"/collections/{collection}/cluster", "reader"]["body"])
    return [shard["shard_id"] for shard in document["result"]["local_shards"]]


async def test_snapshots_of_each_shard_are_one_of_the_collection() -> None:
    with replay("cluster_snapshot_on_one_peer_only", "cluster_healthy") as qdrant:
        _, second, third = qdrant.peers  # the first has a snapshot of the collection
        (shard,) = set(held_by(second)) & set(held_by(third))
        for peer in (second, third):
            for held in held_by(peer):
                of_shard(peer, qdrant, held)
        of_each = await see(BACKUPS, qdrant)
        of_shard(second, qdrant, shard, size=0)
        of_the_other_copy = await see(BACKUPS, qdrant)
        of_shard(third, qdrant, shard, creation_time="2026-11-01T00:00:00")
        useless = await see(BACKUPS, qdrant)
        for peer in (second, third):
            peer.answer(f"/collections/partly_saved/shards/{shard}/snapshots", body='{"result": []}')
        of_some = await see(BACKUPS, qdrant)
        second.answer(f"/collections/partly_saved/shards/{shard}/snapshots", status=403)
        third.answer(f"/collections/partly_saved/shards/{shard}/snapshots", status=403)
        denied = await see(BACKUPS, qdrant)
    what = f"hard {shard} of collection partly_saved"
    assert of_each.status is of_the_other_copy.status is Status.OK, of_the_other_copy.summary
    assert of_each.measurements["snapshot_age_seconds"] == 7200
    assert useless.status is Status.FAILED
    assert f"The newest snapshot of s{what} on {second.url} is empty." in useless.summary
    assert f"The newest snapshot of s{what} on {third.url} is 2" in useless.summary
    assert of_some.status is Status.FAILED
    assert f"S{what} has no snapshot on {second.url}, which holds shards of it." in of_some.summary
    assert denied.status is Status.UNKNOWN


async def test_a_release_without_snapshots_of_shards() -> None:
    with replay("single_no_snapshot") as qdrant:
        for name in ("documents", "images"):
            qdrant.peers[0].answer(f"/collections/{name}/shards/0/snapshots", status=404)
        result = await see(BACKUPS, qdrant)
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING)
    assert result.summary.startswith("Collection documents has no snapshot on ")


@pytest.mark.parametrize(
    ("size", "status", "told"),
    [
        (100, Status.FAILED, "has 100 B, less than an archive without files."),
        (1800, Status.FAILED, "has 1.8 kB, those before it 185 kB."),
        (80_000, Status.WARNING, "has 80 kB, those before it 185 kB."),
    ],
)
async def test_a_snapshot_that_shrank(size: int, status: Status, told: str) -> None:
    with replay("cluster_healthy") as qdrant:

        def add(found: Any) -> None:
            found.append(found[0] | {"size": size, "creation_time": "2026-11-24T18:39:18"})

        qdrant.peers[0].change("/collections/documents/snapshots", add)
        result = await see(BACKUPS, qdrant)
    assert (result.status, told in result.summary) == (status, True), result.summary


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.OK),
        ({"size": 0}, Status.FAILED),
        ({"checksum": None}, Status.FAILED),
        ({"creation_time": "2026-11-01T10:00:00"}, Status.FAILED),
        ({"creation_time": "2026-12-24T10:00:00"}, Status.FAILED),
    ],
)
async def test_a_snapshot_of_the_whole_storage_counts(changes: dict[str, Any], status: Status) -> None:
    with replay("single_no_snapshot") as qdrant:
        qdrant.peers[0].change("/snapshots", lambda found: found.append(_whole(qdrant, **changes)))
        result = await see(BACKUPS, qdrant)
        assert result.status is status
        if status is Status.OK:
            assert result.measurements == {"snapshot_age_seconds": 3600}
        qdrant.peers[0].answer("/snapshots", status=403)
        assert (await see(BACKUPS, qdrant)).status is Status.UNKNOWN


async def test_a_snapshot_of_the_whole_storage_of_a_cluster_is_a_warning() -> None:
    with replay("cluster_snapshot_on_one_peer_only", "cluster_healthy") as qdrant:
        for peer in qdrant.peers:
            peer.change("/snapshots", lambda found: found.append(_whole(qdrant)))
        result = await see(BACKUPS, qdrant)
    assert result.status is Status.WARNING
    assert "is saved by a snapshot of the whole storage alone, from which Qdrant restores no peer of a cluster" in (
        result.summary
    )


# -- space


def local(path: Path, **limits: Any) -> dict[str, Any]:
    return {"path": str(path)} | {"min_free": 1, "min_free_ratio": 0} | limits


@pytest.mark.verifies("qdrant.storage_sufficient", "ok")
@pytest.mark.verifies("qdrant.storage_sufficient", "failed")
@pytest.mark.verifies("qdrant.storage_sufficient", "unknown")
async def test_space_is_judged_on_every_volume_of_every_peer(tmp_path: Path) -> None:
    with replay("cluster_healthy") as qdrant:

        async def space(*volumes: list[dict[str, Any]], **options: Any) -> Result:
            urls = [peer.url for peer in qdrant.peers]
            nodes = [{"url": url, "volumes": of} for url, of in zip(urls, volumes, strict=True)]
            return (await look(target(nodes=nodes, **options), SPACE, now=qdrant.now))[SPACE]

        good = await space(*([local(tmp_path), local(tmp_path, name="snapshots")] for _ in range(3)))
        assert good.status is Status.OK
        assert good.measurements["storage_free_bytes"] > 0
        # Vectors of 16 floats and payloads of 128 bytes, as the peer that holds most of them tells.
        assert good.measurements["largest_collection_bytes"] > 200 * 64
        full = await space([local(tmp_path)], [local(tmp_path)], [local(tmp_path, min_free_ratio=1)])
        assert full.status is Status.FAILED
        assert full.summary.startswith(f"{qdrant.peers[2].url}: Volume storage has ")
        unseen = await space([local(tmp_path)], [local(tmp_path)], [])
        assert (unseen.status, unseen.summary) == (
            Status.UNKNOWN,
            f"{qdrant.peers[2].url}: option volumes is not set, so no free space was checked.",
        )
        assert (await space(*[[local(tmp_path / "none")]] * 3)).status is Status.UNKNOWN
        qdrant.peers[0].answer("/telemetry?details_level=3", status=401)
        refused = await space(*[[local(tmp_path)]] * 3)
        assert refused.status is Status.UNKNOWN
        assert "the size of its collections was not checked." in refused.summary


@pytest.mark.parametrize(
    ("strict", "told"),
    [
        (
            {"max_collection_vector_size_bytes": 1000},
            "Collection documents is full and refuses points: its vectors take",
        ),
        (
            {"max_collection_payload_size_bytes": 1000},
            "Collection documents is full and refuses points: its payloads take",
        ),
        ({"max_collection_vector_size_bytes": 10**9}, ""),
        ({"enabled": False, "max_collection_vector_size_bytes": 1000}, ""),
    ],
)
async def test_a_collection_of_the_size_that_it_may_have(strict: dict[str, Any], told: str, tmp_path: Path) -> None:
    with replay("single_healthy") as qdrant:

        def limited(telemetry: Any) -> None:
            for collection in telemetry["collections"]["collections"]:
                if collection["id"] == "documents":
                    collection["config"]["strict_mode_config"] = {"enabled": True} | strict

        qdrant.peers[0].change("/telemetry?details_level=3", limited)
        node = {"url": qdrant.peers[0].url, "volumes": [local(tmp_path)]}
        result = await see(SPACE, qdrant, nodes=[node])
    assert (result.status, told in result.summary) == (Status.FAILED if told else Status.OK, True)


def test_the_largest_collection_must_fit_once_more() -> None:
    volume = QdrantVolume(path=Path("/data"))
    assert (volume.min_free, volume.min_free_ratio) == (10 * 2**30, 0.2)
    space = Space(free=3e9, size=10e9, free_inodes=1, inodes=1)
    result = judge.copy_fits(volume, space, {"small": 10, "large": 5 * 10**9})
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Volume storage has 3 GB free, but collection large takes 5 GB: optimizing it or taking its snapshot needs as much.",
    )
    assert judge.copy_fits(volume, space, {"large": 10**9}).status is Status.OK
    assert judge.copy_fits(volume, space, {}).status is Status.OK


# -- what cannot be seen

FAULTS: list[tuple[str, Callable[[], AbstractAsyncContextManager[Address]], str]] = [
    ("refused", faults.refused, "the connection was refused"),
    ("unroutable", faults.unroutable, "did not answer within 300ms"),
    ("mute", faults.mute, "did not answer within 300ms"),
    ("hanging up", faults.hanging_up, "is not HTTP or ended too early"),
    (
        "half a reply",
        lambda: faults.half_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall"),
        "did not answer within",
    ),
    ("garbage", faults.garbage, "is not HTTP or ended too early"),
    ("endless", lambda: faults.endless(b"HTTP/1.1 200 OK\r\n\r\n"), "answered more than 16777216 bytes"),
]


@pytest.mark.verifies("qdrant.pods_healthy", "unknown")
@pytest.mark.verifies("qdrant.collection_backups_enabled", "unknown")
@pytest.mark.parametrize(("fault", "told"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
async def test_a_faulty_server_is_unknown_in_one_sentence(
    fault: Callable[[], AbstractAsyncContextManager[Address]],
    told: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    no_leftovers: None,
) -> None:
    async with fault() as (host, port):
        timeout = "300ms" if "300ms" in told else "2s" if "did not answer" in told else "15s"
        nodes = [{"url": f"http://{host}:{port}", "volumes": [local(tmp_path)]}]
        started = asyncio.get_running_loop().time()
        seen = await look(target(nodes=nodes, api_key=CANARY, node_timeout=timeout), HEALTH, BACKUPS, SPACE)
        assert asyncio.get_running_loop().time() - started < 8
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert seen[HEALTH].summary.startswith(f"GET http://{host}:{port}/readyz ")
    assert told in seen[HEALTH].summary
    assert CANARY not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("item", [HEALTH, BACKUPS])
async def test_a_wrong_key_is_unknown(item: str, no_leftovers: None) -> None:
    with replay("single_healthy") as qdrant:
        result = await see(item, qdrant, api_key=CANARY)
        none = await see(item, qdrant, api_key=None)
    assert result.status is none.status is Status.UNKNOWN
    assert result.summary == f"GET {qdrant.peers[0].url}/collections answered 401: the credentials were not accepted."


@pytest.mark.parametrize("path", ["/cluster", "/metrics", "/collections/images", "/collections/images/cluster"])
async def test_a_missing_right_is_unknown(path: str, no_leftovers: None) -> None:
    with replay("single_healthy") as qdrant:
        qdrant.peers[0].answer(path, status=403)
        result = await see(HEALTH, qdrant)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        f"GET {qdrant.peers[0].url}{path} answered 403: the credentials have no right to it.",
    )


async def test_snapshots_that_may_not_be_listed_are_unknown() -> None:
    with replay("single_healthy") as qdrant:
        qdrant.peers[0].answer("/collections/images/snapshots", status=403)
        assert (await see(BACKUPS, qdrant)).status is Status.UNKNOWN


async def test_a_server_killed_in_the_middle_of_a_run_is_unknown(no_leftovers: None) -> None:
    with replay("single_healthy") as qdrant:
        async with Proxy(LOOPBACK, qdrant.peers[0].port) as proxy:
            proxy.pause()
            url = f"http://{LOOPBACK}:{proxy.address[1]}"
            looking = asyncio.create_task(look(target(url), HEALTH, now=qdrant.now))
            await eventually(lambda: proxy.open, what="the run is under way")
            proxy.cut()
            assert (await looking)[HEALTH].status is Status.UNKNOWN
            proxy.resume()
            assert (await look(target(url), HEALTH, now=qdrant.now))[HEALTH].status is Status.OK


async def test_hundreds_of_runs_leave_nothing_behind(no_leftovers: None) -> None:
    with replay("single_healthy") as qdrant:
        for _ in range(100):
            await see(HEALTH, qdrant)
    async with faults.mute() as silent, faults.refused() as closed, faults.hanging_up() as flapping:
        for host, port in [silent, closed, flapping] * 60:
            await look(target(f"http://{host}:{port}", node_timeout="20ms"), HEALTH)


async def test_a_run_that_is_cancelled_leaves_nothing(no_leftovers: None, caplog: pytest.LogCaptureFixture) -> None:
    async with faults.mute() as (host, port):
        for _ in range(50):
            looking = asyncio.create_task(look(target(f"http://{host}:{port}", node_timeout="30s"), HEALTH))
            await asyncio.sleep(0.005)
            looking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await looking
    assert not caplog.records


async def test_a_server_that_flaps_leaves_nothing(no_leftovers: None, caplog: pytest.LogCaptureFixture) -> None:
    seen = set()
    with replay("single_empty") as qdrant:
        async with Proxy(LOOPBACK, qdrant.peers[0].port) as proxy:
            configured = target(f"http://{LOOPBACK}:{proxy.address[1]}", node_timeout="10s")
            for number in range(1000):
                proxy.cut() if number % 2 else proxy.resume()
                result = (await look(configured, HEALTH, now=qdrant.now))[HEALTH]
                seen.add((number % 2, result.status))
            assert (
                proxy.accepted <= 500 * 4 + 500 * 2
            )  # four connections at most, and what may be sent twice is tried once more
    assert seen == {(0, Status.OK), (1, Status.UNKNOWN)}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_key_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with replay("single_healthy") as qdrant:
        assert (await see(HEALTH, qdrant)).status is Status.OK
        assert (await see(HEALTH, qdrant, api_key=CANARY)).status is Status.UNKNOWN
    assert CANARY not in caplog.text
    assert READER not in caplog.text


async def test_tls_is_verified(tmp_path: Path, no_leftovers: None) -> None:
    authority = Issued.root()
    ca, _ = authority.write(tmp_path, "ca")

    def served(name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue(name).write(tmp_path, name))
        return context

    with replay("single_healthy", tls=served(LOOPBACK)) as qdrant:
        assert (await see(HEALTH, qdrant, tls={"ca_file": str(ca)})).status is Status.OK
        distrusted = await see(HEALTH, qdrant)
        assert (distrusted.status, "certificate was not accepted" in distrusted.summary) == (Status.UNKNOWN, True)
        soon = await see(HEALTH, qdrant, tls={"ca_file": str(ca)}, certificate_warn="1000d")
        assert soon.status is Status.WARNING
        assert soon.summary.startswith(f"The certificate of {qdrant.peers[0].url} expires in ")
        assert (
            await see(HEALTH, qdrant, tls={"insecure_skip_verify": True}, certificate_warn="1000d")
        ).status is Status.OK
    with replay("single_healthy", tls=served("other.example.com")) as qdrant:
        named = await see(HEALTH, qdrant, tls={"ca_file": str(ca)})
        assert (named.status, "mismatch" in named.summary) == (Status.UNKNOWN, True)


KINDS: list[Any] = [
    client._Envelope[model.Cluster],
    client._Envelope[model.Info],
    client._Envelope[model.Shards],
    client._Envelope[list[model.Snapshot]],
    client._Envelope[client._Names],
    client._Envelope[client._Telemetry],
    client._Refusal,
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["result", "status", "peers", "name"]), inner),
    max_leaves=10,
)


@given(body=st.binary() | JSON.map(lambda found: json.dumps(found).encode()), kind=st.sampled_from(KINDS))
def test_a_reply_of_another_shape_is_told(body: bytes, kind: Any) -> None:
    reply = Reply("GET http://x/cluster", 200, httpx.Headers(), body)
    with suppress(ProbeError):  # the only thing that may be raised
        decode(reply, kind)


def test_a_service_or_a_path_is_no_address_of_a_peer() -> None:
    with pytest.raises(ValueError, match="expected an address that starts with http"):
        target("qdrant-0:6333")


# -- metrics


def _metrics(peer: Peer) -> str:
    text: str = peer.replies["GET", "/metrics", "reader"]["body"]
    return text


@pytest.mark.verifies("qdrant.api_metrics_collected", "ok")
@pytest.mark.verifies("qdrant.api_metrics_collected", "failed")
@pytest.mark.verifies("qdrant.api_metrics_collected", "unknown")
async def test_metrics_are_collected_from_every_peer(tmp_path: Path) -> None:
    with replay("cluster_healthy") as qdrant, Exposition("up 1\n") as empty:
        configured = target(*(peer.url for peer in qdrant.peers))

        async def collected(prometheus: PrometheusClient) -> Result:
            context = make_context(clients={"prometheus": prometheus})
            return (await look(configured, METRICS, context=context))[METRICS]

        def job(*ports: int) -> dict[str, Any]:
            return scrape("qdrant", *ports, authorization={"credentials": READER})

        ports = [peer.port for peer in qdrant.peers]
        # A peer that got no request for points yet has no rest_responses_total.
        assert [_metrics(peer).count("rest_responses_total{") for peer in qdrant.peers] == [1, 0, 0]
        with Prometheus(tmp_path, scrapes=[job(*ports)]) as server:
            prometheus = PrometheusClient(PrometheusSettings(url=server.url), Threads())
            try:
                await until(lambda: collected(prometheus), Status.OK, "app_info is 1")
                server.configure(scrapes=[job(*ports[:2])])
                await until(lambda: collected(prometheus), Status.FAILED, "scrapes 2 exporters")
                server.configure(scrapes=[job(*ports[:2], empty.port)])
                await until(lambda: collected(prometheus), Status.FAILED, "app_info is not 1")
                server.configure(scrapes=[scrape("qdrant", *ports)])
                await until(lambda: collected(prometheus), Status.FAILED, 'up{job="qdrant"} is not 1')
            finally:
                await prometheus.close()
            gone = PrometheusClient(PrometheusSettings(url=server.url, timeout=timedelta(seconds=1)), Threads())
            server.kill()
            assert (await collected(gone)).status is Status.UNKNOWN
            await gone.close()
