"""Judging what Redis answers: what no real server shows on demand, and answers that make no sense."""

import contextlib
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from collectors.shared.verdicts import collected
from collectors.systems.redis import model
from collectors.systems.redis.judge.cluster import cluster_problems
from collectors.systems.redis.judge.connections import connection_problems
from collectors.systems.redis.judge.memory import memory_problems
from collectors.systems.redis.judge.persistence import persistence_problems
from collectors.systems.redis.judge.replication import health_problems, leadership_problems, link_problems
from collectors.systems.redis.judge.sentinel import sentinel_problems
from collectors.systems.redis.judge.tls import door_problems
from collectors.systems.redis.model import Answers, NodeAddress, RedisLimits, Traffic
from exporter.verdict import ProbeError, Status

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)
WHERE = NodeAddress("cache-1", 6379)
OTHER = "d" * 40
MYSELF = "e" * 40

Json = (
    st.none()
    | st.integers()
    | st.text()
    | st.just(ResponseError("no"))
    | st.lists(st.text() | st.integers(), max_size=8)
)


def answers(info: dict[str, object] | None = None, **replies: object) -> Answers:
    told = {"INFO": "\r\n".join(f"{name}:{value}" for name, value in (info or {}).items())}
    return Answers(WHERE, None, told | {command.replace("_", " "): reply for command, reply in replies.items()})


# Roles


@pytest.mark.parametrize(
    "reply", [[], ["master"], ["master", 1, 2], ["slave", "host"], ["sentinel", []], ["king", 1, []]]
)
def test_roles_that_no_redis_has(reply: object) -> None:
    with pytest.raises(ProbeError, match="answered ROLE with something else"):
        model.role(answers(ROLE=reply))


def test_a_pong_that_is_none() -> None:
    [problem] = health_problems(answers({"loading": 0}, PING="PANG"))
    assert (problem.status, problem.summary) == (Status.FAILED, "cache-1:6379 answers PING with 'PANG'.")


def test_the_slowest_replica_that_is_online_counts() -> None:
    info = {
        "master_repl_offset": 1000,
        "slave0": "ip=10.0.0.1,port=6379,state=online,offset=900,lag=0",
        "slave1": "ip=10.0.0.2,port=6379,state=online,offset=250,lag=1",
        "slave2": "ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0",
        "slave3": "ip=10.0.0.4,port=6379,state=online,offset=none,lag=0",
        "slave_read_only": "1",
    }
    assert model.lag(answers(info)) == 750


# Snapshots


def snapshots(*, changes: int, seconds: int, saves: int = 1, running: int = 0, clock: bool = True) -> list[str]:
    """What is wrong with the snapshots of a Redis whose last one was so many seconds ago."""
    info: dict[str, object] = {
        "rdb_last_bgsave_status": "ok",
        "rdb_changes_since_last_save": changes,
        "rdb_last_save_time": int(NOW.timestamp()) - seconds,
        "rdb_bgsave_in_progress": running,
        "rdb_saves": saves,
    }
    if clock:
        info["server_time_usec"] = int(NOW.timestamp()) * 10**6
    reply = {"CONFIG_GET_save": ["save", "3600 1 300 100 60 10000"], "CONFIG_GET_dir": ["dir", "/data"]}
    limits = RedisLimits(persistence=model.Persistence.RDB)
    found = answers(info, **reply)
    # The server's own clock counts where it tells it, else ours.
    problems = list(persistence_problems(found, limits, NOW + timedelta(days=1) if clock else NOW))
    return [f"{problem.status}: {problem.summary}" for problem in problems]


@pytest.mark.parametrize("clock", [True, False])
@pytest.mark.parametrize(
    ("changes", "seconds", "overdue"),
    [
        (0, 10**6, False),
        (1, 3600, False),
        (1, 3659, False),
        (1, 3661, True),
        (99, 3000, False),
        (100, 361, True),
        (10_000, 119, False),
        (10_000, 121, True),
    ],
)
def test_a_snapshot_that_is_overdue_by_its_save_points(changes: int, seconds: int, overdue: bool, clock: bool) -> None:
    found = snapshots(changes=changes, seconds=seconds, clock=clock)
    assert bool(found) is overdue
    assert snapshots(changes=changes, seconds=seconds, clock=clock, running=1) == []


