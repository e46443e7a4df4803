"""A whole cluster, healthy and broken, as `check` tells of it with the roles that `list --rbac` prints, and without each right."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.infrastructure.kubernetes import KubernetesCluster
from collectors.performance_configuration.resource_allocation import ResourceAllocation
from collectors.systems.kubernetes.model.kinds import DAEMON_SETS, STATEFUL_SETS
from collectors.systems.kubernetes.model.rbac import Right, roles
from exporter.collector import Collector
from exporter.verdict import Status
from tests.collectors.systems.kubernetes.clusters import (
    asking,
    autoscaler,
    container,
    default_deny,
    ingress,
    ingress_class,
    limit_range,
    manifest,
    metered,
    network_policy,
    quota,
    reader,
    recommend,
    service,
    vertical,
)
from tests.servers.faults import refused
from tests.servers.kubernetes import CRDS, ControlPlane, node, pod_spec, workload
from tests.servers.older_kubernetes import OlderControlPlane
from tests.servers.process import scratch
from tests.support import make_context, verify

PROGRAM = Path(sys.executable).with_name("checklist-exporter")
ENFORCE = "pod-security.kubernetes.io/enforce"
SECTIONS: Mapping[str, type[Collector[Any, Any]]] = {
    "kubernetes": KubernetesCluster,
    "resource_allocation": ResourceAllocation,
}
ITEMS = [f"{section}.{name}" for section, collector in SECTIONS.items() for name in collector.items()]
#: The options of both sections in the tests' cluster.
KUBERNETES: Mapping[str, Any] = {
    "targets": [{"name": "shop", "namespaces": ["shop"]}],
    "hpa_required": ["shop/web"],
    "vpa_required": ["shop/web"],
    "ingress_controllers": ["ingress/traefik"],
    "supported_minor": "1.34",
}
RESOURCES: Mapping[str, Any] = {"targets": [{"name": "shop", "namespaces": ["shop"]}]}


def healthy(cluster: ControlPlane) -> None:
    """Make a small shop in which everything is as it shall be."""
    cluster.define(*CRDS["metrics"], *CRDS["vpa"], *CRDS["gateway"])
    for name, labels in (("shop", {ENFORCE: "restricted"}), ("ingress", {})):
        cluster.apply(manifest("v1", "Namespace", name, metadata={"labels": labels}))
        cluster.wait(f"/api/v1/namespaces/{name}/serviceaccounts/default", bool, "its service account")
    everything = quota("shop")
    incoming = {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]}
    to_web = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [incoming]}
    cluster.apply(default_deny("shop"), network_policy("web", "shop", **to_web), everything, limit_range("shop"))
    cluster.wait(cluster.path(everything), lambda found: found.get("status", {}).get("used"), "the quota to be counted")
    workloads = [
        workload("shop", "web", replicas=2),
        workload("ingress", "traefik"),
        workload("kube-system", "vpa-recommender"),
    ]
    cluster.apply(*workloads)
    cluster.wait_ready(*workloads)
    metered(cluster, "shop", cpu="7m", memory="8Mi")
    horizontal, sized = autoscaler("web", "shop"), vertical("web", "shop")
    route = ingress("web", "shop", "traefik")
    cluster.apply(
        horizontal, sized, ingress_class("traefik", "traefik.io/ingress-controller"), service("web", "shop"), route
    )
    cluster.patch_status(route, loadBalancer={"ingress": [{"ip": "192.0.2.80"}]})
    recommend(cluster, sized)
    cluster.wait(
        cluster.path(horizontal),
        lambda found: any(one["type"] == "ScalingActive" for one in found.get("status", {}).get("conditions", ())),
        "the autoscaler to be judged",
    )
    cluster.wait(
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
        lambda found: any(len(one.get("endpoints") or ()) == 2 for one in found["items"]),
        "the endpoints of web",
    )


def too_old(cluster: ControlPlane) -> str:
    """A version of kubelets that is one minor version older than the cluster's API server lets them be."""
    return f"v1.{int(cluster.version.split('.')[1]) - 4}.1"


