"""The real Prometheus, old and new, scrapes the exporter as it is run in earnest: over TLS, with a password."""

from __future__ import annotations

import asyncio
from pathlib import Path

import bcrypt
import pytest

from tests.exporter.samples import LINES, mixed
from tests.exporter.web.site import running
from tests.servers.certificates import Issued
from tests.servers.process import LOOPBACK
from tests.servers.prometheus import NEW, OLD, Prometheus
from tests.support import Clock


@pytest.mark.parametrize("release", [OLD, NEW], ids=["prometheus-2", "prometheus-3"])
async def test_prometheus_scrapes_every_line(release: str, tmp_path: Path) -> None:
    authority = Issued.root()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    authority.issue(LOOPBACK).write(tmp_path, "server")
    hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
    web_config = tmp_path / "web.yaml"
    web_config.write_text(
        f"tls_server_config: {{cert_file: server.pem, key_file: server.key}}\nbasic_auth_users: {{prometheus: {hashed}}}\n"
    )
    clock = Clock()
    async with running(await mixed(clock), clock, web_config=web_config) as site:
        scraped = {
            "job_name": "checklist",
            "scheme": "https",
            "tls_config": {"ca_file": str(tmp_path / "ca.pem")},
            "basic_auth": {"username": "prometheus", "password": "correct horse"},
            "static_configs": [{"targets": [f"{LOOPBACK}:{site.port}"]}],
        }
        with Prometheus(tmp_path, release=release, scrapes=[scraped]) as prometheus:
            await asyncio.to_thread(prometheus.wait_for, 'up{job="checklist"} == 1')
            counted = await asyncio.to_thread(prometheus.wait_for, "count(checklist_item_ok)")
            info = await asyncio.to_thread(prometheus.wait_for, "count(checklist_item_info)")
            runs = await asyncio.to_thread(prometheus.wait_for, "sum(checklist_item_runs_total)")
    assert [sample[0]["value"][1] for sample in (counted, info, runs)] == [str(LINES - 1), str(LINES), str(LINES - 1)]
