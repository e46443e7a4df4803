"""Free space as kubelet, node_exporter and the local file system tell it, through real Prometheus servers."""

import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.systems.prometheus.check.volumes import measure_space
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.prometheus.client import PrometheusSettings
from collectors.systems.prometheus.judge.volumes import judge_space
from collectors.systems.prometheus.model.volumes import Space, Volume
from exporter.collector import Collector, SectionSettings
from exporter.threads import Threads
from exporter.verdict import ProbeError, Status
from tests.servers.exporters import Exporter, Exposition, node_exporter
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape
from tests.support import make_context

GB = 10**9


class Asking(Collector[SectionSettings, None]):
    """A collector that only asks."""


def volume(**options: Any) -> Volume:
    return Volume.model_validate_json(json.dumps(options))


@pytest.fixture(scope="module")
def kubelet() -> Iterator[Exposition]:
    """What a kubelet says of the volumes of its pods."""
    with Exposition() as exposition:
        exposition.text = (
            _volume("data-db-0", 60 * GB, 100 * GB, inodes=(90, 100))
            + _volume("odd", 9, 3)
            + _volume("nothing", "NaN", 100 * GB)
            + _volume("twice", 1, 2)
            + _volume("twice", 3, 4, node="b")
            + 'kubelet_volume_stats_available_bytes{namespace="orders",persistentvolumeclaim="half"} 5\n'
        )
        yield exposition


def _volume(claim: str, free: object, size: object, inodes: tuple[int, int] | None = None, node: str = "a") -> str:
    labels = f'{{namespace="orders",persistentvolumeclaim="{claim}",node="{node}"}}'
    values = {"available_bytes": free, "capacity_bytes": size}
    if inodes:
        values |= {"inodes_free": inodes[0], "inodes": inodes[1]}
    return "".join(f"kubelet_volume_stats_{name}{labels} {value}\n" for name, value in values.items())


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
def watched(
    request: pytest.FixtureRequest, kubelet: Exposition, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prometheus, Exporter]]:
    """A Prometheus that scrapes the kubelet and the real node_exporter."""
    directory = tmp_path_factory.mktemp("watched")
    patience = {"scrape_interval": "2s", "scrape_timeout": "2s"}  # as a busy machine may take more than 200 ms
    with (
        node_exporter(directory, release=request.param) as node,
        Prometheus(
            directory,
            release=request.param,
            scrapes=[scrape("kubelet", kubelet.port, **patience), scrape("node", node.port, **patience)],
        ) as server,
    ):
        server.wait_for("kubelet_volume_stats_inodes and on() node_filesystem_size_bytes")
        yield server, node


@pytest.fixture
async def asking(watched: tuple[Prometheus, Exporter]) -> AsyncIterator[Asking]:
    client = PrometheusClient(PrometheusSettings(url=watched[0].url), Threads())
    yield Asking(SectionSettings(), None, make_context(clients={"prometheus": client}))
    await client.close()


async def test_a_claim_is_measured_by_kubelet(asking: Asking) -> None:
    wanted = volume(claim="orders/data-db-0")
    space = await measure_space(asking, wanted)
    assert space == Space(60 * GB, 100 * GB, 90, 100)
    result = judge_space(wanted, space)
    assert result.status is Status.OK
    assert result.summary == "Volume data has 60 GB free of 100 GB (60%, limit 50 GB)."
    assert result.measurements == {"free_bytes": 60e9, "free_ratio": 0.6}


