"""Every line of the cookbook in docs/custom.md, on real servers: ok where all is well, and never where nothing can be seen."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from exporter.verdict import Result, Status
from tests.collectors.systems.custom.lines import seen
from tests.collectors.systems.kubernetes.clusters import asking
from tests.servers import faults
from tests.servers.bind import Bind, bind
from tests.servers.certificates import authority
from tests.servers.kubernetes import ControlPlane, workload
from tests.servers.postgresql import MONITOR, PASSWORD, Cluster, cluster, postgresql_18
from tests.servers.process import LOOPBACK
from tests.servers.redis import Node
from tests.servers.starttls import aiosmtpd

DOCS = Path(__file__).parents[4] / "docs" / "custom.md"
BLOCK = DOCS.read_text().partition("## Cookbook")[2].partition("```yaml\n")[2].partition("```")[0]
LINES: list[dict[str, Any]] = yaml.safe_load(BLOCK)["custom"]


def placed(line: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """The line with the places of these servers instead of those in the page."""
    text = json.dumps({name: value for name, value in line.items() if name not in ("section", "line")})
    for shown, real in places.items():
        text = text.replace(json.dumps(shown), json.dumps(real))
    return json.loads(text.replace('"dsn_file": "/run/secrets/orders-dsn"', f'"dsn": "{places["dsn"]}"'))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def names() -> Iterator[Bind]:
    with bind(["shop 300 IN A 192.0.2.7", 'shop IN CAA 0 issue "letsencrypt.org"']) as server:
        yield server


@pytest.fixture(scope="module")
def shop(control_plane: ControlPlane) -> str:
    space = control_plane.namespace("shop")
    api = workload(space, "api", replicas=2)
    control_plane.apply(api)
    control_plane.wait_ready(api)
    return space


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with cluster(postgresql_18()) as pair:
        yield _orders(pair)


def _orders(pair: Cluster) -> str:
    pair.primary.script(
        f"""CREATE SCHEMA IF NOT EXISTS shop; DROP TABLE IF EXISTS shop.orders CASCADE;
            CREATE TABLE shop.orders (id int, total numeric, placed timestamptz, state text);
            INSERT INTO shop.orders VALUES (1, 10, now(), 'paid');
            GRANT USAGE ON SCHEMA shop TO {MONITOR}; GRANT SELECT ON shop.orders TO {MONITOR}""",
        "orders",
    )
    pair.caught_up()
    return f"postgresql://{MONITOR}:{quote(PASSWORD, safe='')}@{LOOPBACK}:{pair.primary.port}/orders"


@asynccontextmanager
async def partner(tmp_path: Path) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority().issue(LOOPBACK, days=90).write(tmp_path, "partner"))

    async def read(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with faults.serving(read, context) as (host, port):
        yield f"{host}:{port}"


def exported(tmp_path: Path) -> str:
    file = tmp_path / "orders.json"
    file.write_text('{"state": "complete", "rows": 12}')
    os.utime(file, (time.time() - 60,) * 2)
    return str(file)


async def verified(line: dict[str, Any], places: dict[str, str], cluster: ControlPlane | None) -> Result:
    clients = asking(cluster) if cluster and "kubernetes" in line else None
    return await seen(**placed(line, places), clients=clients, commands=True, secrets=(PASSWORD,))


def test_there_are_ten_and_more() -> None:
    assert len(LINES) >= 10
    kinds = ("tcp", "tls", "dns", "sql", "kubernetes", "file", "command")
    assert all(any(kind in line for line in LINES) for kind in kinds)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line["line"])
async def test_a_line_of_the_cookbook_is_ok(
    line: dict[str, Any],
    redis_replication: Sequence[Node],
    names: Bind,
    dsn: str,
    shop: str,
    control_plane: ControlPlane,
    tmp_path: Path,
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    async with partner(tmp_path) as gateway:
        with aiosmtpd(authority().issue(LOOPBACK).write(tmp_path, "mail")) as mail:
            places = {
                "cache-0:6379": f"{LOOPBACK}:{redis_replication[0].port}",
                "cache-1:6379": f"{LOOPBACK}:{redis_replication[1].port}",
                "mail:25": f"{LOOPBACK}:{mail}",
                "partner:8443": gateway,
                "/etc/ssl/internal-ca.pem": str(tmp_path / "ca.pem"),
                "10.0.0.53:53": f"{LOOPBACK}:{names.port}",
                "10.0.1.53:53": f"[::ffff:{LOOPBACK}]:{names.port}",
                "dsn": dsn,
                "shop": shop,
                "/var/exports/orders.json": exported(tmp_path),
            }
            result = await verified(line, places, control_plane)
    assert result.status is Status.OK, result.summary


@pytest.mark.parametrize("line", [line for line in LINES if "command" not in line], ids=lambda line: line["line"])
async def test_a_line_of_the_cookbook_is_not_ok_where_nothing_is(line: dict[str, Any], tmp_path: Path) -> None:
    nowhere = f"{LOOPBACK}:1"
    places = dict.fromkeys(("cache-0:6379", "mail:25", "partner:8443", "10.0.0.53:53"), nowhere)
    places |= {"cache-1:6379": "localhost:1", "10.0.1.53:53": "127.0.0.2:1", "dsn": f"postgresql://a@{nowhere}/b"}
    places |= {"/etc/ssl/internal-ca.pem": str(tmp_path / "no.pem"), "/var/exports/orders.json": str(tmp_path / "no")}
    result = await verified(line, places, None)
    assert result.status in (Status.FAILED, Status.UNKNOWN), result.summary
