"""The applications run, and a switch of each does what it is for, as an independent client sees it."""

import urllib.request
from pathlib import Path
from urllib.error import HTTPError

from tests.servers.applications.programs import fastapi, nest, next_server
from tests.servers.process import call


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return int(reply.status)
    except HTTPError as error:
        with error:
            return error.code


def test_nest_is_healthy_or_down(tmp_path: Path) -> None:
    with nest(tmp_path, HEALTH="down", THROTTLE="on", LIMIT="3") as application:
        assert [status(f"{application.url}/health") for _ in range(5)] == [503, 503, 503, 429, 429]
        assert call(f"{application.url}/docs-json")["openapi"] == "3.0.0"


def test_fastapi_lies_when_told_to(tmp_path: Path) -> None:
    with fastapi(tmp_path, HEALTH="shallow", DOCS="no-ui") as application:
        assert call(f"{application.url}/health") == {"status": "ok"}
        assert [status(application.url + path) for path in ("/docs", "/openapi.json")] == [404, 200]


def test_next_is_built_once_and_serves(tmp_path: Path) -> None:
    with next_server(tmp_path) as application:
        assert call(f"{application.url}/api/hello") == {"hello": "world"}
        assert [status(application.url + path) for path in ("/ssr", "/_next/static/chunks/none.js")] == [200, 404]
