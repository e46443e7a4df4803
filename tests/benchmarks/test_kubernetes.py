"""What a look at a cluster costs, against the official typed client, only reading the bytes, and a cluster ten times as large.

Everything is measured in processes of their own, against the same generated API server over TLS, in turns.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.kubernetes.judge.network_policies import NetworkPolicyOptions, judge_network_policies
from collectors.systems.kubernetes.model.kinds import NAMESPACES, NETWORK_POLICIES, PODS
from collectors.systems.kubernetes.model.pods import pods_in
from exporter.verdict import Status
from tests.benchmarks.audited import WATCHED_SECONDS, connect
from tests.benchmarks.replayed import replaying

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]
Clusters = dict[int, Path]
FEW, MANY, POLICIES = 5_000, 50_000, 500
ROUNDS = 3


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """The kubeconfigs of a cluster with a few thousand pods, and of one with ten times as many."""
    folders = [tmp_path_factory.mktemp("cluster") for _ in range(2)]
    with replaying(folders[0], FEW, POLICIES) as few, replaying(folders[1], MANY, POLICIES) as many:
        found = {FEW: few, MANY: many}
        for pods in (FEW, MANY):
            spend("read", found, pods)  # makes the pages, which are then at hand
        yield found


def spend(how: str, clusters: Clusters, pods: int, times: int = 1) -> dict[str, Any]:
    """What the last of some looks costs: `cpu` in seconds, `extra` and `peak` in bytes, and what was `told`."""
    argv = [sys.executable, "-m", "tests.benchmarks.audited", how, str(clusters[pods]), str(times)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    spent: dict[str, Any] = json.loads(done.stdout)
    return spent


def test_judging_everything_is_cheap(clusters: Clusters, measured: Measured) -> None:
    ways = ("audit", "followed", "read", "typed")
    rounds = [{how: spend(how, clusters, FEW, 2) for how in ways} for _ in range(ROUNDS)]
    told = rounds[0]["audit"]["told"]
    assert not [sentence for name, sentence in told.items() if "vpa" not in name and sentence.startswith("unknown")]

    def median(ratio: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(map(ratio, rounds))

    seconds = median(lambda spent: spent["audit"]["cpu"])
    typed = median(lambda spent: spent["typed"]["cpu"] / spent["audit"]["cpu"])
    followed = median(lambda spent: spent["typed"]["cpu"] / spent["followed"]["cpu"])
    read = median(lambda spent: spent["audit"]["cpu"] / spent["read"]["cpu"])
    what = f"Kubernetes: CPU of judging {len(told)} lines over {FEW} pods"
    measured(f"{what}, of which the typed client's lists alone are", f"{typed:.0f}x ({seconds:.3f} s)", ">= 50x")
    measured(f"{what}, to only reading the bytes of the pods", f"{read:.1f}x", "<= 4x")
    measured(f"{what} that are watched, of which typed lists alone are", f"{followed:.0f}x", ">= 50x")
    assert followed >= 50
    assert read <= 4
    # Most of it is TLS and what msgspec does to find its way through the bytes: the goal would leave nothing for the rest.
    assert typed >= 25


def test_ten_times_the_pods_cost_ten_times_the_time_and_hardly_more_memory(
    clusters: Clusters, measured: Measured
) -> None:
    rounds = [[spend("audit", clusters, pods) for pods in (FEW, MANY)] for _ in range(ROUNDS)]
    cpu = statistics.median(many["cpu"] / few["cpu"] for few, many in rounds)
    peaks = [statistics.median(pair[index]["peak"] for pair in rounds) / 1e6 for index in (0, 1)]
    measured(f"Kubernetes: CPU of judging {MANY} pods, to {FEW}", f"{cpu:.1f}x", "<= 11x")
    outcome = f"{peaks[1] / peaks[0]:.2f}x ({peaks[1]:.1f} MB, {peaks[0]:.1f} MB)"
    measured(f"Kubernetes: extra resident memory of judging {MANY} pods, to {FEW}, at its peak", outcome, "<= 1.5x")
    assert cpu <= 11
    assert peaks[1] / peaks[0] <= 1.5


async def test_network_policies_are_judged_at_once(clusters: Clusters, measured: Measured) -> None:
    client = connect(clusters[FEW])
    namespaces = (await client.list(NAMESPACES)).items
    pods, policies = (await client.list(PODS)).items, (await client.list(NETWORK_POLICIES)).items
    await client.close()
    before = time.process_time()
    result = judge_network_policies(namespaces, pods, policies, NetworkPolicyOptions())
    seconds = time.process_time() - before
    assert result.status is not Status.UNKNOWN
    measured(f"Kubernetes: coverage of {pods_in(pods)} pods by {len(policies)} policies", f"{seconds:.3f} s", "< 1 s")
    assert seconds < 1


def test_a_watch_of_a_thousand_changes_a_second_is_cheap(clusters: Clusters, measured: Measured) -> None:
    spent = spend("watch", clusters, FEW)["told"]
    rate, share = spent["changes"] / WATCHED_SECONDS, spent["cpu"] / WATCHED_SECONDS
    per_thousand = share / rate * 1000
    measured(f"Kubernetes: CPU of following {rate:.0f} pod changes a second", f"{share:.0%} of a core", "<= 20 %")
    assert rate > 300
    assert per_thousand <= 0.2


def test_large_objects_do_not_take_much_memory(clusters: Clusters, measured: Measured) -> None:
    spent = spend("large", clusters, FEW)
    assert spent["told"] == 100
    measured(
        "Kubernetes: memory of listing 100 MB in 100 objects, at its peak", f"{spent['peak'] / 1e6:.0f} MB", "<= 50 MB"
    )
    assert spent["peak"] <= 50e6