def test_a_snapshot_waits_for_the_rewrite_of_the_append_only_file() -> None:
    """Redis writes one at a time: that a snapshot is due meanwhile is no failure, unless what it waits for hangs."""
    info: dict[str, object] = {
        "rdb_last_bgsave_status": "ok",
        "rdb_changes_since_last_save": 10_000,
        "rdb_last_save_time": int(NOW.timestamp()) - 3000,
        "server_time_usec": int(NOW.timestamp()) * 10**6,
        "rdb_saves": 1,
        "aof_rewrite_in_progress": 1,
        "aof_current_rewrite_time_sec": 2900,
    }
    reply = {"CONFIG_GET_save": ["save", "300 100"], "CONFIG_GET_dir": ["dir", "/data"]}
    limits = RedisLimits(persistence=model.Persistence.RDB)
    assert list(persistence_problems(answers(info, **reply), limits, NOW)) == []
    info["aof_current_rewrite_time_sec"] = 86_400
    [problem] = persistence_problems(answers(info, **reply), limits, NOW)
    assert problem.summary == (
        "cache-1:6379 has been writing a new append-only file for 1d (limit 1h): until that process ends nothing else is saved."
    )
    info["aof_rewrite_in_progress"] = 0
    [overdue] = persistence_problems(answers(info, **reply), limits, NOW)
    assert "has 10000 changes in no snapshot since 50m" in overdue.summary


def test_an_overdue_snapshot_is_told_even_when_none_was_ever_written() -> None:
    [told] = snapshots(changes=500, seconds=7200, saves=0)
    assert told == (
        "failed: cache-1:6379 has 500 changes in no snapshot since 2h, more than its save '3600 1 300 100 60 10000' allows."
    )


# Connections


def traffic(seconds: float, *, run: str = "a", rejected: int = 0, received: int = 0) -> Traffic:
    return Traffic(NOW + timedelta(seconds=seconds), run, rejected, received)


def test_counters_are_compared_with_the_oldest_look_in_the_window() -> None:
    history: deque[Traffic] = deque()
    hour = timedelta(hours=1)
    assert model.grow(history, traffic(0, rejected=5), hour) is None
    assert model.grow(history, traffic(1800, rejected=6, received=10), hour) == model.Growth(1800, 1, 10)
    assert model.grow(history, traffic(3600, rejected=6, received=20), hour) == model.Growth(3600, 1, 20)
    assert model.grow(history, traffic(5400, rejected=6, received=30), hour) == model.Growth(3600, 0, 20)
    # Looks further apart than the window are compared all the same.
    assert model.grow(history, traffic(50_000, rejected=7, received=30), hour) == model.Growth(44_600, 1, 0)
    assert len(history) == 2


@pytest.mark.parametrize(
    "later",
    [
        traffic(60, run="b", rejected=9, received=9),
        traffic(60, rejected=4, received=9),
        traffic(60, rejected=9, received=4),
        traffic(0, rejected=5, received=5),
        traffic(-60, rejected=9, received=9),
    ],
    ids=["another start", "rejected was reset", "received was reset", "no time went by", "the clock went back"],
)
def test_what_does_not_continue_starts_over(later: Traffic) -> None:
    history = deque([traffic(0, rejected=5, received=5)])
    assert model.grow(history, later, timedelta(hours=1)) is None
    assert list(history) == [later]


# TLS


@pytest.mark.parametrize(("version", "told"), [("TLSv1.1", "TLSv1.1"), (None, "no TLS")])
def test_a_protocol_that_is_outdated(version: str | None, told: str) -> None:
    found = Answers(WHERE, version, {"INFO": "tcp_port:6379", "CONFIG GET port": ["port", "0"]})
    [problem] = door_problems(found, {WHERE: None}, 6379, RedisLimits(), NOW)
    assert problem.summary == f"cache-1:6379 speaks {told} (wanted TLS 1.2 or later)."


# Cluster


def nodes(*lines: str) -> Answers:
    return answers(CLUSTER_NODES="".join(f"{line}\n" for line in lines))


def test_nodes_as_another_sees_them() -> None:
    own, other, named, gone, six = model.cluster_nodes(
        nodes(
            f"{MYSELF} :6379@16379 myself,master - 0 0 1 connected 0-5460 5462 [93-<-{OTHER}]",
            f"{OTHER} 10.0.0.2:6379@16379 slave,fail? {MYSELF} 0 0 1 connected",
            f"{OTHER} 10.0.0.3:6380@16380,cache-3.example.com,tls-port=6381 master - 0 0 1 disconnected 5461",
            f"{OTHER} :0@0 master,noaddr - 0 0 1 disconnected",
            f"{OTHER} 2001:db8::1:6379@16379, master - 0 0 1 connected",
        )
    )
    assert (own.address, own.slots, own.dead) == (WHERE, 5462, False)
    assert (other.address, other.master, other.dead) == (NodeAddress("10.0.0.2", 6379), MYSELF, True)
    assert (named.address, named.slots, named.dead) == (NodeAddress("cache-3.example.com", 6380), 1, True)
    assert (gone.address, gone.dead) == (None, True)
    assert six.address == NodeAddress("2001:db8::1", 6379)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"{OTHER} 10.0.0.2:6379@16379 master - 0 0 1 connected 0-5460",
        f"{MYSELF} 10.0.0.2:6379@16379 myself,master - 0 0 1 connected 0-many",
        f"{MYSELF} 10.0.0.2:none@16379 master - 0 0 1 connected",
    ],
)
def test_views_that_no_redis_has(text: str) -> None:
    with pytest.raises(ProbeError, match="answered CLUSTER NODES with something else"):
        model.cluster_nodes(answers(CLUSTER_NODES=text))
    assert model.view(answers(CLUSTER_NODES=text)) == ()


