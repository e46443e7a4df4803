"""The Pod Security Standards: every control, and what is said of those that break one."""

from typing import Any

import pytest
from pydantic import ValidationError

from collectors.systems.kubernetes.judge.pod_security import (
    CONTROLS,
    Level,
    PodSecurityOptions,
    judge_pod_security,
    violations,
)
from collectors.systems.kubernetes.model.objects import Namespace
from collectors.systems.kubernetes.model.pods import PodGroup
from exporter.verdict import ProbeError, Result, Status
from tests.collectors.systems.kubernetes.objects import compacted, decoded, pod, pods
from tests.collectors.systems.kubernetes.pod_security_corpus import CASES, corpus, patched, restricted_pod

BASELINE, RESTRICTED = Level.BASELINE, Level.RESTRICTED


@pytest.mark.parametrize(("what", "forbidden_by", "patch"), CASES, ids=[case[0] for case in CASES])
def test_every_value_of_every_control(what: str, forbidden_by: Level | None, patch: dict[str, Any]) -> None:
    (found,) = compacted(patched(restricted_pod(), patch))
    assert bool(violations(found.template, RESTRICTED)) is (forbidden_by is not None)
    assert bool(violations(found.template, BASELINE)) is (forbidden_by is BASELINE)
    assert violations(found.template, Level.PRIVILEGED) == ()


def test_every_control_is_broken_by_some_case() -> None:
    templates = [pod.template for pod in compacted(*(patched(restricted_pod(), patch) for _, _, patch in CASES))]
    for control in CONTROLS:
        assert any(list(control.violations(template)) for template in templates), control.name


def test_the_corpus_has_both_kinds_and_is_the_same_each_time() -> None:
    found = list(corpus(600))
    assert found == list(corpus(600))
    assert len(found) == 600
    kept = [
        (not violations(pod.template, BASELINE), not violations(pod.template, RESTRICTED))
        for pod in compacted(*(pod for _, pod in found))
    ]
    assert 100 < sum(baseline for baseline, _ in kept) < 500
    assert 30 < sum(restricted for _, restricted in kept) < 500
    assert not any(restricted and not baseline for baseline, restricted in kept)


def test_ephemeral_containers_count() -> None:
    debug = {"name": "debug", "securityContext": {"privileged": True}}
    found = pod("shop/api", spec={"ephemeralContainers": [debug]})
    assert violations(found.template, BASELINE) == ("container debug is privileged",)


def test_the_words_for_each_violation() -> None:
    spec = {
        "hostNetwork": True,
        "volumes": [{"name": "logs", "hostPath": {"path": "/"}}, {"name": "odd"}],
        "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
        "containers": [
            {
                "name": "main",
                "ports": [{"hostPort": 80}],
                "livenessProbe": {"httpGet": {"host": "db"}},
                "securityContext": {
                    "capabilities": {"add": ["NET_RAW"]},
                    "seLinuxOptions": {"type": "spc_t", "user": "u"},
                    "seccompProfile": {"type": "Unconfined"},
                },
            }
        ],
    }
    found = pod(
        "shop/api",
        spec=spec,
        metadata={"annotations": {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"}},
    )
    assert violations(found.template, BASELINE) == (
        "the pod has hostNetwork",
        "container main adds the capability NET_RAW",
        "the pod has a hostPath volume",
        "container main takes port 80 of the host",
        "container main probes or hooks the host db",
        "container main has the AppArmor profile unconfined",
        "container main has the SELinux type spc_t",
        "container main sets the SELinux user or role",
        "container main has the seccomp profile Unconfined",
        "the pod sets the sysctl kernel.msgmax",
    )
    assert set(violations(found.template, RESTRICTED)) >= {
        "the pod has a volume of type hostPath",
        "the pod has a volume of type unknown",
        "container main does not drop ALL capabilities",
        "container main lacks allowPrivilegeEscalation false",
        "container main lacks runAsNonRoot true",
    }


def namespace(name: str, level: str | None = "baseline") -> Namespace:
    return decoded(Namespace, name, labels={"pod-security.kubernetes.io/enforce": level} if level else {})


PRIVILEGED = {"containers": [{"name": "main", "securityContext": {"privileged": True}}]}


def judge(namespaces: list[Namespace], found: list[PodGroup], **options: Any) -> Result:
    return judge_pod_security(namespaces, found, PodSecurityOptions(**options))


def test_all_is_well() -> None:
    result = judge([namespace("shop"), namespace("bank", "restricted")], [*pods("shop/a", "shop/b")])
    assert (result.status, result.summary) == (
        Status.OK,
        "Every namespace (2) enforces at least baseline, and every pod in them (2) keeps it.",
    )
    assert result.measurements == {"pods_judged": 2, "pods_violating": 0}


@pytest.mark.parametrize(
    ("level", "options", "sentence"),
    [
        (
            None,
            {},
            "Namespace shop enforces no Pod Security level (no label pod-security.kubernetes.io/enforce) (wanted baseline).",
        ),
        ("privileged", {}, "Namespace shop enforces only privileged (wanted baseline)."),
        ("privileged", {"psa_cluster_default": BASELINE}, "Namespace shop enforces only privileged (wanted baseline)."),
        ("baseline", {"psa_min_level": RESTRICTED}, "Namespace shop enforces only baseline (wanted restricted)."),
        (
            None,
            {"psa_cluster_default": BASELINE, "psa_min_level": RESTRICTED},
            "Namespace shop enforces only baseline (wanted restricted).",
        ),
        (
            "Baseline",
            {},
            "Namespace shop enforces no Pod Security level (no label pod-security.kubernetes.io/enforce) (wanted baseline).",
        ),
    ],
)
def test_a_namespace_without_the_label(level: str | None, options: dict[str, Any], sentence: str) -> None:
    result = judge([namespace("shop", level)], [], **options)
    assert (result.status, result.summary) == (Status.FAILED, sentence)


@pytest.mark.parametrize(
    "options", [{"psa_cluster_default": BASELINE}, {"psa_enforced_by": {"shop": "a Kyverno policy"}}]
)
def test_what_else_enforces_is_declared(options: dict[str, Any]) -> None:
    assert judge([namespace("shop", None)], [], **options).status is Status.OK
    # Declared or not, the pods are looked at.
    result = judge([namespace("shop", None)], [pod("shop/api", spec=PRIVILEGED)], **options)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Pod shop/api violates baseline: container main is privileged.",
    )


def test_labels_that_only_warn_or_audit_enforce_nothing() -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("warn", "audit", "enforce-version")}
    assert judge([decoded(Namespace, "shop", labels=labels)], []).status is Status.FAILED


