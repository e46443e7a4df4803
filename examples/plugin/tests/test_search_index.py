"""The plug-in against a real HTTP server: passed, failed and unknown for each line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from search_index import SearchIndex

from exporter.testing import check_rules, verify
from exporter.verdict import Status

Serve = Callable[[Any], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer every request with a body; gives the address."""
    servers: list[ThreadingHTTPServer] = []

    def start(body: Any) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Stay silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


async def seen(url: str, item: str, **options: Any) -> Any:
    target = {"name": "main", "url": url, "timeout": "2s", **options}
    return (await verify(SearchIndex, {"targets": [target]}))[item]


def test_the_rules_are_kept() -> None:
    check_rules(SearchIndex)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"now": 100, "updated": 90}, Status.OK),
        ({"now": 9000, "updated": 90}, Status.FAILED),
        ({"now": 90, "updated": 100}, Status.FAILED),
        ({"now": 100}, Status.UNKNOWN),
        (b"<html>", Status.UNKNOWN),
        ([], Status.UNKNOWN),
    ],
)
async def test_index_fresh(serve: Serve, status: Any, expected: Status) -> None:
    result = await seen(serve(status), "index_fresh")
    assert result.status is expected, result.summary


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        ({"total": 4, "unassigned": 0}, Status.OK),
        ({"total": 4, "unassigned": 0, "relocating": 1}, Status.WARNING),
        ({"total": 4, "unassigned": 1}, Status.FAILED),
        ({"total": 0}, Status.UNKNOWN),
        (None, Status.UNKNOWN),
    ],
)
async def test_shards_assigned(serve: Serve, shards: Any, expected: Status) -> None:
    result = await seen(serve({"shards": shards}), "shards_assigned")
    assert result.status is expected, result.summary


async def test_a_cluster_that_is_down_is_unknown(serve: Serve) -> None:
    result = await seen("http://127.0.0.1:9", "index_fresh")
    assert result.status is Status.UNKNOWN