def test_a_state_that_no_redis_has() -> None:
    with pytest.raises(ProbeError, match="answered CLUSTER INFO with something else"):
        list(cluster_problems(answers(CLUSTER_INFO="cluster_state:ok"), 1))


@given(st.text())
def test_whatever_cluster_nodes_says_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ProbeError):
        model.cluster_nodes(answers(CLUSTER_NODES=text))


# Sentinel


def sentinel(
    masters: object = None, replicas: object = (), quorum: object = "OK 3 usable Sentinels. Quorum can be reached"
) -> Answers:
    known = [["name", "mymaster", "ip", "10.0.0.1", "port", "6379", "flags", "master", "num-other-sentinels", "2"]]
    told = {"SENTINEL_MASTERS": known if masters is None else masters, "SENTINEL_CKQUORUM_mymaster": quorum}
    return answers({"run_id": "a"}, **told, SENTINEL_REPLICAS_mymaster=list(replicas) if replicas == () else replicas)


def replica(flags: str) -> list[str]:
    return ["ip", "10.0.0.2", "port", "6379", "flags", flags]


@pytest.mark.parametrize(
    "found",
    [
        sentinel(masters=["mymaster"]),
        sentinel(masters=[["name", "mymaster", "ip", "10.0.0.1", "port", "6379"]]),
        sentinel(masters=[["name", "mymaster", "ip", "10.0.0.1", "port", "none", "num-other-sentinels", "2"]]),
        sentinel(masters=[["name", "mymaster", 7]]),
        sentinel(masters="mymaster"),
        sentinel(replicas=[["ip", "10.0.0.2"]]),
        sentinel(replicas=[None]),
    ],
)
def test_what_no_sentinel_says(found: Answers) -> None:
    with pytest.raises(ProbeError):
        model.watch(found, "mymaster")


@pytest.mark.parametrize("quorum", ["OK", "OK many usable", "PERHAPS 3", "", 3, ResponseError("No such master")])
def test_a_quorum_that_no_sentinel_has(quorum: object) -> None:
    with pytest.raises(ProbeError):
        list(sentinel_problems(sentinel(replicas=[replica("slave")], quorum=quorum), "mymaster", RedisLimits(), 1))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("slave", []),
        ("slave,s_down", ["Sentinel cache-1:6379 sees 0 replicas that could take over (wanted 1)."]),
        ("slave,disconnected", ["Sentinel cache-1:6379 sees 0 replicas that could take over (wanted 1)."]),
    ],
)
def test_replicas_that_could_take_over(flags: str, told: list[str]) -> None:
    found = sentinel_problems(sentinel(replicas=[replica(flags)]), "mymaster", RedisLimits(), 1)
    assert [problem.summary for problem in found] == told


def test_a_master_that_a_sentinel_holds_for_down() -> None:
    masters = [["name", "mymaster", "ip", "::1", "port", "6379", "flags", "master,s_down", "num-other-sentinels", "2"]]
    [problem] = sentinel_problems(sentinel(masters, [replica("slave")]), "mymaster", RedisLimits(), 1)
    assert problem.summary == "Sentinel cache-1:6379 holds the master [::1]:6379 for down."


# Whatever is answered


@given(st.fixed_dictionaries(dict.fromkeys(("ROLE", "PING", "CLUSTER_INFO", "CLUSTER_NODES", "CLIENT_LIST"), Json)))
def test_whatever_is_answered_is_judged_or_refused(replies: dict[str, Any]) -> None:
    found = answers({"loading": 0, "maxmemory": "x", "master_link_status": "down"}, **replies)
    for judged in (
        health_problems(found),
        link_problems(found, RedisLimits(), {}, NOW),
        leadership_problems([found], 1),
        memory_problems(found, {}, RedisLimits()),
        connection_problems(found, {}, RedisLimits(pools={"orders": 1})),
        cluster_problems(found, 1),
    ):
        for problem in collected(judged):
            assert problem.status in (Status.FAILED, Status.UNKNOWN, Status.WARNING)


@given(Json, Json, Json)
def test_whatever_a_sentinel_answers_is_judged_or_refused(masters: object, replicas: object, quorum: object) -> None:
    found = answers(SENTINEL_MASTERS=masters, SENTINEL_REPLICAS_mymaster=replicas, SENTINEL_CKQUORUM_mymaster=quorum)
    problems = collected(sentinel_problems(found, "mymaster", RedisLimits(), 1))
    assert {problem.status for problem in problems} == {Status.UNKNOWN}
