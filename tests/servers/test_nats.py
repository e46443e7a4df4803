"""NATS, old and new, alone and as a cluster, does what the tests need of it."""

from pathlib import Path

import nats
import pytest
from nats.js.api import StreamConfig

from tests.servers.nats import NEW, OLD, Nats, cluster, meta_leader
from tests.servers.process import eventually, wait_until


@pytest.mark.parametrize("release", [OLD, NEW])
def test_a_node_takes_new_settings(tmp_path: Path, release: str) -> None:
    with Nats(tmp_path, release=release) as node:
        assert node.monitor("varz")["version"].startswith(f"{release}.")
        assert node.monitor("healthz") == {"status": "ok"}
        node.configure(max_payload=4096)
        assert node.monitor("varz")["max_payload"] == 4096


def test_a_node_without_jetstream(tmp_path: Path) -> None:
    with Nats(tmp_path, jetstream=None) as node:
        assert node.monitor("jsz")["disabled"] is True


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_cluster_replicates_and_survives_its_leader(tmp_path: Path, release: str) -> None:
    with cluster(tmp_path, release=release) as nodes:
        leader = meta_leader(nodes)
        assert leader is not None
        client = await nats.connect([node.url for node in nodes])
        try:
            stream = await client.jetstream().add_stream(StreamConfig("orders", subjects=["orders"], num_replicas=3))
            assert stream.config.num_replicas == 3
        finally:
            await client.close()
        leader.kill()
        others = [node for node in nodes if node is not leader]
        await eventually(
            lambda: any(node.monitor("jsz")["meta_cluster"].get("leader") == node.name for node in others),
            "a new leader",
        )
        leader.start()
        wait_until(lambda: meta_leader(nodes), "all three to be current")


def test_the_shared_servers(nats_server: Nats, nats_cluster: list[Nats]) -> None:
    assert nats_server.monitor("varz")["jetstream"]
    assert {node.monitor("jsz")["meta_cluster"]["cluster_size"] for node in nats_cluster} == {3}