def broken(cluster: ControlPlane) -> None:
    """Break everything that was healthy, in the ways in which a cluster breaks."""
    long_ago = (datetime.now(UTC) - timedelta(minutes=14)).strftime("%Y-%m-%dT%H:%M:%SZ")
    lost = node("node-3", kwok=False, version=too_old(cluster))
    cluster.apply(lost)
    silent = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": long_ago}
    cluster.patch_status(lost, conditions=[silent])
    cluster.wait(
        cluster.path(lost),
        lambda found: any(
            taint["key"] == "node.kubernetes.io/unreachable" for taint in found["spec"].get("taints", ())
        ),
        "it to be kept free of pods",
    )
    behind = {"service": {"namespace": "kube-system", "name": "metrics-server"}, "group": "external.metrics.k8s.io"}
    versions = {"version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100}
    cluster.apply(
        manifest("apiregistration.k8s.io/v1", "APIService", "v1beta1.external.metrics.k8s.io", spec=behind | versions)
    )
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    audit = {"pod-security.kubernetes.io/audit": "restricted", ENFORCE: None}
    cluster.call("PATCH", cluster.path(shop), {"metadata": {"labels": audit}}, content="application/merge-patch+json")
    cluster.delete(default_deny("shop"), quota("shop"), limit_range("shop"), autoscaler("web", "shop"))
    bare = container(securityContext={"privileged": True, "allowPrivilegeEscalation": None}) | {"resources": {}}
    debug = workload("shop", "debug", replicas=3, spec=pod_spec(containers=[bare]))
    down = [workload("ingress", "traefik", replicas=0), workload("kube-system", "vpa-recommender", replicas=0)]
    cluster.apply(debug, *down)
    cluster.wait_ready(debug)
    recommend(cluster, vertical("web", "shop"), low="100m", high="1")
    cluster.apply(autoscaler("debug", "shop", minReplicas=3, maxReplicas=3))
    cluster.wait(
        cluster.path(autoscaler("debug", "shop")),
        lambda found: any(one["type"] == "ScalingActive" for one in found.get("status", {}).get("conditions", ())),
        "the autoscaler to be judged",
    )
    for gone in down:
        cluster.wait(
            cluster.path(gone), lambda found: found["status"].get("observedGeneration") == 2, "it to be scaled down"
        )


@dataclass(frozen=True)
class Told:
    """What `check` ended with and printed, and each line's status and sentence."""

    code: int
    table: str
    seen: Mapping[str, tuple[str, str]]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the exporter's command line."""
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def check(cluster: ControlPlane, folder: Path, **client: Any) -> Told:
    """Verify the cluster by command line, as an account with the roles that are printed for the configuration.

    `client` are further options of clients.kubernetes.
    """
    config, evidence = folder / "config.yaml", folder / "evidence"
    evidence.mkdir(exist_ok=True)
    document: dict[str, Any] = {
        "evidence": str(evidence),
        "clients": {"kubernetes": {"kubeconfig": str(cluster.kubeconfigs["admin"]), **client}},
        "sections": {"kubernetes": dict(KUBERNETES), "resource_allocation": dict(RESOURCES)},
    }
    config.write_text(yaml.safe_dump(document))
    printed = run("list", "--rbac", "--config.file", config)
    assert printed.returncode == 0, printed.stderr
    document["clients"]["kubernetes"]["kubeconfig"] = str(reader(cluster, list(yaml.safe_load_all(printed.stdout))))
    config.write_text(yaml.safe_dump(document))
    command = ("check", "--config.file", config, "--section", "kubernetes", "--section", "resource_allocation")
    ended = run(*command)
    lines = json.loads(run(*command, "--format", "json").stdout)["items"]
    seen = {f"{line['section']}.{line['item']}": (line["status"], line["summary"]) for line in lines}
    return Told(ended.returncode, ended.stdout, {item: seen[item] for item in ITEMS})


@pytest.fixture(params=[ControlPlane, OlderControlPlane], ids=lambda kind: kind.version)
def cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A cluster of its own, with nothing but what a test makes in it."""
    with scratch("kubernetes") as folder, request.param(folder) as cluster:
        healthy(cluster)
        yield cluster


def test_a_healthy_cluster_and_then_a_broken_one(cluster: ControlPlane, tmp_path: Path) -> None:
    told = check(cluster, tmp_path)
    assert {item: status for item, (status, _) in told.seen.items()} == dict.fromkeys(ITEMS, "ok"), told.table
    assert told.code == 0
    for client in ({"watch": True}, {"namespaces": ["shop", "ingress", "kube-system"]}):
        same = check(cluster, tmp_path, **client)
        assert {item: status for item, (status, _) in same.seen.items()} == dict.fromkeys(ITEMS, "ok"), same.table
    broken(cluster)
    told = check(cluster, tmp_path)
    assert {item: status for item, (status, _) in told.seen.items()} == dict.fromkeys(ITEMS, "failed"), told.table
    assert told.code == 1
    for item, words in {
        "kubernetes.nodes_ready": "Node node-3 is not Ready since 14 minutes (grace 5m)",
        "kubernetes.version_supported": f"The kubelet {too_old(cluster)} on 1 node (node-3) is too old",
        "kubernetes.control_plane_running": "APIService v1beta1.external.metrics.k8s.io is not available",
        "kubernetes.network_policies_configured": "No network policy covers ingress of 3 of 5 pods in shop: Deployment debug",
        "kubernetes.pod_security_enforced": "Namespace shop enforces no Pod Security level",
        "kubernetes.quotas_and_limits_set": "Namespace shop has no ResourceQuota for CPU",
        "kubernetes.hpa_configured": "Deployment shop/web has no HorizontalPodAutoscaler",
        "kubernetes.vpa_configured": "Deployment kube-system/vpa-recommender is scaled to 0 replicas",
        "kubernetes.ingress_operational": "Deployment ingress/traefik is scaled to 0 replicas",
        "resource_allocation.cpu_limits_set": "3 of 5 containers have no CPU limit",
        "resource_allocation.memory_limits_set": "3 of 5 containers have no memory limit",
        "resource_allocation.resource_requests_configured": "3 pods of QoS class BestEffort are evicted first",
        "resource_allocation.hpa_thresholds_configured": "HorizontalPodAutoscaler shop/debug",
        "resource_allocation.vpa_recommendations_reviewed": "10m cpu is requested (recommended 100m to 1)",
    }.items():
        assert words in told.seen[item][1]


async def audited(cluster: ControlPlane, kubeconfig: Path) -> dict[str, tuple[Status, str]]:
    """What an account sees of every item."""
    seen: dict[str, tuple[Status, str]] = {}
    async with asking(cluster, kubeconfig, requests_per_second=1000) as clients:
        context = make_context(clients=clients)
        for section, options in (("kubernetes", KUBERNETES), ("resource_allocation", RESOURCES)):
            collector = SECTIONS[section]
            assert collector.Target is not None
            shared = {name: value for name, value in options.items() if name != "targets"}
            target = collector.Target.model_validate_json(json.dumps({**shared, **options["targets"][0]}))
            settings = collector.Settings.model_validate({"targets": (target,)})
            for name, observed in (await verify(collector, settings, target, context=context)).items():
                seen[f"{section}.{name}"] = observed.result.status, observed.result.summary
    return seen


def needed(item: str) -> list[Right]:
    """The rights that an item needs in a cluster."""
    section, _, name = item.partition(".")
    return [need for need in SECTIONS[section].items()[name].needs if isinstance(need, Right)]


def parts(right: Right) -> list[Right]:
    """A right to several kinds as one for each; what everybody may ask the API server about itself is none."""
    return [
        Right(right.verb, [kind], option=right.option, namespace=right.namespace, names=right.names)
        for kind in right.kinds
    ]


async def test_without_any_one_right_just_the_items_that_need_it_are_unknown(cluster: ControlPlane) -> None:
    of_item = {item: {part for right in needed(item) for part in parts(right)} for item in ITEMS}
    everything = sorted({right for rights in of_item.values() for right in rights})
    whole = await audited(cluster, reader(cluster, roles(everything, (), watch=False)))
    assert {item: status for item, (status, _) in whole.items()} == dict.fromkeys(ITEMS, Status.OK)
    for left_out in everything:
        account = reader(cluster, roles([right for right in everything if right != left_out], (), watch=False))
        seen = await audited(cluster, account)
        unknown = {item for item, (status, _) in seen.items() if status is Status.UNKNOWN}
        # Workloads of ingress controllers and recommenders are listed by kind: those of other kinds are not asked for.
        by_kind = {"kubernetes.ingress_operational"} if left_out.kinds[0] in (STATEFUL_SETS, DAEMON_SETS) else set()
        wanted = {item for item in ITEMS if left_out in of_item[item]} - by_kind
        assert unknown == wanted, left_out
        assert all(status is Status.OK for item, (status, _) in seen.items() if item not in unknown)
        for item in unknown:
            assert f"cannot {left_out.verb} {left_out.kinds[0]}" in seen[item][1]


async def test_of_a_cluster_that_does_not_answer_nothing_is_known(control_plane: ControlPlane) -> None:
    async with refused() as (host, port):
        seen = await audited(
            control_plane, control_plane.write_kubeconfig("admin", "a-token", url=f"https://{host}:{port}")
        )
    assert {item: status for item, (status, _) in seen.items()} == dict.fromkeys(ITEMS, Status.UNKNOWN)
    assert all("the connection was refused" in summary for _, summary in seen.values())


@pytest.mark.parametrize("section", SECTIONS)
def test_the_roles_in_the_documentation_are_those_that_are_printed(section: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "sections" / f"{section}.md").read_text()
    (shown,) = re.findall(r"## Rights\n.*?```\n(.*?)```", page, re.DOTALL)
    rights = [right for item in ITEMS if item.startswith(f"{section}.") for right in needed(item)]
    assert list(yaml.safe_load_all(shown)) == roles(rights, (), watch=True)
