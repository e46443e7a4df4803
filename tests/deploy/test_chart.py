"""The chart renders, refuses what is wrong, and gives what runs on a real cluster with the rights that it needs and no more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.catalogue import Catalogue
from exporter.lease import Lease, Unavailable
from exporter.reference import roles
from exporter.verdict import Status
from tests.collectors.infrastructure.test_kubernetes import look
from tests.collectors.performance_configuration.test_resource_allocation import see as see_resources
from tests.collectors.systems.kubernetes.clusters import default_deny, limit_range, quota
from tests.servers.helm import Helm, Json, manifests
from tests.servers.kubernetes import CRDS, ControlPlane

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart"
EVERYTHING: Json = {
    "config": {"environment": "staging", "clients": {"kubernetes": {"namespaces": ["shop"]}}},
    "args": ["--log.format=json"],
    "scheme": "HTTPS",
    "env": [{"name": "GIT_SHA", "value": "abc"}],
    "envFrom": [{"secretRef": {"name": "credentials"}}],
    "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "imagePullSecrets": [{"name": "pull"}],
    "serviceAccount": {"annotations": {"example.com/role": "reader"}},
    "persistence": {"enabled": True, "storageClass": "fast"},
    "service": {"annotations": {"example.com/a": "b"}},
    "serviceMonitor": {
        "enabled": True,
        "additionalLabels": {"release": "kube-prometheus-stack"},
        "relabelings": [{"action": "labeldrop", "regex": "pod"}],
        "metricRelabelings": [{"action": "labeldrop", "regex": "team"}],
        "tlsConfig": {"ca": {"configMap": {"name": "ca", "key": "ca.crt"}}, "serverName": "checklist.example.com"},
        "basicAuth": {
            "username": {"name": "scraping", "key": "username"},
            "password": {"name": "scraping", "key": "password"},
        },
    },
    "prometheusRule": {"enabled": True, "additionalLabels": {"release": "kube-prometheus-stack"}},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Checklist"}},
    "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]},
    "podDisruptionBudget": {"enabled": True},
    "canaries": {
        "enabled": True,
        "everyNode": True,
        "allowed": {"labels": {"role": "orders"}, "open": ["redis.data:6379"]},
        "denied": {"labels": {"role": "guest"}, "open": ["[2001:db8::1]:443"], "closed": ["redis.data:6379"]},
    },
    "annotations": {"example.com/g": "h"},
    "commonLabels": {"example.com/i": "j"},
    "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["db.example.com"]}],
    "dnsPolicy": "ClusterFirst",
    "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "startupProbe": {"failureThreshold": 30},
    "ingress": {"enabled": True, "className": "traefik", "hosts": ["checklist.example.com"]},
    "podAnnotations": {"example.com/c": "d"},
    "podLabels": {"example.com/e": "f"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical",
    "extraManifests": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "{{ .Release.Name }}-extra", "namespace": "monitoring"},
        }
    ],
}


def render(helm: Helm, values: Mapping[str, Any] | None = None, namespace: str = "monitoring") -> dict[str, Json]:
    """The rendered objects, by kind (the first of each kind)."""
    done = helm("template", "checks", CHART, "--namespace", namespace, "--kube-version", "v1.37.2", values=values)
    assert done.returncode == 0, done.stderr
    found: dict[str, Json] = {}
    for manifest in manifests(done.stdout):
        found.setdefault(manifest["kind"], manifest)
    return found


def test_the_links_of_the_chart_lead_somewhere() -> None:
    links = [path for path in (CHART / "files").rglob("*") if path.is_symlink()]
    assert len(links) >= 5
    assert all(link.exists() and link.resolve().is_relative_to(ROOT) for link in links)
    boards = {path.name for path in (ROOT / "dashboards").glob("*.json")}
    assert {path.name for path in (CHART / "files" / "dashboards").iterdir()} == boards


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"enabled", "tags"} == set(values)
    for name, known in values.items():
        if (properties := schema["properties"][name].get("properties")) is not None:
            assert set(properties) == set(known), name


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_it_has_no_fault_that_helm_finds(helm: Helm, values: Json) -> None:
    done = helm("lint", "--strict", "--kube-version", "v1.37.2", CHART, values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"servicemonitor": {}},
        {"service": {"port": "many"}},
        {"scheme": "https"},
        {"persistence": {"size": "a lot"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"serviceMonitor": {"interval": "30"}},
        {"prometheusRule": {"runbooks": "wiki"}},
    ],
)
def test_values_that_are_wrong_are_refused(helm: Helm, wrong: Json) -> None:
    done = helm("template", "checks", CHART, values=wrong)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_by_default_it_is_a_pod_that_reads_and_nothing_else(helm: Helm) -> None:
    found = render(helm)
    kinds = {"ConfigMap", "Deployment", "Service", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"}
    assert set(found) - {"Role", "RoleBinding"} == kinds
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["image"] == "checklist-exporter:0.1.0"
    assert found["ClusterRole"]["rules"] == next(yaml.safe_load_all(roles(Catalogue.load())))["rules"]
    for role in (found["ClusterRole"], found.get("Role", {"rules": []})):
        for rule in role["rules"]:
            assert set(rule["verbs"]) <= {"get", "list", "watch"}
            assert not [name for name in rule.get("resources", ()) if name == "secrets" or "/" in name or name == "*"]


@pytest.mark.parametrize(("values", "scheme"), [({}, "HTTP"), (EVERYTHING, "HTTPS")], ids=["defaults", "everything"])
def test_kubelets_and_prometheus_ask_as_the_exporter_is_served(helm: Helm, values: Json, scheme: str) -> None:
    found = render(helm, {**values, "serviceMonitor": {"enabled": True} | values.get("serviceMonitor", {})})
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    (endpoint,) = found["ServiceMonitor"]["spec"]["endpoints"]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == scheme
    assert endpoint["scheme"] == scheme.lower()
    for option in ("tlsConfig", "basicAuth"):
        assert endpoint.get(option) == values.get("serviceMonitor", {}).get(option)


def test_the_roles_of_a_configuration_take_the_place_of_those_for_everything(helm: Helm) -> None:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    role = {"kind": "Role", "metadata": {"name": "checklist-exporter", "namespace": "shop"}, "rules": [rule]}
    cluster_role = {"kind": "ClusterRole", "metadata": {"name": "checklist-exporter"}, "rules": [rule]}
    found = render(helm, {"rbac": {"roles": yaml.safe_dump_all([role, cluster_role])}})
    assert found["Role"]["rules"] == found["ClusterRole"]["rules"] == [rule]
    assert found["RoleBinding"]["metadata"]["namespace"] == "shop"
    assert found["RoleBinding"]["subjects"][0]["namespace"] == "monitoring"
    only = render(helm, {"rbac": {"roles": yaml.safe_dump(role)}})
    assert "ClusterRole" not in only
    assert "ClusterRole" not in render(helm, {"rbac": {"create": False}})
    done = helm("template", "checks", CHART, "--kube-version", "v1.37.2", values={"rbac": {"roles": "{"}})
    assert "rbac.roles cannot be read" in done.stderr


REPLICAS: Json = {
    "replicas": 2,
    "config": {"state": {"dsn_file": "/etc/state/dsn"}, "leader_election": {"lease_duration": "20s"}},
    "podDisruptionBudget": {"enabled": True},
}


def test_several_replicas_elect_one_with_the_right_to_one_lease(helm: Helm) -> None:
    done = helm("template", "checks", CHART, "--namespace", "monitoring", "--kube-version", "v1.37.2", values=REPLICAS)
    assert done.returncode == 0, done.stderr
    found = {(one["kind"], one["metadata"]["name"]): one for one in manifests(done.stdout)}
    spec = found["Deployment", "checks-checklist-exporter"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate")
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == spec["selector"]["matchLabels"]
    role = found["Role", "checks-checklist-exporter-lease"]
    assert role["metadata"]["namespace"] == "monitoring"
    assert role["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["checks-checklist-exporter"],
            "verbs": ["get", "update"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    ]
    configured = yaml.safe_load(found["ConfigMap", "checks-checklist-exporter"]["data"]["config.yaml"])
    election = {"lease_duration": "20s", "name": "checks-checklist-exporter", "namespace": "monitoring"}
    assert configured["leader_election"] == election
    assert found["PodDisruptionBudget", "checks-checklist-exporter"]["spec"]["maxUnavailable"] == 1
    assert "checks-checklist-exporter-lease" not in str(render(helm))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"config": {}}, "more than one replica needs config.leader_election and config.state.dsn"),
        ({"config": {"leader_election": None, "state": {"file": "/a"}}}, "more than one replica needs"),
        ({"persistence": {"enabled": True}}, "disable persistence"),
    ],
)
def test_replicas_that_would_each_verify_are_refused(helm: Helm, wrong: Json, why: str) -> None:
    done = helm("template", "checks", CHART, "--kube-version", "v1.37.2", values=REPLICAS | wrong)
    assert done.returncode != 0
    assert why in done.stderr


def test_the_right_to_the_lease_is_enough(helm: Helm, control_plane: ControlPlane, tmp_path: Path) -> None:
    namespace = control_plane.namespace()
    done = helm("template", "checks", CHART, "--namespace", namespace, "--kube-version", "v1.37.2", values=REPLICAS)
    (role,) = [one for one in manifests(done.stdout) if one["metadata"]["name"] == "checks-checklist-exporter-lease"][
        :1
    ]
    kubeconfig = control_plane.account(namespaced={namespace: role["rules"]})
    lease = Lease("checks-checklist-exporter", namespace, kubeconfig, None, 20)
    assert lease.get() is None
    made = lease.create("a", 15)
    assert lease.replace(made, "", 1).holder == ""
    with pytest.raises(Unavailable, match="403"):
        Lease("another", namespace, kubeconfig, None, 20).get()


def test_names_can_be_chosen(helm: Helm) -> None:
    assert render(helm)["Service"]["metadata"]["name"] == "checks-checklist-exporter"
    assert render(helm, {"nameOverride": "checks"})["Service"]["metadata"]["name"] == "checks"
    assert render(helm, {"fullnameOverride": "ready"})["Service"]["metadata"]["name"] == "ready"
    account = {"serviceAccount": {"create": False, "name": "given"}}
    assert render(helm, account)["ClusterRoleBinding"]["subjects"][0]["name"] == "given"


def test_rules_and_dashboards_are_those_of_the_project(helm: Helm) -> None:
    done = helm("template", "checks", CHART, "--kube-version", "v1.37.2", values=EVERYTHING)
    found = manifests(done.stdout)
    (rule,) = [manifest for manifest in found if manifest["kind"] == "PrometheusRule"]
    assert rule["spec"] == yaml.safe_load((ROOT / "alerts" / "prometheusrule.yaml").read_text())["spec"]
    boards = [manifest["data"] for manifest in found if "grafana_dashboard" in manifest["metadata"].get("labels", {})]
    shown = {name: json.loads(text) for data in boards for name, text in data.items()}
    files = (ROOT / "dashboards").glob("*.json")
    assert shown == {f"checklist-{path.name}": json.loads(path.read_text()) for path in files}


def test_rules_know_the_job_and_where_the_runbooks_are(helm: Helm) -> None:
    values = {
        "nameOverride": "readiness",
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "runbooks": "https://wiki.example.org/runbooks/"},
    }
    found = render(helm, values)
    monitor, rule = found["ServiceMonitor"], found["PrometheusRule"]
    job = found["Service"]["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    assert job == "readiness"
    shipped = yaml.safe_load((ROOT / "alerts" / "prometheusrule.yaml").read_text())["spec"]
    text = json.dumps(shipped).replace('job=\\"checklist-exporter\\"', f'job=\\"{job}\\"')
    text = text.replace("https://runbooks.example.com/checklist-exporter/", "https://wiki.example.org/runbooks/")
    assert rule["spec"] == json.loads(text) != shipped


def test_everything_is_accepted_and_runs_where_pods_are_restricted(helm: Helm, control_plane: ControlPlane) -> None:
    control_plane.define(*CRDS["prometheus"])
    namespace = control_plane.namespace(**{"pod-security.kubernetes.io/enforce": "restricted"})
    values = EVERYTHING | {"persistence": {"enabled": False}, "extraManifests": []}
    done = helm("template", "checks", CHART, "--namespace", namespace, "--kube-version", "v1.37.2", values=values)
    found = manifests(done.stdout)
    control_plane.apply(*found)
    (deployment,) = [manifest for manifest in found if manifest["kind"] == "Deployment"]
    control_plane.wait_ready(deployment)
    (pod,) = control_plane.pods(namespace, "app.kubernetes.io/name=checklist-exporter")
    canaries = f"/api/v1/namespaces/{namespace}/pods"
    control_plane.wait(canaries, lambda pods: len(pods["items"]) >= 7, "a canary of each half on every node")
    assert pod["spec"]["serviceAccountName"] == "checks-checklist-exporter"


def deployment(helm: Helm, **values: Any) -> Json:
    """The spec of the rendered pod."""
    spec: Json = render(helm, values)["Deployment"]["spec"]["template"]["spec"]
    return spec


def packed(tmp_path: Path, **changes: str) -> Path:
    """A copy of the chart with other fields of Chart.yaml."""
    copy = tmp_path / "checklist-exporter"
    shutil.copytree(CHART, copy)
    about = yaml.safe_load((copy / "Chart.yaml").read_text()) | changes
    (copy / "Chart.yaml").write_text(yaml.safe_dump(about))
    return copy


def test_it_is_a_subchart_with_a_condition(helm: Helm, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    packed(parent / "charts")
    dependency = {"name": "checklist-exporter", "version": "0.1.0", "condition": "checklist-exporter.enabled"}
    about = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(about))
    for enabled in (True, False):
        values = {"checklist-exporter": {"enabled": enabled}, "global": {"imageRegistry": "registry.example.com"}}
        done = helm("template", "checks", parent, "--kube-version", "v1.37.2", values=values)
        assert done.returncode == 0, done.stderr
        assert ("registry.example.com/checklist-exporter:0.1.0" in done.stdout) is enabled


def test_build_metadata_is_no_label(helm: Helm, tmp_path: Path) -> None:
    chart = packed(tmp_path, version="0.1.0+build.7", appVersion="0.1.0+build.7")
    done = helm("template", "checks", chart, "--kube-version", "v1.37.2")
    assert done.returncode == 0, done.stderr
    for found in manifests(done.stdout):
        assert not [value for value in found["metadata"]["labels"].values() if "+" in value]
    assert 'image: "checklist-exporter:0.1.0_build.7"' in done.stdout


def test_one_release_name_in_two_namespaces(helm: Helm) -> None:
    names = [render(helm, namespace=namespace)["ClusterRole"]["metadata"]["name"] for namespace in ("one", "two")]
    assert names == ["one-checks-checklist-exporter", "two-checks-checklist-exporter"]


def test_canaries_are_of_the_same_image_and_neither_of_the_exporters_service_nor_of_others(helm: Helm) -> None:
    allowed: Json = {"open": ["redis:6379"]}
    denied: Json = {"namespace": "guest", "open": ["api:80"], "closed": ["redis:6379"]}
    labels = {"team": "guest", "app.kubernetes.io/component": "web"}
    canaries: Json = {"enabled": True, "allowed": allowed, "denied": {**denied, "labels": labels}}
    values: Json = {"networkPolicy": {"enabled": True}, "canaries": canaries}
    done = helm("template", "checks", CHART, "--namespace", "monitoring", "--kube-version", "v1.37.2", values=values)
    assert done.returncode == 0, done.stderr
    found = {(one["kind"], one["metadata"]["name"]): one for one in manifests(done.stdout)}
    own = found["Service", "checks-checklist-exporter"]["spec"]["selector"]
    deployed = found["Deployment", "checks-checklist-exporter-canary-denied"]
    template = deployed["spec"]["template"]
    assert not own.items() <= template["metadata"]["labels"].items()
    assert template["metadata"]["labels"]["team"] == "guest"
    selector = found["Service", "checks-checklist-exporter-canary-denied"]["spec"]["selector"]
    assert selector.items() <= template["metadata"]["labels"].items()  # whatever labels were given
    assert deployed["metadata"]["namespace"] == "guest"
    (canary,) = template["spec"]["containers"]
    exporter = found["Deployment", "checks-checklist-exporter"]["spec"]["template"]["spec"]["containers"][0]
    assert (canary["image"], canary["securityContext"]) == (exporter["image"], exporter["securityContext"])
    assert canary["args"] == ["--web.listen-address=:9115", "--open=api:80", "--closed=redis:6379"]
    policy = found["NetworkPolicy", "checks-checklist-exporter-canary-denied"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]  # its own egress is what is tried
    egress = found["NetworkPolicy", "checks-checklist-exporter"]["spec"]["egress"]
    assert {"port": 9115} in [port for rule in egress for port in rule["ports"]]
    wrong = {"canaries": {"enabled": True, "allowed": allowed, "denied": {"open": ["api:80"]}}}
    done = helm("template", "checks", CHART, "--kube-version", "v1.37.2", values=wrong)
    assert "canaries.denied needs ports in open and closed" in done.stderr


async def test_it_passes_the_lines_that_it_verifies(helm: Helm, control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace(**{"pod-security.kubernetes.io/enforce": "restricted"})
    values = {"networkPolicy": {"enabled": True}}
    done = helm("template", "checks", CHART, "--namespace", namespace, "--kube-version", "v1.37.2", values=values)
    found = manifests(done.stdout)
    control_plane.apply(*found, default_deny(namespace), quota(namespace), limit_range(namespace))
    control_plane.wait_ready(*(manifest for manifest in found if manifest["kind"] == "Deployment"))
    (policy,) = [manifest for manifest in found if manifest["kind"] == "NetworkPolicy"]
    assert {"port": 443, "protocol": "TCP"} in policy["spec"]["egress"][0]["ports"]
    of_cluster = ("network_policies_configured", "pod_security_enforced", "quotas_and_limits_set")
    verdicts = await look(control_plane, namespace, items=of_cluster, psa_min_level="restricted")
    for item in ("cpu_limits_set", "memory_limits_set", "resource_requests_configured"):
        verdicts[item] = await see_resources(control_plane, item, namespace)
    assert {item: result.summary for item, result in verdicts.items() if result.status is not Status.OK} == {}


def test_security_contexts_can_be_set(helm: Helm) -> None:
    free = deployment(helm, podSecurityContext={"runAsUser": None, "runAsGroup": None, "fsGroup": None})
    assert free["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    own = deployment(helm, securityContext={"runAsUser": 1000})
    assert own["containers"][0]["securityContext"]["runAsUser"] == 1000


@pytest.mark.parametrize(
    ("option", "volume"),
    [
        ("existingConfigMap", {"name": "config", "configMap": {"name": "mine"}}),
        ("existingSecret", {"name": "config", "secret": {"secretName": "mine"}}),
    ],
)
def test_the_configuration_may_exist_already(helm: Helm, option: str, volume: Json) -> None:
    found = render(helm, {option: "mine", "configKey": "checklist.yaml"})
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert volume in pod["volumes"]
    assert "--config.file=/etc/checklist-exporter/checklist.yaml" in pod["containers"][0]["args"]
    assert "ConfigMap" not in found


def test_containers_beside_it_images_by_digest_and_ways_in(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    values: Json = {
        "image": {"registry": "registry.example.com", "digest": digest},
        "extraContainers": [{"name": "git-sync", "image": "git-sync:v4"}],
        "initContainers": [{"name": "wait", "image": "busybox:1"}],
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["checklist.example.com"]},
        "serviceMonitor": {"enabled": True, "namespace": "prometheus", "honorLabels": True, "sampleLimit": 5000},
    }
    found = render(helm, values)
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"registry.example.com/checklist-exporter@{digest}"
    assert [one["name"] for one in (*pod["initContainers"], *pod["containers"])] == [
        "wait",
        "checklist-exporter",
        "git-sync",
    ]
    (rule,) = found["HTTPRoute"]["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "checks-checklist-exporter", "port": 9876}]
    monitor = found["ServiceMonitor"]
    assert (monitor["metadata"]["namespace"], monitor["spec"]["sampleLimit"]) == ("prometheus", 5000)
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["monitoring"]}
    assert monitor["spec"]["endpoints"][0]["honorLabels"] is True
