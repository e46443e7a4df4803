"""A stand-in for Grafana, which cannot be had here: it gives the replies that Grafana's documentation shows, and no others."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.servers.web import Handler, Site

TOKEN = "viewer-81f3"
"""The token that it knows."""

Reply = tuple[int, Any]

HEALTH = "/api/health"
SEARCH = "/api/search"
QUERY = "/api/ds/query"
_OPEN = (HEALTH,)

DASHBOARDS = (
    {"id": 1, "uid": "readiness", "title": "Readiness", "url": "/d/readiness/readiness", "type": "dash-db", "tags": ["checklist"]},
    {
        "id": 2, "uid": "nodes", "title": "Nodes", "url": "/d/nodes/nodes", "type": "dash-db", "tags": [],
        "folderId": 9, "folderUid": "infra", "folderTitle": "Infrastructure", "folderUrl": "/dashboards/f/infra/infrastructure",
    },
)  # fmt: skip


PANELS = [
    {
        "id": 1, "type": "timeseries", "title": "Requests", "datasource": {"type": "prometheus", "uid": "metrics"},
        "targets": [{"refId": "A", "expr": "sum(rate(http_requests_total[5m]))"}],
    },
]  # fmt: skip


def dashboard(uid: str) -> str:
    """Return the path of a dashboard."""
    return f"/api/dashboards/uid/{uid}"


def datasource_health(uid: str) -> str:
    """Return the path where the health of a data source is asked for."""
    return f"/api/datasources/uid/{uid}/health"


def documented() -> dict[str, Reply]:
    """Return the replies of a healthy Grafana with two dashboards and the data sources ``metrics`` and ``logs``, by path."""
    return {
        HEALTH: (200, {"commit": "087143285", "database": "ok", "version": "12.4.0"}),
        SEARCH: (200, list(DASHBOARDS)),
        dashboard("readiness"): (
            200,
            {"dashboard": {"uid": "readiness", "panels": PANELS}, "meta": {"slug": "readiness"}},
        ),
        datasource_health("metrics"): (200, {"message": "Successfully queried the Prometheus API.", "status": "OK"}),
        datasource_health("logs"): (200, {"message": "Data source successfully connected.", "status": "OK"}),
    }


class Grafana(Site):
    """Grafana at ``url``. ``replies`` may be changed by a test; ``refused`` are requests that have none: they are answered 501."""

    def __init__(self, replies: Mapping[str, Reply] | None = None) -> None:
        self.replies = dict(documented() if replies is None else replies)
        self.refused: list[str] = []
        grafana = self

        class Page(Handler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, document = grafana.reply(self.command, self.path, self.headers.get("authorization", ""))
                self.reply(status, json.dumps(document).encode())

            do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET

        super().__init__(Page)

    def reply(self, method: str, target: str, authorization: str) -> Reply:
        """Give status and document of the documented reply."""
        parts = urlsplit(target)
        found = self.replies.get(parts.path) if method == ("POST" if parts.path == QUERY else "GET") else None
        if found is None:
            self.refused.append(f"{method} {target}")
            return 501, {"message": "not documented"}
        if parts.path not in _OPEN and authorization != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        if parts.path == SEARCH and found[0] == 200:
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            limit, page = int(asked.get("limit", 1000)), int(asked.get("page", 1))
            return 200, found[1][limit * (page - 1) : limit * page]
        return found


@contextmanager
def replay_grafana(replies: Mapping[str, Reply] | None = None) -> Iterator[Grafana]:
    """Replay documented replies; on leaving, fail if anything was asked that is not documented."""
    with Grafana(replies) as server:
        yield server
        assert not server.refused, f"Asked for what is not documented: {server.refused}"


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    """Give a healthy Grafana, as documented."""
    with replay_grafana() as server:
        yield server
