"""What differs from run to run, by name, and the value that recordings have for it: per system, a pattern and a value.

A value is a function where only a part of what was answered is volatile, and ABSENT where something is answered only at times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

__all__ = ["ABSENT", "NOW", "VOLATILE"]

#: The moment of every recording: 2027-01-31 12:00:00 UTC.
NOW = 1801396800


#: The value of what is answered only at times.
ABSENT = object()


def _role(reply: Any) -> Any:
    """ROLE shows how far replication has come, as a number and as texts beside host and port."""
    match reply:
        case ["master", int(), replicas]:
            return ["master", 100, [[host, port, "100"] for host, port, _ in replicas]]
        case ["slave", host, port, state, int()]:
            up = state == "connected"  # else it is in one of many steps
            return ["slave", host, port, state if up else "connect", 100 if up else -1]
    return reply


def _replica(text: str) -> str:
    return re.sub(r"offset=\d+,lag=\d+", "offset=100,lag=0", text)


def _ids(found: Any) -> list[str]:
    """Ids of silences, of which the recorded states have one at most."""
    return [str(number) for number, _ in enumerate(found, 1)]


def _entries(found: Any) -> list[Any]:
    """Lines of one stream, newest first: when each was written, and the line."""
    return [[str((NOW - second) * 1_000_000_000), line] for second, (_, line) in enumerate(found)]


def _in_order(found: Any) -> list[Any]:
    """Conditions, in whatever order controllers have set them."""
    return sorted(
        ({**condition, "lastTransitionTime": "2027-01-31T11:00:00Z"} for condition in found), key=itemgetter("type")
    )


def _without_id(message: Any) -> str:
    """What Neo4j says of a database, which it names by a part of its id."""
    return re.sub(r"DatabaseId\{\w+", "DatabaseId{1", message)


VOLATILE: Mapping[str, Mapping[str, object]] = {
    "jaeger": {
        "traceId|spanId": "1",
        "startTimeUnixNano|endTimeUnixNano": str(NOW * 1_000_000_000),
    },
    "kubernetes": {
        ".*Timestamp|startTime|startedAt|lastProbeTime": "2027-01-31T11:00:00Z",
        "uid|resourceVersion": "1",
        ".*IPs?|nodeName": ABSENT,
        "controller-revision-hash|currentRevision|updateRevision": "cache-1",
        "conditions": _in_order,
    },
    "loki": {"values": _entries, "timestamp": NOW},
    "neo4j": {
        "creationTime|lastStartTime|lastStopTime": "2027-01-31T11:00:00Z",
        "statusMessage": _without_id,
        "databaseID|serverID|storeID|lastCommittedTxn|replicationLag": ABSENT,
    },
    "postgresql": {
        "system_identifier": "7000000000000000001",
        "latency": 0.01,
        "used": 1,
        "xid_age|mxid_age": 10,
        "position|checkpoint_position|flushed|replayed|received": 50_331_648,
        "checkpoint_age": 60.0,
        "silence": 0.5,
        "flush_lag|replay_lag": None,
    },
    "redis": {
        "ROLE": _role,
        r"slave\d+": _replica,
        "server_time_usec": NOW * 1_000_000,
        "rdb_last_save_time": NOW - 300,
        "uptime_in_seconds": 600,
        "uptime_in_days": 0,
        "total_system_memory": 16 * 2**30,
        "total_system_memory_human": "16.00G",
        "used_memory": 1_000_000,
        "master_link_down_since_seconds": 5,
        ".*repl_offset|second_repl_offset|repl_backlog_first_byte_offset|repl_backlog_histlen": 100,
        "redis_build_id|redis_git_sha1|executable|config_file|gcc_version|monotonic_clock|multiplexing_api": "",
        "os": "Linux",
        "process_id|hz|lru_clock|connected_clients|client_recent_max_.*|io_.*|atomicvar_api": 1,
        "(used_|mem_|allocator_|rss_|total_(?!system)|instantaneous_|sync_|current_|reply_|keyspace_).*": 1,
        "latest_fork_usec|expire_cycle_cpu_milliseconds|unexpected_error_replies|acl_access_denied_.*": 1,
        "rdb_last_cow_size|rdb_last_bgsave_time_sec|aof_last_cow_size|aof_(base|current)_size": 1,
        "master_last_io_seconds_ago|slave_read_repl_offset": 1,
        "master_sync_in_progress": 0,
        "master_sync_.*|errorstat_.*": ABSENT,
        "last-.*|.*-time|role-reported.*|info-refresh|link-pending-commands|link-refcount|slave-repl-offset": "1",
    },
    "nats": {"start": "2027-01-31T11:00:00Z", "uptime": "1h0m0s", "active": 1_000_000, "lag": 0},
    "prometheus": {
        "lastScrape|lastEvaluation": "2027-01-31T11:59:59Z",
        "startTime|lastConfigTime|activeAt": "2027-01-31T11:00:00Z",
        "lastScrapeDuration": 0.01,
    },
    "alertmanager": {
        "startsAt|uptime": "2027-01-31T11:00:00Z",
        "updatedAt": "2027-01-31T11:59:30Z",
        "endsAt": "2027-01-31T12:05:00Z",
        "id": "1",
        "silencedBy": _ids,
    },
}
