"""What the sections of services have in common: pods, health, metrics and documentation, on real applications."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.verdict import Reason, Status
from tests.collectors.application_services.services import SECTIONS, see
from tests.collectors.systems.kubernetes.clusters import asking, pod
from tests.servers import faults
from tests.servers.applications.programs import fastapi, nest
from tests.servers.kubernetes import ControlPlane
from tests.servers.nats import Nats
from tests.servers.postgresql import Postgres, postgresql_18
from tests.servers.process import call, scratch, unprivileged, wait_until
from tests.servers.redis import VALKEY, Node

HEALTH, METRICS, DOCS, PODS, LIMITS = (
    "health_endpoint_responds",
    "metrics_endpoint_accessible",
    "documentation_accessible",
    "pods_healthy",
    "rate_limiting_active",
)


def sections(item: str, *statuses: str) -> list[Any]:
    """Every section that has the item, marked to be seen in these states."""
    return [
        pytest.param(name, marks=[pytest.mark.verifies(f"{name}.{item}", status) for status in statuses])
        for name, kind in SECTIONS.items()
        if item in kind.items()
    ]


@pytest.mark.parametrize("section", sections(HEALTH, "ok", "failed", "unknown"))
async def test_health_of_a_real_application(section: str, tmp_path: Path) -> None:
    with nest(tmp_path) as service:
        good = await see(section, HEALTH, service.url)
        assert good.status is Status.OK
        assert good.summary.startswith(f"GET {service.url}/health answered 200 and healthy in ")
        trace = re.search(r"\(trace ([0-9a-f]{32})\)\.$", good.summary)
        assert trace
        wait_until(lambda: trace[1] in service.log.read_text(), "the request to be logged")
        shallow = await see(section, HEALTH, service.url, required_deps=["database"])
        assert (shallow.status, shallow.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
        assert shallow.summary == (
            f"GET {service.url}/health does not report database, so the health of it was not observed."
        )
        service.pause()
        hung = await see(section, HEALTH, service.url, request_timeout="1s")
        assert (hung.status, hung.reason) == (Status.FAILED, Reason.DOWN)
        assert hung.summary.startswith(
            f"GET {service.url}/health did not answer within 1s, though the connection was accepted (trace "
        )
        service.resume()
        service.kill()
        gone = await see(section, HEALTH, service.url)
        assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)


async def test_health_of_nest_with_a_broken_dependency_and_a_page(tmp_path: Path) -> None:
    with nest(tmp_path, HEALTH="down") as service:
        down = await see("api_service", HEALTH, service.url)
        assert down.summary == f"GET {service.url}/health answered 503: queue is down."
        missing = await see("api_service", HEALTH, service.url, health_path="/nothing")
        assert (missing.status, missing.reason) == (Status.FAILED, Reason.MISSING)
    with nest(tmp_path, HEALTH="html") as service:
        page = await see("api_service", HEALTH, service.url)
        assert page.summary == (
            f"GET {service.url}/health answered 200 with an HTML page, where a health report was wanted."
        )
        matched = await see("api_service", HEALTH, service.url, health_body=".*<title>app</title>")
        assert matched.status is Status.OK


async def test_an_instance_that_is_shutting_down_is_not_judged() -> None:
    document = {"status": "shutting_down", "info": {}, "error": {}, "details": {}}
    async with faults.answering(document, 503) as (url, _):
        result = await see("api_service", HEALTH, url)
    assert (result.status, "the instance is shutting_down" in result.summary) == (Status.UNKNOWN, True)


async def test_a_service_that_is_well_at_any_path() -> None:
    async with faults.answering({"status": "ok"}) as (url, requests):
        result = await see("api_service", HEALTH, url)
        assert (result.status, result.reason) == (Status.FAILED, Reason.CONTRADICTED)
        assert re.search(
            r"/health-[0-9a-f]{16}, a path that cannot exist, answered 200 and healthy too", result.summary
        )
    assert [request.split()[0] for request in requests] == [b"GET", b"GET"]


async def test_the_control_is_asked_once_an_hour(tmp_path: Path) -> None:
    memory: dict[str, Any] = {}
    with nest(tmp_path) as service:
        for later in (timedelta(0), timedelta(minutes=1), timedelta(hours=2)):
            assert (await see("api_service", HEALTH, service.url, memory=memory, later=later)).status is Status.OK
        wait_until(lambda: service.log.read_text().count('"path":"/health-') == 2, "the controls to be logged")


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"Location": "/login"}, 302, (Status.FAILED, "redirects to /login on 127.0.0.1")),
        ({"Location": "https://sso.example/auth?to=x"}, 307, (Status.FAILED, "redirects to /auth on sso.example")),
        ({}, 401, (Status.UNKNOWN, "credentials were not accepted")),
        ({}, 502, (Status.FAILED, "answered 502.")),
        ({"Age": "120"}, 200, (Status.UNKNOWN, "answered by a cache (Age 120 s)")),
        ({"X-Cache": "Hit from cdn"}, 200, (Status.UNKNOWN, "answered by a cache (x-cache: HIT)")),
    ],
)
async def test_answers_of_others_than_the_service(
    headers: dict[str, str], status: int, expected: tuple[Status, str]
) -> None:
    async with faults.answering({"status": "ok"} if status == 200 else {}, status, headers) as (url, _):
        result = await see("api_service", HEALTH, url)
    assert (result.status, expected[1] in result.summary) == (expected[0], True), result.summary


async def test_a_throttled_health_endpoint_is_unknown_and_left_alone(tmp_path: Path) -> None:
    memory: dict[str, Any] = {}
    with nest(tmp_path, THROTTLE="on", LIMIT="2") as service:
        seen = [await see("api_service", HEALTH, service.url, memory=memory) for _ in range(4)]
        assert [one.status for one in seen] == [Status.OK, Status.OK, Status.UNKNOWN, Status.UNKNOWN]
        assert (seen[2].reason, "answered 429" in seen[2].summary) == (Reason.REFUSED, True)
        wait_until(lambda: service.log.read_text().count('"path":"/health"') >= 2, "the log to be written")
        assert service.log.read_text().count('"path":"/health"') <= 3


async def test_secrets_of_a_target_are_sent_and_not_told(tmp_path: Path) -> None:
    async with faults.answering({"status": "down", "details": {"db": {"status": "down"}}}, 503) as (url, requests):
        headers: Any = {"X-Key": "canary-71c2", "Authorization": "Bearer canary-99ab"}
        result = await see("api_service", HEALTH, url, headers=headers)
    assert b"canary-71c2" in requests[0]
    assert "canary" not in repr(result)


@pytest.mark.parametrize("section", sections(METRICS, "ok", "failed", "unknown"))
async def test_metrics_of_a_real_application(section: str, tmp_path: Path) -> None:
    with nest(tmp_path) as service:
        wanted = ["http_request_duration_seconds", "process_cpu_seconds_total"]
        call(f"{service.url}/health")
        good = await see(section, METRICS, service.url, required_metrics=wanted)
        assert good.status is Status.OK
        assert good.measurements["samples"] > 20
        lacking = await see(section, METRICS, service.url, required_metrics=[*wanted, "orders_total"])
        assert lacking.summary == f"GET {service.url}/metrics has no samples of orders_total."
        public = await see(section, METRICS, service.url, public_url=service.url)
        assert public.status is Status.WARNING
        assert public.summary == f"GET {service.url}/metrics gives the metrics to the public."
    gone = await see(section, METRICS, service.url)
    assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)


async def test_metrics_that_are_a_page_or_nothing(tmp_path: Path) -> None:
    with nest(tmp_path, METRICS="html") as service:
        page = await see("api_service", METRICS, service.url)
        assert page.summary == f"GET {service.url}/metrics answered 200 with an HTML page instead of metrics."
        assert page.status is Status.FAILED
    async with faults.answering(b"", headers={"Content-Type": "text/plain"}) as (url, _):
        assert (await see("api_service", METRICS, url)).summary == f"GET {url}/metrics gives no samples."
    async with faults.answering(b"orders_total 1\nnot a metric at all\n") as (url, _):
        assert (await see("api_service", METRICS, url)).reason is Reason.INVALID
    async with faults.answering(b"orders_total 1\n", headers={"Content-Type": "application/octet-stream"}) as (url, _):
        assert (await see("api_service", METRICS, url)).status is Status.WARNING


async def test_counters_have_to_move(tmp_path: Path) -> None:
    memory: dict[str, Any] = {}
    options: dict[str, Any] = {
        "moving_metrics": ["http_requests_total", "http_request_duration_seconds"],
        "moving_within": "10m",
        "memory": memory,
    }
    with fastapi(tmp_path) as service:
        call(f"{service.url}/health")
        first = await see("data_service", METRICS, service.url, **options)
        assert (first.status, first.reason) == (Status.UNKNOWN, Reason.PENDING)
        call(f"{service.url}/health")
        moved = await see("data_service", METRICS, service.url, later=timedelta(minutes=1), **options)
        assert moved.status is Status.OK
    async with faults.answering(b"orders_total 7\n", headers={"Content-Type": "text/plain"}) as (url, _):
        options |= {"moving_metrics": ["orders_total"]}
        states = [
            (await see("data_service", METRICS, url, later=timedelta(minutes=minutes), **options)).status
            for minutes in (0, 5, 11)
        ]
    assert states == [Status.UNKNOWN, Status.UNKNOWN, Status.FAILED]


@pytest.mark.verifies("api_service.documentation_accessible", "ok")
@pytest.mark.verifies("api_service.documentation_accessible", "failed")
@pytest.mark.verifies("api_service.documentation_accessible", "unknown")
async def test_documentation_of_nest(tmp_path: Path) -> None:
    with nest(tmp_path) as service:
        good = await see("api_service", DOCS, service.url)
        assert (good.status, good.summary.partition(" (")[0]) == (
            Status.OK,
            f"{service.url}/docs can be read, with an OpenAPI document behind",
        )
        exposed = await see("api_service", DOCS, service.url, public_url=service.url)
        assert exposed.status is Status.FAILED
        assert f"GET {service.url}/docs answered 200, though docs_exposure is internal." in exposed.summary
        assert (await see("api_service", DOCS, service.url, docs_exposure="disabled")).status is Status.FAILED
    with nest(tmp_path, DOCS="0") as service:
        absent = await see("api_service", DOCS, service.url)
        assert absent.summary == f"GET {service.url}/docs answered 404: there is no documentation."
        assert (await see("api_service", DOCS, service.url, docs_exposure="disabled")).status is Status.OK
    assert (await see("api_service", DOCS, service.url)).status is Status.UNKNOWN


@pytest.mark.verifies("backend_api.documentation_accessible", "ok")
@pytest.mark.verifies("backend_api.documentation_accessible", "failed")
@pytest.mark.verifies("backend_api.documentation_accessible", "unknown")
async def test_documentation_of_fastapi(tmp_path: Path) -> None:
    with fastapi(tmp_path, ROOT_PATH="/api") as service:
        # The page names /api/openapi.json, which the gateway in front would map: both answer.
        assert (await see("backend_api", DOCS, service.url)).status is Status.OK
    with fastapi(tmp_path, DOCS="no-ui") as service:
        assert (await see("backend_api", DOCS, service.url)).status is Status.FAILED
        leaking = await see("backend_api", DOCS, service.url, docs_exposure="disabled")
        assert leaking.summary == f"GET {service.url}/openapi.json answered 200, though docs_exposure is disabled."
    with fastapi(tmp_path, DOCS="off") as service:
        assert (await see("backend_api", DOCS, service.url, docs_exposure="disabled")).status is Status.OK
    assert (await see("backend_api", DOCS, service.url)).status is Status.UNKNOWN


@pytest.mark.verifies("data_service.database_connected", "ok")
@pytest.mark.verifies("data_service.cache_connected", "ok")
@pytest.mark.verifies("data_service.message_queue_connected", "ok")
@pytest.mark.verifies("data_service.database_connected", "failed")
@pytest.mark.verifies("data_service.cache_connected", "failed")
@pytest.mark.verifies("data_service.message_queue_connected", "failed")
@pytest.mark.verifies("data_service.database_connected", "unknown")
@pytest.mark.verifies("data_service.cache_connected", "unknown")
@pytest.mark.verifies("data_service.message_queue_connected", "unknown")
async def test_connections_to_real_stores(tmp_path: Path) -> None:
    names: dict[str, Any] = {"database": "postgres", "cache": "redis", "message_queue": "nats"}
    with (
        scratch("postgresql", unprivileged()) as folder,
        Postgres(postgresql_18(), folder, "orders").initialize(shared_preload_libraries="") as postgres,
        Node(tmp_path, release=VALKEY) as redis,
        Nats(tmp_path, jetstream=None) as nats,
        fastapi(
            tmp_path,
            DATABASE_URL=postgres.dsn(dbname="postgres", user="postgres"),
            REDIS_URL=f"redis://{redis.address}",
            NATS_URL=nats.url,
        ) as service,
    ):
        lines = {
            "database": "database_connected",
            "cache": "cache_connected",
            "message_queue": "message_queue_connected",
        }
        for option, line in lines.items():
            good = await see("data_service", line, service.url, **names)
            assert (good.status, f"reports {names[option]}, the" in good.summary) == (Status.OK, True), good.summary
            unnamed = await see("data_service", line, service.url)
            assert (unnamed.status, unnamed.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
        health = await see("data_service", HEALTH, service.url, required_deps=["postgres", "redis", "nats"])
        assert "and reports postgres, redis and nats as up" in health.summary
        clients: dict[str, Any] = {
            "database_clients": {"dsn": postgres.dsn(dbname="postgres", user="postgres"), "client_name": "backend"},
            "cache_clients": {"redis": redis.address, "client_name": "backend"},
            "queue_clients": {"monitoring": {"url": nats.monitoring}, "client_name": "backend"},
        }
        for option, line in lines.items():
            listed = await see("data_service", line, service.url, **clients)
            assert (listed.status, listed.measurements["connections"] >= 1) == (Status.OK, True), listed
            # Asked for by the health endpoint too, which does not report it under this name.
            unreported = await see("data_service", line, service.url, **{**clients, option: "other"})
            assert unreported.status is Status.OK, unreported
            named: dict[str, Any] = {name: {**options, "client_name": "another"} for name, options in clients.items()}
            nobody = await see("data_service", line, service.url, **named)
            assert (nobody.status, nobody.reason) == (Status.UNKNOWN, Reason.NOT_VERIFIED)
            assert "has no connection of another" in nobody.summary
        elsewhere = {"dsn": postgres.dsn(dbname="template1", user="postgres"), "client_name": "backend"}
        other = await see("data_service", lines["database"], service.url, database_clients=elsewhere)
        assert other.status is Status.UNKNOWN, other  # what is connected to another database proves nothing of this one
        for option in ("database", "cache"):  # half-open ones stay in the lists
            old: dict[str, Any] = {f"{option}_clients": {**clients[f"{option}_clients"], "active_within": "1s"}}
            line = lines[option]
            idle = await see("data_service", line, service.url, **old)
            while idle.status is Status.OK:
                await asyncio.sleep(0.2)
                idle = await see("data_service", line, service.url, **old)
            assert "but 1 other of that name" in idle.summary
        spaced = {"dsn": clients["database_clients"]["dsn"], "client_name": "PostgreSQL JDBC Driver"}
        with postgres.connect("postgres") as java:
            java.execute("SET application_name = 'PostgreSQL JDBC Driver'")
            kept = await see("data_service", lines["database"], service.url, database_clients=spaced)
            assert kept.status is Status.OK, kept
        with postgres.connect("postgres") as reader:
            reader.execute("CREATE ROLE reader LOGIN PASSWORD 'canary-1'")
        hidden: dict[str, Any] = {
            "database_clients": {
                "dsn": postgres.dsn(dbname="postgres", user="reader", password="canary-1"),
                "client_name": "backend",
            }
        }
        unseen = await see("data_service", "database_connected", service.url, **hidden)
        assert (unseen.status, "canary" in unseen.summary) == (Status.UNKNOWN, False)
        for server in (postgres, redis, nats):
            server.kill()
        for line in lines.values():
            assert (await see("data_service", line, service.url, **clients)).status is Status.UNKNOWN
        for option, line in lines.items():
            broken = await see("data_service", line, service.url, **names)
            assert broken.status is Status.FAILED
            assert f"answered 503 and reports {names[option]} as down" in broken.summary


async def test_a_service_that_lies_by_its_status(tmp_path: Path) -> None:
    with (
        Node(tmp_path, release=VALKEY) as redis,
        fastapi(tmp_path, REDIS_URL=f"redis://{redis.address}", HEALTH="lying") as service,
    ):
        redis.kill()
        assert call(f"{service.url}/health")["status"] == "error"
        result = await see("backend_api", HEALTH, service.url)
        assert result.status is Status.FAILED
        assert result.summary.startswith(f"GET {service.url}/health answered 200 with status error.")
        optional = await see("data_service", "cache_connected", service.url, cache="redis")
        assert optional.status is Status.FAILED


@pytest.mark.parametrize("section", sections(PODS, "ok", "failed", "unknown"))
async def test_pods(section: str, control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("services")
    running = pod("web", namespace)
    control_plane.apply(running)
    control_plane.wait(control_plane.path(running), lambda found: _is_ready(found), "the pod to be ready")
    pods = {"namespace": namespace, "selector": "app=web"}
    async with asking(control_plane) as clients:
        good = await see(section, PODS, "http://service", clients=clients, pods=pods)
        assert good.status is Status.OK, good.summary
    [found] = control_plane.pods(namespace)
    control_plane.crash(found)
    async with asking(control_plane) as clients:
        crashing = await see(section, PODS, "http://service", clients=clients, pods=pods)
        assert (crashing.status, "CrashLoopBackOff" in crashing.summary) == (Status.FAILED, True), crashing.summary
    unconfigured = await see(section, PODS, "http://service")
    assert (unconfigured.status, unconfigured.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)


def _is_ready(found: Any) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in found["status"].get("conditions", ()))


@pytest.mark.verifies("api_service.rate_limiting_active", "ok")
@pytest.mark.verifies("api_service.rate_limiting_active", "failed")
@pytest.mark.verifies("api_service.rate_limiting_active", "unknown")
async def test_rate_limits_of_real_limiters(tmp_path: Path) -> None:
    with nest(tmp_path, THROTTLE="on", LIMIT="3") as service:
        counted = await see("api_service", LIMITS, service.url, ratelimit_path="/items?page=1")
        assert (counted.status, counted.measurements["requests_left"]) == (Status.OK, 1)
        memory: dict[str, Any] = {}
        used = await see("api_service", LIMITS, service.url, ratelimit_path="/items?page=1", memory=memory)
        assert (used.status, "answered 429" in used.summary) == (Status.OK, True)
        unset = await see("api_service", LIMITS, service.url)
        assert (unset.status, unset.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    with nest(tmp_path, THROTTLE="named") as service:
        assert (await see("api_service", LIMITS, service.url, ratelimit_path="/items?page=1")).status is Status.OK
    with nest(tmp_path) as service:
        none = await see("api_service", LIMITS, service.url, ratelimit_path="/items?page=1")
        assert (none.status, "without headers of a rate limit" in none.summary) == (Status.UNKNOWN, True)
        burst: dict[str, Any] = {"ratelimit_path": "/items?page=1", "allow_intrusive": True, "memory": {}}
        tried = await see("api_service", LIMITS, service.url, **burst)
        assert (tried.status, tried.reason) == (Status.FAILED, Reason.MISSING)
        assert "/items answered 30 requests, one after the other, and refused none with 429." in tried.summary
        again = await see("api_service", LIMITS, service.url, later=timedelta(minutes=1), **burst)
        assert again.summary == tried.summary
        wait_until(lambda: service.log.read_text().count('"path":"/items"') == 36, "the requests to be logged")
    with fastapi(tmp_path) as service:
        assert (await see("api_service", LIMITS, service.url, ratelimit_path="/limited")).status is Status.OK


async def test_a_rate_limit_that_never_falls() -> None:
    headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "100", "Retry-After": "60"}
    async with faults.answering({}, headers=headers) as (url, _):
        result = await see("api_service", LIMITS, url, ratelimit_path="/items")
    assert (result.status, "two requests did not lower (100 to 100)" in result.summary) == (Status.UNKNOWN, True)
