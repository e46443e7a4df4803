"""The Alertmanager client against real servers of two generations, and against whatever else may answer in their place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from pydantic import ValidationError

from collectors.systems.alertmanager.client import Alertmanager, AlertmanagerSettings
from collectors.systems.alertmanager.model.routes import parse_configuration
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.servers import faults
from tests.servers.alertmanager import Alertmanager as Server
from tests.servers.certificates import Issued
from tests.servers.faults import Address
from tests.servers.pages import Pages
from tests.servers.process import eventually
from tests.servers.prometheus import NEW, OLD

CANARY = "canary-of-slack"
ROUTED: dict[str, Any] = {
    "route": {"receiver": "chat", "routes": [{"receiver": "nobody", "matchers": ['team="none"']}]},
    "receivers": [
        {"name": "chat", "slack_configs": [{"api_url": f"http://127.0.0.1:1/{CANARY}", "channel": "alerts"}]},
        {"name": "nobody"},
        {"name": "unrouted"},
    ],
}


@asynccontextmanager
async def asking(url: str, **options: Any) -> AsyncIterator[Alertmanager]:
    settings = AlertmanagerSettings.model_validate_json(
        json.dumps({"url": url, "timeout": "20s", "max_age": "0s"} | options)
    )
    client = Alertmanager(settings, Threads())
    try:
        yield client
    finally:
        await client.close()


async def test_real_servers_are_understood(any_alertmanager: Server, no_leftovers: None) -> None:
    any_alertmanager.configure(ROUTED)
    any_alertmanager.alert(alertname="Seen", team="db")
    silence = any_alertmanager.silence(alertname="Seen")
    async with asking(any_alertmanager.url) as client:
        (member,) = client.members
        await member.ready()
        status = await member.status()
        assert status.version_info.version.startswith(("0.25.", "0."))
        assert status.cluster.status == "disabled"
        original = await client.configuration()
        assert CANARY not in original
        assert "<secret>" in original
        assert parse_configuration(original).receivers == {
            "chat": {"slack"}, "nobody": frozenset(), "unrouted": frozenset()
        }  # fmt: skip
        assert sorted(await member.receivers()) == ["chat", "nobody", "unrouted"]

        async def suppressed() -> bool:
            (held,) = [alert for alert in await client.alerts() if alert.labels["alertname"] == "Seen"]
            assert held.receiver_names == ["chat"]
            assert abs(held.updated_at - datetime.now(UTC)) < timedelta(minutes=5)
            return held.status.state == "suppressed" and held.status.silenced_by == [silence]

        await eventually(suppressed, "the silence to hold")
        (found,) = [one for one in await client.silences() if one.id == silence]
        assert found.state == "active"
        assert found.ends_at > datetime.now(UTC)
        (matcher,) = found.matchers
        assert (matcher.name, matcher.value, matcher.is_regex, matcher.is_equal) == ("alertname", "Seen", False, True)


async def test_a_path_prefix(tmp_path: Path) -> None:
    with Server(tmp_path, prefix="/am") as server:
        async with asking(server.url) as client:
            await client.members[0].ready()
            assert "receiver: nobody" in await client.configuration()
        async with asking(server.url.removesuffix("/am")) as client:
            with pytest.raises(ProbeError, match="answered 404"):
                await client.configuration()


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_tls_and_basic_authentication(tmp_path: Path, release: str, no_leftovers: None) -> None:
    authority = Issued.root()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path, "server")
    trusted, _ = authority.write(tmp_path, "authority")
    web = {
        "tls_server_config": {"cert_file": str(certificate), "key_file": str(key)},
        "basic_auth_users": {"reader": bcrypt.hashpw(b"canary", bcrypt.gensalt(4)).decode()},
    }
    with Server(tmp_path, release=release, web=web) as server:
        known: dict[str, Any] = {"username": "reader", "password": "canary"}
        async with asking(server.url, tls={"ca_file": str(trusted)}, **known) as client:
            await client.members[0].ready()
            assert "receiver: nobody" in await client.configuration()
        async with asking(server.url, tls={"ca_file": str(trusted)}) as client:
            with pytest.raises(ProbeError, match="answered 401: the credentials were not accepted"):
                await client.configuration()
        async with asking(server.url, **known) as client:
            with pytest.raises(ProbeError, match="the certificate was not accepted"):
                await client.configuration()


async def test_a_cluster_answers_while_one_member_does(tmp_path: Path, no_leftovers: None) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = Server(tmp_path / "one", ROUTED, joins=())
    with one, Server(tmp_path / "two", ROUTED, joins=[one]) as two:
        async with asking(one.url, peers=[two.url, one.url]) as client:
            assert [member.url for member in client.members] == [one.url, two.url]
            silence = two.silence(alertname="Any")

            async def gossiped() -> bool:
                return [found.id for found in await client.silences()] == [silence]

            await eventually(gossiped, "the silence to be gossiped")
            assert "receiver: chat" in await client.configuration()
            two.configure({"route": {"receiver": "other"}, "receivers": [{"name": "other"}]})
            with pytest.raises(ProbeError, match=f"{one.url} and {two.url} have different configurations"):
                await client.configuration()
            one.kill()
            assert "receiver: other" in await client.configuration()
            assert await client.alerts() == []
            with pytest.raises(ProbeError, match="the connection was refused"):
                await client.members[0].ready()
            two.kill()
            with pytest.raises(ProbeError, match=f"{one.url}/api/v2/status failed: the connection was refused"):
                await client.configuration()


async def test_tenant_and_credentials_are_sent_to_every_member(pages: Pages) -> None:
    pages.authorization = "Basic cmVhZGVyOmNhbmFyeQ=="
    pages.add("/one/api/v2/alerts", "[]")
    pages.add("/two/api/v2/alerts", "[]")
    options: dict[str, Any] = {"username": "reader", "password": "canary", "headers": {"X-Scope-OrgID": "tenant-1"}}
    async with asking(f"{pages.url}/one/", peers=[f"{pages.url}/two/"], **options) as client:
        assert await client.alerts() == []
    assert sorted(pages.seen) == ["/one/api/v2/alerts", "/two/api/v2/alerts"]
    async with asking(f"{pages.url}/one", bearer_token="wrong") as client:
        with pytest.raises(ProbeError, match="answered 401: the credentials were not accepted"):
            await client.alerts()


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ("<html>log in</html>", 200, "with an HTML page, where JSON was expected"),
        ('[{"labels": {', 200, "that do not parse, where JSON was expected"),
        ('{"alerts": []}', 200, "answered 200 in an unexpected format"),
        ("", 403, "the credentials have no right to it"),
        ("", 429, "too many requests"),
        ("<h1>Bad gateway</h1>", 502, "answered 502 with an error"),
    ],
)
async def test_what_is_no_whole_answer_is_told(pages: Pages, body: str, status: int, told: str) -> None:
    pages.add("/api/v2/alerts", body, status)
    async with asking(pages.url) as client:
        with pytest.raises(ProbeError) as raised:
            await client.alerts()
    assert told in str(raised.value)
    assert str(raised.value).endswith(".")


async def test_a_login_page_is_not_ready(pages: Pages) -> None:
    pages.add("/-/ready", "<html>log in</html>")
    async with asking(pages.url) as client:
        with pytest.raises(ProbeError, match="with an HTML page, where Alertmanager says OK"):
            await client.members[0].ready()


async def test_another_host_is_not_followed(pages: Pages) -> None:
    pages.redirect("/api/v2/alerts", "http://127.0.0.2:1/api/v2/alerts")
    async with asking(pages.url) as client:
        with pytest.raises(
            ProbeError, match=r"was redirected to another host \(http://127.0.0.2\), which was not followed"
        ):
            await client.alerts()


FAULTS: list[Callable[[], AbstractAsyncContextManager[Address]]] = [
    faults.refused,
    faults.unroutable,
    faults.mute,
    faults.hanging_up,
    faults.garbage,
    lambda: faults.half_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n["),
    lambda: faults.endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n["),
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_server_is_told_in_time_and_leaves_nothing(
    fault: Callable[[], AbstractAsyncContextManager[Address]], no_leftovers: None
) -> None:
    async with fault() as (host, port):
        started = asyncio.get_running_loop().time()
        async with asking(f"http://{host}:{port}", timeout="100ms", max_bytes=100_000) as client:
            for ask in (client.configuration, client.alerts, client.silences, client.members[0].ready):
                with pytest.raises(ProbeError, match=f"{host}:{port}"):
                    await ask()
        assert asyncio.get_running_loop().time() - started < 10


async def test_what_nobody_foresaw_is_not_taken_for_an_answer() -> None:
    async with asking("http://127.0.0.1:1") as client:

        async def broken() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await client._reachable([broken()])


def test_peers_are_addresses() -> None:
    with pytest.raises(ValidationError, match="expected an address that starts with http"):
        AlertmanagerSettings(url="http://a.example.com", peers=("b.example.com",))
