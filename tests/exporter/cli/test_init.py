"""`init` on a real cluster and a real Prometheus: what it finds, what it proposes, and that its result can be used as it is."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from collectors.discovery.found import Cluster
from exporter.catalogue import Catalogue
from exporter.config import ConfigError, load
from tests.exporter.cli.conftest import Ended
from tests.servers.alertmanager import Alertmanager
from tests.servers.certificates import authority
from tests.servers.exporters import Exposition
from tests.servers.kubernetes import ControlPlane, control_plane, pod_spec, workload
from tests.servers.nats import Nats, nats_server
from tests.servers.nginx import nginx, server_block
from tests.servers.postgresql import cluster as postgresql_cluster
from tests.servers.postgresql import postgresql_18
from tests.servers.process import free_port, popen, scratch, unprivileged, wait_until
from tests.servers.prometheus import Prometheus, prometheus, scrape
from tests.servers.redis import replication

__all__ = ["control_plane", "nats_server", "prometheus"]

Run = Callable[..., Ended]
Manifest = Mapping[str, Any]


def service(namespace: str, name: str, *ports: int, app: str = "", headless: bool = False, named: str = "") -> Manifest:
    entries = [{"name": f"{named}{number}" if named else f"p{number}", "port": number} for number in ports]
    spec: dict[str, Any] = {"selector": {"app": app or name}, "ports": entries}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec | ({"clusterIP": "None"} if headless else {}),
    }


def running(namespace: str, name: str, image: str, **options: Any) -> dict[str, Any]:
    containers = [container | {"image": image} for container in pod_spec()["containers"]]
    return workload(namespace, name, spec=pod_spec(containers=containers), **options)


def ingress(namespace: str, *hosts: str) -> Manifest:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rules = [
        {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}} for host in hosts
    ]
    about = {"name": "web", "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": about, "spec": {"rules": rules}}


def cron_job(namespace: str, name: str) -> Manifest:
    template = {"spec": {"template": {"spec": pod_spec(restartPolicy="Never")}}}
    spec = {"schedule": "0 3 1 1 *", "jobTemplate": template}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


@pytest.fixture(scope="module")
def shop(control_plane: ControlPlane) -> str:
    """A namespace as shops have them: stores of every kind, what is only about them, services, and the monitoring."""
    namespace = control_plane.namespace("shop")
    workloads = [
        running(namespace, "cache", "docker.io/bitnami/valkey:8", kind="StatefulSet", replicas=2),
        running(namespace, "sessions", "redis:7-alpine"),
        running(namespace, "broker", "nats:2.11", kind="StatefulSet", replicas=3),
        running(namespace, "vectors", "qdrant/qdrant:v1.13", kind="StatefulSet"),
        running(namespace, "orders", "ghcr.io/cloudnative-pg/postgresql:17", kind="StatefulSet", replicas=2),
        running(namespace, "graph", "neo4j:5", kind="StatefulSet"),
        running(namespace, "redis-exporter", "oliver006/redis_exporter:v1"),
        running(namespace, "web", "registry.example.com/web:3"),
        running(namespace, "worker", "registry.example.com/worker:3"),
        running(namespace, "metrics", "quay.io/prometheus/prometheus:v3.5.0"),
        running(namespace, "boards", "grafana/grafana:12"),
    ]
    control_plane.apply(
        *workloads,
        service(namespace, "cache", 6379, headless=True),
        service(namespace, "sessions", 6379),
        service(namespace, "broker", 4222, 8222, headless=True),
        service(namespace, "vectors", 6333, 6334, headless=True),
        service(namespace, "orders", 5432, headless=True),
        service(namespace, "graph", 7687, headless=True),
        service(namespace, "redis-exporter", 9121, named="http-"),
        service(namespace, "web", 80),
        service(namespace, "metrics", 9090),
        service(namespace, "boards", 80),
        ingress(namespace, "shop.example.com", "*.example.com", "api.shop.example.com"),
        cron_job(namespace, "orders-backup"),
        cron_job(namespace, "newsletter"),
    )
    control_plane.wait_ready(*workloads)
    return namespace


@pytest.fixture(scope="module")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """An account that may list what `init` lists, and nothing else."""
    rules = [
        {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["list"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": ["list"]},
        {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["list"]},
    ]
    return control_plane.account(rules)


def uncommented(text: str, section: str) -> str:
    """The configuration with a section in force that was commented out."""
    block = re.search(rf"^  # {section}:.*\n((?:  #   .*\n)*)", text, re.MULTILINE)
    assert block is not None
    return text.replace(block[0], re.sub(r"^  # ", "  ", block[0], flags=re.MULTILINE))


def test_a_cluster_becomes_a_configuration(run: Run, shop: str, kubeconfig: Path, tmp_path: Path) -> None:
    file = tmp_path / "checklist.yaml"
    ended = run("init", "--kubeconfig", kubeconfig, "--namespace", shop, "--output", file)
    assert (ended.code, ended.out) == (0, "")
    assert f"Wrote {file}" in ended.err
    assert run("config", "check", "--config.file", file).code == 0
    found = yaml.safe_load(file.read_text())
    assert found["clients"] == {"kubernetes": {"kubeconfig": str(kubeconfig), "namespaces": [shop]}}
    sections = found["sections"]
    assert sections.keys() - {"network_security"} == {
        *("kubernetes", "resource_allocation", "configuration_verification"),
        *("redis", "nats", "qdrant", "tls_certificates"),
    }
    assert sections["configuration_verification"]["targets"] == [{"name": "cluster", "namespaces": [shop]}]
    assert sections["redis"]["targets"] == [
        {
            "name": f"{shop}/cache",
            "mode": "replication",
            "nodes": [f"cache-0.cache.{shop}:6379", f"cache-1.cache.{shop}:6379"],
        },
        {"name": f"{shop}/sessions", "nodes": [f"sessions.{shop}:6379"]},
    ]
    [broker] = sections["nats"]["targets"]
    assert [node["server"] for node in broker["nodes"]] == [f"broker-{n}.broker.{shop}:4222" for n in range(3)]
    assert broker["nodes"][0]["monitoring"] == {"url": f"http://broker-0.broker.{shop}:8222"}
    assert sections["qdrant"]["targets"][0]["nodes"] == [{"url": f"http://vectors-0.vectors.{shop}:6333"}]
    assert [target["endpoint"] for target in sections["tls_certificates"]["targets"]] == [
        "api.shop.example.com:443",
        "shop.example.com:443",
    ]


def test_stores_of_operators_and_mirrors_are_found_by_services_labels_and_ports(
    run: Run, control_plane: ControlPlane, kubeconfig: Path
) -> None:
    namespace = control_plane.namespace("mirrored")
    named = "app.kubernetes.io/name"
    # What an operator's custom resource is to its pods: neither a StatefulSet nor a ReplicaSet.
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orders", "namespace": namespace}}
    control_plane.apply(owner)
    uid = control_plane.get(f"/api/v1/namespaces/{namespace}/configmaps/orders")["metadata"]["uid"]
    owned = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "orders", "uid": uid, "controller": True}]

    def pod(name: str, image: str, port: int, labels: Mapping[str, str], owners: Sequence[Manifest] = ()) -> Manifest:
        containers = [one | {"image": image, "ports": [{"containerPort": port}]} for one in pod_spec()["containers"]]
        about = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": list(owners)}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": pod_spec(containers=containers)}

    database = "ghcr.io/cloudnative-pg/postgresql:17"
    halves = [service(namespace, f"orders-{end}", 5432, app=f"orders-{end}") for end in ("rw", "ro")]
    control_plane.apply(
        pod("orders-1", database, 5432, {"app": "orders-rw"}, owned),
        pod("orders-2", database, 5432, {"app": "orders-ro"}, owned),
        pod("cache-0", "registry.example.com/mirror/4711:1", 6379, {"app": "cache", named: "valkey"}),
        pod("cache-exporter", "registry.example.com/mirror/4712:1", 9121, {named: "redis"}),
        *halves,
        service(namespace, "cache", 6379),
    )
    text = run("init", "--kubeconfig", kubeconfig, "--namespace", namespace).out
    assert f"@orders-rw.{namespace}:5432,orders-ro.{namespace}:5432/DATABASE" in text
    [cache] = yaml.safe_load(text)["sections"]["redis"]["targets"]
    assert cache["nodes"] == [f"cache.{namespace}:6379"]


@pytest.mark.parametrize(
    ("group", "wanted"),
    [
        ("security.istio.io", {"network_security": {"mesh": {}}}),
        ("policy.linkerd.io", {"network_security": {"linkerd": {}}}),
        ("velero.io", {}),
    ],
)
def test_custom_resources_show_what_is_installed(group: str, wanted: Mapping[str, Any], tmp_path: Path) -> None:
    discovery = Catalogue.load().discovery
    headings = {entry.section: entry.heading for entry in Catalogue.load().entries.values()}
    text = discovery.configuration(headings, {}, Cluster(groups=frozenset({group})), None, [], [])
    file = tmp_path / "checklist.yaml"
    file.write_text(text)
    sections = yaml.safe_load(text)["sections"]
    assert {name: found for name, found in sections.items() if name == "network_security"} == wanted
    assert ("Velero is installed" in text) == (group == "velero.io")
    assert load(file).config.sections.keys() >= wanted.keys()


def test_what_waits_for_a_person_is_right_once_it_is_uncommented(
    run: Run, shop: str, kubeconfig: Path, tmp_path: Path
) -> None:
    text = run("init", "--kubeconfig", kubeconfig, "--namespace", shop).out
    assert f"orders-0.orders.{shop}:5432,orders-1.orders.{shop}:5432/DATABASE" in text
    assert f"# CronJobs that seem to make backups: {shop}/orders-backup." in text
    assert f'# prometheus: {{url: "http://metrics.{shop}:9090"}}' in text
    assert f'# grafana: {{url: "http://boards.{shop}:80"' in text
    assert "redis-exporter" not in text.partition("# backend_api:")[0], "it is about a store, and none"
    for section, missing in (("postgresql", "dsn_file"), ("neo4j", "password_file")):
        file = tmp_path / f"{section}.yaml"
        file.write_text(uncommented(text, section))
        with pytest.raises(ConfigError) as raised:
            load(file)
        [problem] = raised.value.errors
        assert missing in str(problem)
        assert "No such file or directory" in str(problem)
    file.write_text(uncommented(text, "backend_api"))
    (target,) = [one for one in load(file).config.sections["backend_api"].targets if one.name == "web"]
    assert str(target.url).rstrip("/") == f"http://web.{shop}:80"
    file.write_text(uncommented(text, "payments"))
    assert load(file).config.sections["payments"].not_applicable == "The product takes no payments."


def test_every_section_is_mentioned_once(run: Run, shop: str, kubeconfig: Path) -> None:
    text = run("init", "--kubeconfig", kubeconfig, "--namespace", shop).out
    sections = re.findall(r"^  (?:# )?([a-z0-9_]+):", text.partition("sections:")[2], re.MULTILINE)
    assert sorted(sections) == sorted(Catalogue.load().sections)


def test_what_may_not_be_listed_is_said(run: Run, control_plane: ControlPlane, shop: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    text = run("init", "--kubeconfig", control_plane.account(rules), "--namespace", shop).out
    assert len(re.findall(r"^# Not seen: .*(services|ingresses|cronjobs).*\.$", text, re.MULTILINE)) == 3
    assert "redis" not in yaml.safe_load(text)["sections"], "its address is not known"
    refused = run("init", "--kubeconfig", control_plane.account(), "--namespace", shop)
    assert (refused.code, refused.out) == (3, "")
    assert "pods" in refused.err


def test_a_file_is_never_written_over(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "checklist.yaml"
    file.write_text("environment: mine\n")
    ended = run("init", "--output", file)
    assert (ended.code, ended.err) == (3, f"{file} exists already and was left as it is; choose another file.\n")
    assert file.read_text() == "environment: mine\n"


def test_a_prometheus_alone(run: Run, prometheus: Prometheus, tmp_path: Path) -> None:
    file = tmp_path / "checklist.yaml"
    assert run("init", "--prometheus", prometheus.url, "--output", file).code == 0
    found = yaml.safe_load(file.read_text())
    assert found["clients"] == {"prometheus": {"url": prometheus.url}}
    assert not found["sections"], "it scrapes nothing but itself"
    assert run("config", "check", "--config.file", file).code == 0


@pytest.mark.parametrize(
    ("address", "wanted"),
    [("http://127.0.0.1:{port}", "the connection was refused."), ("prometheus:9090", "--prometheus: ")],
)
def test_a_prometheus_that_cannot_be_asked(run: Run, address: str, wanted: str) -> None:
    ended = run("init", "--prometheus", address.format(port=free_port()))
    assert (ended.code, ended.out) == (3, "")
    assert wanted in ended.err


class Terminal(io.StringIO):
    """Standard input where somebody types."""

    def isatty(self) -> bool:
        return True


def test_a_person_is_asked_for_what_is_not_seen(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = [
        "staging",  # environment
        *("y", "db-0.example.com,db-1.example.com:5433"),
        *("y", "cache 0", "cache-0.example.com, [::1]:6380"),  # the first is no address
        "n",  # Neo4j
        "",  # Qdrant
        *("yes", "broker.example.com:4322"),
        "www.example.com,api.example.com:8443",
        *("n", "maybe", "no", "y", *("" for _ in range(5))),
    ]
    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in typed)))
    file = tmp_path / "checklist.yaml"
    ended = run("init", "--ask", "--output", file)
    assert ended.code == 0, ended.err
    assert "'cache 0' is no address: HOST or HOST:PORT, with commas between several." in ended.err
    assert "Answer y or n, or press Enter." in ended.err
    assert run("config", "check", "--config.file", file).code == 0
    found = yaml.safe_load(file.read_text())
    assert (found["environment"], found["clients"]) == ("staging", {})
    assert found["sections"] == {
        "redis": {
            "targets": [
                {"name": "redis", "mode": "replication", "nodes": ["cache-0.example.com:6379", "[::1]:6380"]},
            ]
        },
        "neo4j": {"not_applicable": "The product stores no graph."},
        "nats": {
            "targets": [
                {
                    "name": "nats",
                    "nodes": [
                        {"server": "broker.example.com:4322", "monitoring": {"url": "http://broker.example.com:8222"}}
                    ],
                }
            ]
        },
        "tls_certificates": {
            "targets": [
                {"name": "www.example.com", "endpoint": "www.example.com:443"},
                {"name": "api.example.com:8443", "endpoint": "api.example.com:8443"},
            ]
        },
        "openai": {"not_applicable": "The product uses no language model."},
        "payments": {"not_applicable": "The product takes no payments."},
    }
    assert "db-0.example.com:5432,db-1.example.com:5433/DATABASE" in file.read_text()
    assert "# communications: {}   # docs/sections/communications.md" in file.read_text(), "the product sends messages"
    assert "# signatories: {}   # verified by records in the folder `evidence`: docs/evidence.md" in file.read_text()


def test_who_answers_nothing_decides_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("\n" * 40))
    ended = run("init", "--ask")
    assert ended.code == 0, ended.err
    assert not yaml.safe_load(ended.out)["sections"]


def test_the_first_interrupt_at_a_question_ends_the_command(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    program = Path(sys.executable).with_name("checklist-exporter")
    with popen([program, "init", "--ask"], stdin=its, stdout=its, stderr=its, start_new_session=True) as asking:
        os.close(its)
        shown = b""
        while b"Environment" not in shown:
            shown += os.read(ours, 4096)
        # A signal between the question and the call that reads the answer would wait for the answer, in every Python program.
        wait_until(lambda: _sleeps(asking.pid), "it waits for an answer")
        os.killpg(asking.pid, signal.SIGINT)
        assert asking.wait(30) == 130
    os.close(ours)


def _sleeps(pid: int) -> bool:
    """Whether a process slept whenever it was looked at during a fifth of a second."""
    process = psutil.Process(pid)
    for _ in range(20):
        if process.status() != psutil.STATUS_SLEEPING:
            return False
        time.sleep(0.01)
    return True


def test_questions_require_a_terminal_and_may_be_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    ended = run("init", "--ask")
    assert (ended.code, ended.err) == (3, "--ask puts its questions on a terminal, and standard input is none.\n")
    monkeypatch.setattr("sys.stdin", Terminal("staging\n"))
    file = tmp_path / "checklist.yaml"
    assert run("init", "--ask", "--output", file).code == 130
    assert not file.exists()


@pytest.fixture
def product(
    nats_server: Nats, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prometheus, list[str]]]:
    """A Prometheus with an Alertmanager, and what a person who runs the product would type: stores and a site on loopback."""
    port = free_port()
    files = authority().intermediate().issue("localhost").write(tmp_path, "site")
    with ExitStack() as stack:
        folder = stack.enter_context(scratch("redis", unprivileged()))
        primary, replica = stack.enter_context(replication(folder))
        manager = stack.enter_context(Alertmanager(tmp_path_factory.mktemp("alertmanager")))
        shop = stack.enter_context(Exposition("orders_total 3"))
        scrapes = [scrape("shop", shop.port)]
        server = Prometheus(tmp_path_factory.mktemp("prometheus"), scrapes=scrapes, alertmanagers=[manager.port])
        stack.enter_context(server)
        stack.enter_context(nginx(server_block(port, files), port=port))
        databases = stack.enter_context(postgresql_cluster(postgresql_18()))
        (tmp_path / "dsn").write_text(databases.dsn)
        server.wait_for('up{job="shop"} == 1')
        redis = f"{primary.address},{replica.address}"
        yield (
            server,
            [
                *("y", f"127.0.0.1:{databases.primary.port},127.0.0.1:{databases.standby.port}"),
                *("y", redis),
                *("n", "n"),
                *("y", nats_server.url.removeprefix("nats://")),
                f"localhost:{port}",
            ],
        )


def test_a_first_configuration_gives_forty_verdicts(
    run: Run,
    product: tuple[Prometheus, list[str]],
    kubeconfig: Path,
    control_plane: ControlPlane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, typed = product
    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in ["staging", *typed, *[""] * 9])))
    file = tmp_path / "checklist.yaml"
    namespace = control_plane.namespace("first")
    web = running(namespace, "web", "registry.example.com/web:3", replicas=2)
    control_plane.apply(web)
    control_plane.wait_ready(web)
    sources = ("--kubeconfig", control_plane.kubeconfigs["admin"], "--namespace", namespace, "--prometheus", server.url)
    ended = run("init", "--ask", *sources, "--output", file)
    assert ended.code == 0, ended.err
    text = re.sub(r"dsn_file: [^},]+", f"dsn_file: {tmp_path / 'dsn'}", file.read_text())
    file.write_text(
        uncommented(text, "postgresql")
    )  # as the page says, with an account made by the SQL that `list` prints
    checked = run("check", "--config.file", file, "--format", "json")
    items = json.loads(checked.out)["items"]
    decided = [item for item in items if item["status"] in ("ok", "warning", "failed")]
    assert len(decided) >= 40, [
        f"{i['section']}.{i['item']} {i['status']} {i['summary']}" for i in items if i["reason"] != "not_configured"
    ]
