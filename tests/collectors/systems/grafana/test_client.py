"""The Grafana client against the replies that Grafana documents; no real one can be had here."""

from __future__ import annotations

from typing import Any

import pytest

from collectors.systems.grafana.client import Grafana, GrafanaSettings
from collectors.systems.grafana.model import Dashboard, Frames
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.servers.grafana import HEALTH, QUERY, SEARCH, TOKEN, datasource_health, documented, replay_grafana
from tests.servers.grafana import Grafana as Server


def client_of(server: Server, token: str = TOKEN) -> Grafana:
    return Grafana(GrafanaSettings.model_validate({"url": server.url, "bearer_token": token}), Threads())


async def test_a_healthy_grafana_is_understood(grafana: Server, no_leftovers: None) -> None:
    client = client_of(grafana)
    assert (await client.health()).database == "ok"
    assert await client.dashboards() == [
        Dashboard("readiness", "Readiness"),
        Dashboard("nodes", "Nodes", folder_title="Infrastructure"),
    ]
    assert await client.datasource_problem("metrics") is None
    await client.close()


async def test_a_database_that_fails_is_told() -> None:
    failing = (503, {"commit": "087143285", "database": "failing", "version": "12.4.0"})
    with replay_grafana(documented() | {HEALTH: failing}) as server:
        client = client_of(server)
        assert (await client.health()).database == "failing"
        await client.close()


async def test_all_pages_of_dashboards_are_read() -> None:
    many = [{"uid": f"d{number}", "title": f"{number}", "type": "dash-db"} for number in range(2500)]
    folder = {"uid": "f", "title": "Folder", "type": "dash-folder"}
    with replay_grafana(documented() | {SEARCH: (200, [folder, *many])}) as server:
        client = client_of(server)
        assert len(await client.dashboards()) == 2500
        await client.close()


async def test_a_grafana_that_lists_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.systems.grafana.client._PAGE", 1)
    monkeypatch.setattr("collectors.systems.grafana.client._PAGES", 2)
    with replay_grafana() as server:
        client = client_of(server)
        with pytest.raises(ProbeError, match="lists more than 2 dashboards, which were not all read"):
            await client.dashboards()
        await client.close()


@pytest.mark.parametrize(
    ("status", "document", "told"),
    [
        (400, {"status": "ERROR", "message": "connection\nrefused."}, "connection refused"),
        (400, {"status": "ERROR", "message": ""}, "the check gave no reason"),
        (200, {"status": "ERROR", "message": "no access"}, "no access"),
        (404, {"message": "Data source not found"}, "Data source not found (there is none with this uid)"),
        (
            500,
            {"message": "Unable to load datasource metadata"},
            "Unable to load datasource metadata (there is none with this uid)",
        ),
    ],
)
async def test_a_data_source_that_fails_is_told(status: int, document: Any, told: str) -> None:
    with replay_grafana(documented() | {datasource_health("metrics"): (status, document)}) as server:
        client = client_of(server)
        assert await client.datasource_problem("metrics") == told
        await client.close()


@pytest.mark.parametrize(
    ("status", "document", "told"),
    [
        (404, {"message": "Plugin not found"}, "Plugin not found .its plugin has no check, or there is none"),
        (404, {}, "not found .its plugin has no check"),
        (500, {"message": "Plugin health check failed"}, "answered 500: Plugin health check failed"),
        (400, {"status": "UNKNOWN", "message": ""}, "answered 400 without saying OK or ERROR"),
        (200, {}, "answered 200 without saying OK or ERROR"),
        (403, {"message": "You'll need additional permissions"}, "the credentials have no right to it"),
    ],
)
async def test_a_check_that_says_nothing_is_no_verdict(status: int, document: Any, told: str) -> None:
    with replay_grafana(documented() | {datasource_health("metrics"): (status, document)}) as server:
        client = client_of(server)
        with pytest.raises(ProbeError, match=told):
            await client.datasource_problem("metrics")
        await client.close()


async def test_queries_of_a_data_source_that_is_gone_are_answered() -> None:
    gone = (404, {"message": "data source not found", "messageId": "datasources.notFound"})
    with replay_grafana({**documented(), QUERY: gone}) as server:
        client = client_of(server)
        found = await client.query([{"refId": "A", "datasource": {"uid": "gone"}}])
        assert found == {"A": Frames(error="data source not found", status=404)}
        await client.close()


async def test_another_token_is_not_accepted(grafana: Server) -> None:
    client = client_of(grafana, "another-token")
    with pytest.raises(ProbeError, match="the credentials were not accepted"):
        await client.dashboards()
    await client.close()


async def test_the_stand_in_refuses_what_is_not_documented() -> None:
    def ask() -> None:
        with replay_grafana() as server:
            assert server.reply("GET", "/api/admin/settings", f"Bearer {TOKEN}")[0] == 501

    with pytest.raises(AssertionError, match="Asked for what is not documented"):
        ask()
