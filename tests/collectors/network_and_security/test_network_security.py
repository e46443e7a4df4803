"""The network's security on a real firewall, and on nginx, HAProxy, Envoy and Caddy in front of real applications."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from pydantic import ValidationError

from collectors.network_and_security import network_security
from collectors.network_and_security.network_security import NetworkSecurity, NetworkSecuritySettings
from collectors.systems.blackbox.client import Blackbox
from collectors.systems.blackbox.judge import origin_problems
from collectors.systems.blackbox.model import Knock, Outcome
from collectors.systems.gateway import client as gateway_client
from exporter.canary import Canary as ConnectingCanary
from exporter.canary import Path as CanaryPath
from exporter.canary import served as served_canary
from exporter.verdict import Result, Status
from tests.servers import firewall
from tests.servers.applications.programs import Application, fastapi
from tests.servers.certificates import Issued
from tests.servers.exporters import blackbox_exporter
from tests.servers.firewall import Firewalled, firewalled
from tests.servers.gateways import caddy, envoy
from tests.servers.haproxy import haproxy
from tests.servers.nginx import nginx, server_block
from tests.servers.process import LOOPBACK, free_port, scratch
from tests.servers.waf import waf
from tests.servers.web import Handler, served
from tests.support import Run, connected, make_context


async def _seen(item: str, vantage: str | None = None, **options: Any) -> tuple[Status, str]:
    clients = connected({Blackbox: vantage} if vantage else {}, timeout="10s")
    (result,) = (await Run(NetworkSecurity, [item], settings=options, clients=clients).results()).values()
    return result.status, result.summary


@pytest.fixture(scope="module")
def outside() -> Iterator[Firewalled]:
    with firewalled() as both:
        yield both


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with fastapi(tmp_path_factory.mktemp("app"), LIMIT="5/minute") as started:
        yield started


@pytest.mark.verifies("network_security.firewall_rules_configured", "ok")
@pytest.mark.verifies("network_security.firewall_rules_configured", "failed")
@pytest.mark.verifies("network_security.firewall_rules_configured", "unknown")
def test_dropped_rejected_refused_and_absent_are_told_apart(outside: Firewalled) -> None:
    def seen(host: str, *closed: int) -> tuple[Status, str]:
        hosts = ({"host": host, "open": (firewall.OPEN,), "closed": closed, "control": LOOPBACK},)
        return outside.run(lambda: _seen("firewall_rules_configured", outside.vantage, hosts=hosts))

    assert seen(outside.host, firewall.DROPPED, firewall.REJECTED)[0] is Status.OK
    status, summary = seen(outside.host, firewall.DROPPED, firewall.FORGOTTEN)
    assert status is Status.FAILED
    assert summary == f"{outside.host}:{firewall.FORGOTTEN} is open from outside."
    status, summary = seen(outside.host, firewall.DROPPED, firewall.REFUSED)
    assert status is Status.WARNING
    assert f"{outside.host}:{firewall.REFUSED} refuses connections" in summary
    status, summary = seen("127.66.0.9", firewall.DROPPED)  # no such host: everything times out there, too
    assert "None of the ports of 127.66.0.9 that should be open is" in summary or status is Status.FAILED
    assert status is not Status.OK


def test_a_port_that_the_network_outside_does_not_let_out_looks_closed(outside: Firewalled) -> None:
    def seen(closed: int, **options: Any) -> tuple[Status, str]:
        hosts = ({"host": outside.host, "open": (firewall.OPEN,), "closed": (closed,), **options},)
        return outside.run(lambda: _seen("firewall_rules_configured", outside.vantage, hosts=hosts))

    status, summary = seen(firewall.UNSENT)  # it is open, as the exporter inside sees
    untried = (
        f"lets connections to {outside.host}:{firewall.UNSENT} out was not checked (option control of {outside.host})"
    )
    assert (status, untried in summary) == (Status.UNKNOWN, True), summary
    status, summary = seen(firewall.REFUSED)  # the packet arrived there
    assert (status, "control" in summary) == (Status.WARNING, False), summary
    status, summary = seen(firewall.UNSENT, control=LOOPBACK)
    assert (status, f"The control {LOOPBACK}:{firewall.UNSENT} is dropped" in summary) == (Status.UNKNOWN, True), (
        summary
    )
    status, summary = seen(firewall.DROPPED, control=LOOPBACK)
    assert (status, "not checked" in summary) == (Status.OK, False), summary


@pytest.mark.verifies("network_security.network_policies_enforced", "ok")
@pytest.mark.verifies("network_security.network_policies_enforced", "failed")
@pytest.mark.verifies("network_security.network_policies_enforced", "unknown")
def test_a_canary_needs_both_controls(outside: Firewalled) -> None:
    def seen(target: int, control: int, allowed: str = outside.inside) -> tuple[Status, str]:
        canary = {
            "target": f"{outside.host}:{target}",
            "denied": outside.vantage,
            "allowed": allowed,
            "denied_control": f"{outside.host}:{control}",
        }
        return outside.run(lambda: _seen("network_policies_enforced", canaries=(canary,)))

    status, summary = seen(firewall.DROPPED, firewall.OPEN)
    assert (status, summary) == (
        Status.OK,
        "1 path that policies deny could not be used, while allowed ones could.",
    )
    status, summary = seen(firewall.FORGOTTEN, firewall.OPEN)
    assert status is Status.FAILED
    assert "which policies should deny" in summary
    status, summary = seen(firewall.DROPPED, firewall.OPEN, allowed=outside.vantage)
    assert status is Status.UNKNOWN
    assert "so it may be down" in summary
    status, summary = seen(firewall.DROPPED, firewall.REJECTED)
    assert status is Status.UNKNOWN
    assert "so it shows nothing" in summary


@contextmanager
def canary(*, opened: tuple[str, ...] = (), closed: tuple[str, ...] = ()) -> Iterator[str]:
    """A canary that listens where this thread is."""
    paths = [
        CanaryPath(host, int(port), expected)
        for expected, ports in (("open", opened), ("closed", closed))
        for host, _, port in (one.rpartition(":") for one in ports)
    ]
    server = served_canary(ConnectingCanary(paths, 1), (LOOPBACK, 0))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.verifies("network_security.network_policies_enforced", "ok")
@pytest.mark.verifies("network_security.network_policies_enforced", "failed")
def test_a_pair_of_canary_pods_is_judged_by_their_metrics(outside: Firewalled) -> None:
    def at(port: int) -> str:
        return f"{outside.host}:{port}"

    def seen(closed: tuple[int, ...], *opened: int) -> tuple[Status, str]:
        async def asked() -> tuple[Status, str]:
            with canary(opened=tuple(map(at, opened)), closed=tuple(map(at, closed))) as denied:
                pods = ({"allowed": outside.canary, "denied": denied},)
                return await _seen("network_policies_enforced", canary_pods=pods)

        return outside.run(asked)

    assert seen((firewall.DROPPED, firewall.REJECTED), firewall.OPEN) == (
        Status.OK,
        "2 paths that policies deny could not be used, while allowed ones could.",
    )
    for closed, opened, status, words in (
        ((firewall.DROPPED, firewall.FORGOTTEN), firewall.OPEN, Status.FAILED, f"connect to {at(firewall.FORGOTTEN)}, which"),
        ((firewall.DROPPED,), firewall.REJECTED, Status.UNKNOWN, "so it shows nothing"),
        ((firewall.REFUSED,), firewall.OPEN, Status.UNKNOWN, "is refused, which is not how a policy denies"),
        ((firewall.UNSENT,), firewall.OPEN, Status.UNKNOWN, "so it may be down"),  # nobody else connects to it
        ((), firewall.OPEN, Status.UNKNOWN, "has no port that it must not reach"),
    ):  # fmt: skip
        found = seen(closed, opened)
        assert (found[0], words in found[1]) == (status, True), found


async def test_canaries_that_show_nothing(app: Application) -> None:
    with canary(opened=(f"{LOOPBACK}:{app.port}",), closed=(f"{LOOPBACK}:{free_port()}",)) as url:
        text = await asyncio.to_thread(lambda: urlopen(f"{url}/metrics").read().decode())
        assert f'checklist_canary_as_expected{{target="{LOOPBACK}:{app.port}",expected="open"}} 1' in text
        assert 'expected="closed",outcome="refused"} 1' in text
        status, summary = await _seen("network_policies_enforced", canary_pods=({"allowed": url, "denied": url},))
        assert (status, "is refused, which is not how a policy denies" in summary) == (Status.UNKNOWN, True), summary
    for other in (app.url, f"http://{LOOPBACK}:{free_port()}"):
        pods = ({"allowed": other, "denied": other},)
        status, summary = await _seen("network_policies_enforced", canary_pods=pods)
        assert status is Status.UNKNOWN, summary


async def test_a_refused_port_is_no_policy(tmp_path: Path) -> None:
    modules = {"tcp_connect": {"prober": "tcp", "timeout": "1s"}}
    with blackbox_exporter(tmp_path, modules) as exporter:
        canary = {
            "target": f"{LOOPBACK}:{free_port()}",
            "denied": exporter.url,
            "allowed": exporter.url,
            "denied_control": f"{LOOPBACK}:{exporter.port}",
        }
        assert (await _seen("network_policies_enforced", canaries=(canary,)))[0] is Status.UNKNOWN
        hosts = ({"host": LOOPBACK, "open": (free_port(),), "closed": (free_port(),)},)
        status, summary = await _seen("firewall_rules_configured", exporter.url, hosts=hosts)
        assert status is Status.FAILED, summary
        wrong = ({**hosts[0], "module": "udp"},)
        status, summary = await _seen("firewall_rules_configured", exporter.url, hosts=wrong)
        assert (status, "has no module udp" in summary) == (Status.UNKNOWN, True)


async def test_modules_that_do_more_than_connect_and_names_with_several_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key = Issued.root().issue("shop.example").write(tmp_path, "leaf")
    tls, port, second = free_port(), free_port(), free_port()
    modules = {
        "tcp_connect": {"prober": "tcp", "timeout": "1s"},
        "tls": {"prober": "tcp", "timeout": "1s", "tcp": {"tls": True, "tls_config": {"insecure_skip_verify": True}}},
        "banner": {"prober": "tcp", "timeout": "1s", "tcp": {"query_response": [{"expect": "^SSH-2.0-"}]}},
    }
    blocks = f"{server_block(tls, (chain, key))} server {{ listen {LOOPBACK}:{port}; }} server {{ listen 127.0.0.2:{second}; }}"
    with nginx(blocks, port=port), blackbox_exporter(tmp_path, modules) as exporter, silent() as mute:

        async def seen(*closed: int, **host: Any) -> tuple[Status, str]:
            hosts = ({"host": LOOPBACK, "open": (port,), "closed": closed, "control": LOOPBACK, **host},)
            return await _seen("firewall_rules_configured", exporter.url, hosts=hosts)

        status, summary = await seen(mute, module="tls", open=(tls,))  # a handshake that nobody answers
        assert (status, "does more than connect by TCP" in summary) == (Status.UNKNOWN, True), summary
        status, summary = await seen(port, module="tls", open=(mute,))  # that the control was not tried proves nothing
        assert status is not Status.OK
        assert "should be open" not in summary.partition("None of the ports")[0]
        status, summary = await seen(mute, module="banner")
        assert status is Status.FAILED
        assert summary.startswith(f"{LOOPBACK}:{mute} is open from outside.")
        monkeypatch.setattr(network_security, "resolve", _resolving(LOOPBACK, "127.0.0.2"))
        status, summary = await seen(second, host="shop.example", open=(port,))
        assert (status, f"127.0.0.2:{second} is open from outside." in summary) == (Status.FAILED, True), summary


def _resolving(*addresses: str) -> Callable[[str, int], Coroutine[Any, Any, list[str]]]:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


@contextmanager
def silent() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


def _gateways(tmp_path: Path, upstream: int) -> Iterator[tuple[str, str]]:
    """Each gateway in front of a port, by name, and its address."""
    port = free_port()
    block = f"server {{ listen {LOOPBACK}:{port}; location / {{ proxy_pass http://{LOOPBACK}:{upstream}; }} }}"
    with nginx(block, port=port):
        yield "nginx", f"http://{LOOPBACK}:{port}"
    port = free_port()
    parts = f"frontend f\n mode http\n bind {LOOPBACK}:{port}\n monitor-uri /alive\n default_backend b\n"
    with haproxy(f"{parts}backend b\n mode http\n server s {LOOPBACK}:{upstream} check inter 100ms\n", port=port):
        yield "HAProxy", f"http://{LOOPBACK}:{port}"
    with envoy(tmp_path, upstream) as url:
        yield "Envoy", url
    with caddy(tmp_path, upstream) as url:
        yield "Caddy", url


@pytest.mark.verifies("network_security.api_gateway_operational", "ok")
@pytest.mark.verifies("network_security.api_gateway_operational", "failed")
async def test_a_gateway_is_as_alive_as_what_is_behind_it(tmp_path: Path, app: Application) -> None:
    for upstream, expected in ((app.port, Status.OK), (free_port(), Status.FAILED)):
        for name, url in _gateways(tmp_path, upstream):
            gateway = {"name": name, "routes": ({"url": f"{url}/items/1", "contains": '"number":1'},), "looks": 2}
            status, summary = await _seen("api_gateway_operational", gateways=(gateway,))
            assert status is expected, (name, summary)
            if expected is Status.FAILED:
                assert "answered 50" in summary, summary


async def test_a_gateway_that_fails_once_in_ten_is_not_operational(app: Application) -> None:
    port, memory = free_port(), dict[str, Any]()
    servers = (
        f"server {LOOPBACK}:{app.port} weight=9 max_fails=0; server {LOOPBACK}:{free_port()} weight=1 max_fails=0;"
    )
    block = (
        f"upstream shop {{ {servers} }} server {{ listen {LOOPBACK}:{port}; "
        "location / { proxy_pass http://shop; proxy_next_upstream off; } }"
    )
    route = {"url": f"http://{LOOPBACK}:{port}/items/1", "contains": '"number":1'}
    settings = {"gateways": ({"name": "edge", "routes": (route,)},)}
    item, seen = "api_gateway_operational", list[Result]()
    with nginx(block, port=port):
        for _ in range(12):
            run = Run(NetworkSecurity, [item], settings=settings, context=make_context(memory=memory))
            seen.append((await run.results())[item])
    quiet = [result for result in seen[6:] if "answered this time" in result.summary]
    assert {result.status for result in quiet} == {Status.FAILED}, seen
    assert all(result.status is not Status.OK for result in seen[4:]), seen
    with nginx(block.replace(f"proxy_pass http://{'shop'}", "return 502"), port=port):  # an outage
        run = Run(NetworkSecurity, [item], settings=settings, context=make_context(memory=memory))
        assert (await run.results())[item].status is Status.FAILED
    with nginx(f"server {{ listen {LOOPBACK}:{port}; location / {{ proxy_pass {app.url}; }} }}", port=port):
        run = Run(NetworkSecurity, [item], settings=settings, context=make_context(memory=memory))
        assert (await run.results())[item].status is Status.OK


async def test_every_address_of_a_gateway_is_asked(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    good = f"server {{ listen {LOOPBACK}:{port}; location / {{ proxy_pass {app.url}; }} }}"
    gateways = (
        {"name": "edge", "routes": ({"url": f"http://shop.example:{port}/items/1", "contains": '"number":1'},)},
    )
    monkeypatch.setattr(gateway_client, "resolve", _resolving(LOOPBACK, "127.0.0.2"))
    monkeypatch.setattr(gateway_client, "ask_uncached", partial(gateway_client._ask_at, address=f"{LOOPBACK}:{port}"))
    for block, status, words in (
        (good.replace(LOOPBACK + ":", "127.0.0.2:", 1), Status.OK, ""),
        (f"server {{ listen 127.0.0.2:{port}; return 502; }}", Status.FAILED, "127.0.0.2"),
        ("", Status.FAILED, "answers at one of its addresses and not at another"),
    ):
        with nginx(good + block, port=port):
            seen, summary = await _seen("api_gateway_operational", gateways=gateways)
        assert (seen, words in summary) == (status, True), summary


async def test_a_cache_does_not_stand_for_a_dead_service(tmp_path: Path) -> None:
    port = free_port()
    with fastapi(tmp_path) as service, scratch("cache") as folder:
        folder.chmod(0o777)  # nginx's workers have another user
        cache = f"proxy_cache_path {folder / 'cache'} keys_zone=all:1m;\n"
        passes = f"proxy_pass {service.url}; proxy_cache all; proxy_cache_valid 200 1h; proxy_cache_use_stale error;"
        block = f"{cache}server {{ listen {LOOPBACK}:{port}; location / {{ {passes} }} }}"
        route = {"url": f"http://{LOOPBACK}:{port}/items/1", "contains": '"number":1'}
        gateways = ({"name": "edge", "routes": (route,)},)
        with nginx(block, port=port):
            assert (await _seen("api_gateway_operational", gateways=gateways))[0] is Status.OK
            service.stop()
            status, summary = await _seen("api_gateway_operational", gateways=gateways)
    assert status is Status.FAILED, summary
    assert "answered 502 through gateway edge where no cache can have the answer" in summary


@pytest.mark.parametrize(
    ("sign", "status", "words"),
    [
        ("", Status.FAILED, "answered 502 through gateway edge: caches do not answer this method"),
        ("add_header X-Cache-Status $upstream_cache_status;", Status.FAILED, "caches do not answer this method"),
        (
            "add_header X-Cache-Status $upstream_cache_status; if ($request_method = OPTIONS) { return 204; }",
            Status.UNKNOWN,
            "comes from a cache (x-cache-status: HIT) whatever its query is",
        ),
    ],
)
async def test_a_cache_that_ignores_queries_does_not_either(
    tmp_path: Path, sign: str, status: Status, words: str
) -> None:
    port = free_port()
    with fastapi(tmp_path) as service, scratch("cache") as folder:
        folder.chmod(0o777)
        cache = f"proxy_cache_path {folder / 'cache'} keys_zone=all:1m;\n"
        passes = f"proxy_pass {service.url}; proxy_cache all; proxy_cache_key $uri; proxy_cache_valid 200 1h; {sign}"
        block = f"{cache}server {{ listen {LOOPBACK}:{port}; location / {{ {passes} }} }}"
        url = f"http://{LOOPBACK}:{port}/items/1"
        gateways = ({"name": "edge", "routes": ({"url": url, "contains": '"number":1'},)},)
        with nginx(block, port=port):
            assert await asyncio.to_thread(lambda: urlopen(url).read()) == b'{"number":1,"page":1}'
            service.stop()
            assert await asyncio.to_thread(lambda: urlopen(f"{url}?x=1").status) == 200
            seen, summary = await _seen("api_gateway_operational", gateways=gateways)
    assert (seen, words in summary) == (status, True), summary


async def test_a_page_of_the_gateways_own_is_no_service(app: Application) -> None:
    pages = {
        "<h1>Acme Shop</h1>We will be back soon.": (Status.FAILED, "a page about maintenance"),
        "<h1>Acme Shop</h1>Welcome to all departments.": (
            Status.UNKNOWN,
            "which does not exist, are answered the same",
        ),
    }
    for page, (status, words) in pages.items():
        port = free_port()
        block = f"server {{ listen {LOOPBACK}:{port}; default_type text/html; location / {{ return 200 '{page}'; }} }}"
        gateways = ({"name": "edge", "routes": ({"url": f"http://{LOOPBACK}:{port}/home", "contains": "Acme Shop"},)},)
        with nginx(block, port=port):
            seen, summary = await _seen("api_gateway_operational", gateways=gateways)
        assert (seen, words in summary) == (status, True), summary
    port = free_port()  # nginx refuses OPTIONS itself, and only one page says something about maintenance
    own = "location = /home { return 200 'Acme Shop. Maintenance of bicycles.'; } location / { return 404; }"
    with nginx(f"server {{ listen {LOOPBACK}:{port}; {own} }}", port=port):
        gateways = ({"name": "edge", "routes": ({"url": f"http://{LOOPBACK}:{port}/home", "contains": "Acme Shop"},)},)
        seen, summary = await _seen("api_gateway_operational", gateways=gateways)
    assert seen is Status.OK, summary


@pytest.mark.verifies("network_security.api_gateway_operational", "unknown")
async def test_a_gateway_that_is_gone_or_refuses_shows_nothing(app: Application) -> None:
    gone = {"name": "edge", "routes": ({"url": f"http://{LOOPBACK}:{free_port()}/", "contains": "x"},)}
    assert (await _seen("api_gateway_operational", gateways=(gone,)))[0] is Status.UNKNOWN
    own = {"name": "edge", "routes": ({"url": f"{app.url}/items/1", "contains": "another service"},)}
    status, summary = await _seen("api_gateway_operational", gateways=(own,))
    assert status is Status.FAILED
    assert "without the text of the service behind gateway edge" in summary


@pytest.mark.verifies("network_security.gateway_rate_limiting_enforced", "ok")
@pytest.mark.verifies("network_security.gateway_rate_limiting_enforced", "failed")
@pytest.mark.verifies("network_security.gateway_rate_limiting_enforced", "unknown")
async def test_the_limit_must_be_the_gateways(app: Application) -> None:
    port, upstream = free_port(), f"http://{LOOPBACK}:{app.port}"
    block = f"""
    limit_req_zone $binary_remote_addr zone=z:1m rate=2r/s;
    server {{
      listen {LOOPBACK}:{port};
      location / {{ proxy_pass {upstream}; }}
      location /metrics {{ limit_req zone=z burst=2 nodelay; proxy_pass {upstream}; }}
    }}"""

    async def seen(path: str, **options: Any) -> tuple[Status, str]:
        limit = {"url": f"http://{LOOPBACK}:{port}{path}", "burst": 12, "recovery": timedelta(seconds=2), **options}
        return await _seen("gateway_rate_limiting_enforced", limits=(limit,), allow_intrusive=True)

    with nginx(block, port=port):
        assert (await seen("/metrics"))[0] is Status.OK  # by 503, as is nginx's default
        status, summary = await seen("/items/1")
        assert status is Status.FAILED
        assert "took 12 requests in a row from one address, and refused none" in summary
        status, summary = await seen("/limited")  # five a minute, by the application
        assert status is Status.UNKNOWN, summary
    limits = ({"url": f"http://{LOOPBACK}:{port}/"},)
    status, summary = await _seen("gateway_rate_limiting_enforced", limits=limits)
    assert (status, summary) == (Status.UNKNOWN, "Option allow_intrusive is not set, so no burst was sent.")


async def test_a_limit_that_callers_get_around_is_none(app: Application) -> None:
    keys = {
        "$request_uri": "another query",
        "$http_user_agent": "another User-Agent and Accept-Language",
        "$http_cookie": "another cookie",
        "$http_authorization": "another Authorization and X-API-Key",
        "$http_x_api_key": "another Authorization and X-API-Key",
        "$http_referer": "another Referer and Origin",
    }
    expected = [
        ("$http_x_forwarded_for", Status.UNKNOWN, "another X-Forwarded-For"),
        ("$http_true_client_ip", Status.UNKNOWN, "another X-Forwarded-For"),
        *((key, Status.FAILED, f"{words} each time: whoever changes it is not limited") for key, words in keys.items()),
        ("", Status.OK, ""),
    ]
    ports = [free_port() for _ in expected]
    blocks = "limit_req_status 429;\n" + "".join(
        f'limit_req_zone "$binary_remote_addr{key}" zone=z{port}:1m rate=30r/m;\n'
        f"server {{ listen {LOOPBACK}:{port}; location / {{ limit_req zone=z{port} burst=2 nodelay; proxy_pass {app.url}; }} }}\n"
        for port, (key, _, _) in zip(ports, expected, strict=True)
    )
    with nginx(blocks, port=ports[-1]):
        limits = [
            {"url": f"http://{LOOPBACK}:{port}/items/1", "burst": 12, "recovery": timedelta(seconds=30)}
            for port in ports
        ]
        seen = await asyncio.gather(
            *(_seen("gateway_rate_limiting_enforced", limits=(limit,), allow_intrusive=True) for limit in limits)
        )
    for (status, summary), (key, wanted, words) in zip(seen, expected, strict=True):
        assert (status, words in summary) == (wanted, True), (key, summary)


async def test_no_probe_trips_a_rule_of_the_core_rules(app: Application) -> None:
    behind = free_port()
    block = (
        f"limit_req_zone $binary_remote_addr zone=z:1m rate=30r/m; server {{ listen {LOOPBACK}:{behind}; "
        f"location / {{ limit_req zone=z burst=9 nodelay; proxy_pass {app.url}; }} }}"
    )
    with nginx(block, port=behind), waf(f"http://{LOOPBACK}:{behind}") as firewall:
        route = {"url": f"{firewall.url}/items/1", "contains": '"number":1'}
        assert (await _seen("api_gateway_operational", gateways=({"name": "edge", "routes": (route,)},)))[
            0
        ] is Status.OK
        edge = {"url": route["url"], "origins": (firewall.url.removeprefix("http://"),)}
        assert (await _seen("ddos_protection_active", edges=(edge,)))[0] is Status.FAILED
        limit = {"url": route["url"], "burst": 20, "recovery": timedelta(seconds=30)}
        status, summary = await _seen("gateway_rate_limiting_enforced", limits=(limit,), allow_intrusive=True)
        assert (status, "could be seen" in summary) != (Status.UNKNOWN, True), summary
        assert firewall.alerts() == []


async def test_what_refuses_or_slows_a_burst_need_not_be_a_limit(app: Application) -> None:
    denying, busy, delaying, behind = free_port(), free_port(), free_port(), free_port()
    counted = "http-request track-sc0 src\n http-request deny deny_status 403 if { sc_http_req_rate(0) gt 4 }"
    table = "stick-table type ip size 1k expire 3s store http_req_rate(3s)"

    def frontend(port: int, backend: str, *lines: str) -> str:
        words = (f"frontend {backend}", "mode http", f"bind {LOOPBACK}:{port}", *lines, f"default_backend of-{backend}")
        return "\n ".join(words) + "\n"

    async def seen(port: int, **options: Any) -> tuple[Status, str]:
        limit = {"url": f"http://{LOOPBACK}:{port}/items/1", "burst": 6, "recovery": timedelta(seconds=30), **options}
        return await _seen("gateway_rate_limiting_enforced", limits=(limit,), allow_intrusive=True)

    class Slow(Handler):
        def do_GET(self) -> None:
            time.sleep(0.3)
            self.reply(200, b"{}")

    with served(Slow) as slow:
        parts = frontend(denying, "a", table, counted) + f"backend of-a\n mode http\n server s {LOOPBACK}:{app.port}\n"
        parts += (
            frontend(busy, "b")
            + f"backend of-b\n mode http\n timeout queue 50ms\n server s {urlsplit(slow).netloc} maxconn 1\n"
        )
        with haproxy(parts, port=busy):
            assert (await seen(denying))[0] is Status.OK
            status, summary = await seen(busy)
            assert (status, "a service that is busy looks like that" in summary) == (Status.UNKNOWN, True), summary
    passing = f"proxy_pass http://{LOOPBACK}:{behind};"
    block = (
        f"limit_req_zone $binary_remote_addr zone=z:1m rate=1r/s;\nserver {{ listen {LOOPBACK}:{behind}; return 200; }}\n"
        f"server {{ listen {LOOPBACK}:{delaying}; location / {{ limit_req zone=z burst=40; {passing} }} }}"
    )
    with nginx(block, port=delaying):
        status, summary = await seen(delaying, burst=3)
    assert (status, "answered ever more slowly" in summary) == (Status.UNKNOWN, True), summary


@pytest.mark.verifies("network_security.ddos_protection_active", "ok")
@pytest.mark.verifies("network_security.ddos_protection_active", "failed")
@pytest.mark.verifies("network_security.ddos_protection_active", "unknown")
async def test_an_origin_that_answers_directly_is_not_protected(tmp_path: Path) -> None:
    port, origin, closed, bare = free_port(), free_port(), free_port(), free_port()
    site = "location / { add_header CF-RAY 1-FRA; return 200 site; }"
    blocks = (
        f"server {{ listen {LOOPBACK}:{port}; {site} }} server {{ listen {LOOPBACK}:{origin}; location / {{ return 200 site; }} }}"
        f"server {{ listen {LOOPBACK}:{bare}; location / {{ return 444; }} }}"
    )

    async def seen(url: str, *origins: str) -> tuple[Status, str]:
        return await _seen("ddos_protection_active", edges=({"url": url, "origins": origins},))

    with nginx(blocks, port=port):
        url = f"http://{LOOPBACK}:{port}/"
        assert (await seen(url, f"{LOOPBACK}:{bare}"))[0] is Status.OK  # 444: closed without a reply
        status, summary = await seen(url, f"{LOOPBACK}:{closed}")
        assert (status, "from outside it was not tried" in summary) == (Status.WARNING, True)
        with blackbox_exporter(tmp_path, {"tcp_connect": {"prober": "tcp", "timeout": "1s"}}) as vantage:
            edges = ({"url": url, "origins": (f"{LOOPBACK}:{closed}",)},)
            assert (await _seen("ddos_protection_active", vantage.url, edges=edges))[0] is Status.OK
        status, summary = await seen(url, f"{LOOPBACK}:{closed}", f"{LOOPBACK}:{origin}")
        assert status is Status.FAILED
        assert (
            summary
            == f"Origin {LOOPBACK}:{origin} answers requests for the site directly (200), around its protection."
        )
        assert (await seen(f"http://{LOOPBACK}:{origin}/", f"{LOOPBACK}:{closed}"))[0] is Status.FAILED
        assert (await seen(url, "no-such-origin.invalid:80"))[
            0
        ] is Status.UNKNOWN  # a name that is not known refuses nothing
        assert (await seen(url))[0] is not Status.OK  # a fingerprint alone is no protection


async def test_every_address_of_an_origin_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    port, origin = free_port(), free_port()
    blocks = (
        f"server {{ listen {LOOPBACK}:{port}; location / {{ add_header CF-RAY 1-FRA; return 200 site; }} }} "
        f"server {{ listen 127.0.0.2:{origin}; location / {{ return 200 site; }} }}"
    )
    monkeypatch.setattr(gateway_client, "resolve", _resolving(LOOPBACK, "127.0.0.2"))
    edges = ({"url": f"http://{LOOPBACK}:{port}/", "origins": (f"origin.example:{origin}",)},)
    with nginx(blocks, port=port):
        status, summary = await _seen("ddos_protection_active", edges=edges)
    assert (status, f"Origin origin.example:{origin} answers requests" in summary) == (Status.FAILED, True), summary


@pytest.mark.parametrize("page", ["return 302 /captcha;", "return 200 'Please solve this puzzle first.';"])
async def test_a_limit_by_another_page_is_not_missing(app: Application, page: str) -> None:
    port, kind = free_port(), page.split()[1]
    block = (
        f"limit_req_zone $binary_remote_addr zone=z:1m rate=30r/m; limit_req_status 429;\nserver {{ listen {LOOPBACK}:{port}; "
        f"error_page 429 ={kind} /puzzle; location = /puzzle {{ {page} }} "
        f"location / {{ limit_req zone=z burst=2 nodelay; proxy_pass {app.url}; }} }}"
    )
    with nginx(block, port=port):
        limit = {"url": f"http://{LOOPBACK}:{port}/items/1", "burst": 12}
        status, summary = await _seen("gateway_rate_limiting_enforced", limits=(limit,), allow_intrusive=True)
    assert (status, "whether that is a limit, by a redirect or a page" in summary) == (Status.UNKNOWN, True), summary


@pytest.mark.parametrize("item", list(NetworkSecurity.items()))
async def test_what_is_not_configured_does_not_pass(item: str) -> None:
    assert not (await _seen(item))[0].is_ok


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hosts": ({"host": "a b", "open": (80,)},)}, "host"),
        ({"hosts": ({"host": "shop.example", "open": (0,)},)}, "0 is no port"),
        (
            {"hosts": ({"host": "shop.example", "open": (80,), "closed": (22, 80)},)},
            "port 80 cannot be in open and closed",
        ),
        ({"gateways": ({"name": "g", "routes": ()},)}, "routes"),
        (
            {"gateways": ({"name": "g", "routes": ({"url": "http://a/my%20shop", "contains": "my shop"},)},)},
            "part of the url",
        ),
        ({"limits": ({"url": "https://user:secret@shop.example/"},)}, "without credentials"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        NetworkSecuritySettings.model_validate(options)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Outcome.OPEN, Status.FAILED), (Outcome.OTHER, Status.UNKNOWN), (Outcome.DROPPED, None), (Outcome.REFUSED, None)],
)
def test_an_origin_must_take_no_connection_from_outside_either(outcome: Outcome, status: Status | None) -> None:
    found = [problem.status for problem in origin_problems(Knock("203.0.113.9:443", outcome))]
    assert found == ([status] if status else [])
