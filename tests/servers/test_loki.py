"""Loki takes lines, tells them apart by tenant, and listens on loopback only."""

from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

import psutil
import pytest

from tests.servers.loki import Loki
from tests.servers.process import LOOPBACK, call


def count(server: Loki, app: str) -> str:
    expression = f'sum(count_over_time({{app="{app}"}}[1h]))'
    (sample,) = call(f"{server.url}/loki/api/v1/query?query={quote(expression)}")["data"]["result"]
    return str(sample["value"][1])


def test_lines_are_found_where_they_were_pushed(loki: Loki) -> None:
    loki.push({"app": "pushed"}, "first", "second", ago=600)
    loki.push({"app": "pushed"}, "third")
    assert count(loki, "pushed") == "3"
    connections = psutil.Process(loki.pid).net_connections("inet")
    assert {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN} == {LOOPBACK}


def test_a_loki_with_tenants_demands_one(tmp_path: Path) -> None:
    with Loki(tmp_path, tenants=True) as server:
        with pytest.raises(HTTPError, match="401"):
            server.push({"app": "a"}, "line")
        server.push({"app": "a"}, "line", tenant="one")
        with pytest.raises(HTTPError, match="401"):
            count(server, "a")