async def test_a_mount_point_is_measured_by_node_exporter(asking: Asking, watched: tuple[Prometheus, Exporter]) -> None:
    mounts = watched[0].query(
        "node_filesystem_size_bytes > 0 unless on(mountpoint) (count by (mountpoint) (node_filesystem_size_bytes) > 1)"
    )
    mountpoint = mounts[0]["metric"]["mountpoint"]
    wanted = volume(mountpoint=mountpoint, labels={"instance": f"127.0.0.1:{watched[1].port}"})
    space = await measure_space(asking, wanted)
    local = os.statvfs(mountpoint)
    assert space.size == local.f_blocks * local.f_frsize
    assert abs(space.free - local.f_bavail * local.f_frsize) < 5 * GB
    assert space.inodes == local.f_files


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"claim": "orders/absent"}, "Prometheus has no series kubelet_volume_stats_available_bytes{"),
        ({"claim": "other/data-db-0"}, "not every storage driver reports it"),
        ({"claim": "orders/half"}, "Prometheus has no series kubelet_volume_stats_capacity_bytes{"),
        ({"claim": "orders/twice"}, "matches 2 volumes, where one was wanted; name more labels."),
        ({"claim": "orders/odd"}, "is 9 on a volume of 3 bytes, which cannot be."),
        ({"claim": "orders/nothing"}, "is nan on a volume of 1e+11 bytes, which cannot be."),
        ({"mountpoint": "/nowhere"}, "Prometheus has no series node_filesystem_avail_bytes{"),
        ({"mountpoint": "/", "labels": {"instance": 'a"}) or vector(1'}}, "Prometheus has no series"),
    ],
)
async def test_what_nobody_reports_was_not_seen(asking: Asking, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ProbeError) as raised:
        await measure_space(asking, volume(**options))
    assert told in str(raised.value)


async def test_more_labels_choose_one_of_several(asking: Asking) -> None:
    assert (await measure_space(asking, volume(claim="orders/twice", labels={"node": "b"}))).free == 3


async def test_an_old_sample_was_not_seen(tmp_path: Path) -> None:
    """An exporter that stamps its samples itself: Prometheus gives them for as long as it looks back."""
    stamp = round((time.time() - 600) * 1000)
    with (
        Exposition("".join(f"{line} {stamp}\n" for line in _volume("data", 60 * GB, 100 * GB).splitlines())) as kubelet,
        Prometheus(tmp_path, scrapes=[scrape("kubelet", kubelet.port)], flags=["--query.lookback-delta=1h"]) as server,
    ):
        server.wait_for("kubelet_volume_stats_capacity_bytes")
        client = PrometheusClient(PrometheusSettings(url=server.url), Threads())
        asking = Asking(SectionSettings(), None, make_context(clients={"prometheus": client}))
        with pytest.raises(ProbeError, match="was last scraped more than 5m ago"):
            await measure_space(asking, volume(claim="orders/data"))
        await client.close()


async def test_a_local_path_is_measured_here(tmp_path: Path) -> None:
    asking = Asking(SectionSettings(), None, make_context())
    space = await measure_space(asking, volume(path=str(tmp_path)))
    assert 0 < space.free < space.size
    with pytest.raises(ProbeError, match="cannot be asked for its free space: No such file or directory"):
        await measure_space(asking, volume(path=str(tmp_path / "absent")))
    with pytest.raises(ProbeError, match=r"clients\.prometheus is not configured"):
        await measure_space(asking, volume(claim="a/b"))


@pytest.mark.parametrize(
    ("space", "status", "told"),
    [
        (Space(60 * GB, 100 * GB, 0, 0), "ok", "60 GB free of 100 GB (60%, limit 50 GB)"),
        (Space(49 * GB, 100 * GB, 0, 0), "failed", "49 GB free of 100 GB (limit 50 GB)"),
        (Space(31.2 * GB, 40 * GB, 0, 0), "failed", "holds 40 GB in all: 50 GB can never be free on it"),
        (Space(60 * GB, 1000 * GB, 0, 0), "failed", "60 GB free of 1 TB: 6.0% (limit 15%)"),
        (Space(60 * GB, 100 * GB, 4, 100), "failed", "has 4.0% of its inodes free (limit 5%)"),
        (Space(60 * GB, 100 * GB, 5, 100), "ok", ""),
        (Space(0, 0, 0, 0), "failed", "holds 0 B in all"),
    ],
)
def test_space_is_judged(space: Space, status: str, told: str) -> None:
    result = judge_space(volume(name="wal", path="/wal"), space)
    assert (result.status, told in result.summary) == (status, True), result
    assert result.measurements["wal_free_bytes"] == space.free


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "exactly one of claim, mountpoint and path"),
        ({"path": "/a", "mountpoint": "/a"}, "exactly one of claim, mountpoint and path"),
        ({"path": "a"}, "an absolute path"),
        ({"claim": "data"}, "should match pattern"),
        ({"mountpoint": "/a", "labels": {"a-b": "c"}}, "is not a label name"),
    ],
)
def test_a_volume_that_names_nobody_to_ask(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        volume(**options)
