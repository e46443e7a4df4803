"""Health reports in the shapes of many frameworks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from collectors.shared.verdicts import collected
from collectors.systems.http.judge.health import dependency_problems, health_problems
from collectors.systems.http.model.health import HealthOptions
from exporter.reply import Reply
from exporter.verdict import Reason, Status

TERMINUS = {"status": "ok", "info": {"db": {"status": "up"}}, "error": {}, "details": {"db": {"status": "up"}}}
SPRING = {"status": "UP", "components": {"db": {"status": "UP", "details": {"database": "PostgreSQL", "result": 1}}}}
ASPNET = {"status": "Healthy", "totalDuration": "00:00:00.1", "entries": {"db": {"status": "Healthy", "data": {}}}}
DRAFT = {"status": "pass", "checks": {"db:responseTime": [{"status": "pass"}, {"status": "pass"}]}}
MICROPROFILE = {"status": "UP", "checks": [{"name": "db", "status": "UP", "data": {}}]}
OWN = {"ok": True, "details": {"db": "up", "version": "1.2.3", "since": "yesterday"}, "info": {"build": "abc"}}


def judge(document: Any, status: int = 200, **options: Any) -> Status:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    reply = Reply("GET http://service/health", status, httpx.Headers(), body)
    problems = collected(health_problems(reply, HealthOptions(**options)))
    return problems[0].status if problems else Status.OK


@pytest.mark.parametrize("document", [TERMINUS, SPRING, ASPNET, DRAFT, MICROPROFILE, OWN])
def test_shapes(document: Any) -> None:
    assert judge(document, required_deps=("DB",)) is Status.OK
    assert judge(document, required_deps=("db", "queue")) is Status.UNKNOWN


def test_what_a_report_says_it_does_not_know() -> None:
    """Spring Boot is UP beside parts that were not initialized: these are neither up nor down."""
    document = {"status": "UP", "components": {"db": {"status": "UP"}, "kafka": {"status": "UNKNOWN"}}}
    assert judge(document) is Status.UNKNOWN
    assert judge(document, required_deps=("kafka",)) is Status.UNKNOWN
    assert judge(document, optional_deps=("kafka",)) is Status.OK
    assert judge(document, optional_deps=("Kafka",), required_deps=("kafka",)) is Status.UNKNOWN
    document = {"status": "UP", "components": {"db": {"status": "DOWN"}, "kafka": {"status": "UNKNOWN"}}}
    assert judge(document) in (Status.FAILED, Status.UNKNOWN)
    assert judge({"status": "UNKNOWN"}) is Status.FAILED
    reply = Reply("GET http://service/health", 200, httpx.Headers(), json.dumps(document).encode())
    assert [problem.status for problem in dependency_problems(reply, "kafka")] == [Status.UNKNOWN]


def test_endpoints_without_a_body() -> None:
    assert judge(b"", 204) is Status.FAILED
    assert judge(b"", 204, health_body="^$") is Status.OK
    assert judge(b"<html>", 200, health_body="^$") is Status.FAILED


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"status": "UP", "components": {"db": {"status": "DOWN"}}}, Status.FAILED),
        (
            {"status": "UP", "components": {"db": {"status": "UP", "components": {"r": {"status": "DOWN"}}}}},
            Status.FAILED,
        ),
        ({"status": "pass", "checks": {"db:x": [{"status": "pass"}, {"status": "fail"}]}}, Status.FAILED),
        ({"status": "UP", "checks": [{"name": "db", "status": "DOWN"}]}, Status.FAILED),
        ({"status": "ok", "details": {"db": "down: OperationalError"}}, Status.FAILED),
        ({"status": "ok", "details": {"db": False}}, Status.FAILED),
        ({"status": "ok", "db": {"connected": False}}, Status.FAILED),
        ({"healthy": False}, Status.FAILED),
        ({"status": "ok", "database": "down"}, Status.FAILED),
        ({"status": "ok", "database": {"status": "down"}}, Status.FAILED),
        ({"status": "ok", "checks": [{"status": "pass"}, {"status": "fail"}]}, Status.FAILED),
        ({"status": "ok", "maintenance": False, "environment": "production", "error": None, "uptime": 3}, Status.OK),
        ({"data": {"status": "ok"}}, Status.UNKNOWN),
        ({"Status": "Degraded"}, Status.WARNING),
        ({"status": "out_of_service"}, Status.FAILED),
        ({"status": "purple"}, Status.FAILED),
        ({"message": "hello"}, Status.UNKNOWN),
        ([], Status.FAILED),
        (b"", Status.FAILED),
        (b"Healthy", Status.FAILED),
    ],
)
def test_what_is_not_well(document: Any, expected: Status) -> None:
    assert judge(document) is expected


def test_plain_bodies_match_as_a_whole() -> None:
    assert judge(b"Healthy\n", health_body="Healthy") is Status.OK
    assert judge(b"Unhealthy", health_body="Healthy") is Status.FAILED
    assert judge(b"Healthy", health_body="Healthy", required_deps=("db",)) is Status.UNKNOWN


def test_optional_dependencies_may_be_down() -> None:
    document = {"status": "ok", "details": {"search": {"status": "down"}}}
    assert judge(document, optional_deps=("search",)) is Status.OK
    assert judge(document, optional_deps=("search",), required_deps=("search",)) is Status.FAILED


def test_the_worst_of_several_parts_of_a_dependency_counts() -> None:
    document = {"status": "pass", "checks": {"db:time": [{"status": "pass"}], "db:connections": [{"status": "fail"}]}}
    reply = Reply("GET http://service/health", 200, httpx.Headers(), json.dumps(document).encode())
    assert [problem.status for problem in dependency_problems(reply, "db")] == [Status.FAILED]


def test_a_flag_beside_the_status_is_a_dependency_where_it_is_required() -> None:
    document = {"status": "ok", "ledger": False, "maintenance": False}
    assert judge(document) is Status.OK
    assert judge(document, required_deps=("ledger",)) is Status.FAILED
    assert judge({**document, "ledger": True}, required_deps=("ledger",)) is Status.OK


@pytest.mark.parametrize("header", [("age", "30"), ("x-cache", "Hit from cloudfront"), ("x-cache-status", "STALE")])
def test_a_cache_knows_no_dependency(header: tuple[str, str]) -> None:
    body = json.dumps({"status": "ok", "details": {"db": "up"}}).encode()
    reply = Reply("GET http://service/health", 200, httpx.Headers([header]), body)
    assert [problem.status for problem in dependency_problems(reply, "db")] == [Status.UNKNOWN]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"status": "ok", "database": False}, Status.FAILED),
        ({"status": "ok", "redisConnected": False}, Status.FAILED),
        ({"status": "ok", "redis": {"up": 0}}, Status.FAILED),
        ({"status": "ok", "checks": [{"name": "db", "result": "failure"}]}, Status.FAILED),
        ({"status": "ok", "storage": {"primary": {"status": "down"}}}, Status.FAILED),
        ({"Status": "Healthy", "Entries": {"sql": {"Status": "Unhealthy"}}}, Status.FAILED),
        ({"status": "success", "data": {"db": {"status": "down"}}}, Status.FAILED),
        ({"status": "success", "data": [{"name": "db", "status": "down"}]}, Status.FAILED),
        ({"status": "ok", "code": 500}, Status.FAILED),
        ({"statusCode": 503, "message": "Service Unavailable"}, Status.FAILED),
        ({"status": 500}, Status.FAILED),
        ({"isHealthy": False}, Status.FAILED),
        ({"status": "ok", "error": {"code": "E_DB"}}, Status.FAILED),
        ({"status": "ok", "unhealthy": ["db"]}, Status.FAILED),
        ({"status": "ok", "failed": {"db": "timed out"}}, Status.FAILED),
        ({"status": "ok", "maintenance": True}, Status.FAILED),
        ({"status": "ok", "isShuttingDown": True}, Status.FAILED),
        ({"status": "ok", "degraded": True}, Status.WARNING),
        ([{"name": "db", "status": "down"}], Status.FAILED),
        (False, Status.FAILED),
        ({"status": "ok", "db": {"error": "canary: timed out"}}, Status.FAILED),
        ({"status": "ok", "db": {"state": "idle"}}, Status.UNKNOWN),
        # And those that are well.
        ([{"name": "db", "status": "up"}], Status.OK),
        (True, Status.OK),
        ({"status": 200}, Status.OK),
        ({"database": "ok", "version": "9"}, Status.OK),
        ({"statusCode": 200, "message": "Success", "data": {"status": "ok", "db": "up"}}, Status.OK),
        ({"uptime": 12.3, "message": "OK"}, Status.OK),
        ({"status": "ok", "readonly": False, "degraded": False, "features": {"search": False}}, Status.OK),
        ({"status": "ok", "jobs": {"failed": 3, "status": "ok"}, "down": 0, "failed": []}, Status.OK),
        ({"status": "ok", "build": {"branch": "main", "dirty": False}, "cache": {"enabled": False}}, Status.OK),
        ({"status": "ok", "checks": {"rate": {"status": "pass", "observedValue": 503}}}, Status.OK),
        ({"code": 0, "msg": "success", "data": {}}, Status.OK),
        ({"status": "ok", "jobs": {"ok": 0, "ready": 0}, "db": {"status": "up", "error": None}}, Status.OK),
    ],
)
def test_shapes_of_ones_own(document: Any, expected: Status) -> None:
    assert judge(document) is expected


def test_what_is_optional_may_be_down_in_any_shape() -> None:
    for document in (
        {"status": "ok", "redis": False},
        {"db": "up", "redis": "down"},
        {"status": "ok", "info": {"db": {"status": "up"}}, "error": {"redis": {"status": "down"}}},
    ):
        assert judge(document, optional_deps=("redis",)) is Status.OK
        assert judge(document) is Status.FAILED


NOW = datetime.now(UTC)


def ago(shape: str = "", **by: float) -> str:
    moment = NOW - timedelta(**by)
    return moment.strftime(shape) if shape else moment.isoformat()


@pytest.mark.parametrize(
    ("stamped", "expected"),
    [
        ({"timestamp": ago("%Y-%m-%dT%H:%M:%SZ", hours=2)}, Status.UNKNOWN),
        ({"timestamp": 1_577_836_800_000}, Status.UNKNOWN),
        ({"checks": {"db": {"status": "up", "lastChecked": ago(hours=9)}}}, Status.UNKNOWN),
        ({"checks": {"db:time": [{"status": "pass", "time": ago(hours=9)}]}}, Status.UNKNOWN),
        ({"timestamp": ago("%Y-%m-%dT%H:%M:%S.123456789Z", minutes=1)}, Status.OK),
        ({"timestamp": ago("%Y-%m-%dT%H:%M:%S", hours=7)}, Status.OK),  # of whatever zone
        ({"timestamp": ago("%Y-%m-%dT%H:%M:%S", days=3)}, Status.UNKNOWN),
        ({"timestamp": ago("%Y-%m-%dT%H:%M:%S", hours=-9)}, Status.OK),
        ({"time": 3, "startedAt": "2020-01-01T00:00:00Z"}, Status.OK),
        ({"build": {"timestamp": "2020-01-01T00:00:00Z"}}, Status.OK),
        ({"db": {"status": "up", "lastFailure": "2020-01-01T00:00:00Z"}}, Status.OK),
    ],
)
def test_a_report_that_is_old_by_its_own_time_stamp(stamped: dict[str, Any], expected: Status) -> None:
    body = json.dumps({"status": "ok", **stamped}).encode()
    headers = httpx.Headers({"date": format_datetime(NOW, usegmt=True)})
    problems = list(health_problems(Reply("GET http://service/health", 200, headers, body), HealthOptions()))
    assert [problem.status for problem in problems] == ([] if expected is Status.OK else [expected])
    assert all(problem.reason is Reason.STALE for problem in problems)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # Laravel (Spatie), py-healthcheck, django-health-check, Kubernetes' own servers, Nest behind an interceptor
        ({"finishedAt": 1, "checkResults": [{"name": "Database", "status": "ok"}]}, Status.OK),
        ({"finishedAt": 1, "checkResults": [{"name": "Database", "status": "failed"}]}, Status.FAILED),
        ({"finishedAt": 1, "checkResults": [{"name": "Database", "status": "crashed"}]}, Status.FAILED),
        ({"status": "success", "results": [{"checker": "redis", "output": "x", "passed": True}]}, Status.OK),
        ({"status": "success", "results": [{"checker": "redis", "output": "x", "passed": False}]}, Status.FAILED),
        ({"Cache backend: default": "working", "DatabaseBackend": "working"}, Status.OK),
        ({"Cache backend: default": "working", "DatabaseBackend": "unavailable: gone"}, Status.FAILED),
        (b"[+]ping ok\n[+]db ok\nreadyz check passed", Status.OK),
        (b"[+]ping ok\n[-]db failed: reason withheld\nreadyz check failed", Status.FAILED),
        ({"statusCode": 200, "data": {"status": "ok", "details": {"db": {"status": "up"}}}}, Status.OK),
        ({"statusCode": 200, "data": {"status": "ok", "details": {"db": {"status": "down"}}}}, Status.FAILED),
        # Words of clients
        ({"status": "ok", "redis": "reconnecting"}, Status.FAILED),
        ({"status": "ok", "queue": "ECONNREFUSED 10.0.0.1:4222"}, Status.FAILED),
        ({"status": "ok", "queue": "connect ETIMEDOUT 10.0.0.1:4222"}, Status.FAILED),
        ({"status": "ok", "redis": {"isConnected": False}}, Status.FAILED),
        ({"status": "ok", "db": {"reachable": "no"}}, Status.FAILED),
        ({"status": "ok", "db": {"reachable": "yes"}, "name": "ECONOMY"}, Status.OK),
        ({"database": "dial tcp 10.0.0.1:5432: i/o timeout", "goroutines": "OK"}, Status.FAILED),
        ({"status": "ok", "db": "FATAL: too many connections"}, Status.FAILED),
        ({"status": "ok", "db": "psycopg.OperationalError: connection failed"}, Status.FAILED),
        ({"status": "ok", "redis": "ECONNREFUSED"}, Status.FAILED),
        ({"status": "ok", "redis": "not connected"}, Status.FAILED),
        ({"status": "ok", "redis": "unhealthy (timeout)"}, Status.FAILED),
        (
            {"status": "ok", "redis": "PONG", "cache": "ok (5 ms)", "database": "orders", "queue": "nats 2.11"},
            Status.OK,
        ),
        ({"status": "ok", "name": "error-tracker", "lastError": "timeout", "last_failure": "timeout"}, Status.OK),
        ({"status": "ok", "db": "no error", "cache": "0 errors", "country": {"code": 404}}, Status.OK),
        ({"status": "ok", "dependencies": {"payments": {"statusCode": 503}}}, Status.FAILED),
        ({"status": "ok", "dependencies": {"payments": {"statusCode": 200}}}, Status.OK),
        # What a part says of itself
        ({"status": "UP", "components": {"disk": {"status": "UP", "details": {"exists": False}}}}, Status.OK),
        ({"status": "UP", "components": {"x": {"status": "UP", "details": {"redisConnected": False}}}}, Status.FAILED),
        ({"status": "UP", "components": {"p": {"status": "UP", "details": {"state": "CLOSED"}}}}, Status.OK),
        ({"status": "UP", "components": {"rabbit": {"status": "DISABLED"}}}, Status.UNKNOWN),
    ],
)
def test_reports_of_further_frameworks(document: Any, expected: Status) -> None:
    assert judge(document) is expected


def dependency(document: Any, status: int = 200) -> Status:
    headers = httpx.Headers({"date": format_datetime(NOW, usegmt=True)})
    reply = Reply("GET http://service/health", status, headers, json.dumps(document).encode())
    problems = collected(dependency_problems(reply, "db"))
    return problems[0].status if problems else Status.OK


def test_a_report_of_the_future() -> None:
    made = {"status": "ok", "timestamp": ago(hours=-9), "db": "up"}
    headers = httpx.Headers({"date": format_datetime(NOW, usegmt=True)})
    reply = Reply("GET http://service/health", 200, headers, json.dumps(made).encode())
    (problem,) = health_problems(reply, HealthOptions())
    assert (problem.status, problem.reason) == (Status.UNKNOWN, Reason.CONTRADICTED)
    assert dependency(made) is Status.UNKNOWN


@pytest.mark.parametrize(
    ("document", "status", "expected"),
    [
        # Old by its own time stamp, as a whole or of this part; how old another part is does not matter.
        ({"status": "ok", "timestamp": ago(hours=9), "db": "up"}, 200, Status.UNKNOWN),
        ({"checks": {"db": {"status": "up", "checkedAt": ago(hours=9)}}}, 200, Status.UNKNOWN),
        ({"checks": {"db:time": [{"status": "pass", "time": ago(hours=9)}]}}, 200, Status.UNKNOWN),
        ({"checks": {"db": "up", "mq": {"status": "up", "checkedAt": ago(hours=9)}}}, 200, Status.OK),
        # It consists of others.
        ({"status": "ok", "info": {"db": {"primary": {"status": "down"}, "replica": {"status": "up"}}}}, 200, Status.FAILED),
        ({"status": "ok", "info": {"db": {"primary": {"status": "up"}, "replica": {"status": "up"}}}}, 200, Status.OK),
        ({"status": "UP", "components": {"db": {"status": "UP", "components": {"b": {"status": "DOWN"}}}}}, 200, Status.FAILED),
        ({"checks": [{"name": "db", "checks": {"primary": {"status": "down"}}}]}, 200, Status.FAILED),
        ({"status": "ok", "info": {"db": {"status": "up", "pool": {"size": 10, "available": 0}}}}, 200, Status.OK),
        # A status of an error that nothing in the report explains, and one that another part does.
        ({"status": "up", "db": "up"}, 502, Status.UNKNOWN),
        ({"status": "error", "info": {"db": {"status": "up"}}, "error": {"mq": {"status": "down"}}}, 503, Status.OK),
    ],
)  # fmt: skip
def test_one_dependency_is_judged_as_the_whole_report_is(document: Any, status: int, expected: Status) -> None:
    assert dependency(document, status) is expected
