"""Patroni's REST API, and what answers in its place."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from collectors.systems.postgresql.client.patroni import read_cluster
from exporter.http import HttpSettings
from exporter.verdict import ProbeError
from tests.servers.faults import hanging_up, refused, serving
from tests.servers.patroni import Patroni
from tests.servers.process import eventually


@asynccontextmanager
async def answering(
    cluster: object, member: object, status: int = 200, configuration: object = None
) -> AsyncIterator[HttpSettings]:
    """A server that gives `/cluster`, `/patroni` (with this status) and `/config` these answers."""
    answers = {b"/cluster": (200, cluster), b"/patroni": (status, member), b"/config": (200, configuration or {})}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.readline():
            while await reader.readline() != b"\r\n":
                pass
            code, content = answers[request.split()[1]]
            body = json.dumps(content).encode()
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (code, len(body), body))
            await writer.drain()

    async with serving(answer) as (host, port):
        yield HttpSettings(url=f"http://{host}:{port}")


async def test_a_real_cluster_is_read(patroni: Patroni, no_leftovers: None) -> None:
    cluster = await read_cluster(HttpSettings(url=patroni.url))
    ((identifier,),) = patroni.leader.query("SELECT system_identifier::text FROM pg_control_system()")
    assert cluster.system_identifier == identifier
    assert not cluster.pause
    assert [member.leads for member in cluster.members].count(True) == 1
    assert not cluster.synchronous

    async def one_could_lead() -> bool:
        members = (await read_cluster(HttpSettings(url=patroni.url))).members
        return [member.could_lead(2**20, synchronous=False) for member in members].count(True) == 1

    await eventually(one_could_lead, "the standby to follow")  # on a busy machine it is behind for a while

    async def standbys_report() -> bool:
        cluster = await read_cluster(HttpSettings(url=patroni.url))
        reports = [cluster.reports[member.name] for member in cluster.members if not member.leads]
        return bool(reports) and all(
            report.status is not None and report.status.state == "running" and report.obstacle(cluster.patience) is None
            for report in reports
        )

    await eventually(standbys_report, "the standby to report of itself")


async def test_a_standby_that_does_not_answer_at_its_address() -> None:
    async with refused() as (host, port), hanging_up() as (_, other):
        addresses = [f"http://{host}:{port}/patroni", f"http://{host}:{other}/patroni", "no address"]
        members = [
            {"name": f"db-{number}", "role": "replica", "state": "streaming", "api_url": url}
            for number, url in enumerate(addresses)
        ]
        async with answering({"members": members}, {"state": "running"}) as settings:
            cluster = await read_cluster(settings)
    assert [cluster.reports[f"db-{number}"].status for number in range(3)] == [None, None, None]


async def test_a_member_whose_postgresql_is_stopped_still_tells_of_the_cluster() -> None:
    """It answers 503."""
    member = {"state": "stopped", "role": "replica"}
    async with answering({"members": []}, member, status=503) as settings:
        assert (await read_cluster(settings)).system_identifier == ""


@pytest.mark.parametrize(
    ("mode", "synchronous"),
    [(True, True), ("on", True), ("quorum", True), (False, False), (None, False), ("off", False), ("False", False)],
)
async def test_synchronous_mode_has_many_words(mode: object, synchronous: bool) -> None:
    async with answering({"members": []}, {}, configuration={"synchronous_mode": mode}) as settings:
        assert (await read_cluster(settings)).synchronous is synchronous


@pytest.mark.parametrize(
    ("cluster", "member"), [({}, {}), ([], {}), ({"members": [{"name": "one"}]}, {}), ({"members": []}, [])]
)
async def test_something_else_is_told(cluster: object, member: object, no_leftovers: None) -> None:
    async with answering(cluster, member) as settings:
        with pytest.raises(ProbeError, match="does not answer as Patroni does"):
            await read_cluster(settings)
