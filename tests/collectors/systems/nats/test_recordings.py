"""What real NATS servers answer in the states that `test_judge_recorded.py` judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from collectors.systems.nats.model import Jsz, Routez, Varz, parsed
from tests.recordings import Record, record
from tests.servers.nats import Nats, cluster, meta_leader
from tests.servers.process import wait_until

__all__ = ["record"]


@dataclass(frozen=True)
class Documents:
    """What one server's monitoring endpoint answers."""

    varz: Varz
    jsz: Jsz
    routez: Routez


def answers(nodes: Sequence[Nats], names: Mapping[str, str]) -> list[Documents]:
    """The documents of each server, routes in the order of the names that they are recorded under."""
    found = []
    for node in nodes:
        varz, jsz = parsed("/varz", node.monitor("varz"), Varz), parsed("/jsz", node.monitor("jsz"), Jsz)
        routez = parsed("/routez", node.monitor("routez"), Routez)
        routes = sorted(routez.routes or (), key=lambda route: names[route.remote_name])
        found.append(Documents(varz, jsz, msgspec.structs.replace(routez, routes=tuple(routes))))
    return found


async def test_a_cluster_that_is_whole(tmp_path: Path, record: Record) -> None:
    with cluster(tmp_path) as nodes:
        wait_until(lambda: all(len(_peers(node)) == 2 for node in nodes), "all routes")
        leader = wait_until(lambda: meta_leader(nodes), "a leader")
        assert leader
        by_name = {node.name: node for node in nodes}
        near, far = (by_name[replica["name"]] for replica in leader.monitor("jsz")["meta_cluster"]["replicas"])
        names = {leader.name: "leader", near.name: "follower-1", far.name: "follower-2", str(tmp_path): "/data"}
        record("nats", "cluster_healthy", answers([leader, near, far], names), names=names)


async def test_a_server_without_jetstream(tmp_path: Path, record: Record) -> None:
    with Nats(tmp_path, jetstream=None) as node:
        record("nats", "without_jetstream", answers([node], {}), names={str(tmp_path): "/data"})


def _peers(node: Nats) -> set[str]:
    return {route["remote_name"] for route in node.monitor("routez").get("routes") or ()}
