"""The section Configuration Verification on a real control plane: settings, and the secrets in them."""

from __future__ import annotations

import base64
import gzip
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.kubernetes.model.kinds import WORKLOADS
from exporter.verdict import Reason, Status
from tests.collectors.environment_and_secrets.shop import (
    ago,
    config,
    external,
    from_map,
    from_secret,
    literal,
    run,
    see,
    store,
)
from tests.collectors.systems.kubernetes.clusters import container, cron_job, manifest
from tests.collectors.systems.secrets import corpus
from tests.servers.kubernetes import ControlPlane, pod_spec, workload
from tests.servers.redis import Node
from tests.support import until

# Required variables

REQUIRED = "required_variables_set"


@pytest.mark.verifies("configuration_verification.required_variables_set", "ok")
async def test_every_way_to_set_a_variable_counts(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("shop")
    cluster.apply(config(namespace, MODE="fast", APP_LEVEL="info"))
    external(cluster, namespace, "orders", "TOKEN")
    env = [
        *literal(PORT="8080", URL="http://$(PORT)"),
        from_secret("DB_PASSWORD"),
        from_map("LEVEL", "settings", "APP_LEVEL"),
    ]
    sources = [{"configMapRef": {"name": "settings"}}, {"prefix": "X_", "secretRef": {"name": "orders"}}]
    run(cluster, env, namespace=namespace, envFrom=sources)
    needed = {f"{namespace}/web": ["PORT", "DB_PASSWORD", "LEVEL", "MODE", "X_TOKEN"]}
    result = await see(cluster, REQUIRED, namespace, required=needed)
    assert (result.status, result.summary) == (
        Status.OK,
        "5 required variables of 1 workload are set, in the template and in every running pod.",
    )


@pytest.mark.verifies("configuration_verification.required_variables_set", "failed")
async def test_absent_empty_and_dangling_variables_fail(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("shop")
    cluster.apply(config(namespace, EMPTY=""))
    env = [
        *literal(BLANK=" "),
        from_map("GONE", "settings", "NO", optional=True),
        from_map("VOID", "settings", "EMPTY"),
    ]
    run(cluster, env, namespace=namespace)
    for name in ("ABSENT", "BLANK", "GONE", "VOID"):
        result = await see(cluster, REQUIRED, namespace, required={f"{namespace}/web": [name]})
        assert result.status is Status.FAILED
        assert name in result.summary
    result = await see(cluster, REQUIRED, namespace, required={f"{namespace}/other": ["A"]})
    assert result.reason is Reason.MISSING


async def test_a_variable_of_the_template_or_of_the_pods_alone_fails(cluster: ControlPlane) -> None:
    namespace = run(cluster, literal(OLD="1", SAME="1"))
    changed = workload(namespace, "web", spec=pod_spec(containers=[container(env=literal(NEW="1", SAME="1"))]))
    changed["spec"]["paused"] = True  # so that no pod is replaced
    cluster.apply(changed)
    (pod,) = cluster.pods(namespace)
    assert {one["name"] for one in pod["spec"]["containers"][0]["env"]} == {"OLD", "SAME"}
    for name, status in (("SAME", Status.OK), ("OLD", Status.FAILED), ("NEW", Status.FAILED)):
        result = await see(cluster, REQUIRED, namespace, required={f"{namespace}/web": [name]})
        assert result.status is status, result.summary
        assert status is Status.OK or result.summary == f"{name} is not set in Deployment {namespace}/web."


async def test_a_container_that_cannot_start_and_a_reference_to_nothing_fail_without_required(
    cluster: ControlPlane,
) -> None:
    namespace = run(cluster, literal(URL="http://$(HOST):80"))
    result = await see(cluster, REQUIRED, namespace)
    assert result.status is Status.FAILED
    assert "refers to HOST" in result.summary
    namespace = run(cluster)
    made = cluster.pods(namespace)[0]
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "orders" not found'}}
    status = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
    cluster.patch_status({"apiVersion": "v1", "kind": "Pod", **made}, phase="Pending", containerStatuses=[status])
    result = await see(cluster, REQUIRED, namespace)
    assert result.status is Status.FAILED
    assert "cannot start" in result.summary


async def test_a_key_of_a_config_map_that_is_gone_fails_while_the_old_pods_run(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("shop")
    cluster.apply(config(namespace, LEVEL="info"))
    run(cluster, [from_map("LEVEL", "settings", "LEVEL")], namespace=namespace)
    cluster.delete(config(namespace))
    result = await see(cluster, REQUIRED, namespace)
    assert result.status is Status.FAILED
    assert "does not exist" in result.summary


@pytest.mark.verifies("configuration_verification.required_variables_set", "unknown")
async def test_what_only_a_secret_shows_is_unknown(cluster: ControlPlane) -> None:
    namespace = run(cluster, [from_secret("MAYBE", optional=True)], envFrom=[{"secretRef": {"name": "other"}}])
    for name in ("MAYBE", "WHOLE"):
        result = await see(cluster, REQUIRED, namespace, required={f"{namespace}/web": [name]})
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_VERIFIED)
    result = await see(cluster, REQUIRED, namespace)
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    namespace = cluster.namespace("shop")
    job = {
        "spec": {"template": {"spec": pod_spec(restartPolicy="Never", containers=[container(env=[from_secret("A")])])}}
    }
    cluster.apply(cron_job(namespace, "report", jobTemplate=job))
    result = await see(cluster, REQUIRED, namespace, required={f"{namespace}/report": ["A"]})
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.PENDING)


async def test_a_variable_of_a_sidecar_is_not_that_of_the_named_container(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("shop")
    beside = [container(), container("proxy", env=literal(A="b"))]
    web = workload(namespace, "web", spec=pod_spec(containers=beside))
    cluster.apply(web)
    cluster.wait_ready(web)
    result = await see(cluster, REQUIRED, namespace, required={f"{namespace}/web/main": ["A"]})
    assert result.status is Status.FAILED
    result = await see(cluster, REQUIRED, namespace, required={f"{namespace}/web/proxy": ["A"]})
    assert result.status is Status.OK


# Placeholders

DEFAULTS = "no_default_values"


@pytest.mark.verifies("configuration_verification.no_default_values", "ok")
async def test_values_meant_for_production_pass(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("shop")
    cluster.apply(config(namespace, NODE_ENV="production", DB_HOST="orders-db"))
    run(cluster, literal(URL="https://shop.internal"), namespace=namespace)
    result = await see(cluster, DEFAULTS, namespace)
    assert (result.status, result.summary) == (Status.OK, "None of 3 settings holds a default or example value.")


@pytest.mark.verifies("configuration_verification.no_default_values", "failed")
async def test_placeholders_are_found_wherever_they_are(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("shop")
    cluster.apply(config(namespace, **{"app.yaml": "mail:\n  from: shop@example.com\n"}))
    run(cluster, literal(NODE_ENV="development"), namespace=namespace, args=["--api-key=changeme"])
    job = {
        "spec": {
            "template": {
                "spec": pod_spec(restartPolicy="Never", containers=[container(env=literal(KEY="your-api-key"))])
            }
        }
    }
    cluster.apply(cron_job(namespace, "report", jobTemplate=job))
    result = await see(cluster, DEFAULTS, namespace)
    assert result.status is Status.FAILED
    assert f"ConfigMap {namespace}/settings has an example domain: from in app.yaml." in result.summary
    for found in (
        "an environment other than production: NODE_ENV",
        "a value to be changed: api-key",
        f"CronJob {namespace}/report",
    ):
        assert found in result.summary
    allowed = {f"{namespace}/*/*": "It is a test of ours."}
    assert (await see(cluster, DEFAULTS, namespace, allowed=allowed)).status is Status.OK


async def test_localhost_beside_a_proxy_is_no_placeholder(cluster: ControlPlane) -> None:
    url = literal(DATABASE_URL="postgres://app@localhost:5432/orders")
    alone = run(cluster, url)
    assert (await see(cluster, DEFAULTS, alone)).status is Status.FAILED
    namespace = cluster.namespace("shop")
    web = workload(namespace, "web", spec=pod_spec(containers=[container(env=url), container("cloud-sql-proxy")]))
    cluster.apply(web)
    cluster.wait_ready(web)
    assert (await see(cluster, DEFAULTS, namespace)).status is Status.OK


def _known(kept: dict[str, float], _: str) -> dict[str, float]:
    return kept


async def test_default_logins_are_remembered_whatever_else_was_seen(cluster: ControlPlane, tmp_path: Path) -> None:
    namespace, kept = run(cluster, literal(MODE="fast")), dict[str, float]()
    with Node(tmp_path) as node:
        options: dict[str, Any] = {"default_logins": [{"kind": "redis", "address": node.address}]}
        for seen, status, words in (
            (namespace, Status.UNKNOWN, "is tried at the next run"),
            (namespace, Status.FAILED, f"Redis {node.address} let in clients without a password"),
            ("shop-that-is-gone", Status.FAILED, "let in clients without a password"),
        ):
            memory = options.setdefault("memory", {})
            result = await see(cluster, DEFAULTS, seen, recall=partial(_known, kept), **{**options, "memory": memory})
            assert (result.status, words in result.summary) == (status, True), result
            kept = {name: value for name, value in result.measurements.items() if name.startswith("default_login")}
            assert kept
        result = await see(cluster, DEFAULTS, namespace, **options)
        assert (result.status, "without state.file nobody remembers" in result.summary) == (Status.UNKNOWN, True)


@pytest.mark.verifies("configuration_verification.no_default_values", "unknown")
@pytest.mark.verifies("configuration_verification.no_plain_text_secrets", "unknown")
async def test_without_the_right_to_config_maps_nothing_is_known_and_the_right_is_named(cluster: ControlPlane) -> None:
    namespace = run(cluster)
    kinds = ["namespaces", "pods", *(kind.plural for kind in WORKLOADS)]
    rules = [{"apiGroups": ["", "apps", "batch"], "resources": kinds, "verbs": ["list"]}]
    account = cluster.account(rules)
    for item in (DEFAULTS, "no_plain_text_secrets"):
        result = await see(cluster, item, namespace, kubeconfig=account)
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.DENIED)
        assert "configmaps" in result.summary


# Secrets in plain text

PLAIN = "no_plain_text_secrets"


@pytest.mark.verifies("configuration_verification.no_plain_text_secrets", "ok")
async def test_references_are_no_secrets(cluster: ControlPlane) -> None:
    env = [from_secret("DB_PASSWORD"), *literal(URL="postgres://app:$(DB_PASSWORD)@db/orders", TOKEN_FILE="/run/token")]
    namespace = run(cluster, env)
    result = await see(cluster, PLAIN, namespace)
    assert (result.status, result.summary) == (Status.OK, "None of 2 settings holds a secret in plain text.")


@pytest.mark.verifies("configuration_verification.no_plain_text_secrets", "failed")
async def test_no_secret_of_the_corpus_is_missed_or_told(cluster: ControlPlane) -> None:
    """Each secret in a ConfigMap, in a variable of a Deployment, and encoded in binaryData."""
    namespace = cluster.namespace("shop")
    several = list(corpus.every_secret())
    for number, (name, text) in enumerate(several):
        cluster.apply(config(namespace, f"m{number}-text", **{name: text}))
        binary = {**manifest("v1", "ConfigMap", f"m{number}-binary", namespace)}
        cluster.apply(binary | {"binaryData": {name: base64.b64encode(text.encode()).decode()}})
    env = [{"name": f"{name}", "value": value} for name, value in dict(corpus.SECRET_SETTINGS).items()]
    run(cluster, env, namespace=namespace, args=[word for words in corpus.ARGUMENTS for word in words])
    for number in range(len(several)):
        others = {
            f"{namespace}/{name}/*": "Judged alone."
            for name in ("web", *(f"m{other}-*" for other in range(len(several)) if other != number))
        }
        if number % 9 == 0:  # a run takes half a second
            result = await see(cluster, PLAIN, namespace, allowed=others)
            assert result.status is Status.FAILED
            assert f"m{number}-text" in result.summary
            assert f"m{number}-binary" in result.summary
    result = await see(cluster, PLAIN, namespace)
    assert result.status is Status.FAILED
    assert corpus.canary() not in str(result)
    for item in (DEFAULTS, "secrets_managed", REQUIRED):
        assert corpus.canary() not in str(await see(cluster, item, namespace))


async def test_templates_of_bare_replica_sets_and_replication_controllers_count(cluster: ControlPlane) -> None:
    """Both are at zero, so that no pod shows what they would run. Earlier revisions of a Deployment do not count."""
    namespace = run(cluster, literal(DB_PASSWORD=f"{corpus.canary()}-1234"))
    run(cluster, [from_secret("DB_PASSWORD")], namespace=namespace)
    assert len(cluster.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets")["items"]) == 2
    await until(lambda: see(cluster, PLAIN, namespace), Status.OK)
    for version, kind in (("apps/v1", "ReplicaSet"), ("v1", "ReplicationController")):
        labels = {"app": kind.lower()}
        selector = {"matchLabels": labels} if kind == "ReplicaSet" else labels
        spec = pod_spec(containers=[container(env=literal(DB_PASSWORD=f"{corpus.canary()}-1234"))])
        template = {"metadata": {"labels": labels}, "spec": spec}
        bare = manifest(
            version, kind, "bare", namespace, spec={"replicas": 0, "selector": selector, "template": template}
        )
        cluster.apply(bare)
        result = await see(cluster, PLAIN, namespace)
        assert result.status is Status.FAILED
        assert f"{kind} {namespace}/bare" in result.summary
        needed = await see(cluster, REQUIRED, namespace, required={f"{namespace}/bare": ["PORT"]})
        assert needed.status is Status.FAILED
        assert "PORT" in needed.summary
        cluster.delete(bare)


async def test_what_kubectl_remembers_a_probe_and_an_annotation_count(cluster: ControlPlane) -> None:
    secret = f"{corpus.canary()}-1234"
    namespace = cluster.namespace("shop")
    web = workload(namespace, "web", spec=pod_spec(containers=[container(env=[from_secret("DB_PASSWORD")])]))
    applied = workload(namespace, "web", spec=pod_spec(containers=[container(env=literal(DB_PASSWORD=secret))]))
    web["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied)}
    cluster.apply(web)
    result = await see(cluster, PLAIN, namespace)
    assert result.status is Status.FAILED
    assert "DB_PASSWORD (annotation last-applied-configuration)" in result.summary
    header = {
        "httpGet": {
            "path": "/",
            "port": 80,
            "httpHeaders": [{"name": "Authorization", "value": f"Bearer {secret}abcdef"}],
        }
    }
    namespace = run(cluster, livenessProbe=header)
    result = await see(cluster, PLAIN, namespace)
    assert result.status is Status.FAILED
    assert secret not in str(result)


# Management

MANAGED = "secrets_managed"


@pytest.mark.verifies("configuration_verification.secrets_managed", "ok")
async def test_secrets_from_stores_that_work(cluster: ControlPlane) -> None:
    namespace = run(cluster, [from_secret("DB_PASSWORD")])
    store(cluster, namespace, "vault")
    external(cluster, namespace, "orders", "password", secretStoreRef={"name": "vault"})
    result = await see(cluster, MANAGED, namespace)
    expected = "Workloads take their secrets from 1 Secret, of which 1 is written from a store."
    assert (result.status, result.summary) == (Status.OK, expected)
    external(
        cluster,
        namespace,
        "once",
        "a",
        refreshPolicy="CreatedOnce",
        refreshed=ago(days=90),
        secretStoreRef={"name": "vault"},
    )
    assert (await see(cluster, MANAGED, namespace)).status is Status.OK


@pytest.mark.verifies("configuration_verification.secrets_managed", "failed")
async def test_literal_secrets_and_stores_that_do_not_work(cluster: ControlPlane) -> None:
    namespace = run(cluster, [*literal(DB_PASSWORD=corpus.canary()), from_secret("TOKEN")])
    result = await see(cluster, MANAGED, namespace)
    assert result.status is Status.FAILED
    assert "is a literal value" in result.summary
    namespace = run(cluster, [from_secret("DB_PASSWORD")])
    external(cluster, namespace, "orders", "password", refreshed=ago(hours=3))
    result = await see(cluster, MANAGED, namespace)
    assert (result.status, result.reason) == (Status.FAILED, Reason.STALE)
    external(cluster, namespace, "orders", "password", secretStoreRef={"name": "gone"})
    assert "which does not exist" in (await see(cluster, MANAGED, namespace)).summary
    store(cluster, namespace, "gone", ready="False")
    result = await see(cluster, MANAGED, namespace)
    assert "is not Ready: InvalidProviderConfig" in result.summary
    store(cluster, namespace, "gone")
    external(cluster, namespace, "orders", "password", ready="False", secretStoreRef={"name": "gone"})
    assert "is not Ready: SecretSyncedError" in (await see(cluster, MANAGED, namespace)).summary
    external(cluster, namespace, "orders", "password", secretStoreRef={"name": "gone"})
    assert (await see(cluster, MANAGED, namespace)).status is Status.OK
    sealed = manifest("bitnami.com/v1alpha1", "SealedSecret", "sealed", namespace, spec={"encryptedData": {"a": "AgB"}})
    cluster.apply(sealed)
    assert (await see(cluster, MANAGED, namespace)).reason is Reason.PENDING
    conditions = [{"type": "Synced", "status": "False", "reason": "no key could decrypt secret"}]
    cluster.patch_status(sealed, conditions=conditions, observedGeneration=1)
    assert "is not decrypted" in (await see(cluster, MANAGED, namespace)).summary


async def test_a_status_from_before_a_change_is_unknown(cluster: ControlPlane) -> None:
    namespace = run(cluster, [from_secret("DB_PASSWORD")])
    store(cluster, namespace, "vault")
    external(cluster, namespace, "orders", "password", secretStoreRef={"name": "vault"})
    made = manifest("external-secrets.io/v1", "ExternalSecret", "orders", namespace)
    for version, status in (("0-4c6a", Status.UNKNOWN), ("1-4c6a", Status.OK)):
        cluster.patch_status(made, syncedResourceVersion=version)
        result = await see(cluster, MANAGED, namespace)
        assert (result.status, "not read from its store since" in result.summary) == (
            status,
            status is Status.UNKNOWN,
        ), result


@pytest.mark.verifies("configuration_verification.secrets_managed", "unknown")
async def test_no_secret_at_all_proves_nothing(cluster: ControlPlane) -> None:
    namespace = run(cluster, literal(PORT="80"))
    result = await see(cluster, MANAGED, namespace)
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_VERIFIED)


async def test_secrets_are_found_in_every_part_of_a_pod_and_of_a_config_map(cluster: ControlPlane) -> None:
    secret = f"{corpus.canary()}-hunter2"
    options = {"csi": {"driver": "smb.csi.k8s.io", "volumeAttributes": {"source": "//files/a", "password": secret}}}
    flex = {"flexVolume": {"driver": "a/b", "options": {"password": secret}}}
    packed = base64.b64encode(gzip.compress(f"user: app\npassword: {secret}\n".encode())).decode()
    labelled = {"name": "labelled", "labels": {"password": secret}}
    states: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "a password on a command line": (
            {},
            {"lifecycle": {"preStop": {"exec": {"command": ["curl", "-u", f"a:{secret}"]}}}},
        ),
        "token": ({}, {"livenessProbe": {"httpGet": {"path": f"/health?token={secret}", "port": 80}}}),
        "csi": ({"volumes": [{"name": "files", **options}]}, {}),
        "flex": ({"volumes": [{"name": "files", **flex}]}, {}),
    }
    for name, (spec, change) in states.items():
        namespace = cluster.namespace("shop")
        cluster.apply(workload(namespace, "web", spec=pod_spec(containers=[container(**change)], **spec)))
        await _finds(cluster, namespace, "" if spec else name, secret)
    for given in ({"binaryData": {"app.yaml.gz": packed}}, {"metadata": labelled}):
        namespace = run(cluster)
        made = {**manifest("v1", "ConfigMap", "labelled", namespace), **given}
        made["metadata"] = {"namespace": namespace, "name": "labelled", **given.get("metadata", {})}
        cluster.apply(made)
        await _finds(cluster, namespace, "password", secret)


async def _finds(cluster: ControlPlane, namespace: str, words: str, secret: str) -> None:
    result = await see(cluster, PLAIN, namespace)
    assert (result.status, words in result.summary) == (Status.FAILED, True), result
    assert secret not in str(result)


async def test_a_date_of_the_future_is_no_refresh(cluster: ControlPlane) -> None:
    namespace = run(cluster, [from_secret("DB_PASSWORD")])
    store(cluster, namespace, "vault")
    reference: dict[str, Any] = {
        "secretStoreRef": {"name": "vault", "kind": "SecretStore"},
        "target": {"name": "orders"},
    }
    external(cluster, namespace, "orders", "password", refreshed=ago(minutes=-30), **reference)
    result = await see(cluster, "secrets_managed", namespace)
    assert (result.status, "in the future" in result.summary) == (Status.UNKNOWN, True), result
