"""What real Redis nodes and Sentinels answer in the states that `test_judge_recorded.py` judges."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from collectors.systems.redis.client import Login, ask
from collectors.systems.redis.model import Answers, NodeAddress
from exporter.options import Secret
from tests.recordings import Record, record
from tests.servers.process import wait_until
from tests.servers.redis import HEALTHY, PASSWORD, Node, guarded, replication

__all__ = ["record"]

SETTINGS = ("save", "dir", "appendfsync", "min-replicas-to-write")
NODE = ("INFO", "ROLE", *(f"CONFIG GET {name}" for name in SETTINGS), "PING")
SENTINEL = ("INFO", "SENTINEL MASTERS", "SENTINEL CKQUORUM mymaster", "SENTINEL REPLICAS mymaster")


async def answers(*nodes: Node, commands: Sequence[str] = NODE, user: str | None = None) -> list[Answers]:
    """What each node answers to everything that the section asks."""
    login = Login(user, Secret(PASSWORD) if user else None, None, timedelta(seconds=15))
    return [await ask(NodeAddress.parse(node.address), login, commands) for node in nodes]


def names(*nodes: Node, first: int = 6379) -> dict[str, str]:
    """Ports as in the documentation of Redis, and one data folder."""
    ports = {str(node.port): str(port) for port, node in enumerate(nodes, first)}
    return ports | {str(node.data): "/data" for node in nodes}


async def test_a_replication_that_is_well_and_one_whose_replica_is_cut_off(tmp_path: Path, record: Record) -> None:
    with replication(tmp_path, *HEALTHY) as (master, replica):
        for node in (master, replica):
            node.write_and_save()
        wait_until(lambda: "offset" in master.info("slave0"), "the master to have heard of its replica")
        record("redis", "replication_healthy", await answers(master, replica), names=names(master, replica))
        master.command("ACL", "SETUSER", "default", "-psync", "-sync")
        master.command("CLIENT", "KILL", "TYPE", "replica")
        wait_until(lambda: not master.command("ROLE")[2], "the master to miss its replica")
        wait_until(
            lambda: replica.command("INFO", "replication")["master_link_status"] == "down", "the link to be down"
        )
        record("redis", "replica_cut_off", await answers(master, replica), names=names(master, replica))


async def test_a_redis_as_it_comes(tmp_path: Path, record: Record) -> None:
    with Node(tmp_path, "--save", "") as node:
        record("redis", "as_it_comes", await answers(node), names=names(node))


async def test_a_user_who_may_not_read_the_configuration(tmp_path: Path, record: Record) -> None:
    with Node(tmp_path, *HEALTHY) as node:
        node.write_and_save()
        node.command("ACL", "SETUSER", "checklist", "on", f">{PASSWORD}", "-@all", "+ping", "+info", "+role")
        record("redis", "rights_missing", await answers(node, user="checklist"), names=names(node))


async def test_sentinels_with_a_quorum_and_without(tmp_path: Path, record: Record) -> None:
    with guarded(tmp_path, *HEALTHY) as found:
        for node in found.nodes:
            node.write_and_save()
        hidden = names(*found.nodes) | names(*found.sentinels, first=26379)
        nodes, sentinels = await answers(*found.nodes), await answers(*found.sentinels, commands=SENTINEL)
        record("redis", "sentinels_healthy", [*nodes, *sentinels], names=hidden)
        left, *gone = found.sentinels
        for sentinel in gone:
            sentinel.kill()
        wait_until(
            lambda: left.command("SENTINEL CKQUORUM", "mymaster", ready=True) == "an error, but an answer", "NOQUORUM"
        )
        [alone] = await answers(left, commands=SENTINEL)
        record("redis", "sentinels_without_quorum", [*nodes, alone], names=hidden)
