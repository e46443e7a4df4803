"""What the section says of the answers that real servers gave in `test_recordings.py`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from collectors.infrastructure import redis as section
from collectors.infrastructure.redis import Redis, RedisSettings, RedisTarget
from collectors.systems.redis.client import Login
from collectors.systems.redis.model import Answers, Look, NodeAddress, Unseen
from exporter.verdict import ProbeError, Result, Status
from tests.recordings import recorded, states
from tests.recordings.volatile import NOW
from tests.support import make_context, verify

OK, FAILED, UNKNOWN = Status.OK, Status.FAILED, Status.UNKNOWN
ALONE = {"nodes": ["127.0.0.1:6379"]}
REPLICATION = {"mode": "replication", "nodes": ["127.0.0.1:6379", "127.0.0.1:6380"], "replica_grace": "4s"}
SENTINEL = {"mode": "sentinel", "sentinels": [f"127.0.0.1:{port}" for port in (26379, 26380, 26381)]}

HEALTHY = "answer PING with the data loaded and replication up, protocol check only; pods not checked."
PERSISTS = (
    "All nodes of cache persist (aof+rdb), and their last writes went well; whether the configuration file that the next start "
    "reads has the same settings was not checked."
)
EVICTS = "All nodes of cache evict by allkeys-lru when their maxmemory is used up."

#: By state: options of the target, and the verdict on each item that the state is about.
EXPECTED: dict[str, tuple[dict[str, Any], dict[str, tuple[Status, str]]]] = {
    "as_it_comes": (
        ALONE,
        {
            "persistence_configured": (
                FAILED,
                (
                    "127.0.0.1:6379 writes no append-only file: appendonly is no. "
                    "127.0.0.1:6379 writes no snapshots: save is empty."
                ),
            ),
            "eviction_policy_set": (
                FAILED,
                (
                    "maxmemory-policy of 127.0.0.1:6379 is noeviction (wanted allkeys-lru). "
                    "maxmemory of 127.0.0.1:6379 is 0, so noeviction never evicts anything and memory grows without limit."
                ),
            ),
        },
    ),
    "replica_cut_off": (
        REPLICATION,
        {
            "pods_healthy": (
                FAILED,
                (
                    "Replica 127.0.0.1:6380 is without its master since 5s (grace 4s). "
                    "Master 127.0.0.1:6379 has 0 replicas online (wanted 1)."
                ),
            ),
        },
    ),
    "replication_healthy": (
        REPLICATION,
        {
            "pods_healthy": (OK, f"All 2 nodes of cache {HEALTHY}"),
            "persistence_configured": (OK, PERSISTS),
            "eviction_policy_set": (OK, EVICTS),
        },
    ),
    "rights_missing": (
        ALONE,
        {
            "persistence_configured": (
                UNKNOWN,
                "127.0.0.1:6379 does not let this user run CONFIG GET: the right +config|get is missing.",
            ),
        },
    ),
    "sentinels_healthy": (
        SENTINEL,
        {
            "pods_healthy": (OK, f"All 2 nodes of cache {HEALTHY}"),
            "sentinel_or_cluster_operational": (
                OK,
                "3 Sentinels have a quorum for mymaster, and 127.0.0.1:6379 is its master.",
            ),
        },
    ),
    "sentinels_without_quorum": (
        SENTINEL,
        {
            "sentinel_or_cluster_operational": (
                FAILED,
                (
                    "Sentinel 127.0.0.1:26379 says NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the "
                    "specified quorum for this master. Not enough available Sentinels to reach the majority and authorize a "
                    "failover: mymaster would not fail over."
                ),
            ),
        },
    ),
}


def test_every_recording_is_judged() -> None:
    assert states("redis") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
async def test_a_state_is_judged_as_it_was(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options, expected = EXPECTED[state]
    seen = await judged(state, monkeypatch, options, tuple(expected))
    assert {item: (result.status, result.summary) for item, result in seen.items()} == expected


async def judged(
    state: str, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], items: tuple[str, ...]
) -> dict[str, Result]:
    """What one run says of these items, with the recorded answers in place of the client."""
    answers = {node.address: node for node in recorded("redis", state, list[Answers])}

    async def replay(address: NodeAddress, _login: Login, commands: Sequence[str]) -> Look:
        if address not in answers:
            return Unseen(address, ProbeError(f"{address} refuses the connection."))
        assert set(commands) <= answers[address].replies.keys(), "the section asks more than is recorded"
        return answers[address]

    monkeypatch.setattr(section, "look", replay)
    target = RedisTarget.model_validate_json(json.dumps({"name": "cache", "data_volume": "/data", **options}))
    context = make_context(now=lambda: datetime.fromtimestamp(NOW, UTC))
    run = await verify(Redis, RedisSettings(targets=(target,)), target, items=items, context=context)
    return {item: observation.result for item, observation in run.items()}