def test_pods_from_before_the_label_are_found_and_told_by_their_workload() -> None:
    bad = pods(
        *(f"shop/api-5d4-{n}" for n in range(3)),
        labels={"pod-template-hash": "5d4"},
        owner="ReplicaSet/api-5d4",
        spec=PRIVILEGED | {"hostPID": True},
    )
    result = judge([namespace("shop")], [*bad, pod("shop/good")])
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Deployment shop/api (3 pods) violates baseline: container main is privileged and 1 more.",
    )


def test_pods_that_could_not_be_made_again_are_a_warning() -> None:
    result = judge([namespace("shop", "restricted")], [pod("shop/api")])
    assert result.status is Status.WARNING
    assert result.summary.startswith(
        "Pod shop/api could not be made again, as its namespace enforces restricted: container main "
    )
    assert result.measurements == {"pods_judged": 1, "pods_violating": 0}


def test_pods_that_have_ended_do_not_count() -> None:
    gone = [
        pod("shop/done", spec=PRIVILEGED, status={"phase": "Succeeded"}),
        pod("shop/evicted", spec=PRIVILEGED, status={"phase": "Failed"}),
        pod("shop/going", spec=PRIVILEGED, metadata={"deletionTimestamp": "2026-11-25T10:00:00Z"}),
    ]
    assert judge([namespace("shop")], gone).status is Status.OK


def test_exempt_pods_do_not_count() -> None:
    result = judge_pod_security(
        [namespace("shop")],
        [pod("shop/agent", spec=PRIVILEGED)],
        PodSecurityOptions(),
        exempt=lambda found: found.workload == ("Pod", "agent"),
    )
    assert result.status is Status.OK


def test_ten_thousand_offenders_are_told_in_a_few_sentences() -> None:
    result = judge([namespace("shop")], pods(*(f"shop/pod-{n}" for n in range(10_000)), spec=PRIVILEGED))
    assert result.summary.endswith("9995 more are similar.")
    assert len(result.summary) < 500
    assert result.measurements["pods_violating"] == 10_000


def test_no_namespace_is_no_success() -> None:
    with pytest.raises(ProbeError, match="Every namespace is exempt"):
        judge([], [])


def test_wanting_no_level_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected baseline or restricted"):
        PodSecurityOptions(psa_min_level=Level.PRIVILEGED)


@pytest.mark.parametrize(
    ("version", "status"),
    [("v1.0", Status.FAILED), ("v1.24", Status.FAILED), ("v1.25", Status.OK), ("latest", Status.OK)],
)
def test_a_level_of_an_old_version_is_less_than_it_seems(version: str, status: Status) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": version}
    result = judge([decoded(Namespace, "shop", labels=labels)], [])
    assert result.status is status
    if status is Status.FAILED:
        assert result.summary.startswith(f"Namespace shop enforces baseline as of {version} (label ")


def test_the_worst_offence_is_not_cut_off() -> None:
    """Of a hundred pods with ports of the host the one that is privileged comes first."""
    ports = {"containers": [{"name": "main", "ports": [{"hostPort": 80}]}]}
    taking = [pod(f"shop/a{number:03}", spec=ports) for number in range(100)]
    owning = pod("shop/zz", spec={"containers": [{"name": "main", "securityContext": {"privileged": True}}]})
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    result = judge([decoded(Namespace, "shop", labels=labels)], [*taking, owning])
    assert result.summary.startswith(
        "Pod shop/zz violates baseline: container main is privileged. Pod shop/a000 violates"
    )
    assert result.summary.endswith("more are similar.")
